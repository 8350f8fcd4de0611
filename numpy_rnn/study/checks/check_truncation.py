"""(T1) to (T3) by brute force from the definition: count the steps, and follow the state from window to window."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from numpy_rnn import Update, Window, windows
from numpy_rnn.study.checks.comparison import Comparison, check_equations, whole
from numpy_rnn.study.checks.complex_step import bounds, differentiated
from numpy_rnn.study.checks.equations import TRUNCATION, by_hand, case_of
from numpy_rnn.study.components.matrix import pairs
from numpy_rnn.study.findings import EquationCheck
from numpy_rnn.study.subject import Subject, changed
from numpy_rnn.study.suite_parts import present

MAX_ELEMENTS = 64  # elements of a gradient that are checked per update
EPOCHS = 2  # whose states are followed; the second starts again from h_0
SERIES = "on this series"


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


def truncations(subject: Subject) -> list[tuple[int, int]]:
    """The run's own TBPTT(k1, k2), a sliding window, and one between that and chunks."""
    T, (k1, k2, _) = len(subject.x), subject.options.schedule
    return list(dict.fromkeys(((k1, k2), (1, min(5, T)), (2, min(5, T)))))


def compare_schedules(steps: int) -> Comparison:
    """All e_{n-1} and e_n (T1), and all s_n (T2), of every TBPTT(k1, k2): by the formulas, and by counting."""
    ours, counted = (
        np.array([window for k1, k2 in pairs(steps) for window in schedule(steps, k1, k2)], float)
        for schedule in (windows, windows_by_counting)
    )
    said = {"e": whole(counted[:, 1:]), "s": whole(counted[:, 0])}
    return Comparison(
        TRUNCATION, {"e": ours[:, 1:], "s": ours[:, 0]}, {}, {"counting steps": said}, SERIES
    )


def compare_windows(subject: Subject, run: Iterable[Update]) -> Iterator[Comparison]:
    """(T3) along the updates of a run from the untrained network: the initial state of every window is the one that the
    previous update computed at that step, to the bit; and the gradients are the complex step of the loss of the window,
    that state constant.
    """
    T3, before = TRUNCATION["T3"], subject.start
    latest: dict[int, np.ndarray] = {}
    for update in run:
        start, loss_start, stop = update.window
        if start == 0:
            latest = {0: subject.initial_state(before)}
        states: Any = update.activations
        previous = {"previous window": {T3.name: whole(latest[start])}}
        yield Comparison({"T3": T3}, {T3.name: states.h[0]}, {}, previous, SERIES)
        latest |= dict(enumerate(states.h[1:], start=start + 1))

        params = before if start == 0 else before._replace(h_0=None)
        case = case_of(
            subject, params, subject.x[start:stop], subject.target[loss_start:stop], states.h[0]
        )
        gradients = present(update.gradients)
        witness = {"complex step": differentiated(case, names=gradients, most=MAX_ELEMENTS)}
        hand = {f"d{name}": g for name, g in gradients.items()}
        E = bounds(case, by_hand(case))
        for name in hand:
            yield Comparison(
                {"T3": T3._replace(name=name)}, hand, E, witness, SERIES, is_shown=False
            )
        before = update.parameters


def check_truncations(subject: Subject) -> dict[str, EquationCheck]:
    """(T1), (T2) for every TBPTT(k1, k2); (T3) along two epochs of some of them."""
    T, comparisons = len(subject.x), [compare_schedules(len(subject.x))]
    for k1, k2 in truncations(subject):
        options = changed(subject.options, k1=k1, k2=k2, epochs=EPOCHS)
        comparisons += compare_windows(subject, subject.train(subject.start, options, record=True))
    found, (name, witness) = (
        check_equations(comparisons),
        (TRUNCATION["T3"].name, "previous window"),
    )
    ours, counted = list(windows(T, k1, k2))[-1], list(windows_by_counting(T, k1, k2))[-1]
    last = next(one for one in reversed(comparisons) if witness in one.results)
    for id, quantity, pair in (
        ("T1", "e", (ours.stop, counted.stop)),
        ("T2", "s", (ours.start, counted.start)),
        ("T3", "h[1] at the start", (last.hand[name].flat[0], last.results[witness][name].high[0])),
    ):
        values = dict(zip(("by hand", "by the definition"), map(float, pair)))
        element = f"{quantity} of the last update of k1 = {k1}, k2 = {k2}"
        found[id] = replace(found[id], element=element, values=values)
    return found
