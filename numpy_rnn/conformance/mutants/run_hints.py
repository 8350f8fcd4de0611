"""Hints for a run: what its first wrong window, initial state or gradient is instead of the right one.

They are looked up among the numbers of the run itself, so that what is said of it is so.
"""

import numpy as np

from numpy_rnn.common.records import Schedule, WindowCase
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.mutants.hints import EXACT, Fit, hints_for_case
from numpy_rnn.conformance.plain_rnn import Arrays
from numpy_rnn.conformance.traces.divergence import Divergence, expected_windows
from numpy_rnn.conformance.traces.judge import stacks
from numpy_rnn.conformance.traces.recorder import RecordedRun

MAX_UPDATES = 200  # among which a state is looked for


def hints_for_run(recorded: RecordedRun, first: Divergence) -> list[str]:
    """The hints for a run whose first divergence is this one."""
    index, network = recorded.update_index(first), first.element[: recorded.run.params.W_hh.ndim - 2]
    if first.tensor == "window":
        return _windows(recorded)
    if first.tensor == "initial":
        return _initial_state(recorded, index, network)
    case, report = _updates(recorded, index, network)[index]
    found = hints_for_case(case, report, first.tensor) or _other_series(recorded, index, network, first.tensor)
    return found or (_earlier_numbers(recorded, index, network, first.tensor) if index else [])


def _updates(recorded: RecordedRun, last: int, network: tuple[int, ...]) -> dict[int, tuple[WindowCase, Arrays]]:
    """The case and the report of an update and those before it, of one network, by index; the latest first."""
    found = {}
    for stack in stacks(recorded.first(last + 1)):
        for row, index in enumerate(stack.chosen):
            if index > last - MAX_UPDATES:
                at = row, *network
                found[int(index)] = stack.single(at)
    return dict(sorted(found.items(), reverse=True))


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
        "chunks instead of a sliding window": expected_windows(T, Schedule(k2, k2)),
        "windows of the new steps alone": expected_windows(T, Schedule(k1, k1)),
        "the last, shorter window left out": right[: T // k1],
    }
    return [name for name, windows in others.items() if rows == (windows * epochs)[: len(rows)]]


def _initial_state(recorded: RecordedRun, index: int, network: tuple[int, ...]) -> list[str]:
    """Which state of the run a window starts from."""
    run, updates = recorded
    start, epoch = updates["start"], updates["epoch"]
    state = updates["initial"][index][network]
    h_0 = run.params.h_0[network] if run.params.h_0 is not None else run.h_0
    carried = np.array([initial[network] for initial in updates["initial"][start > 0]])
    if len(carried) and (carried == state).all() and (np.array_equal(state, h_0) or not state.any()):
        return ["state reset at every window"]
    if start[index] == 0 and not state.any():
        return ["zeros for h_0"]
    for before, (case, report) in _updates(recorded, index - 1, network).items():
        h = report["h"] if "h" in report else plain_rnn.window_update(case)["h"]
        for step in reversed(range(len(h) + 1)):
            if np.allclose(state, h[step - 1] if step else updates["initial"][before][network], 1e-5, 1e-6):
                is_newest = before == index - 1 and step == len(h)
                if start[index] == 0 or epoch[before] < epoch[index]:
                    return ["state not reset between epochs"] if is_newest else []
                if is_newest:
                    return ["sliding window starts from the newest state"]
                place = f"after step {start[before] + step} of the series, as update {updates['number'][before]} has it"
                return [f"the window starts from the state {place}, not after step {start[index]}"]
    return []


def _other_series(recorded: RecordedRun, index: int, network: tuple[int, ...], tensor: str) -> list[str]:
    """The series that is shifted in time, or whose losses are counted in several updates."""
    run, updates = recorded
    fit = Fit.of(*_updates(recorded, index, network)[index], tensor)
    others = {
        "losses of older steps counted again": recorded.replace({"loss_start": updates["start"]}),
        "targets one step late": recorded._replace(run=run._replace(target=np.roll(run.target, 1, 0))),
        "targets one step early": recorded._replace(run=run._replace(target=np.roll(run.target, -1, 0))),
        "inputs one step late": recorded._replace(run=run._replace(x=np.roll(run.x, 1, 0))),
    }
    cases = {name: Fit.of(*_updates(other, index, network)[index], tensor) for name, other in others.items()}
    return [name for name, other in cases.items() if fit.explains(other.right, EXACT)]


def _earlier_numbers(recorded: RecordedRun, index: int, network: tuple[int, ...], tensor: str) -> list[str]:
    """Numbers of the update before that are still in this one."""
    updates, ((case, report), (_, before), *_) = recorded.updates, _updates(recorded, index, network).values()
    fit, found = Fit.of(case, report, tensor), []
    added = {name: g + before[name] for name, g in fit.gradients(fit.right).items() if name in before}
    if fit.explains(fit.with_step(added), EXACT):
        found.append("gradients add up from update to update")
    moved = updates["start"][index] - updates["start"][index - 1]
    old = len(case.x) - len(case.target)
    if tensor == "a" and old and np.array_equal(report["a"][:old], before["a"][moved : moved + old]):
        found.append("activations of stale weights kept")
    return found
