"""The bounds of a window: their formulas, on one number; any correct evaluation is within them."""

import numpy as np
import pytest
from step_port import CORRECT_STEPS, to_float64
from window_port import assert_rounded_up, port, random_window, worst_ratios

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, propagate, sech_squared
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.case import Case

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
CASES = 25


def one_unit(x, W_xh, h_0=0.0, target=0.0, nonlinearity="tanh", reduction="sum", dtype="float64"):
    """One step of one unit; x and W_xh may be vectors."""
    x, W_xh = (np.atleast_1d(v).astype(dtype) for v in (x, W_xh))
    params = Parameters(W_xh[:, None], np.full((1, 1), 0.5, dtype), np.full((1, 1), 3.0, dtype))
    others = (np.full(shape, v, dtype) for shape, v in (((1, 1, 1), target), ((1, 1), h_0)))
    return Case(params, x[None, None], *others, 0.25, nonlinearity, reduction)


def test_the_formulas_on_one_number():
    """Level L2, as in the docstrings of global_bounds.py."""
    case = one_unit(0.7, 1.0, h_0=-0.3, target=2.0, reduction="mean")
    E = {name: bound.item() for name, (_, bound) in global_bounds(case, tau=16).items()}
    gamma, u = Rounding("float64").gamma, Rounding("float64").u
    a, h, y, e = 0.55, np.tanh(0.55), 3 * np.tanh(0.55), 2 - 3 * np.tanh(0.55)
    D = 1 - h * h
    expected = {"a": gamma(2) * (0.7 + 0.15)}
    expected["h"] = expected["a"] / np.cosh(a - expected["a"]) ** 2 + 16 * u * h
    expected["y"] = 3 * expected["h"] + gamma(1) * y
    expected["dy"] = expected["y"] + gamma(3) * e
    expected["loss"] = e * (expected["y"] + u * e) + gamma(1) * e * e / 2 + gamma(2) * e * e / 2
    expected["dh"] = 3 * expected["dy"] + gamma(1) * 3 * e
    E_D = 2 * h * expected["h"] + gamma(2) * h
    E_D += gamma(3) * (D + E_D)
    E_D = max(E_D, (2 * expected["a"] + gamma(35)) / np.cosh(a - expected["a"]) ** 2)
    expected["da"] = expected["dh"] * D + 3 * e * E_D + gamma(1) * 3 * e * D
    expected["dW_xh"] = 0.7 * (expected["da"] + gamma(1) * 3 * e * D)
    expected["dW_hh"] = 0.3 * (expected["da"] + gamma(1) * 3 * e * D)
    expected["dW_hy"] = h * expected["dy"] + e * expected["h"] + gamma(1) * h * e
    expected["dh_0"] = 0.5 * expected["da"] + gamma(1) * 0.5 * 3 * e * D
    expected["dx"] = expected["da"] + gamma(1) * 3 * e * D
    for name, d, theta in (("W_xh", 0.7 * -3 * e * D, 1), ("W_hh", -0.3 * -3 * e * D, 0.5), ("W_hy", h * -e, 3)):
        step = 0.25 * expected["d" + name] + u * 0.25 * abs(d)
        expected[name] = step + u * (theta - 0.25 * d)
    assert E.keys() == expected.keys()
    for name, number in expected.items():  # from the inputs to the new parameters, no number is rounded up ten times
        assert_rounded_up(E[name], number, times=10)


