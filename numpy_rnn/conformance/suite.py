"""The suite: random cases for a port, the smallest one that is wrong, and the report in
pytest.

check_port(port, level, dtype)  →  for every case: a report of the port, its checks  →
Finding
"""

import contextlib
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from numpy_rnn.common.checks import is_integer
from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import (
    TENSORS,
    WindowCase,
    case_sizes,
    equations,
    parameters_from,
    present,
)
from numpy_rnn.conformance.judge import judge
from numpy_rnn.conformance.mutants.hints import (
    hint_for_port,
    hint_for_run,
    hint_recipes,
)
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, stated_by
from numpy_rnn.conformance.ports.port import (
    Port,
    find_port,
    validated_report,
)
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import (
    PLAIN,
    RandomDraw,
    Recipe,
    large_recipe,
    random_recipe,
    random_run,
    restricted,
)
from numpy_rnn.conformance.runs import is_bounded, source_of
from numpy_rnn.conformance.window_checks import Check, global_checks, local_checks

TESTS = {"test_local": "L1", "test_global": "L2", "test_lockstep": "L3"}
EXAMPLES = 100  # windows per test
LARGE_EVERY = 6  # one of so many windows is large
RUN_EVERY = 10  # windows per run of several updates
MAX_WORK = (
    8e7  # of the windows of a test, in products: fewer windows where they are large
)
MIN_WINDOWS, MIN_RUNS = 5, 2  # whatever their work is


class Finding(AssertionError):
    """A port exceeds a bound that a correct port never exceeds: the first tensor and
    element.
    """

    def __init__(self, tensor: str, ids: str, numbers: str, where: str, hint: str = ""):
        self.tensor, self.hint = tensor, hint
        self.head, self.lines = f"{tensor} ({ids})", f"{numbers}\n  {where}"

    def __str__(self) -> str:
        return f"WRONG {self.head}{': ' * bool(self.hint)}{self.hint}\n  {self.lines}"


class Place(NamedTuple):
    """A case, and the recipe that makes it; None for the port's own data."""

    case: WindowCase
    recipe: Recipe | None
    name: str  # the call that makes the case


class Tally:
    """The sizes of the checked windows, and how many checks were judged, estimated or
    lost.
    """

    def __init__(self) -> None:
        self.low, self.high, self.work = dict[str, int](), dict[str, int](), 0.0
        self.judged, self.estimated, self.lost = (
            Counter[str](),
            Counter[str](),
            Counter[str](),
        )

    def note(self, sizes: Mapping[str, int], checks: Iterable[Check] = ()) -> None:
        for letter, size in sizes.items():
            self.low[letter] = min(size, self.low.get(letter, size))
            self.high[letter] = max(size, self.high.get(letter, size))
        for check in checks:
            self.estimated[check.tensor] += int(check.estimated.sum())
            self.lost[check.tensor] += int(check.lost.sum())
            self.judged[check.tensor] += int((~np.asarray(check.lost)).sum())

    def add(self, other: "Tally") -> None:
        self.note(other.low)
        self.note(other.high)
        self.estimated, self.lost = (
            self.estimated + other.estimated,
            self.lost + other.lost,
        )


def place_of(recipe: Recipe) -> Place:
    return Place(recipe.case(), recipe, repr(recipe))


def own_places(port: Port, dtype: str, seed: int) -> Iterator[Place]:
    """The windows of the port's own data, each under two random choices of
    its options.
    """
    for number, given in enumerate(getattr(port, "cases", ())):
        for name in (name for name in ("x", "target") if given.get(name) is None):
            expected = "expected x, target, and if you like h_0 and params"
            raise PortFault(f"cases[{number}] has no {name}: {expected}")
        x, target = np.asarray(given["x"]), np.asarray(given["target"])
        sizes = {"T": len(x), "B": x.shape[1], "K": len(target)}
        for letter, array in (("D", x), ("O", target)):  # classes are numbers below it
            sizes[letter] = (
                int(array.max()) + 1 if is_integer(array) else array.shape[-1]
            )
        for draw in (RandomDraw(seed, number, each) for each in range(2)):
            recipe = random_recipe(draw, dtype, stated_by(port))._replace(
                **sizes, logits=1.0
            )
            case = restricted(recipe, stated_by(port)).case()
            arrays = {"h_0": case.h_0, "params": None} | given
            arrays |= arrays.pop("params") or present(case.params)
            arrays = {n: np.asarray(v) for n, v in arrays.items() if v is not None}
            arrays = {
                n: v if is_integer(v) else v.astype(dtype) for n, v in arrays.items()
            }
            series: Any = {name: arrays.get(name) for name in ("x", "target", "h_0")}
            own = case._replace(params=parameters_from(arrays), **series)
            yield Place(own, None, f"cases[{number}] with {recipe!r}")


