"""What the oracle promises: radii that hold and are small, whatever the case, and one clear error where it cannot."""

import ast
import inspect
import sys

import flint
import numpy as np
import pytest
from window_port import random_window

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds import oracle as oracle_module
from numpy_rnn.conformance.bounds.oracle import MAX_RELATIVE_RADIUS, SUBNORMAL, compute, oracle
from numpy_rnn.conformance.case import Case, required_outputs

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def one_unit(x=1.0, W_xh=1.0, W_hh=0.5, nonlinearity="tanh", target=0.0, h_0=0.0):
    """One step of one hidden unit, float64; x and W_xh may be vectors."""
    x, W_xh = np.atleast_1d(x), np.atleast_1d(W_xh)
    params = Parameters(W_xh[:, None], np.full((1, 1), W_hh), np.ones((1, 1)))
    return Case(params, x[None, None], np.full((1, 1, 1), target), np.full((1, 1), h_0), 0.1, nonlinearity)


def balls_at(case, precision):
    with flint.ctx.workprec(precision):
        return compute(case)


@DTYPES
@pytest.mark.parametrize("seed", range(6))
def test_more_precision_stays_inside_small_radii(seed, dtype):
    """The balls of 64 bits hold those of 400, and so do the enclosures with their radii."""
    case = random_window(seed, dtype)
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
    h = oracle(one_unit())["h"]
    assert h.high[0, 0, 0] == np.tanh(1.0)
    assert h.low.all()
    assert (h.difference(h.high) == -h.low).all()
    off = np.float32(0.7615942)
    assert h.difference(np.full((1, 1, 1), off)) == np.float64(off) - h.high - h.low


@pytest.mark.parametrize("bits", [20, 53])
def test_a_cancellation_leaves_a_small_radius_that_covers_the_ball(bits):
    """y − target, where so many leading bits cancel: by 53, more precision is needed than at first."""
    case = one_unit(target=float(np.tanh(1.0)) * (1 + (2.0**-bits if bits < 53 else 0)))
    high, low, radius = (part.item() for part in oracle(case)["dy"])
    assert 0 < radius <= 2.0**-96 * abs(high)
    precision = 128 if bits < 53 else 256
    with flint.ctx.workprec(precision):
        ball = compute(case)["dy"][0]
        assert abs(ball.mid() - high - low) + ball.rad() <= radius


def test_the_precision_at_first_does_not_matter():
    case = random_window(1)
    for name, value in oracle(case, precision=700).items():
        difference = np.abs(value.high - oracle(case)[name].high + (value.low - oracle(case)[name].low))
        assert (difference <= value.radius + oracle(case)[name].radius).all()


def test_the_precision_of_flint_is_left_as_it_was():
    before = flint.ctx.prec
    oracle(one_unit(), precision=300)
    assert flint.ctx.prec == before


@pytest.mark.parametrize("a", [40.0, 400.0, -400.0, 1e5, -1e300])
def test_a_saturated_tanh(a):
    """sech²(a) to 2⁻⁹⁶ where 1 − h² would be 0, and below the range of float64 an enclosure around 0."""
    value = oracle(one_unit(x=a, target=0.5))["da"]
    exact = 4 * np.exp(-2 * abs(a)) * (0.5 if a > 0 else -1.5)
    # exp within an ulp, three products, and the neglected 2e⁻²ᵃ below 1e-34: six roundings at most.
    assert (np.abs(value.high - exact) <= 6 * np.finfo(float).eps * abs(exact)).all()
    assert (value.radius <= MAX_RELATIVE_RADIUS * abs(exact) + 4 * SUBNORMAL).all()
    assert (value.radius > 0).all()


def test_an_inexact_zero_is_enclosed_around_zero():
    """Two units that are equal, and cancel in y: no precision makes the ball a point."""
    params = Parameters(np.full((1, 2), 0.7), np.full((2, 2), 0.3), np.array([[1.0], [-1.0]]))
    case = Case(params, np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2)), 0.1)
    y = oracle(case)["y"]
    assert (y.high == 0).all()
    assert (y.radius <= 4 * SUBNORMAL).all()


