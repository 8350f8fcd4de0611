"""The default run reaches windows in which hand-written code goes wrong: large ones, saturation, and relu's kink."""

import numpy as np
import pytest
from hypothesis import Phase, settings
from port_cases import RIGHT

from numpy_rnn.conformance.properties import BoundExceeded, WorstRatios, check_port_global, profile
from numpy_rnn.conformance.recipes import LARGE_SIZES

DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])


class BlackBox:
    """A right port that reports no intermediate values. change: what is done to its report, which has them still."""

    name, dtypes, capabilities, lacks, tanh_ulps = "a black box", ("float64",), (), (), None

    def __init__(self, change):
        self.change = change

    def window_update(self, *arrays, **given):
        report = RIGHT.window_update(*arrays, **given)
        self.change(report, given)
        return {name: array for name, array in report.items() if name not in ("a", "h", "y", "dy", "dh", "da", "dx")}


def largest_of_tanh(report, given):
    return np.abs(report["a"]).max() if given["nonlinearity"] == "tanh" else 0.0


def shows_at_the_kink(report, given):
    """Whether relu'(0) = 1 adds something to dW_xh."""
    at_kink = report["dh"] * (report["a"] == 0) * (given["nonlinearity"] == "relu")
    return np.einsum("tbi,tbj->ij", given["x"], at_kink).any()


WHERE = {  # such code goes wrong
    "a ring of 16 states": lambda report, given: len(report["a"]) > 16,
    "a vector loop of 16 units": lambda report, given: report["a"].shape[2] >= 16,
    "a buffer of 8 sequences": lambda report, given: report["a"].shape[1] > 8,
    "an exponential that overflows beyond |a| = 12": lambda report, given: largest_of_tanh(report, given) > 12,
    "one beyond |a| = 40, for saturated units only": lambda report, given: largest_of_tanh(report, given) > 40,
    "relu'(0) = 1": shows_at_the_kink,
}


def test_default_run_reaches_every_window_and_tells_its_sizes():
    worst, reached = WorstRatios(), set()

    def note(report, given):
        reached.update(name for name, goes_wrong in WHERE.items() if goes_wrong(report, given))

    check_port_global(BlackBox(note), "float64", DEFAULT, worst=worst)
    assert reached == set(WHERE)
    for letter in "TH":
        low, high = worst.sizes[letter]
        assert low <= 2
        assert LARGE_SIZES[letter][0] < high <= LARGE_SIZES[letter][1]


def test_a_fault_in_large_windows_only_is_told():
    def forget_a_row(report, given):
        if report["dW_hh"].shape[1] >= 16:
            report["dW_hh"][:, :16] -= report["h"][0].T @ report["da"][0][:, :16]

    with pytest.raises(BoundExceeded, match=r"Recipe\(T=., B=., D=., H=(1[7-9]|[23].|40), "):
        check_port_global(BlackBox(forget_a_row), "float64", settings(DEFAULT, max_examples=10))
