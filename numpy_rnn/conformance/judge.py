"""Lockstep, level L3: every update of a recorded run is checked at L1, or at L2 as a
black box.

The inputs of every check are the recorded numbers, so an update is judged from the
parameters and the state from which it started. No drift accumulates from update to
update, however long the run.

Where training is chaotic, rounding alone changes the gradients of long windows, so that
they are *lost* in this dtype. A port is then asked for some of these windows with
smaller recurrent weights, where nothing is lost. What could not be judged in any window
is named, and is no agreement.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.axes import is_integer
from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Parameters, Window, tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import N
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.case import (
    INTERMEDIATES,
    SHAPES,
    TENSORS,
    WindowCase,
    present,
)
from numpy_rnn.conformance.definition import Arrays, window_update
from numpy_rnn.conformance.findings import Finding, finding_in
from numpy_rnn.conformance.runs import ROWS, PortSource, RecordedRun
from numpy_rnn.conformance.window_checks import (
    Check,
    check_all,
    global_checks,
    tolerances,
)

MAX_NUMBERS = 2**20  # of the updates that are checked together
MAX_ASKED = (
    4  # windows of a chaotic run, which a port is asked for with smaller weights
)
CALMING = (
    1.0,
    0.5,
    0.5,
)  # factors, one after the other, once no singular value is above 1


class Judgement(NamedTuple):
    """The judgement of a recorded run."""

    updates: int
    worst: dict[
        str, float
    ]  # the largest ratio of every tensor; 1 is what rounding allows
    first: Finding | None
    estimated: Mapping[
        str, int
    ]  # windows in which a tensor is checked against an estimate
    lost: Mapping[str, int]  # windows in which rounding alone changes a tensor too much
    calmed: tuple[
        str, ...
    ]  # tensors that are checked with smaller recurrent weights instead
    unjudged: tuple[str, ...]  # tensors that no window could judge
    # windows in which rounding alone changes a tensor by more than a tenth
    wide: Mapping[str, int] = {}
    # the largest ratio of every tensor in every update
    ratios: Mapping[str, Sequence[float]] = MappingProxyType({})

    @property
    def not_judged(self) -> tuple[str, ...]:
        """The results among the unjudged tensors: all but the intermediate values."""
        return tuple(
            name for name in self.unjudged if name not in {*INTERMEDIATES} - {"h"}
        )

    @property
    def passed(self) -> bool:
        """Whether every result is judged, and no bound is exceeded."""
        return self.first is None and self.updates > 0 and not self.not_judged


def judge(
    recorded: RecordedRun,
    tau: TanhError = TAU,
    whole: bool = True,
    source: PortSource | None = None,
) -> Judgement:
    """Check every update: its window, its initial state, and all tensors.

    At L1, or at L2 if there are no intermediates. Unless `whole`, updates may be
    missing at the end. source: is asked for windows that are lost. A tensor is judged
    where a window of every network judges it.
    """
    updates, networks = recorded.updates, recorded.run.params.networks
    divergences = [*schedule_divergences(recorded, whole), *state_divergences(recorded)]
    worst = {name: 0.0 for name in TENSORS if name in updates or name == "window"}
    worst |= {divergence.tensor: np.inf for divergence in divergences}
    estimated, lost, wide = Counter[str](), Counter[str](), Counter[str]()
    judged = dict[str, N]()
    carried = carried_steps(updates)
    is_lost = np.zeros((len(carried), networks or 1), bool)  # by update and network
    ratios = dict[str, Array]()

    def note(
        chosen: Array, checks: Iterable[Check], calmed: tuple[int, ...] | None = None
    ) -> None:
        for check in checks:
            name = check.tensor
            worst[name] = max(worst[name], float(check.ratio.max()))
            judged[name] = judged.get(name, False) | ~check.lost.all(axis=0)
            if calmed is None:
                axis = 1 if name in ROWS else 0
                rows = np.moveaxis(check.ratio, axis, 0).reshape(len(chosen), -1)
                by_update = ratios.setdefault(name, np.zeros(len(carried)))
                by_update[chosen] = rows.max(axis=1)
                estimated[name] += int(check.estimated.sum())
                lost[name] += int(check.lost.sum())
                wide[name] += int(check.wide.sum())
                is_lost[chosen] |= check.lost.reshape(len(chosen), -1) & (
                    name != "initial"
                )
            if not (check.ratio <= 1).all():
                divergences.append(_first_divergence(updates, chosen, check, calmed))

    for chosen, case, report in stacks(recorded):
        allowed = tolerances(
            case, [*report, "h"], tau, report if "a" in report else None
        )
        states = allowed["h"] if "h" in report else allowed.pop("h")
        note(chosen, check_all(allowed, report))
        (follows,) = np.nonzero(carried[chosen])
        if "h" not in report and len(follows):  # the initial states of the next windows
            steps, after = carried[chosen[follows]], chosen[follows] + 1
            states = states.at(steps - 1, follows)._replace(tensor="initial")
            note(after, [states.check(updates["initial"][after])])
    before = {name for name in judged if np.all(judged[name])}
    if source is not None and is_lost.any():
        network = int(is_lost.sum(axis=0).argmax())
        lost_updates, of = (
            np.flatnonzero(is_lost[:, network]),
            (network,) * (networks is not None),
        )
        note(*_calmed(recorded, lost_updates, of, source), of)
    first = min(divergences, key=Finding.causal_place, default=None)
    if first is not None:
        ids = cases.equations(first.tensor, *recorded.run.options[1:])
        first = first._replace(equation=ids)
    found = {name for name in judged if np.all(judged[name])}
    calmed = tuple(name for name in TENSORS if name in found - before)
    unjudged = tuple(name for name in TENSORS if name in judged.keys() - found)
    return Judgement(
        updates=len(carried),
        worst=worst,
        first=first,
        estimated=+estimated,
        lost=+lost,
        calmed=calmed,
        unjudged=unjudged,
        wide=+wide,
        ratios={name: largest.tolist() for name, largest in ratios.items()},
    )


def finite_part(recorded: RecordedRun) -> RecordedRun:
    """The updates before the first that overflows: with NaN or infinity, or a gradient
    whose norm overflows.

    An update is kept whose numbers are not finite, but those of the definition are: it
    is wrong.
    """
    first = min(recorded.finite_updates(), _clippable_updates(recorded))
    if first < recorded.length:
        case, report = single_update(recorded, first)
        with np.errstate(all="ignore"):
            right = window_update(case)
        is_right_finite = all(np.isfinite(right[name]).all() for name in report)
        if is_right_finite and not all(np.isfinite(v).all() for v in report.values()):
            first += 1
    return recorded if first == recorded.length else recorded.first(first)


def _clippable_updates(recorded: RecordedRun) -> int:
    """The number of updates before the first with a gradient whose norm overflows, if
    gradients are clipped by their norm.
    """
    first, largest = recorded.length, np.finfo(recorded.run.params.W_hh.dtype).max
    if recorded.run.options.step.max_norm is None:
        return first
    for name in cases.FIELDS:
        if "d" + name in recorded.updates:
            array = recorded.updates["d" + name]
            flat = np.abs(array.reshape(len(array), -1))
            limit = (float(largest) / (8 * flat.shape[1])) ** 0.5
            (bad,) = np.nonzero(~(flat < limit).all(axis=1))
            first = min([first, *map(int, bad[:1])])
    return first


def stacks(recorded: RecordedRun) -> Iterator[tuple[Array, WindowCase, Arrays]]:
    """The updates of a run, as many of one kind at a time as memory allows, and which
    they are.
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
) -> tuple[WindowCase, Arrays]:
    """One update of one network of a run, as a case and a report."""
    return _at((0, *network), *_stack(recorded, np.array([index])))


