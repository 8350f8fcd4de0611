"""The step: clipping, weight decay, momentum and update, against torch.optim.SGD and exact fractions.

test_window.py compares the same functions with `reference_step`, whose own witness is torch here.
"""

import importlib
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from cases import random_case, steps_of_sgd
from comparing import arrays_in, assert_within, bits, each, fewer, in_numpy
from hypothesis import assume, given
from hypothesis import strategies as st
from witness import about, allowed, reference_step, values

from numpy_rnn import Gradients, Parameters

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
UPDATES = 12


def random_step(seed, dtype="float64", bias=True, E=(), learned=True):
    """Parameters, and gradients of their shapes."""
    options = {"bias": bias, "dtype": dtype, "E": E, "learned": learned}
    params, gradients = (random_case(s, 1, 1, 2, 4, 3, **options).params for s in (seed, seed + 1))
    return params, Gradients(*gradients)


def global_norm(rnn, gradients):
    return rnn.to_numpy(importlib.import_module(f"{rnn.__name__}.clipping").global_norm(rnn.from_numpy(gradients)))


# -- against torch --------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
@fewer(8)
@given(
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(["float32", "float64"]),
    bias=st.booleans(),
    learned=st.booleans(),
    options=steps_of_sgd(),
    rate=st.floats(0.001, 0.3),
)
def test_the_witness_is_torch_optim_sgd(seed, dtype, bias, learned, options, rate):
    """Many updates, each carrying its own parameters and velocity; what is allowed is carried along too. The initial
    state has a gradient in some updates only, as in a run. Clipping is by torch.nn.utils.
    """
    import torch

    assume("adagrad" not in options)  # which torch has in another form
    params, _ = random_step(seed, dtype, bias, learned=learned)
    generator = np.random.default_rng(seed)
    theirs = each(lambda theta: torch.nn.Parameter(torch.tensor(theta)), params)
    trained = [theta for theta in theirs if theta is not None]
    of_torch = {name: value for name, value in options.items() if not name.startswith("max")}
    optimizer = torch.optim.SGD(trained, lr=rate, **of_torch)
    reference = about(params, dtype), None
    for number in range(UPDATES):
        gradients = each(lambda theta: generator.normal(size=theta.shape).astype(theta.dtype), Gradients(*params))
        if number < 3 or generator.random() < 0.7:
            gradients = gradients._replace(h_0=None)
        step = about(gradients, dtype), reference[1], np.dtype(dtype), rate
        reference = reference_step(reference[0], *step, **options)
        for theta, g in zip(theirs, gradients, strict=True):
            if theta is not None:
                theta.grad = None if g is None else torch.tensor(g)
        if "max_norm" in options:
            torch.nn.utils.clip_grad_norm_(trained, options["max_norm"])
        if "max_value" in options:
            torch.nn.utils.clip_grad_value_(trained, options["max_value"])
        optimizer.step()
        buffers = each(lambda theta: optimizer.state.get(theta, {}).get("momentum_buffer"), theirs)
        velocity = Gradients(*each(lambda v: v.numpy(), buffers)) if options.get("momentum") else None
        expected = each(in_numpy, theirs), velocity
        assert_within(values(reference, dtype), expected, allowed(reference))


@DTYPES
def test_adagrad_of_the_witness_is_that_of_min_char_rnn(dtype):
    """mem += dparam * dparam; param += -learning_rate * dparam / np.sqrt(mem + 1e-8)"""
    params, _ = random_step(3, dtype)
    reference = about(params, dtype), None
    numbers, mem = each(np.float64, params), each(np.zeros_like, Gradients(*params))
    generator = np.random.default_rng(3)
    for scale in (1, 1e-3, 1e-5, 0, 30):
        gradients = each(lambda theta, scale=scale: (scale * generator.normal(size=theta.shape)).astype(dtype), mem)
        mem = each(lambda m, g: m + np.float64(g) * np.float64(g), mem, gradients)
        numbers = each(lambda theta, g, m: theta - 0.1 * g / np.sqrt(m + 1e-8), numbers, Parameters(*gradients), mem)
        step = about(gradients, dtype), reference[1], np.dtype(dtype), 0.1
        reference = reference_step(reference[0], *step, adagrad=True)
        rounded = each(lambda v: v.astype(dtype), (numbers, mem))
        assert_within(values(reference, dtype), rounded, allowed(reference))


