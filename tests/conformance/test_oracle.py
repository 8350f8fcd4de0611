"""What the oracle promises: radii that hold and are small, whatever the case, and one clear error where it cannot."""

import ast
import inspect
import sys

import flint
import numpy as np
import pytest
from window_port import one_unit, random_window

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.conformance.bounds import oracle as oracle_module
from numpy_rnn.conformance.bounds.oracle import MAX_RELATIVE_RADIUS, SUBNORMAL, clip_factor, compute, oracle
from numpy_rnn.conformance.case import Case, required_outputs


def balls_at(case, precision):
    with flint.ctx.workprec(precision):
        return compute(case)


@pytest.mark.parametrize("seed", range(6))
def test_more_precision_stays_inside_small_radii(seed):
    """The balls of 64 bits hold those of 400, and so do the enclosures with their radii."""
    case = random_window(seed, DTYPES[seed % 2])
    coarse, fine, enclosures = balls_at(case, 64), balls_at(case, 400), oracle(case)
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    assert list(fine) == list(enclosures) == list(coarse) == list(shapes)
    with flint.ctx.workprec(400):
        for name, balls in fine.items():
            value = enclosures[name]
            assert all(part.dtype == np.float64 and part.shape == shapes[name] for part in value)
            assert (value.radius <= 2.0**-96 * np.abs(value.high)).all()
            assert (np.abs(value.low) <= 2.0**-53 * np.abs(value.high)).all()
            assert all(wide.contains(narrow) for wide, narrow in zip(coarse[name], balls, strict=True)), name
            for ball, high, low, radius in zip(balls, *(part.ravel().tolist() for part in value), strict=True):
                assert abs(ball - high - low) <= radius, name


def test_the_difference_is_taken_from_both_parts():
    h = oracle(one_unit(1.0, 1.0))["h"]
    assert h.high[0, 0, 0] == np.tanh(1.0)
    assert h.low.all()
    assert (h.difference(h.high) == -h.low).all()
    off = np.float32(0.7615942)
    assert h.difference(np.full((1, 1, 1), off)) == np.float64(off) - h.high - h.low


@pytest.mark.parametrize(("bits", "precision"), [(20, 128), (53, 256)])
def test_a_cancellation_leaves_a_small_radius_that_covers_the_ball(bits, precision):
    """y − target, where so many leading bits cancel: by 53, more precision is needed than at first."""
    case = one_unit(1.0, 1.0, target=3 * float(np.tanh(1.0)) * (1 + (2.0**-bits if bits < 53 else 0)))
    before = flint.ctx.prec
    high, low, radius = (part.item() for part in oracle(case)["dy"])
    assert flint.ctx.prec == before
    assert 0 < radius <= 2.0**-96 * abs(high)
    with flint.ctx.workprec(precision):
        ball = compute(case)["dy"][0]
        assert abs(ball.mid() - high - low) + ball.rad() <= radius


@pytest.mark.parametrize("a", [40.0, 400.0, -400.0, 1e5, -1e300])
def test_a_saturated_tanh(a):
    """sech²(a) to 2⁻⁹⁶ where 1 − h² would be 0, and below the range of float64 an enclosure around 0."""
    value = oracle(one_unit(a, 1.0, target=0.5))["da"]
    exact = 4 * np.exp(-2 * abs(a)) * 3 * (3 * np.sign(a) - 0.5)
    # exp within an ulp, four products, and the neglected 2e⁻²ᵃ below 1e-34: seven roundings at most.
    assert (np.abs(value.high - exact) <= 7 * np.finfo(float).eps * abs(exact)).all()
    assert (value.radius <= MAX_RELATIVE_RADIUS * abs(exact) + 4 * SUBNORMAL).all()
    assert (value.radius > 0).all()


