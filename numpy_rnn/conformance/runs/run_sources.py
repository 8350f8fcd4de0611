"""Sources of recorded runs: a port is called once per update, a package trains."""

import itertools
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    NamedArrays,
    WindowCase,
    parameters_from,
    present,
    required_outputs,
)
from numpy_rnn.conformance.coverage import (
    FUNCTION,
    WHOLE_RUN,
    WINDOW_UPDATE,
    Computed,
)
from numpy_rnn.conformance.definition import (
    DEFINITION,
    RecordedUpdate,
    train,
    window_update,
)
from numpy_rnn.conformance.ports.port import PackagePort, StatedPort, stated_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.ports.user_code import describe_error, validated_report
from numpy_rnn.conformance.runs.recorded_run import (
    RecordedRun,
    RunRecorder,
)
from numpy_rnn.conformance.runs.requirements import loop_of, with_reduction

LOG_SUM_EXP = "subtract the largest output of each row, as in log-sum-exp"
# The records of an update of a package, and the prefixes of their names.
RECORDS = {
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

    def __init__(self, port: object, spelling: str = ""):
        self.port = stated_port(port)
        self.name = self.port.name
        self.spelling = spelling or self.name  # on a command line
        self.tau = self.port.tau
        self.computed = computed_by(self.port)

    def trace(self, run: Run) -> RecordedRun:
        """Return the run of the port, up to the update in which it fails, if it does.

        A window starts from the state that the port reported in the window before, or
        that its parameters give.

        Raises
        ------
        PortFault
            If the first update fails.
        """
        run = with_reduction(self.port.abilities, run)
        definition = loop_of(self.port.abilities, run)
        numbers = itertools.count(1)

        def compute(case: WindowCase) -> NamedArrays:
            """Return the report of the port."""
            return self.report(case, f"update {next(numbers)} of the run")

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
        recorded = recorder.recorded(definition)
        return recorded._replace(fault=fault, computed=self.computed)

    def report(self, case: WindowCase, where: str) -> NamedArrays:
        """Return the report on a window, with the same names for all windows of a
        run.
        """
        abilities = self.port.abilities
        absent: dict[str, Any] = {
            name: None for name in ("h_0", "step") if name in abilities.lacks
        }
        try:
            report = validated_report(self.port, case._replace(**absent), where)
        except PortFault as fault:
            # The run diverges, whoever computes it, where the definition overflows:
            # its window goes on as that of the port.
            report = window_update(case)
            if all(np.isfinite(array).all() for array in report.values()):
                raise with_advice(fault, case) from None
        if "step" in absent and case.step is not None:
            # The definition's step, by the port's gradients, leads to the next window.
            n = NumpyArithmetic(case.dtype)
            p, d = present(case.params), present(parameters_from(report, "d"))
            report |= DEFINITION.apply_step(n, p, d, {}, case.step)
        names = required_outputs(case, abilities.capabilities)
        if "h_0" in absent:
            names.pop("dh_0", None)  # which is optional in a single window
        return {name: report[name] for name in names}


class PackageSource(PortSource):
    """A package with the functions of numpy_rnn, whose runs are those of
    its `train`.
    """

    def trace(self, run: Run) -> RecordedRun:
        """Return the run of the package, whose numbers may overflow.

        Raises
        ------
        PortFault
            If `train` raises an error other than InputError, or yields nothing.
        """
        rnn = self.port.port.rnn
        series = map(rnn.from_numpy, (run.params, run.x, run.target, run.h_0))
        velocity = rnn.from_numpy(run.velocity)
        recorder = RunRecorder(run)
        try:
            with np.errstate(all="ignore"):
                updates = rnn.train(
                    *series, **run.options.keywords(), velocity=velocity, record=True
                )
                for update in updates:
                    recorder.append_report(recorded_update(update))
        except (InputError, MemoryError):
            raise
        except Exception as error:  # another author's package may do anything
            raise PortFault(f"{self.name} raises {describe_error(error)}") from None
        if not recorder.columns:
            raise PortFault(f"{self.name}: train yields nothing: expected updates")
        return recorder.recorded()


def recorded_update(update: Any) -> RecordedUpdate:
    """Return an update of a package, recorded with activations and adjoints."""
    arrays = {"loss": update.loss}
    for field, prefix in RECORDS.items():
        arrays |= present(getattr(update, field), prefix)
    del arrays["x"]  # the series is that of the run
    report = NamedArrays()
    for name, array in arrays.items():
        # A copy: thousands of tensors of torch take much memory, and time to collect.
        is_torch = hasattr(array, "detach")
        report[name] = array.detach().numpy().copy() if is_torch else array
    initial = report["h"][0]
    report["h"] = report["h"][1:]
    return RecordedUpdate(update.epoch, update.number, update.window, initial, report)


def with_advice(fault: PortFault, case: WindowCase) -> PortFault:
    """Return the fault of a port, with advice where its cross-entropy overflows."""
    if not (case.objective.has_classes and fault.what.startswith("loss is ")):
        return fault
    return PortFault(f"{fault}; {LOG_SUM_EXP}", fault.what)


def computed_by(port: StatedPort) -> Computed:
    """Return what a port computes: a window, with or without its update; a package, a
    whole run.
    """
    # A port of users may be a subclass, with another window_update.
    if type(port.port) is PackagePort:
        return WHOLE_RUN
    return FUNCTION if "step" in port.abilities.lacks else WINDOW_UPDATE


def source_of(port: StatedPort, spelling: str = "") -> PortSource:
    """Return the source of the runs of a port, or of a package; spelling: its name on
    a command line.
    """
    is_package = computed_by(port).loop
    kind = PackageSource if is_package else PortSource
    return kind(port, spelling)
