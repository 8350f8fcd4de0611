"""Recorded runs: every update of a package's, a port's or your own training run as
arrays.
"""

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.axes import is_integer
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Run, Window
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import Operand
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    Recorded,
    apply_step,
    train,
    window_update,
)
from numpy_rnn.conformance.ports.abilities import (
    Ability,
    CaseUse,
    forced_fields,
    missing,
    stated_by,
)
from numpy_rnn.conformance.ports.port import PackagePort, tanh_error, validated_report
from numpy_rnn.conformance.ports.protocol import PortFault

STEPWISE = (*cases.INTERMEDIATES, "dx")  # one row per step of all windows, concatenated
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
MAX_MAGNITUDE = 1e12  # its square is still far from float32's largest number, 3e38


class RecordedRun(NamedTuple):
    """A run and the arrays of all its updates, by the keys of a trace file."""

    run: Run
    updates: NamedArrays
    of: Definition = DEFINITION  # its schedule
    fault: PortFault | None = None  # which ended it early

    def first(self, count: int) -> "RecordedRun":
        """Return the run of the first updates."""
        updates, rows = NamedArrays(), self.first_rows[count]
        for name, array in self.updates.items():
            updates[name] = array[: rows if name in STEPWISE else count]
        return self._replace(updates=updates)

    @property
    def length(self) -> int:
        """Return the number of updates."""
        return len(self.updates["stop"])

    def finite_updates(self) -> int:
        """Return the number of updates before the first with NaN or infinity."""
        is_finite = np.ones(self.length, bool)
        for name, array in self.updates.items():
            rows = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
            if name in STEPWISE:
                rows = np.logical_and.reduceat(rows, self.first_rows[:-1])
            is_finite &= rows
        return first_false(is_finite)

    @property
    def first_rows(self) -> NumpyArray:
        """Return the first row of every update in arrays with one per step, and their
        number of rows.
        """
        return np.cumsum(np.append(0, self.updates["stop"] - self.updates["start"]))

    def update_index(self, update: Any) -> int:
        """Return the index of an update, by its `epoch` and its `number`."""
        epoch, number = self.updates["epoch"], self.updates["number"]
        return int(np.argmax((epoch == update.epoch) & (number == update.number)))

    def window(self, index: int) -> Window:
        return Window(*(int(self.updates[name][index]) for name in Window._fields))

    @property
    def windows(self) -> list[Window]:
        """Return the windows of an epoch by (T1) and (T2)."""
        return self.of.windows(self.run)


def first_false(are_true: NumpyArray) -> int:
    """Return the first index at which an array is false, or its length."""
    return int(np.argmin(np.append(are_true, False)))


class RunRecorder:
    """Collects the updates of a run."""

    def __init__(self, run: Run):
        self.run, self.columns = run, dict[str, list[Any]]()

    def append_report(self, update: Recorded) -> None:
        """Add one update by its report. Its arrays are kept, not copied."""
        columns: dict[str, Any] = update.window._asdict() | update.report
        columns["epoch"], columns["number"] = update.epoch, update.number
        columns["initial"] = update.initial
        for name, value in columns.items():
            self.columns.setdefault(name, []).append(value)

    def recorded(self, of: Definition = DEFINITION) -> RecordedRun:
        return RecordedRun(self.run, stack_columns(self.columns), of)


def stack_columns(columns: Mapping[str, list[Any]]) -> NamedArrays:
    """Return the arrays of all updates by name. torch joins its own tensors: each
    conversion is slow.
    """
    arrays = {}
    for name, values in columns.items():
        is_torch = hasattr(values[0], "detach")
        library: Operand = sys.modules["torch"] if is_torch else np
        array = (library.concatenate if name in STEPWISE else library.stack)(values)
        arrays[name] = array.detach().numpy() if is_torch else array
    return arrays


def record(
    run: Run, updates: Iterable[Recorded], of: Definition = DEFINITION
) -> RecordedRun:
    recorder = RunRecorder(run)
    for each in updates:
        recorder.append_report(each)
    return recorder.recorded(of)


def is_bounded(run: Run) -> bool:
    """Return whether the definition's run stays far within the range of float32."""
    with np.errstate(all="ignore"):
        for recorded in train(run):
            for array in recorded.report.values():
                if not (np.abs(array) < MAX_MAGNITUDE).all():
                    return False
    return True


class PortSource:
    """A port whose runs are judged: it is called once per update, and may be asked more
    windows.
    """

    def __init__(self, port: Any):
        self.port, self.name, self.tau = port, port.name, tanh_error(port)

    def check(self, run: Run) -> None:
        """Raise InputError unless the port supports this run."""
        absent = unsupported(self.port, run)
        if absent:
            words = ", no ".join(ability.words for ability in absent)
            remedies = dict[str, Any]()
            for ability in absent:
                remedies.update(ability.remedy)
            expected = ", ".join(f"{n} = {value}" for n, value in remedies.items())
            message = f"{self.name} has no {words}"
            if expected:
                message += f": expected a run with {expected}"
            raise InputError(message)

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
        of, updates = loop_of(self.port, run), itertools.count(1)

        def compute(case: WindowCase) -> tuple[NamedArrays, NumpyArray]:
            report = self.report(case, f"update {next(updates)} of the run")
            return report, report["h"] if "h" in report else window_update(case)["h"]

        recorder, fault = RunRecorder(run), None
        with np.errstate(all="ignore"):
            try:
                for each in train(run, compute, of):
                    recorder.append_report(each)
            except PortFault as error:
                if not recorder.columns:
                    raise
                fault = error
        return recorder.recorded(of)._replace(fault=fault)

    def report(self, case: WindowCase, where: str) -> NamedArrays:
        """Return the report on a window, with the same names for all windows of a run.

        Computed here are dh_0 or a step that the port lacks, and a window whose numbers
        overflow.
        """
        has, lacks = stated_by(self.port)[:2]
        asked = case
        if "h_0" in lacks:
            asked = asked._replace(h_0=None)
        if "step" in lacks:
            asked = asked._replace(step=None)
        try:
            report = validated_report(self.port, asked, where)
        except PortFault:
            report = window_update(case)
            if all(np.isfinite(array).all() for array in report.values()):
                raise  # otherwise the run diverges, whoever computes it
        if "h_0" in lacks and "input_gradients" in has:
            report = {"dh_0": window_update(case)["dh_0"]} | report
        if "step" in lacks and case.step is not None:
            n, params = NumpyArithmetic(case.dtype), present(case.params)
            gradients = {name: report["d" + name] for name in params}
            report |= apply_step(n, params, gradients, {}, case.step)
        names = cases.required_outputs(
            case, "intermediates" in has, "input_gradients" in has
        )
        return {name: report[name] for name in names}


