"""The bounds of single operations, against their formulas worked out by hand."""

import numpy as np
import pytest
from window_port import assert_rounded_up

from numpy_rnn.conformance.bounds.rounding import Rounded, Rounding, join

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def exact(*numbers):
    """Normal numbers without an error."""
    return Rounded(np.array(numbers), np.zeros(np.shape(numbers)))


@DTYPES
def test_u_and_gamma(dtype):
    """u allows for two roundings in a row, to 11 bits more and then to the dtype, and for no more."""
    rounding, half_ulp = Rounding(dtype), float(np.finfo(dtype).eps) / 2
    assert half_ulp * (1 + 2.0**-11 + 2.0**-64) < rounding.u < half_ulp * (1 + 2.0**-9)
    assert rounding.gamma(3) == 3 * rounding.u / (1 - 3 * rounding.u)
    assert (rounding.gamma(np.arange(3)) == [0, rounding.gamma(1), rounding.gamma(2)]).all()


def test_product_by_hand():
    """γ_2 · (3·5 + 2·7) + E_A |B| + |A| E_B + E_A E_B, in float32, whose γ is not lost in the other terms."""
    rounding = Rounding("float32")
    A = Rounded(np.array([[3.0, 2.0]]), np.array([[0.5, 0.25]]))
    B = Rounded(np.array([[5.0], [7.0]]), np.array([[0.125, 0.0]]).T)
    inherited = 0.5 * 5 + 0.25 * 7 + 3 * 0.125 + 0.5 * 0.125
    rounded = rounding.gamma(2) * (3.5 * 5.125 + 2.25 * 7)
    assert_rounded_up(rounding.product(A, B), [[inherited + rounded]])


def test_terms_that_are_zero_are_not_counted():
    rounding = Rounding("float64")
    row, column = exact([2.0, 0.0, 0.0]), exact([3.0], [4.0], [0.0])
    assert_rounded_up(rounding.product(row, column), [[rounding.gamma(1) * 6]])
    assert rounding.product(exact([0.0, 2.0]), exact([3.0], [0.0]))[0, 0] == 0
    assert rounding.sum(exact(0.0, 0.0)) == 0
    assert rounding.sum(exact(1.0, 0.0)) == 8 * np.finfo(float).smallest_normal * (1 + 1e-10)
    assert rounding.again(exact(0.0), 3) == 0


def test_sum_each_and_again_by_hand():
    rounding = Rounding("float32")
    v = Rounded(np.array([1.0, 2.0]), np.array([0.5, 0.0]))
    assert_rounded_up(rounding.sum(v), 0.5 + rounding.gamma(1) * 3.5)
    assert_rounded_up(rounding.again(v, 2), v.E + rounding.gamma(2) * v.max_abs)
    assert_rounded_up(rounding.each(v, v, 1), [1.25 + rounding.gamma(1) * 2.25, rounding.gamma(1) * 4])
    assert (rounding.each(v, exact(1.0, 0.0), 0) == [0.5 * (1 + 1e-10) + rounding.flushes(1), 0]).all()


@DTYPES
def test_given(dtype):
    smallest = np.finfo(dtype).smallest_normal
    given = Rounding(dtype).given(np.array([-1.0, smallest, smallest / 2, 0.0], dtype))
    assert (given.size == [1, smallest, smallest / 2, 0]).all()
    np.testing.assert_array_equal(given.E, [0, 0, smallest / 2, 0])


def test_join_leaves_out_what_is_not_there():
    joined = join(exact([1.0]), None, exact([2.0]), axis=-1)
    assert (joined.size == [[1, 2]]).all()
    assert (joined[0].size == [1, 2]).all()
    assert joined.mT.size.shape == (2, 1)
