"""Medians and what is known of them, without any assumption on how times are distributed."""

from math import comb
from statistics import median
from typing import NamedTuple

LEAST_VALUES = 6  # of fewer, not even the smallest and the largest enclose the median with 95 % confidence


class Estimate(NamedTuple):
    """A median, and the interval that holds the true one with 95 % confidence at least."""

    median: float
    low: float
    high: float


def estimate(values) -> Estimate:
    return Estimate(median(values), *median_interval(values))


def median_interval(values, confidence=0.95) -> tuple[float, float]:
    """The narrowest pair of order statistics (x_k, x_{n+1-k}) that holds the true median with this confidence.

    The true median lies below x_k only if fewer than k of n fair coins show heads, so k is the largest number with
    P(Binomial(n, ½) < k) ≤ (1 − confidence)/2. Raises ValueError on fewer values than any such k allows.

    Source: David and Nagaraja, Order Statistics, section 7.1.
    """
    ordered, n = sorted(values), len(values)
    k, below = 0, comb(n, 0)
    while below <= (1 - confidence) / 2 * 2**n:
        k += 1
        below += comb(n, k)
    if k == 0:
        raise ValueError(f"{n} values: expected more for an interval of {confidence:.0%} confidence")
    return ordered[k - 1], ordered[n - k]


def paired_ratios(numerators, denominators) -> list[float]:
    """One ratio a round: what slows the machine for a whole round cancels."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def paired_differences(values, others) -> list[float]:
    return [a - b for a, b in zip(values, others, strict=True)]
