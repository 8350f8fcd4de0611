"""Times and ratios with their intervals."""

from math import exp, hypot, log
from statistics import median
from typing import NamedTuple

import pyperf

from benchmarks.tasks import Key

MAX_LOAD = 0.3  # CPUs that other programs use on average: with more, a time is disturbed
MAX_INTERVAL = 0.1  # the largest distance of a process from the median, divided by it: with more, a time is disturbed


class Estimate(NamedTuple):
    """A median, the smallest and the largest value, and whether it, or one that it is computed from, is disturbed."""

    median: float
    low: float
    high: float
    is_disturbed: bool = False

    def times(self, factor: float) -> "Estimate":
        return Estimate(
            factor * self.median, factor * self.low, factor * self.high, self.is_disturbed
        )

    def over(self, other: "Estimate") -> "Estimate":
        """The ratio of two independent estimates above 0: the difference of their logarithms.

        Source: Zou and Donner 2008, Statistics in Medicine 27: the interval from those of the two terms (MOVER).
        """
        below = hypot(log(self.median / self.low), log(other.high / other.median))
        above = hypot(log(self.high / self.median), log(other.median / other.low))
        ratio = self.median / other.median
        return Estimate(
            ratio, ratio * exp(-below), ratio * exp(above), self.is_disturbed or other.is_disturbed
        )


Times = dict[Key, Estimate]  # seconds


def times_of(suite: pyperf.BenchmarkSuite) -> Times:
    return {Key.from_text(benchmark.get_name()): time_of(benchmark) for benchmark in suite}


def time_of(benchmark: pyperf.Benchmark) -> Estimate:
    """The median of the processes, and the fastest and the slowest process."""
    runs = [run for run in benchmark.get_runs() if run.values]
    values = [median(run.values) for run in runs]
    middle, low, high = median(values), min(values), max(values)
    load = max(run.get_metadata().get("load_of_others", 0.0) for run in runs)
    return Estimate(
        middle,
        low,
        high,
        load > MAX_LOAD or max(high - middle, middle - low) > MAX_INTERVAL * middle,
    )
