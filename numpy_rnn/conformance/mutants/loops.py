"""Hints for runs: what is wrong in windows, in their initial states, or in what goes
from one update to the next.

Every update is a fit of its own, whose mistakes are those of a window or of its step.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.judge import single_update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Loop, older_losses
from numpy_rnn.conformance.mutants.edits import Mutant
from numpy_rnn.conformance.mutants.families import FORGOTTEN, OF_GRADIENTS
from numpy_rnn.conformance.mutants.fits import Fit, Hypothesis
from numpy_rnn.conformance.mutants.hints import explanation, first_of
from numpy_rnn.conformance.runs import RecordedRun

MANY = 12  # updates that are looked at
LATE = "windows start a step late"
SCHEDULES = (
    *(mutant for mutant in MUTANTS if "window" in mutant.equations),
    Mutant("losses of older steps counted again", {"window": older_losses}),
    Mutant(
        LATE,
        {
            "window": lambda T, new, k1, k2: right.window(
                T, new, k1, k2 - (new + k1 > k2)
            )
        },
    ),
    Mutant(
        "the last, shorter window reaches back over k2 steps",
        {
            "window": lambda T, new, k1, k2: right.window(
                T, new, k1, k2 + max(0, new + k1 - T)
            )
        },
    ),
)


class OneNetwork(NamedTuple):
    """A run of one network, or one of an ensemble."""

    recorded: RecordedRun
    network: tuple[int, ...]

    def fit(self, index: int) -> Fit:
        """Return one update as a fit. In plain descent its velocity is the change of
        the parameters before, over the rate.
        """
        case, report = single_update(self.recorded, index, self.network)
        if index and not case.step.has_velocity:
            before, _ = single_update(self.recorded, index - 1, self.network)
            moved = {}
            for name, theta in present(case.params).items():
                change = getattr(before.params, name) - theta
                moved[name] = change / case.step.learning_rate
            case = case._replace(velocity=cases.parameters_from(moved))  # type: ignore[arg-type]
        fit = Fit(case, report, index)
        if self.recorded.updates["number"][index] == 1 and not fit.wrong:
            fit.case = fit.case._replace(velocity=None)  # a new optimizer
        return fit

    def case(self, index: int, **changes: Any) -> WindowCase:
        """Return the case of an update of a run with other updates, or series."""
        other = self.recorded._replace(**changes)
        return self._replace(recorded=other).fit(index).case


def hint_for_run(recorded: RecordedRun, first: Finding) -> str:
    """Return the hint for a run whose first divergence is this one; "" if nothing
    fits.
    """
    if first.tensor == "window":
        return windows_in_words(recorded)
    of = OneNetwork(recorded, first.element[: cases.leading_axes(recorded.run.params)])
    index, count = recorded.update_index(first), recorded.length
    low = 0 if index < MANY else index - 2
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return states_in_words(of)
        near = range(low, min(count, index + MANY - 4))
        fits = [of.fit(i) for i in sorted({0, *near, count - 1})]
        wrong = [fit for fit in fits if fit.wrong]
        if not wrong:
            return ""
        fits = [*wrong, *(fit for fit in fits if not fit.wrong)]
        return explanation(fits) or first_of(fits, loop_mistakes(of))


def windows_in_words(recorded: RecordedRun) -> str:
    """Return the schedule that gives all windows of the run, or how they are moved."""
    run, expected = recorded.run, recorded.windows
    k1, _, epochs = run.options.schedule
    rows = [recorded.window(i) for i in range(len(recorded.updates["stop"]))]
    others = {"the last, shorter window left out": expected[: len(run.x) // k1]}
    for mutant in SCHEDULES:
        others[mutant.name] = RecordedRun(run, {}, mutant.definition).windows
    for text, windows in others.items():
        if windows != expected and rows == (windows * epochs)[: len(rows)]:
            return text
    gaps = {b.loss_start - a.stop for a, b in pairwise(rows) if b.start}
    if len(gaps) == 1 and (gap := gaps.pop()):
        if gap > 0:
            return f"{pluralize(gap, 'step')} skipped between windows"
        return f"windows overlap by {pluralize(-gap, 'step')}"
    moves = [(r.start - e.start, r.stop - e.stop) for r, e in zip(rows, expected)]
    first = next((i for i, move in enumerate(moves) if move != (0, 0)), 0)
    later = {*moves[first:]}
    (start, stop), is_one = moves[first], len(later) == 1
    if is_one and start == stop != 0:
        words = f"{pluralize(abs(start), 'step')} {'late' if start > 0 else 'early'}"
        return f"windows {words} from update {first + 1} on"
    return ""


def states_in_words(of: OneNetwork) -> str:
    """Return where the wrong initial states come from, and in which windows."""
    recorded = of.recorded
    h_0 = recorded.run.h_0.astype(np.float64)
    latest, labels, wrong, usual = {0: h_0}, None, set[int](), set[int]()
    before: Fit | None = None
    for index in range(recorded.length):
        fit, window = of.fit(index), recorded.window(index)
        number = int(recorded.updates["number"][index]) - 1

        def is_own(state: NumpyArray | None, fit: Fit = fit) -> bool:
            """Return whether a window begins with this state."""
            return state is not None and np.allclose(fit.case.h_0, state, 0, fit.unit)

        if window.start:
            usual.add(number)
        if not is_own(latest.get(window.start)):
            known = dict[str, NumpyArray | None]()
            if window.start == 0:  # first: units of relu that are off end at zero
                known["not reset between epochs"] = latest[max(latest)]
            known |= {"reset to zero": 0 * h_0, "reset to h_0": h_0}
            known["of the newest step"] = latest.get(window.loss_start)
            if before is not None:
                again = before.case._replace(params=fit.case.params)
                states = window_update(again)["h"]
                known["computed again with the new weights"] = states[-1]
            for step, state in latest.items():
                away = step - window.start
                words = "early" if away < 0 else "late"
                known[f"{pluralize(abs(away), 'step')} {words}"] = state
            found = [words for words, state in known.items() if is_own(state)]
            labels = [each for each in labels or found if each in found]
            if window.start:
                wrong.add(number)
        h = fit.report.get("h", fit.right["h"])
        latest.update(enumerate(h, window.start + 1))
        before = fit
    if not labels:
        return ""
    return f"state {labels[0]}{which_windows(wrong, usual)}"


def which_windows(wrong: set[int], usual: set[int]) -> str:
    """Return in which windows of an epoch something is wrong, in words."""
    if not wrong:
        return ""
    if wrong == usual:
        return " at every window"
    for n in range(2, max(usual) + 1):
        if wrong == {number for number in usual if number % n == 0}:
            return f" after every {n} windows"
    return " in some windows"


def loop_mistakes(of: OneNetwork) -> Iterator[Hypothesis]:
    """Yield mistakes in what an update is computed from. An update to which a mistake
    does not apply is explained by any.
    """
    words = "gradients + {number} × those of the update before"
    add = partial(with_added, of, False)
    yield Hypothesis("gradients add up from update to update", add, 1.0, words, 0.0)
    add = partial(with_added, of, True)
    yield Hypothesis("gradients add up within an epoch", add, 1.0)
    words = "the velocity, or sum of squares, reset at every epoch"
    yield Hypothesis(words, partial(without_velocity, of))
    words = "activations of stale weights kept"
    yield Hypothesis(words, partial(in_loop_values, of, "pre_activation"))
    words = "dh of the last step begins with dh_0 of the window before"
    yield Hypothesis(words, partial(in_loop_values, of, "backward"))
    for series, words in (("target", "targets"), ("x", "inputs")):
        for where, shift in (("ahead", -1), ("behind", 1)):
            values = partial(with_moved, of, series, shift)
            yield Hypothesis(f"{words} one step {where}", values)
    words = "{names} of the weights before the last update"
    yield Hypothesis(words, partial(of_older_weights, of))


def with_added(of: OneNetwork, resets: bool, fit: Fit, number: float) -> NamedArrays:
    """Return the gradients and a part of those before; resets: not in a new epoch."""
    values = dict(fit.right)
    is_new = resets and of.recorded.updates["number"][fit.index] == 1
    if fit.index and not is_new:
        before = of.fit(fit.index - 1).report
        for name in {*OF_GRADIENTS} & values.keys():
            values[name] = values[name] + number * before[name]
    return values


def without_velocity(of: OneNetwork, fit: Fit, number: float) -> NamedArrays:
    """Return the step without a velocity where an epoch begins."""
    is_new = of.recorded.updates["number"][fit.index] == 1
    return fit.right | fit.step_of(FORGOTTEN) if is_new else fit.right


def with_moved(
    of: OneNetwork, series: str, shift: int, fit: Fit, number: float
) -> NamedArrays:
    """Return the update of a moved series. What the first and the last window of an
    epoch miss, code may treat as it likes.
    """
    run, window = of.recorded.run, of.recorded.window(fit.index)
    is_inner = window.loss_start > 0 and window.stop < len(run.x)
    if not is_inner and len(of.recorded.windows) > 2:
        return fit.report
    other = run._replace(**{series: np.roll(getattr(run, series), shift, axis=0)})
    return window_update(of.case(fit.index, run=other))


def of_older_weights(of: OneNetwork, fit: Fit, number: float) -> NamedArrays:
    """Return the gradients by the weights before the last update."""
    if fit.index == 0:
        return fit.report
    params = of.fit(fit.index - 1).case.params
    return window_update(fit.case._replace(params=params))


def in_loop_values(of: OneNetwork, name: str, fit: Fit, number: float) -> NamedArrays:
    """Return the numbers of an update by an equation that sees those before."""
    loop, recorded, values = Loop(), of.recorded, NamedArrays()
    definition = Definition(**{name: getattr(loop, name)})
    first = fit.index - int(recorded.updates["number"][fit.index]) + 1
    for index in range(first, fit.index + 1):
        loop.carried_state(
            {recorded.window(index).start: None}, recorded.window(index), 1
        )
        values = window_update(of.fit(index).case, of=definition)
    return values
