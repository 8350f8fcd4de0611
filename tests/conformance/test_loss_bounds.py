"""The bounds of softmax cross-entropy against balls: right orders of evaluation stay within them, wrong ones do not."""

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios
from numpy_rnn.conformance.bounds.loss_bounds import softmax
from numpy_rnn.conformance.bounds.rounding import Rounding


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


def in_float32(y):
    return tuple(v.astype(y.dtype) for v in shifted_quotient(y.astype("float32")))


def with_epsilon(y):
    p, _ = shifted_quotient(y)
    return p, np.log(p + 1e-8)


def logits(seed, dtype, scale):
    generator = np.random.default_rng(seed)
    return (scale * generator.normal(size=(4, generator.integers(1, 12)))).clip(-1e4, 1e4).astype(dtype)


def worst(function, y, moved=None):
    """The largest |error| / bound of p and of log p, of a computation from outputs that may be moved from y."""
    moved = y if moved is None else moved
    bounds = softmax(y.astype(np.float64), np.abs(moved.astype(np.float64) - y), Rounding(y.dtype), TAU)
    with np.errstate(all="ignore"):
        p, log_p = function(moved)
    found = []
    with flint.ctx.workprec(256):
        for n, row in enumerate(y.tolist()):
            terms = [flint.arb(v - max(row)).exp() for v in row]
            S = sum(terms, flint.arb(0))
            of_p = [float(flint.arb(a) - term / S) for a, term in zip(p[n].tolist(), terms)]
            of_log_p = [
                float(flint.arb(a) - (flint.arb(v - max(row)) - S.log())) if np.isfinite(a) else np.inf
                for a, v in zip(log_p[n].tolist(), row)
            ]
            found += [ratios(np.array(of_p), bounds.E_p[n]).max(), ratios(np.array(of_log_p), bounds.E_log_p[n]).max()]
    return max(found)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(DTYPES), st.floats(-3, 4), st.floats(0, 3))
def test_right_orders_of_evaluation_stay_within_the_bounds(seed, dtype, exponent, error):
    """Of exact outputs, up to ±10⁴; and of outputs that are moved by as much as their bound E, up and down."""
    y = logits(seed, dtype, 10**exponent)
    signs = np.random.default_rng(seed).choice([-1, 1], y.shape)
    moved = (y + np.abs(y) * 4 * Rounding(dtype).u * 10**error * signs).astype(dtype)
    for function in (shifted_quotient, exponential_of_log, log_sum_exp):
        assert worst(function, y) <= 1
        assert worst(function, y, moved) <= 1


@pytest.mark.needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_stays_within_the_bounds(dtype):
    import torch

    def by_torch(y):
        return torch.softmax(torch.tensor(y), -1).numpy(), torch.log_softmax(torch.tensor(y), -1).numpy()

    for seed in range(20):
        assert worst(by_torch, logits(seed, dtype, 10.0 ** (seed % 7 - 3))) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_outputs_need_no_shift(dtype):
    assert max(worst(without_shift, logits(seed, dtype, 3.0)) for seed in range(20)) <= 1


@pytest.mark.parametrize("function", [in_float32, with_epsilon, without_shift])
def test_wrong_orders_do_not(function):
    """Without the shift, where the exponentials leave the range."""
    assert worst(function, logits(3, "float64", 2e3 if function is without_shift else 1.0)) > 1000


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_bound_is_wide(dtype):
    """Each is a few roundings of each number that is added: the outputs, the terms of the sum, log p."""
    rounding = Rounding(dtype)
    for seed in range(20):
        for scale in 10.0 ** np.arange(-3, 5):
            y = logits(seed, dtype, scale).astype(np.float64)
            p, E_p, log_p, E_log_p = softmax(y, np.zeros(y.shape), rounding, TAU)
            few = 30 * rounding.u * (1 + y.shape[-1] + largest(np.abs(y)) + np.abs(log_p))
            assert (E_log_p <= few).all(), scale
            assert (E_p <= few * p + rounding.flushes(2)).all(), scale
