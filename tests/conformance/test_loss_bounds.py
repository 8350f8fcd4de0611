"""The bounds of softmax cross-entropy against balls: right orders of evaluation stay within them, wrong ones do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_rnn.conformance.bounds.local_bounds import TAU, Bound, ratios
from numpy_rnn.conformance.bounds.loss_bounds import softmax
from numpy_rnn.conformance.bounds.rounding import Rounding

flint = pytest.importorskip("flint")

DTYPES = ("float32", "float64")


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


def by_torch(y):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(y)
    return torch.softmax(tensor, -1).numpy(), torch.log_softmax(tensor, -1).numpy()


def in_single(y):
    return tuple(v.astype(y.dtype) for v in shifted_quotient(y.astype("float32")))


def with_epsilon(y):
    p, _ = shifted_quotient(y)
    return p, np.log(p + 1e-8)


RIGHT = (shifted_quotient, exponential_of_log, log_sum_exp, by_torch)


def true_values(y):
    """p, and log p as balls, of each row."""
    p, log_p = [], []
    with flint.ctx.workprec(256):
        for row in y.tolist():
            terms = [flint.arb(v - max(row)).exp() for v in row]
            log_S = sum(terms, flint.arb(0)).log()
            p.append([float(term / sum(terms, flint.arb(0))) for term in terms])
            log_p.append([flint.arb(v - max(row)) - log_S for v in row])
    return np.array(p), log_p


def logits(seed, dtype, scale):
    generator = np.random.default_rng(seed)
    return (scale * generator.normal(size=(4, generator.integers(1, 12)))).clip(-1e4, 1e4).astype(dtype)


def worst(function, y, bounds):
    """|error| / bound of p and of log p."""
    with np.errstate(all="ignore"):
        p, log_p = function(y)
    exact_p, exact_log_p = true_values(y)
    with flint.ctx.workprec(256):
        off = [
            [float(flint.arb(a) - b) if np.isfinite(a) else np.inf for a, b in zip(row, exact)]
            for row, exact in zip(log_p.tolist(), exact_log_p)
        ]
    of_p = ratios(p.astype(np.float64) - exact_p, bounds.E_p)
    return float(of_p.max()), float(ratios(np.array(off), bounds.E_log_p).max())


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.floats(-3, 4), st.sampled_from(RIGHT))
def test_right_orders_of_evaluation_stay_within_the_bounds(seed, dtype, exponent, function):
    """Of exact outputs, up to ±10⁴."""
    y = logits(seed, dtype, 10**exponent)
    bounds = softmax(y.astype(np.float64), np.zeros(y.shape), Bound(dtype), TAU)
    assert max(worst(function, y, bounds)) <= 1


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.floats(-3, 4), st.floats(0, 3))
def test_errors_of_the_outputs_are_carried_through(seed, dtype, exponent, error):
    """The outputs are moved by as much as their bound E, up and down; the bounds are those around the others."""
    y = logits(seed, dtype, 10**exponent)
    generator, rounding = np.random.default_rng(seed), Rounding(dtype)
    moved = (y + np.abs(y) * 4 * rounding.u * 10**error * generator.choice([-1, 1], y.shape)).astype(dtype)
    E = np.abs(moved.astype(np.float64) - y)
    around = softmax(y.astype(np.float64), E, rounding, TAU)
    with np.errstate(all="ignore"):
        p, _ = shifted_quotient(moved)
    exact, _ = true_values(y)
    assert ratios(p.astype(np.float64) - exact, around.E_p).max() <= 1


@pytest.mark.parametrize("function", [in_single, with_epsilon, without_shift])
def test_wrong_ones_do_not(function):
    """Without the shift, where the exponentials leave the range."""
    y = logits(3, "float64", 2e3 if function is without_shift else 1.0)
    bounds = softmax(y.astype(np.float64), np.zeros(y.shape), Bound("float64"), TAU)
    assert max(worst(function, y, bounds)) > 1000


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_outputs_need_no_shift(dtype):
    for seed in range(20):
        y = logits(seed, dtype, 3.0)
        bounds = softmax(y.astype(np.float64), np.zeros(y.shape), Bound(dtype), TAU)
        assert max(worst(without_shift, y, bounds)) <= 1
