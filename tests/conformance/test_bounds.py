"""Both levels: every right way to compute a window is within the bounds, wrong elements
are not.

No bound is ten times as wide as what a correct computation needs: one may round every
operation in the same direction, and errors of such numbers fill every bound to a tenth
at least.
"""

import itertools
import math
import random
from fractions import Fraction
from functools import partial, total_ordering

import numpy as np
import pytest
from hypothesis import given, settings

from numpy_rnn.common.records import DTYPES, Objective, Parameters, Step, tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import (
    NORM_OFFSET,
)
from numpy_rnn.conformance.case import WindowCase, present, with_rows
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.random_cases import CaseSpec
from tests.helpers.ways import WAYS, operations
from tests.helpers.windows import SEEDS, check_global, check_local, window, worst

LEVELS = {"L1": check_local, "L2": check_global}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@each_dtype
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=6)
@given(SEEDS)
def test_right_way_is_within_the_bounds(way, dtype, seed):
    """Also in float64 throughout, and where 1 − h² is mostly rounding."""
    case = window(seed, dtype, special="saturated" if seed % 2 else "")
    report = WAYS[way].report(case)
    wide = WAYS[way].report(
        case, lambda array: array.astype(np.float64)
    )  # rounded afterwards
    assert worst(check_local(case, report)) <= 1
    assert worst(check_global(case, report)) <= 1
    assert worst(check_global(case, wide)) <= 1


def relu_unit(x, W_xh) -> WindowCase:
    """One step of one unit; x and W_xh may be vectors."""
    x, W_xh, one = np.atleast_1d(x), np.atleast_1d(W_xh), np.ones((1, 1))
    params = Parameters(W_xh[:, None], 0.5 * one, 3 * one)
    return WindowCase(
        params, x[None, None], one[None], 0 * one, Objective("relu"), Step(0.25)
    )


def test_both_sides_of_the_kink_are_right_within_rounding():
    """0.1·0.3 − 0.3·0.1 + 1e-18 is positive, and float64 may well find 0; not with
    1e-15.
    """
    case = relu_unit([0.1, 0.3, 1e-18], [0.3, -0.1, 1.0])
    bounds = window_update(case, Bounds("float64"))
    assert abs(bounds["a"].value) < bounds["a"].E
    assert 3 <= bounds["da"].E < 3.0001
    for side in (0.0, 1.0):
        way = operations(by_slope=lambda self, dh, *others, side=side: side * dh)
        assert worst(check_global(case, way.report(case))) <= 1
    case = relu_unit([0.1, 0.3, 1e-15], [0.3, -0.1, 1.0])
    report = window_update(case)
    for check in LEVELS.values():
        assert check(case, report)["da"] <= 1
        assert check(case, report | {"da": report["dh"] - report["da"]})["da"] > 1


def test_exact_zero_has_no_error():
    """A pre-activation, so that relu'(0) = 1 is found."""
    case = relu_unit(0.0, 1.0)
    bounds = window_update(case, Bounds("float64"))
    assert all((bounds[name].E == 0).all() for name in ("a", "h", "da", "dW_xh"))
    wrong = operations(by_slope=lambda self, dh, a, h, nonlinearity: dh * (h >= 0))
    assert check_global(case, window_update(case))["da"] == 0
    assert check_global(case, wrong.report(case))["da"] == np.inf


STEP = Step(0.2, 0.9, 0.25, weight_decay=0.1, max_norm=1.0)
WHOLE = CaseSpec(
    T=3, B=2, D=4, H=3, O=5, K=2, dtype="float64", bias=True, step=STEP, velocity=True
)


@settings(max_examples=1)
@given(SEEDS)
def test_wrong_tensor_is_found_there(seed):
    """An element is off by 100 bounds, NaN or infinite; it has another shape, or is
    missing.
    """
    case = WHOLE._replace(seed=seed).case()
    report, bounds = window_update(case), window_update(case, Bounds("float64"))
    assert (
        check_global(case, report | {"dy": report["dy"] + 1e-300})["dy"][0] == np.inf
    ).all()
    for name, near in bounds.items():
        last = tuple(size - 1 for size in near.E.shape)

        def found(number, name=name, last=last):
            wrong = np.array(report[name])
            wrong[last] = number
            checked = check_global(case, report | {name: wrong})
            assert sum((~(ratio <= 1)).sum() for ratio in checked.values()) == 1, name
            return checked[name][last]

        assert 99 < found(near.value[last] + 100 * near.E[last]) < 101, name
        assert found(np.nan) == found(np.inf) == np.inf
        assert (
            check_global(case, report | {name: report[name][None]})[name] == np.inf
        ).all()
        checked = check_global(case, {n: v for n, v in report.items() if n != name})
        is_required = name in cases.required_outputs(case, intermediates=False)
        assert (checked[name] == np.inf).all() if is_required else name not in checked


