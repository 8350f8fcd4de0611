"""The properties of every correct port, which Hypothesis tries to falsify, and the number of cases in each profile."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

import numpy_rnn.reference
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance import random_parts as parts
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import TAU, TanhError, ratios, stages
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.hints import hints, hints_for_port, looks_like
from numpy_rnn.conformance.ports.port import Port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.recipes import (
    MAX_SIZE,
    NONLINEARITIES,
    REDUCTIONS,
    Recipe,
    large_recipes,
    random_run,
    restricted,
)
from numpy_rnn.conformance.traces.drive import is_bounded, trace_of_port, validated_report
from numpy_rnn.conformance.traces.judge import TENSORS, equations, judge

PROFILES = {"default": 100, "ci": 300, "long": 5000}
LARGE_EVERY = 5  # the number of cases per large case


def runs_for(windows: int) -> int:
    """The number of runs of several updates in a profile with so many single windows."""
    return max(10, windows // 10)


def profile(name: str) -> settings:
    """The settings of a profile: default, ci (derandomised), or long. Raises KeyError on an unknown name."""
    return settings(
        max_examples=PROFILES[name],
        deadline=None,
        derandomize=name == "ci",
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),  # not Phase.explain: it takes longest, and what it finds is not printed
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def recipes(draw, dtype: str, lacks: Sequence[str] = (), has: Sequence[str] = ()) -> Recipe:
    """Recipes in this dtype, without the options that the port lacks and with those that it has."""
    sizes = st.lists(st.integers(1, MAX_SIZE), min_size=5, max_size=5, unique=draw(st.booleans()))
    T, B, D, H, O = draw(sizes)
    plain = Recipe(
        T,
        B,
        D,
        H,
        O=H if draw(st.integers(0, 6)) == 6 else O,
        K=draw(st.integers(1, T)),
        dtype=dtype,
        nonlinearity=draw(st.sampled_from(parts.supported(NONLINEARITIES, lacks))),
        reduction=draw(st.sampled_from(parts.supported(REDUCTIONS, lacks))),
        bias=draw(st.booleans()) and "bias" not in lacks,
        zeros=draw(st.integers(0, 6)) == 6,
        gain=draw(st.sampled_from((0.5, 1.0, 1.5))),
        learning_rate=draw(st.sampled_from((0.1, 0.01, 0.5, 0.0))),
        seed=draw(st.integers(0, 2**32 - 1)),
        saturated=draw(st.integers(0, 6)) == 6,
        silent=draw(st.integers(0, 6)) == 6,
        subnormal=draw(st.integers(0, 9)) == 9,
    )
    if parts.SGD_OPTIONS in has:
        plain = plain._replace(**draw(sgd_options())._asdict(), velocity=draw(st.booleans()))
    if parts.LEARNED_H_0 in has:
        plain = plain._replace(learned=draw(st.booleans()))
    if parts.SIGMOID in has and draw(st.integers(0, 3)) == 3:
        plain = plain._replace(nonlinearity="sigmoid")
    if parts.CLIP_BY_VALUE in has and draw(st.integers(0, 3)) == 3:
        plain = plain._replace(max_norm=None, max_value=draw(st.sampled_from(parts.MAX_VALUES)))
    if parts.CROSS_ENTROPY in has and draw(st.booleans()):
        scale = parts.MAX_LOGIT if draw(st.integers(0, 6)) == 6 else 1.0
        plain = plain._replace(loss="cross_entropy", classes=draw(st.booleans()), logits=scale)
    if parts.ADAGRAD in has and draw(st.integers(0, 4)) == 4:
        plain = plain._replace(**parts.with_adagrad(plain.sgd)._asdict(), velocity=draw(st.booleans()))
    class_inputs = parts.CLASS_INPUTS in has and draw(st.booleans())
    plain = plain._replace(class_inputs=class_inputs, weights=parts.WEIGHTS in has and draw(st.booleans()))
    return restricted(plain, lacks, has)


@st.composite
def sgd_options(draw) -> SgdOptions:
    """Every valid combination of the options of SGD."""
    momentum = draw(st.sampled_from((0.0, *parts.MOMENTA)))
    dampening = draw(st.sampled_from(parts.DAMPENINGS)) if momentum else 0.0
    nesterov = draw(st.booleans()) and momentum > 0 and dampening == 0
    low, high = parts.MAX_NORMS
    return SgdOptions(
        momentum,
        dampening,
        nesterov,
        weight_decay=draw(st.sampled_from((0.0, *parts.DECAYS))),
        max_norm=draw(st.sampled_from((None, low, 1.0, 5.0, high))),
    )


class BoundExceeded(AssertionError):
    """A bound that a correct port never exceeds is exceeded; `ratio`: error / bound, `where`: in which case or run."""

    def __init__(self, message: str, ratio: float = float("nan"), where: Any = None):
        super().__init__(message)
        self.ratio, self.where = ratio, where


class WorstRatios:
    """The worst ratio of every level, dtype and tensor, and its case; the smallest and largest size of the cases."""

    def __init__(self):
        self.worst: dict[str, dict[str, dict[str, Any]]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def note_sizes(self, sizes: dict[str, int]) -> None:
        """Extend the range of each size."""
        for letter, size in sizes.items():
            low, high = self.sizes.get(letter, (size, size))
            self.sizes[letter] = min(low, size), max(high, size)

    def note(self, level: str, dtype: str, tensor: str, ratio: float, case: Any) -> None:
        """Keep the ratio if it is the largest so far."""
        of = self.worst.setdefault(level, {}).setdefault(dtype, {})
        if tensor not in of or ratio > of[tensor]["ratio"]:
            of[tensor] = {"ratio": ratio, "case": case}

    def merge(self, worst: dict, sizes: dict) -> None:
        """Merge the worst ratios and the sizes of another process."""
        for ends in zip(*sizes.values()):
            self.note_sizes(dict(zip(sizes, ends)))
        for level, by_dtype in worst.items():
            for dtype, by_tensor in by_dtype.items():
                for tensor, entry in by_tensor.items():
                    self.note(level, dtype, tensor, entry["ratio"], entry["case"])


def bound_factor(port) -> float:
    """τ of the port: twice the declared error of its tanh in ulps, or the default; and its absolute error."""
    declared, absolute = (getattr(port, name, None) for name in ("tanh_ulps", "tanh_absolute_ulps"))
    tau = TAU if declared is None else 2 * declared
    return tau if absolute is None else TanhError(tau, 2 * absolute)


def capabilities(port) -> tuple[str, ...]:
    """The capabilities of the port; none if it declares none."""
    return tuple(getattr(port, "capabilities", ()))


def check_port_local(
    port: Port, dtype: str, profile: settings, timeout: float = 10.0, worst: WorstRatios | None = None
) -> None:
    """Level L1: every stage within its own rounding. Raises BoundExceeded, or PortFault without a valid report."""

    def check(recipe):
        case = recipe.case()
        report = validated_report(port, case, True, timeout, str(recipe))
        _judge("L1", recipe, case, report, stages(case, report, bound_factor(port)), worst)

    _check_windows(port, dtype, profile, timeout, check)


def check_port_global(
    port: Port, dtype: str, profile: settings, timeout: float = 10.0, worst: WorstRatios | None = None
) -> None:
    """Level L2: every output within the bound around the oracle's value. Raises as `check_port_local` does."""

    def check(recipe):
        case = recipe.case()
        report = validated_report(port, case, "intermediates" in capabilities(port), timeout, str(recipe))
        bounds = global_bounds(case, bound_factor(port))
        reported = {name: bounds[name] for name in report}
        _judge("L2", recipe, case, report, {n: (v.high, E + v.radius) for n, (v, E) in reported.items()}, worst,
               check_global(case, report, bounds=bounds))  # fmt: skip

    _check_windows(port, dtype, profile, timeout, check)


