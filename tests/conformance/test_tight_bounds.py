"""No bound is ten times as wide as what a correct computation needs, for every tensor, dtype and level.

A correct computation may round every operation in the same direction. Here the reference does so, in numbers that round
as far as one unit roundoff allows. Its errors are nearly the largest that there are, and they are found without the
bounds: a bound that such errors fill to less than a tenth is too wide, and one that they exceed is too small.
"""

import math
import random
from functools import partial, total_ordering

import flint
import numpy as np
import pytest
from comparing import each
from ports_for_tests import one_unit

from numpy_rnn.common.records import DTYPES, Objective, Step
from numpy_rnn.conformance.case import GIVEN_DY, SHAPES, with_rows
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.random_cases import Recipe
from numpy_rnn.conformance.window_checks import check_global, check_local, tolerances

LEVELS = {"L1": check_local, "L2": check_global}
ULPS = 7  # the error of tanh, exp and log, of the 8 ulps that are allowed
U = {np.float32: 2.0**-24, np.float64: flint.fmpq(1, 2**53)}  # the unit roundoffs, as exact numbers


def operation(f):
    """A method of Skewed: f of two exact numbers, rounded."""

    def method(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self.rounded(f(self.value, self.exact(other)))

    return method


def function(f):
    """A method of Skewed: f with an error of ULPS."""

    def method(self):
        value = exact_number(f(as_float(self.value)), self.dtype)
        return self.rounded(value * (1 + self.direction() * 2 * ULPS * U[self.dtype]))

    return method


@total_ordering
class Skewed:
    """A number of a dtype whose operations round in one direction where one unit roundoff allows it."""

    def __init__(self, value, dtype, direction):
        self.value, self.dtype, self.direction = value, dtype, direction

    def rounded(self, exact):
        """The number in the direction of rounding if it is within u |exact|, otherwise the nearest one."""
        nearest, toward = self.dtype(as_float(exact)), self.direction()
        if (exact_number(nearest, self.dtype) - exact) * toward < 0:
            other = np.nextafter(nearest, self.dtype(toward * np.inf))
            if abs(exact_number(other, self.dtype) - exact) <= U[self.dtype] * abs(exact):
                nearest = other
        return Skewed(exact_number(nearest, self.dtype), self.dtype, self.direction)

    def exact(self, other):
        """The number that another one is."""
        return other.value if isinstance(other, Skewed) else exact_number(other, self.dtype)

    __add__ = __radd__ = operation(lambda a, b: a + b)
    __mul__ = __rmul__ = operation(lambda a, b: a * b)
    __sub__ = operation(lambda a, b: a - b)
    __rsub__ = operation(lambda a, b: b - a)
    __truediv__ = operation(lambda a, b: a / b)
    __rtruediv__ = operation(lambda a, b: b / a)
    tanh, exp, log = map(function, (math.tanh, math.exp, math.log))

    def sqrt(self):
        return self.rounded(exact_number(math.sqrt(as_float(self.value)), self.dtype))

    def __neg__(self):
        return Skewed(-self.value, self.dtype, self.direction)

    def __eq__(self, other):
        return self.value == self.exact(other)

    def __lt__(self, other):
        return self.value < self.exact(other)

    def __bool__(self):
        return self.value != 0

    def __float__(self):
        return as_float(self.value)


def as_float(exact):
    """The float64 next to a number; old versions of flint have no float of a fraction."""
    return int(exact.p) / int(exact.q) if isinstance(exact, flint.fmpq) else float(exact)


def exact_number(number, dtype):
    """The number in an arithmetic that is much more exact than the dtype."""
    return float(number) if dtype is np.float32 else flint.fmpq(*float(number).as_integer_ratio())


def skewed_report(case, direction):
    """The report of a case, computed by the definition in skewed numbers."""
    case, dtype = with_rows(case), case.params.W_hh.dtype.type
    skewed = np.frompyfunc(lambda v: Skewed(exact_number(v, dtype), dtype, direction), 1, 1)
    params, velocity = each(skewed, case.params), case.velocity and each(skewed, case.velocity)
    arrays = (
        None if v is None else skewed(v) for v in (case.x, case.target, case.h_0, case.weights)
    )
    limit = case.step.max_value and float(dtype(case.step.max_value))
    step = case.step._replace(learning_rate=float(dtype(case.step.learning_rate)), max_value=limit)
    x, target, h_0, weights = arrays
    report = window_update(case._replace(params=params, x=x, target=target, h_0=h_0, weights=weights, step=step,
                                         velocity=velocity))  # fmt: skip
    return {name: np.array(v).astype(float).astype(dtype) for name, v in report.items()}


def positive(recipe):
    """The case with numbers of one sign, so that nothing cancels and errors add up."""
    case = recipe.case()
    params, velocity = each(np.abs, case.params), case.velocity and each(np.abs, case.velocity)
    target = -np.abs(case.target) if case.objective.loss == "squared_error" else case.target
    h_0 = None if case.h_0 is None else np.abs(case.h_0)
    return case._replace(params=params, velocity=velocity, x=np.abs(case.x), target=target, h_0=h_0)


SIZES = {"T": 3, "B": 2, "D": 3, "H": 4, "O": 3, "K": 2, "gain": 0.5, "bias": True, "learned": True}
MEAN = {"reduction": "mean"}
VARIANTS = {  # fields of the objective, of the step, and of the recipe
    "tanh": ({}, {"momentum": 0.9, "dampening": 0.3}, {"velocity": True}),
    "saturated": ({}, {}, {"gain": 3.0}),
    "relu": (
        {"nonlinearity": "relu"} | MEAN,
        {"momentum": 0.9, "nesterov": True},
        {"velocity": True},
    ),
    "logistic": ({"nonlinearity": "sigmoid"} | MEAN, {"weight_decay": 0.1}, {"weights": True}),
    "clipped": ({}, {"max_norm": 0.3}, {}),
    "clipped-by-value": ({}, {"max_value": 1e3}, {"weights": True}),
    "Adagrad": ({}, {"adagrad": True, "weight_decay": 0.1}, {"velocity": True}),
    "cross-entropy": ({"loss": "cross_entropy"}, {}, {}),
    "classes": (
        {"loss": "cross_entropy"} | MEAN,
        {},
        {"classes": True, "class_inputs": True, "weights": True},
    ),
}
# The share of its bound that the largest error fills. A float64 is checked in float64, whose rounding counts too.
FILLED = {"float32": 0.1, "float64": 0.05}
EXACT = ("h", "da")  # of relu: nothing is rounded


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_skewed_rounding_nearly_fills_every_bound(variant, dtype):
    worst: dict[tuple[str, str], float] = {}
    for seed in range(3):
        objective, step, others = Objective(**variant[0]), Step(0.3, **variant[1]), variant[2]
        case = positive(
            Recipe(**SIZES | others, dtype=dtype, seed=seed, objective=objective, step=step)
        )
        allowed = tolerances(case, [*SHAPES])
        for direction in (lambda: 1, lambda: -1, partial(random.Random(seed).choice, (-1, 1))):
            report = skewed_report(case, direction)
            of_inputs = {
                name: tolerance.check(report[name]).ratio for name, tolerance in allowed.items()
            }
            for level, ratios in (("L1", check_local(case, report)), ("L2", of_inputs)):
                for name, ratio in ratios.items():
                    assert (ratio <= 1).all(), f"{level}: {name} is {ratio.max()} times its bound"
                    worst[level, name] = max(worst.get((level, name), 0.0), float(ratio.max()))
    # With Adagrad the errors of a gradient and of its square cancel, which the bounds of L2 do not know.
    for (level, name), ratio in worst.items():
        if (level, case.objective.nonlinearity) != ("L1", "relu") or name not in EXACT:
            least = FILLED[dtype] / (5 if case.step.adagrad and level == "L2" else 1)
            assert ratio > least, f"{level}: {name} fills {ratio} of its bound"


def off(case, report, level, name):
    """The largest ratio of a tensor if all its numbers are larger by five ulps of 1."""
    dtype = case.params.W_hh.dtype
    factor = dtype.type(1 + 5 * np.finfo(dtype).eps)
    return LEVELS[level](case, report | {name: report[name] * factor})[name].max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_operations_may_not_be_five_ulps_off(dtype):
    """relu and its derivative, a given dy, and a gradient that is clipped by value."""
    plain = Recipe(**SIZES, dtype=dtype)
    case = positive(plain._replace(objective=Objective("relu")))
    report = window_update(case)
    for name in EXACT:
        assert off(case, report, "L1", name) > 1, name
    case = case._replace(target=report["dy"][-2:], objective=Objective("relu", GIVEN_DY))
    for level in LEVELS:
        assert off(case, report, level, "dy") > 1
    case = plain._replace(step=Step(0.1, 0.9, max_value=1e-3)).case()
    for level in LEVELS:
        assert off(case, window_update(case), level, "vW_hh") > 1


@pytest.mark.parametrize("level", LEVELS)
def test_slope_of_relu_is_open_at_the_kink_only(level):
    """Not where the pre-activation is 50 times its rounding error, whether it is open or closed."""
    for sign in (1, -1):
        case = one_unit([0.1, 0.3, 1e-15], [0.3, -0.1, sign], target=1.0, nonlinearity="relu")
        report = window_update(case)
        assert LEVELS[level](case, report)["da"].max() <= 1
        assert LEVELS[level](case, report | {"da": report["dh"] - report["da"]})["da"].max() > 1
        assert sign > 0 or LEVELS[level](case, report | {"h": report["h"] + 1e-17})["h"].max() > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_flushes_nearly_fill_their_bound(dtype):
    """Sums of products that are all a little below the smallest normal number."""
    tiny = np.finfo(dtype).smallest_normal ** 0.5 / np.finfo(dtype).dtype.type(1.1)
    case = positive(Recipe(**SIZES | {"bias": False, "learned": False}, dtype=dtype))
    params, x, h_0 = each(lambda array: np.full_like(array, tiny), (case.params, case.x, case.h_0))
    case = case._replace(params=params, x=x, h_0=h_0)
    report = window_update(case)
    for level, check in LEVELS.items():
        assert 0.05 < check(case, report | {"a": 0 * report["a"]})["a"].max() <= 1, level