def test_an_inexact_zero_is_enclosed_around_zero():
    """Two units that are equal, and cancel in y: no precision makes the ball a point.

    The squares of such balls reach below 0, and their sum, the norm, has a root all the same.
    """
    params = Parameters(np.full((1, 2), 0.7), np.full((2, 2), 0.3), np.array([[1.0], [-1.0]]))
    arrays = np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2))
    values = oracle(Case(params, *arrays, 0.1, sgd=SgdOptions(max_norm=1e-5)))
    for name in ("y", "dW_hy"):
        assert (values[name].high == 0).all()
        assert (values[name].radius > 0).all()
        assert (values[name].radius <= 4 * SUBNORMAL).all()
    assert (values["W_hy"].high == params.W_hy).all()
    assert (values["W_hy"].radius <= MAX_RELATIVE_RADIUS).all()


@pytest.mark.parametrize(
    ("x", "W_xh"), [(0.0, 1.0), ([0.1, 0.1], [0.3, -0.3]), ([1e60, 1e-10, -1e60, -1e-10], [1.0] * 4)]
)
def test_the_slope_of_relu_is_0_at_0(x, W_xh):
    """Exactly 0 with an exact radius 0: by a zero state, or by a cancellation."""
    values = oracle(one_unit(x, W_xh, nonlinearity="relu", target=-1.0))
    assert values["dh"].high[0, 0, 0] == 3
    for name in ("a", "h", "da", "dW_xh"):
        assert all((part == 0).all() for part in values[name]), name


@pytest.mark.parametrize("sign", [1, -1])
def test_a_kink_of_relu_that_is_hidden_behind_a_cancellation(sign):
    """1e60 ± 1e-10 − 1e60 takes more than the first 128 bits."""
    case = one_unit([1e60, sign * 1e-10, -1e60], [1.0] * 3, nonlinearity="relu", target=-1.0)
    assert balls_at(case, 128) is None
    values = oracle(case)
    assert values["a"].high[0, 0, 0] == sign * 1e-10
    assert (values["da"].high == values["dh"].high * (sign > 0)).all()


def test_the_factor_of_clipping_where_the_ball_of_the_quotient_holds_1():
    """All that min(1, quotient) may be is in the factor's ball, and hardly more."""
    ball = flint.arb
    with flint.ctx.workprec(200):
        gradients = {"W_xh": flint.arb_mat([[ball(5, 1e-30)]])}
        factor = clip_factor(gradients, ball(5) + ball(1e-6))
        for norm in (ball(5) + ball(1e-30), ball(5), ball(5) - ball(1e-30)):
            assert factor.contains(((ball(5) + ball(1e-6)) / (norm + ball(1e-6))).min(ball(1)).mid())
        assert factor.rad() < 1e-30


ONE = one_unit(1.0, 1.0)
INFINITE = ONE.params._replace(W_hh=np.full((1, 1), np.inf))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (one_unit(np.nan, 1.0), "x contains NaN or infinity"),
        (one_unit(np.inf, 1.0), "x contains NaN or infinity"),
        (ONE._replace(sgd=SgdOptions(momentum=0.5), velocity=INFINITE), "vW_hh contains NaN or infinity"),
        (one_unit(1e200, 1e200, nonlinearity="relu"), "overflows float64"),
        (ONE._replace(nonlinearity="other"), "unknown nonlinearity 'other'"),
        (ONE._replace(reduction="other"), "unknown reduction 'other'"),
    ],
)
def test_a_case_without_true_values_is_refused(case, message):
    with pytest.raises(InputError, match=message):
        oracle(case)


def test_flint_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(InputError, match="python-flint is not installed"):
        oracle(ONE)


def test_it_is_code_of_its_own():
    """Nothing of the network is imported, in a function or at the top, and flint only where it is used."""
    tree = ast.parse(inspect.getsource(oracle_module))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"numpy_rnn.common.errors", "numpy_rnn.conformance.case"}
    assert {name for name in froms | names if "_rnn" in name} == allowed
    assert names == {"numpy", "flint"}
    top = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    assert top == ["numpy"]