def test_the_formulas_of_the_step_on_one_number():
    """(U2) to (U6) for W_hh, whose gradient has an error before, as they stand in the docstrings of step.py."""
    options = SgdOptions(momentum=0.9, dampening=0.25, weight_decay=0.1, max_norm=0.01)
    velocity = Parameters(*(np.full((1, 1), v) for v in (0.5, -2.0, 0.25)))
    case = one_unit(0.7, 1.0, h_0=-0.3, target=2.0)._replace(sgd=options, velocity=velocity)
    bounds = global_bounds(case)
    value = {name: enclosure.high.item() for name, (enclosure, _) in bounds.items()}
    E = {name: bound.item() for name, (_, bound) in bounds.items()}
    gamma, u = Rounding("float64").gamma, Rounding("float64").u

    n, e = (np.sqrt(sum(of[name] ** 2 for name in ("dW_xh", "dW_hh", "dW_hy"))) for of in (value, E))
    rho = gamma(8) / (1 + np.sqrt(1 - gamma(8)))
    m = n + 1e-6
    E_m = e + (rho + gamma(2) * (1 + rho)) * (n + e) + u * m
    f, r = 0.01 / m, E_m / m + gamma(2)
    clipped = f * value["dW_hh"]
    E_clipped = f * r * abs(value["dW_hh"]) + f * E["dW_hh"] + u * abs(clipped)
    d = clipped + 0.1 * 0.5
    E_d = E_clipped + u * 0.1 * 0.5 + u * abs(d)
    v = 0.9 * -2 + 0.75 * d
    # 1 − τ is a number of float64, and the bound allows for one that is not.
    E_v = u * 0.9 * 2 + 0.75 * E_d + 2 * u * 0.75 * abs(d) + u * abs(v)
    E_W = 0.25 * E_v + u * 0.25 * abs(v) + u * abs(0.5 - 0.25 * v)
    assert abs(value["vW_hh"] - v) <= E_v
    assert_rounded_up(E["vW_hh"], E_v, times=12)  # rounded up at most twice in each of the six lines above
    assert_rounded_up(E["W_hh"], E_W, times=14)


# -- correct evaluations ---------------------------------------------------------------------------------------------


def in_reverse(A, B):
    """AB with the terms summed from the last to the first, every one rounded."""
    total = np.zeros((len(A), B.shape[1]), A.dtype)
    for k in reversed(range(A.shape[1])):
        total = total + A[:, k, None] * B[None, k]
    return total


def in_pairs(A, B):
    """AB with the terms summed as a tree."""
    terms = [A[:, k, None] * B[None, k] for k in range(A.shape[1])]
    while len(terms) > 1:
        terms = [sum(terms[k : k + 2]) for k in range(0, len(terms), 2)]
    return terms[0]


def float64_sums(A, B):
    return (to_float64(A) @ to_float64(B)).astype(A.dtype)


CORRECT = {
    "summed in reverse": {"dot": in_reverse},
    "summed in pairs": {"dot": in_pairs},
    "with float64 sums": {"dot": float64_sums},
    "kept in float64 throughout": {"widen": to_float64},
    "mean by the reciprocal": {"divide": lambda v, n, one: v * (one / n)},
    "(1 - h)(1 + h)": {"through_tanh": lambda dh, h, one, a: dh * ((one - h) * (one + h))},
    "dh - dh h h": {"through_tanh": lambda dh, h, one, a: dh - dh * h * h},
    "JAX's (dh + dh h)(1 - h)": {"through_tanh": lambda dh, h, one, a: (dh + dh * h) * (one - h)},
    "dh / cosh(a)²": {"through_tanh": lambda dh, h, one, a: dh / np.square(np.cosh(a))},
    "a cosh at its limit": {
        "through_tanh": lambda dh, h, one, a: (
            dh / np.square(np.cosh(a) * one.dtype.type(1 + 7 * np.finfo(one.dtype).eps))
        )
    },
    **CORRECT_STEPS,
}


@DTYPES
@pytest.mark.parametrize("pieces", CORRECT.values(), ids=CORRECT)
def test_any_correct_evaluation_is_within_the_bounds(pieces, dtype):
    assert max(worst_ratios(lambda case: port(case, **pieces), dtype, CASES).values()) <= 1


@DTYPES
def test_a_tanh_at_its_limit_nearly_fills_them(dtype):
    """Every state off by 14 of the 16 u that are allowed: the bounds hold, and no tensor's is four times too wide."""

    def tanh(a):
        return np.tanh(a) * a.dtype.type(1 - 14 * np.finfo(a.dtype).epsneg)

    worst = worst_ratios(lambda case: port(case, tanh=tanh), dtype, 300)
    assert max(worst.values()) <= 1
    assert min(worst.values()) > 0.25
    assert max(worst_ratios(lambda case: port(case, tanh=tanh), dtype, CASES, tau=8).values()) > 1


