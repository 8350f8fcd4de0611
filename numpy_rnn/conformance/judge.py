"""Lockstep, level L3: every update of a recorded run is checked at L1, or at L2 as a black box.

The inputs of every check are the recorded numbers, so an update is judged from the parameters and
the state from which it started. No drift accumulates from update to update, however long the run.

Where training is chaotic, rounding alone changes the gradients of long windows, so that they are
*lost* in this dtype. A port is then asked for some of these windows with smaller recurrent weights,
where nothing is lost. What could not be judged in any window is named, and is no agreement.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Parameters, Window, tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import N
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.case import (
    BACKWARDS,
    INTERMEDIATES,
    RECURRENT,
    TENSORS,
    WindowCase,
    present,
)
from numpy_rnn.conformance.definition import Arrays
from numpy_rnn.conformance.runs import ROWS, PortSource, RecordedRun
from numpy_rnn.conformance.window_checks import Check, global_checks, local_checks, tolerances

MAX_NUMBERS = 2**20  # of the updates that are checked together
MAX_ASKED = 4  # windows of a chaotic run, which a port is asked for with smaller weights
CALMING = (1.0, 0.5, 0.5)  # factors, one after the other, once no singular value is above 1


class Divergence(NamedTuple):
    """The first element in causal order whose error rounding does not explain."""

    epoch: int
    number: int  # the update within the epoch
    tensor: str
    step: int | None  # of the window, from 1; None for a tensor without time steps
    element: tuple[int, ...]
    reported: float
    expected: float  # recomputed from the inputs of the check
    allowed: float
    ratio: float
    equation: str = ""  # ids of DERIVATION.md
    is_estimated: bool = False  # whether `allowed` is an estimate, not a proven bound
    is_calmed: bool = False  # whether the recurrent weights are smaller than those of the run

    def message(self) -> str:
        """The place, the element, both numbers, and what rounding allows."""
        calmed = f", with smaller {' and '.join(RECURRENT)}" if self.is_calmed else ""
        step = f", step {self.step}" if self.step else ""
        where = f"epoch {self.epoch}, update {self.number}{step}{calmed}"
        numbers = f"{self.reported:.9g}, expected {self.expected:.9g}"
        if self.tensor == "window":
            what = Window._fields[self.element[0]] if self.element else "the number of updates"
            return f"{where}: {what} is {numbers} by TBPTT(k1, k2)"
        element = f"{self.tensor}{list(self.element) or ''}"
        bound = "what rounding does by estimate" if self.is_estimated else "the rounding bound"
        limit = f"the difference is {self.ratio:.1e} times {bound}, {self.allowed:.1e}"
        limit = limit if self.allowed else "nothing rounds here"
        return f"{where}: {element} is {numbers}; {limit}"

    def causal_place(self) -> tuple[int, ...]:
        """Its place in the order of computation: a_1 h_1 a_2 h_2 .., loss, .. dh_1 da_1, .."""
        together, order = {"h": "a", "da": "dh"}.get(self.tensor, self.tensor), TENSORS.index
        step = {"a": 1, "dh": -1}.get(together, 0) * (self.step or 0)
        return self.epoch, self.number, order(together), step, order(self.tensor)


class Judgement(NamedTuple):
    """The judgement of a recorded run."""

    updates: int
    worst: dict[str, float]  # the largest ratio of every tensor; 1 is what rounding allows
    first: Divergence | None
    estimated: Mapping[str, int]  # windows in which a tensor is checked against an estimate
    lost: Mapping[str, int]  # windows in which rounding alone changes a tensor too much
    calmed: tuple[str, ...]  # tensors that are checked with smaller recurrent weights instead
    unjudged: tuple[str, ...]  # tensors that no window could judge

    @property
    def not_judged(self) -> tuple[str, ...]:
        """The results among the unjudged tensors: all but the intermediate values."""
        return tuple(name for name in self.unjudged if name not in {*INTERMEDIATES} - {"h"})

    @property
    def passed(self) -> bool:
        """Whether every result is judged, and no bound is exceeded."""
        return self.first is None and self.updates > 0 and not self.not_judged


class Stack(NamedTuple):
    """Updates of one kind as one case and one report. Their axis comes first, or after time."""

    chosen: Array  # which updates of the run, (n,)
    case: WindowCase
    report: Arrays

    def single(self, at: tuple[int, ...]) -> tuple[WindowCase, Arrays]:
        """One update of one network, as a case and a report."""

        def one(array: Array, first: int = 0) -> Array:
            """The entry of an array whose ensemble axis may have size 1, shared by all networks."""
            places = (min(i, size - 1) for i, size in zip(at, array.shape[first:]))
            return np.asarray(array[(slice(None),) * first + tuple(places)])

        params, x, target, h_0, _, step, velocity = self.case
        rate = np.asarray(step.learning_rate)
        step = step._replace(learning_rate=float(one(rate) if rate.ndim else rate))
        arrays: dict[str, N] = {"x": one(x, 1), "target": one(target, 1), "h_0": one(h_0)}
        single = self.case._replace(**arrays, params=tree_map(one, params), step=step)
        report = {name: one(v, int(name in ROWS)) for name, v in self.report.items()}
        return single._replace(velocity=tree_map(one, velocity)), report


def judge(
    recorded: RecordedRun,
    tau: TanhError = TAU,
    whole: bool = True,
    as_black_box: bool = False,
    source: PortSource | None = None,
) -> Judgement:
    """Check every update: its window, its initial state, and all tensors.

    At L1, or at L2 if there are no intermediates, or `as_black_box`. Unless `whole`, updates may
    be missing at the end. source: is asked for windows that are lost.
    """
    updates = recorded.updates
    divergences = [*schedule_divergences(recorded, whole), *state_divergences(recorded)]
    worst = {name: 0.0 for name in TENSORS if name in updates or name == "window"}
    worst |= {divergence.tensor: np.inf for divergence in divergences}
    estimated, lost, judged = Counter[str](), Counter[str](), set[str]()
    lost_updates = set[int]()

    def note(stack: Stack, checks: Iterable[Check], is_calmed: bool = False) -> None:
        for check in checks:
            name = check.tensor
            worst[name] = max(worst[name], float(check.ratio.max()))
            if not check.lost.all():
                judged.add(name)
            if not is_calmed:
                estimated[name] += int(check.estimated.sum())
                lost[name] += int(check.lost.sum())
            if check.lost.any() and name != "initial":
                lost_updates.update(stack.chosen[check.lost.reshape(len(check.lost), -1).any(1)])
            if not (check.ratio <= 1).all():
                first = _first_divergence(updates, stack, check)
                divergences.append(first._replace(is_calmed=is_calmed))

    for stack in stacks(recorded):
        if "a" in updates and not as_black_box:
            note(stack, local_checks(stack.case, stack.report, tau))
        else:
            note(stack, _black_box_checks(updates, stack, tau))
    before = judged.copy()
    if source is not None and lost_updates:
        note(*_calmed(recorded, np.array(sorted(lost_updates)), source, tau), is_calmed=True)
    first = min(divergences, key=Divergence.causal_place, default=None)
    if first is not None:
        ids = cases.equations(first.tensor, *recorded.run.options[1:])
        first = first._replace(equation=ids)
    calmed = tuple(name for name in TENSORS if name in judged - before)
    unjudged = tuple(name for name in TENSORS if name in lost.keys() - judged)
    return Judgement(len(updates["epoch"]), worst, first, +estimated, +lost, calmed, unjudged)


def finite_part(recorded: RecordedRun) -> RecordedRun:
    """The updates before the first with NaN or infinity, or a gradient whose norm overflows."""
    updates, limits = recorded.updates, np.finfo(recorded.run.params.W_hh.dtype)
    steps = updates["stop"] - updates["start"]
    update_of_row, first = np.repeat(np.arange(len(steps)), steps), len(steps)
    clips = recorded.run.options.step.max_norm is not None
    for name, array in updates.items():
        flat = array.reshape(len(array), -1)
        is_good = np.isfinite(flat).all(axis=1)
        if clips and name in {"d" + field for field in present(recorded.run.params)}:
            is_good &= np.abs(flat).max(axis=1) < np.sqrt(float(limits.max) / (8 * flat.shape[1]))
        if len(bad := np.flatnonzero(~is_good)):
            first = min(first, int(update_of_row[bad[0]] if name in ROWS else bad[0]))
    return recorded if first == len(steps) else recorded.first(first)


def stacks(recorded: RecordedRun) -> Iterator[Stack]:
    """The updates of a run, stacked by their kinds, as many at a time as memory allows."""
    kinds, params = _kinds(recorded), present(recorded.run.params)
    weights = sum(theta.size for theta in params.values())
    per_step = recorded.run.h_0.shape[-2] * sum(
        theta[..., 0, :].size for theta in params.values() if theta.ndim > 1
    )
    for kind in np.unique(kinds, axis=0):
        chosen = np.flatnonzero((kinds == kind).all(axis=1))
        count = max(1, MAX_NUMBERS // (3 * weights + 4 * int(kind[0]) * per_step))
        for start in range(0, len(chosen), count):
            yield _stack(recorded, chosen[start : start + count])


def single_update(
    recorded: RecordedRun, index: int, network: tuple[int, ...] = ()
) -> tuple[WindowCase, Arrays]:
    """One update of one network of a run, as a case and a report."""
    return _stack(recorded, np.array([index])).single((0, *network))


def _kinds(recorded: RecordedRun) -> Array:
    """T and K of every update, and whether there is a velocity before it."""
    run, (start, loss_start, stop) = recorded.run, (recorded.updates[n] for n in Window._fields)
    has_velocity = (np.arange(len(start)) > 0) | (run.velocity is not None)
    has_velocity &= run.options.step.has_velocity
    return np.stack((stop - start, stop - loss_start, has_velocity), axis=1)


def _stack(recorded: RecordedRun, chosen: Array) -> Stack:
    """These updates, which are of one kind."""
    run, updates = recorded.run, recorded.updates
    T, K, has_velocity = _kinds(recorded)[chosen[0]].tolist()
    E, step, fields = cases.leading_axes(run.params), run.options.step, present(run.params)
    first_row = np.concatenate(([0], np.cumsum(updates["stop"] - updates["start"])))[chosen]
    sizes, rate = cases.case_sizes(run), np.asarray(step.learning_rate)

    def rows(first_step: Array, steps: int) -> Array:
        return first_step + np.arange(steps)[:, None]

    def series(array: Array, size: int) -> Array:
        array = cases.as_rows(array, size, run.params.W_hh.dtype)
        is_shared = array.ndim < 3 + E
        return array.reshape(len(array), *(1,) * E, *array.shape[1:]) if is_shared else array

    def before(prefix: str, initial: object) -> Parameters:
        """The parameters or velocities before these updates."""
        found = {name: updates[prefix + name][chosen - 1] for name in fields}
        for name in fields if chosen[0] == 0 else ():
            found[name][0] = getattr(initial, name)
        return cases.parameters_from(found)

    case = WindowCase(
        params=before("", run.params),
        x=series(run.x, sizes["D"])[rows(updates["start"][chosen], T)],
        target=series(run.target, sizes["O"])[rows(updates["loss_start"][chosen], K)],
        h_0=updates["initial"][chosen],
        objective=run.options.objective,
        step=step._replace(learning_rate=rate[None]) if rate.ndim else step,
        velocity=before("v", run.velocity) if has_velocity else None,  # type: ignore[arg-type]
    )
    names = [name for name in cases.SHAPES if name in updates]
    return Stack(
        chosen, case, {n: updates[n][rows(first_row, T) if n in ROWS else chosen] for n in names}
    )


def _black_box_checks(updates: Arrays, stack: Stack, tau: TanhError) -> Iterator[Check]:
    """The checks at L2; without reported states, also of the initial state of the next window."""
    yield from global_checks(stack.case, stack.report, tau)
    steps = carried_steps(updates)[stack.chosen]
    if "h" not in updates and steps.any():
        (follows,) = np.nonzero(steps)
        states = updates["initial"][stack.chosen[follows] + 1]
        tolerance = tolerances(stack.case, ["h"], tau)["h"].at(steps[follows] - 1, follows)
        yield tolerance._replace(tensor="initial").check(states)


def _calmed(
    recorded: RecordedRun, lost: Array, source: PortSource, tau: TanhError
) -> tuple[Stack, list[Check]]:
    """Some of the lost windows and their checks, with recurrent weights that are not chaotic.

    A network whose recurrent weights have no singular value above 1 does not amplify rounding.
    """
    kinds = _kinds(recorded)[lost]
    alike = lost[(kinds == kinds[-1]).all(axis=1)]
    spaced = np.linspace(0, len(alike) - 1, min(MAX_ASKED, len(alike))).astype(int)
    stack = _stack(recorded, alike[spaced])
    for factor in CALMING:
        params = stack.case.params
        for name in RECURRENT:
            theta = getattr(params, name)
            largest = np.linalg.norm(theta, 2, axis=(-2, -1), keepdims=True)
            calm = theta * (factor / np.maximum(largest, 1)).astype(theta.dtype)
            params = params._replace(**{name: calm})
        stack = stack._replace(case=stack.case._replace(params=params))
        singles = [stack.single((i,))[0] for i in range(len(stack.chosen))]
        reports = [source.report(case, "a window with smaller weights") for case in singles]
        report = {n: np.stack([r[n] for r in reports], int(n in ROWS)) for n in reports[0]}
        checks = list(global_checks(stack.case, report, tau))
        if not any(check.lost.any() for check in checks):
            break
    return stack._replace(report=report), checks


def _first_divergence(updates: Arrays, stack: Stack, check: Check) -> Divergence:
    """The first of the stacked updates whose tensor exceeds its bound."""
    name, chosen, report = check.tensor, stack.chosen, stack.report
    if name == "initial":  # of the next window
        chosen = chosen[carried_steps(updates)[chosen] > 0] + 1
        report = {name: updates[name][chosen]}
    arrays = np.broadcast_arrays(report[name], check.expected, check.allowed, check.ratio)
    if name in ROWS:
        arrays = tuple(np.moveaxis(array, 0, -3) for array in arrays)
    bad = ~(arrays[-1] <= 1)
    index = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
    elements = np.argwhere(bad[index]).tolist()
    if name in ROWS:  # (*E, T, B, N): the step first, from the last one where it runs backwards
        elements.sort(key=lambda element: element[-3] * (-1 if name in BACKWARDS else 1))
    element, update, step = elements[0], chosen[index], None
    numbers: N = [float(array[index, *element]) for array in arrays]
    if name in ROWS:
        step, element = element[-3] + 1, element[:-3] + element[-2:]
    place, is_estimated = _place(updates, update), bool(np.any(check.estimated))
    return Divergence(*place, name, step, tuple(element), *numbers)._replace(
        is_estimated=is_estimated
    )


def _place(updates: Arrays, index: int) -> tuple[int, int]:
    return int(updates["epoch"][index]), int(updates["number"][index])


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Divergence]:
    """The first window that is not one of TBPTT(k1, k2)."""
    windows, updates = recorded.windows, recorded.updates
    epochs = range(1, recorded.run.options.schedule.epochs + 1)
    expected = [(e, number, *window) for e in epochs for number, window in enumerate(windows, 1)]
    places = (updates[name].tolist() for name in ("epoch", "number", *Window._fields))
    rows = list(zip(*places))
    for right, row in zip(expected, rows):
        if row != right:
            wrong = next((i for i in range(3) if row[2 + i] != right[2 + i]), 0)
            numbers = row[2 + wrong], right[2 + wrong]
            yield Divergence(*right[:2], "window", None, (wrong,), *numbers, 0.0, np.inf)
            return
    if len(rows) > len(expected) or (whole and len(rows) < len(expected)):
        index, numbers = min(len(rows), len(expected)), (len(rows), len(expected))
        place = index // len(windows) + 1, index % len(windows) + 1
        yield Divergence(*place, "window", None, (), *numbers, 0.0, np.inf)


def state_divergences(recorded: RecordedRun) -> Iterator[Divergence]:
    """The first window whose initial state is not exactly the latest one of its step.

    If the states are not reported, `judge` recomputes them.
    """
    updates, states, row = recorded.updates, dict[int, Array](), 0
    for index, (start, stop) in enumerate(zip(updates["start"], updates["stop"])):
        found = updates["initial"][index]
        right = states.get(start, found) if start else recorded.run.h_0
        right = np.broadcast_to(right, found.shape)
        if not np.array_equal(found, right):
            element = tuple(map(int, np.argwhere(found != right)[0]))
            numbers = float(found[element]), float(right[element]), 0.0, np.inf
            yield Divergence(*_place(updates, index), "initial", None, element, *numbers)
            return
        states[start] = found
        if "h" in updates:
            states |= dict(enumerate(updates["h"][row : row + stop - start], start + 1))
        else:
            states = {start: found}
        row += stop - start


def carried_steps(updates: Arrays) -> Array:
    """After which step of a window the next one of its epoch starts, (N,); 0 where none does."""
    start, stop, epoch = (np.append(updates[name], -1) for name in ("start", "stop", "epoch"))
    steps = start[1:] - start[:-1]
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0)
    return np.where(follows & (steps <= (stop - start)[:-1]), steps, 0)