def _at(
    places: tuple[N, ...], case: WindowCase, report: Arrays
) -> tuple[WindowCase, Arrays]:
    """One of stacked updates, of one network, or as many as there are in an array of
    places.
    """

    def one(array: Array, first: int = 0) -> Array:
        """The entry of an array whose ensemble axis may have size 1, shared by all
        networks.
        """
        found = (
            np.minimum(i, size - 1) for i, size in zip(places, array.shape[first:])
        )
        return np.asarray(array[(slice(None),) * first + tuple(found)])

    params, x, target, h_0, _, step, velocity = case
    if np.ndim(rate := step.learning_rate):
        rate = one(rate)
        step = step._replace(learning_rate=rate if rate.ndim else float(rate))
    changed: dict[str, N] = {"x": one(x, 1), "target": one(target, 1), "h_0": one(h_0)}
    changed |= {
        "params": tree_map(one, params),
        "velocity": tree_map(one, velocity),
        "step": step,
    }
    return case._replace(**changed), {
        n: one(v, int(n in ROWS)) for n, v in report.items()
    }


def _kinds(recorded: RecordedRun) -> Array:
    """T and K of every update, and whether there is a velocity before it."""
    run, (start, loss_start, stop) = (
        recorded.run,
        (recorded.updates[n] for n in Window._fields),
    )
    has_velocity = (np.arange(len(start)) > 0) | (run.velocity is not None)
    has_velocity &= run.options.step.has_velocity
    return np.stack((stop - start, stop - loss_start, has_velocity), axis=1)


