"""Targets for the speed of numpy_rnn, and what came out."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.estimates import Estimate, Times, mean
from benchmarks.tasks import (
    CALLS,
    CHARACTERS,
    COLD,
    EVERY,
    FORWARD,
    GEMMS,
    GRADIENT,
    IMPORT,
    JAX,
    MIN_CHAR_RNN,
    MODULES,
    OTHER,
    OURS,
    RUN,
    STEP,
    TUTORIAL,
    Key,
)
from benchmarks.workloads import CHARACTER_MODELS, DEFAULT_EXPERIMENT, ENSEMBLES, GRID, HUGE, point

DEFAULT = (DEFAULT_EXPERIMENT.name,)
CHARACTER_CASES = tuple(case.name for case in CHARACTER_MODELS)
THOUSAND = ("1000 networks",)
MANY = tuple(case.name for case in (*ENSEMBLES, HUGE) if case.networks >= 1000)
WINDOWS = tuple(case.name for case in GRID)
MIDDLE = tuple(point(H, 32, T).name for H in (256, 512) for T in (50, 100))
LARGE = tuple(case.name for case in GRID if case.H >= 256 and case.B >= 32)


class Target(NamedTuple):
    """The time of row `slow` divided by that of row `fast`: at least, or at most, the limit.

    This holds in every case, or of the geometric mean of all cases. The time of an import is a difference in ms.
    """

    task: str
    cases: Sequence[str]
    where: str
    slow: str
    fast: str
    limit: float
    at_most: bool = False
    of_mean: bool = False

    def text(self) -> str:
        mean = ", geometric mean" if self.of_mean else ""
        sign, unit = ("≤", " ms") if self.task == IMPORT else ("≤" if self.at_most else "≥", "")
        operator = "−" if self.task == IMPORT else "/"
        return f"{self.where}: {self.slow} {operator} {self.fast} {sign} {self.limit:g}{unit}{mean}"

    def result(self, times: Times) -> "tuple[Estimate, str] | None":
        """The value and its case, the worst of all; None if nothing was timed."""
        values = dict(self._values(times))
        if not values:
            return None
        if self.of_mean:
            return mean(values.values()), f"{len(values)} case{'s' * (len(values) > 1)}"
        worst = (max if self.at_most else min)(values, key=lambda case: values[case].median)
        return values[worst], worst

    def _values(self, times: Times) -> Iterable[tuple[str, Estimate]]:
        for case in self.cases:
            slow, fast = times.get(Key(self.task, case, self.slow)), times.get(Key(self.task, case, self.fast))
            if slow and fast:
                yield case, slow.minus(fast).times(1e3) if self.task == IMPORT else slow.over(fast)

    def verdict(self, value: Estimate) -> str:
        """Whether it is met: yes or no, or open if only a part of the interval meets it."""
        good = [bound <= self.limit if self.at_most else bound >= self.limit for bound in (value.low, value.high)]
        return "yes" if all(good) else "open" if any(good) else "no"


TARGETS = (
    Target(RUN, DEFAULT, "default experiment", TUTORIAL, OURS, 20),
    Target(RUN, DEFAULT, "default experiment", OURS, CALLS, 1.2, at_most=True),
    Target(RUN, DEFAULT, "default experiment", EVERY, OURS, 1.3, at_most=True),
    Target(RUN, THOUSAND, "1000 networks", OURS, CALLS, 1.15, at_most=True),
    Target(RUN, MANY, "ensembles of 1000 and more", JAX, OURS, 1),
    Target(CHARACTERS, CHARACTER_CASES, "character models", MIN_CHAR_RNN, OURS, 4),
    Target(CHARACTERS, CHARACTER_CASES, "character models", MODULES, OURS, 3),
    Target(CHARACTERS, CHARACTER_CASES, "character models", JAX, OURS, 0.9),
    Target(CHARACTERS, CHARACTER_CASES, "character models", OURS, CALLS, 1.2, at_most=True),
    Target(STEP, WINDOWS, "gradient and update, all sizes", MODULES, OURS, 1),
    Target(STEP, WINDOWS, "gradient and update, all sizes", MODULES, OURS, 2.5, of_mean=True),
    Target(STEP, MIDDLE, "gradient and update, H = 256 and 512, B = 32", MODULES, OURS, 1.5, of_mean=True),
    Target(STEP, LARGE, "gradient and update, H ≥ 256, B ≥ 32", JAX, OURS, 0.95),
    Target(STEP, LARGE, "gradient and update, H ≥ 256, B ≥ 32", JAX, OURS, 1, of_mean=True),
    Target(STEP, LARGE, "gradient and update, H ≥ 256, B ≥ 32", GEMMS, OURS, 0.93),
    Target(FORWARD, WINDOWS, "forward", OTHER, OURS, 1),
    Target(GRADIENT, WINDOWS, "gradient", OTHER, OURS, 1),
    Target(COLD, DEFAULT, "cold start", JAX, OURS, 1),
    Target(IMPORT, DEFAULT, "import", OURS, "numpy", 15, at_most=True),
)