# -- subnormal numbers -----------------------------------------------------------------------------------------------


def tiny_window(seed, dtype):
    """A window of numbers whose products are about as large as the smallest normal number."""
    case = random_window(seed, dtype)
    scale = np.sqrt(np.finfo(dtype).smallest_normal).astype(dtype)

    def scaled(params):
        return params and Parameters(*(None if theta is None else theta * scale for theta in params))

    params, velocity = scaled(case.params), scaled(case.velocity)
    sgd = case.sgd._replace(max_norm=case.sgd.max_norm and float(case.sgd.max_norm * scale))  # so that it clips
    return case._replace(
        params=params, velocity=velocity, sgd=sgd, x=case.x * scale, target=case.target * scale**2, h_0=case.h_0 * scale
    )


@DTYPES
def test_subnormal_numbers_may_be_flushed(dtype):
    smallest = np.finfo(dtype).smallest_normal
    flushes = 0

    def flushed(v):
        nonlocal flushes
        flushes += np.count_nonzero((np.abs(v) < smallest) & (v != 0))
        return np.where(np.abs(v) < smallest, v.dtype.type(0), v)

    for seed in range(CASES):
        case = tiny_window(seed, dtype)
        report = port(case, widen=flushed, keep=flushed)
        assert max(ratio.max() for ratio in check_global(case, report).values()) <= 1
    assert flushes > CASES


@pytest.mark.needs_torch
@DTYPES
def test_the_processor_may_flush_them(dtype):
    import torch

    for seed in range(5):
        case = tiny_window(seed, dtype)
        torch.set_flush_denormal(True)  # of this thread, NumPy's arithmetic too
        try:
            report = port(case)
        finally:
            torch.set_flush_denormal(False)
        assert max(ratio.max() for ratio in check_global(case, report).values()) <= 1


# -- relu ------------------------------------------------------------------------------------------------------------


@DTYPES
def test_a_pre_activation_that_is_exactly_zero_has_no_error(dtype):
    """So that relu'(0) = 1 is found."""
    case = one_unit(0.0, 1.0, target=1.0, nonlinearity="relu", dtype=dtype)
    bounds = global_bounds(case)
    for name in ("a", "h", "da", "dW_xh"):
        assert (bounds[name][1] == 0).all(), name
    faulty = port(case, through_relu=lambda dh, h, one, a: dh * (h >= 0))
    assert check_global(case, port(case))["da"].max() == 0
    assert check_global(case, faulty)["da"].max() == np.inf


def test_nearer_to_the_kink_than_its_rounding_both_sides_are_right():
    """0.1·0.3 − 0.3·0.1 + 1e-18 is positive, and float64 may well find 0."""
    case = one_unit([0.1, 0.3, 1e-18], [0.3, -0.1, 1.0], target=1.0, nonlinearity="relu")
    bounds = global_bounds(case)
    (a, E_a), (dh, _), (da, E_da) = (bounds[name] for name in ("a", "dh", "da"))
    assert 0 < a.high < E_a
    assert da.high == dh.high == -3
    assert 3 <= E_da < 3.0001
    for side in (0.0, 1.0):
        report = port(case, through_relu=lambda dh, h, one, side=side: dh * side)
        assert max(ratio.max() for ratio in check_global(case, report, bounds=bounds).values()) <= 1


def test_sech_squared():
    a = np.array([0.0, 0.5, -20.0, 1e300])
    expected = np.cosh(a[:3]) ** -2  # cosh within an ulp counts twice; as many roundings again on the other side
    assert (np.abs(sech_squared(a)[:3] - expected) <= 8 * np.finfo(float).eps * expected).all()
    assert 0 < sech_squared(a)[3] < 1e-300


def test_a_sum_without_a_bound_is_refused():
    long = np.broadcast_to(np.float32(1), (5_000_000, 1, 1))
    with pytest.raises(InputError, match="a sum of 5000000 terms in float32 has no bound"):
        propagate(one_unit(1.0, 1.0, dtype="float32")._replace(x=long), {}, 16.0)
