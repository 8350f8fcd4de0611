"""The bounds of a window by their formulas, on one number."""

import numpy as np
from window_port import assert_rounded_up, one_unit

from numpy_rnn.conformance.bounds.global_bounds import global_bounds
from numpy_rnn.conformance.bounds.rounding import Rounding


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