def check_port_lockstep(
    port: Port, dtype: str, profile: settings, timeout: float = 10.0, worst: WorstRatios | None = None
) -> None:
    """Level L3: several updates in a row, each checked at L1, or L2 without intermediates, from its actual start."""

    def run_of(seed):
        return random_run(np.random.default_rng(seed), dtype, lacks=port.lacks, has=capabilities(port))

    def trace_from(experiment, configuration):
        if hasattr(port, "trace"):
            return port.trace(experiment, configuration)
        return trace_of_port(port, experiment, configuration, timeout)

    def check(seed):
        run = run_of(seed)
        assume(is_bounded(*run))
        if worst is not None:
            (_, B, *_), (D, H), O = run[0].x.shape, run[0].params.W_xh.shape, run[0].params.W_hy.shape[-1]
            worst.note_sizes({"B": B, "D": D, "H": H, "O": O})
        judgement = judge(trace_from(*run), bound_factor(port))
        for name, ratio in judgement.worst.items():
            if worst is not None:
                worst.note("L3", dtype, name, ratio, {"run": seed})
        if judgement.first is not None:
            first = judgement.first
            raise BoundExceeded(
                f"L3, run {seed}, epoch {first.epoch}, update {first.number}: {first.tensor} ({first.equation}) at"
                f" {list(first.element)} is {first.reported!r}, expected {first.expected!r}; rounding allows"
                f" {first.allowed:.2g}, this is {first.ratio:.2g} times as large",
                first.ratio,
                seed,
            )

    def hints_of(seed):
        experiment, configuration = run_of(seed)
        trace = trace_from(experiment, configuration)
        first = judge(trace, bound_factor(port)).first
        return [] if first is None else hints(trace, first, experiment, configuration, numpy_rnn.reference)

    fewer = settings(profile, max_examples=runs_for(profile.max_examples))
    _run_property(fewer, st.integers(0, 2**32 - 1), check, hints_of, timeout)


