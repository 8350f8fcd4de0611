"""The bounds of single operations, the step and softmax; ball arithmetic encloses the witness and the bounds."""

import itertools
import sys

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports_for_tests import WAYS, assert_rounded_up, huge_window, one_unit, window

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES, Objective, Step, WindowCase
from numpy_rnn.conformance.arithmetics.balls import (
    MAX_RELATIVE_RADIUS,
    SUBNORMAL,
    Balls,
    Uncertain,
    oracle,
)
from numpy_rnn.conformance.arithmetics.bounds import TAU, Bounds
from numpy_rnn.conformance.arithmetics.floats import SMALL
from numpy_rnn.conformance.arithmetics.loss_bounds import softmax
from numpy_rnn.conformance.arithmetics.nonlinearities import NONLINEARITIES, sech_squared
from numpy_rnn.conformance.arithmetics.rounding import Near, Rounding
from numpy_rnn.conformance.case import required_outputs
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.window_checks import check_global, check_local

each_dtype = pytest.mark.parametrize("dtype", DTYPES)

# -- single operations -----------------------------------------------------------------------------------------------


def near(value, E=0.0, dtype="float64"):
    value = np.asarray(value, np.float64)
    return Near(value, np.broadcast_to(np.asarray(E, np.float64), value.shape), Rounding(dtype))


def bounds(dtype="float64"):
    return Bounds(dtype, own=0.0)


@each_dtype
def test_u_gamma_and_what_is_given(dtype):
    """u allows for two roundings in a row, to 11 bits more and then to the dtype, and for no more."""
    rounding, half_ulp, smallest = (
        Rounding(dtype),
        np.finfo(dtype).eps / 2.0,
        np.finfo(dtype).smallest_normal,
    )
    assert half_ulp * (1 + 2.0**-11 + 2.0**-64) < rounding.u < half_ulp * (1 + 2.0**-9)
    assert rounding.gamma(3) == 3 * rounding.u / (1 - 3 * rounding.u)
    assert Rounding(dtype, 2.0**-53).gamma(1) - rounding.gamma(1) == pytest.approx(
        2.0**-53, rel=1e-6
    )
    assert np.array_equal(Rounding(dtype).gamma(np.array([1e30, 1])), [np.inf, rounding.gamma(1)])
    numbers = rounding.given(np.array([-1.0, smallest, smallest / 2, 0.0], dtype))
    assert (numbers.value.tolist(), numbers.E.tolist()) == (
        [-1, smallest, smallest / 2, 0],
        [0, 0, smallest / 2, 0],
    )
    assert abs(float(np.dtype(dtype).type(0.1)) - 0.1) == rounding.scalar(0.1).E


def test_operations_by_hand():
    """In float32, whose γ is not lost in the other terms. Terms of 0 and factors of ±1 round nothing."""
    rounding, gamma = Rounding("float32"), Rounding("float32").gamma
    A, B = (
        near([[-3.0, 2.0, 0.0]], [[0.5, 0.25, 0.0]]),
        near([[5.0], [7.0], [9.0]], [[0.125], [0.0], [0.0]]),
    )
    product, inherited = rounding.product(A, B), 0.5 * 5 + 0.25 * 7 + 3 * 0.125 + 0.5 * 0.125
    assert product.value == -1
    assert_rounded_up(product.E, [[inherited + gamma(2) * (3.5 * 5.125 + 2.25 * 7)]])
    assert rounding.product(near([[0.0, 2.0]]), near([[3.0], [0.0]])).E == 0
    total = rounding.sum(near([[1.0], [-2.0], [0.0]], [[0.5], [0.0], [0.0]]))
    assert total.value == -1
    assert_rounded_up(total.E, [0.5 + gamma(1) * 3.5])
    a, b, zeros = near(3.0, 0.5), near(-2.0, 0.25), near([3.0, 0.0], [0.25, 0.0])
    assert_rounded_up(rounding.times(a, b).E, 0.5 * 2.25 + 3 * 0.25 + gamma(1) * 3.5 * 2.25)
    assert_rounded_up(rounding.plus(a, b).E, 0.75 + gamma(1) * 1.75)
    for found in (
        rounding.times(near(-1.0), zeros),
        rounding.times(zeros, near(1.0)),
        rounding.plus(near(0.0), zeros),
    ):
        assert_rounded_up(found.E, zeros.E)
    assert (rounding.times(near(1.0, 1e-20), zeros).E[0] > 0.25 + 1e-7).all()
    assert rounding.plus(near(0.0, 1e-20), zeros).E[0] > 0.25 + 1e-7
    assert 0 < sech_squared(1e300) < 1e-300


