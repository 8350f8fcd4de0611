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

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.bptt import ERRORS, SLOPES, backward, weight_gradients
from numpy_rnn.clipping import SMALL, clamp, root_of_squares
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.score import report_on
from numpy_rnn.conformance.recipes import Recipe
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.loss import LOSSES, loss_terms
from numpy_rnn.momentum import directed
from numpy_rnn.sgd import sgd_step

LEVELS = {"L1": check_local, "L2": check_global}
ULPS = 7  # the error of tanh, exp and log, of the 8 ulps that are allowed
U = {np.float32: 2.0**-24, np.float64: flint.fmpq(1, 2**53)}  # the unit roundoffs, as exact numbers


@total_ordering
class Skewed:
    """A number of a dtype whose operations round in one direction where one unit roundoff allows it."""

    def __init__(self, value, dtype, direction):
        self.value, self.dtype, self.direction = value, dtype, direction

    def rounded(self, exact):
        """The number in the direction of rounding if it is within u |exact|, otherwise the nearest one."""
        nearest, toward = self.dtype(float(exact)), self.direction()
        if (exact_number(nearest, self.dtype) - exact) * toward < 0:
            other = np.nextafter(nearest, self.dtype(toward * np.inf))
            if abs(exact_number(other, self.dtype) - exact) <= U[self.dtype] * abs(exact):
                nearest = other
        return Skewed(exact_number(nearest, self.dtype), self.dtype, self.direction)

    def exact(self, other):
        """The number that another one is."""
        return other.value if isinstance(other, Skewed) else exact_number(other, self.dtype)

    def operation(self, other, f):
        return self.rounded(f(self.value, self.exact(other)))

    def function(self, f):
        """A function with an error of ULPS."""
        return self.rounded(
            exact_number(f(float(self.value)), self.dtype) * (1 + self.direction() * 2 * ULPS * U[self.dtype])
        )

    def __add__(self, other):
        return self.operation(other, lambda a, b: a + b)

    def __sub__(self, other):
        return self.operation(other, lambda a, b: a - b)

    def __rsub__(self, other):
        return self.operation(other, lambda a, b: b - a)

    def __mul__(self, other):
        return self.operation(other, lambda a, b: a * b)

    def __truediv__(self, other):
        return self.operation(other, lambda a, b: a / b)

    def __rtruediv__(self, other):
        return self.operation(other, lambda a, b: b / a)

    def __neg__(self):
        return Skewed(-self.value, self.dtype, self.direction)

    def __eq__(self, other):
        return self.value == self.exact(other)

    def __lt__(self, other):
        return self.value < self.exact(other)

    def __bool__(self):
        return self.value != 0

    def __float__(self):
        return float(self.value)

    def sqrt(self):
        return self.rounded(exact_number(math.sqrt(self.value), self.dtype))

    __radd__, __rmul__ = __add__, __mul__
    tanh, exp, log = (lambda self, f=f: self.function(f) for f in (math.tanh, math.exp, math.log))


def exact_number(number, dtype):
    """The number in an arithmetic that is much more exact than the dtype."""
    return float(number) if dtype is np.float32 else flint.fmpq(*float(number).as_integer_ratio())


def skewed_report(case, direction):
    """The report of a case, computed by the reference in skewed numbers."""
    case, dtype = case.in_rows(), case.dtype.type

    def of(array):
        number = np.frompyfunc(lambda v: Skewed(exact_number(v, dtype), dtype, direction), 1, 1)
        return None if array is None else number(array)

    params, velocity = (group and Parameters(*map(of, group)) for group in (case.params, case.velocity))
    weights = None if case.weights is None else of(case.weights[..., None])
    activations = unroll(params, of(case.x), of(case.h_0), NONLINEARITIES[case.nonlinearity])
    y = activations.y[-len(case.target) :]
    terms = loss_terms(y, of(case.target), weights, case.loss, case.reduction)
    flow = backward(params, activations, terms, SLOPES[case.nonlinearity], ERRORS[case.loss])
    gradients = step = weight_gradients(params, activations, flow)
    if case.sgd.max_norm is not None:
        present = [d for d in gradients if d is not None]
        factor = np.minimum(1, case.sgd.max_norm / (root_of_squares(present, 0) + SMALL))
        step = type(gradients)(*(d if d is None else d * factor for d in gradients))
    if case.sgd.max_value is not None:
        step = clamp(gradients, float(dtype(case.sgd.max_value)))
    s, v = directed(params, step, velocity, case.sgd)
    updated = sgd_step(params, s, np.asarray(dtype(case.learning_rate)))
    report = {"loss": LOSSES[case.loss](y, *terms), "h": activations.h[1:], **named("", flow)}
    report |= {name: getattr(activations, name) for name in "ay"}
    report |= named("d", gradients) | named("", updated) | ({} if v is None else named("v", v))
    return {name: np.array(array).astype(float).astype(dtype) for name, array in report.items()}


def named(prefix, arrays):
    return {prefix + name: array for name, array in arrays._asdict().items() if array is not None}


def positive(recipe):
    """The case with numbers of one sign, so that nothing cancels and errors add up."""
    case = recipe.case()
    params, velocity = (
        group and Parameters(*(None if v is None else np.abs(v) for v in group))
        for group in (case.params, case.velocity)
    )
    x = case.x if case.x.dtype.kind == "i" else np.abs(case.x)
    target = -np.abs(case.target) if case.loss == "squared_error" else case.target
    return case._replace(params=params, velocity=velocity, x=x, target=target, h_0=np.abs(case.h_0))


