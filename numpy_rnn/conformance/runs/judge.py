"""Lockstep, level L3: every update of a recorded run is checked at L1, or at L2 as a
black box.

The inputs of every check are the recorded numbers, so an update is judged from the
parameters and the state from which it started. No drift accumulates from update to
update, however long the run.

Where training is chaotic, rounding alone changes the gradients of long windows, so that
they are *ill-conditioned* in this dtype. What could not be judged in any window is
named, and is no agreement.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.case import (
    FIELDS,
    GRADIENT_AXES,
    INTERMEDIATES,
    TENSORS,
    NamedArrays,
    case_sizes,
    equations,
)
from numpy_rnn.conformance.coverage import Coverage
from numpy_rnn.conformance.runs.recorded_run import (
    STEPWISE,
    RecordedRun,
    stacks,
)
from numpy_rnn.conformance.runs.requirements import facts_of_run
from numpy_rnn.conformance.verdicts import Finding, finding_in
from numpy_rnn.conformance.window_checks import (
    Check,
    Tolerance,
    axes_of,
    check_all,
    refined_tolerances,
)


class Judgement(NamedTuple):
    """The judgement of a recorded run."""

    updates: int  # their number
    worst: dict[str, float]  # the largest ratio by tensor; 1 is what rounding allows
    first: Finding | None
    counts: Coverage  # what the updates cover, and where each tensor was judged
    unjudged: tuple[str, ...] = ()  # in no window of some network
    # The largest ratio of every tensor in every update.
    ratios: Mapping[str, Sequence[float]] = MappingProxyType({})

    @property
    def unjudged_results(self) -> tuple[str, ...]:
        """Return the results among the unjudged tensors: all but the intermediate
        values.
        """
        return tuple(
            name for name in self.unjudged if name not in {*INTERMEDIATES} - {"h"}
        )

    @property
    def passed(self) -> bool:
        """Return whether every result is judged, and no bound is exceeded."""
        return self.first is None and self.updates > 0 and not self.unjudged_results


def judge(
    recorded: RecordedRun,
    tau: float = TAU,
    whole: bool = True,
) -> Judgement:
    """Check every update of a run: all tensors, its window and its initial state, as
    far as its source computes them.

    Tensors are checked at L1, or at L2 if there are no intermediate values.

    Parameters
    ----------
    recorded : RecordedRun
        The run, with finite numbers (`finite_part`).
    tau : float, optional
        The error of tanh that the bounds allow, as a share of its value in units of
        roundoff.
    whole : bool, optional
        Whether every update is expected; otherwise the last ones may be missing.

    Returns
    -------
    Judgement
        The first finding, the largest ratios, and what rounding left undecided. A
        tensor is judged where a window of every network judges it.

    Raises
    ------
    PortFault
        If a fault ended the run, and all updates before it are right.
    """
    tally = _Tally(recorded)
    computed = recorded.computed
    if computed.loop:
        is_whole = whole and recorded.fault is None
        for finding in schedule_divergences(recorded, is_whole):
            tally.add_finding(finding)
        for finding in state_divergences(recorded):
            tally.add_finding(finding)
    for indices, case, report in stacks(recorded):
        reported = report if "a" in report else None
        names = [name for name in report if computed.includes(name)]
        allowed = refined_tolerances(case, report, [*names, "h"], tau, reported)
        tally.add(indices, check_all(allowed, report))
        if computed.loop and "h" not in report:
            tally.add_carried_states(indices, allowed["h"])
    judgement = tally.judgement()
    if recorded.fault is not None and judgement.first is None:
        raise recorded.fault
    return judgement


class _Tally:
    """What the checks of a run have found so far."""

    def __init__(self, recorded: RecordedRun):
        self.recorded = recorded
        self.counts = Coverage()
        self.findings = list[Finding]()
        self.judged = dict[str, NumpyArray | np.bool_]()  # by tensor and network
        self.ratios = dict[str, NumpyArray]()  # by tensor and update

    def add_finding(self, finding: Finding) -> None:
        """Add a finding in the windows or in the initial states."""
        self.findings.append(finding)
        self.ratios[finding.tensor] = np.full(self.recorded.length, np.inf)

    def add(self, indices: NumpyArray, checks: Iterable[Check]) -> None:
        """Add the checks of these updates."""
        for check in checks:
            name = check.tensor
            axis = int(name in STEPWISE)
            rows = np.moveaxis(check.ratio, axis, 0).reshape(len(indices), -1)
            largest = self.ratios.setdefault(name, np.zeros(self.recorded.length))
            largest[indices] = np.maximum(largest[indices], rows.max(axis=1))
            is_judged = np.atleast_1d(~check.ill_conditioned).any(axis=0)
            self.judged[name] = self.judged.get(name, False) | is_judged
            self.counts.note([check])
            if not check.is_right:
                self.findings.append(_first_finding(self.recorded, indices, check))

    def add_carried_states(self, indices: NumpyArray, states: Tolerance) -> None:
        """Check the initial states of the windows after these updates, whose states
        are not reported, by what is allowed in them.
        """
        steps = carried_steps(self.recorded.updates)[indices]
        (carried,) = np.nonzero(steps)
        if len(carried):
            latest = states.at(steps[carried] - 1, carried)
            following = indices[carried] + 1
            initial = self.recorded.updates["initial"][following]
            check = latest._replace(tensor="initial").check(initial)
            self.add(following, [check])

    def equations_of(self, tensor: str) -> str:
        """Return the ids of the equations of a tensor, with those of a velocity that
        is recomputed.
        """
        _, objective, step = self.recorded.run.options
        ids = equations(tensor, objective, step)
        if self.recorded.velocities is None or tensor not in FIELDS:
            return ids
        of_velocity = equations("v" + tensor, objective, step)
        return ", ".join(dict.fromkeys(f"{of_velocity}, {ids}".split(", ")))

    def judgement(self) -> Judgement:
        """Return the judgement."""
        unjudged = [name for name in TENSORS if not np.all(self.judged.get(name, True))]
        worst = dict[str, float]()
        computed = self.recorded.computed
        known = {n for n in self.recorded.updates if computed.includes(n)}
        if computed.loop:
            known.add("window")
        for name in TENSORS:
            if name in self.ratios:
                worst[name] = float(self.ratios[name].max(initial=0))
            elif name in known:
                worst[name] = 0.0
        first = min(self.findings, key=Finding.causal_rank, default=None)
        if first is not None:
            first = first._replace(equation=self.equations_of(first.tensor))
        return Judgement(
            updates=self.recorded.length,
            worst=worst,
            first=first,
            unjudged=tuple(unjudged),
            counts=covered_by(self.recorded, self.counts),
            ratios={name: ratio.tolist() for name, ratio in self.ratios.items()},
        )


def covered_by(recorded: RecordedRun, counts: Coverage) -> Coverage:
    """Return the counts of a run with the sizes and the uses of its windows."""
    run = recorded.run
    updates = recorded.updates
    windows = [recorded.window(index) for index in range(recorded.length)]
    sizes = case_sizes(run)
    for window in set(windows):
        counts.note_sizes(sizes | {"T": window.steps, "K": window.loss_steps})
        counts.reach = max(counts.reach, window.steps - 1)
    facts = facts_of_run(run, windows)
    for name, is_active in clipping_of(recorded).items():
        facts[name] = is_active
    computes_step = recorded.computed.step
    counts.note_uses(facts, run.options.step if computes_step else None)
    counts.windows += recorded.length
    counts.carried += int(np.count_nonzero(updates["start"]))
    counts.epochs = int(updates["epoch"].max(initial=0))
    counts.updates = recorded.length
    return counts


def clipping_of(recorded: RecordedRun) -> dict[str, bool]:
    """Return whether each kind of clipping that a run has changes any gradient."""
    step = recorded.run.options.step
    squares = np.zeros(1)
    largest = 0.0
    with np.errstate(all="ignore"):
        for name in GRADIENT_AXES.keys() & recorded.updates.keys():
            gradients = recorded.updates[name]
            axes = axes_of(name)
            squares = squares + (gradients.astype(np.float64) ** 2).sum(axis=axes)
            largest = max(largest, float(np.abs(gradients).max(initial=0)))
        norm = float(np.sqrt(squares).max(initial=0))
    active = {}
    if step.max_norm is not None:
        active["max_norm"] = norm > step.max_norm
    if step.max_value is not None:
        active["clip_by_value"] = largest > step.max_value
    return active


def _first_finding(recorded: RecordedRun, indices: NumpyArray, check: Check) -> Finding:
    """Return the finding in the first of these updates whose tensor exceeds its
    bound, and in its first network.
    """
    ratio = check.ratio
    is_right = (ratio <= 1).all(axis=axes_of(check.tensor))
    first_wrong = np.unravel_index(int(np.argmin(is_right)), is_right.shape)
    entry = tuple(map(int, first_wrong))
    # The axis of time is before those of updates and networks.
    place: tuple[Any, ...] = entry
    if check.tensor in STEPWISE:
        place = (slice(None), *entry)
    arrays = {"estimated": np.broadcast_to(check.estimated, is_right.shape)[entry]}
    for name in ("reported", "expected", "allowed", "ratio"):
        arrays[name] = getattr(check, name)[place]
    finding = finding_in(check._replace(**arrays))
    update, *network = entry
    index = indices[update]
    return finding._replace(
        element=(*network, *finding.element),
        epoch=int(recorded.updates["epoch"][index]),
        number=int(recorded.updates["number"][index]),
        unit="update" if recorded.computed.step else "window",
    )


# Windows by (T1) and (T2), and their initial states by (T3)


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Finding]:
    """Yield the first window that is not one of TBPTT(k1, k2).

    whole: whether the last windows must not be missing.
    """
    columns = [recorded.updates[name] for name in ("epoch", "number", *Window._fields)]
    reported = np.stack(columns, axis=1).tolist()
    windows = recorded.expected_windows
    expected = list[list[int]]()
    for epoch in range(1, recorded.run.options.schedule.epochs + 1):
        for number, window in enumerate(windows, 1):
            expected.append([epoch, number, *window])
    for row, right_row in zip_longest(reported, expected):
        if row == right_row or (row is None and not whole):
            continue
        epoch, number, *_ = right_row or row
        element: tuple[int, ...] = ()
        if row and right_row and row[:2] == right_row[:2]:
            column = int(np.argmin(np.equal(row, right_row)))
            element = (column - 2,)
            numbers = row[column], right_row[column]
        else:  # a window is missing, or too many
            numbers = sum(row[0] == epoch for row in reported), len(windows)
        yield Finding(epoch, number, "window", None, element, *numbers)
        return


def state_divergences(recorded: RecordedRun) -> Iterator[Finding]:
    """Yield the first window whose initial state is not exactly the latest one of its
    step.

    If the states are not reported, `judge` recomputes them.
    """
    updates = recorded.updates
    reported = updates["initial"]
    expected = np.array(reported)
    expected[updates["start"] == 0] = recorded.run.h_0
    if "h" in updates:
        steps = carried_steps(updates)
        (before,) = np.nonzero(steps)
        rows = recorded.first_rows[before] + steps[before] - 1
        expected[before + 1] = updates["h"][rows]
    wrong = np.argwhere(reported != expected)
    if len(wrong):
        index, *element = wrong[0].tolist()
        yield Finding(
            epoch=int(updates["epoch"][index]),
            number=int(updates["number"][index]),
            tensor="initial",
            step=None,
            element=tuple(element),
            reported=float(reported[index, *element]),
            expected=float(expected[index, *element]),
        )


def carried_steps(updates: NamedArrays) -> NumpyArray:
    """Return after which step of a window the next one of its epoch starts, (N,); 0
    where none does.
    """
    start = np.append(updates["start"], -1)
    epoch = np.append(updates["epoch"], -1)
    lengths = updates["stop"] - updates["start"]
    steps = start[1:] - start[:-1]
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0)
    return np.where(follows & (steps <= lengths), steps, 0)
