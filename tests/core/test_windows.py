"""The window schedule of TBPTT(k1, k2), against the definition and against windows written down by hand."""

import pytest
from witness_runs import definition

from numpy_rnn import Window


def steps_of(window: Window, T):
    """What the window's fields say, as slices of the series."""
    series = list(range(1, T + 1))
    return series[window.start : window.stop], series[window.loss_start : window.stop]


EVERY = [(T, k1, k2) for T in range(1, 13) for k1 in range(1, T + 3) for k2 in range(k1, T + 3)]


def test_windows_are_the_definition(rnn):
    for T, k1, k2 in EVERY:
        assert [steps_of(window, T) for window in rnn.windows(T, k1, k2)] == list(definition(T, k1, k2)), (T, k1, k2)


def test_windows_have_at_most_k1_new_steps_and_k2_in_all(rnn):
    for T, k1, k2 in EVERY:
        windows = list(rnn.windows(T, k1, k2))
        for number, window in enumerate(windows, start=1):
            assert window.steps == min(k2, window.stop), (T, k1, k2)
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
