"""The seconds of every key, round by round, as pyperf's file holds them; medians, and ratios paired within a round."""

from collections.abc import Iterable, Mapping
from math import exp, log
from statistics import median
from typing import Any, NamedTuple

from benchmarks.cases import Case
from benchmarks.intervals import LEAST_VALUES, Estimate, estimate, paired_differences, paired_ratios
from benchmarks.pieces import Key

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
