"""Hints for a run: what its windows, initial states or updates are instead of the right ones.

Every update is a case of its own, and a hint explains all that are looked at. Other mistakes are in
what goes from one update to the next: gradients, velocities, rates, weights and states.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Window
from numpy_rnn.conformance.case import leading_axes, present
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Arrays, Definition
from numpy_rnn.conformance.judge import Divergence, single_update
from numpy_rnn.conformance.mutants.catalogue import Equation
from numpy_rnn.conformance.mutants.hints import Fit, explanation, flow, stepped
from numpy_rnn.conformance.runs import RecordedRun

MANY = 12  # updates that are looked at
ROUNDING = 100  # units in the last place, by which states may differ
WINDOWS: dict[str, Equation] = {  # of T, the number of steps before, k1 and k2
    "bptt over k+1 steps": lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1),
    "chunks instead of a sliding window": lambda T, new, k1, k2: right.window(T, new, k2, k2),
    "windows of all steps so far": lambda T, new, k1, k2: right.window(T, new, k1, T),
    "losses of older steps counted again": lambda T, new, k1, k2: (
        lambda w: Window(w.start, w.start, w.stop))(right.window(T, new, k1, k2)),
    "windows overlap by one step": lambda T, new, k1, k2: (
        lambda w: Window(min(w.start, max(new - 1, 0)), max(new - 1, 0), w.stop)
    )(right.window(T, new, k1, k2)),
    "windows start a step late": lambda T, new, k1, k2: (
        lambda w: Window(w.start + (w.start > 0), max(new, w.start + (w.start > 0)), w.stop)
    )(right.window(T, new, k1, k2)),
}  # fmt: skip
STATES: dict[str, Equation] = {  # of the latest states by step, the window, the epoch, and T
    "zeros for h_0": lambda h, w, epoch, T: h[w.start] * (w.start > 0),
    "state reset at every window": lambda h, w, epoch, T: 0 * h[0],
    "state reset at every window, to h_0": lambda h, w, epoch, T: h[0],
    "state set to zero after the first epoch": lambda h, w, epoch, T: (
        h[w.start] * (w.start > 0 or epoch == 1)),
    "state not reset between epochs": lambda h, w, epoch, T: (
        h[T if w.loss_start == 0 and epoch > 1 else w.start]),
    "sliding window starts from the newest state": lambda h, w, epoch, T: h[w.loss_start],
    "sliding window starts from the newest state, but not at step 0": lambda h, w, epoch, T: (
        h[w.loss_start if w.start else 0]),
    "the sequences of the state in reversed order": lambda h, w, epoch, T: (
        h[w.start][..., ::-1, :] if w.start else h[0]),
    "the state of the sequence before": lambda h, w, epoch, T: (
        np.roll(h[w.start], 1, -2) if w.start else h[0]),
    **{f"a state {n} step{'s' * (n > 1)} early": lambda h, w, epoch, T, n=n: (
        h[max(w.start - n, 0)]) for n in range(1, 5)},
    **{f"a state {n} step{'s' * (n > 1)} late": lambda h, w, epoch, T, n=n: (
        h[min(w.start + n, w.loss_start) if w.start else 0]) for n in range(1, 5)},
}  # fmt: skip


def hint_for_run(recorded: RecordedRun, first: Divergence) -> str:
    """The hint for a run whose first divergence is this one; "" if nothing fits."""
    if first.tensor == "window":
        return _windows(recorded)
    network = first.element[: leading_axes(recorded.run.params)]
    updates, index = Updates(recorded, network), recorded.update_index(first)
    number = len(updates.number)
    with np.errstate(all="ignore"):
        if first.tensor == "initial":
            return updates.initial_states()
        near = range(max(0, index - 2), min(number, index + MANY - 4))
        chosen = sorted({index, *near, 0, number - 1})
        fits = [updates.fit(i) for i in chosen]
        wrong, others = ([f for f in fits if bool(f.wrong) == is_wrong] for is_wrong in (True, False))
        if found := explanation([*wrong[:4], *others[:2]]):
            return found
        loops = _loops(updates)
        return next((text for text, explains in loops if all(map(explains, chosen))), "")


def _windows(recorded: RecordedRun) -> str:
    """The schedule of which all windows of the run are."""
    run, updates = recorded.run, recorded.updates
    epochs, k1, T = run.options.schedule.epochs, run.options.schedule.k1, len(run.x)
    rows = list(zip(*(updates[name].tolist() for name in Window._fields)))
    expected = [*map(tuple, RecordedRun(run, {}).windows)]
    others = {text: [*map(tuple, RecordedRun(run, {}, Definition(window=window)).windows)]
              for text, window in WINDOWS.items()}  # fmt: skip
    others["the last, shorter window left out"] = expected[: T // k1]
    others["the last window left out"] = expected[:-1]
    for text, windows in others.items():
        if windows != expected and rows == (windows * epochs)[: len(rows)]:
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
                    found = state(states, window, epoch, len(run.x))
                except LookupError:
                    found = np.nan
                if not np.allclose(initial[i], found, 0, eps):
                    del fitting[text]
            fit = self.fit(i)
            h = fit.report.get("h", fit.right["h"])
            states |= dict(enumerate(h, window.start + 1))
        return next(iter(fitting), "")


def _loops(updates: Updates) -> Iterator[tuple[str, Callable[[int], bool]]]:
    """Mistakes in what goes from update to update: words, and whether they explain an update."""
    run, columns = updates.recorded.run, updates.recorded.updates
    number, epoch, fit = updates.number, updates.epoch, updates.fit
    last = np.append(number[1:] == 1, True)

    def is_same(i: int, values: Arrays) -> bool:
        """Whether these are the reported values, and the step is that of the reported gradients."""
        return fit(i).explains(values) and not fit(i).wrong & set(fit(i).stepped)

    def of_run(changed: RecordedRun, i: int) -> bool:
        return is_same(i, Fit(*single_update(changed, i, updates.network)).right)

    older = columns | {"loss_start": columns["start"]}
    again = updates.recorded._replace(updates=older)
    yield "losses of older steps counted again", partial(of_run, again)
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
    for period, words in ((2, "second"), (3, "third"), (4, "fourth")):
        for phase in range(period):
            reset = partial(lambda period, phase, i: (i + phase) % period == 0, period, phase)
            yield f"gradients set to zero at every {words} update alone", partial(added, reset)

    def keeps_activations(i: int) -> bool:
        """Whether the older steps have the activations of the window before."""
        old = len(fit(i).case.x) - len(fit(i).case.target)
        if not fit(i).wrong or number[i] == 1 or not old or "a" not in fit(i).report:
            return not fit(i).wrong
        moved = columns["start"][i] - columns["start"][i - 1]
        before = fit(i - 1).report["a"][moved : moved + old]
        return np.array_equal(fit(i).report["a"][:old], before)

    def is_step(i: int, gradients: Arrays, **step: Any) -> bool:
        """Whether the step is another one, and the rest right."""
        values = stepped(fit(i).case._replace(**step), gradients)
        return not fit(i).wrong & fit(i).flow and fit(i).explains(values, fit(i).stepped)

    def at_rate(factor: Callable[[int], float], i: int) -> bool:
        step = fit(i).case.step
        rate = step.learning_rate * float(factor(i))
        return is_step(i, fit(i).report, step=step._replace(learning_rate=rate))

    def former_weights(i: int) -> bool:
        return is_same(i, flow(fit(i).case._replace(params=fit(max(0, i - 1)).case.params)))

    def reset_velocity(i: int) -> bool:
        velocity = fit(i).case.velocity if number[i] > 1 else None
        return is_step(i, fit(i).report, velocity=velocity)

    yield "the weights of the update before", former_weights
    yield "activations of stale weights kept", keeps_activations
    gradients = "the step of the gradients of the update before"
    yield gradients, lambda i: is_step(i, fit(max(0, i - 1)).report)
    yield "the velocity, or sum of squares, reset at every epoch", reset_velocity
    factors: dict[str, Callable[[int], float]] = {
        "the rate divided by the number of the epoch": lambda i: 1 / epoch[i],
        "no step at the first update": lambda i: i > 0,
        "a step at every second update alone": lambda i: i % 2,
        "a step at every second update alone, from the first on": lambda i: 1 - i % 2,
        "a step at the last update of an epoch alone": lambda i: last[i],
    }
    for c in (0.5, 0.1, 0.9, 0.95, 0.99, 0.999):
        by_epoch = partial(lambda c, i: c ** float(epoch[i] - 1), c)
        factors[f"the rate × {c:g} at every epoch"] = by_epoch
        factors[f"the rate × {c:g} at every update"] = partial(lambda c, i: c ** float(i), c)
    yield from ((text, partial(at_rate, factor)) for text, factor in factors.items())