@pytest.mark.needs_torch
@DTYPES
def test_clipping_by_value_of_special_numbers_is_that_of_torch(rnn, dtype):
    import torch

    for limit in (0.01, 0.3, 100.0):
        special = np.array([[np.nan, np.inf, -np.inf, -0.0, 5e-324, limit, -limit, -2 * limit, 2 * limit]], dtype)
        gradients = Gradients(special, np.ones((9, 9), dtype), special.T.copy(), special[0], None)
        theirs = each(torch.nn.Parameter, each(torch.tensor, gradients))
        each(lambda theta, g: setattr(theta, "grad", torch.tensor(g)), theirs, gradients)
        torch.nn.utils.clip_grad_value_([theta for theta in theirs if theta is not None], limit)
        found = rnn.to_numpy(rnn.clip_by_value(rnn.from_numpy(gradients), limit))
        for one, theta in zip(found, theirs, strict=True):
            assert (one is None) == (theta is None)
            assert one is None or np.array_equal(one, theta.grad.numpy(), equal_nan=True)


# -- the update -----------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("kind", [float, np.float32, np.array], ids=lambda kind: kind.__name__)
def test_the_rate_is_rounded_to_the_dtype_first(rnn, kind, dtype):
    """From parameters of zero what is left is η dθ, so that a rate rounded after the product shows in the bits."""
    params, gradients = random_step(0, dtype)
    zeros = each(np.zeros_like, params)
    rate = kind(0.1)
    eta = np.dtype(dtype).type(rate)
    updated = rnn.sgd(rnn.from_numpy(zeros), rnn.from_numpy(gradients), rate)
    assert bits(updated) == bits(Parameters(*(0 - eta * g for g in gradients)))


def test_a_first_velocity_is_not_dampened(rnn):
    """That of a learned state may begin when others have theirs; it is the gradient itself, as in torch.optim.SGD."""
    theta = random_step(0)[0]
    params, gradients = rnn.from_numpy(theta), rnn.from_numpy(Gradients(*theta))
    velocity = gradients._replace(h_0=None)
    delta, after = rnn.direction(params, gradients, velocity, momentum=0.9, dampening=0.5)
    assert bits(rnn.to_numpy(after.h_0)) == bits(rnn.to_numpy(delta.h_0)) == bits(theta.h_0)
    assert np.abs(rnn.to_numpy(after.W_hh) - 1.4 * theta.W_hh).max() < 1e-14  # 0.9 v + 0.5 g, of numbers below 4