class PackageSource(PortSource):
    """A package with the functions of numpy_rnn, whose runs are those of
    its `train`.
    """

    def check(self, run: Run) -> None:
        """Every run is supported."""

    def trace(self, run: Run) -> RecordedRun:
        """Return the run of the package, whose numbers may overflow."""
        rnn = self.port.rnn
        given = (run.params, run.x, run.target, run.h_0, run.velocity)
        *series, velocity = map(rnn.from_numpy, given)
        options = run.options.keywords() | {"velocity": velocity, "record": True}
        with np.errstate(all="ignore"):
            updates = rnn.train(*series, **options)
            chunks = iter(lambda: [*itertools.islice(updates, JOINED)], [])
            parts = [stack_columns(columns_of(chunk)) for chunk in chunks]
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
        columns[name] = [getattr(each, name) for each in updates]
    for field, prefix in RECORDS.items():
        records = [getattr(each, field) for each in updates]
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


def loop_of(port: Any, run: Run) -> Definition:
    """TBPTT, or chunks with a loss at the last steps where a port cannot have one at
    every step.
    """
    stated = stated_by(port)
    lacks, shapes = stated.unsupported, stated.sizes
    k1, k2, _ = run.options.schedule
    fitting = [shape.get("K", k1) for shape in shapes if shape.get("T") == k1 == k2]
    K = 1 if "many losses" in lacks and fitting else min(fitting, default=k1)

    def window(T: int, new: int, k1: int, k2: int) -> Window:
        stop = min(new + k1, T)
        return Window(new, max(new, stop - K), stop)

    return (
        DEFINITION if k1 <= K or "older steps" in lacks else Definition(window=window)
    )


def with_reduction(port: Any, run: Run) -> Run:
    """Return the run with the reduction of a port that has one of its own."""
    reduction = stated_by(port).reduction
    if reduction is None:
        return run
    objective = run.options.objective._replace(reduction=reduction)
    return run._replace(options=run.options._replace(objective=objective))


def use_of_run(run: Run, windows: Sequence[Window]) -> CaseUse:
    """Return what a run with these windows uses of a port."""
    starts = {window.start for window in windows}
    return CaseUse(
        objective=run.options.objective,
        dtype=str(run.params.W_hh.dtype),
        step=run.options.step,
        bias=run.params.b_h is not None,
        class_inputs=is_integer(run.x),
        batch=run.h_0.shape[-2] > 1,
        networks=run.params.networks is not None,
        h_0=bool(run.h_0.any()) or starts != {0},
        older_steps=any(window.loss_start > window.start for window in windows),
        many_losses=any(window.loss_steps > 1 for window in windows),
    )


def unsupported(port: Any, run: Run) -> list[Ability]:
    """Return every ability that a run needs and the port has not.

    `words` of an ability are for a user; `remedy` has the fields of a run, and their
    values, that do without it. The last one may be the sizes of the run.
    """
    stated = stated_by(port)
    windows = loop_of(port, run).windows(run)
    used = missing(use_of_run(run, windows), stated)
    # The update of a port without a step is made by its source.
    found = [ability for ability in used if ability.name != "step"]
    sizes = cases.case_sizes(run)
    lengths = [window.steps for window in windows]
    shortest, longest = min(lengths), max(lengths)
    wrong = []
    for shape in stated.sizes:
        remedy, words = dict[str, Any](), list[str]()
        for letter in "BDHO":
            size = sizes[letter]
            if shape.get(letter, size) != size:
                remedy[letter] = shape[letter]
                words.append(f"{letter} = {size}")
        T = shape.get("T", longest)
        if not (shortest == longest == T):
            words.append(f"windows of {shortest} to {longest} steps")
            remedy |= {"k1": T, "k2": T}
        wrong.append((len(words), ", ".join(words), tuple(remedy.items())))
    if wrong and min(wrong)[0] > 0:
        _, text, fields = min(wrong)
        found.append(Ability("sizes", text, lambda use: True, fields))
    return found


def run_defaults(port: Any) -> dict[str, Any]:
    """Return the fields of a run that the statements of a port force, by their names.

    They are fields of Objective, Schedule and Step, `bias`, `class_inputs`, `dtype`,
    `networks`, and sizes by their letters. The value of k1 or k2 may be the name of the
    other one, or "T", the length of the series.
    """
    stated = stated_by(port)
    fields = forced_fields(stated)
    if len(stated.sizes) == 1:
        for letter, size in stated.sizes[0].items():
            if letter == "T":
                fields["k1"], fields["k2"] = size, "k1"
            elif letter != "K":
                fields[letter] = size
    return fields
