"""Implementations by name: packages, Python ports, programs and trace files, and how each records a run."""

import shutil
from typing import Any

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.packages import backend, is_package
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import abilities, load_python_port, tanh_error
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import EVERYTHING, PortFault
from numpy_rnn.conformance.traces.drive import check_port_run, trace_port
from numpy_rnn.conformance.traces.recorder import RecordedRun
from numpy_rnn.conformance.traces.trace_file import load_trace


class PortSource:
    """A port, which is called once per update. timeout: seconds, for every answer."""

    def __init__(self, port: Any, timeout: float):
        self.port, self.timeout, self.name = port, timeout, port.name
        self.tau, self.abilities = tanh_error(port), abilities(port)

    def check(self, run: Run) -> None:
        """Raise InputError on a run that the port does not support."""
        check_port_run(self.port, run)

    def trace(self, run: Run) -> RecordedRun:
        """The run with all its updates."""
        return trace_port(self.port, run, self.timeout)


class FileSource:
    """A trace file, whose run is repeated by the others."""

    tau, abilities = TAU, EVERYTHING

    def __init__(self, path: str):
        self.name, self.recorded = one_line(path), RecordedRun(*load_trace(path))
        for name in ("x", "target"):
            array, E = getattr(self.recorded.run, name), self.recorded.run.params.W_hh.ndim - 2
            if E and array.ndim >= 2 + E + (array.dtype.kind == "f"):
                raise InputError(
                    f"{name} has shape {array.shape}: a run with a series per network cannot be repeated"
                )

    def check(self, run: Run) -> None:
        """The run is that of the file."""

    def trace(self, run: Run) -> RecordedRun:
        return self.recorded


Source = PackagePort | PortSource | FileSource  # an implementation whose runs are judged


def source(name: str, timeout: float = 10.0) -> Source:
    """The source of this name; timeout: of an answer. Raises InputError on a bad name, PortFault if a program fails."""
    if name.endswith(".npz"):
        return FileSource(name)
    if is_package(name):
        return PackagePort(backend(name))
    if ":" in name and "/" not in name:
        return PortSource(load_python_port(name), timeout)
    if not any(map(shutil.which, name.split()[:1])):
        forms = "a package (torch_rnn), a Python port (module:object), a program (./my_port) or a trace file (run.npz)"
        raise InputError(f"unknown implementation {name!r}: expected {forms}")
    try:
        return PortSource(ProgramPort(name, timeout), timeout)
    except PortFault as fault:
        raise PortFault(f"{one_line(name, 80)}, at its start: {fault}") from None
