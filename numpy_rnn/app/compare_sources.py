"""What `compare` compares: packages, ports, programs and trace files."""

import shutil
from types import ModuleType
from typing import NamedTuple

from numpy_rnn.app.options import CommandOptions
from numpy_rnn.common.packages import is_package
from numpy_rnn.common.records import Run
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.ports.port import PackagePort, find_port
from numpy_rnn.conformance.ports.program import FIRST_TIMES, ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs.recorded_run import RecordedRun
from numpy_rnn.conformance.runs.run_sources import (
    PackageSource,
    PortSource,
    source_of,
)
from numpy_rnn.conformance.trace import load_trace


class TraceFile(NamedTuple):
    """A trace file as an implementation, whose run is the recorded one."""

    name: str
    recorded: RecordedRun
    tau: float = TAU

    def trace(self, run: Run) -> RecordedRun:
        """Return the recorded run."""
        return self.recorded


Source = PortSource | TraceFile


def find_sources(rnn: ModuleType, options: CommandOptions) -> list[Source]:
    """Find what is compared; with a package, the package of the command too.

    Raises
    ------
    InputError
        If there is no implementation of a name. The message says what to type.
    PortFault
        If a program fails at its start.
    """
    sources = [find_source(name, options.timeout) for name in options.others]
    has_packages = any(isinstance(source, PackageSource) for source in sources)
    if has_packages and rnn.__name__ not in options.others:
        sources.insert(0, PackageSource(PackagePort(rnn)))
    return sources


def find_source(name: str, timeout: float) -> Source:
    """Find the implementation that a name means.

    Parameters
    ----------
    name : str
        A package, a port as module:object, the command of a program, or a trace file.
    timeout : float
        Seconds for an answer of a program. A port in Python has a multiple of it, since
        any of its answers may import or compile. A package has no limit.

    Returns
    -------
    Source
        The implementation.
    """
    if name.endswith(".npz"):
        return TraceFile(one_line(name), load_trace(name))
    if is_program(name):
        try:
            return PortSource(ProgramPort(name, timeout))
        except PortFault as fault:
            raise PortFault(f"{one_line(name, 80)}, at its start: {fault}") from None
    port = find_port(name)
    port.timeout = FIRST_TIMES * timeout
    return source_of(port)


def is_program(name: str) -> bool:
    """Return whether a name is the command of a program, with any arguments."""
    program = name.partition(" ")[0]
    if ":" in program or is_package(name):
        return False
    return shutil.which(program) is not None