def work_of(sizes: Mapping[str, Any]) -> float:
    """The products of a window of these sizes."""
    T, B, D, H, O = (sizes[letter] for letter in "TBDHO")
    return float(T * B * H * (D + H + O))


def places(port: Port, dtype: str, seed: int, examples: int | None) -> Iterator[Place]:
    """The port's own windows and random ones; fewer where they are large."""
    yield from own_places(port, dtype, seed)
    work = 0.0
    for number in range(examples or EXAMPLES):
        make = (
            large_recipe if number % LARGE_EVERY == LARGE_EVERY - 1 else random_recipe
        )
        recipe = make(RandomDraw(seed, number), dtype, stated_by(port))
        work += work_of(recipe._asdict())
        if examples is None and number >= MIN_WINDOWS and work > MAX_WORK:
            return
        yield place_of(recipe)


def smaller(recipe: Recipe | None, port: Port) -> Iterator[Recipe]:
    """The same with small sizes, if there is one and the port has all sizes."""
    has = stated_by(port)
    if recipe is None or has.sizes:
        return
    O = 2 if recipe.objective.loss == "cross_entropy" else 1
    for T in (1, 2, 3, recipe.T):
        plain = recipe._replace(**PLAIN, scale=1.0, zeros=False, gain=1.0)
        yield restricted(plain._replace(T=T, B=1, D=1, H=2, O=O, K=T), has)


def check_window(
    port: Port, level: str, place: Place, tally: Tally | None = None
) -> Finding | None:
    """The first tensor of a window, in causal order, that exceeds its bound at L1 or
    L2.
    """
    report = validated_report(port, place.case, place.name)
    check = local_checks if level == "L1" else global_checks
    found = {
        each.tensor: each for each in check(place.case, report, source_of(port).tau)
    }
    if tally is not None:
        tally.note(case_sizes(place.case), found.values())
    name = next(
        (n for n in TENSORS if n in found and not (found[n].ratio <= 1).all()), None
    )
    if name is None:
        return None
    wrong, ratio = found[name], found[name].ratio
    at = tuple(map(int, np.unravel_index(int(np.argmax(ratio)), ratio.shape)))
    both = wrong.expected, wrong.allowed
    expected, allowed = (np.broadcast_to(array, ratio.shape)[at] for array in both)
    ids = equations(name, place.case.objective, place.case.step)
    bound = "estimate of rounding" if wrong.estimated.any() else "rounding bound"
    text = (
        f"{name}{list(at) or ''} is {report[name][at]:.9g}, expected "
        f"{expected:.9g}; the"
    )
    text += f" difference is {ratio[at]:.3g} times the {bound} {allowed:.2g}"
    return Finding(name, ids, text, f"{level}, {place.name}")


def check_run(port: Port, dtype: str, seed: int, tally: Tally) -> Finding | None:
    """Level L3: a run of several updates in lockstep; None also if it overflows."""
    run = random_run(RandomDraw(seed), dtype, stated_by(port))
    if not is_bounded(run):
        return None
    source = source_of(port)
    recorded = source.trace(run)
    judgement = judge(recorded, source.tau, source=source)
    tally.work += work_of(case_sizes(run) | {"T": len(run.x) * len(recorded.windows)})
    tally.estimated += Counter(judgement.estimated)
    tally.lost += Counter(judgement.lost)
    tally.judged.update(judgement.worst.keys() - {*judgement.unjudged})
    if (first := judgement.first) is None:
        return None
    where = f"L3, random_run(RandomDraw({seed}), {dtype!r}, stated_by(port))"
    hint = hint_for_run(recorded, first)
    return Finding(first.tensor, first.equation, first.message(), where, hint)