ULPS = 7  # the error of tanh, exp and log, of the 8 ulps that are allowed
U = {
    np.float32: 2.0**-24,
    np.float64: Fraction(1, 2**53),
}  # the unit roundoffs, as exact numbers


def operation(f):
    """Return a method of Skewed: f of two exact numbers, rounded."""

    def method(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self.rounded(f(self.value, self.exact(other)))

    return method


def function(f):
    """Return a method of Skewed: f with an error of ULPS."""

    def method(self):
        value = exact_number(f(float(self.value)), self.dtype)
        return self.rounded(value * (1 + self.direction() * 2 * ULPS * U[self.dtype]))

    return method


@total_ordering
class Skewed:
    """A number of a dtype whose operations round in one direction, as far as u allows
    it.
    """

    def __init__(self, value, dtype, direction):
        self.value, self.dtype, self.direction = value, dtype, direction

    def rounded(self, exact):
        """Round in the direction if that is within u |exact|, or else to nearest."""
        nearest, toward = self.dtype(float(exact)), self.direction()
        if (exact_number(nearest, self.dtype) - exact) * toward < 0:
            other = np.nextafter(nearest, self.dtype(toward * np.inf))
            if abs(exact_number(other, self.dtype) - exact) <= U[self.dtype] * abs(
                exact
            ):
                nearest = other
        return Skewed(exact_number(nearest, self.dtype), self.dtype, self.direction)

    def exact(self, other):
        return (
            other.value
            if isinstance(other, Skewed)
            else exact_number(other, self.dtype)
        )

    __add__ = __radd__ = operation(lambda a, b: a + b)
    __mul__ = __rmul__ = operation(lambda a, b: a * b)
    __sub__, __rsub__ = operation(lambda a, b: a - b), operation(lambda a, b: b - a)
    __truediv__, __rtruediv__ = (
        operation(lambda a, b: a / b),
        operation(lambda a, b: b / a),
    )
    tanh, exp, log = map(function, (math.tanh, math.exp, math.log))
    log1p, expm1 = map(function, (math.log1p, math.expm1))

    def sqrt(self):
        return self.rounded(exact_number(math.sqrt(float(self.value)), self.dtype))

    def __neg__(self):
        return Skewed(-self.value, self.dtype, self.direction)

    def __eq__(self, other):
        return self.value == self.exact(other)

    def __lt__(self, other):
        return self.value < self.exact(other)

    def __float__(self):
        return float(self.value)


def exact_number(number, dtype):
    """Return the number in an arithmetic that is much more exact than the dtype."""
    return (
        float(number)
        if dtype is np.float32
        else Fraction(*float(number).as_integer_ratio())
    )


def skewed_report(case, direction):
    """Compute the report of a case by the definition in skewed numbers."""
    case, dtype = with_rows(case), case.dtype.type
    skewed = np.frompyfunc(
        lambda v: Skewed(exact_number(v, dtype), dtype, direction), 1, 1
    )
    limit = case.step.max_value and float(dtype(case.step.max_value))
    step = case.step._replace(
        learning_rate=float(dtype(case.step.learning_rate)), max_value=limit
    )
    fields = ("x", "target", "h_0", "params", "velocity")
    changed = {name: tree_map(skewed, getattr(case, name)) for name in fields}
    report = window_update(case._replace(**changed, step=step))
    return {name: np.array(v).astype(float).astype(dtype) for name, v in report.items()}


def positive(spec):
    """Give the numbers of a case one sign, so that nothing cancels, errors add up."""
    case = spec.case()
    fields = ("x", "h_0", "params", "velocity")
    changed = {name: tree_map(np.abs, getattr(case, name)) for name in fields}
    is_squared = case.objective.loss == "squared_error"
    return case._replace(
        **changed, target=-np.abs(case.target) if is_squared else case.target
    )


SHORT = {"T": 3, "B": 2, "D": 3, "H": 4, "O": 3, "K": 2, "gain": 0.5, "bias": True}
MOVING = {"velocity": True}
VARIANTS = {  # objective, step, and fields of the spec
    "tanh": (Objective(), Step(0.3, 0.9, 0.3), MOVING),
    "saturated": (Objective(), Step(0.3), {"gain": 3.0}),
    "relu": (
        Objective("relu", "squared_error", "mean"),
        Step(0.3, 0.9, nesterov=True),
        MOVING,
    ),
    "logistic": (
        Objective("sigmoid", reduction="mean"),
        Step(0.3, weight_decay=0.1),
        {},
    ),
    "clipped": (Objective(), Step(0.3, max_norm=0.3), {}),
    "clipped-by-value": (Objective(), Step(0.3, max_value=1e3), {"scale": 100.0}),
    "Adagrad": (Objective(), Step(0.3, adagrad=True, weight_decay=0.1), MOVING),
    "classes": (
        Objective("tanh", "cross_entropy", "mean"),
        Step(0.3),
        {"class_inputs": True},
    ),
}
# The share of its bound that the largest error fills. The checker rounds as float64
# does.
FILLED = {"float32": 0.1, "float64": 0.05}
EXACT = {("relu", "h"), ("relu", "da")}  # at L1 nothing is rounded


@each_dtype
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=1)
@given(SEEDS)
def test_skewed_rounding_nearly_fills_every_bound(variant, dtype, first_seed):
    """In one of some cases."""
    filled: dict[tuple[str, str], float] = {}
    objective, step, others = VARIANTS[variant]
    # With Adagrad the errors of a gradient and of its square cancel, which L2 does not
    # know.
    least = {"L1": FILLED[dtype], "L2": FILLED[dtype] / (5 if step.adagrad else 1)}
    for seed in range(first_seed, first_seed + 20):
        options = {"dtype": dtype, "seed": seed, "objective": objective, "step": step}
        case = positive(CaseSpec(**SHORT | others | options))
        for direction in (
            lambda: 1,
            lambda: -1,
            partial(random.Random(seed).choice, (-1, 1)),
        ):
            report = skewed_report(case, direction)
            for level, check in LEVELS.items():
                for name, ratio in check(case, report).items():
                    assert (ratio <= 1).all(), f"{level}: {name}"
                    filled[level, name] = max(
                        filled.get((level, name), 0.0), ratio.max()
                    )
        wide = {key: share for key, share in filled.items() if share <= least[key[0]]}
        if wide.keys() <= {("L1", name) for of, name in EXACT if of == variant}:
            return
    pytest.fail(f"the shares of the bounds that errors fill: {wide}")


