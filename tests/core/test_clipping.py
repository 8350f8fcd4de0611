"""Clipping by global norm, against torch.nn.utils.clip_grad_norm_ and gradients whose norm is known."""

import importlib
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from cases import about, allowed, assert_within, bits, each, random_case, reference_clipped, values
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import Gradients

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def random_gradients(seed, dtype="float64", bias=True, learned=True, E=()) -> Gradients:
    return Gradients(*random_case(seed, 1, 2, 2, 4, 3, dtype=dtype, bias=bias, learned=learned, E=E).params)


def norm_of(gradients):
    return np.sqrt(sum(np.square(g, dtype="float64").sum() for g in gradients if g is not None))


def clipped(rnn, gradients, max_norm) -> Gradients:
    return rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), max_norm))


def clip_grad_norm(gradients, max_norm) -> Gradients:
    """By torch.nn.utils, of one network."""
    import torch

    theirs = each(lambda g: torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.tensor(g).dtype)), gradients)
    each(lambda theta, g: setattr(theta, "grad", torch.tensor(g)), theirs, gradients)
    torch.nn.utils.clip_grad_norm_([theta for theta in theirs if theta is not None], max_norm)
    return each(lambda theta: theta.grad.numpy(), theirs)


GRADIENTS = {
    "seed": st.integers(0, 2**31),
    "dtype": st.sampled_from(["float32", "float64"]),
    "bias": st.booleans(),
    "learned": st.booleans(),
    "share": st.sampled_from([1e-3, 0.999999, 1.0, 1.000001]) | st.floats(0.1, 10),
}


# -- against torch --------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
@given(E=st.sampled_from([(), (3,), (2, 2)]), **GRADIENTS)
def test_each_network_is_clipped_as_clip_grad_norm_clips_it_alone(rnn, seed, dtype, bias, learned, E, share):
    """To a share of the norm of the first network, below it and above it; the others have norms of their own."""
    together = random_gradients(seed, dtype, bias, learned, E)
    networks = [each(lambda g, n=n: g[n], together) for n in np.ndindex(E)]
    max_norm = share * norm_of(networks[0])
    result = clipped(rnn, together, max_norm)
    for n, alone in zip(np.ndindex(E), networks, strict=True):
        limit = allowed(reference_clipped(about(alone, dtype), max_norm))
        assert_within(each(lambda g, n=n: g[n], result), clip_grad_norm(alone, max_norm), limit)


@pytest.mark.needs_torch
@given(**GRADIENTS)
def test_the_reference_is_clip_grad_norm(seed, dtype, bias, learned, share):
    gradients = random_gradients(seed, dtype, bias, learned)
    max_norm = share * norm_of(gradients)
    reference = reference_clipped(about(gradients, dtype), max_norm)
    assert_within(clip_grad_norm(gradients, max_norm), values(reference, dtype), allowed(reference))


# -- by hand --------------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize(("max_norm", "factor"), [(1.0, 1 / (13 + 1e-6)), (6.5, 6.5 / (13 + 1e-6)), (13.1, 1)])
def test_the_norm_is_that_of_all_gradients_together(rnn, max_norm, factor, dtype):
    """3² + 4² + 12² = 13², from three arrays of one network; of the second, 0, nothing is cut off."""
    W_xh, W_hh, W_hy = (np.array([[[v]], [[0.0]]], dtype) for v in (3.0, 4.0, 12.0))
    unit = 4 * np.finfo(dtype).eps  # a sum that is exact, 10⁻⁶ added, a quotient and a product
    for found, v in zip(clipped(rnn, Gradients(W_xh, W_hh, W_hy), max_norm)[:3], (3, 4, 12), strict=True):
        expected = np.array([[[v * factor]], [[0]]], dtype)
        assert_within(found, expected, np.abs(expected) * unit)


@DTYPES
def test_what_is_short_enough_stays_bit_for_bit(rnn, dtype):
    """And the one network of an ensemble that is too long is cut, which no other one notices."""
    gradients = random_gradients(1, dtype, E=(3,))
    long = each(lambda g: np.stack([g[0], 1000 * g[1], g[2]]), gradients)
    result = clipped(rnn, long, 2 * max(norm_of(each(lambda g, n=n: g[n], gradients)) for n in range(3)))
    for n in (0, 2):
        assert bits(each(lambda g, n=n: g[n], result)) == bits(each(lambda g, n=n: g[n], gradients))
    assert all((np.abs(g[1]) < np.abs(before[1])).all() for g, before in zip(result, long, strict=True))


