"""(T1) to (T3) by brute force from the definition: count the steps, and follow the state from window to window."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import Parameters, Update, Window, windows
from numpy_rnn.study.checks.complex_step import bounds, differentiated
from numpy_rnn.study.checks.equations import TRUNCATION, by_hand, case_of, present
from numpy_rnn.study.checks.witnesses import EquationChecker, compare, whole
from numpy_rnn.study.components.matrix import pairs
from numpy_rnn.study.findings import Difference, EquationCheck
from numpy_rnn.study.subject import Subject, changed
from numpy_rnn.study.suite_parts import Program, updates

MAX_ELEMENTS = 64  # elements of a gradient that are checked per update
EPOCHS = 2  # whose states are followed; the second starts again from h_0


class InitialState(NamedTuple):
    """The initial state of a window, and the expected one."""

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
    """All e_{n-1} and e_n (T1), and all s_n (T2), of every TBPTT(k1, k2): by the formulas, and by counting."""
    ours, counted = (
        np.array([window for k1, k2 in pairs(steps) for window in schedule(steps, k1, k2)])
        for schedule in (windows, windows_by_counting)
    )
    return {"e": (ours[:, 1:], counted[:, 1:]), "s": (ours[:, 0], counted[:, 0])}


def truncations(subject: Subject) -> list[tuple[int, int]]:
    """The run's own TBPTT(k1, k2), a sliding window, and one between that and chunks."""
    T, (k1, k2, _) = len(subject.x), subject.options.schedule
    return list(dict.fromkeys(((k1, k2), (1, min(5, T)), (2, min(5, T)))))


def recorded(subject: Subject, k1: int, k2: int, program: Program | None = None) -> list[tuple[Parameters, Update]]:
    """The parameters before every update of the first two epochs, and the update, by numpy_rnn or another program."""
    options = changed(subject.options, k1=k1, k2=k2, epochs=EPOCHS)
    if program is None:
        run = list(subject.train(subject.start, options, record=True))
    else:
        run = list(updates(program, subject.run_of(subject.start, options)))
    return list(zip([subject.start, *(update.parameters for update in run)], run))


def initial_states(subject: Subject, run: list[tuple[Parameters, Update]]) -> Iterator[InitialState]:
    """The initial state of every window, and the one that the previous update computed at that step (T3)."""
    latest: dict[int, np.ndarray] = {}
    for before, update in run:
        if update.window.start == 0:
            latest = {0: subject.initial_state(before)}
        states: Any = update.activations
        yield InitialState(states.h[0], latest[update.window.start])
        latest |= dict(enumerate(states.h[1:], start=update.window.start + 1))


def constant(subject: Subject, before: Parameters, update: Update) -> list[Difference]:
    """The gradients of an update compared with the complex step of its loss, the initial state constant (T3)."""
    start, loss_start, stop = update.window
    params = before if start == 0 else before._replace(h_0=None)
    states: Any = update.activations
    case = case_of(subject, params, subject.x[start:stop], subject.target[loss_start:stop], states.h[0])
    E, gradients = bounds(case, by_hand(case)), present(update.gradients)
    witness = differentiated(case, names=gradients, most=MAX_ELEMENTS)
    return [compare(COMPLEX, g, witness[f"d{name}"], E[f"d{name}"]) for name, g in gradients.items()]


COUNTING, PREVIOUS, COMPLEX = "counting steps", "previous window", "complex step"


def check_truncations(subject: Subject) -> dict[str, EquationCheck]:
    """(T1), (T2) for every TBPTT(k1, k2); (T3) along two epochs of some of them, in which h is the same to the bit."""
    T = len(subject.x)
    schedule, chosen = schedules(T), truncations(subject)
    T1, T2, T3 = checkers = [EquationChecker(equation) for equation in TRUNCATION.values()]
    _add_exactly(T1, COUNTING, *schedule["e"])
    _add_exactly(T2, COUNTING, *schedule["s"])
    for k1, k2 in chosen:
        run = recorded(subject, k1, k2)
        states = list(initial_states(subject, run))
        state, expected = (np.concatenate([getattr(one, side) for one in states]) for side in ("state", "expected"))
        _add_exactly(T3, PREVIOUS, state, expected)
        for before, update in run:
            T3.differences += constant(subject, before, update)
    last = f"of the last update of k1 = {k1}, k2 = {k2}"
    ours, counted = list(windows(T, k1, k2))[-1], list(windows_by_counting(T, k1, k2))[-1]
    for checker, element, pair in (
        (T1, f"e {last}", (ours.stop, counted.stop)),
        (T2, f"s {last}", (ours.start, counted.start)),
        (T3, f"h[1] at the start {last}", (state[-1, 0], expected[-1, 0])),
    ):
        checker.element, checker.values = element, dict(zip(("by hand", "by the definition"), map(float, pair)))
    return {id: checker.findings("on this series") for id, checker in zip(TRUNCATION, checkers)}


def _add_exactly(checker, witness, ours, others):
    checker.add(ours, np.zeros(np.shape(ours)), {witness: whole(others)})
