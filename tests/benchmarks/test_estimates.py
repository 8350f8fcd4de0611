"""Medians, intervals, paired ratios and the noise floor, by hand-computed values."""

from random import Random

import numpy as np
import pytest
from made_up_results import ROUNDING

from benchmarks.estimates import (
    Estimate,
    difference,
    estimate,
    geometric_mean,
    is_tie,
    mean_ratio,
    median_interval,
    noise_floor,
    ratio,
    slope,
    times_of,
)
from benchmarks.plan import Key
from benchmarks.rows import AGAIN, OURS, STEP
from benchmarks.timing_tables import three_digits


@pytest.mark.parametrize(
    ("n", "k"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18), (100, 40)]
)
def test_median_interval_is_the_one_of_the_tables(n, k):
    """Conover, Practical Nonparametric Statistics: the sign test's 95 % limits are the k-th value from either end."""
    values = list(range(1, n + 1))
    Random(0).shuffle(values)
    assert median_interval(values) == (k, n + 1 - k)


def test_median_interval_of_other_confidences_and_of_too_few_values():
    assert median_interval(range(1, 16), confidence=0.5) == (6, 10)
    assert median_interval(range(1, 4), confidence=0.75) == (1, 3)
    assert estimate([5, 1, 2, 9, 3, 4]) == Estimate(median=3.5, low=1, high=9)
    for n in (1, 2, 5):
        with pytest.raises(ValueError, match=f"^{n} values: expected more for an interval of 95% confidence$"):
            median_interval(range(n))


def test_pairs_are_of_the_same_round():
    """Rounds 1 and 8 have no partner; six are left."""
    a, b = Key(STEP, "a", "x"), Key(STEP, "b", "x")
    times = {a: {n: 2.0 * n for n in range(1, 8)}, b: {n: 1.0 * n for n in reversed(range(2, 9))}}
    assert ratio(times, a, b) == (2, 2, 2)
    assert difference(times, a, b) == (4500, 2000, 7000)
    c = Key(STEP, "c", "x")
    times[c] = {n: 8.0 * n for n in range(1, 9)}
    np.testing.assert_allclose(mean_ratio(times, [(a, b), (c, b)]), (4, 4, 4), rtol=ROUNDING)
    del times[b][3]
    assert ratio(times, a, b) is None
    assert difference(times, a, b) is None


def test_of_a_round_the_median_of_its_values_counts():
    runs = [{"values": [1.0, 9.0, 2.0], "metadata": {"round": 3}}]
    suite = {"benchmarks": [{"metadata": {"name": "step | a | b | 2 threads"}, "runs": runs}]}
    assert times_of(suite) == {Key(STEP, "a", "b", 2): {3: 2.0}}


def test_means_exponents_and_numbers():
    assert geometric_mean([1, 4, 16]) == pytest.approx(4, rel=1e-15)
    points = [(x, 3 * x**1.5) for x in (2.0, 4.0, 8.0)]
    assert slope(points) == pytest.approx(1.5, rel=1e-14)
    assert [three_digits(value) for value in (0.0, 0.01234, 0.99999, 1.2345, 12.345, 123.45, 12345.6, -0.5)] == [
        *("0.00", "0.0123", "1.00", "1.23", "12.3", "123", "12346", "-0.500")
    ]


def test_the_noise_floor_is_of_95_percent_of_the_cases():
    """Of 80 cases, two are outside at either end."""
    times = {}
    for n in range(80):
        times[Key(STEP, OURS, str(n))] = dict.fromkeys(range(6), 1.0)
        times[Key(STEP, AGAIN, str(n))] = dict.fromkeys(range(6), 1 + n / 128)
    assert noise_floor(times, AGAIN, OURS) == (1 + 2 / 128, 1 + 77 / 128)
    assert noise_floor({}, AGAIN, OURS) is None


def test_a_ratio_within_the_noise_is_a_tie():
    assert is_tie(Estimate(1.05, 1.01, 1.08), (0.97, 1.06))
    assert is_tie(Estimate(1.2, 0.99, 1.3), None)
    assert not is_tie(Estimate(1.2, 1.1, 1.3), (0.97, 1.06))
