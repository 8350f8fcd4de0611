"""Lockstep, level L3: every update of a recorded run is checked at L1, or at L2 without intermediates.

The inputs of every check are the recorded numbers, so an update is judged from the parameters and the state from which
it started. No drift accumulates from update to update, however long the run is.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import Window, WindowCase
from numpy_rnn.conformance.bounds.global_bounds import global_bounds, global_checks
from numpy_rnn.conformance.bounds.local_bounds import TAU, Checks, TanhError, local_checks, ratios
from numpy_rnn.conformance.case import as_rows, parameters_from, present
from numpy_rnn.conformance.traces.divergence import BACKWARDS, TENSORS, Divergence, equations, expected_windows
from numpy_rnn.conformance.traces.recorder import ROWS, RecordedRun


class Stack(NamedTuple):
    """Updates of one kind as one case and one report. Their axis comes first, then those of the ensemble."""

    chosen: np.ndarray  # which updates of the run, (n,)
    case: WindowCase
    report: dict[str, np.ndarray]

    def single(self, at: tuple[int, ...]) -> tuple[WindowCase, dict[str, np.ndarray]]:
        """One update of one network, as a case and a report."""

        def one(array):
            """The entry of an array whose ensemble axes may have size 1, shared by all networks."""
            return array[tuple(min(i, size - 1) for i, size in zip(at, array.shape))]

        rate = np.asarray(self.case.step.learning_rate)
        step = self.case.step._replace(learning_rate=float(one(rate) if rate.ndim else rate))
        names = ("params", "x", "target", "h_0", "weights", "velocity")
        case = self.case._replace(step=step, **{name: convert(one, getattr(self.case, name)) for name in names})
        return case, {name: np.asarray(array[at]) for name, array in self.report.items()}


class Judgement(NamedTuple):
    """The judgement of a recorded run."""

    updates: int
    worst: dict[str, float]  # the largest ratio of every tensor; 1 is the bound
    first: Divergence | None

    @property
    def passed(self) -> bool:
        """Whether no bound is exceeded."""
        return self.first is None


def judge(recorded: RecordedRun, tau: TanhError = TAU, whole: bool = True, by_oracle: bool = False) -> Judgement:
    """Check every update: its window, its initial state, and all tensors, at L1. Unless `whole`, the end may lack.

    At L2 instead if there are no intermediates, or `by_oracle`.
    """
    updates, (_, objective, step) = recorded.updates, recorded.run.options
    divergences = [*schedule_divergences(recorded, whole), *state_divergences(recorded)]
    worst = {name: 0.0 for name in TENSORS if name in updates or name == "window"}
    for divergence in divergences:
        worst[divergence.tensor] = np.inf
    with np.errstate(over="ignore", invalid="ignore"):  # non-finite values fail every check
        for stack in stacks(recorded):
            is_box = by_oracle or "a" not in updates
            checks = _by_oracle(updates, stack, tau) if is_box else local_checks(stack.case, stack.report, tau)
            for name, ratio, expected, allowed in checks:
                worst[name] = max(worst[name], float(ratio.max()))
                if not (ratio <= 1).all():
                    divergences.append(_first_divergence(updates, stack, name, (ratio, expected, allowed)))
    first = min(divergences, key=Divergence.causal_place, default=None)
    first = first and first._replace(equation=equations(first.tensor, objective, step))
    return Judgement(len(updates["epoch"]), worst, first)


def stacks(recorded: RecordedRun) -> Iterator[Stack]:
    """The updates of a run, stacked by their kinds."""
    kinds = _kinds(recorded)
    for kind in np.unique(kinds, axis=0):
        yield _stack(recorded, np.flatnonzero((kinds == kind).all(axis=1)), *kind.tolist())


def single_update(recorded: RecordedRun, index: int, network: tuple[int, ...] = ()) -> tuple[WindowCase, dict]:
    """One update of one network of a run, as a case and a report."""
    return _stack(recorded, np.array([index]), *_kinds(recorded)[index].tolist()).single((0, *network))


def _kinds(recorded: RecordedRun) -> np.ndarray:
    """T and K of every update, whether its initial state is learned, and whether a velocity begins with it."""
    run, updates = recorded
    start, stop = updates["start"], updates["stop"]
    from_learned = (start == 0) & (run.params.h_0 is not None)
    first = (np.arange(len(start)) == 0) & run.options.step.has_velocity
    return np.stack((stop - start, stop - updates["loss_start"], from_learned, first), axis=1)


def _stack(recorded: RecordedRun, chosen: np.ndarray, T: int, K: int, from_learned: int, first: int) -> Stack:
    run, updates = recorded
    E, step = run.params.W_hh.ndim - 2, run.options.step
    start, loss_start = updates["start"][chosen], updates["loss_start"][chosen]
    first_row = np.concatenate(([0], np.cumsum(updates["stop"] - updates["start"])))[chosen]
    fields = [name for name in present(run.params) if name != "h_0" or from_learned]

    def windows(array, rows):
        """Rows of (S, *E, B, N) → (n, *E, T, B, N)."""
        return np.moveaxis(array[rows], 1, 1 + E)

    def series(name, first_step, steps):
        size = run.params.W_xh.shape[-2] if name == "x" else run.params.W_hy.shape[-1]
        array = as_rows(getattr(run, name), size, run.params.W_hh.dtype)
        if array.ndim < 3 + E:
            array = array.reshape(len(array), *(1,) * E, *array.shape[1:])
        return windows(array, first_step[:, None] + np.arange(steps))

    params, velocity = {name: updates[name][chosen - 1] for name in fields}, None
    if chosen[0] == 0:
        for name in fields:
            params[name][0] = getattr(run.params, name)
    if step.has_velocity and not first:
        velocity = parameters_from({name: updates["v" + name][chosen - 1] for name in fields})
    weights: Any = None
    if run.weights is not None:
        rows = loss_start[:, None] + np.arange(K)
        weights = run.weights[rows].reshape(len(chosen), *(1,) * E, K, -1)
    rate = step.learning_rate
    step = step._replace(learning_rate=np.asarray(rate)[None] if np.ndim(rate) else rate)
    x, target, h_0 = series("x", start, T), series("target", loss_start, K), updates["initial"][chosen]
    case = WindowCase(parameters_from(params), x, target, h_0, weights, run.options.objective, step, velocity)
    rows = first_row[:, None] + np.arange(T)
    report = {name: windows(updates[name], rows) for name in ROWS if name in updates}
    names = ["loss"] + ["dh_0"] * ("dx" in updates)
    names += [prefix + name for prefix in (("d", "v", "") if step.has_velocity else ("d", "")) for name in fields]
    return Stack(chosen, case, report | {name: updates[name][chosen] for name in names})


def _by_oracle(updates: dict[str, np.ndarray], stack: Stack, tau: TanhError) -> Checks:
    """The checks of a stacked case at L2, one update of one network at a time; without states, the next initial one."""
    axes, steps = stack.case.params.W_hh.shape[:-2], carried_steps(updates)[stack.chosen]
    states = np.roll(updates["initial"], -1, axis=0)[stack.chosen]
    columns: dict[str, list] = {}
    for index in np.ndindex(axes):
        case, report = stack.single(index)
        bounds, step = global_bounds(case, tau), int(steps[index[0]])  # after which the next window starts
        for name, *checked in global_checks(case, report, bounds=bounds):
            columns.setdefault(name, []).append(checked)
        if "h" not in updates:
            value, E = bounds["h"]
            difference, allowed = value.difference(states[index])[step - 1] * (step > 0), (E + value.radius)[step - 1]
            checked = [ratios(difference, allowed), value.high[step - 1], allowed]
            columns.setdefault("initial", []).append(checked)
    for name, rows in columns.items():
        ratio, expected, allowed = (np.stack(column).reshape(*axes, *column[0].shape) for column in zip(*rows))
        yield name, ratio, expected, allowed


def _first_divergence(updates, stack, name, checked) -> Divergence:
    """The first of the stacked updates whose tensor exceeds its bound. checked: ratio, expected and allowed."""
    ratio, expected, allowed = np.broadcast_arrays(*checked)
    chosen, report = stack.chosen, stack.report
    if name == "initial":  # of the next window
        chosen, report = chosen + 1, {name: np.roll(updates[name], -1, axis=0)[chosen]}
    bad = ~(ratio <= 1)
    index = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
    elements = np.argwhere(bad[index]).tolist()
    if name in ROWS:  # (*E, T, B, N): the step first, and from the last one back where the stage runs backwards
        elements.sort(key=lambda element: element[-3] * (-1 if name in BACKWARDS else 1))
    element, update, step = elements[0], chosen[index], None
    numbers: Any = [float(array[index, *element]) for array in (report[name], expected, allowed, ratio)]
    if name in ROWS:
        step, element = element[-3] + 1, element[:-3] + element[-2:]
    place = int(updates["epoch"][update]), int(updates["number"][update])
    return Divergence(*place, name, step, tuple(element), *numbers)


# -- continuity from update to update ---------------------------------------------------------------------------------


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Divergence]:
    """The first window that is not one of TBPTT(k1, k2). Unless `whole`, updates may be missing at the end."""
    run, updates = recorded
    windows, epochs = expected_windows(len(run.x), run.options.schedule), range(1, run.options.schedule.epochs + 1)
    expected = [(epoch, number, *window) for epoch in epochs for number, window in enumerate(windows, 1)]
    rows = list(zip(*(updates[name].tolist() for name in ("epoch", "number", *Window._fields))))
    for right, row in zip(expected, rows):
        if row != right:
            wrong = next((i for i in range(3) if row[2 + i] != right[2 + i]), 0)
            yield Divergence(*right[:2], "window", None, (wrong,), row[2 + wrong], right[2 + wrong], 0.0, np.inf)
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
    expected: dict[str, dict[int, Any]] = {name: {} for name in ("initial", "h_0", "vh_0") if name in updates}
    for index, start in enumerate(updates["start"]):
        if start == 0 or index == 0 or updates["epoch"][index] != updates["epoch"][index - 1]:
            state = h_0 if learned is None or index == 0 else learned[index - 1]
            expected["initial"][index] = np.broadcast_to(state, initial[index].shape)
        elif start == updates["start"][index - 1]:
            expected["initial"][index] = initial[index - 1]
        elif h is not None and steps[index - 1]:  # otherwise the schedule is wrong, which is already reported
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
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0) & (steps <= (stop - start)[:-1])
    return np.where(follows, steps, 0)
