"""Hints for a run: what its first wrong window, initial state or gradient is instead of the right one."""

import numpy as np

from numpy_rnn.common.records import Schedule
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.mutants.hints import EXACT, Fit, hints_for_case
from numpy_rnn.conformance.traces.divergence import Divergence, expected_windows
from numpy_rnn.conformance.traces.judge import single_update
from numpy_rnn.conformance.traces.recorder import RecordedRun


def hints_for_run(recorded: RecordedRun, first: Divergence) -> list[str]:
    """The hints for a run whose first divergence is this one."""
    index, network = recorded.update_index(first), first.element[: recorded.run.params.W_hh.ndim - 2]
    if first.tensor == "window":
        return _windows(recorded)
    if first.tensor == "initial":
        return _initial_state(recorded, index, network)
    found = hints_for_case(*single_update(recorded, index, network), first.tensor)
    return found or _other_updates(recorded, index, network, first.tensor)


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
    """Which state of the window before, or of the run, a window starts from."""
    run, updates = recorded
    start, state = updates["start"][index], updates["initial"][index][network]
    h_0 = run.params.h_0[network] if run.params.h_0 is not None else run.h_0
    carried = np.array([initial[network] for initial in updates["initial"][updates["start"] > 0]])
    if len(carried) and (carried == state).all() and (np.array_equal(state, h_0) or not state.any()):
        return ["state reset at every window"]
    if start == 0 and not state.any():
        return ["zeros for h_0"]
    if index == 0:
        return []
    case, report = single_update(recorded, index - 1, network)
    h = report["h"] if "h" in report else window_update(case)["h"]
    for step, other in reversed(list(enumerate([updates["initial"][index - 1][network], *h]))):
        if np.allclose(state, other, 1e-5, 1e-6):
            if start == 0:
                return ["state not reset between epochs"] * (step == len(h))
            if step == len(h):
                return ["sliding window starts from the newest state"]
            return [f"the window starts from the state after step {updates['start'][index - 1] + step} of the series"]
    return []


def _other_updates(recorded: RecordedRun, index: int, network: tuple[int, ...], tensor: str) -> list[str]:
    """A series that is shifted in time, losses that count in several updates, or numbers of the update before."""
    run, updates = recorded
    case, report = single_update(recorded, index, network)
    fit = Fit(case, report, tensor)
    others = {
        "losses of older steps counted again": recorded.replace({"loss_start": updates["start"]}),
        "targets one step late": recorded._replace(run=run._replace(target=np.roll(run.target, 1, 0))),
        "targets one step early": recorded._replace(run=run._replace(target=np.roll(run.target, -1, 0))),
        "inputs one step late": recorded._replace(run=run._replace(x=np.roll(run.x, 1, 0))),
    }
    candidates = {name: Fit(*single_update(other, index, network), tensor).right for name, other in others.items()}
    old, found = len(case.x) - len(case.target), []
    if index > 0:
        _, before = single_update(recorded, index - 1, network)
        added = {name: g + before[name] for name, g in fit.gradients(fit.right).items() if name in before}
        candidates["gradients add up from update to update"] = fit.with_step(added)
        moved = updates["start"][index] - updates["start"][index - 1]
        if tensor == "a" and old and np.array_equal(report["a"][:old], before["a"][moved : moved + old]):
            found = ["activations of stale weights kept"]
    return [name for name, values in candidates.items() if fit.explains(values, EXACT)] + found
