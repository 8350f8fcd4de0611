"""Every right way to compute a window is within the bounds of both levels, also at the kink of relu."""

from functools import cache

import numpy as np
import pytest
from step_port import CORRECT_STEPS, to_float64
from window_port import one_unit, port, random_window

from numpy_rnn import InputError
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, propagate, sech_squared
from numpy_rnn.conformance.bounds.local_bounds import check_local

CASES = 12
of_dtypes = pytest.mark.parametrize("dtype", DTYPES)


@cache
def window(seed, dtype, **fixed):
    """A random window and its bounds. In every fourth one, states of tanh are such that 1 − h² is mostly rounding."""
    if seed % 4:
        case = random_window(seed, dtype, **fixed)
    else:
        case = random_window(seed, dtype, nonlinearity="tanh")
        case = case._replace(params=case.params._replace(W_xh=5 * case.params.W_xh))
    return case, global_bounds(case)


def assert_within_bounds(case, report, bounds, local=True):
    ratios = {"L2": check_global(case, report, bounds=bounds)} | ({"L1": check_local(case, report)} if local else {})
    for level, of_level in ratios.items():
        for name, ratio in of_level.items():
            assert (ratio <= 1).all(), f"{level}: {name} is {ratio.max()} times its bound"


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


@of_dtypes
@pytest.mark.parametrize("pieces", CORRECT.values(), ids=CORRECT)
def test_a_right_way_is_within_the_bounds(pieces, dtype):
    """At L1 only if the reported numbers are those that the computation used, and are not rounded afterwards."""
    local = pieces.get("widen") is not to_float64
    for seed in range(CASES):
        case, bounds = window(seed, dtype)
        with np.errstate(over="ignore"):
            assert_within_bounds(case, port(case, **pieces), bounds, local)


@of_dtypes
def test_a_tanh_at_its_limit_is_within_them(dtype):
    """Every state off by 14 of the 16 u that are allowed, and by twice what half of that allows."""

    def tanh(a):
        return np.tanh(a) * a.dtype.type(1 - 14 * np.finfo(a.dtype).epsneg)

    for seed in range(CASES):
        case, bounds = window(seed, dtype, nonlinearity="tanh")
        report = port(case, tanh=tanh)
        assert_within_bounds(case, report, bounds)
        assert max(ratio.max() for ratio in check_global(case, report, 7).values()) > 1


def test_a_pre_activation_that_is_exactly_zero_has_no_error():
    """So that relu'(0) = 1 is found."""
    case = one_unit(0.0, 1.0, target=1.0, nonlinearity="relu")
    bounds = global_bounds(case)
    for name in ("a", "h", "da", "dW_xh"):
        assert (bounds[name][1] == 0).all(), name
    faulty = port(case, through_relu=lambda dh, h, one, a: dh * (h >= 0))
    assert check_global(case, port(case), bounds=bounds)["da"].max() == 0
    assert check_global(case, faulty, bounds=bounds)["da"].max() == np.inf


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
