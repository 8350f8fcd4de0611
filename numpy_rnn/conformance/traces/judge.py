"""Lockstep, level L3: every update of a recorded run is checked at L1, or at L2 without intermediates.

The inputs of every check are the recorded numbers, so an update is judged from the parameters and the state from which
it started. No drift accumulates from update to update, however long the run is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import Window, WindowCase
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.case import as_rows, parameters_from, present
from numpy_rnn.conformance.traces.divergence import (
    BACKWARDS,
    TENSORS,
    Divergence,
    equations,
    expected_windows,
)
from numpy_rnn.conformance.traces.recorder import ROWS, RecordedRun
from numpy_rnn.conformance.window_checks import Check, global_checks, local_checks, tolerances

MAX_NUMBERS = 2**23  # of the updates that are checked together
SERIES = ("x", "target", "weights")  # of a case, with the axis of time first


class Stack(NamedTuple):
    """Updates of one kind as one case and one report. Their axis comes first, or after that of time."""

    chosen: np.ndarray  # which updates of the run, (n,)
    case: WindowCase
    report: dict[str, np.ndarray]

    def single(self, at: tuple[int, ...]) -> tuple[WindowCase, dict[str, np.ndarray]]:
        """One update of one network, as a case and a report."""

        def one(array: np.ndarray, first: int = 0) -> np.ndarray:
            """The entry of an array whose ensemble axes may have size 1, shared by all networks."""
            places = (min(i, size - 1) for i, size in zip(at, array.shape[first:]))
            return array[(slice(None),) * first + tuple(places)]

        rate = np.asarray(self.case.step.learning_rate)
        step = self.case.step._replace(learning_rate=float(one(rate) if rate.ndim else rate))
        case = self.case._replace(
            step=step,
            **{
                name: convert(one, getattr(self.case, name))
                for name in ("params", "h_0", "velocity")
            },
            **{
                name: convert(lambda array: one(array, 1), getattr(self.case, name))
                for name in SERIES
            },
        )
        return case, {
            name: np.asarray(one(array, int(name in ROWS))) for name, array in self.report.items()
        }


NO_UPDATES: Mapping[str, int] = MappingProxyType({})


class Judgement(NamedTuple):
    """The judgement of a recorded run."""

    updates: int
    worst: dict[str, float]  # the largest ratio of every tensor; 1 is what rounding allows
    first: Divergence | None
    estimated: Mapping[str, int] = (
        NO_UPDATES  # those whose tensor is checked against an estimate, not a proven bound
    )
    lost: Mapping[str, int] = (
        NO_UPDATES  # those whose tensor rounding alone changes by a hundredth: not checked
    )

    @property
    def passed(self) -> bool:
        """Whether no bound is exceeded."""
        return self.first is None


def judge(
    recorded: RecordedRun, tau: TanhError = TAU, whole: bool = True, as_black_box: bool = False
) -> Judgement:
    """Check every update: its window, its initial state, and all tensors, at L1. Unless `whole`, the end may lack.

    At L2 instead if there are no intermediates, or `as_black_box`.
    """
    updates, options = recorded.updates, recorded.run.options
    divergences = [*schedule_divergences(recorded, whole), *state_divergences(recorded)]
    worst = {name: 0.0 for name in TENSORS if name in updates or name == "window"}
    estimated, lost = Counter[str](), Counter[str]()
    for divergence in divergences:
        worst[divergence.tensor] = np.inf
    for stack in stacks(recorded):
        is_box = as_black_box or "a" not in updates
        checks = (
            _as_black_box(updates, stack, tau)
            if is_box
            else local_checks(stack.case, stack.report, tau)
        )
        for check in checks:
            name = check.tensor
            worst[name] = max(worst[name], float(check.ratio.max()))
            estimated[name] += int(check.estimated.sum())
            lost[name] += int(check.lost.sum())
            if not (check.ratio <= 1).all():
                divergences.append(_first_divergence(updates, stack, check))
    first = min(divergences, key=Divergence.causal_place, default=None)
    first = first and first._replace(
        equation=equations(first.tensor, options.objective, options.step)
    )
    return Judgement(len(updates["epoch"]), worst, first, +estimated, +lost)


def stacks(recorded: RecordedRun) -> Iterator[Stack]:
    """The updates of a run, stacked by their kinds, as many at a time as memory allows."""
    kinds, run = _kinds(recorded), recorded.run
    W_xh, W_hh, W_hy = run.params[:3]
    weights = W_xh.size + W_hh.size + W_hy.size
    per_step = (
        W_hh.size // W_hh.shape[-1] + W_hy.size // W_hh.shape[-1] + W_xh.size // W_hh.shape[-1]
    )
    for kind in np.unique(kinds, axis=0):
        chosen = np.flatnonzero((kinds == kind).all(axis=1))
        numbers = 3 * weights + 4 * int(kind[0]) * per_step * run.x.shape[1]
        count = max(1, MAX_NUMBERS // numbers)
        for first in range(0, len(chosen), count):
            yield _stack(recorded, chosen[first : first + count], *kind.tolist())


def single_update(
    recorded: RecordedRun, index: int, network: tuple[int, ...] = ()
) -> tuple[WindowCase, dict]:
    """One update of one network of a run, as a case and a report."""
    return _stack(recorded, np.array([index]), *_kinds(recorded)[index].tolist()).single(
        (0, *network)
    )


def _kinds(recorded: RecordedRun) -> np.ndarray:
    """T and K of every update, whether its initial state is learned, and whether a velocity begins with it."""
    run, updates = recorded
    start, stop = updates["start"], updates["stop"]
    from_learned = (start == 0) & (run.params.h_0 is not None)
    first = (np.arange(len(start)) == 0) & run.options.step.has_velocity
    return np.stack((stop - start, stop - updates["loss_start"], from_learned, first), axis=1)


def _stack(
    recorded: RecordedRun, chosen: np.ndarray, T: int, K: int, from_learned: int, first: int
) -> Stack:
    run, updates = recorded
    E, step = run.params.W_hh.ndim - 2, run.options.step
    start, loss_start = updates["start"][chosen], updates["loss_start"][chosen]
    first_row = np.concatenate(([0], np.cumsum(updates["stop"] - updates["start"])))[chosen]
    fields = [name for name in present(run.params) if name != "h_0" or from_learned]

    def rows(first_step: np.ndarray, steps: int) -> np.ndarray:
        """Indices (steps, n)."""
        return first_step + np.arange(steps)[:, None]

    def series(name: str, first_step: np.ndarray, steps: int) -> np.ndarray:
        size = run.params.W_xh.shape[-2] if name == "x" else run.params.W_hy.shape[-1]
        array = as_rows(getattr(run, name), size, run.params.W_hh.dtype)
        if array.ndim < 3 + E:
            array = array.reshape(len(array), *(1,) * E, *array.shape[1:])
        return array[rows(first_step, steps)]

    params, velocity = {name: updates[name][chosen - 1] for name in fields}, None
    if chosen[0] == 0:
        for name in fields:
            params[name][0] = getattr(run.params, name)
    if step.has_velocity and not first:
        velocity = parameters_from({name: updates["v" + name][chosen - 1] for name in fields})
    weights: Any = None
    if run.weights is not None:
        weights = run.weights[rows(loss_start, K)].reshape(K, len(chosen), *(1,) * E, -1)
    rate = step.learning_rate
    step = step._replace(learning_rate=np.asarray(rate)[None] if np.ndim(rate) else rate)
    x, target, h_0 = (
        series("x", start, T),
        series("target", loss_start, K),
        updates["initial"][chosen],
    )
    case = WindowCase(
        parameters_from(params), x, target, h_0, weights, run.options.objective, step, velocity
    )
    report = {name: updates[name][rows(first_row, T)] for name in ROWS if name in updates}
    names = ["loss"] + ["dh_0"] * ("dx" in updates)
    names += [
        prefix + name
        for prefix in (("d", "v", "") if step.has_velocity else ("d", ""))
        for name in fields
    ]
    return Stack(chosen, case, report | {name: updates[name][chosen] for name in names})


def _as_black_box(updates: dict[str, np.ndarray], stack: Stack, tau: TanhError) -> Iterator[Check]:
    """The checks of a stacked case at L2; without reported states, also of the initial state of the next window."""
    yield from global_checks(stack.case, stack.report, tau)
    steps = carried_steps(updates)[stack.chosen]
    if "h" not in updates and steps.any():
        (follows,) = np.nonzero(steps)
        states = updates["initial"][stack.chosen[follows] + 1]
        tolerance = tolerances(stack.case, ["h"], tau)["h"].at(steps[follows] - 1, follows)
        yield tolerance._replace(tensor="initial").check(states)


def _first_divergence(updates: dict[str, np.ndarray], stack: Stack, check: Check) -> Divergence:
    """The first of the stacked updates whose tensor exceeds its bound."""
    name, (chosen, report) = check.tensor, (stack.chosen, stack.report)
    ratio, expected, allowed = np.broadcast_arrays(check.ratio, check.expected, check.allowed)
    if name == "initial":  # of the next window
        chosen = chosen[carried_steps(updates)[chosen] > 0] + 1
        report = {name: updates[name][chosen]}
    arrays = report[name], expected, allowed, ratio
    if name in ROWS:
        arrays = tuple(np.moveaxis(array, 0, -3) for array in arrays)  # type: ignore[assignment]
    bad = ~(arrays[-1] <= 1)
    index = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
    elements = np.argwhere(bad[index]).tolist()
    if (
        name in ROWS
    ):  # (*E, T, B, N): the step first, and from the last one back where the stage runs backwards
        elements.sort(key=lambda element: element[-3] * (-1 if name in BACKWARDS else 1))
    element, update, step = elements[0], chosen[index], None
    reported, right, limit, most = (float(array[index, *element]) for array in arrays)
    if name in ROWS:
        step, element = element[-3] + 1, element[:-3] + element[-2:]
    place = int(updates["epoch"][update]), int(updates["number"][update])
    first = Divergence(*place, name, step, tuple(element), reported, right, limit, most)
    return first._replace(is_estimated=bool(np.any(check.estimated)))


# -- continuity from update to update ---------------------------------------------------------------------------------


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Divergence]:
    """The first window that is not one of TBPTT(k1, k2). Unless `whole`, updates may be missing at the end."""
    run, updates = recorded
    windows, epochs = (
        expected_windows(len(run.x), run.options.schedule),
        range(1, run.options.schedule.epochs + 1),
    )
    expected = [
        (epoch, number, *window) for epoch in epochs for number, window in enumerate(windows, 1)
    ]
    rows = list(zip(*(updates[name].tolist() for name in ("epoch", "number", *Window._fields))))
    for right, row in zip(expected, rows):
        if row != right:
            wrong = next((i for i in range(3) if row[2 + i] != right[2 + i]), 0)
            yield Divergence(
                *right[:2], "window", None, (wrong,), row[2 + wrong], right[2 + wrong], 0.0, np.inf
            )
            return
    if len(rows) > len(expected) or (whole and len(rows) < len(expected)):
        index, total = min(len(rows), len(expected)), len(expected)
        place = index // len(windows) + 1, index % len(windows) + 1
        yield Divergence(*place, "window", None, (), len(rows), total, 0.0, np.inf)


def state_divergences(recorded: RecordedRun) -> Iterator[Divergence]:
    """The first window whose initial state is wrong; and, of a learned one, the first window that must not change it.

    They must be exact. At the start of the series the state is that of the run, or the latest value of a learned one;
    otherwise one of the window before. If the states are not reported, `judge` recomputes it.
    """
    run, updates = recorded
    initial, h, learned = updates["initial"], updates.get("h"), updates.get("h_0")
    h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
    steps, rows = carried_steps(updates), updates["stop"] - updates["start"]
    starts = np.cumsum(rows) - rows  # of the windows, in h
    expected: dict[str, dict[int, Any]] = {
        name: {} for name in ("initial", "h_0", "vh_0") if name in updates
    }
    for index, start in enumerate(updates["start"]):
        if start == 0 or index == 0 or updates["epoch"][index] != updates["epoch"][index - 1]:
            state = h_0 if learned is None or index == 0 else learned[index - 1]
            expected["initial"][index] = np.broadcast_to(state, initial[index].shape)
        elif start == updates["start"][index - 1]:
            expected["initial"][index] = initial[index - 1]
        elif (
            h is not None and steps[index - 1]
        ):  # otherwise the schedule is wrong, which is already reported
            expected["initial"][index] = h[starts[index - 1] + steps[index - 1] - 1]
        if index > 0 and start > 0:
            for name in expected.keys() - {"initial"}:
                expected[name][index] = updates[name][index - 1]
    for name, rights in expected.items():
        for index, right in rights.items():
            if not np.array_equal(found := updates[name][index], right):
                element = tuple(map(int, np.argwhere(found != right)[0]))
                place = int(updates["epoch"][index]), int(updates["number"][index])
                numbers = float(found[element]), float(right[element])
                yield Divergence(*place, name, None, element, *numbers, 0.0, np.inf)
                break


def carried_steps(updates: dict[str, np.ndarray]) -> np.ndarray:
    """After which step of a window the next one of its epoch starts, by update, (N,); 0 where there is no such step."""
    start, stop, epoch = (np.append(updates[name], -1) for name in ("start", "stop", "epoch"))
    steps = start[1:] - start[:-1]
    follows = (
        (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0) & (steps <= (stop - start)[:-1])
    )
    return np.where(follows, steps, 0)
