"""Ports that are wrong only for large sizes, large activations, zeros or subnormal numbers, as black boxes."""

import numpy as np
import pytest
from hypothesis import Phase, settings

import numpy_rnn
from numpy_rnn.conformance.case import INTERMEDIATES
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.properties import BoundExceeded, WorstRatios, check_port_global, profile
from numpy_rnn.conformance.recipes import LARGE_SIZES

# The same cases in every run, not shrunk: it only matters whether a fault is seen.
DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])


def wide_loop(report, sizes, x):
    """The remainder of a vector loop is right, its body of 16 units is not."""
    if sizes["H"] >= 16:
        report["dW_hh"][:, :16] *= 1.01


def small_buffer(report, sizes, x):
    """Step 16 and later ones overwrite the state of an earlier one."""
    if sizes["T"] > 15:
        report["dW_xh"] = report["dW_xh"] - 0.01 * x[0].sum()


def overflowing_exponential(report, sizes, x):
    """tanh from exp(2a) overflows: of the default cases, only those with a saturated unit reach 40."""
    if np.abs(report["a"]).max(initial=0) > 40:
        report["loss"] = report["loss"] * 1.01


def wide_batch(report, sizes, x):
    """As `wide_loop`, over the batch."""
    if sizes["B"] > 8:
        report["dW_hy"] *= 1.01


FAULTS = (wide_loop, small_buffer, overflowing_exponential, wide_batch)


class BlackBox(PackagePort):
    """A package that reports no intermediate values, and with a fault."""

    def __init__(self, package, fault=lambda report, sizes, x: None):
        super().__init__(package)
        self.fault = fault
        self.capabilities = ()

    def window_update(self, params, x, *arrays, **options):
        report = super().window_update(params, x, *arrays, **options)
        dtype = report["dW_hh"].dtype
        self.fault(report, {"T": len(x), "B": x.shape[1], "H": len(params["W_hh"])}, x)
        report = {name: array.astype(dtype) for name, array in report.items() if name not in (*INTERMEDIATES, "dx")}
        return report if "h_0" in params else {name: v for name, v in report.items() if name != "dh_0"}


@pytest.mark.parametrize("fault", FAULTS)
def test_default_profile_finds_faults_beyond_small_cases(fault):
    with pytest.raises(BoundExceeded):
        check_port_global(BlackBox(numpy_rnn, fault), "float64", DEFAULT)


def test_relu_slope_at_zero_is_visible_in_a_weight_gradient():
    """As a black box without input gradients: the unit without incoming weights has dW_xh = 0."""
    port = BlackBox(load(named("relu′(0) = 1")))
    port.lacks = ("tanh",)
    with pytest.raises(BoundExceeded, match=r"(dW_xh|dW_hh|db_h) \("):
        check_port_global(port, "float64", DEFAULT)


def test_reported_sizes_are_those_of_the_cases():
    worst = WorstRatios()
    check_port_global(BlackBox(numpy_rnn), "float32", DEFAULT, worst=worst)
    for letter in "TH":
        low, high = worst.sizes[letter]
        assert low <= 2
        assert LARGE_SIZES[letter][0] < high <= LARGE_SIZES[letter][1]
    other = WorstRatios()
    other.note_sizes({"T": 99, "K": 1})
    other.merge(worst.worst, worst.sizes)
    assert other.sizes == worst.sizes | {"T": (worst.sizes["T"][0], 99), "K": (1, worst.sizes["K"][1])}
