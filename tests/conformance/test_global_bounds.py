"""The check of level L2: what is owed, missing, not finite; and where a truncation shows."""

import numpy as np
import pytest
from window_port import port, random_window

from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds, truncation_signal
from numpy_rnn.conformance.case import INPUT_GRADIENTS, INTERMEDIATES, required_outputs

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


class TestChecker:
    case = random_window(
        7, "float64", T=3, K=2, bias=True, nonlinearity="tanh", sgd=SgdOptions(0.9, 0.25, False, 0.1, 1.0), learned=True
    )  # it owes every tensor that there is
    bounds = global_bounds(case)

    def ratios(self, report, other=None):
        return check_global(self.case, report, other=other, bounds=self.bounds)

    def spoiled(self, name, number):
        """A right report with one element of one tensor replaced, its last; number is of its value and E."""
        report = port(self.case)
        value, E = self.bounds[name]
        last = tuple(size - 1 for size in E.shape)
        report[name] = report[name].copy()
        report[name][last] = number(value.high[last], E[last])
        return report, last

    @pytest.mark.parametrize("name", list(bounds))
    def test_off_by_100_bounds(self, name):
        report, last = self.spoiled(name, lambda value, E: value + 100 * E)
        ratios = self.ratios(report)
        assert 99 < ratios[name][last] < 101
        assert sum((ratio > 1).sum() for ratio in ratios.values()) == 1
        against_other = self.ratios(report, other=port(self.case))
        assert 49 < against_other[name][last] < 51
        assert sum((ratio > 1).sum() for ratio in against_other.values()) == 1

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["loss", "h", "dW_hh", "b_y"])
    def test_not_finite_in_one_or_both(self, name, number):
        report, last = self.spoiled(name, lambda value, E: number)
        right = port(self.case)
        pairs = (
            self.ratios(report),
            self.ratios(report, right),
            self.ratios(right, report),
            self.ratios(report, report),
        )
        for ratios in pairs:
            assert ratios[name][last] == np.inf
            assert sum(not (ratio <= 1).all() for ratio in ratios.values()) == 1

    @pytest.mark.parametrize("name", ["loss", "h", "dW_hh"])
    def test_missing_or_of_another_shape(self, name):
        right, shaped = port(self.case), port(self.case)
        shaped[name] = shaped[name][None]
        assert (self.ratios(shaped)[name] == np.inf).all()
        missing = {other: array for other, array in right.items() if other != name}
        for ratios in (self.ratios(missing), self.ratios(right, missing)):
            assert name == "h" or (ratios[name] == np.full(np.shape(right[name]), np.inf)).all()

    def test_intermediates_and_input_gradients_are_not_owed(self):
        left_out = (*INTERMEDIATES, "dx")  # dh_0 is owed, as the initial state is learned
        report = {name: array for name, array in port(self.case).items() if name not in left_out}
        expected = required_outputs(self.case, intermediates=False)
        for ratios in (self.ratios(report), self.ratios(port(self.case), other=report)):
            assert {name: ratio.shape for name, ratio in ratios.items()} == expected
            assert max(ratio.max() for ratio in ratios.values()) <= 1

    def test_input_gradients_are_not_owed_of_a_state_that_is_given(self):
        case = self.case._replace(params=self.case.params._replace(h_0=None))
        report = {name: array for name, array in port(case).items() if name not in INPUT_GRADIENTS}
        ratios = check_global(case, report)
        assert not ratios.keys() & set(INPUT_GRADIENTS)
        assert max(ratio.max() for ratio in ratios.values()) <= 1

    def test_a_step_without_a_loss_has_no_error_in_dy(self):
        value, E = self.bounds["dy"]
        assert (E[0] == 0).all()
        assert (value.radius[0] == 0).all()
        report = port(self.case)
        assert (self.ratios(report)["dy"][0] == 0).all()
        report["dy"] = report["dy"] + 1e-300
        assert (self.ratios(report)["dy"][0] == np.inf).all()


# -- where a truncation shows ----------------------------------------------------------------------------------------


@DTYPES
def test_truncation_signal(dtype):
    """It is what a port that drops the recurrent term shows in dW_hh, by a tenth of the bound's excess."""
    case = random_window(3, dtype, T=4, K=3, nonlinearity="tanh")
    excess = check_global(case, port(case, W_hh_back=np.zeros_like))["dW_hh"].max()
    assert abs(10 * truncation_signal(case) - excess) <= 1  # the port's own rounding: one bound at most
    assert truncation_signal(case, global_bounds(case)) == truncation_signal(case)
    assert truncation_signal(case) > 1


def test_no_truncation_signal():
    one_step = random_window(3, T=1)
    assert truncation_signal(one_step) == 0
    case = random_window(3, "float32", T=4, nonlinearity="tanh")
    saturated = case._replace(x=1000 * case.x)
    assert truncation_signal(saturated) < 1
