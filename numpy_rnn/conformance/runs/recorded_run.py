"""Recorded runs: every update of a training run as arrays, a case and a report."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import NumpyArray, Parameters, Run, Window
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    Recorded,
    window_update,
)
from numpy_rnn.conformance.ports.protocol import PortFault

STEPWISE = (*cases.INTERMEDIATES, "dx")  # one row per step of all windows, concatenated
MAX_NUMBERS = 2**20  # of the updates that are checked together


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
        """Return the window of the update with this index."""
        return Window(*(int(self.updates[name][index]) for name in Window._fields))

    @property
    def windows(self) -> list[Window]:
        """Return the windows of an epoch by (T1) and (T2)."""
        return self.of.windows(self.run)


def first_false(are_true: NumpyArray) -> int:
    """Return the first index at which an array is false, or its length."""
    return int(np.argmin(np.append(are_true, False)))


class RunRecorder:
    """Collect the updates of a run."""

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
        """Return the run of the updates so far. of: the definition of its schedule."""
        return RecordedRun(self.run, stack_columns(self.columns), of)


def record(
    run: Run, updates: Iterable[Recorded], of: Definition = DEFINITION
) -> RecordedRun:
    """Return the run with all of these updates."""
    recorder = RunRecorder(run)
    for each in updates:
        recorder.append_report(each)
    return recorder.recorded(of)


def stack_columns(columns: Mapping[str, list[Any]]) -> NamedArrays:
    """Return the arrays of all updates by name. torch joins its own tensors: each
    conversion is slow.
    """
    arrays = {}
    for name, values in columns.items():
        is_torch = hasattr(values[0], "detach")
        library: Any = sys.modules["torch"] if is_torch else np
        array = (library.concatenate if name in STEPWISE else library.stack)(values)
        arrays[name] = array.detach().numpy() if is_torch else array
    return arrays


def stacks(
    recorded: RecordedRun,
) -> Iterator[tuple[NumpyArray, WindowCase, NamedArrays]]:
    """Yield the updates of a run, as many of one kind at a time as memory allows, and
    which they are.
    """
    kinds, params = _kinds(recorded), present(recorded.run.params)
    weights = sum(theta.size for theta in params.values())
    per_step = sum(theta[..., 0, :].size for theta in params.values() if theta.ndim > 1)
    per_step *= recorded.run.h_0.shape[-2]
    for kind in np.unique(kinds, axis=0):
        chosen = np.flatnonzero((kinds == kind).all(axis=1))
        count = max(1, MAX_NUMBERS // (3 * weights + 4 * int(kind[0]) * per_step))
        for start in range(0, len(chosen), count):
            some = chosen[start : start + count]
            yield some, *_stack(recorded, some)


def single_update(
    recorded: RecordedRun, index: int, network: tuple[int, ...] = ()
) -> tuple[WindowCase, NamedArrays]:
    """Return one update of one network of a run, as a case and a report."""
    case, report = _stack(recorded, np.array([index]))

    def entry_of(array: NumpyArray, first: int = 0) -> NumpyArray:
        """Return the entry of an array whose ensemble axis may have size 1, shared by
        all networks.
        """
        entry: list[Any] = [slice(None)] * first
        for position, size in zip((0, *network), array.shape[first:]):
            entry.append(min(position, size - 1))
        return np.asarray(array[*entry])

    step = case.step
    if step is not None and np.ndim(step.learning_rate):
        rate = entry_of(step.learning_rate)
        step = step._replace(learning_rate=rate if rate.ndim else float(rate))
    single = case._replace(
        params=tree_map(entry_of, case.params),
        x=entry_of(case.x, 1),
        target=entry_of(case.target, 1),
        h_0=entry_of(case.h_0),
        step=step,
        velocity=tree_map(entry_of, case.velocity),
    )
    return single, {
        name: entry_of(v, int(name in STEPWISE)) for name, v in report.items()
    }


def _kinds(recorded: RecordedRun) -> NumpyArray:
    """Return T and K of every update, and whether there is a velocity before it."""
    run = recorded.run
    start, loss_start, stop = (recorded.updates[name] for name in Window._fields)
    has_velocity = (np.arange(len(start)) > 0) | (run.velocity is not None)
    has_velocity &= run.options.step.has_velocity
    return np.stack((stop - start, stop - loss_start, has_velocity), axis=1)


def _stack(recorded: RecordedRun, chosen: NumpyArray) -> tuple[WindowCase, NamedArrays]:
    """Return these updates, which are of one kind, as one case and one report.

    Their axis comes first, or after time.
    """
    run, updates = recorded.run, recorded.updates
    T, K, has_velocity = _kinds(recorded)[chosen[0]].tolist()
    step, fields = run.options.step, present(run.params)
    axes, rate = cases.leading_axes(run.params), np.asarray(step.learning_rate)

    def rows(first: NumpyArray, steps: int) -> NumpyArray:
        return first[chosen] + np.arange(steps)[:, None]

    def series(array: NumpyArray) -> NumpyArray:
        """With the axes of networks."""
        shared = axes + 3 - array.ndim - is_integer(array)
        return array.reshape(len(array), *(1,) * shared, *array.shape[1:])

    def before(prefix: str, initial: object) -> Parameters:
        """Return the parameters or velocities before these updates."""
        found = {name: updates[prefix + name][chosen - 1] for name in fields}
        for name in fields if chosen[0] == 0 else ():
            found[name][0] = getattr(initial, name)
        return cases.parameters_from(found)

    case = WindowCase(
        params=before("", run.params),
        x=series(run.x)[rows(updates["start"], T)],
        target=series(run.target)[rows(updates["loss_start"], K)],
        h_0=updates["initial"][chosen],
        objective=run.options.objective,
        step=step._replace(learning_rate=rate[None]) if rate.ndim else step,
        velocity=before("v", run.velocity) if has_velocity else None,  # type: ignore[arg-type]
    )
    steps, names = rows(recorded.first_rows, T), updates.keys() & cases.SHAPES.keys()
    return case, {
        name: updates[name][steps if name in STEPWISE else chosen] for name in names
    }


def finite_part(recorded: RecordedRun) -> RecordedRun:
    """Return the updates before the first that overflows: with NaN or infinity, or a
    gradient whose norm overflows.

    An update is kept whose numbers are not finite, but those of the definition are: it
    is wrong.
    """
    first = min(recorded.finite_updates(), _clippable_updates(recorded))
    if first == recorded.length:
        return recorded
    case, report = single_update(recorded, first)
    with np.errstate(all="ignore"):
        right = window_update(case)
    is_right_finite = all(np.isfinite(right[name]).all() for name in report)
    if is_right_finite and not all(np.isfinite(v).all() for v in report.values()):
        first += 1
    return recorded.first(first)


def _clippable_updates(recorded: RecordedRun) -> int:
    """Return the number of updates before the first with a gradient whose norm
    overflows, if gradients are clipped by their norm.
    """
    run, is_small = recorded.run, np.ones(recorded.length, bool)
    if run.options.step.max_norm is not None:
        largest = float(np.finfo(run.params.W_hh.dtype).max)
        for name, theta in present(run.params).items():
            gradients = recorded.updates["d" + name].reshape(recorded.length, -1)
            limit = (largest / (8 * theta.size)) ** 0.5
            is_small &= (np.abs(gradients) < limit).all(axis=1)
    return first_false(is_small)
