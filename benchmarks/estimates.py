"""Medians and what is known of them, without any assumption on how times are distributed."""

from collections.abc import Iterable, Mapping
from math import comb, exp, log
from statistics import median
from typing import Any, NamedTuple

from benchmarks.plan import Key
from benchmarks.workloads import Case

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


Times = Mapping[Key, Mapping[int, float]]  # seconds a call, by round


class Wants(NamedTuple):
    """What was wanted: the keys, and the cases by their names."""

    keys: frozenset[Key]
    cases: Mapping[str, Case]

    def both(self, task: str, row: str, other: str, threads: int = 1) -> list[Case]:
        """The cases on which both rows were wanted."""
        return [
            case
            for name, case in self.cases.items()
            if {Key(task, row, name, threads), Key(task, other, name, threads)} <= self.keys
        ]


def times_of(suite: Mapping[str, Any]) -> dict[Key, dict[int, float]]:
    """From a suite as `merged` makes it: in every round, the median of the values of its process."""
    times: dict[Key, dict[int, float]] = {}
    for benchmark in suite["benchmarks"]:
        key = Key.from_text(benchmark["metadata"]["name"])
        times[key] = {run["metadata"]["round"]: median(run["values"]) for run in benchmark["runs"]}
    return times


def seconds(times: Times, key: Key, factor: float = 1.0) -> Estimate | None:
    """The median of the seconds, times the factor; None where it was not timed, or in too few rounds."""
    values = times.get(key, {}).values()
    return estimate([factor * value for value in values]) if len(values) >= LEAST_VALUES else None


def ratios(times: Times, slow: Key, fast: Key) -> list[float]:
    """slow / fast, one a round; empty where the two were not timed in the same rounds often enough."""
    shared = sorted(times.get(slow, {}).keys() & times.get(fast, {}).keys())
    pairs = paired_ratios([times[slow][n] for n in shared], [times[fast][n] for n in shared]) if shared else []
    return pairs if len(pairs) >= LEAST_VALUES else []


def ratio(times: Times, slow: Key, fast: Key) -> Estimate | None:
    """How many times faster `fast` is."""
    found = ratios(times, slow, fast)
    return estimate(found) if found else None


def differences(times: Times, key: Key, other: Key) -> Estimate | None:
    """How many milliseconds more `key` takes than `other`."""
    shared = sorted(times.get(key, {}).keys() & times.get(other, {}).keys())
    found = paired_differences([1e3 * times[key][n] for n in shared], [1e3 * times[other][n] for n in shared])
    return estimate(found) if len(found) >= LEAST_VALUES else None


def geometric_mean(values: Iterable[float]) -> float:
    logarithms = [log(value) for value in values]
    return exp(sum(logarithms) / len(logarithms))


def slope(points: Iterable[tuple[float, float]]) -> float:
    """The exponent p of y = c·xᵖ, by least squares in the logarithms."""
    logarithms = [(log(x), log(y)) for x, y in points]
    x_mean = sum(x for x, _ in logarithms) / len(logarithms)
    spread = sum((x - x_mean) ** 2 for x, _ in logarithms)
    return sum((x - x_mean) * y for x, y in logarithms) / spread


def noise_floor(times: Times, again: str, row: str) -> tuple[float, float] | None:
    """Between what two factors 95 % of the ratios of a row with itself lie, each a median; None if it was not timed."""
    both = [ratio(times, key, key._replace(row=row)) for key in times if key.row == again]
    found = sorted(value.median for value in both if value is not None)
    outside = len(found) // 40  # at either end
    return (found[outside], found[-1 - outside]) if found else None


def is_tie(found: Estimate, noise: tuple[float, float] | None) -> bool:
    """Whether a ratio says nothing: its interval holds 1, or its median is within what the A/A row shows."""
    low, high = noise or (1.0, 1.0)
    return found.low <= 1 <= found.high or low <= found.median <= high
