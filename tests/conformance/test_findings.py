"""What a finding says of where a tensor is wrong, by numbers that one reads."""

import numpy as np
import pytest

from numpy_rnn.conformance.findings import extent_of, part_of
from numpy_rnn.conformance.window_checks import Check


def check_of(reported, expected):
    """Return the check of a dW_xh whose elements may be off by 1e-9."""
    allowed = np.full(reported.shape, 1e-9)
    ratio = np.abs(reported - expected) / allowed
    no = np.zeros((), bool)
    return Check("dW_xh", reported, ratio, expected, allowed, no, no, no)


@pytest.mark.parametrize(
    ("are_wrong", "words"),
    [
        ([1, 1, 0], "the first 2 of 3"),
        ([0, 0, 1], "the last 1 of 3"),
        ([0, 1, 0], "1 of 3"),
        ([0, 1], "1 of 2"),
    ],
)
def test_first_and_last_ones_are_named(are_wrong, words):
    assert part_of(np.array(are_wrong, bool)) == words


def test_zeros_do_not_hide_that_all_of_a_tensor_is_wrong():
    """A factor leaves them as they are."""
    expected = np.array([[1.0, 0.0], [2.0, -3.0]])
    assert extent_of(check_of(2 * expected, expected)) == "in all of it, × 2"


def test_rows_of_a_matrix_that_are_wrong_are_counted():
    expected = np.ones((4, 3))
    reported = expected.copy()
    reported[:2] += 1
    assert extent_of(check_of(reported, expected)) == "in the first 2 of 4 rows"