def exact_norm(gradients):
    """As a fraction's square root, to 200 bits: n of (U2) without any rounding in the dtype."""
    squares = sum(Fraction(float(v)) ** 2 for g in gradients if g is not None for v in g.ravel())
    shift = 400 - squares.numerator.bit_length() + squares.denominator.bit_length()
    shift += shift % 2
    return Fraction(isqrt(int(squares * Fraction(2) ** shift))) / Fraction(2) ** (shift // 2)


@DTYPES
@pytest.mark.parametrize("place", ["smallest", "tiny", "root of tiny", "one", "root of max", "max"])
def test_the_norm_of_gradients_of_any_size_is_exact_to_rounding(rnn, dtype, place):
    """From the smallest numbers, whose squares are zero, to the largest, whose squares are infinite; and clipping makes
    the large ones as long as asked for.
    """
    info = np.finfo(dtype)
    size = {
        "smallest": 64 * float(info.smallest_subnormal),
        "tiny": float(info.tiny),
        "root of tiny": float(info.tiny) ** 0.5,
        "one": 1.0,
        "root of max": float(info.max) ** 0.5,
        "max": float(info.max) / 16,
    }[place]
    gradients = each(lambda g: (g / np.abs(g).max() * size).astype(dtype), random_gradients(7, "float64", E=(2,)))
    norms = rnn.to_numpy(clipping(rnn).global_norm(rnn.from_numpy(gradients)))
    result = clipped(rnn, gradients, 1.0)
    for n in range(2):
        alone = each(lambda g, n=n: g[n], gradients)
        exact = exact_norm(alone)
        numbers = sum(g.size for g in alone if g is not None)
        relative = numbers * Fraction(float(info.eps)) / 2
        assert abs(Fraction(float(norms[n])) - exact) <= exact * relative + Fraction(float(info.smallest_subnormal))
        factor = min(1, 1 / (exact + Fraction(1e-6)))
        for found, g in zip(result, alone, strict=True):
            for one, v in () if g is None else zip(found[n].ravel(), g.ravel(), strict=True):
                wanted = factor * Fraction(float(v))
                rounding = abs(wanted) * (relative + 4 * Fraction(float(info.eps)))
                flushed = abs(Fraction(float(v))) * Fraction(float(info.smallest_subnormal))  # of the factor
                assert abs(Fraction(float(one)) - wanted) <= rounding + flushed + Fraction(
                    float(info.smallest_subnormal)
                )


def clipping(rnn):
    return importlib.import_module(f"{rnn.__name__}.clipping")


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "overflow"])
def test_a_norm_that_is_not_finite_leaves_nothing_finite(rnn, dtype, bad):
    """Zero would be a run that stands still without a word. The other network of the ensemble does not notice."""
    gradients = random_gradients(8, dtype, E=(2,))
    if bad == "overflow":
        for g in gradients:
            g[1] = np.finfo(dtype).max
    else:
        gradients.W_hy[1, 0, 0] = bad
    with np.errstate(over="ignore"):
        norms = rnn.to_numpy(clipping(rnn).global_norm(rnn.from_numpy(gradients)))
        result = clipped(rnn, gradients, 1.0)
    assert np.isfinite(norms).tolist() == [True, False]
    for g in result:
        assert np.isfinite(g[0]).all()
        assert not np.isfinite(g[1]).any()


@DTYPES
@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 1e6])
def test_clipping_gives_new_gradients_and_leaves_the_given_ones(rnn, max_norm, dtype):
    gradients = rnn.from_numpy(random_gradients(2, dtype, bias=False))
    before = bits(gradients)
    result = rnn.clip_by_global_norm(gradients, max_norm)
    assert bits(gradients) == before
    assert [g is None for g in result] == [g is None for g in gradients] == [False] * 3 + [True] * 2 + [False]
    for old, new in zip(gradients, result, strict=True):
        if old is not None:
            assert not np.shares_memory(*(v.detach().numpy() if hasattr(v, "detach") else v for v in (old, new)))
            assert not getattr(new, "requires_grad", False)
