"""Hints for a run: what its windows, initial states or updates are instead of the right ones.

Every update is a case of its own, and a hint explains all that are looked at. Other mistakes are in
what goes from one update to the next: gradients, velocities, rates, weights and states.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window
from numpy_rnn.conformance.case import leading_axes, present
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Arrays, Definition
from numpy_rnn.conformance.judge import Divergence, single_update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Equation
from numpy_rnn.conformance.mutants.hints import Fit, explanation, flow, stepped
from numpy_rnn.conformance.runs import RecordedRun

MANY = 12  # updates that are looked at
ROUNDING = 100  # units in the last place, by which states may differ
LOOP_MUTANTS = {mutant.name: mutant.equations for mutant in MUTANTS if mutant.in_run}
WINDOWS: dict[str, Equation] = {
    **{name: each["window"] for name, each in LOOP_MUTANTS.items() if "window" in each},
    "windows of all steps so far": lambda T, new, k1, k2: right.window(T, new, k1, T),
    "losses of older steps counted again": lambda T, new, k1, k2: Window(
        right.window(T, new, k1, k2).start, right.window(T, new, k1, k2).start, min(new + k1, T)
    ),
    "windows overlap by one step": lambda T, new, k1, k2: Window(
        min(right.window(T, new, k1, k2).start, max(new - 1, 0)), max(new - 1, 0), min(new + k1, T)
    ),
    "windows start a step late": lambda T, new, k1, k2: Window(
        (start := right.window(T, new, k1, k2).start) + (start > 0), max(new, start + 1) if start
        else new, min(new + k1, T)
    ),
}  # fmt: skip
STATES: dict[str, Equation] = {  # of the latest states by step, the window and the epoch
    "zeros for h_0": lambda h, w, epoch: h[w.start] * (w.start > 0),
    "state reset at every window, to h_0": lambda h, w, epoch: h[0],
    "state set to zero after the first epoch": lambda h, w, epoch: (
        h[w.start] * (w.start > 0 or epoch == 1)
    ),
    **{name: each["carried_state"] for name, each in LOOP_MUTANTS.items()
       if [*each] == ["carried_state"]},
    "the newest state, also at step 0": lambda h, w, epoch: h[w.loss_start],
    "the state of the sequence before": lambda h, w, epoch: (
        np.roll(h[w.start], 1, -2) if w.start else h[0]
    ),
    "the state one step early": lambda h, w, epoch: h[max(w.start - 1, 0)],
    "the state one step late": lambda h, w, epoch: h[w.start + 1 if w.start else 0],
}  # fmt: skip


def hint_for_run(recorded: RecordedRun, first: Divergence) -> str:
    """The hint for a run whose first divergence is this one; "" if nothing fits."""
    if first.tensor == "window":
        return _windows(recorded)
    updates = Updates(recorded, first.element[: leading_axes(recorded.run.params)])
    index, number = recorded.update_index(first), len(updates.number)
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return updates.initial_states()
        near = range(max(0, index - 2), min(number, index + MANY - 4))
        chosen = sorted({index, *near, 0, number - 1})
        fits = [updates.fit(i) for i in chosen]
        wrong, others = (
            [f for f in fits if bool(f.wrong) == is_wrong] for is_wrong in (True, False)
        )
        if found := explanation([*wrong[:4], *others[:2]]):
            return found
        loops = _loops(updates)
        return next((text for text, explains in loops if all(map(explains, chosen))), "")


def _windows(recorded: RecordedRun) -> str:
    """The schedule of which all windows of the run are."""
    run, T = recorded.run, len(recorded.run.x)
    rows = list(zip(*(recorded.updates[name].tolist() for name in Window._fields)))
    expected = [*map(tuple, recorded.windows)]
    others = {"the last, shorter window left out": expected[: T // run.options.schedule.k1]}
    others["the last window left out"] = expected[:-1]
    for text, window in WINDOWS.items():
        others[text] = [*map(tuple, RecordedRun(run, {}, Definition(window=window)).windows)]
    for text, windows in others.items():
        if windows != expected and rows == (windows * run.options.schedule.epochs)[: len(rows)]:
            return text
    is_other_order = sorted(rows[: len(expected)]) == sorted(expected) != rows[: len(expected)]
    return "windows in another order" if is_other_order else ""


class Updates:
    """The updates of one network of a run."""

    def __init__(self, recorded: RecordedRun, network: tuple[int, ...]):
        self.recorded, self.network, self.known = recorded, network, dict[int, Fit]()
        self.number, self.epoch = (recorded.updates[name] for name in ("number", "epoch"))

    def fit(self, index: int) -> Fit:
        """An update and its right values."""
        if index not in self.known:
            self.known[index] = Fit(*single_update(self.recorded, index, self.network))
        return self.known[index]

    def initial_states(self) -> str:
        """The way to choose initial states of which those of all updates are."""
        run, columns = self.recorded.run, self.recorded.updates
        initial = columns["initial"][(slice(None), *self.network)].astype(np.float64)
        states: dict[int, NumpyArray] = {0: np.broadcast_to(run.h_0, initial[0].shape)}
        fitting, eps = dict(STATES), ROUNDING * np.finfo(run.params.W_hh.dtype).eps
        for i, epoch in enumerate(self.epoch):
            window = Window(*(int(columns[name][i]) for name in Window._fields))
            for text, state in [*fitting.items()]:
                try:
                    found = state(states, window, epoch)
                except LookupError:
                    found = np.nan
                if not np.allclose(initial[i], found, 0, eps):
                    del fitting[text]
            fit = self.fit(i)
            states |= dict(enumerate(fit.report.get("h", fit.right["h"]), window.start + 1))
        return next(iter(fitting), "")


def _loops(updates: Updates) -> Iterator[tuple[str, Callable[[int], bool]]]:
    """Mistakes in what goes from update to update: words, and whether they explain an update."""
    run, columns = updates.recorded.run, updates.recorded.updates
    number, epoch, fit = updates.number, updates.epoch, updates.fit

    def is_same(i: int, values: Arrays) -> bool:
        """Whether these are the reported values, and the step is that of the reported gradients."""
        return fit(i).explains(values, fit(i).flow) and not fit(i).wrong & fit(i).stepped

    def of_run(changed: RecordedRun, i: int) -> bool:
        return is_same(i, Fit(*single_update(changed, i, updates.network)).right)

    older = updates.recorded._replace(updates=columns | {"loss_start": columns["start"]})
    yield "losses of older steps counted again", partial(of_run, older)
    for name, words in (("target", "targets"), ("x", "inputs")):
        for by, when in ((1, "late"), (-1, "early")):
            moved = run._replace(**{name: np.roll(getattr(run, name), by, 0)})
            yield f"{words} one step {when}", partial(of_run, updates.recorded._replace(run=moved))

    def added(is_reset: Callable[[int], bool], i: int) -> bool:
        """Whether the gradients are added to those of the update before."""
        before = {} if i == 0 or is_reset(i) else fit(i - 1).report
        names = ["d" + name for name in present(fit(i).case.params)]
        sums = {name: fit(i).right[name] + before.get(name, 0) for name in names}
        return is_same(i, fit(i).right | sums)

    yield "gradients add up from update to update", partial(added, lambda i: False)
    yield "gradients add up within an epoch", partial(added, lambda i: number[i] == 1)
    for period, phase in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3)):
        reset = partial(lambda period, phase, i: (i + phase) % period == 0, period, phase)
        yield f"gradients set to zero at every {period}th update alone", partial(added, reset)

    def former_weights(i: int) -> bool:
        return is_same(i, flow(fit(i).case._replace(params=fit(max(0, i - 1)).case.params)))

    def keeps_activations(i: int) -> bool:
        """Whether the older steps have the activations of the window before."""
        old = len(fit(i).case.x) - len(fit(i).case.target)
        if not fit(i).wrong or number[i] == 1 or not old or "a" not in fit(i).report:
            return not fit(i).wrong
        moved = columns["start"][i] - columns["start"][i - 1]
        before = fit(i - 1).report["a"][moved : moved + old]
        return np.array_equal(fit(i).report["a"][:old], before)

    def is_step(i: int, gradients: Arrays, **changes: object) -> bool:
        """Whether the step is another one, and the rest right."""
        values = stepped(fit(i).case._replace(**changes), gradients)
        return not fit(i).wrong & fit(i).flow and fit(i).explains(values, fit(i).stepped)

    def reset_velocity(i: int) -> bool:
        velocity = fit(i).case.velocity if number[i] > 1 else None
        return is_step(i, fit(i).report, velocity=velocity)

    def at_rate(factor: Callable[[int], float], i: int) -> bool:
        step = fit(i).case.step
        rate = step.learning_rate * float(factor(i))
        return is_step(i, fit(i).report, step=step._replace(learning_rate=rate))

    yield "the weights of the update before", former_weights
    yield "activations of stale weights kept", keeps_activations
    gradients = "the step of the gradients of the update before"
    yield gradients, lambda i: is_step(i, fit(max(0, i - 1)).report)
    yield "the velocity, or sum of squares, reset at every epoch", reset_velocity
    last = np.append(number[1:] == 1, True)
    factors: dict[str, Callable[[int], float]] = {
        "the rate divided by the number of the epoch": lambda i: 1 / epoch[i],
        "no step at the first update": lambda i: i > 0,
        "a step at every second update alone": lambda i: i % 2,
        "a step at every second update alone, from the first on": lambda i: 1 - i % 2,
        "a step at the last update of an epoch alone": lambda i: last[i],
    }
    for c in (0.5, 0.1, 0.9, 0.95, 0.99, 0.999):
        decay = partial(lambda c, i: c ** float(epoch[i] - 1), c)
        factors[f"the rate × {c:g} at every epoch"] = decay
        factors[f"the rate × {c:g} at every update"] = partial(lambda c, i: c ** float(i), c)
    yield from ((text, partial(at_rate, factor)) for text, factor in factors.items())