# -- the step --------------------------------------------------------------------------------------------------------


def test_the_norm_by_hand():
    step, gamma = bounds("float32"), Rounding("float32").gamma
    rho = gamma(7) / (1 + np.sqrt(1 - gamma(7)))  # two numbers are not 0, and 5 roundings more
    flushed = 2 * 8 * np.finfo("float32").smallest_normal
    for E in (0.0, 0.1):
        norm = step.norm(
            [near([3.0, 0.0], [3 * E, 0.0], "float32"), near([[4.0]], [[4 * E]], "float32")]
        )
        assert norm.value == 5
        own = (rho + gamma(2) * (1 + rho)) * (5 + 5 * E)
        assert_rounded_up(norm.E, 5 * E + own + np.sqrt(flushed) + 5 * flushed)


@each_dtype
@pytest.mark.parametrize(
    "way", ["by scaled numbers", "by numbers over the largest", "by the norms of the tensors"]
)
def test_norm_whose_square_overflows(dtype, way):
    """A scaled norm is right; the root of a sum that overflows, and so the factor 0, is seen."""
    for seed in range(4):
        case = huge_window(seed, dtype)
        with np.errstate(over="ignore"):
            report = WAYS[way].window_update(case)
            assert (
                sum(np.square(report["d" + name]).sum() for name in ("W_xh", "W_hh", "W_hy"))
                == np.inf
            )
        assert all(np.isfinite(v).all() for v in report.values())
        for check in (check_local, check_global):
            worst = max(ratio.max() for ratio in check(case, report).values())
            assert worst > 100 if way == "by the norms of the tensors" else worst <= 1


def test_the_rest_of_a_step_by_hand():
    """η and options that are rounded to float32, sums, and (U3) and (U9) of numbers with errors."""
    step, gamma, flush = (
        bounds("float32"),
        Rounding("float32").gamma,
        Rounding("float32").flushes(1),
    )
    off = abs(float(np.float32(0.1)) - 0.1)
    rate, theta = (
        step.rate(Step(0.1), near(np.ones((2, 3)), 0.0, "float32")),
        float(np.float32(0.1)),
    )
    assert (rate.value.ravel() == theta).all()
    assert (rate.E.ravel() == off).all()
    a = near(np.linspace(-2, 2, 9))
    exact, checked = (Bounds("float64", own=own).phi(a, "tanh").E for own in (0.0, 2.0**-53))
    np.testing.assert_allclose(
        checked - exact, 4 * 2.0**-53 * np.abs(np.tanh(a.value)), 1e-6
    )  # of NumPy's tanh
    total = step.add(near(2.0, 0.5), near(-3.0, 0.25), near(0.5, 0.125))
    assert total.value == -0.5
    assert_rounded_up(total.E, 0.875 + gamma(2) * 6.375 + 3 * flush)
    f, m, E_m = theta / (2 + SMALL), 2 + SMALL, 0.25
    E_m += gamma(1) * (m + E_m) + abs(float(np.float32(SMALL)) - SMALL) + flush
    own = gamma(2) + (1 + gamma(2)) * off / 0.1
    factor = step.factor(near(2.0, 0.25, "float32"), 0.1)
    np.testing.assert_allclose(factor.E, f * (own + (1 + own) * E_m / (m - E_m)) + flush, 1e-6)
    g, v, E_v = near(-3.0, 0.5, "float32"), near(4.0, 1.0, "float32"), 1 + gamma(1) * 5
    low, root, high = np.sqrt(4 - E_v), 2.0, np.sqrt(4 + E_v)
    own = 1.5 * (1 + gamma(1)) * max(root - low, high - root) + gamma(3) * 3.5
    np.testing.assert_allclose(step.by_root(g, v).E, (0.5 + own) / low, 1e-7)


