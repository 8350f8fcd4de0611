"""The bounds of single operations, of the SGD step and of softmax: by hand, out of range, and against balls."""

import itertools

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import WAYS, assert_rounded_up, exchanged, huge_window, one_unit, window

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES, Step
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, propagate
from numpy_rnn.conformance.bounds.local_bounds import TAU, check_local, ratios
from numpy_rnn.conformance.bounds.loss_bounds import softmax
from numpy_rnn.conformance.bounds.rounding import Rounded, Rounding, sech_squared
from numpy_rnn.conformance.bounds.step import Near, StepBounds

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# -- sums and products -----------------------------------------------------------------------------------------------


def exact(*numbers):
    """Normal numbers without an error."""
    return Rounded(np.array(numbers), np.zeros(np.shape(numbers)))


@each_dtype
def test_u_gamma_and_what_is_given(dtype):
    """u allows for two roundings in a row, to 11 bits more and then to the dtype, and for no more."""
    rounding, half_ulp, smallest = Rounding(dtype), np.finfo(dtype).eps / 2.0, np.finfo(dtype).smallest_normal
    assert half_ulp * (1 + 2.0**-11 + 2.0**-64) < rounding.u < half_ulp * (1 + 2.0**-9)
    assert rounding.gamma(3) == 3 * rounding.u / (1 - 3 * rounding.u)
    assert (rounding.gamma(np.arange(3)) == [0, rounding.gamma(1), rounding.gamma(2)]).all()
    numbers = rounding.given(np.array([-1.0, smallest, smallest / 2, 0.0], dtype))
    assert (numbers.size.tolist(), numbers.E.tolist()) == ([1, smallest, smallest / 2, 0], [0, 0, smallest / 2, 0])


def test_single_operations_by_hand():
    """In float32, whose γ is not lost in the other terms. AB: γ_2 · (3·5 + 2·7) + E_A |B| + |A| E_B + E_A E_B."""
    rounding, gamma = Rounding("float32"), Rounding("float32").gamma
    A = Rounded(np.array([[3.0, 2.0]]), np.array([[0.5, 0.25]]))
    B = Rounded(np.array([[5.0], [7.0]]), np.array([[0.125], [0.0]]))
    inherited = 0.5 * 5 + 0.25 * 7 + 3 * 0.125 + 0.5 * 0.125
    assert_rounded_up(rounding.product(A, B), [[inherited + gamma(2) * (3.5 * 5.125 + 2.25 * 7)]])
    v = Rounded(np.array([1.0, 2.0]), np.array([0.5, 0.0]))
    assert_rounded_up(rounding.sum(v.map(lambda array: array[:, None])), [0.5 + gamma(1) * 3.5])
    assert_rounded_up(rounding.again(v, 2), v.E + gamma(2) * v.max_abs)
    assert_rounded_up(rounding.each(v, v, 1), [1.25 + gamma(1) * 2.25, gamma(1) * 4])
    assert (rounding.each(v, exact(1.0, 0.0), 0) == [0.5 * (1 + 1e-10) + rounding.flushes(1), 0]).all()
    assert sech_squared(0.0) == 1
    assert 0 < sech_squared(1e300) < 1e-300


def test_terms_that_are_zero_are_not_counted():
    rounding = Rounding("float64")
    row, column = exact([2.0, 0.0, 0.0]), exact([3.0], [4.0], [0.0])
    assert_rounded_up(rounding.product(row, column), [[rounding.gamma(1) * 6]])
    assert rounding.product(exact([0.0, 2.0]), exact([3.0], [0.0]))[0, 0] == 0
    assert rounding.sum(exact([0.0], [0.0])) == rounding.again(exact(0.0), 3) == 0
    assert rounding.sum(exact([1.0], [0.0])) == 8 * np.finfo(float).smallest_normal * (1 + 1e-10)