OPTIONS = [{}, {"weight_decay": 0.1}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_step_leaves_what_it_is_given_and_shares_no_memory(rnn, options):
    """And a parameter without a gradient has no direction, stays in its place and keeps its velocity; also where only
    the later of two biases is there, which a run would refuse.
    """
    params, gradients = map(rnn.from_numpy, random_step(1))
    params, gradients, velocity = params._replace(b_h=None), gradients._replace(b_h=None), None
    for _ in range(3):
        before = bits((params, gradients, velocity))
        s, after = rnn.direction(params, gradients, velocity, **options)
        updated = rnn.sgd(params, s, 0.1)
        clipped = rnn.clip_by_global_norm(gradients, 1.0), rnn.clip_by_value(gradients, 100.0)
        assert bits((params, gradients, velocity)) == before
        assert [v is None for v in s] == [g is None for g in gradients]
        assert [bits(v) != bits(theta) for v, theta in zip(updated, params)] == [g is not None for g in gradients]
        assert (after is None) == ("momentum" not in options)
        old = arrays_in((params, gradients))
        for new in arrays_in((updated._replace(W_hy=None), clipped, after and after._replace(W_hy=None))):
            assert not any(np.shares_memory(in_numpy(new), in_numpy(v)) for v in old)
        assert all(getattr(v, "is_leaf", True) and getattr(v, "requires_grad", True) for v in arrays_in(updated))
        assert not any(getattr(g, "requires_grad", False) for g in arrays_in(clipped))
        velocity, gradients = after, gradients._replace(W_hy=None)
    assert velocity is None or velocity.W_hy is not None


# -- the norm ---------------------------------------------------------------------------------------------------------


def exact_norm(gradients):
    """As a fraction's square root, to 200 bits: n of (U2) without any rounding in the dtype."""
    squares = sum(Fraction(float(v)) ** 2 for g in gradients if g is not None for v in g.ravel())
    shift = 400 - squares.numerator.bit_length() + squares.denominator.bit_length()
    shift += shift % 2
    return Fraction(isqrt(int(squares * Fraction(2) ** shift))) / Fraction(2) ** (shift // 2)


@DTYPES
def test_the_norm_of_gradients_of_any_size_is_exact_to_rounding(rnn, dtype):
    """From the smallest numbers, whose squares are zero, to the largest, whose squares are infinite. The norm is that
    of all gradients of a network together. Clipping makes the large ones as long as asked for, and leaves the others as
    they are.
    """
    info = np.finfo(dtype)
    tiny, largest, eps, least = map(float, (info.tiny, info.max, info.eps, info.smallest_subnormal))
    for size in (64 * least, tiny, 1e-3 * tiny**0.5, tiny**0.5, 1.0, largest**0.5, largest / 16):
        gradients = each(lambda g, size=size: (g / np.abs(g).max() * size).astype(dtype), random_step(7, E=(2, 2))[1])
        for g in gradients:
            g[1], g[:, 1] = g[1] / 64, g[:, 1] / 8  # each network has a norm of its own
        norms = global_norm(rnn, gradients)
        result = rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0))
        for n in np.ndindex(2, 2):
            alone = each(lambda g, n=n: g[n], gradients)
            exact = exact_norm(alone)
            relative = sum(g.size for g in alone) * Fraction(eps) / 2
            assert abs(Fraction(float(norms[n])) - exact) <= exact * relative + Fraction(least)
            factor = min(1, 1 / (exact + Fraction(1e-6)))
            for found, g in zip(result, alone, strict=True):
                for one, v in zip(found[n].ravel().tolist(), map(Fraction, g.ravel().tolist()), strict=True):
                    wanted, flushed = factor * v, abs(v) * Fraction(least)  # of the factor
                    limit = abs(wanted) * (relative + 4 * Fraction(eps)) + flushed + Fraction(least)
                    assert abs(Fraction(one) - wanted) <= limit
                    assert factor < 1 or one == v


@DTYPES
def test_a_norm_that_is_not_finite_leaves_nothing_finite(rnn, dtype):
    """Zero would be a run that silently stops learning. The other network of the ensemble does not notice."""
    for bad in (np.nan, np.inf, -np.inf, np.finfo(dtype).max):  # the last one overflows where all are so large
        _, gradients = random_step(8, dtype, E=(2,))
        gradients.W_hy[1, 0, 0] = bad
        if np.isfinite(bad):
            each(lambda g, bad=bad: g[1].fill(bad), gradients)
        with np.errstate(over="ignore"):
            norms = global_norm(rnn, gradients)
            result = rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0))
        assert np.isfinite(norms).tolist() == [True, False]
        assert [(np.isfinite(g[0]).all(), np.isfinite(g[1]).any()) for g in result] == [(True, False)] * len(result)