def deviation(f, bound, *numbers):
    """The largest |f(ṽ) − value| of a bound, over ṽ within E of these numbers."""
    moved = itertools.product(*(v.value + v.E * np.linspace(-1, 1, 21)[:, None] for v in numbers))
    return np.max([np.abs(f(*v) - bound.value) for v in moved], axis=0)


def test_factor_clamp_and_root_of_every_number_that_may_be():
    """On either side of the limit, and where a sum of squares may be 0; and no bound is five times too wide."""
    step, norm = bounds(), near([1.0, 0.9, 1e-9, 1.5, 3.0], [0.5, 0.2, 1e-6, 0.1, 0.3])
    d = near([0.9, 1.0, 1.1, 3.0, -1.1], [0.2, 0.01, 0.2, 0.2, 0.2])
    squares = near([1.0, 1e-7, 0.0, 1e-9, 4.0], [0.1, 1e-8, 1e-7, 1e-9, 3.0])
    factor, clamped, divided = step.factor(norm, 1.0), step.clip(d, 1.0), step.by_root(d, squares)
    for bound, found in (
        (factor, deviation(lambda n: np.minimum(1, 1 / (np.maximum(n, 0) + 1e-6)), factor, norm)),
        (clamped, deviation(lambda d: np.clip(d, -1, 1), clamped, d)),
        (
            divided,
            deviation(lambda d, v: d / np.sqrt(np.maximum(v, 0) + 1e-8), divided, d, squares),
        ),
    ):
        assert ((found <= bound.E) & (5 * found >= bound.E)).all()
    assert step.factor(near([0.0, 1 - 1e-5]), 1.0).E.tolist() == [
        0,
        0,
    ]  # nothing can make it smaller than 1
    assert step.factor(near([1e-9, 3.0], [1.0, 5.0]), 0.1).E.tolist() == [1, 1]  # any is right


@each_dtype
def test_at_the_edge(dtype):
    """max_norm within some roundings of the norm, where one computation clips and another does not: both are right."""
    clips = 0
    for seed in range(3):
        case = window(seed, dtype, step=Step(0.1, 0.5, max_norm=1.0), velocity=False, learned=False)
        report = window_update(case)
        gradients = [report["d" + name] for name in Parameters._fields[:5] if "d" + name in report]
        norm = float(
            np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.float64))
        )
        for units in (-3, -1, 0, 1, 3):
            max_norm = (norm + 1e-6) * (1 + units * float(np.finfo(dtype).eps))
            edge = case._replace(step=case.step._replace(max_norm=max_norm))
            report = window_update(edge)
            other = report | {"v" + name: report["d" + name] for name in ("W_xh", "W_hh", "W_hy")}
            for found in (check_local(edge, report), check_global(edge, report)):
                assert max(ratio.max() for ratio in found.values()) <= 1
            unclipped = check_global(edge, other)
            assert (
                max(ratio.max() for name, ratio in unclipped.items() if name.startswith("v")) <= 1
            )
            clips += not np.array_equal(report["vW_hh"], report["dW_hh"])
    assert 0 < clips < 15  # there are some on both sides


# -- softmax --------------------------------------------------------------------------------------------------------


