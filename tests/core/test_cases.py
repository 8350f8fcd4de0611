"""What the tests compare with: the comparison fails where it must, and what it allows is small."""

import numpy as np
import pytest
from cases import random_case
from comparing import UNIT, assert_within, bits
from witness import allowed, reference_update
from witness_runs import one_update

import numpy_rnn
from numpy_rnn import Gradients, Parameters


def test_what_is_allowed_is_small():
    """In all but one of 40 cases, of every gradient, relative to its largest entry."""
    for dtype, small in (("float64", 1e-10), ("float32", 0.05)):
        ratios = []
        for seed in range(40):
            gradients = reference_update(random_case(seed, 5, 2, 3, 4, 1, dtype=dtype, learned=True)).gradients
            ratios.append(max(g.off.max() / np.abs(g.value).max() for g in gradients))
        assert sorted(ratios)[-2] < small


@pytest.mark.parametrize("name", Gradients._fields)
def test_one_gradient_off_by_a_millionth_is_seen(name):
    case = random_case(0, 5, 2, 3, 4, 1, learned=True)
    expected = one_update(numpy_rnn, case, 0.1)
    wrong = getattr(expected.gradients, name).copy()
    wrong.flat[-1] *= 1 + 1e-6
    changed = expected._replace(gradients=expected.gradients._replace(**{name: wrong}))
    limit = allowed(reference_update(case, 0.1))
    assert_within(expected, expected, limit)
    with pytest.raises(AssertionError, match=rf"gradients.{name}\[.*times the allowed difference"):
        assert_within(changed, expected, limit)


ONES, AT_11 = np.ones((2, 3)), np.eye(2, 3) * [0, 1, 0]
FULL = Parameters(ONES, ONES, ONES, ONES, ONES)
LIMITS = Parameters(*[1e-9] * 5)


@pytest.mark.parametrize(
    ("actual", "expected", "allowed", "says"),
    [
        (np.where(AT_11, np.nan, 1), ONES, 1.0, "not finite"),
        (np.where(AT_11, np.inf, 1), ONES, np.inf, "not finite"),
        (ONES, np.nan * ONES, 1.0, "not finite"),
        (ONES, np.inf * ONES, 1.0, "not finite"),
        (ONES, ONES, np.nan, "allowed value is not finite"),
        (ONES, ONES, np.inf, "allowed value is not finite"),
        (ONES[:1], ONES, 1.0, "shape"),
        (np.ones(()), ONES, 1.0, "shape"),
        (ONES.astype("float32"), ONES, 1.0, "float32, expected float64"),
        (ONES.tolist(), ONES, 1.0, "not a NumPy array"),
        (None, ONES, 1.0, "not a NumPy array"),
        (ONES, ONES, ONES[:1], "allowed difference has shape"),
        (ONES + 2e-12 * AT_11, ONES, 1e-12, r"\[1, 1\].*times the allowed difference"),
        (ONES - 2e-12 * AT_11, ONES, 1e-12 * ONES, r"\[1, 1\].*times the allowed difference"),
        (ONES + 1e-15 * AT_11, ONES, 0.0, "times the allowed difference"),
        (FULL._replace(b_y=None), FULL, LIMITS, r"value\.b_y is a <class 'NoneType'>"),
        (FULL, FULL._replace(b_h=None), LIMITS, r"value\.b_h is there"),
        (FULL._replace(W_hh=ONES + 1e-6), FULL, LIMITS, r"value\.W_hh\[0, 0\]"),
        (tuple(FULL), FULL, LIMITS, "is a <class 'tuple'>"),
    ],
)
def test_the_comparison_fails_where_it_must(actual, expected, allowed, says):
    with pytest.raises(AssertionError, match=says):
        assert_within(actual, expected, allowed)


def test_the_comparison_passes_what_it_may():
    assert_within(ONES, ONES, 0.0)
    assert_within(ONES + 1e-12, ONES, 2e-12 * ONES)
    assert_within(np.float64(1), np.ones(()), 0.0)
    assert_within(Parameters(ONES, ONES, ONES), Parameters(ONES, ONES, ONES), Parameters(0.0, ONES, 0.0))


def test_bits_tell_apart_what_only_looks_equal():
    assert bits(ONES) == bits(ONES.copy())
    zero = np.zeros(1)
    others = [-zero, zero.astype("float32"), zero[None], zero + 5e-324, None, 0]
    assert all(bits(zero) != bits(other) for other in others)
    assert bits(Parameters(zero, zero, zero)) != bits(Parameters(zero, zero, -zero))


def test_what_is_allowed_follows_the_terms_and_not_a_result_that_cancels():
    """h W_hy = 10⁶ − 10⁶ here: the result is 0, its terms are not."""
    case = random_case(0, 1, 1, 1, 2, 1, bias=False, nonlinearity="relu")
    params = case.params._replace(W_xh=np.ones((1, 2)), W_hh=np.zeros((2, 2)), W_hy=np.array([[1e6], [-1e6]]))
    y = reference_update(case._replace(params=params, x=np.ones((1, 1, 1)))).activations.y
    assert y.value.item() == 0
    assert 2e6 * UNIT["float64"] <= y.off.item() < 1e7 * UNIT["float64"]
