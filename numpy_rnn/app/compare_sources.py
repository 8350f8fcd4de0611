"""What `compare` compares: packages, ports, programs and traces, by the names that are
typed.
"""

import os
import shutil
from importlib.util import find_spec
from typing import NamedTuple

from numpy_rnn.common import packages
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Run
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.ports.port import find_port
from numpy_rnn.conformance.ports.program import FIRST_TIMES, ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs.recorded_run import RecordedRun
from numpy_rnn.conformance.runs.run_sources import PortSource, source_of
from numpy_rnn.conformance.trace import load_trace

EXPECTED_SOURCE = (
    "expected a package (torch_rnn), a port (my_rnn:port, of my_rnn.py), a program"
    " (./my_rnn) or a trace (run.npz)"
)


class TraceFile(NamedTuple):
    """A trace file as an implementation, whose run is the recorded one."""

    name: str
    recorded: RecordedRun
    tau: TanhError = TAU

    def trace(self, run: Run) -> RecordedRun:
        """Return the recorded run."""
        return self.recorded


Source = PortSource | TraceFile


def find_source(name: str, timeout: float) -> Source:
    """Find the implementation that a name means.

    Parameters
    ----------
    name : str
        A package, a port as module:object, the command of a program, or a trace file.
    timeout : float
        Seconds for an answer of a program.

    Returns
    -------
    Source
        The implementation.

    Raises
    ------
    InputError
        If there is none. The message says what to type.
    PortFault
        If a program fails at its start.
    """
    if name.endswith(".npz"):
        return TraceFile(one_line(name), load_trace(name))
    if is_program(name):
        try:
            return PortSource(ProgramPort(name, timeout))
        except PortFault as fault:
            raise PortFault(f"{one_line(name, 80)}, at its start: {fault}") from None
    check_name(name)
    port = find_port(name)
    port.timeout = FIRST_TIMES * timeout
    return source_of(port)


def is_program(name: str) -> bool:
    """Return whether a name is the command of a program, with any arguments."""
    program = first_word(name)
    if ":" in program or packages.is_package(name):
        return False
    return shutil.which(program) is not None


def first_word(text: str) -> str:
    """Return what is before the first space, or "" of an empty text."""
    return (text.split() or [""])[0]


def check_name(name: str) -> None:
    """Raise InputError, with what to type instead, unless this may name a package or a
    port.
    """
    shortened = one_line(name, 80)
    file = first_word(name)
    stem = os.path.basename(file).removesuffix(".py")
    if name.partition(".")[0] == "torch_rnn" and find_spec("torch") is None:
        raise InputError(packages.NO_TORCH)
    if ":" in file:
        return
    if os.path.isfile(f"{stem}.py") and name in (stem, f"{stem}.py"):
        raise InputError(
            f"{shortened} is a Python file: type {stem}:port for its `port`"
        )
    if os.path.isfile(file):
        if os.access(file, os.X_OK):
            raise InputError(
                f"{shortened} is a program in this folder: type ./{shortened}"
            )
        raise InputError(f"{shortened} is a file that cannot be run: {EXPECTED_SOURCE}")
    if not packages.is_package(name):
        raise InputError(f"there is no {shortened!r}: {EXPECTED_SOURCE}")
