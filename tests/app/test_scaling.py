"""Standardization, compared with exact arithmetic; and series that cannot be standardized."""

import re
import statistics
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from comparing import assert_within, bits
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import InputError
from numpy_rnn.app.experiment import Scaling, scaling_of

EPS = 2.0**-52
SERIES = np.array([[1, 10], [2, 30], [4, 30], [5, 10.0]])


def exact(column):
    """Mean and population standard deviation of a column, each rounded once."""
    numbers = [Fraction(float(number)) for number in column]
    return float(statistics.mean(numbers)), statistics.pstdev(numbers)


def check_against_exact(series):
    """The mean is a sum of N differences to a first mean, of which each is rounded; and so is the variance.

    Of N differences d, their sum is off by N·eps·Σ|d| at most, with the first mean near enough that Σ|d| is that of the
    true ones but for a part that the numbers below keep under one half; the mean is rounded once more. Each d is off by
    eps/2 of itself, and the sum of N squares by (N+2)·eps of itself; the root halves that (Higham, section 4.2).
    """
    N, scaling = len(series), scaling_of(series)
    mean, deviation = np.array([exact(column) for column in series.T]).T
    spread = np.abs(series.astype("float64") - mean).mean(axis=0)
    assert_within(scaling.mean, mean, EPS * (np.abs(mean) + 2 * (N + 2) * spread), "mean")
    assert_within(scaling.deviation, deviation, (N + 6) * EPS * deviation, "deviation")


def test_a_worked_case():
    scaling = scaling_of(SERIES)
    assert bits(scaling.mean) == bits(np.array([3.0, 20.0]))
    assert_within(scaling.deviation, np.array([2.5**0.5, 10.0]), 2 * EPS * np.array([2, 10]))  # divided by N, not N − 1
    rows = np.array([[-2, -10], [-1, 10], [1, 10], [2, -10]]) / scaling.deviation
    assert bits(scaling.standardized(SERIES)) == bits(rows)


@given(
    seed=st.integers(0, 2**32 - 1),
    N=st.integers(2, 40),
    D=st.integers(1, 3),
    centre=st.sampled_from([0, 1, -1e3, 1e6, 1e10]),
    size=st.sampled_from([1, 1e-100, 1e100]),
    dtype=st.sampled_from(["float64", "float32"]),
)
def test_mean_and_deviation_are_those_of_exact_arithmetic(seed, N, D, centre, size, dtype):
    size, centre = (1, min(centre, 1e3)) if dtype == "float32" else (size, centre)
    check_against_exact((np.random.default_rng(seed).normal(centre, 1, (N, D)) * size).astype(dtype))


@pytest.mark.parametrize("shape", [(66_000, 1), (40_000, 2), (3, 70_000)])
def test_a_series_of_several_blocks(shape):
    series = np.random.default_rng(0).normal(1e3, 1, shape).astype("float32")
    mean, deviation = series.mean(axis=0, dtype="float64"), series.std(axis=0, dtype="float64")
    scaling = scaling_of(series)
    assert_within(scaling.mean, mean, shape[0] * EPS * np.abs(mean))  # NumPy's own error, of one pass
    assert_within(scaling.deviation, deviation, (shape[0] * EPS * np.abs(mean) / deviation) ** 2 + shape[0] * EPS)


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 2), (5, 3, 1, 2), (2,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_original_is_the_inverse_for_arrays_of_any_shape(shape, dtype):
    scaling = scaling_of(SERIES)
    values = np.random.default_rng(2).normal(size=shape).astype(dtype)
    units = scaling.original(values)
    assert units.shape == shape
    assert units.dtype == np.float64
    flat = values.reshape(-1, 2).astype("float64")
    expected = np.stack([flat[:, d] * scaling.deviation[d] + scaling.mean[d] for d in (0, 1)], axis=-1)
    assert bits(units.reshape(-1, 2)) == bits(expected)
    back = scaling.standardized(units.reshape(-1, 2))
    # a product and a sum are rounded, then a difference and a quotient, all of numbers no larger than these
    allowed = 4 * EPS * (np.abs(flat) + np.abs(scaling.mean) / scaling.deviation)
    assert_within(back, flat, allowed)


REFUSED: dict[str, tuple] = {
    "constant": ([[1, 5], [2, 5], [3, 5]], "column 2 of the series is 5 in all 3 rows and cannot be standardized"),
    "0.1, whose mean is not 0.1": ([[0.1], [0.1], [0.1]], "column 1 of the series is 0.1 in all 3 rows"),
    "one row": ([[1.0]], "column 1 of the series is 1 in all 1 rows"),
    "too large": ([[1e308], [1e308], [-1e308]], "column 1 of the series, -1e+308 to 1e+308, has no standard deviation"),
    "squares too large": ([[1e200], [-1e200]], "column 1 of the series, -1e+200 to 1e+200, has no standard deviation"),
    "squares too small": (
        [[1e-200], [-1e-200]],
        "column 1 of the series, -1e-200 to 1e-200, has no standard deviation",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_series_that_cannot_be_standardized_is_refused(case):
    rows, message = REFUSED[case]
    with pytest.raises(InputError, match=f"^{re.escape(message)}[^\n]*$"):
        scaling_of(np.array(rows, np.float64))


def test_its_memory_does_not_grow_with_the_series():
    """A block is 512 KiB in float64, and it, its differences and their squares are held at once, or two of them."""
    series = np.zeros((3_000_000, 1), "float32")
    series[::2] = 1
    tracemalloc.start()
    scaling = scaling_of(series)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scaling == Scaling(0.5, 0.5)
    assert peak < 6 * 2**19  # the series in float64 would be 24 MB
