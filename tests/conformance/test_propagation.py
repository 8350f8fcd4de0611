"""The bounds of a window by their formulas, on one number."""

import numpy as np
from window_port import assert_rounded_up, one_unit

from numpy_rnn import Parameters
from numpy_rnn.common.records import SgdOptions
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
