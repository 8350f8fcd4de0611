"""Hand-written ports that are wrong beyond small sizes, in saturation or at relu's kink: the default run sees it.

They are black boxes: a fault at relu's kink shows in the weight gradients of a unit without incoming weights.
"""

import numpy as np
import pytest
from hypothesis import Phase, settings

from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import BoundExceeded, WorstRatios, check_port_global, profile
from numpy_rnn.conformance.recipes import LARGE_SIZES

DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])


class Plain:
    """A loop over the steps, with a buffer for the states, as a black box that reports gradients."""

    name, dtypes, capabilities, lacks, tanh_ulps = "a loop", ("float64",), (), ("tanh", "mean"), None
    states = 1000  # so many the buffer holds
    width = 0  # so many columns of da are multiplied by a wrong vector loop
    sequences = 1000  # so many the sum over the batch has
    slope_at_0 = 0.0

    def phi(self, a):
        return np.maximum(a, 0)

    def slope(self, h):
        return np.where(h > 0, 1.0, self.slope_at_0)

    def product(self, h, da):
        """The sum of outer products; the vector loop forgets the last row."""
        dW = h.T @ da
        if self.width and da.shape[1] >= self.width:
            dW[:, : self.width] = h[: len(h) - 1].T @ da[: len(h) - 1, : self.width]
        return dW

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        n, buffer = self.states, {0: h_0}
        for t, x_t in enumerate(x, 1):
            buffer[t % n] = self.phi(x_t @ p["W_xh"] + buffer[(t - 1) % n] @ p["W_hh"] + p.get("b_h", 0))
        d, da, loss = {name: np.zeros_like(theta) for name, theta in p.items()}, np.zeros_like(h_0), 0.0
        for t in range(len(x), 0, -1):
            h, k = buffer[t % n], t - 1 - len(x) + len(target)
            dy = h @ p["W_hy"] + p.get("b_y", 0) - target[k] if k >= 0 else 0 * target[0]
            da = (dy @ p["W_hy"].T + da @ p["W_hh"].T) * self.slope(h)
            loss += (dy * dy).sum() / 2
            terms = {"W_xh": x[t - 1].T @ da, "W_hh": self.product(buffer[(t - 1) % n], da), "W_hy": h.T @ dy}
            terms |= {"b_h": da[: self.sequences].sum(axis=0), "b_y": dy[: self.sequences].sum(axis=0)}
            d = {name: d[name] + terms[name] for name in d}
        new = {name: theta - learning_rate * d[name] for name, theta in p.items()}
        return {"loss": np.float64(loss)} | {"d" + name: gradient for name, gradient in d.items()} | new


class Tanh(Plain):
    lacks = ("relu", "mean")
    largest = np.inf

    def phi(self, a):
        return np.where(np.abs(a) > self.largest, np.nan, np.tanh(a))  # inf / inf

    def slope(self, h):
        return 1 - h * h


FAULTS = {
    "a ring of 16 states": (Plain, {"states": 16}),
    "a vector loop of 16 units": (Plain, {"width": 16}),
    "a buffer of 8 units": (Plain, {"width": 9}),
    "a batch of 8 sequences": (Plain, {"sequences": 8}),
    "an exponential that overflows beyond |a| = 12": (Tanh, {"largest": 12.0}),
    "an exponential that overflows beyond |a| = 40": (Tanh, {"largest": 40.0}),  # only saturated units reach it
    "relu'(0) = 1": (Plain, {"slope_at_0": 1.0}),
}


def port_of(kind, changes):
    port = kind()
    vars(port).update(changes)
    return port


@pytest.mark.parametrize(("kind", "changes"), FAULTS.values(), ids=FAULTS)
def test_default_run_sees_the_fault(kind, changes):
    with pytest.raises((BoundExceeded, PortFault)):
        check_port_global(port_of(kind, changes), "float64", DEFAULT)


@pytest.mark.parametrize("kind", [Plain, Tanh])
def test_the_same_loop_without_the_fault_is_right_and_the_sizes_are_told(kind):
    worst = WorstRatios()
    check_port_global(kind(), "float64", DEFAULT, worst=worst)
    for letter in "TH":
        low, high = worst.sizes[letter]
        assert low <= 2
        assert LARGE_SIZES[letter][0] < high <= LARGE_SIZES[letter][1]
    other = WorstRatios()
    other.note_sizes({"T": 99, "K": 1})
    other.merge(worst.worst, worst.sizes)
    assert other.sizes == worst.sizes | {"T": (worst.sizes["T"][0], 99), "K": (1, worst.sizes["K"][1])}
