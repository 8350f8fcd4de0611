"""Hand-written loops that are wrong beyond small sizes, in saturation or at relu's kink: the default run reaches that.

They are black boxes: a fault at relu's kink shows in the weight gradients of a unit without incoming weights.
"""

import numpy as np
import pytest
from hypothesis import Phase, settings

from numpy_rnn.conformance.properties import BoundExceeded, WorstRatios, check_port_global, profile
from numpy_rnn.conformance.recipes import LARGE_SIZES

DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])


class Loop:
    """A loop over the steps, with a buffer for the states; changed: limits that it should not have."""

    name, dtypes, capabilities, lacks, tanh_ulps = "a loop", ("float64",), (), ("mean",), None
    states = 1000  # so many the buffer holds
    width = 0  # so many columns of da are multiplied by a wrong vector loop
    sequences = 1000  # so many the sum over the batch has
    largest = np.inf  # beyond that, tanh is not a number: inf / inf
    slope_at_0 = 0.0  # of relu

    def __init__(self, **changed):
        vars(self).update(changed)

    def phi(self, a, nonlinearity):
        return np.maximum(a, 0) if nonlinearity == "relu" else np.where(np.abs(a) > self.largest, np.nan, np.tanh(a))

    def slope(self, h, nonlinearity):
        return np.where(h > 0, 1.0, self.slope_at_0) if nonlinearity == "relu" else 1 - h * h

    def product(self, h, da):
        """The sum of outer products; the vector loop forgets the last row."""
        dW = h.T @ da
        if self.width and da.shape[1] >= self.width:
            dW[:, : self.width] = h[: len(h) - 1].T @ da[: len(h) - 1, : self.width]
        return dW

    def window_update(self, p, x, target, h_0, *, learning_rate, nonlinearity, **options):
        n, buffer = self.states, {0: h_0}
        for t, x_t in enumerate(x, 1):
            a = x_t @ p["W_xh"] + buffer[(t - 1) % n] @ p["W_hh"] + p.get("b_h", 0)
            buffer[t % n] = self.phi(a, nonlinearity)
        d, da, loss = {name: np.zeros_like(theta) for name, theta in p.items()}, np.zeros_like(h_0), 0.0
        for t in range(len(x), 0, -1):
            h, k = buffer[t % n], t - 1 - len(x) + len(target)
            dy = h @ p["W_hy"] + p.get("b_y", 0) - target[k] if k >= 0 else 0 * target[0]
            da = (dy @ p["W_hy"].T + da @ p["W_hh"].T) * self.slope(h, nonlinearity)
            loss += (dy * dy).sum() / 2
            terms = {"W_xh": x[t - 1].T @ da, "W_hh": self.product(buffer[(t - 1) % n], da), "W_hy": h.T @ dy}
            terms |= {"b_h": da[: self.sequences].sum(axis=0), "b_y": dy[: self.sequences].sum(axis=0)}
            d = {name: d[name] + terms[name] for name in d}
        new = {name: theta - learning_rate * d[name] for name, theta in p.items()}
        return {"loss": np.float64(loss)} | {"d" + name: gradient for name, gradient in d.items()} | new


FAULTS = {
    "a ring of 16 states": {"states": 16},
    "a vector loop of 16 units": {"width": 16},
    "a buffer of 8 units": {"width": 9},
    "a batch of 8 sequences": {"sequences": 8},
    "an exponential that overflows beyond |a| = 12": {"largest": 12.0},
    "an exponential that overflows beyond |a| = 40": {"largest": 40.0},  # only saturated units reach it
    "relu'(0) = 1": {"slope_at_0": 1.0},
}


class WithFaultyOnes(Loop):
    """The right loop, which runs the wrong ones on the same windows and notes which of them differ from it."""

    def __init__(self):
        self.seen = set()

    def window_update(self, *arrays, **options):
        report = super().window_update(*arrays, **options)
        for name, changed in FAULTS.items():
            other = Loop(**changed).window_update(*arrays, **options)
            if not all(np.allclose(other[tensor], report[tensor], rtol=1e-6, atol=1e-6) for tensor in report):
                self.seen.add(name)
        return report


def test_default_run_of_the_right_loop_reaches_every_fault_and_tells_its_sizes():
    worst, port = WorstRatios(), WithFaultyOnes()
    check_port_global(port, "float64", DEFAULT, worst=worst)
    assert port.seen == set(FAULTS)
    for letter in "TH":
        low, high = worst.sizes[letter]
        assert low <= 2
        assert LARGE_SIZES[letter][0] < high <= LARGE_SIZES[letter][1]


def test_a_fault_in_large_windows_only_is_told():
    with pytest.raises(BoundExceeded, match=r"Recipe\(T=., B=., D=., H=(1[7-9]|[23].|40), "):
        check_port_global(Loop(width=16), "float64", settings(DEFAULT, max_examples=10))