def test_sum_too_long_for_a_bound_is_refused():
    long = np.broadcast_to(np.float32(1), (5_000_000, 1, 1))
    with pytest.raises(InputError, match="a sum of 5000000 terms in float32 has no bound"):
        propagate(one_unit(1.0, 1.0, dtype="float32")._replace(x=long), {}, TAU)
    with pytest.raises(InputError, match="a norm of 5000000 numbers in float32 has no bound"):
        step_of("float32", max_norm=1.0).clipped(Near(long[:, 0, 0], 0 * long[:, 0, 0]))


# -- the step --------------------------------------------------------------------------------------------------------


def step_of(dtype="float64", **options):
    return StepBounds(one_unit(1.0, 1.0, dtype=dtype, **options), Rounding(dtype))


def near(value, E=0.0):
    value = np.asarray(value, np.float64)
    return Near(value, np.broadcast_to(np.asarray(E, np.float64), value.shape))


def test_times_and_plus_by_hand():
    """Products with exactly 1 and −1, and sums with exactly 0, round nothing; but those with what may be so do."""
    step, gamma = step_of("float32"), Rounding("float32").gamma
    a, b = near(3.0, 0.5), near(-2.0, 0.25)
    assert step.times(a, b).value == -6
    assert_rounded_up(step.times(a, b).E, 0.5 * 2.25 + 3 * 0.25 + gamma(1) * 3.5 * 2.25)
    assert step.plus(a, b).value == 1
    assert_rounded_up(step.plus(a, b).E, 0.75 + gamma(1) * 1.75)
    b = near([3.0, 0.0], [0.25, 0.0])
    for one in (1.0, -1.0):
        assert_rounded_up(step.times(near(one), b).E, b.E)
        assert step.times(near(one), near(3.0)).E == 0
    assert_rounded_up(step.plus(near(0.0), b).E, b.E)
    assert step.plus(near(0.0), near(3.0)).E == step.plus(near(3.0), near(0.0)).E == 0
    assert (step.times(near(1.0, 1e-20), b).E[0] > 0.25 + 1e-7).all()
    assert step.plus(near(0.0, 1e-20), b).E[0] > 0.25 + 1e-7
    assert step.times(near(0.5), b).E[1] == 0


def test_scalars_are_rounded_or_not():
    """E is what a rounding does to them, no more."""
    float32, float64 = step_of("float32"), step_of("float64")
    assert float(float32.scalar(0.1).E) == abs(float(np.float32(0.1)) - 0.1)
    assert float32.scalar(0.5).E == float64.scalar(0.1).E == 0
    assert float32.scalar(1e-40).E >= 1e-40  # it may be read as zero
    assert float64.complement(0.0) == (1, 0)
    for tau in (0.1, 0.9, 1.0, -0.5):
        for number in (np.float32(1 - tau), np.float32(1) - np.float32(tau), 1 - tau):
            assert abs(float(number) - (1 - tau)) <= float32.complement(tau).E
    assert float32.complement(1.0).E == 0


def test_the_norm_by_hand():
    step, gamma = step_of("float32"), Rounding("float32").gamma
    rho = gamma(7) / (1 + np.sqrt(1 - gamma(7)))  # two numbers are not 0, and 5 roundings more
    flushed = 2 * 8 * np.finfo("float32").smallest_normal
    for E in (0.0, 0.1):
        norm = step.norm(near([3.0, 0.0, 4.0], [3 * E, 0.0, 4 * E]))
        assert norm.value == 5
        own = (rho + gamma(2) * (1 + rho)) * (5 + 5 * E)
        assert_rounded_up(norm.E, 5 * E + own + np.sqrt(flushed) + 5 * flushed)
    assert step.norm(near([0.0, 0.0])) == (0, 0)


@each_dtype
@pytest.mark.parametrize("way", ["by scaled numbers", "by numbers over the largest", "by the norms of the tensors"])
def test_norm_whose_square_overflows(dtype, way):
    """A scaled norm is right; the root of a sum that overflows, and so the factor 0, is seen."""
    for seed in range(4):
        case = huge_window(seed, dtype)
        with np.errstate(over="ignore"):
            report = exchanged(*WAYS[way]).window_update(case)
            assert sum(np.square(report["d" + name]).sum() for name in ("W_xh", "W_hh", "W_hy")) == np.inf
        assert all(np.isfinite(v).all() for v in report.values())
        for check in (check_local, check_global):
            worst = max(ratio.max() for ratio in check(case, report).values())
            assert worst > 100 if way == "by the norms of the tensors" else worst <= 1


