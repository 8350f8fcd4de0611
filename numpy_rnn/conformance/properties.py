"""The properties of every correct port, which Hypothesis tries to falsify, and the number of cases in each profile.

check_port(level, port, ...)  →  for every case of the strategy: check  →  Violation with its message
"""

import contextlib
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from numpy_rnn.common.records import Run, WindowCase
from numpy_rnn.conformance.case import case_sizes
from numpy_rnn.conformance.definition import Arrays
from numpy_rnn.conformance.mutants.hints import hint_recipes, hints_for_port
from numpy_rnn.conformance.mutants.run_hints import hints_for_run
from numpy_rnn.conformance.ports.port import abilities, tanh_error, validated_report
from numpy_rnn.conformance.ports.protocol import EVERYTHING, Abilities, PortFault
from numpy_rnn.conformance.random_cases import (
    Draw,
    RandomDraw,
    Recipe,
    exact_recipe,
    has_exact_cases,
    large_recipe,
    random_recipe,
    random_run,
)
from numpy_rnn.conformance.traces.divergence import TENSORS, Divergence, equations
from numpy_rnn.conformance.traces.drive import is_bounded, trace_port
from numpy_rnn.conformance.traces.judge import judge, single_update
from numpy_rnn.conformance.window_checks import Check, exact_checks, global_checks, local_checks

PROFILES = {"default": 100, "repeatable": 100, "long": 5000}  # windows per test
LARGE_EVERY = 5  # the number of cases per large case, and per case of level L0
integers = cache(st.integers)  # a strategy is made once
SEEDS = integers(0, 2**32 - 1)


