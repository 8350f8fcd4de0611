"""Hints for a run: what its windows, initial states or updates are instead of the right ones.

Every update is a case of its own; a hint explains all of those that are looked at. Other mistakes are in what goes from
update to update: gradients, velocities, rates, losses and states of the updates before.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from numpy_rnn.common.records import Schedule, WindowCase
from numpy_rnn.conformance.case import initial_state, parameters_from, present
from numpy_rnn.conformance.definition import Arrays
from numpy_rnn.conformance.mutants.hints import Fit, explanations
from numpy_rnn.conformance.mutants.mistakes import flow
from numpy_rnn.conformance.mutants.other_steps import stepped
from numpy_rnn.conformance.traces.divergence import Divergence, expected_windows
from numpy_rnn.conformance.traces.judge import single_update
from numpy_rnn.conformance.traces.recorder import RecordedRun

MANY = 12  # updates that are looked at


def hints_for_run(recorded: RecordedRun, first: Divergence) -> list[str]:
    """The hints for a run whose first divergence is this one."""
    index, network = recorded.update_index(first), first.element[: recorded.run.params.W_hh.ndim - 2]
    if first.tensor == "window":
        return _windows(recorded)
    if first.tensor == "initial":
        return _initial_states(recorded, network)
    count = len(recorded.updates["epoch"])
    chosen = sorted({index, *range(max(0, index - 2), min(count, index + MANY - 4)), 0, count - 1})
    with np.errstate(all="ignore"):
        updates = Updates(recorded, chosen, network)
        fits = [updates.fit(i) for i in chosen]
        wrong = [fit for fit in fits if fit.wrong]
        return explanations([*wrong[:4], *(fit for fit in fits if not fit.wrong)][:6]) or _of_loop(updates)


class Updates:
    """The updates of one network of a run, of which some are looked at."""

    def __init__(self, recorded: RecordedRun, chosen: Sequence[int], network: tuple[int, ...]):
        self.recorded, self.chosen, self.network = recorded, chosen, network
        self.known = dict[int, Any]()

    def single(self, index: int, of: RecordedRun | None = None) -> tuple[WindowCase, Arrays]:
        """An update as a case and a report, also if the run were another."""
        return single_update(of or self.recorded, index, self.network)

    def fit(self, index: int) -> Fit:
        """An update and its right values."""
        if index not in self.known:
            self.known[index] = Fit(*self.single(index))
        return self.known[index]


def _windows(recorded: RecordedRun) -> list[str]:
    """The schedules of which all windows of the run are."""
    run, updates = recorded
    k1, k2, epochs = run.options.schedule
    T = len(run.x)
    rows = list(zip(*(updates[name].tolist() for name in ("start", "loss_start", "stop"))))
    right = expected_windows(T, Schedule(k1, k2))
    if rows == (right * epochs)[: len(rows)]:  # a run that ends early
        return []
    others = {
        "bptt over k+1 steps": expected_windows(T, Schedule(k1, k2 + 1)),
        "bptt over k-1 steps": expected_windows(T, Schedule(k1, max(k1, k2 - 1))),
        "chunks instead of a sliding window": expected_windows(T, Schedule(k2, k2)),
        "windows of the new steps alone": expected_windows(T, Schedule(k1, k1)),
        "the last, shorter window left out": right[: T // k1],
        "the last window left out": right[:-1],
        "the first window left out": right[1:],
        "the first windows, of less than k2 steps, left out": [window for window in right if window.stop - window.start == k2],
        "windows of all steps so far": expected_windows(T, Schedule(k1, T)),
        "an update at every step": expected_windows(T, Schedule(1, k2)),
        "losses of older steps counted again": [window._replace(loss_start=window.start) for window in right],
        "windows in reversed order": right[::-1],
    }
    found = {name for name, windows in others.items() if rows == (windows * epochs)[: len(rows)] and windows != right}
    return [name for name in others if name in found][:1]


def _initial_states(recorded: RecordedRun, network: tuple[int, ...]) -> list[str]:
    """Which states all windows start from that do not start from the right one."""
    run, updates = recorded
    count = len(updates["epoch"])
    single = partial(single_update, recorded, network=network)
    initial = [state[network].astype(np.float64) for state in updates["initial"]]
    h_0 = np.broadcast_to(run.params.h_0[network] if run.params.h_0 is not None else run.h_0, initial[0].shape)

    def right(index: int) -> Any:
        start, before = updates["start"][index], index - 1
        if start == 0:
            learned = updates["h_0"][before][network] if "h_0" in updates and index else h_0
            return learned
        steps = start - updates["start"][before]
        return initial[before] if steps == 0 else states(before)[steps - 1]

    def states(index: int) -> Any:
        case, report = single(index)
        return report["h"] if "h" in report else flow(Fit(case, report).case)["h"]

    def recomputed(index: int) -> Any:  # the state with the weights after the step
        case, report = single(index - 1)
        steps = updates["start"][index] - updates["start"][index - 1]
        after = case._replace(params=parameters_from({name: report[name] for name in present(case.params)}))
        return flow(Fit(after, report).case)["h"][steps - 1]

    def in_epoch(index: int) -> bool:
        return updates["start"][index] > 0

    def is_first(index: int) -> bool:
        return updates["number"][index] == 1

    others: tuple[tuple[str, Callable[[int], Any]], ...] = (
        ("zeros for h_0", lambda i: right(i) if in_epoch(i) else 0 * h_0),
        ("state reset at every window", lambda i: h_0),
        ("state reset at every window", lambda i: 0 * h_0),
        ("state reset at every window", lambda i: 0 * h_0 if i else h_0),
        ("state set to zero after the first epoch", lambda i: right(i) if in_epoch(i) or not i else 0 * h_0),
        ("state not reset between epochs", lambda i: states(i - 1)[-1] if is_first(i) and i else right(i)),
        ("sliding window starts from the newest state", lambda i: states(i - 1)[-1] if in_epoch(i) else right(i)),
        ("the newest state is kept, also between epochs", lambda i: states(i - 1)[-1] if i else right(i)),
        ("the window starts from the state before the last", lambda i: (
            [initial[i - 1], *states(i - 1)][-2] if in_epoch(i) else right(i))),
        ("the window starts a step too early in the states", lambda i: (
            [initial[i - 1], *states(i - 1)][updates["start"][i] - updates["start"][i - 1] - 1] if in_epoch(i) else right(i))),
        ("the window starts a step too late in the states", lambda i: (
            states(i - 1)[updates["start"][i] - updates["start"][i - 1]] if in_epoch(i) else right(i))),
        ("the window starts from the first state of the one before", lambda i: initial[i - 1] if in_epoch(i) else right(i)),
        ("the state is computed again with the new weights", lambda i: recomputed(i) if in_epoch(i) else right(i)),
        ("the state of the first sequence for all", lambda i: right(i)[:1] + 0 * h_0 if in_epoch(i) else right(i)),
        ("the state averaged over the batch", lambda i: right(i).mean(0) + 0 * h_0 if in_epoch(i) else right(i)),
        ("states of other sequences", lambda i: np.roll(right(i), 1, 0) if in_epoch(i) else right(i)),
        ("states of other sequences (the next)", lambda i: np.roll(right(i), -1, 0) if in_epoch(i) else right(i)),
        ("a learned h_0 that the windows do not use", lambda i: right(i) if in_epoch(i) else h_0),
    )  # fmt: skip
    eps = np.finfo(run.params.W_hh.dtype).eps
    wrong = [i for i in range(count) if not np.allclose(initial[i], right(i), 0, 100 * eps)]

    def explains(other: Callable[[int], Any], i: int) -> bool:
        try:
            return np.allclose(initial[i], other(i), 0, 100 * eps)
        except IndexError:
            return False

    chosen = sorted({*wrong[:MANY], *range(min(count, MANY)), count - 1})
    return [name for name, other in others if wrong and all(explains(other, i) for i in chosen)][:1]


def _of_loop(updates: Updates) -> list[str]:
    """A mistake in what goes from update to update."""
    texts = [text for text, explains in _loops(updates) if all(explains(i) for i in updates.chosen)]
    return texts[:1]


def _loops(updates: Updates) -> Iterator[tuple[str, Callable[[int], bool]]]:
    recorded, (run, columns) = updates.recorded, updates.recorded
    step = run.options.step

    def other_run(changed: RecordedRun, i: int) -> bool:
        return _is_same(updates.fit(i), flow(Fit(*updates.single(i, changed)).case))

    for text, changed in {
        "losses of older steps counted again": recorded.replace({"loss_start": columns["start"]}),
        "targets one step late": recorded._replace(run=run._replace(target=np.roll(run.target, 1, 0))),
        "targets one step early": recorded._replace(run=run._replace(target=np.roll(run.target, -1, 0))),
        "inputs one step late": recorded._replace(run=run._replace(x=np.roll(run.x, 1, 0))),
        "inputs one step early": recorded._replace(run=run._replace(x=np.roll(run.x, -1, 0))),
    }.items():
        yield text, partial(other_run, changed)

    def with_gradients(gradients: Callable[[int], Arrays], i: int) -> bool:
        """The reported gradients are these, and the step is theirs."""
        return _is_same(updates.fit(i), updates.fit(i).right | gradients(i))

    def own(i: int) -> Arrays:
        fit = updates.fit(i)
        return {"d" + name: fit.right["d" + name] for name in present(fit.case.params)}

    def added(period: int, i: int, phase: int) -> Arrays:
        if i == 0 or (period and (i + phase) % period == 0):
            return own(i)
        before = updates.fit(i - 1).report
        return {name: g + before.get(name, 0) for name, g in own(i).items()}

    yield "gradients add up from update to update", partial(with_gradients, lambda i: added(0, i, 0))
    for period, words in ((2, "second"), (3, "third"), (4, "fourth")):
        for phase in range(period):
            yield f"gradients set to zero at every {words} update alone", partial(
                with_gradients, lambda i, period=period, phase=phase: added(period, i, phase))  # fmt: skip
    number = columns["number"]
    yield "gradients add up within an epoch", partial(with_gradients, lambda i: own(i) if number[i] == 1 else added(0, i, 0))
    yield "gradients of the update before", partial(with_gradients, lambda i: updates.fit(i - 1).right if i else own(i))

    def of_old_weights(i: int) -> bool:
        if i < 2:
            return not updates.fit(i).wrong
        case, old = updates.fit(i).case, updates.fit(i - 1).case
        return _is_same(updates.fit(i), flow(case._replace(params=old.params)))

    yield "the weights of the update before", of_old_weights
    yield "activations of stale weights kept", lambda i: not updates.fit(i).wrong or _keeps_activations(updates, i)
    yield "the loss is the sum of all since the start of the epoch", lambda i: _has_loss(
        updates, i, updates.fit(i).right["loss"] + (updates.fit(i - 1).report["loss"] if number[i] > 1 else 0))
    for c in (0.999, 0.99, 0.9):
        yield f"the loss is a mean, {c:g} times that of before", lambda i, c=c: _has_loss(
            updates, i, c * (updates.fit(i - 1) if i else updates.fit(i)).report["loss"] + (1 - c) * updates.fit(i).right["loss"])  # fmt: skip

    def other_step(change: Callable[[int, WindowCase], WindowCase], i: int) -> bool:
        fit = updates.fit(i)
        return not fit.wrong & fit.flow and fit.explains(stepped(change(i, fit.case), fit.report), fit.stepped)

    def rate(factor: Callable[[int], float], i: int, case: WindowCase) -> WindowCase:
        return case._replace(step=case.step._replace(learning_rate=case.step.learning_rate * factor(i)))

    if step.has_velocity:
        for text, resets in (("epoch", lambda i: number[i] == 1), ("window", lambda i: True)):
            yield f"the velocity, or sum of squares, is reset at every {text}", partial(
                other_step, lambda i, case, resets=resets: case._replace(velocity=None) if resets(i) else case)  # fmt: skip
    for text, factor in {
        "the rate divided by the number of the epoch": lambda i: 1 / columns["epoch"][i],
        "the rate divided by the number of the update": lambda i: 1 / (i + 1),
        "the rate divided by the number of the update in the epoch": lambda i: 1 / number[i],
        "the rate divided by the root of the number of the update": lambda i: (i + 1) ** -0.5,
        **{f"the rate × {c:g} at every epoch": lambda i, c=c: c ** (columns["epoch"][i] - 1.0) for c in (0.5, 0.1, 0.9, 0.95, 0.99)},
        **{f"the rate × {c:g} at every update": lambda i, c=c: c**float(i) for c in (0.5, 0.9, 0.95, 0.99, 0.999)},
        "no step at the first update": lambda i: float(i > 0),
        "a step at every second update alone": lambda i: float(i % 2 == 1),
        "a step at every second update alone, and the first": lambda i: float(i % 2 == 0),
        "no step at the last update of an epoch": lambda i: float(i + 1 < len(number) and number[i + 1] != 1),
        "a step at the last update of an epoch alone": lambda i: float(i + 1 == len(number) or number[i + 1] == 1),
    }.items():  # fmt: skip
        yield text, partial(other_step, partial(rate, factor))


def _is_same(fit: Fit, values: Arrays) -> bool:
    """Whether these are the reported values, and the step is that of the reported gradients."""
    return fit.explains(values, fit.flow) and not fit.wrong & set(fit.stepped)


def _has_loss(updates: Updates, i: int, loss: Any) -> bool:
    fit = updates.fit(i)
    return fit.explains(fit.right | {"loss": loss}, fit.report)


def _keeps_activations(updates: Updates, i: int) -> bool:
    """Whether the older steps have the activations of the windows before."""
    columns, report, case = updates.recorded.updates, updates.fit(i).report, updates.fit(i).case
    before = updates.fit(max(0, i - 1)).report
    old, moved = len(case.x) - len(case.target), columns["start"][i] - columns["start"][i - 1]
    if columns["number"][i] == 1 or not old:
        return False
    return "a" in report and np.array_equal(report["a"][:old], before["a"][moved : moved + old])
