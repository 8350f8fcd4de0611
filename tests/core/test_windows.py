"""The window schedule of TBPTT(k1, k2), against the definition and against windows written down by hand."""

import pytest
from cases import random_case, reference_run

from numpy_rnn import Window


def definition(T, k1, k2):
    """DERIVATION.md, section 5, with steps numbered from 1: (steps of the window, new steps) of every update."""
    e, n = {0: 0}, 0
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        yield [t for t in range(1, T + 1) if s_n < t <= e[n]], [t for t in range(1, T + 1) if e[n - 1] < t <= e[n]]


def steps_of(window: Window, T):
    """What the window's fields say, as slices of the series."""
    series = list(range(1, T + 1))
    return series[window.start : window.stop], series[window.loss_start : window.stop]


EVERY = [(T, k1, k2) for T in range(1, 13) for k1 in range(1, T + 3) for k2 in range(k1, T + 3)]


def test_windows_are_the_definition(rnn):
    for T, k1, k2 in EVERY:
        assert [steps_of(window, T) for window in rnn.windows(T, k1, k2)] == list(definition(T, k1, k2)), (T, k1, k2)


def test_windows_hold_their_new_steps_and_count_each_step_once(rnn):
    for T, k1, k2 in EVERY:
        windows = list(rnn.windows(T, k1, k2))
        counted = [t for window in windows for t in steps_of(window, T)[1]]
        assert counted == list(range(1, T + 1)), (T, k1, k2)
        for number, window in enumerate(windows, start=1):
            of_window, new = steps_of(window, T)
            assert window.steps == len(of_window) == min(k2, window.stop), (T, k1, k2)
            assert window.loss_steps == len(new) <= len(of_window)
            assert window.loss_steps == k1 or number == len(windows)


@pytest.mark.parametrize(
    ("T", "k1", "k2", "expected"),
    [
        (4, 1, 1, [(0, 0, 1), (1, 1, 2), (2, 2, 3), (3, 3, 4)]),  # the main job: no earlier step is reached
        (4, 1, 2, [(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4)]),  # k2 = 2 reaches one earlier step, not two
        (5, 2, 2, [(0, 0, 2), (2, 2, 4), (3, 4, 5)]),  # chunks; the tail has one new step in a window of two
        (5, 2, 3, [(0, 0, 2), (1, 2, 4), (2, 4, 5)]),  # the tail reaches back to fill its window
        (5, 3, 9, [(0, 0, 3), (0, 3, 5)]),
        (5, 5, 5, [(0, 0, 5)]),  # full BPTT
        (5, 7, 8, [(0, 0, 5)]),
        (1, 1, 1, [(0, 0, 1)]),
    ],
)
def test_windows_by_hand(rnn, T, k1, k2, expected):
    assert list(rnn.windows(T, k1, k2)) == expected


def test_the_transcriptions_agree():
    """That of this file and that of the reference run, which other tests hold `train` against."""
    case = random_case(0, 5, 1, 1, 1, 1)
    for T, k1, k2 in EVERY:
        if T == 5:
            run = reference_run(case, k1=k1, k2=k2, learning_rate=0.0, epochs=1)
            assert [(update.window, update.new) for update in run] == list(definition(T, k1, k2))