def run_count(windows: int) -> int:
    """The number of runs of several updates in a profile with so many single windows."""
    return max(10, windows // 10)


def profile(name: str, examples: int | None = None) -> settings:
    """The settings of a profile, default, repeatable or long, with another number of examples if it is given."""
    return settings(
        max_examples=examples or PROFILES[name],
        deadline=None,
        derandomize=name == "repeatable",
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=(
            Phase.generate,
            Phase.shrink,
        ),  # not Phase.explain: it takes longest, and what it finds is not printed
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def recipes(draw: st.DrawFn, dtype: str, port_abilities: Abilities = EVERYTHING) -> Recipe:
    """Recipes of cases in this dtype, for ports with these abilities."""
    return random_recipe(Draw(lambda low, high: draw(integers(low, high))), dtype, port_abilities)


Place = Recipe | int  # of a window, or the seed of a run
Hints = Callable[[], list[str]]


class Violation(AssertionError):
    """A bound that a correct port never exceeds is exceeded by this element first.

    where: the words for its place, a recipe or the seed of a run. hints: returns the mutants that it resembles.
    """

    def __init__(
        self,
        where: str,
        first: Divergence,
        place: Place,
        window: tuple[WindowCase, Arrays],
        hints: Hints,
    ):
        allowed = f"rounding allows {first.allowed:.2g}, this is {first.ratio:.3g} times as large"
        if not first.allowed:
            allowed = "nothing rounds here, so it must be this number"
        elif first.is_estimated:
            allowed += " (estimated)"
        super().__init__(
            f"{where}: {first.tensor} ({first.equation}) at {list(first.element)} is {first.reported!r}, expected"
            f" {first.expected!r}; {allowed}"
        )
        self.first, self.place, (self.case, self.report), self.hints = first, place, window, hints


def _words(place: Place | None) -> str:
    return f"run {place}" if isinstance(place, int) else str(place)


class WorstRatios:
    """The worst ratio of every level, dtype and tensor, and its case; the smallest and largest size of the cases.

    watch: called with the words for every case before the port is. latest: the recipe or the seed that was drawn last.
    """

    def __init__(self, watch: Callable[[str], object] = lambda where: None) -> None:
        self.watch = watch
        self.latest: Place | None = None
        self.worst: dict[str, dict[str, dict[str, Any]]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def note_sizes(self, sizes: dict[str, int]) -> None:
        """Extend the range of each size."""
        for letter, size in sizes.items():
            low, high = self.sizes.get(letter, (size, size))
            self.sizes[letter] = min(low, size), max(high, size)

    def note(
        self,
        level: str,
        dtype: str,
        tensor: str,
        ratio: float,
        case: object,
        counts: tuple[int, int],
    ) -> None:
        """Keep the ratio if it is the largest so far, and add up how many checks were estimated, and lost."""
        tensors = self.worst.setdefault(level, {}).setdefault(dtype, {})
        noted = tensors.setdefault(tensor, {"ratio": -1.0, "case": None, "estimated": 0, "lost": 0})
        noted["estimated"], noted["lost"] = (
            noted["estimated"] + counts[0],
            noted["lost"] + counts[1],
        )
        if ratio > noted["ratio"]:
            noted |= {"ratio": ratio, "case": case}

    def total(self, what: str) -> int:
        """The number of checks that were "estimated" or "lost"."""
        return sum(
            noted[what]
            for dtypes in self.worst.values()
            for of in dtypes.values()
            for noted in of.values()
        )

    def merge(self, worst: dict, sizes: dict) -> None:
        """Add the worst ratios and the sizes of another process, which ran other tests."""
        for ends in zip(*sizes.values()):
            self.note_sizes(dict(zip(sizes, ends)))
        for level, dtypes in worst.items():
            self.worst[level] = self.worst.get(level, {}) | dtypes


def check_port(
    level: str, port: Any, dtype: str, chosen: settings, timeout: float = 10.0, worst: WorstRatios | None = None,
    only: Place | None = None,
) -> None:  # fmt: skip
    """Check a port at one level on the cases of a profile. Raises Violation, or PortFault without a valid report.

    only: the recipe of a window, or the seed of a run, which alone is checked.

    L0: every number of a case in which nothing rounds. L1: every stage within its own rounding. L2: every output within
    what rounding allows of a whole window. L3: several updates in a row, each checked at L1, or L2 without
    intermediates, from its actual start.
    """
    check = PortCheck(level, port, dtype, timeout, worst or WorstRatios())
    few = settings(chosen, max_examples=max(1, chosen.max_examples // LARGE_EVERY))
    if only is not None:
        check(only)
    elif level == "L0":
        exact = SEEDS.map(lambda seed: exact_recipe(RandomDraw(seed), dtype, abilities(port)))
        if has_exact_cases(abilities(port)):
            _falsify(check, exact, few)
    elif level == "L3":
        _falsify(check, SEEDS, settings(chosen, max_examples=run_count(chosen.max_examples)))
    else:
        _falsify(check, recipes(dtype, abilities(port)), chosen)
        large = SEEDS.map(lambda seed: large_recipe(RandomDraw(seed), dtype, abilities(port)))
        _falsify(check, large, few)


def checks(level: str, case: WindowCase, report: Arrays, port: Any) -> dict[str, Check]:
    """The check of every tensor, in causal order. L3 is checked as L1, or L2 without intermediates."""
    if level == "L0":
        found = {each.tensor: each for each in exact_checks(case, report)}
    else:
        check = global_checks if level == "L2" or "a" not in report else local_checks
        found = {each.tensor: each for each in check(case, report, tanh_error(port))}
    return {name: found[name] for name in TENSORS if name in found}


class PortCheck(NamedTuple):
    """A port, and how it is checked."""

    level: str
    port: Any
    dtype: str
    timeout: float
    worst: WorstRatios

    def __call__(self, place: Recipe | int) -> None:
        """Raise Violation at the first tensor in causal order that exceeds its bound."""
        if place is None:  # no exact case was found
            return
        self.worst.latest = place
        if isinstance(place, Recipe):
            self.check_window(place)
        elif is_bounded(run := random_run(RandomDraw(place), self.dtype, abilities(self.port))):
            self.check_run(run, place)
        else:  # Hypothesis draws another run for one that overflows
            assume(False)

    def check_window(self, recipe: Recipe) -> None:
        """Levels L1 and L2: one window and its step."""
        self.worst.watch(_words(recipe))
        case = recipe.case()
        report = validated_report(self.port, case, self.timeout, str(recipe))
        self.worst.note_sizes(case_sizes(case))
        for name, check in checks(self.level, case, report, self.port).items():
            ratio = check.ratio
            counts = int(check.estimated.sum()), int(check.lost.sum())
            self.worst.note(self.level, self.dtype, name, float(np.max(ratio)), recipe, counts)
            if not (ratio <= 1).all():
                at = tuple(map(int, np.unravel_index(int(np.argmax(ratio)), ratio.shape)))
                arrays = np.broadcast_arrays(report[name], check.expected, check.allowed, ratio)
                reported, expected, allowed, most = (float(array[at]) for array in arrays)
                equation = equations(name, recipe.objective, recipe.step)
                first = Divergence(1, 1, name, None, at, reported, expected, allowed, most)
                first = first._replace(equation=equation, is_estimated=bool(check.estimated.any()))
                hints = partial(hints_for_port, self.port, recipe, self.timeout)
                raise Violation(f"{self.level}, {recipe}", first, recipe, (case, report), hints)

    def check_run(self, run: Run, seed: int) -> None:
        """Level L3: a run of several updates in lockstep."""
        self.worst.watch(_words(seed))
        is_package = hasattr(self.port, "trace")
        recorded = self.port.trace(run) if is_package else trace_port(self.port, run, self.timeout)
        judgement = judge(recorded, tanh_error(self.port))
        (D, H), O = run.params.W_xh.shape, run.params.W_hy.shape[-1]
        self.worst.note_sizes({"B": run.x.shape[1], "D": D, "H": H, "O": O})
        for name, ratio in judgement.worst.items():
            counts = judgement.estimated.get(name, 0), judgement.lost.get(name, 0)
            self.worst.note(self.level, self.dtype, name, ratio, {"run": seed}, counts)
        if (first := judgement.first) is not None:
            where = f"L3, run {seed}, epoch {first.epoch}, update {first.number}"
            window = single_update(recorded, recorded.update_index(first))
            raise Violation(where, first, seed, window, partial(hints_for_run, recorded, first))


def _falsify(check: PortCheck, strategy: st.SearchStrategy, chosen: settings) -> None:
    """Call the check on what the strategy draws. Raises what it raises, with hints; if it does not recur, says so.

    No smaller case is looked for after the faults of the port have taken its time limit.
    """
    faults: list[Violation | PortFault] = []
    seconds = 0.0

    def attempt(place: Place) -> None:
        nonlocal seconds
        began = time.monotonic()
        try:
            check(place)
        except (Violation, PortFault) as fault:
            faults.append(fault)
            seconds += time.monotonic() - began if isinstance(fault, PortFault) else 0.0
            raise

    @chosen
    @given(strategy)
    def property_holds(drawn):
        if seconds >= check.timeout:
            raise faults[-1]
        attempt(drawn)

    try:
        property_holds()
    except (
        Violation
    ) as smallest:  # the case that Hypothesis shrank to; its error is rarely the largest
        place = smallest.place
        is_window = isinstance(place, Recipe) and check.level != "L0"
        for larger in hint_recipes(check.port, place) if is_window else ():  # type: ignore[arg-type]  # an earlier stage
            with contextlib.suppress(Violation, PortFault):
                attempt(larger)
        violations = [fault for fault in faults if isinstance(fault, Violation)]
        largest = max(violations, key=lambda fault: fault.first.ratio)
        earliest = min(reversed(violations), key=lambda fault: TENSORS.index(fault.first.tensor))
        message, hints = str(smallest), smallest.hints()
        message += f"; looks like: {', or '.join(hints)}" if hints else ""
        if (first := earliest.first).tensor != smallest.first.tensor:
            message += f"; the earliest wrong stage is {first.tensor} ({first.equation}), in {_words(earliest.place)}"
        if (ratio := largest.first.ratio) > 2 * smallest.first.ratio:
            message += (
                f"; the largest error, in {_words(largest.place)}, is {ratio:.3g} times its bound"
            )
        smallest.args = (message,)
        raise smallest from None
    except Flaky:
        if not faults:  # another exception, such as that of a time limit of pytest
            raise
        raise PortFault(f"gives different answers to the same case: {faults[0]}") from None