class TestKink:
    """relu' is decided exactly: 0 at 0, and by more precision where a ball holds 0 beside other numbers."""

    def test_zero(self):
        """Exactly 0 with an exact radius 0: by a zero state, or by a cancellation."""
        for x, W_xh in ((0.0, 1.0), ([0.1, 0.1], [0.3, -0.3]), ([1e60, 1e-10, -1e60, -1e-10], [1.0] * 4)):
            values = oracle(one_unit(x, W_xh, nonlinearity="relu", target=-1.0))
            assert values["dh"].high[0, 0, 0] == 1
            for name in ("a", "h", "da", "dW_xh"):
                assert all((part == 0).all() for part in values[name]), name

    @pytest.mark.parametrize("sign", [1, -1])
    def test_hidden_behind_a_cancellation(self, sign):
        """1e60 ± 1e-10 − 1e60 takes more than the first 128 bits."""
        case = one_unit([1e60, sign * 1e-10, -1e60], [1.0] * 3, nonlinearity="relu", target=-1.0)
        assert balls_at(case, 128) is None
        values = oracle(case)
        assert values["a"].high[0, 0, 0] == sign * 1e-10
        assert (values["da"].high == values["dh"].high * (sign > 0)).all()


class TestClipping:
    """One step by relu with h = a = x and y = h: of e = y − target, dW_hy = h e and dW_xh = x e; dW_hh = 0."""

    @staticmethod
    def case(target, max_norm):
        return one_unit(2.0, 1.0, 0.0, "relu", target)._replace(sgd=SgdOptions(max_norm=max_norm), learning_rate=1.0)

    def test_a_quotient_of_exactly_1(self):
        """W_hy = 0 leaves dW_hy = −target alone: the norm is 10⁻⁶ exactly, and twice that is allowed."""
        case = self.case(target=-1e-6, max_norm=2e-6)
        values = oracle(case._replace(x=np.ones((1, 1, 1)), params=case.params._replace(W_hy=np.zeros((1, 1)))))
        assert values["W_hy"].high == -1e-6
        assert values["W_hy"].radius <= MAX_RELATIVE_RADIUS * 1e-6

    def test_a_norm_that_is_inexactly_zero(self):
        """The squares of balls around 0 reach below 0, and their sum has a root all the same."""
        params = Parameters(np.full((1, 2), 0.7), np.full((2, 2), 0.3), np.array([[1.0], [-1.0]]))
        arrays = np.ones((2, 1, 1)), np.zeros((2, 1, 1)), np.zeros((1, 2))
        values = oracle(Case(params, *arrays, 0.1, sgd=SgdOptions(max_norm=1e-5)))
        assert (values["dW_hy"].high == 0).all()
        assert (values["dW_hy"].radius > 0).all()
        assert (values["W_hy"].high == params.W_hy).all()
        assert (values["W_hy"].radius <= MAX_RELATIVE_RADIUS).all()

    def test_a_ball_that_holds_1(self):
        """All that min(1, quotient) may be is in the factor's ball, and hardly more."""
        ball = flint.arb
        with flint.ctx.workprec(200):
            gradients = {"W_xh": flint.arb_mat([[ball(5, 1e-30)]])}
            factor = oracle_module.clip_factor(gradients, ball(5) + ball(1e-6))
            for norm in (ball(5) + ball(1e-30), ball(5), ball(5) - ball(1e-30)):
                assert factor.contains(((ball(5) + ball(1e-6)) / (norm + ball(1e-6))).min(ball(1)).mid())
            assert factor.rad() < 1e-30


class TestErrors:
    def test_no_flint(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "flint", None)
        with pytest.raises(InputError, match="python-flint is not installed"):
            oracle(one_unit())

    @pytest.mark.parametrize("number", [np.nan, np.inf])
    def test_not_finite(self, number):
        with pytest.raises(InputError, match="x contains NaN or infinity"):
            oracle(one_unit(x=number))

    @pytest.mark.parametrize("number", [np.nan, np.inf])
    def test_a_velocity_that_is_not_finite(self, number):
        case = one_unit()
        velocity = case.params._replace(W_hh=np.full((1, 1), number))
        with pytest.raises(InputError, match="vW_hh contains NaN or infinity"):
            oracle(case._replace(sgd=SgdOptions(momentum=0.5), velocity=velocity))

    def test_out_of_range(self):
        with pytest.raises(InputError, match="overflows float64"):
            oracle(one_unit(1e200, 1e200, nonlinearity="relu"))

    @pytest.mark.parametrize("field", ["nonlinearity", "reduction"])
    def test_unknown_option(self, field):
        with pytest.raises(InputError, match=f"unknown {field} 'other'"):
            oracle(one_unit()._replace(**{field: "other"}))


def test_it_is_code_of_its_own():
    """Nothing of the network is imported, in a function or at the top, and flint only where it is used."""
    tree = ast.parse(inspect.getsource(oracle_module))
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name for name in froms | names if "_rnn" in name} == {
        "numpy_rnn.common.errors",
        "numpy_rnn.conformance.case",
    }
    assert names == {"numpy", "flint"}
    top = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    assert top == ["numpy"]