def check_port(
    port: Port, level: str, dtype: str, seed: int = 0, examples: int | None = None
) -> Tally:
    """Check a port on random cases. Raises Finding at the first that is wrong.

    L1: every stage within its own rounding. L2: every result within what rounding
    allows of a whole window. L3: several updates in a row, each from its actual start.
    Raises PortFault without a valid report, and where no window judges one of the
    results.
    """
    tally = Tally()
    if level == "L3":
        for number in range(max(examples or EXAMPLES, RUN_EVERY) // RUN_EVERY):
            if found := check_run(port, dtype, seed + number, tally):
                raise found
            if tally.work > MAX_WORK and number >= MIN_RUNS and examples is None:
                break
    for place in places(port, dtype, seed, examples) if level != "L3" else ():
        if found := check_window(port, level, place, tally):
            raise explained(port, level, place, found)
    if unjudged := [
        name for name in TENSORS if tally.lost[name] and not tally.judged[name]
    ]:
        advice = (
            "lost to rounding in all windows; test float64, shorter windows "
            "or smaller sizes"
        )
        raise PortFault(f"NOT JUDGED {', '.join(unjudged)}: {advice}")
    return tally


def explained(port: Port, level: str, place: Place, found: Finding) -> Finding:
    """The first wrong case among small ones, or one of the earliest wrong stage, with a
    hint.
    """
    hint, recipe = hint_for_port(port, place.recipe, place.case), place.recipe
    for each in hint_recipes(port, recipe) if recipe else ():
        other = wrong_case(port, level, each, found)
        found, recipe = (
            (other, each) if other and other.tensor != found.tensor else (found, recipe)
        )
    small = (wrong_case(port, level, each, found) for each in smaller(recipe, port))
    found = next(filter(None, small), found)
    found.hint = hint
    return found


def wrong_case(
    port: Port, level: str, recipe: Recipe, found: Finding
) -> Finding | None:
    """A finding on this recipe, of the same stage or an earlier one."""
    with contextlib.suppress(PortFault, ValueError):
        other = check_window(port, level, place_of(recipe))
        if other and TENSORS.index(other.tensor) <= TENSORS.index(found.tensor):
            return other
    return None


class Suite:
    """The port under test, a plugin of pytest. Raises pytest.UsageError on unusable
    options.
    """

    def __init__(self, config: pytest.Config):
        self.config, self.tally = config, Tally()
        config.option.reportchars = ""  # the failure is told once
        self.fault = ""  # the first one; the tests after it are skipped
        seed = self.option("seed")
        self.seed = secrets.randbelow(2**32) if seed is None else seed
        try:
            self.port = self._port()
        except (InputError, PortFault) as error:
            raise pytest.UsageError(str(error)) from None
        self.port.sizes = self.option("sizes") or getattr(self.port, "sizes", ())
        self.abilities, chosen = stated_by(self.port), self.option("level")
        unwanted = [
            name for name, level in TESTS.items() if chosen not in (level, "all")
        ]
        if chosen == "all" and "intermediates" not in self.abilities.capabilities:
            unwanted = ["test_local"]
        terms = [f"not (test_port.py and {name})" for name in unwanted]
        terms += [f"({own})"] if (own := config.option.keyword) else []
        config.option.keyword = " and ".join(terms)  # the option -k

    def option(self, name: str) -> Any:
        return self.config.getoption(f"elman_{name}")

    def _port(self) -> Any:
        command = self.option("command")
        if command is None:
            return find_port(self.option("backend"))
        try:
            port = ProgramPort(command, self.option("timeout") or 10)
        except PortFault as fault:
            raise PortFault(
                f"--elman-command {one_line(command, 80)}: {fault}"
            ) from None
        self.config.add_cleanup(port.close)
        return port

    def check(self, level: str, dtype: str) -> None:
        """Check the port at a level. The first failure is told, without a traceback."""
        if self.fault:
            pytest.skip(f"not run, as {self.fault} fails")
        try:
            self.tally.add(
                check_port(self.port, level, dtype, self.seed, self.option("examples"))
            )
        except (Finding, PortFault) as error:
            self.fault = f"{level} in {dtype}"
            raise pytest.fail.Exception(str(error), pytrace=False) from None

    def pytest_report_header(self) -> list[str]:
        """Two lines: what is tested, and what is not."""
        port, (has, lacks, sizes, _) = self.port, self.abilities
        ulps, absolute = (
            getattr(port, name, None) for name in ("tanh_ulps", "tanh_absolute_ulps")
        )
        accuracy = f"tanh within {ulps or STRICT_TANH_ULPS:g} ulps"
        accuracy += f" and {absolute:g} of 1" if absolute else ""
        if (ulps or 0) > STRICT_TANH_ULPS or absolute:
            accuracy += " (not a strict pass)"
        seen = (
            ""
            if "intermediates" in has
            else "; no L1, as it reports no intermediate values"
        )
        shapes = " or ".join(
            " ".join(f"{n}={size}" for n, size in each.items()) for each in sizes
        )
        absent = [name for name in CAPABILITIES[1:] if name not in has]
        parts = [f"sizes {shapes} alone"] * bool(shapes) + [f"seed {self.seed}"]
        parts += [f"not tested, as it lacks them: {', '.join(lacks)}"] * bool(lacks)
        parts += [f"not declared: {', '.join(absent)}"] * bool(absent)
        head = f"port: {port.name}, {' and '.join(port.dtypes)}, {accuracy}{seen}"
        return [head, "; ".join(parts)]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Report the sizes of the checked windows, and what was estimated or lost."""
        tally = self.tally
        if not tally.low:
            return
        ranges = (
            f"{letter} {tally.low[letter]} to {tally.high[letter]}"
            for letter in "BDHKOT"
        )
        line = f"checked windows: {', '.join(ranges)}"
        if estimated := tally.estimated.total():
            line += (
                f"; {estimated} checks by an estimate of rounding, not a proven bound"
            )
        terminalreporter.write_line(line)
        if lost := +tally.lost:
            terminalreporter.write_line(
                f"lost to rounding in some windows: {', '.join(lost)}"
            )
