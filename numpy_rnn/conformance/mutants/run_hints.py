"""Hints for a run: what its windows, initial states or updates are instead of the right ones.

Every update is a case of its own, and a hint explains all that are looked at. Other mistakes are in what goes from one
update to the next: gradients, velocities, rates, weights and states.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpy_rnn.common.records import Schedule, Window
from numpy_rnn.conformance.case import parameters_from, present
from numpy_rnn.conformance.definition import Arrays
from numpy_rnn.conformance.mutants.hints import Fit, explanations
from numpy_rnn.conformance.mutants.step_mistakes import stepped
from numpy_rnn.conformance.mutants.window_mistakes import flow
from numpy_rnn.conformance.traces.divergence import Divergence, expected_windows
from numpy_rnn.conformance.traces.judge import single_update
from numpy_rnn.conformance.traces.recorder import RecordedRun

MANY = 12  # updates that are looked at
ROUNDING = 100  # units in the last place, by which states may differ


def hints_for_run(recorded: RecordedRun, first: Divergence) -> list[str]:
    """The hints for a run whose first divergence is this one."""
    if first.tensor == "window":
        return _windows(recorded)
    updates = Updates(recorded, first.element[: recorded.run.params.W_hh.ndim - 2])
    index, number = recorded.update_index(first), len(updates.number)
    with np.errstate(all="ignore"):
        if (
            first.tensor == "initial"
        ):  # the first text under which all updates have the state of this run
            texts = [
                updates.initial_states(i)
                for i in sorted({*range(min(number, 3 * MANY)), number - 1})
            ]
            return [text for text in texts[0] if all(text in others for others in texts)][:1]
        chosen = sorted(
            {index, *range(max(0, index - 2), min(number, index + MANY - 4)), 0, number - 1}
        )
        fits = [updates.fit(i) for i in chosen]
        wrong, others = (
            [fit for fit in fits if bool(fit.wrong) == is_wrong] for is_wrong in (True, False)
        )
        if found := explanations([*wrong[:4], *others[:2]]):
            return found
        return next(
            ([text] for text, explains in _loops(updates) if all(map(explains, chosen))), []
        )


def _windows(recorded: RecordedRun) -> list[str]:
    """The schedule of which all windows of the run are."""
    (k1, k2, epochs), T = recorded.run.options.schedule, len(recorded.run.x)
    rows = list(zip(*(recorded.updates[name].tolist() for name in Window._fields)))
    right = expected_windows(T, Schedule(k1, k2))
    others: dict[str, list[Window]] = {
        "bptt over k+1 steps": expected_windows(T, Schedule(k1, k2 + 1)),
        "chunks instead of a sliding window": expected_windows(T, Schedule(k2, k2)),
        "the last, shorter window left out": right[: T // k1],
        "the last window left out": right[:-1],
        "windows of all steps so far": expected_windows(T, Schedule(k1, T)),
        "losses of older steps counted again": [Window(w.start, w.start, w.stop) for w in right],
        "windows overlap by one step": [
            Window(min(w.start, w.loss_start - (w.start > 0)), w.loss_start - (w.start > 0), w.stop) for w in right],
        "windows start a step late": [
            Window(w.start + (w.start > 0), max(w.loss_start, w.start + (w.start > 0)), w.stop) for w in right],
    }  # fmt: skip
    for name, windows in others.items():
        if rows == (windows * epochs)[: len(rows)] and rows != (right * epochs)[: len(rows)]:
            return [name]
    ends = [stop for _, _, stop in rows[: len(right)]]
    return (
        ["windows in another order"]
        if sorted(ends) == [window.stop for window in right] != ends
        else []
    )


class Updates:
    """The updates of one network of a run."""

    def __init__(self, recorded: RecordedRun, network: tuple[int, ...]):
        self.recorded, self.network, self.known = recorded, network, dict[int, Fit]()
        run, self.columns = recorded
        self.number = self.columns["number"]
        self.initial = [state[network].astype(np.float64) for state in self.columns["initial"]]
        h_0 = run.h_0 if run.params.h_0 is None else run.params.h_0[network]
        self.h_0 = np.broadcast_to(h_0, self.initial[0].shape)

    def fit(self, index: int) -> Fit:
        """An update and its right values."""
        if index not in self.known:
            self.known[index] = Fit(*single_update(self.recorded, index, self.network))
        return self.known[index]

    def initial_states(self, i: int) -> dict[str, np.ndarray]:
        """The ways to choose initial states of which the state of an update is one."""
        start, zeros, before, new, steps = (
            self.columns["start"],
            0 * self.h_0,
            [self.h_0],
            [self.h_0],
            0,
        )
        is_first, inside = self.number[i] == 1, bool(start[i] > 0)
        right = (
            self.h_0
            if "h_0" not in self.columns or i == 0
            else self.columns["h_0"][i - 1][self.network]
        )
        if i:
            fit, steps = self.fit(i - 1), int(start[i] - start[i - 1])
            params = parameters_from({name: fit.report[name] for name in present(fit.case.params)})
            before = [self.initial[i - 1], *np.asarray(fit.report.get("h", fit.right["h"]))]
            new = [self.initial[i - 1], *flow(fit.case._replace(params=params))["h"]]
        has = inside and 0 <= steps < len(before)
        right = before[steps] if has else right
        others = {
            "zeros for h_0": right if inside else zeros,
            "state reset at every window": zeros,
            "state reset at every window, to h_0": self.h_0,
            "state set to zero after the first epoch": right
            if inside or self.columns["epoch"][i] == 1
            else zeros,
            "state not reset between epochs": before[-1] if i and is_first else right,
            "sliding window starts from the newest state": before[-1] if not is_first else right,
            "sliding window starts from the newest state, but not at step 0": before[-1]
            if i and inside
            else right,
            "the state is computed again with the new weights": new[steps] if has else right,
            "the sequences of the state in reversed order": right[::-1] if inside else right,
            "the state of the sequence before": np.roll(right, 1, 0) if inside else right,
        }
        for j in range(MANY):
            at = before[j] if j < len(before) and not is_first else right
            others[f"the state after step {j} of the window before"] = at
        eps = ROUNDING * np.finfo(self.recorded.run.params.W_hh.dtype).eps
        return {
            text: state
            for text, state in others.items()
            if np.allclose(self.initial[i], state, 0, eps)
        }


def _loops(updates: Updates) -> Iterator[tuple[str, Callable[[int], bool]]]:
    """Mistakes in what goes from update to update: words, and whether they explain an update."""
    (run, columns), number, fit = updates.recorded, updates.number, updates.fit
    epoch, last = columns["epoch"], np.append(number[1:] == 1, True)

    def is_same(i: int, values: Arrays) -> bool:
        """Whether these are the reported values, and the step is that of the reported gradients."""
        return fit(i).explains(values, fit(i).flow) and not fit(i).wrong & set(fit(i).stepped)

    def of_run(changed: RecordedRun, i: int) -> bool:
        return is_same(i, Fit(*single_update(changed, i, updates.network)).right)

    older = updates.recorded.replace({"loss_start": columns["start"]})
    yield "losses of older steps counted again", partial(of_run, older)
    for name, words in (("target", "targets"), ("x", "inputs")):
        for by, when in ((1, "late"), (-1, "early")):
            moved = run._replace(**{name: np.roll(getattr(run, name), by, 0)})
            yield f"{words} one step {when}", partial(of_run, updates.recorded._replace(run=moved))

    def added(is_reset: Callable[[int], bool], i: int) -> bool:
        """Whether the gradients are added to those of the update before."""
        before = {} if i == 0 or is_reset(i) else fit(i - 1).report
        names = ["d" + name for name in present(fit(i).case.params)]
        return is_same(
            i, fit(i).right | {name: fit(i).right[name] + before.get(name, 0) for name in names}
        )

    yield "gradients add up from update to update", partial(added, lambda i: False)
    yield "gradients add up within an epoch", partial(added, lambda i: number[i] == 1)
    for period, words in ((2, "second"), (3, "third"), (4, "fourth")):
        for phase in range(period):
            text = f"gradients set to zero at every {words} update alone"
            yield (
                text,
                partial(
                    added,
                    partial(lambda period, phase, i: (i + phase) % period == 0, period, phase),
                ),
            )

    def keeps_activations(i: int) -> bool:
        """Whether the older steps have the activations of the window before."""
        old, moved = (
            len(fit(i).case.x) - len(fit(i).case.target),
            columns["start"][i] - columns["start"][i - 1],
        )
        if not fit(i).wrong or number[i] == 1 or not old or "a" not in fit(i).report:
            return not fit(i).wrong
        return np.array_equal(fit(i).report["a"][:old], fit(i - 1).report["a"][moved : moved + old])

    def is_step(i: int, gradients: Arrays, **step: Any) -> bool:
        """Whether the step is another one, and the rest right."""
        case = fit(i).case._replace(**step)
        return not fit(i).wrong & fit(i).flow and fit(i).explains(
            stepped(case, gradients), fit(i).stepped
        )

    def with_rate(factor: Callable[[int], float], i: int) -> bool:
        step = fit(i).case.step
        return is_step(
            i,
            fit(i).report,
            step=step._replace(learning_rate=step.learning_rate * float(factor(i))),
        )

    yield "the weights of the update before", lambda i: is_same(
        i, flow(fit(i).case._replace(params=fit(max(0, i - 1)).case.params)))  # fmt: skip
    yield "activations of stale weights kept", keeps_activations
    yield (
        "the step of the gradients of the update before",
        lambda i: is_step(i, fit(max(0, i - 1)).report),
    )
    yield "the velocity, or sum of squares, reset at every epoch", lambda i: is_step(
        i, fit(i).report, velocity=fit(i).case.velocity if number[i] > 1 else None)  # fmt: skip
    factors: dict[str, Callable[[int], float]] = {
        "the rate divided by the number of the epoch": lambda i: 1 / epoch[i],
        "no step at the first update": lambda i: i > 0,
        "a step at every second update alone": lambda i: i % 2,
        "a step at every second update alone, from the first on": lambda i: 1 - i % 2,
        "a step at the last update of an epoch alone": lambda i: last[i],
    }
    for c in (0.5, 0.1, 0.9, 0.95, 0.99, 0.999):
        factors[f"the rate × {c:g} at every epoch"] = partial(
            lambda c, i: c ** float(epoch[i] - 1), c
        )
        factors[f"the rate × {c:g} at every update"] = partial(lambda c, i: c ** float(i), c)
    yield from ((text, partial(with_rate, factor)) for text, factor in factors.items())
