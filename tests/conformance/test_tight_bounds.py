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
from window_port import one_unit

import numpy_rnn
from numpy_rnn.bptt import ERRORS, SLOPES, backward, weight_gradients
from numpy_rnn.clipping import SMALL, clamp, root_of_squares
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.mutants.score import report_on
from numpy_rnn.conformance.recipes import Recipe
from numpy_rnn.conformance.truncations import truncated_adjoints
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.loss import LOSSES, loss_terms
from numpy_rnn.momentum import directed
from numpy_rnn.sgd import sgd_step

LEVELS = {"L1": check_local, "L2": check_global}
ULPS = 7  # the error of tanh, exp and log, of the 8 ulps that are allowed
U = {np.float32: 2.0**-24, np.float64: flint.fmpq(1, 2**53)}  # the unit roundoffs, as exact numbers


def operation(f):
    """A method of Skewed: f of two exact numbers, rounded."""
    return lambda self, other: self.rounded(f(self.value, self.exact(other)))


def function(f):
    """A method of Skewed: f with an error of ULPS."""

    def method(self):
        value = exact_number(f(float(self.value)), self.dtype)
        return self.rounded(value * (1 + self.direction() * 2 * ULPS * U[self.dtype]))

    return method


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

    __add__ = __radd__ = operation(lambda a, b: a + b)
    __mul__ = __rmul__ = operation(lambda a, b: a * b)
    __sub__ = operation(lambda a, b: a - b)
    __rsub__ = operation(lambda a, b: b - a)
    __truediv__ = operation(lambda a, b: a / b)
    __rtruediv__ = operation(lambda a, b: b / a)
    tanh, exp, log = map(function, (math.tanh, math.exp, math.log))

    def sqrt(self):
        return self.rounded(exact_number(math.sqrt(self.value), self.dtype))

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


def exact_number(number, dtype):
    """The number in an arithmetic that is much more exact than the dtype."""
    return float(number) if dtype is np.float32 else flint.fmpq(*float(number).as_integer_ratio())


def skewed_report(case, direction):
    """The report of a case, computed by the reference in skewed numbers."""
    case, dtype = case.in_rows(), case.dtype.type

    of = np.frompyfunc(lambda v: Skewed(exact_number(v, dtype), dtype, direction), 1, 1)
    params, velocity = each(of, case.params), case.velocity and each(of, case.velocity)
    weights = None if case.weights is None else of(case.weights[..., None])
    activations = unroll(params, of(case.x), of(case.h_0), NONLINEARITIES[case.nonlinearity])
    y = activations.y[-len(case.target) :]
    terms = loss_terms(y, of(case.target), weights, case.loss, case.reduction)
    flow = backward(params, activations, terms, SLOPES[case.nonlinearity], ERRORS[case.loss])
    if case.truncation is not None:
        slopes = SLOPES[case.nonlinearity](activations.h[1:])
        dh, da = truncated_adjoints(flow.dy @ params.W_hy.mT, params.W_hh, slopes, case.truncation)
        flow = flow._replace(dh=dh, da=da, dx=da @ params.W_xh.mT, dh_0=da[0] @ params.W_hh.mT)
    gradients = step = weight_gradients(params, activations, flow)
    if case.sgd.max_norm is not None:
        present = [d for d in gradients if d is not None]
        factor = np.minimum(1, case.sgd.max_norm / (root_of_squares(present, 0) + SMALL))
        step = each(lambda d: d * factor, gradients)
    if case.sgd.max_value is not None:
        step = clamp(gradients, float(dtype(case.sgd.max_value)))
    s, v = directed(params, step, velocity, case.sgd)
    updated = sgd_step(params, s, np.asarray(dtype(case.learning_rate)))
    report = {"loss": LOSSES[case.loss](y, *terms), "a": activations.a, "h": activations.h[1:], "y": activations.y}
    for prefix, arrays in (("", flow), ("d", gradients), ("", updated), ("v", v)):
        report |= {prefix + name: array for name, array in (arrays._asdict() if arrays else {}).items()}
    return {name: np.array(v).astype(float).astype(dtype) for name, v in report.items() if v is not None}


def positive(recipe):
    """The case with numbers of one sign, so that nothing cancels and errors add up."""
    case = recipe.case()
    params, velocity = each(np.abs, case.params), case.velocity and each(np.abs, case.velocity)
    target = -np.abs(case.target) if case.loss == "squared_error" else case.target
    return case._replace(params=params, velocity=velocity, x=np.abs(case.x), target=target, h_0=np.abs(case.h_0))


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
    "band": {"truncation": "band:2"},
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
            for level, ratios in (("L1", check_local(case, report)), ("L2", check_global(case, report, bounds=bounds))):
                for name, ratio in ratios.items():
                    assert (ratio <= 1).all(), f"{level}: {name} is {ratio.max()} times its bound"
                    worst[level, name] = max(worst.get((level, name), 0.0), float(ratio.max()))
    # With Adagrad the errors of a gradient and of its square cancel, which the bounds of L2 do not know. Those of L1 do
    # not know whether the parts of a band took the slope from h or from a.
    wide = "L2" if case.sgd.adagrad else "L1" if case.truncation else None
    for (level, name), ratio in worst.items():
        if (level, case.nonlinearity) != ("L1", "relu") or name not in EXACT:
            assert ratio > FILLED[level, dtype] / (5 if level == wide else 1), (
                f"{level}: {name} fills {ratio} of its bound"
            )


def off(case, report, level, name):
    """The largest ratio of a tensor if all its numbers are larger by five ulps of 1."""
    factor = case.dtype.type(1 + 5 * np.finfo(case.dtype).eps)
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
        case = one_unit([0.1, 0.3, 1e-15], [0.3, -0.1, sign], target=1.0, nonlinearity="relu")
        report = report_on(case, numpy_rnn)
        assert LEVELS[level](case, report)["da"].max() <= 1
        assert LEVELS[level](case, report | {"da": report["dh"] - report["da"]})["da"].max() > 1
        assert sign > 0 or LEVELS[level](case, report | {"h": report["h"] + 1e-17})["h"].max() > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_flushed_nearly_fills_its_bound(dtype):
    """Sums of products that are all a little below the smallest normal number."""
    tiny = np.finfo(dtype).smallest_normal ** 0.5 / np.finfo(dtype).dtype.type(1.1)
    case = positive(Recipe(**SIZES | {"bias": False, "learned": False}, dtype=dtype))
    params, x, h_0 = each(lambda array: np.full_like(array, tiny), (case.params, case.x, case.h_0))
    case = case._replace(params=params, x=x, h_0=h_0)
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