SIZES = {"T": 3, "B": 2, "D": 3, "H": 4, "O": 3, "K": 2, "gain": 0.5, "bias": True, "learned": True}
VARIANTS = {
    "tanh": {"momentum": 0.9, "dampening": 0.3, "velocity": True},
    "saturated": {"gain": 3.0},
    "relu": {"nonlinearity": "relu", "reduction": "mean", "momentum": 0.9, "nesterov": True, "velocity": True},
    "logistic": {"nonlinearity": "sigmoid", "weights": True, "reduction": "mean", "weight_decay": 0.1},
    "clipped": {"max_norm": 0.3},
    "clipped-by-value": {"max_value": 1e3, "weights": True},
    "Adagrad": {"adagrad": True, "velocity": True, "weight_decay": 0.1},
    "cross-entropy": {"loss": "cross_entropy"},
    "classes": {"loss": "cross_entropy", "classes": True, "class_inputs": True, "weights": True, "reduction": "mean"},
}


# The share of its bound that the largest error fills. At L1 a float64 is checked in float64, whose rounding counts too.
FILLED = {("L1", "float32"): 0.1, ("L2", "float32"): 0.1, ("L1", "float64"): 0.05, ("L2", "float64"): 0.1}
EXACT = ("h", "da")  # of relu: nothing is rounded


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_skewed_rounding_stays_within_every_bound_and_nearly_fills_it(variant, dtype):
    worst: dict[tuple[str, str], float] = {}
    for seed in range(4):
        case = positive(Recipe(**SIZES | variant, dtype=dtype, seed=seed, learning_rate=0.3))
        bounds = global_bounds(case)
        for direction in (lambda: 1, lambda: -1, partial(random.Random(seed).choice, (-1, 1))):
            report = skewed_report(case, direction)
            for level, ratios in (
                ("L1", check_local(case, report)),
                ("L2", check_global(case, report, bounds=bounds)),
            ):
                for name, ratio in ratios.items():
                    assert (ratio <= 1).all(), f"{level}: {name} is {ratio.max()} times its bound"
                    worst[level, name] = max(worst.get((level, name), 0.0), float(ratio.max()))
    # With Adagrad the errors of a gradient and of its square cancel, which the bounds of L2 do not know.
    share = 5 if case.sgd.adagrad else 1
    for (level, name), ratio in worst.items():
        if (level, case.nonlinearity) != ("L1", "relu") or name not in EXACT:
            assert ratio > FILLED[level, dtype] / (share if level == "L2" else 1), (
                f"{level}: {name} fills {ratio} of its bound"
            )


def off(case, report, level, name, ulps=5):
    """The largest ratio of a tensor if all its numbers are larger by so many ulps of 1."""
    factor = case.dtype.type(1 + ulps * np.finfo(case.dtype).eps)
    return LEVELS[level](case, report | {name: report[name] * factor})[name].max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_rounds_nothing_may_not_be_five_ulps_off(dtype):
    """relu and its derivative, a given dy, and a gradient that is clipped by value."""
    plain = {**SIZES, "dtype": dtype}
    case = positive(Recipe(**plain, nonlinearity="relu"))
    report = report_on(case, numpy_rnn)
    for name in EXACT:
        assert off(case, report, "L1", name) > 1, name
    case = case._replace(target=report["dy"][-2:], given_dy=True)
    for level in LEVELS:
        assert off(case, report, level, "dy") > 1
    case = Recipe(**plain, momentum=0.9, max_value=1e-3).case()
    for level in LEVELS:
        assert off(case, report_on(case, numpy_rnn), level, "vW_hh") > 1


@pytest.mark.parametrize("level", LEVELS)
def test_the_slope_of_relu_is_open_at_the_kink_only(level):
    """Not where the pre-activation is 50 times its rounding error, whether it is open or closed."""
    for sign in (1, -1):
        x, W_xh = np.array([[[0.1, 0.3, 1e-15]]]), np.array([[0.3], [-0.1], [sign]])
        case = Case(
            Parameters(W_xh, np.ones((1, 1)), np.ones((1, 1))), x, np.ones((1, 1, 1)), np.zeros((1, 1)), 0.1, "relu"
        )
        report = report_on(case, numpy_rnn)
        assert LEVELS[level](case, report)["da"].max() <= 1
        assert LEVELS[level](case, report | {"da": report["dh"] - report["da"]})["da"].max() > 1
        assert sign > 0 or LEVELS[level](case, report | {"h": report["h"] + 1e-17})["h"].max() > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_flushed_nearly_fills_its_bound(dtype):
    """Sums of products that are all a little below the smallest normal number."""
    tiny = np.finfo(dtype).smallest_normal ** 0.5 / np.finfo(dtype).dtype.type(1.1)
    case = positive(Recipe(**SIZES | {"bias": False, "learned": False}, dtype=dtype))
    params = Parameters(*(None if theta is None else np.full_like(theta, tiny) for theta in case.params))
    case = case._replace(params=params, x=np.full_like(case.x, tiny), h_0=np.full_like(case.h_0, tiny))
    report = report_on(case, numpy_rnn)
    for level, check in LEVELS.items():
        assert 0.05 < check(case, report | {"a": 0 * report["a"]})["a"].max() <= 1, level


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_inputs_may_be_read_as_zero(dtype):
    """Also where large weights make normal numbers of them."""
    alone = SIZES | {"bias": False, "learned": False, "no_h_0": True}
    case = Recipe(**alone, dtype=dtype, nonlinearity="relu").case()
    params = case.params._replace(W_xh=np.abs(case.params.W_xh) * case.dtype.type(1e6))
    case = case._replace(params=params, x=np.full_like(case.x, np.finfo(dtype).smallest_normal / 2))
    for level, check in LEVELS.items():
        for name, ratio in check(case, report_on(case._replace(x=0 * case.x), numpy_rnn)).items():
            assert (ratio <= 1).all(), f"{level}: {name} is {ratio.max()} times its bound"
