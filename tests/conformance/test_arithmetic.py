"""The bounds at the edges of clipping, and those of whole windows by mpmath."""

import itertools
from functools import partial

import mpmath
import numpy as np
import pytest
from windows_for_tests import window, worst

from numpy_rnn.common.records import DTYPES, Step
from numpy_rnn.conformance.arithmetics.arithmetic import divisor
from numpy_rnn.conformance.arithmetics.bounds import TAU, Bounds, softmax
from numpy_rnn.conformance.arithmetics.floats import SMALL, Floats
from numpy_rnn.conformance.arithmetics.rounding import Near, Rounding
from numpy_rnn.conformance.case import SHAPES, parameters_from, present, with_rows
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.window_checks import check_global, check_local

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def near(value, E=0.0, dtype="float32"):
    value = np.asarray(value, np.float64)
    return Near(value, np.broadcast_to(np.asarray(E, np.float64), value.shape), Rounding(dtype))


@each_dtype
def test_u_gamma_and_given_numbers(dtype):
    """u allows for two roundings in a row, to 11 bits more and then to the dtype."""
    rounding, limits = Rounding(dtype), np.finfo(dtype)
    assert limits.eps / 2 * (1 + 2.0**-11) < rounding.u < limits.eps / 2 * (1 + 2.0**-9)
    assert np.array_equal(rounding.gamma(np.array([1e30, 1])), [np.inf, rounding.gamma(1)])
    tiny = limits.smallest_normal
    numbers = rounding.given(np.array([-1.0, tiny, tiny / 2, 0.0], dtype))
    assert numbers.E.tolist() == [0, 0, tiny / 2, 0]
    assert abs(float(np.dtype(dtype).type(0.1)) - 0.1) == rounding.scalar(0.1).E


def test_factor_clip_and_root_of_every_number_that_may_be():
    """On either side of the limit, or of 0; and no bound is five times too wide."""
    step = Bounds("float64", own=0.0)
    n = near([1.0, 0.9, 1e-9, 1.5, 3.0], [0.5, 0.2, 1e-6, 0.1, 0.3], "float64")
    d = near([0.9, 1.0, 1.1, 3.0, -1.1], [0.2, 0.01, 0.2, 0.2, 0.2], "float64")
    squares = near([1.0, 1e-7, 0.0, 1e-9, 4.0], [0.1, 1e-8, 1e-7, 1e-9, 3.0], "float64")
    functions = {
        lambda v: np.minimum(1, 1 / (np.maximum(v, 0) + 1e-6)): (step.factor(n, 1.0), n),
        lambda v: np.clip(v, -1, 1): (step.clip(d, 1.0), d),
        lambda d, v: d / np.sqrt(np.maximum(v, 0) + 1e-8): (step.by_root(d, squares), d, squares),
    }
    for f, (bound, *numbers) in functions.items():
        ends = (v.value + v.E * np.linspace(-1, 1, 21)[:, None] for v in numbers)
        moved = itertools.product(*ends)
        found = np.max([np.abs(f(*v) - bound.value) for v in moved], axis=0)
        assert ((found <= bound.E) & (5 * found >= bound.E)).all()
    assert step.factor(near([0.0, 1 - 1e-5]), 1.0).E.tolist() == [0, 0]  # surely 1
    assert step.factor(near([1e-9, 3.0], [1.0, 5.0]), 0.1).E.tolist() == [1, 1]  # any is right


@each_dtype
def test_clipping_at_its_limit_is_right_either_way(dtype):
    """max_norm within some roundings of the norm, where one computation clips and another not."""
    clips = 0
    for seed, units in itertools.product(range(3), (-3, -1, 0, 1, 3)):
        case = window(seed, dtype, step=Step(0.1, 0.5, max_norm=1.0), velocity=False)
        report = window_update(case)
        flat = np.concatenate([report["d" + n].ravel() for n in present(case.params)])
        norm = float(np.linalg.norm(flat.astype(np.float64)))
        max_norm = (norm + SMALL) * (1 + units * float(np.finfo(dtype).eps))
        edge = case._replace(step=case.step._replace(max_norm=max_norm))
        report = window_update(edge)
        other = report | {"v" + n: report["d" + n] for n in present(case.params)}
        assert worst(check_local(edge, report)) <= 1
        unclipped = check_global(edge, other)
        assert worst({n: ratio for n, ratio in unclipped.items() if n.startswith("v")}) <= 1
        clips += not np.array_equal(report["vW_hh"], report["dW_hh"])
    assert 0 < clips < 15  # there are some on both sides


def test_probability_of_outputs_that_may_be_anything():
    """The second output may be 200, though its p is 0 in float64; no p is off by more than 1."""
    rounding = Rounding("float64")
    other = softmax(np.array([0.0, -800.0]), np.array([0.0, 1000.0]), rounding, TAU.relative)
    assert ((other.E_p >= 1) & (other.E_p <= 1 + rounding.flushes(1))).all()


# -- the second witness: mpmath at 60 digits ------------------------------------------------------


class Exact(Floats):
    """Arrays of mpmath's numbers, whose options are the float64 of their names."""

    def given(self, array):
        return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(array, np.float64))

    def phi(self, a, nonlinearity):
        f = {
            "tanh": mpmath.tanh,
            "relu": partial(max, mpmath.mpf(0)),
            "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)),
        }
        return np.frompyfunc(f[nonlinearity], 1, 1)(a)

    def by_slope(self, dh, a, h, nonlinearity):
        return dh * (h > 0) if nonlinearity == "relu" else super().by_slope(dh, a, h, nonlinearity)

    def loss_and_error(self, y, target, objective):
        if objective.loss != "cross_entropy":
            return super().loss_and_error(y, target, objective)
        exp, log = np.frompyfunc(mpmath.exp, 1, 1), np.frompyfunc(mpmath.log, 1, 1)
        log_p, N = y - log(exp(y).sum(axis=-1, keepdims=True)), divisor(y.shape, objective)
        return -(target * log_p).sum(axis=(0, -2, -1)) / N, (exp(log_p) - target) / N

    def rate(self, step, theta):
        return mpmath.mpf(float(self.dtype.type(step.learning_rate)))

    def norm(self, gradients):
        return mpmath.sqrt(sum((g * g).sum() for g in gradients))

    def by_root(self, g, squares):
        return g / np.frompyfunc(mpmath.sqrt, 1, 1)(squares + mpmath.mpf(1e-8))


@each_dtype
@pytest.mark.parametrize("seed", range(25))
def test_values_of_mpmath_are_within_every_bound(seed, dtype):
    """And so are the floats of the dtype, in every tensor of a random case."""
    case = window(seed + 1000, dtype)
    given = with_rows(case)
    params = parameters_from({n: v.astype(float) for n, v in present(given.params).items()})
    with np.errstate(all="ignore"):
        bounds, floats = window_update(case, Bounds(dtype)), window_update(case)
    numbers = Exact(dtype)
    with mpmath.workdps(60):
        exact = window_update(given._replace(params=params), numbers)
        for name in SHAPES.keys() & exact.keys():
            for value in (bounds[name].value, floats[name]):
                error = np.asarray(np.abs(numbers.given(value) - exact[name]), float)
                assert not (error > bounds[name].E).any(), name
