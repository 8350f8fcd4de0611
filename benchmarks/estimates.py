"""Medians with their confidence intervals, and ratios paired within rounds: no assumption on how times are distributed.

Source of the intervals: David and Nagaraja, Order Statistics, section 7.1.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import comb, exp, log
from statistics import median
from typing import Any, NamedTuple

from benchmarks.plan import Key
from benchmarks.workloads import Case

MIN_VALUES = 6  # with fewer, not even the smallest and the largest enclose the median with 95 % confidence

Times = Mapping[Key, Mapping[int, float]]  # seconds per call, by round


class Estimate(NamedTuple):
    """A median, and the interval that contains the true one with at least 95 % confidence."""

    median: float
    low: float
    high: float


class Requested(NamedTuple):
    """What was to be measured: the keys, and the cases by name."""

    keys: frozenset[Key]
    cases: Mapping[str, Case]

    def both(self, task: str, row: str, other: str, threads: int = 1) -> list[Case]:
        """The cases that both rows were to measure."""
        return [
            case
            for name, case in self.cases.items()
            if {Key(task, row, name, threads), Key(task, other, name, threads)} <= self.keys
        ]


def estimate(values: Sequence[float]) -> Estimate:
    return Estimate(median(values), *median_interval(values))


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The narrowest pair of order statistics (x_k, x_{n+1-k}) that encloses the true median with this confidence.

    The true median is below x_k only if fewer than k of n fair coins show heads, so k is the largest number with
    P(Binomial(n, ½) < k) ≤ (1 − confidence)/2. Raises ValueError if there are too few values for any k.
    """
    ordered, n = sorted(values), len(values)
    k, below = 0, comb(n, 0)
    while below <= (1 - confidence) / 2 * 2**n:
        k += 1
        below += comb(n, k)
    if k == 0:
        raise ValueError(f"{n} values: expected more for an interval of {confidence:.0%} confidence")
    return ordered[k - 1], ordered[n - k]


def times_of(suite: Mapping[str, Any]) -> dict[Key, dict[int, float]]:
    """The times in a suite that `store.merged` returned: of every round, the median of the values."""
    times: dict[Key, dict[int, float]] = {}
    for benchmark in suite["benchmarks"]:
        key = Key.from_text(benchmark["metadata"]["name"])
        times[key] = {run["metadata"]["round"]: median(run["values"]) for run in benchmark["runs"]}
    return times


def seconds(times: Times, key: Key, factor: float = 1.0) -> Estimate | None:
    """The median time, multiplied by the factor; None if it was timed in too few rounds."""
    values = times.get(key, {}).values()
    return estimate([factor * value for value in values]) if len(values) >= MIN_VALUES else None


def frequency(times: Times, key: Key, number: float) -> Estimate | None:
    """How many per second, if a call makes `number`; None if it was timed in too few rounds."""
    values = times.get(key, {}).values()
    return estimate([number / value for value in values]) if len(values) >= MIN_VALUES else None


def ratio(times: Times, slow: Key, fast: Key) -> Estimate | None:
    """How many times faster `fast` is; None if the two were timed together in too few rounds.

    One ratio per round, so that whatever slows the machine during a whole round cancels.
    """
    return _paired(times, slow, fast, lambda a, b: a / b)


def difference(times: Times, key: Key, other: Key) -> Estimate | None:
    """How many milliseconds longer `key` takes than `other`, paired within rounds; None as in `ratio`."""
    return _paired(times, key, other, lambda a, b: 1e3 * (a - b))


def _paired(times, key, other, combine):
    a, b = times.get(key, {}), times.get(other, {})
    values = [combine(a[n], b[n]) for n in sorted(a.keys() & b.keys())]
    return estimate(values) if len(values) >= MIN_VALUES else None


def mean_ratio(times: Times, pairs: Iterable[tuple[Key, Key]]) -> Estimate | None:
    """The geometric mean of the ratios slow / fast of all pairs, computed in every round; None as in `ratio`."""
    known = [(times.get(slow, {}), times.get(fast, {})) for slow, fast in pairs]
    rounds = sorted(set.intersection(*({*a} & {*b} for a, b in known))) if known else []
    means = [geometric_mean(a[n] / b[n] for a, b in known) for n in rounds]
    return estimate(means) if len(means) >= MIN_VALUES else None


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
    """The range of 95 % of the cases' median ratios of a row to itself; None if it was not timed twice."""
    both = [ratio(times, key, key._replace(row=row)) for key in times if key.row == again]
    medians = sorted(value.median for value in both if value is not None)
    outside = len(medians) // 40  # at either end
    return (medians[outside], medians[-1 - outside]) if medians else None


def is_tie(value: Estimate, noise: tuple[float, float] | None) -> bool:
    """Whether a ratio shows no difference: its interval contains 1, or its median is in the range of the A/A row."""
    low, high = noise or (1.0, 1.0)
    return value.low <= 1 <= value.high or low <= value.median <= high
