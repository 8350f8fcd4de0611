"""(T1) to (T3) by brute force from the definition: count the steps, and follow the state from window to window."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Parameters, Update
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.study.checks.carried import bounds
from numpy_rnn.study.checks.comparing import Difference, Witnessed, compare
from numpy_rnn.study.checks.problem import Values, by_hand, case_of, present
from numpy_rnn.study.checks.stepping import complex_step, differentiated
from numpy_rnn.study.setting import Setting

MOST = 64  # elements of a gradient that are looked at in one update
EPOCHS = 2  # that states are followed through: into the second, which starts anew


class InitialState(NamedTuple):
    """The state that entered an update, and the one that should have."""

    epoch: int
    number: int
    window: Window
    state: np.ndarray
    expected: np.ndarray


def counted_by_steps(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of an epoch, walking: at every step one more is new; k1 new ones, or the end, make an update.

    Its window are the newest k2 steps that there have been, or all.
    """
    new = 0
    for t in range(1, steps + 1):
        new += 1
        if new == k1 or t == steps:
            yield Window(len(range(t)[:-k2]), t - new, t)
            new = 0


def pairs(steps: int) -> Iterator[tuple[int, int]]:
    """All 1 ≤ k1 ≤ k2 ≤ T."""
    return ((k1, k2) for k2 in range(1, steps + 1) for k1 in range(1, k2 + 1))


def schedules(steps: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """All e_n (T1), all s_n (T2), and how often each loss is counted, which is once: as they are, and by counting.

    Of every TBPTT(k1, k2), one after the other.
    """
    found: dict[str, tuple[list[int], list[int]]] = {"e": ([], []), "s": ([], []), "times": ([], [])}
    for k1, k2 in pairs(steps):
        ours, counted = list(windows(steps, k1, k2)), list(counted_by_steps(steps, k1, k2))
        times = np.zeros(steps, int)
        for window in ours:
            times[window.loss_start : window.stop] += 1
        for side, schedule in enumerate((ours, counted)):
            found["e"][side].extend(window.stop for window in schedule)
            found["s"][side].extend(window.start for window in schedule)
        found["times"][0].extend(times.tolist())
        found["times"][1].extend([1] * steps)
    return {name: (np.array(ours), np.array(counted)) for name, (ours, counted) in found.items()}


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
    """What entered every update, beside what the update before computed at that step (T3)."""
    latest: dict[int, np.ndarray] = {}
    for before, update in run:
        if update.window.start == 0:
            latest = {0: setting.h_0 if before.h_0 is None else before.h_0}
        states: Any = update.activations
        yield InitialState(update.epoch, update.number, update.window, states.h[0], latest[update.window.start])
        latest |= dict(enumerate(states.h[1:], start=update.window.start + 1))


def constant(setting: Setting, before: Parameters, update: Update) -> Iterator[tuple[str, Difference]]:
    """Every gradient of an update beside the complex step of its window's loss, the initial state held (T3)."""
    start, loss_start, stop = update.window
    params = before if start == 0 else before._replace(h_0=None)
    states: Any = update.activations
    target = setting.target[loss_start:stop]
    case = case_of(setting, params, setting.x[start:stop], target, states.h[0])
    E = bounds(case, by_hand(case))
    gradients: Values = {f"d{name}": v for name, v in present(update.gradients).items()}
    witness: dict[str, Witnessed] = differentiated(case, complex_step, gradients, MOST)
    for name, gradient in gradients.items():
        yield name, compare(gradient, witness[name], E[name])