@each_dtype
def test_no_bound_of_softmax_is_wide(dtype):
    """Each is a few roundings of each number that is added: the largest output, the terms of the sum, log p."""
    rounding = Rounding(dtype)
    for seed, exponent in itertools.product(range(6), range(-3, 5)):
        y = (10.0**exponent * np.random.default_rng(seed).normal(size=(4, 1 + 2 * seed))).clip(
            -1e4, 1e4
        )
        y -= seed % 2 * y.max(axis=-1, keepdims=True)
        p, E_p, log_p, E_log_p = softmax(y, np.zeros(y.shape), rounding, TAU.relative)
        few = (
            30
            * rounding.u
            * (1 + y.shape[-1] + np.abs(y.max(axis=-1, keepdims=True)) + np.abs(log_p))
        )
        assert (E_log_p <= few).all(), exponent
        assert (E_p <= few * p + rounding.flushes(2)).all(), exponent
    any_p = softmax(np.zeros(2), np.full(2, 1e4), rounding, TAU.relative)
    assert (any_p.E_p <= 1 + rounding.flushes(1)).all()
    other = softmax(np.array([0.0, -800.0]), np.array([0.0, 1000.0]), rounding, TAU.relative)
    assert other.E_p[0] >= 1  # where the second output may be 200, though its p is 0 in float64
    assert other.E_log_p[0] >= 200


@pytest.mark.parametrize(
    ("reduction", "weighted"), [("sum", False), ("mean", False), ("sum", True), ("mean", True)]
)
def test_losses_by_hand(reduction, weighted):
    """The formulas of loss_bounds.py, row by row, in float32, of outputs, targets and weights with errors."""
    K, B, O, generator = 2, 3, 2, np.random.default_rng(7)
    y, z = generator.normal(size=(K, B, O)), generator.dirichlet((1, 1), size=(K, B))
    E_y, E_z, w, E_w = (
        0.01 * generator.random(size=size) for size in ((K, B, O), (K, B, O), (K, B, 1), (K, B, 1))
    )
    w, E_w = (50 * w, E_w) if weighted else (np.ones(()), np.zeros(()))
    of, gamma = bounds("float32"), Rounding("float32").gamma
    kinds = [Objective("tanh", kind, reduction) for kind in ("squared_error", "cross_entropy")]
    operands = near(y, E_y, "float32"), near(z, E_z, "float32"), near(w, E_w, "float32")
    N = 1 if reduction == "sum" else w.sum() if weighted else K * B
    divided, tau = (0 if reduction == "sum" else 2 + K * B * weighted), TAU.relative
    W, E_W = w + np.zeros((K, B, 1)), E_w + np.zeros((K, B, 1))
    found = [of.loss_and_error(*operands, kind) for kind in kinds]

    error, E = np.abs(y - z), E_y + E_z
    M = N if reduction == "sum" else N * O
    E_loss = ((W + E_W) * (2 * error + E) * E + E_W * error**2).sum() / 2 / M
    loss = (W * error**2).sum() / 2 / M
    products, terms = (4 if weighted else 0), K * B * O
    expected = [(loss, gamma(terms + 2 + divided + products) * (loss + E_loss) + E_loss)]
    E_dy = ((W + E_W) * E + E_W * error) / M
    expected.append(
        (W * (y - z) / M, gamma(1 + divided + products) * (W * error / M + E_dy) + E_dy)
    )

    p, log_p, d, D = np.zeros((4, K, B, O))
    for row in np.ndindex(K, B):
        m, E_max = y[row].max(), E_y[row].max()
        shifted, S = y[row] - m, np.exp(y[row] - m).sum()
        p[row], log_p[row] = np.exp(shifted) / S, shifted - np.log(S)
        e = E_y[row] + gamma(1) * (np.abs(shifted) + E_y[row] + E_max) + gamma(tau)
        s = np.log((p[row] * np.exp(e)).sum()) + gamma(O)
        l = s + gamma(tau) * (np.log(S) + s)
        d[row] = e + l + gamma(1) * (abs(m) + E_max + np.log(S) + l)
        d[row] += gamma(1) * (np.abs(log_p[row]) + e + l) + gamma(tau) + gamma(2)
        D[row] = d[row] + gamma(tau) * (np.abs(log_p[row]) + d[row])
    rows = (z * -log_p).sum(-1, keepdims=True)
    E_rows = (z * D + E_z * (np.abs(log_p) + D)).sum(-1, keepdims=True)
    E_rows = (W + E_W) * (E_rows + gamma(O + 2) * (rows + E_rows)) + E_W * rows
    loss, E_loss = (W * rows).sum() / N, E_rows.sum() / N
    expected.append((loss, E_loss + gamma(K * B + 2 + divided) * (loss + E_loss)))
    E_p, sums, E_sums = p * np.expm1(d), z.sum(-1, keepdims=True), E_z.sum(-1, keepdims=True)
    size = (sums + E_sums) * (p + E_p) + z + E_z
    E_dy = (W + E_W) * (
        sums * E_p + E_sums * (p + E_p) + E_z + gamma(O + 4 + divided) * size
    ) + E_W * size
    expected.append((W * (p * sums - z) / N, E_dy / N))
    for result, (value, E) in zip(itertools.chain(*found), expected, strict=True):
        np.testing.assert_allclose(result.value, value, 1e-12, 1e-15)
        np.testing.assert_allclose(result.E, E, 2e-10)
        assert (result.E >= E * (1 - 1e-12)).all()