def _check_windows(port, dtype, profile, timeout, check):
    """Call `check` on random cases, and on large ones: by turns, as Hypothesis may not draw one of every kind."""

    def hints_of(recipe):
        return hints_for_port(port, recipe, bound_factor(port), timeout)

    def of_port(recipe):
        return recipe._replace(truncation=getattr(port, "truncation", ""))

    _run_property(profile, recipes(dtype, port.lacks, capabilities(port)).map(of_port), check, hints_of, timeout)
    seed = 0 if profile.derandomize else int(np.random.default_rng().integers(2**32))
    for recipe in large_recipes(profile.max_examples // LARGE_EVERY, seed, dtype, port.lacks, capabilities(port)):
        recipe = of_port(recipe)
        try:
            check(recipe)
        except BoundExceeded as error:
            raise BoundExceeded(f"{error}{looks_like(hints_of(recipe))}", error.ratio, recipe) from None


def _run_property(profile, strategy, check, hints_of, timeout):
    """Call `check` on what the strategy draws. Raises what it raises, with hints; if it does not recur, says so.

    A fault that takes as long as the time limit is not shrunk, as that would take as long again for every smaller case.
    """
    faults: list[BoundExceeded | PortFault] = []
    slow: list[PortFault] = []

    @profile
    @given(strategy)
    def property_holds(drawn):
        if slow:
            raise slow[0]
        began = time.monotonic()
        try:
            check(drawn)
        except (BoundExceeded, PortFault) as fault:
            faults.append(fault)
            if isinstance(fault, PortFault) and time.monotonic() - began >= timeout:
                slow.append(fault)
            raise

    try:
        property_holds()
    except BoundExceeded as smallest:  # the case that Hypothesis shrank to; its error is rarely the largest
        message = f"{smallest}{looks_like(hints_of(smallest.where))}"
        largest = max((f for f in faults if isinstance(f, BoundExceeded)), key=lambda fault: fault.ratio)
        if largest.ratio <= 2 * smallest.ratio:
            raise BoundExceeded(message, smallest.ratio, smallest.where) from None
        place = largest.where if isinstance(largest.where, Recipe) else f"run {largest.where}"
        message += f"; the largest error, in {place}, is {largest.ratio:.2g} times its bound"
        raise BoundExceeded(message, largest.ratio, largest.where) from None
    except Flaky:
        if not faults:  # another exception, such as that of a time limit of pytest
            raise
        raise type(faults[0])(f"gives different answers to the same case: {faults[0]}") from None


def _judge(level, recipe: Recipe, case: Case, report, expected_and_allowed, worst, known=None):
    if worst is not None:
        worst.note_sizes(case.sizes)
    for name in TENSORS:
        if name not in expected_and_allowed:
            continue
        expected, allowed = expected_and_allowed[name]
        ratio = known[name] if known else ratios(np.asarray(report[name], np.float64) - expected, allowed)
        if worst is not None:
            worst.note(level, recipe.dtype, name, float(np.max(ratio)), recipe._asdict())
        if not (ratio <= 1).all():
            at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
            element = [int(i) for i in at]
            raise BoundExceeded(
                f"{level}, {recipe}: {name} ({equations(name, recipe.sgd, recipe.truncation)}) at {element} is"
                f" {float(report[name][at])!r}, expected {float(expected[at])!r}; rounding allows"
                f" {float(allowed[at]):.2g}, this is {float(ratio[at]):.2g} times as large",
                float(ratio[at]),
                recipe,
            )
