"""Level L2: its formulas on one number; what is owed, missing, not finite; and where a truncation shows."""

import numpy as np
import pytest
from window_port import assert_rounded_up, one_unit, port, random_window

from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, truncation_signal
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.case import INPUT_GRADIENTS, INTERMEDIATES, required_outputs


def test_the_formulas_on_one_number():
    """As in the docstrings of global_bounds.py."""
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


# It owes every tensor that there is.
SGD = SgdOptions(0.9, 0.25, False, 0.1, 1.0)
CASE = random_window(7, "float64", T=3, K=2, bias=True, nonlinearity="tanh", sgd=SGD, learned=True)
BOUNDS = global_bounds(CASE)
RIGHT = port(CASE)


def ratios(report, other=None):
    return check_global(CASE, report, other=other, bounds=BOUNDS)


def spoiled(name, number):
    """A right report with one element of one tensor replaced, its last; number is of its value and E."""
    value, E = BOUNDS[name]
    last = tuple(size - 1 for size in E.shape)
    wrong = np.array(RIGHT[name])
    wrong[last] = number(value.high[last], E[last])
    return RIGHT | {name: wrong}, last


@pytest.mark.parametrize("name", BOUNDS)
def test_an_element_that_is_off_by_100_bounds(name):
    """A second report is off too, so that twice as much is allowed."""
    report, last = spoiled(name, lambda value, E: value + 100 * E)
    for found, factor in ((ratios(report), 1), (ratios(report, other=RIGHT), 2)):
        assert 99 < factor * found[name][last] < 101
        assert sum((ratio > 1).sum() for ratio in found.values()) == 1


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["loss", "h", "dW_hh"])
def test_not_finite_in_one_or_both(name, number):
    report, last = spoiled(name, lambda value, E: number)
    for found in (ratios(report), ratios(report, RIGHT), ratios(RIGHT, report), ratios(report, report)):
        assert found[name][last] == np.inf
        assert sum(not (ratio <= 1).all() for ratio in found.values()) == 1


@pytest.mark.parametrize("name", ["loss", "h", "dW_hh"])
def test_missing_or_of_another_shape(name):
    """A missing h is no fault: it is an intermediate value."""
    assert (ratios(RIGHT | {name: RIGHT[name][None]})[name] == np.inf).all()
    missing = {other: array for other, array in RIGHT.items() if other != name}
    for found in (ratios(missing), ratios(RIGHT, missing)):
        assert name == "h" or (found[name] == np.full(np.shape(RIGHT[name]), np.inf)).all()


def test_intermediates_and_input_gradients_are_not_owed():
    """But dh_0 is owed of a learned initial state."""
    given = CASE._replace(params=CASE.params._replace(h_0=None))
    for case, left_out in ((CASE, (*INTERMEDIATES, "dx")), (given, (*INTERMEDIATES, *INPUT_GRADIENTS))):
        right = port(case)
        report = {name: array for name, array in right.items() if name not in left_out}
        for found in (check_global(case, report), check_global(case, right, other=report)):
            assert {n: ratio.shape for n, ratio in found.items()} == required_outputs(case, intermediates=False)
            assert max(ratio.max() for ratio in found.values()) <= 1


def test_a_step_without_a_loss_has_no_error_in_dy():
    value, E = BOUNDS["dy"]
    assert (E[0] == 0).all()
    assert (value.radius[0] == 0).all()
    assert (ratios(RIGHT)["dy"][0] == 0).all()
    assert (ratios(RIGHT | {"dy": RIGHT["dy"] + 1e-300})["dy"][0] == np.inf).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_truncation_signal(dtype):
    """It is what a port that drops the recurrent term shows in dW_hh, by a tenth of the bound's excess."""
    case = random_window(3, dtype, T=4, K=3, nonlinearity="tanh")
    excess = check_global(case, port(case, W_hh_back=np.zeros_like))["dW_hh"].max()
    assert abs(10 * truncation_signal(case) - excess) <= 1  # the port's own rounding: one bound at most
    assert truncation_signal(case, global_bounds(case)) == truncation_signal(case) > 1


def test_no_truncation_signal():
    """In a window of one step; and where all states are saturated."""
    case = random_window(3, "float32", T=4, nonlinearity="tanh")
    assert truncation_signal(random_window(3, T=1)) == 0
    assert truncation_signal(case._replace(x=1000 * case.x)) < 1