# -- the oracle, and its radii ----------------------------------------------------------------------------------------


def balls_at(case, precision):
    with flint.ctx.workprec(precision):
        report = window_update(case, Balls(case.params.W_hh.dtype))
    return {name: np.array(report[name], object) for name in required_outputs(case, True, True)}


@pytest.mark.parametrize("seed", range(6))
def test_more_precision_stays_inside_small_radii(seed):
    """The balls of 64 bits hold those of 400, and so do the enclosures with their radii."""
    case = window(seed, DTYPES[seed % 2])
    coarse, fine, enclosures = balls_at(case, 64), balls_at(case, 400), oracle(case)
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    assert list(fine) == list(enclosures) == list(coarse) == list(shapes)
    with flint.ctx.workprec(400):
        for name, balls in fine.items():
            high, low, radius = enclosures[name]
            assert all(
                part.dtype == np.float64 and part.shape == shapes[name]
                for part in (high, low, radius)
            )
            assert (radius <= 2.0**-96 * np.abs(high)).all()
            assert (np.abs(low) <= 2.0**-53 * np.abs(high)).all()
            assert all(
                wide.contains(narrow)
                for wide, narrow in zip(coarse[name].flat, balls.flat, strict=True)
            ), name
            parts = (part.ravel().tolist() for part in (high, low, radius))
            assert all(
                abs(ball - h - l) <= r for ball, h, l, r in zip(balls.flat, *parts, strict=True)
            ), name


@pytest.mark.parametrize("bits", [20, 53])
def test_radius_stays_small_after_a_cancellation(bits):
    """y − target, where so many leading bits cancel: by 53, more precision is needed than at first."""
    case = one_unit(
        1.0, 1.0, target=3 * float(np.tanh(1.0)) * (1 + (2.0**-bits if bits < 53 else 0))
    )
    high, low, radius = (part.item() for part in oracle(case)["dy"])
    assert 0 < radius <= 2.0**-96 * abs(high)
    ball = balls_at(case, 256)["dy"].item()
    with flint.ctx.workprec(256):
        assert abs(ball.mid() - high - low) + ball.rad() <= radius


@pytest.mark.parametrize("a", [40.0, 400.0, -400.0, 1e5, -1e300])
def test_a_saturated_tanh(a):
    """sech²(a) to 2⁻⁹⁶ where 1 − h² would be 0, and below the range of float64 an enclosure around 0."""
    high, _, radius = (part.item() for part in oracle(one_unit(a, 1.0, target=0.5))["da"])
    exact = 4 * np.exp(-2 * abs(a)) * 3 * (3 * np.sign(a) - 0.5)
    # exp within an ulp, four products, and the neglected 2e⁻²ᵃ below 1e-34: seven roundings at most.
    assert abs(high - exact) <= 7 * np.finfo(float).eps * abs(exact)
    assert 0 < radius <= MAX_RELATIVE_RADIUS * abs(exact) + 4 * SUBNORMAL