@each_dtype
def test_exact_operations_may_not_be_five_ulps_off(dtype):
    """relu and its derivative, and a gradient that is clipped by value."""
    factor = np.dtype(dtype).type(1 + 5 * np.finfo(dtype).eps)
    plain = CaseSpec(**SHORT, dtype=dtype)
    case = positive(plain._replace(objective=Objective("relu")))
    report = window_update(case)
    for name in ("h", "da"):
        assert check_local(case, report | {name: report[name] * factor})[name].max() > 1
    case = plain._replace(step=Step(0.1, 0.9, max_value=1e-3)).case()
    report = window_update(case)
    for check in LEVELS.values():
        wrong = report | {"vW_hh": report["vW_hh"] * factor}
        assert check(case, wrong)["vW_hh"].max() > 1


@each_dtype
def test_flushes_nearly_fill_their_bound(dtype):
    """Sums of products that are all a little below the smallest normal number."""
    tiny = np.finfo(dtype).smallest_normal ** 0.5 / np.finfo(dtype).dtype.type(1.1)
    case = positive(CaseSpec(**SHORT | {"bias": False}, dtype=dtype))
    given = tree_map(lambda v: np.full_like(v, tiny), (case.params, case.x, case.h_0))
    case = case._replace(**dict(zip(("params", "x", "h_0"), given)))
    report = window_update(case)
    for level, check in LEVELS.items():
        assert 0.05 < check(case, report | {"a": 0 * report["a"]})["a"].max() <= 1, (
            level
        )


@each_dtype
@settings(max_examples=1)
@given(SEEDS)
def test_clipping_at_its_limit_is_right_either_way(dtype, first_seed):
    """max_norm within some roundings of the norm, where one computation clips and
    another not.
    """
    clips, seeds = 0, range(first_seed, first_seed + 3)
    for seed, units in itertools.product(seeds, (-3, -1, 0, 1, 3)):
        case = window(seed, dtype, step=Step(0.1, 0.5, max_norm=1.0), velocity=False)
        report = window_update(case)
        flat = np.concatenate([report["d" + n].ravel() for n in present(case.params)])
        norm = float(np.linalg.norm(flat.astype(np.float64)))
        max_norm = (norm + NORM_OFFSET) * (1 + units * float(np.finfo(dtype).eps))
        edge = case._replace(step=case.step._replace(max_norm=max_norm))
        report = window_update(edge)
        other = report | {"v" + n: report["d" + n] for n in present(case.params)}
        assert worst(check_local(edge, report)) <= 1
        unclipped = check_global(edge, other)
        assert (
            worst({n: ratio for n, ratio in unclipped.items() if n.startswith("v")})
            <= 1
        )
        clips += not np.array_equal(report["vW_hh"], report["dW_hh"])
    assert 0 < clips < 15  # there are some on both sides
