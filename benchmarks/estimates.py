"""Times and ratios with their intervals."""

from math import exp, hypot, log
from statistics import median
from typing import NamedTuple

import pyperf

from benchmarks.tasks import Key


class Estimate(NamedTuple):
    """A median, and the smallest and the largest value."""

    median: float
    low: float
    high: float

    def times(self, factor: float) -> "Estimate":
        return Estimate(*(factor * value for value in self))

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference of two independent estimates.

        Source: Zou and Donner 2008, Statistics in Medicine 27: the interval from those of the two terms (MOVER).
        """
        value = self.median - other.median
        below = hypot(self.median - self.low, other.high - other.median)
        above = hypot(self.high - self.median, other.median - other.low)
        return Estimate(value, value - below, value + above)

    def over(self, other: "Estimate") -> "Estimate":
        """The ratio of two independent estimates above 0: the difference of their logarithms."""
        return Estimate(*map(exp, Estimate(*map(log, self)).minus(Estimate(*map(log, other)))))


Times = dict[Key, Estimate]  # seconds


def times_of(suite: pyperf.BenchmarkSuite) -> Times:
    """Of each benchmark, the median of its processes, and the fastest and the slowest process."""
    times = {}
    for benchmark in suite:
        values = [median(run.values) for run in benchmark.get_runs() if run.values]
        times[Key.from_text(benchmark.get_name())] = Estimate(median(values), min(values), max(values))
    return times