def test_an_inexact_zero_is_enclosed_around_zero():
    """Two units that are equal, and cancel in y: no precision makes the ball a point.

    The squares of such balls reach below 0, and their sum, the norm, has a root all the same.
    """
    params = Parameters(np.full((1, 2), 0.7), np.full((2, 2), 0.3), np.array([[1.0], [-1.0]]))
    arrays = np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2))
    values = oracle(WindowCase(params, *arrays, None, Objective(), Step(0.1, max_norm=1e-5)))
    for name in ("y", "dW_hy"):
        assert (values[name].high == 0).all()
        assert ((values[name].radius > 0) & (values[name].radius <= 4 * SUBNORMAL)).all()
    assert (values["W_hy"].high == params.W_hy).all()
    assert (values["W_hy"].radius <= MAX_RELATIVE_RADIUS).all()


@pytest.mark.parametrize(
    ("x", "W_xh", "a"),
    [
        (0.0, 1.0, 0.0),
        ([0.1, 0.1], [0.3, -0.3], 0.0),
        ([1e60, 1e-10, -1e60, -1e-10], [1.0] * 4, 0.0),
        ([1e60, 1e-10, -1e60], [1.0] * 3, 1e-10),
        ([1e60, -1e-10, -1e60], [1.0] * 3, -1e-10),
    ],
)
def test_the_kink_of_relu(x, W_xh, a):
    """At exactly 0, by a zero state or by a cancellation, the slope is exactly 0. Behind a cancellation that takes more
    than the first 128 bits, it is that of its side.
    """
    case = one_unit(x, W_xh, nonlinearity="relu", target=-1.0)
    values = oracle(case)
    assert values["a"].high == a
    assert values["da"].high == values["dh"].high * (a > 0)
    if a == 0:
        assert values["dh"].high == 3
        assert all((part == 0).all() for name in ("a", "h", "da", "dW_xh") for part in values[name])
    else:
        with pytest.raises(Uncertain):
            balls_at(case, 128)


# -- what it cannot do, and does not use -----------------------------------------------------------------------------

ONE = one_unit(1.0, 1.0)
INFINITE = ONE.params._replace(W_hh=np.full((1, 1), np.inf))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (one_unit(np.nan, 1.0), "x contains NaN or infinity"),
        (one_unit(np.inf, 1.0), "x contains NaN or infinity"),
        (ONE._replace(step=Step(0.25, 0.5), velocity=INFINITE), "vW_hh contains NaN or infinity"),
        (one_unit(1e200, 1e200, nonlinearity="relu"), "overflows float64"),
    ],
)
def test_a_case_without_true_values_is_refused(case, message):
    with pytest.raises(InputError, match=message):
        oracle(case)


def test_flint_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(InputError, match="python-flint is not installed"):
        oracle(ONE)


# -- the definition --------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
def test_balls_are_within_every_bound(seed, dtype):
    """Of a random case: the values of ball arithmetic are within the bounds of every tensor, and so are the floats."""
    case = window(seed, dtype)
    with np.errstate(all="ignore"):
        near, floats = window_update(case, Bounds(dtype)), window_update(case)
    for name, enclosure in oracle(case).items():
        allowed = near[name].E + enclosure.radius
        for value in (near[name].value, floats[name]):
            assert not (np.abs(enclosure.difference(value)) > allowed).any(), name


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_no_slope_within_an_error_is_steeper(name):
    """Nor is it much steeper than the steepest of many points there, of which one is 0 where that is within."""
    errors = NONLINEARITIES[name].errors
    a, E = np.meshgrid(np.linspace(-3, 3, 25), np.linspace(0, 2, 9))
    near = a + E * np.linspace(-1, 1, 49)[:, None, None]
    steepest = errors.slope_of_a(near).max(axis=0)
    assert (steepest <= errors.steepest(a, E) * (1 + 1e-15)).all()
    assert (errors.steepest(a, E) <= 1.01 * steepest).all()
