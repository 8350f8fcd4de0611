"""(T1) to (T3) by brute force from the definition: count the steps, and follow the state from window to window."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Parameters, Update
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.study.checks.complex_step import bounds, complex_step, differentiated
from numpy_rnn.study.checks.equations import TRUNCATION, Values, by_hand, case_of, present
from numpy_rnn.study.checks.witnesses import Check, Difference, Witnessed, compare, compared, findings_of, whole
from numpy_rnn.study.components.matrix import pairs
from numpy_rnn.study.setting import Setting

MAX_ELEMENTS = 64  # elements of a gradient that are checked per update
EPOCHS = 2  # whose states are followed; the second starts again from h_0


class InitialState(NamedTuple):
    """The initial state of a window, and the expected one."""

    epoch: int
    number: int
    window: Window
    state: np.ndarray
    expected: np.ndarray


def windows_by_counting(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of an epoch, walking: at every step one more is new; k1 new ones, or the end, make an update.

    Its window are the newest k2 steps that there have been, or all.
    """
    new = 0
    for t in range(1, steps + 1):
        new += 1
        if new == k1 or t == steps:
            yield Window(len(range(t)[:-k2]), t - new, t)
            new = 0


def schedules(steps: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All e_n (T1), all s_n (T2), and how often each loss is used, which is once: by the formulas, and by counting.

    Of every TBPTT(k1, k2), one after the other.
    """
    result: dict[str, tuple[list[int], list[int]]] = {"e": ([], []), "s": ([], []), "times": ([], [])}
    for k1, k2 in pairs(steps):
        ours, counted = list(windows(steps, k1, k2)), list(windows_by_counting(steps, k1, k2))
        times = np.zeros(steps, int)
        for window in ours:
            times[window.loss_start : window.stop] += 1
        for side, schedule in enumerate((ours, counted)):
            result["e"][side].extend(window.stop for window in schedule)
            result["s"][side].extend(window.start for window in schedule)
        result["times"][0].extend(times.tolist())
        result["times"][1].extend([1] * steps)
    return {name: (np.array(ours), np.array(counted)) for name, (ours, counted) in result.items()}


def truncations(setting: Setting) -> list[tuple[int, int]]:
    """The run's own TBPTT(k1, k2), a sliding window, and one between that and chunks."""
    T, own = len(setting.x), (setting.configuration.k1, setting.configuration.k2)
    return list(dict.fromkeys((own, (1, min(5, T)), (2, min(5, T)))))


def recorded(setting: Setting, k1: int, k2: int, rnn: Any = numpy_rnn) -> Iterator[tuple[Parameters, Update]]:
    """The parameters before every update of the first two epochs, and the update with all that `rnn` computed."""
    options = setting.configuration.changed(k1=k1, k2=k2, epochs=EPOCHS).train_options()
    h_0 = setting.h_0 if setting.start.h_0 is None else None
    before = setting.start
    for update in rnn.train(setting.start, setting.x, setting.target, h_0, **options, record=True):
        yield before, update
        before = update.parameters


def initial_states(setting: Setting, run: list[tuple[Parameters, Update]]) -> Iterator[InitialState]:
    """The initial state of every window, and the one that the previous update computed at that step (T3)."""
    latest: dict[int, np.ndarray] = {}
    for before, update in run:
        if update.window.start == 0:
            latest = {0: setting.h_0 if before.h_0 is None else before.h_0}
        states: Any = update.activations
        yield InitialState(update.epoch, update.number, update.window, states.h[0], latest[update.window.start])
        latest |= dict(enumerate(states.h[1:], start=update.window.start + 1))


def constant(setting: Setting, before: Parameters, update: Update) -> Iterator[tuple[str, Difference]]:
    """Compare the gradients of an update with the complex step of its loss, the initial state constant (T3)."""
    start, loss_start, stop = update.window
    params = before if start == 0 else before._replace(h_0=None)
    states: Any = update.activations
    target = setting.target[loss_start:stop]
    case = case_of(setting, params, setting.x[start:stop], target, states.h[0])
    E = bounds(case, by_hand(case))
    gradients: Values = {f"d{name}": v for name, v in present(update.gradients).items()}
    witness: dict[str, Witnessed] = differentiated(case, complex_step, gradients, MAX_ELEMENTS)
    for name, gradient in gradients.items():
        yield name, compare(gradient, witness[name], E[name])


COUNTING, ONCE, PREVIOUS, COMPLEX = "counting steps", "once each", "previous window", "complex step"


def check_truncations(setting: Setting) -> dict[str, Any]:
    """(T1), (T2) for every TBPTT(k1, k2); (T3) along two epochs of some of them, in which h is the same to the bit."""
    T = len(setting.x)
    result, every = schedules(T), f"all 1 ≤ k1 ≤ k2 ≤ {T}"
    checks: dict[str, list[Check]] = {id: [] for id in TRUNCATION}
    examples = {}
    for id, name in (("T1", "e"), ("T2", "s")):
        ends, by_counting = result[name]
        checks[id] += _exactly(every, ends, {COUNTING: by_counting})
    k1, k2 = truncations(setting)[-1]
    last = f"of the last update of k1 = {k1}, k2 = {k2}"
    ours, counted = list(windows(T, k1, k2))[-1], list(windows_by_counting(T, k1, k2))[-1]
    examples["T1"] = {"element": f"e {last}", "values": _values(ours.stop, counted.stop)}
    examples["T2"] = {"element": f"s {last}", "values": _values(ours.start, counted.start)}
    times, once = result["times"]
    checks["T1"] += _exactly("how often each loss is used", times, {ONCE: once})
    for k1, k2 in truncations(setting):
        where, run = f"k1 = {k1}, k2 = {k2}", list(recorded(setting, k1, k2))
        states = list(initial_states(setting, run))
        state, expected = (np.concatenate([getattr(one, side) for one in states]) for side in ("state", "expected"))
        checks["T3"] += _exactly(where, state, {PREVIOUS: expected})
        for before, update in run:
            checks["T3"] += [Check(where, COMPLEX, difference) for _, difference in constant(setting, before, update)]
    examples["T3"] = {"element": f"h[1] at the start of {last[3:]}", "values": _values(state[-1, 0], expected[-1, 0])}
    return findings_of(TRUNCATION, checks, examples)


def _exactly(where, ours, others):
    return compared(where, ours, np.zeros(np.shape(ours)), {name: whole(v) for name, v in others.items()})


def _values(ours, other):
    return [{"by": "by hand", "value": float(ours)}, {"by": "by the definition", "value": float(other)}]
