"""Hints for runs: what is wrong in windows, in their initial states, or in what goes
from one update to the next.

Every update is a fit, whose mistakes are those of a window or of its step.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    GRADIENT_AXES,
    UPDATED,
    NamedArrays,
    leading_axes,
    present,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.mutants.edits import Mutant
from numpy_rnn.conformance.mutants.families import change_times
from numpy_rnn.conformance.mutants.fits import (
    ROUNDING,
    Fit,
    LoopMutant,
    largest,
    measured_number,
)
from numpy_rnn.conformance.mutants.hints import explanation, is_of_step
from numpy_rnn.conformance.runs.recorded_run import RecordedRun, single_update
from numpy_rnn.conformance.verdicts import Finding

NEAR = 8  # updates after the first wrong one that are looked at
MOST_GROWTH = 3.0  # of the largest parameter, in a run that has not diverged
EXPECTED = "as expected"


def window_of_all_losses(T: int, new: int, k1: int, k2: int) -> Window:
    """Return the window with the losses of all of its steps."""
    window = right.window(T, new, k1, k2)
    return window._replace(loss_start=window.start)


SCHEDULES = (
    Mutant(
        "bptt over k+1 steps",
        {"window": lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1)},
    ),
    Mutant(
        "chunks instead of a sliding window",
        {"window": lambda T, new, k1, k2: right.window(T, new, k2, k2)},
    ),
    Mutant("losses of older steps counted again", {"window": window_of_all_losses}),
)


class Updates(NamedTuple):
    """The updates of a run of one network, or of one of an ensemble."""

    recorded: RecordedRun
    network: tuple[int, ...]

    def fit(self, index: int) -> Fit:
        """Return one update as a fit."""
        return Fit(*single_update(self.recorded, index, self.network), index)


def hint_for_run(recorded: RecordedRun, first: Finding) -> str:
    """Return the hint for a run whose first divergence is this one; "" if nothing
    fits.
    """
    if first.tensor == "window":
        return windows_in_words(recorded)
    network = first.element[: leading_axes(recorded.run.params)]
    updates = Updates(recorded, network)
    index = recorded.update_index(first)
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return states_in_words(updates)
        fits = evidence(updates, index, first.tensor)
        if not any(fit.wrong for fit in fits):
            return ""
        # The last one may be short.
        long_first = sorted(fits, key=lambda fit: -len(fit.case.x))
        if is_of_step(fits):
            hint = explanation(long_first, step_loops(updates))
            return hint or rates_in_words(fits, recorded.length)
        return explanation(long_first, window_loops(updates))


def evidence(updates: Updates, index: int, tensor: str) -> list[Fit]:
    """Return the updates that a hint has to explain: the first wrong one, of this
    index, those next to it, the first and the last of the run.

    Of a run that diverges the later ones show the divergence, not the mistake: only
    those are taken whose parameters have not grown far beyond those of the first wrong
    one. Where the first wrong tensor is one of the step, the windows were right, so
    those in which one is not are left out.
    """
    recorded = updates.recorded
    near = range(max(0, index - 2), min(recorded.length, index + NEAR))
    first = updates.fit(index)
    fits = list[Fit]()
    for number in sorted({0, *near, recorded.length - 1}):
        fit = first if number == index else updates.fit(number)
        has_grown = largest_parameter(fit) > MOST_GROWTH * largest_parameter(first)
        is_other = tensor in UPDATED and bool(fit.wrong & fit.window_names)
        if number == index or not (has_grown or is_other):
            fits.append(fit)
    return fits


def largest_parameter(fit: Fit) -> float:
    """Return the largest parameter before an update."""
    return max(map(largest, present(fit.case.params).values()))


def windows_in_words(recorded: RecordedRun) -> str:
    """Return the schedule that gives all windows of the run, or how many steps are
    skipped between them.
    """
    run = recorded.run
    reported = [recorded.window(i) for i in range(recorded.length)]
    for mutant in SCHEDULES:
        windows = mutant.definition.windows(run)
        whole = windows * run.options.schedule.epochs
        if windows != recorded.expected_windows and reported == whole[: len(reported)]:
            return mutant.name
    gaps = set[int]()
    for previous, window in pairwise(reported):
        if window.start:
            gaps.add(window.loss_start - previous.stop)
    if len(gaps) == 1 and min(gaps) > 0:
        return f"{pluralize(min(gaps), 'step')} skipped between windows"
    return ""


def states_in_words(updates: Updates) -> str:
    """Return where all of the wrong initial states come from."""
    h_0 = updates.recorded.run.h_0
    rounding = ROUNDING * float(np.finfo(h_0.dtype).eps)
    latest = {0: h_0}  # the state after each step, as the latest window computed it
    labels: list[str] | None = None  # what explains all of the wrong states so far
    for index in range(updates.recorded.length):
        case, report = single_update(updates.recorded, index, updates.network)
        window = updates.recorded.window(index)
        equal = list[str]()  # the states that this one is
        for words, state in known_states(latest, window).items():
            if largest(case.h_0 - state) <= rounding * max(1.0, largest(state)):
                equal.append(words)
        if EXPECTED not in equal:
            labels = equal if labels is None else [x for x in labels if x in equal]
        h = report["h"] if "h" in report else window_update(case)["h"]
        latest.update(enumerate(h, window.start + 1))
    return f"state {labels[0]}" if labels else ""


def known_states(
    latest: dict[int, NumpyArray], window: Window
) -> dict[str, NumpyArray]:
    """Return the states from which people start a window, by their words; those that
    are meant come first where several are equal.
    """
    known = dict[str, NumpyArray]()
    if window.start in latest:
        known[EXPECTED] = latest[window.start]
    if window.start == 0:  # first: units of relu that are off end at zero
        known["not reset between epochs"] = latest[max(latest)]
    known["reset to zero"] = 0 * latest[0]
    known["reset to h_0"] = latest[0]
    if window.loss_start in latest:
        known["of the newest step"] = latest[window.loss_start]
    known["one step early"] = latest[max(window.start - 1, 0)]
    return known


def rates_in_words(fits: Sequence[Fit], updates: int) -> str:
    """Return the first and the last factor of the step, where it is another one from
    update to update; "" if a factor does not explain them all.

    fits: in order. updates: those of the run, of which the last may be no evidence.
    """
    mutant = Mutant("step × {number}", change_times)
    factors = list[float]()
    for fit in fits:
        factor = 1.0
        if fit.wrong:
            measured = measured_number(mutant, [fit], fit.wrong)
            if measured is None:
                return ""
            factor = measured.values[0]
        factors.append(factor)
    words = f"step × {factors[0]:.3g} to {factors[-1]:.3g}"
    if fits[-1].index < updates - 1:
        words += f" up to update {fits[-1].index + 1} of {updates}"
    return words


def window_loops(updates: Updates) -> Iterator[LoopMutant]:
    """Yield mistakes in what a window is computed from."""
    yield LoopMutant(
        "gradients add up from update to update", partial(with_added, updates)
    )
    yield LoopMutant(
        "gradients go back before the window (state not detached)",
        partial(with_earlier_steps, updates, False),
    )
    yield LoopMutant(
        "gradients go back before the window (state not detached)",
        partial(with_earlier_steps, updates, True),
    )
    yield LoopMutant("targets one step ahead", partial(with_moved_targets, updates, -1))
    yield LoopMutant("targets one step behind", partial(with_moved_targets, updates, 1))
    yield LoopMutant(
        "{names} of the weights before the last update",
        partial(with_older_weights, updates),
    )


def step_loops(updates: Updates) -> Iterator[LoopMutant]:
    """Yield mistakes in what a step is computed from."""
    yield LoopMutant(
        "the step uses the gradients of the update before",
        partial(with_step_of, updates, 0.0),
    )
    yield LoopMutant(
        "the step uses gradients that add up from update to update",
        partial(with_step_of, updates, 1.0),
    )
    yield LoopMutant(
        "the velocity starts anew in each epoch", partial(with_new_velocity, updates)
    )


def with_step_of(updates: Updates, share: float, fit: Fit) -> NamedArrays:
    """Return the step by the gradients of the update before, and a share of its
    own.
    """
    if fit.index == 0:
        return fit.report
    before = updates.fit(fit.index - 1).report
    n = NumpyArithmetic(np.float64)
    n.reported = {
        name: before[name] + share * fit.report[name]
        for name in GRADIENT_AXES.keys() & fit.report.keys()
    }
    return window_update(fit.case, n)


def with_new_velocity(updates: Updates, fit: Fit) -> NamedArrays:
    """Return the step without a velocity before it, in the first update of an epoch."""
    if updates.recorded.updates["number"][fit.index] > 1:
        return fit.right
    n = NumpyArithmetic(np.float64)
    n.reported = {d: fit.report[d] for d in GRADIENT_AXES if d in fit.report}
    return window_update(fit.case._replace(velocity=None), n)


def with_added(updates: Updates, fit: Fit) -> NamedArrays:
    """Return the gradients and those of the update before."""
    if fit.index == 0:
        return fit.right
    before = updates.fit(fit.index - 1).report
    names = GRADIENT_AXES.keys() & fit.right.keys()
    return fit.right | {name: fit.right[name] + before[name] for name in names}


def with_earlier_steps(updates: Updates, is_stale: bool, fit: Fit) -> NamedArrays:
    """Return the tensors of a window that goes back to the start of the epoch.

    is_stale: whether the earlier steps keep the activations of the weights at that
    time; or else the current weights compute them again.
    """
    recorded = updates.recorded
    window = recorded.window(fit.index)
    epoch = recorded.updates["epoch"][fit.index]
    if window.start == 0:
        return fit.report
    run = recorded.run
    a = dict[int, NumpyArray]()
    first = fit.index
    while first and recorded.updates["epoch"][first - 1] == epoch:
        first -= 1
    for index in range(first, fit.index + 1):
        other = updates.fit(index).case
        start = recorded.window(index).start
        values = window_update(other)["a"]
        a.update(enumerate(values, start + 1))
    case = fit.case._replace(
        x=np.asarray(run.x[: window.stop], run.x.dtype),
        target=run.target[window.loss_start : window.stop],
        h_0=updates.fit(first).case.h_0,
        step=None,
    )
    equations = {"pre_activation": lambda n, w, p, t: a[t]} if is_stale else {}
    longer = window_update(case, definition=Definition(**equations))
    return {n: longer[n] for n in longer if n == "loss" or n in GRADIENT_AXES}


def with_moved_targets(updates: Updates, shift: int, fit: Fit) -> NamedArrays:
    """Return the tensors with moved targets; what was reported in the first and the
    last window of an epoch, where code may treat what is missing as it likes.
    """
    run = updates.recorded.run
    window = updates.recorded.window(fit.index)
    is_inner = window.loss_start > 0 and window.stop < len(run.x)
    if not is_inner and len(updates.recorded.expected_windows) > 2:
        return fit.report
    run = run._replace(target=np.roll(run.target, shift, axis=0))
    other = Updates(updates.recorded._replace(run=run), updates.network)
    return other.fit(fit.index).right


def with_older_weights(updates: Updates, fit: Fit) -> NamedArrays:
    """Return the tensors by the weights before the last update; what was reported in
    the first.
    """
    if fit.index == 0:
        return fit.report
    older = updates.fit(fit.index - 1).case.params
    return window_update(fit.case._replace(params=older, step=None))
