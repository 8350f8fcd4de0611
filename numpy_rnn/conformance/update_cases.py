"""The updates of a recorded run as cases and reports: stacked, or one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Parameters, Window
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import NamedArrays, WindowCase, present
from numpy_rnn.conformance.recorded_run import STEPWISE, RecordedRun

MAX_NUMBERS = 2**20  # of the updates that are checked together


def stacks(recorded: RecordedRun) -> Iterator[tuple[Array, WindowCase, NamedArrays]]:
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

    def entry_of(array: Array, first: int = 0) -> Array:
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


def _kinds(recorded: RecordedRun) -> Array:
    """Return T and K of every update, and whether there is a velocity before it."""
    run = recorded.run
    start, loss_start, stop = (recorded.updates[name] for name in Window._fields)
    has_velocity = (np.arange(len(start)) > 0) | (run.velocity is not None)
    has_velocity &= run.options.step.has_velocity
    return np.stack((stop - start, stop - loss_start, has_velocity), axis=1)


def _stack(recorded: RecordedRun, chosen: Array) -> tuple[WindowCase, NamedArrays]:
    """Return these updates, which are of one kind, as one case and one report.

    Their axis comes first, or after time.
    """
    run, updates = recorded.run, recorded.updates
    T, K, has_velocity = _kinds(recorded)[chosen[0]].tolist()
    step, fields = run.options.step, present(run.params)
    axes, rate = cases.leading_axes(run.params), np.asarray(step.learning_rate)

    def rows(first: Array, steps: int) -> Array:
        return first[chosen] + np.arange(steps)[:, None]

    def series(array: Array) -> Array:
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