def test_the_factor_by_hand():
    """It is exactly 1 where nothing can make it smaller."""
    step, gamma = step_of(), Rounding("float64").gamma
    for E in (0.5, 0.0):
        factor = step.factor(near(4.0, E), 1.0)
        m, E_m = 4 + 1e-6, E + gamma(1) * (4 + E + 1e-6)
        assert factor.value == 1 / m
        assert_rounded_up(factor.E, (gamma(2) + (1 + gamma(2)) * E_m / (m - E_m)) / m, times=4)
    for norm in (near(0.0), near(0.9, 0.05), near(1 - 1e-6 - 1e-9), near(1e-9, 0.5)):
        assert step.factor(norm, 1.0) == (1, 0)


def deviation(f, bound, *numbers):
    """The largest |f(ṽ) − value| of a bound, over ṽ within E of these numbers."""
    moved = itertools.product(*(v.value + v.E * np.linspace(-1, 1, 21)[:, None] for v in numbers))
    return np.max([np.abs(f(*v) - bound.value) for v in moved], axis=0)


@pytest.mark.parametrize("max_norm", [1.0, 0.1])
def test_the_factor_of_any_norm_that_may_be(max_norm):
    """On either side of max_norm; where the norm is not known at all, any factor is right."""
    norm = near([1.0, 0.9, 1e-9, 1e-9, 3.0], [0.5, 0.2, 1.0, 1e-6, 5.0])
    factor = step_of().factor(norm, max_norm)
    assert (factor.E <= 1).all()
    found = deviation(lambda n: np.minimum(1, max_norm / (np.maximum(n, 0) + 1e-6)), factor, norm)
    assert (found <= factor.E).all()


def test_clamp_and_root_of_every_number_that_may_be():
    """On either side of the limit, and where the sum of squares may be 0; and no bound is five times too wide."""
    d, limit = near([0.9, 1.0, 1.1, 3.0, -1.1], [0.2, 0.01, 0.2, 0.2, 0.2]), near(1.0, 0.02)
    clamped = step_of().clamped(d, limit)
    squares = near([1.0, 1e-7, 0.0, 1e-9, 4.0], [0.1, 1e-8, 1e-7, 1e-9, 3.0])
    divided = step_of().by_root(d, squares)
    for bound, found in (
        (clamped, deviation(lambda d, c: np.clip(d, -c, c), clamped, d, limit)),
        (divided, deviation(lambda d, v: d / np.sqrt(np.maximum(v, 0) + 1e-8), divided, d, squares)),
    ):
        assert ((found <= bound.E) & (5 * found >= bound.E)).all()


@each_dtype
def test_at_the_edge(dtype):
    """max_norm within some roundings of the norm, where one computation clips and another does not: both are right."""
    clips = 0
    for seed in range(5):
        case = window(seed, dtype, step=Step(0.1, 0.5, max_norm=1.0), velocity=False, learned=False)
        report = plain_rnn.window_update(case)
        gradients = [report["d" + name] for name in Parameters._fields[:5] if "d" + name in report]
        norm = float(np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.float64)))
        for units in (-3, -1, 0, 1, 3):
            max_norm = (norm + 1e-6) * (1 + units * float(np.finfo(dtype).eps))
            edge = case._replace(step=case.step._replace(max_norm=max_norm))
            report, bounds = plain_rnn.window_update(edge), global_bounds(edge)
            other = report | {"v" + name: report["d" + name] for name in ("W_xh", "W_hh", "W_hy")}
            for found in (check_local(edge, report), check_global(edge, report, bounds=bounds)):
                assert max(ratio.max() for ratio in found.values()) <= 1
            unclipped = check_global(edge, other, bounds=bounds)
            assert max(ratio.max() for name, ratio in unclipped.items() if name.startswith("v")) <= 1
            clips += not np.array_equal(report["vW_hh"], report["dW_hh"])
    assert 0 < clips < 25  # there are some on both sides


