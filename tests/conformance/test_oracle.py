"""The oracle encloses the definition, in small radii that hold, or says in one line why it cannot."""

import sys

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from windows import one_unit, window
from witness import expected_update

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES, Objective, Step, WindowCase
from numpy_rnn.conformance.bounds.oracle import MAX_RELATIVE_RADIUS, SUBNORMAL, compute, oracle
from numpy_rnn.conformance.case import required_outputs

# -- radii -----------------------------------------------------------------------------------------------------------


def balls_at(case, precision):
    with flint.ctx.workprec(precision):
        return compute(case)


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
            assert all(part.dtype == np.float64 and part.shape == shapes[name] for part in (high, low, radius))
            assert (radius <= 2.0**-96 * np.abs(high)).all()
            assert (np.abs(low) <= 2.0**-53 * np.abs(high)).all()
            assert all(wide.contains(narrow) for wide, narrow in zip(coarse[name].flat, balls.flat, strict=True)), name
            parts = (part.ravel().tolist() for part in (high, low, radius))
            assert all(abs(ball - h - l) <= r for ball, h, l, r in zip(balls.flat, *parts, strict=True)), name


@pytest.mark.parametrize("bits", [20, 53])
def test_radius_stays_small_after_a_cancellation(bits):
    """y − target, where so many leading bits cancel: by 53, more precision is needed than at first."""
    case = one_unit(1.0, 1.0, target=3 * float(np.tanh(1.0)) * (1 + (2.0**-bits if bits < 53 else 0)))
    high, low, radius = (part.item() for part in oracle(case)["dy"])
    assert 0 < radius <= 2.0**-96 * abs(high)
    with flint.ctx.workprec(256):
        ball = compute(case)["dy"].item()
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
        assert balls_at(case, 128) is None


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


@settings(max_examples=min(100, settings().max_examples))
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES))
def test_the_oracle_encloses_the_definition(seed, dtype):
    """Every tensor of a random case: the witness and the oracle differ by what both may be off, and by no more."""
    case = window(seed, dtype)
    expected = expected_update(case._replace(step=case.step._replace(learning_rate=float(case.step.learning_rate))))
    found = {"loss": expected.loss} | expected.activations._asdict() | expected.adjoints._asdict()
    found["h"] = found["h"][1:]
    parts = ("d", expected.gradients), ("", expected.parameters), ("v", expected.velocity or ())
    found |= {prefix + name: v for prefix, part in parts for name, v in zip(Parameters._fields, part) if v is not None}
    for name, (high, _, radius) in oracle(case).items():
        wrong = np.abs(high - found[name].value) > found[name].off + radius
        assert not wrong.any(), f"{name}{np.argwhere(wrong)[0]}"
