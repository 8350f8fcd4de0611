"""Sources of recorded runs: a port is called once per update, a package trains."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import apply_step, train, window_update
from numpy_rnn.conformance.ports.abilities import loop_of, stated_by, with_reduction
from numpy_rnn.conformance.ports.port import (
    PackagePort,
    describe_error,
    tanh_error,
    validated_report,
)
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.runs.recorded_run import (
    RecordedRun,
    RunRecorder,
    stack_columns,
)

# updates at a time: the garbage collector visits every tensor that is not joined
JOINED = 100
# The records of an update of a package, and the prefixes of their names.
RECORDS = {
    "window": "",
    "activations": "",
    "adjoints": "",
    "parameters": "",
    "gradients": "d",
    "velocity": "v",
}


class PortSource:
    """A port whose runs are judged: it is called once per update, and may be asked more
    windows.
    """

    def __init__(self, port: Any):
        self.port = port
        self.name = port.name
        self.tau = tanh_error(port)

    def trace(self, run: Run) -> RecordedRun:
        """Return the run of the port, up to the update in which it fails, if it does.

        A window starts from the state that the port reported in the window before, or
        that its parameters give.

        Raises
        ------
        PortFault
            If the first update fails.
        """
        run = with_reduction(self.port, run)
        definition = loop_of(self.port, run)
        numbers = itertools.count(1)

        def compute(case: WindowCase) -> tuple[NamedArrays, NumpyArray]:
            """Return the report of the port, and the states of the window."""
            report = self.report(case, f"update {next(numbers)} of the run")
            states = report.get("h")
            if states is None:
                states = window_update(case)["h"]
            return report, states

        recorder = RunRecorder(run)
        fault = None
        with np.errstate(all="ignore"):
            try:
                for update in train(run, compute, definition):
                    recorder.append_report(update)
            except PortFault as error:
                if not recorder.columns:
                    raise
                fault = error
        return recorder.recorded(definition)._replace(fault=fault)

    def report(self, case: WindowCase, where: str) -> NamedArrays:
        """Return the report on a window, with the same names for all windows of a run.

        Computed here are dh_0 or a step that the port lacks, and a window whose numbers
        overflow.
        """
        stated = stated_by(self.port)
        has_input_gradients = "input_gradients" in stated.capabilities
        simpler = case
        if "h_0" in stated.unsupported:
            simpler = simpler._replace(h_0=None)
        if "step" in stated.unsupported:
            simpler = simpler._replace(step=None)
        try:
            report = validated_report(self.port, simpler, where)
        except PortFault:
            report = window_update(case)
            if all(np.isfinite(array).all() for array in report.values()):
                raise  # otherwise the run diverges, whoever computes it
        if "h_0" in stated.unsupported and has_input_gradients:
            report = {"dh_0": window_update(case)["dh_0"]} | report
        if "step" in stated.unsupported and case.step is not None:
            n = NumpyArithmetic(case.dtype)
            params = present(case.params)
            gradients = {name: report["d" + name] for name in params}
            report |= apply_step(n, params, gradients, {}, case.step)
        names = cases.required_outputs(
            case, "intermediates" in stated.capabilities, has_input_gradients
        )
        return {name: report[name] for name in names}


class PackageSource(PortSource):
    """A package with the functions of numpy_rnn, whose runs are those of
    its `train`.
    """

    def __init__(self, port: PackagePort):
        super().__init__(port)
        self.rnn = port.rnn

    def trace(self, run: Run) -> RecordedRun:
        """Return the run of the package, whose numbers may overflow.

        Raises
        ------
        PortFault
            If `train` raises an error other than InputError, or yields nothing.
        """
        rnn = self.rnn
        series = map(rnn.from_numpy, (run.params, run.x, run.target, run.h_0))
        velocity = rnn.from_numpy(run.velocity)
        parts = list[NamedArrays]()
        try:
            with np.errstate(all="ignore"):
                updates = rnn.train(
                    *series, **run.options.keywords(), velocity=velocity, record=True
                )
                while chunk := list(itertools.islice(updates, JOINED)):
                    parts.append(stack_columns(columns_of(chunk)))
        except (InputError, MemoryError):
            raise
        except Exception as error:  # another author's package may do anything
            raise PortFault(f"{self.name} raises {describe_error(error)}") from None
        if not parts:
            raise PortFault(f"{self.name}: train yields nothing: expected updates")
        arrays = NamedArrays()
        for name in parts[0]:
            arrays[name] = np.concatenate([part[name] for part in parts])
        return RecordedRun(run, arrays)


def columns_of(updates: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the arrays of several updates of a package, recorded with activations and
    adjoints.
    """
    columns = dict[str, list[Any]]()
    for name in ("epoch", "number", "loss"):
        columns[name] = [getattr(update, name) for update in updates]
    for field, prefix in RECORDS.items():
        records = [getattr(update, field) for update in updates]
        for name in present(records[0]):
            columns[prefix + name] = [getattr(record, name) for record in records]
    del columns["x"]  # the series is that of the run
    states = columns["h"]
    columns["initial"] = [h[0] for h in states]
    columns["h"] = [h[1:] for h in states]
    return columns


def source_of(port: Any) -> PortSource:
    """Return the source of the runs of a port, or of a package."""
    return PackageSource(port) if isinstance(port, PackagePort) else PortSource(port)
