"""Recorded runs: every update of a training run as arrays, as a case and a report."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import NumpyArray, Parameters, Run, Window
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.case import (
    GRADIENT_AXES,
    INTERMEDIATES,
    SHAPES,
    NamedArrays,
    WindowCase,
    leading_axes,
    parameters_from,
    present,
)
from numpy_rnn.conformance.coverage import WHOLE_RUN, Computed
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    RecordedUpdate,
    window_update,
)
from numpy_rnn.conformance.ports.protocol import PortFault

STEPWISE = (*INTERMEDIATES, "dx")  # one row per step of all windows, concatenated
MAX_NUMBERS = 2**20  # of the updates that are checked together


class RecordedRun(NamedTuple):
    """A run and the arrays of all its updates, by the keys of a trace file."""

    run: Run
    updates: NamedArrays
    definition: Definition = DEFINITION  # of its schedule
    computed: Computed = WHOLE_RUN  # what its source computes: the rest is no evidence
    fault: PortFault | None = None  # which ended it early
    # Recomputed where the updates have none, and their errors: see `with_velocities`.
    velocities: NamedArrays | None = None
    velocity_errors: NamedArrays | None = None

    def upto(self, count: int) -> "RecordedRun":
        """Return the run of the first updates."""
        rows = self.first_rows[count]
        updates = NamedArrays()
        for name, array in self.updates.items():
            updates[name] = array[: rows if name in STEPWISE else count]
        return self._replace(updates=updates)

    @property
    def length(self) -> int:
        """Return the number of updates."""
        return len(self.updates["stop"])

    def finite_updates(self) -> int:
        """Return the number of updates before the first with NaN or infinity, or with a
        gradient to clip whose norm overflows.
        """
        largest = float(np.finfo(self.run.params.W_hh.dtype).max)
        is_clipped = self.run.options.step.max_norm is not None
        is_finite = np.ones(self.length, bool)
        for name, array in self.updates.items():
            rows = array.reshape(len(array), -1)
            limit = largest
            if is_clipped and name in GRADIENT_AXES:
                limit = (largest / (8 * rows.shape[1])) ** 0.5
            are_small = (np.abs(rows) <= limit).all(axis=1)
            if name in STEPWISE:
                are_small = np.logical_and.reduceat(are_small, self.first_rows[:-1])
            is_finite &= are_small
        return int(np.argmin(np.append(is_finite, False)))

    @property
    def first_rows(self) -> NumpyArray:
        """Return the first row of every update in arrays with one per step, and their
        number of rows.
        """
        return np.cumsum(np.append(0, self.updates["stop"] - self.updates["start"]))

    def update_index(self, update: Any) -> int:
        """Return the index of an update, by its `epoch` and its `number`."""
        is_epoch = self.updates["epoch"] == update.epoch
        is_number = self.updates["number"] == update.number
        return int(np.argmax(is_epoch & is_number))

    def window(self, index: int) -> Window:
        """Return the window of the update with this index."""
        return Window(*(int(self.updates[name][index]) for name in Window._fields))

    @property
    def expected_windows(self) -> list[Window]:
        """Return the windows of an epoch by (T1) and (T2)."""
        return self.definition.windows(self.run)


class RunRecorder:
    """Collect the updates of a run."""

    def __init__(self, run: Run):
        self.run = run
        self.columns = dict[str, list[Any]]()

    def append_report(self, update: RecordedUpdate) -> None:
        """Add one update by its report. Its arrays are kept, not copied."""
        columns: dict[str, Any] = update.window._asdict() | update.report
        columns["epoch"] = update.epoch
        columns["number"] = update.number
        columns["initial"] = update.initial
        for name, value in columns.items():
            self.columns.setdefault(name, []).append(value)

    def recorded(self, definition: Definition = DEFINITION) -> RecordedRun:
        """Return the run of the updates so far, with the definition of its schedule."""
        return RecordedRun(self.run, stack_columns(self.columns), definition)


def stack_columns(columns: Mapping[str, list[Any]]) -> NamedArrays:
    """Return the arrays of all updates by name."""
    arrays = {}
    for name, values in columns.items():
        join = np.concatenate if name in STEPWISE else np.stack
        arrays[name] = join(values)
    return arrays


def with_velocities(recorded: RecordedRun) -> RecordedRun:
    """Return a run; where its updates lack velocities, with those that its gradients
    give.

    They start from rest or from the velocity of the run, and carry the rounding bound
    of all updates before. So the parameters are judged, and the velocities are not.
    """
    run = recorded.run
    step = run.options.step
    if not step.has_velocity or "vW_hh" in recorded.updates:
        return recorded
    n = Bounds(run.params.W_hh.dtype)
    n.axes = leading_axes(run.params) + 1  # that of updates
    p, d = {}, {}
    for name, initial in present(run.params).items():
        before = (initial[None], recorded.updates[name][:-1])
        p[name] = n.from_input(np.concatenate(before))
        d[name] = n.from_input(recorded.updates["d" + name])
    v_0 = present(run.velocity)
    velocities = NamedArrays()
    errors = NamedArrays()
    with np.errstate(all="ignore"):  # a bound that overflows accuses nothing
        for name, g in DEFINITION.step_gradients(n, p, d, step):
            v = n.from_input(v_0[name]) if name in v_0 else None
            rows = []
            for index in range(recorded.length):
                v = DEFINITION.velocity(n, g[index], v, step)
                rows.append(v)
            stacked = n.stack(rows)
            velocities["v" + name] = stacked.value
            errors["v" + name] = stacked.E
    return recorded._replace(velocities=velocities, velocity_errors=errors)


def stacks(
    recorded: RecordedRun,
) -> Iterator[tuple[NumpyArray, WindowCase, NamedArrays]]:
    """Yield the indices of some updates of one kind, and these updates as one case and
    one report: as many at a time as memory allows.
    """
    kinds = _kinds(recorded)
    params = present(recorded.run.params)
    weights = sum(theta.size for theta in params.values())
    per_step = sum(theta[..., 0, :].size for theta in params.values() if theta.ndim > 1)
    per_step *= recorded.run.h_0.shape[-2]
    for kind in np.unique(kinds, axis=0):
        of_kind = np.flatnonzero((kinds == kind).all(axis=1))
        count = max(1, MAX_NUMBERS // (3 * weights + 4 * int(kind[0]) * per_step))
        for start in range(0, len(of_kind), count):
            indices = of_kind[start : start + count]
            yield indices, *_stack(recorded, indices)


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

    arrays = (case.params, case.h_0, case.step, case.velocity, case.velocity_error)
    params, h_0, step, velocity, errors = tree_map(entry_of, arrays)
    x, target = entry_of(case.x, 1), entry_of(case.target, 1)
    single = WindowCase(params, x, target, h_0, case.objective, step, velocity, errors)
    entries = NamedArrays()
    for name, array in report.items():
        entries[name] = entry_of(array, int(name in STEPWISE))
    return single, entries


def _kinds(recorded: RecordedRun) -> NumpyArray:
    """Return T and K of every update, and whether there is a velocity before it."""
    run = recorded.run
    start, loss_start, stop = (recorded.updates[name] for name in Window._fields)
    has_velocity = (np.arange(len(start)) > 0) | (run.velocity is not None)
    has_velocity &= run.options.step.has_velocity
    return np.stack((stop - start, stop - loss_start, has_velocity), axis=1)


def _stack(
    recorded: RecordedRun, indices: NumpyArray
) -> tuple[WindowCase, NamedArrays]:
    """Return these updates, which are of one kind, as one case and one report.

    Their axis comes first, or after time.
    """
    run = recorded.run
    updates = recorded.updates
    T, K, has_velocity = _kinds(recorded)[indices[0]].tolist()
    axes = leading_axes(run.params)
    step = run.options.step
    rate = np.asarray(step.learning_rate)
    if rate.ndim:
        step = step._replace(learning_rate=rate[None])

    def rows(first: NumpyArray, steps: int) -> NumpyArray:
        """Return the indices of the rows of these updates, by step."""
        return first[indices] + np.arange(steps)[:, None]

    def series(array: NumpyArray) -> NumpyArray:
        """Return a series with the axes of networks."""
        shared = axes + 3 - array.ndim - is_integer(array)
        return array.reshape(len(array), *(1,) * shared, *array.shape[1:])

    def before(
        arrays: Mapping[str, NumpyArray], prefix: str, initial: Mapping[str, NumpyArray]
    ) -> Parameters[Any]:
        """Return the parameters or velocities before these updates."""
        former = {n: arrays[prefix + n][indices - 1] for n in present(run.params)}
        if indices[0] == 0:
            for name, array in initial.items():
                former[name][0] = array
        return parameters_from(former)

    case = WindowCase(
        params=before(updates, "", present(run.params)),
        x=series(run.x)[rows(updates["start"], T)],
        target=series(run.target)[rows(updates["loss_start"], K)],
        h_0=updates["initial"][indices],
        objective=run.options.objective,
        step=step,
    )
    if has_velocity:
        initial = present(run.velocity)
        velocity: Any = before(recorded.velocities or updates, "v", initial)
        case = case._replace(velocity=velocity)
        if recorded.velocity_errors is not None:
            exact = {name: np.zeros(()) for name in initial}
            errors = before(recorded.velocity_errors, "v", exact)
            case = case._replace(velocity_error=errors)
    steps = rows(recorded.first_rows, T)
    report = NamedArrays()
    for name in updates.keys() & SHAPES.keys():
        report[name] = updates[name][steps if name in STEPWISE else indices]
    return case, report


def finite_part(recorded: RecordedRun) -> RecordedRun:
    """Return the updates before the first that overflows: with NaN or infinity, or a
    gradient whose norm overflows.

    An update is kept whose numbers are not finite, but those of the definition are: it
    is wrong.
    """
    count = recorded.finite_updates()
    if count == recorded.length:
        return recorded
    case, report = single_update(recorded, count)
    with np.errstate(all="ignore"):
        expected = window_update(case)
    is_expected_finite = all(np.isfinite(expected[name]).all() for name in report)
    is_finite = all(np.isfinite(array).all() for array in report.values())
    if is_expected_finite and not is_finite:
        count += 1
    return recorded.upto(count)