def _stack(recorded: RecordedRun, chosen: Array) -> tuple[WindowCase, Arrays]:
    """These updates, which are of one kind, as one case and one report.

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
        """The parameters or velocities before these updates."""
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
        name: updates[name][steps if name in ROWS else chosen] for name in names
    }


def _calmed(
    recorded: RecordedRun, lost: Array, network: tuple[int, ...], source: PortSource
) -> tuple[Array, list[Check]]:
    """Some of the lost windows, and their checks, with recurrent weights that are not
    chaotic.

    A network whose recurrent weights have no singular value above 1 does not amplify
    rounding.
    """
    kinds = _kinds(recorded)[lost]
    alike = lost[(kinds == kinds[-1]).all(axis=1)]
    count = min(MAX_ASKED, len(alike))
    chosen = alike[np.linspace(0, len(alike) - 1, count).astype(int)]
    case, _ = _at((np.arange(count), *network), *_stack(recorded, chosen))
    for factor in CALMING:
        for name in cases.RECURRENT:
            theta = getattr(case.params, name)
            largest = np.linalg.norm(theta, 2, axis=(-2, -1), keepdims=True)
            calm = theta * (factor / np.maximum(largest, 1)).astype(theta.dtype)
            case = case._replace(params=case.params._replace(**{name: calm}))
        singles = [_at((i,), case, {})[0] for i in range(count)]
        reports = [
            source.report(single, "a window with smaller weights") for single in singles
        ]
        report = {
            n: np.stack([r[n] for r in reports], int(n in ROWS)) for n in reports[0]
        }
        checks = list(global_checks(case, report, source.tau))
        if not any(check.lost.any() for check in checks):
            break
    return chosen, checks


def _first_divergence(
    updates: Arrays, chosen: Array, check: Check, calmed: tuple[int, ...] | None
) -> Finding:
    """The first of these updates whose tensor exceeds its bound; calmed: of this
    network alone.
    """
    axis = int(check.tensor in ROWS)  # the axis of updates; those of networks follow
    is_wrong = ~(np.asarray(check.ratio) <= 1)
    others = [i for i in range(is_wrong.ndim) if i != axis]
    index = int(np.argmax(is_wrong.any(axis=tuple(others))))
    check, network = _of_one(check, axis, index), list(calmed or ())
    axes = np.ndim(check.ratio) - len(SHAPES.get(check.tensor, "BH"))
    for _ in range(axes):
        is_wrong = ~(np.asarray(check.ratio) <= 1)
        others = [i for i in range(is_wrong.ndim) if i != axis]
        network.append(int(np.argmax(is_wrong.any(axis=tuple(others)))))
        check = _of_one(check, axis, network[-1])
    found = finding_in(check)
    return found._replace(
        epoch=int(updates["epoch"][chosen[index]]),
        number=int(updates["number"][chosen[index]]),
        element=(*network, *found.element),
        is_calmed=calmed is not None,
    )


def _of_one(check: Check, axis: int, index: int) -> Check:
    """The check of one entry of an axis of updates or of networks."""
    arrays = np.broadcast_arrays(
        check.reported, check.expected, check.allowed, check.ratio
    )
    reported, expected, allowed, ratio = (v.take(index, axis) for v in arrays)
    return check._replace(
        reported=reported,
        expected=expected,
        allowed=allowed,
        ratio=ratio,
        estimated=np.asarray(check.estimated)[index],
    )


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Finding]:
    """The first window that is not one of TBPTT(k1, k2)."""
    windows, updates = recorded.windows, recorded.updates
    epochs = range(1, recorded.run.options.schedule.epochs + 1)
    expected = [
        (e, number, *window) for e in epochs for number, window in enumerate(windows, 1)
    ]
    rows = [*zip(*(updates[n].tolist() for n in ("epoch", "number", *Window._fields)))]
    for right, row in zip(expected, rows):
        if row != right:
            wrong = next((i for i in range(3) if row[2 + i] != right[2 + i]), 0)
            numbers = row[2 + wrong], right[2 + wrong]
            yield Finding(*right[:2], "window", None, (wrong,), *numbers, 0.0, np.inf)
            return
    if len(rows) > len(expected) or (whole and len(rows) < len(expected)):
        index, numbers = min(len(rows), len(expected)), (len(rows), len(expected))
        place = index // len(windows) + 1, index % len(windows) + 1
        yield Finding(*place, "window", None, (), *numbers, 0.0, np.inf)


def state_divergences(recorded: RecordedRun) -> Iterator[Finding]:
    """The first window whose initial state is not exactly the latest one of its step.

    If the states are not reported, `judge` recomputes them.
    """
    updates, steps = recorded.updates, carried_steps(recorded.updates)
    found, right = updates["initial"], np.array(updates["initial"])
    right[updates["start"] == 0] = recorded.run.h_0
    if "h" in updates:
        (before,) = np.nonzero(steps)
        right[before + 1] = updates["h"][
            recorded.first_rows[before] + steps[before] - 1
        ]
    for index, *element in np.argwhere(found != right)[:1].tolist():
        epoch, number = (int(updates[name][index]) for name in ("epoch", "number"))
        numbers = (
            float(found[index, *element]),
            float(right[index, *element]),
            0.0,
            np.inf,
        )
        yield Finding(epoch, number, "initial", None, tuple(element), *numbers)


def carried_steps(updates: Arrays) -> Array:
    """After which step of a window the next one of its epoch starts, (N,); 0 where none
    does.
    """
    start, stop, epoch = (
        np.append(updates[name], -1) for name in ("start", "stop", "epoch")
    )
    steps = start[1:] - start[:-1]
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0)
    return np.where(follows & (steps <= (stop - start)[:-1]), steps, 0)