# -- softmax and its logarithm ---------------------------------------------------------------------------------------


def largest(y):
    return y.max(axis=-1, keepdims=True)


def total(e):
    return e.sum(axis=-1, keepdims=True)


def shifted_quotient(y):
    e = np.exp(y - largest(y))
    return e / total(e), (y - largest(y)) - np.log(total(e))


def exponential_of_log(y):
    z = y - largest(y)
    log_p = z - np.log(total(np.exp(z)))
    return np.exp(log_p), log_p


def log_sum_exp(y):
    """With the maximum added back."""
    log_p = y - (largest(y) + np.log(total(np.exp(y - largest(y)))))
    return np.exp(log_p), log_p


def without_shift(y):
    e = np.exp(y)
    return e / total(e), np.log(e / total(e))


def logits(seed, dtype, scale):
    generator = np.random.default_rng(seed)
    return (scale * generator.normal(size=(4, generator.integers(1, 12)))).clip(-1e4, 1e4).astype(dtype)


def worst_softmax_error(function, y, moved=None):
    """The largest |error| / bound of p and of log p, of a computation from outputs that may be moved from y."""
    moved = y if moved is None else moved
    bounds = softmax(y.astype(np.float64), np.abs(moved.astype(np.float64) - y), Rounding(y.dtype), TAU.relative)
    with np.errstate(all="ignore"):
        p, log_p = (v.tolist() for v in function(moved))
    errors = np.empty((2, *y.shape))
    with flint.ctx.workprec(256):
        for n, row in enumerate(y.tolist()):
            z = [flint.arb(v - max(row)) for v in row]
            log_S = sum((number.exp() for number in z), flint.arb(0)).log()
            for o, number in enumerate(z):
                errors[:, n, o] = float(p[n][o] - (number - log_S).exp()), float(log_p[n][o] - (number - log_S))
    return max(ratios(errors[0], bounds.E_p).max(), ratios(errors[1], bounds.E_log_p).max())


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.floats(-3, 4), st.floats(0, 3))
def test_right_softmax_is_within_the_bounds(seed, dtype, exponent, error):
    """Exact outputs, up to ±10⁴, and outputs that are moved by as much as their bound E, up and down."""
    y = logits(seed, dtype, 10**exponent)
    signs = np.random.default_rng(seed).choice([-1, 1], y.shape)
    moved = (y + np.abs(y) * 4 * Rounding(dtype).u * 10**error * signs).astype(dtype)
    for function in (shifted_quotient, exponential_of_log, log_sum_exp):
        assert worst_softmax_error(function, y) <= 1
        assert worst_softmax_error(function, y, moved) <= 1
    assert exponent > 0.5 or worst_softmax_error(without_shift, y) <= 1  # small outputs need no shift


@each_dtype
def test_no_bound_is_wide(dtype):
    """Each is a few roundings of each number that is added: the largest output, the terms of the sum, log p."""
    rounding = Rounding(dtype)
    for seed in range(20):
        for scale in 10.0 ** np.arange(-3, 5):
            y = logits(seed, dtype, scale).astype(np.float64)
            y -= seed % 2 * largest(y)
            p, E_p, log_p, E_log_p = softmax(y, np.zeros(y.shape), rounding, TAU.relative)
            few = 30 * rounding.u * (1 + y.shape[-1] + np.abs(largest(y)) + np.abs(log_p))
            assert (E_log_p <= few).all(), scale
            assert (E_p <= few * p + rounding.flushes(2)).all(), scale
    assert (
        softmax(np.zeros(2), np.full(2, 1e4), rounding, TAU.relative).E_p <= 1 + rounding.flushes(1)
    ).all()  # any p is right
