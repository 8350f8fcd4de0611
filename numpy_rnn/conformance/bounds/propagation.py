"""The rounding errors of a window, carried from stage to stage: the formulas of level L2 (see `global_bounds.py`).

Where a formula has |v| of exact values v, it takes `high` of their enclosures.
"""

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.oracle import Enclosure
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Rounded, Rounding, join
from numpy_rnn.conformance.bounds.step import Near, Step
from numpy_rnn.conformance.case import Case


def sech_squared(a) -> np.ndarray:
    """tanh'(a) = 1/cosh²(a) without overflow; where that is below 1e-300, something larger."""
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


class Propagation:
    """E of every tensor of a case, by name in `self.E`, filled in causal order around the oracle's values.

    tau: the error of tanh in units of u|h|.
    """

    def __init__(self, case: Case, values: dict[str, Enclosure], tau: float):
        self.case, self.tau = case, tau
        self.rounding = Rounding(case.dtype)
        self.size = {name: np.abs(value.high) for name, value in values.items()}
        self.values = {name: value.high for name, value in values.items()}
        self.E = {name: np.zeros_like(size) for name, size in self.size.items()}
        given = self.rounding.given
        self.x, self.target, self.h_0 = map(given, (case.x, case.target, case.h_0))
        params = (None if theta is None else given(np.atleast_2d(theta)) for theta in case.params)
        self.params: Parameters = Parameters(*params)

    def of(self, name: str) -> Rounded:
        """A tensor and what is known of its error so far."""
        return Rounded(self.size[name], self.E[name])

    def forward(self):
        """(F1) to (F3). A bias is one more row of the weights, beside a one in the inputs."""
        W_xh, W_hh, W_hy, b_h, b_y, _ = self.params
        E, h, rounding = self.E, self.of("h"), self.rounding
        T, B, _ = self.case.x.shape
        ones = None if b_h is None else rounding.given(np.ones((T, B, 1)))
        weights = join(W_xh, W_hh, b_h, axis=-2)
        before = self.h_0
        for t in range(T):
            inputs = join(self.x[t], before, ones and ones[t], axis=-1)
            E["a"][t] = rounding.product(inputs, weights)
            E["h"][t] = self.nonlinearity(t)
            before = h[t]
        E["y"][...] = rounding.product(join(h, ones, axis=-1), join(W_hy, b_y, axis=-2))

    def nonlinearity(self, t: int) -> np.ndarray:
        """E of h_t: for tanh sech²(max(|a|−E_a, 0)) E_a + τu(|h| + that); for relu E_a, and 0 on its dead side."""
        a, E_a, rounding = self.values["a"][t], self.E["a"][t], self.rounding
        if self.case.nonlinearity == "relu":
            return np.where(a < -E_a, 0.0, E_a)
        inherited = sech_squared(np.maximum(np.abs(a) - E_a, 0)) * E_a
        most = self.size["h"][t] + inherited
        return (inherited + self.tau * rounding.u * most + rounding.flushes(most > 0)) * UPWARDS

    def loss(self):
        """(L1), (L2), (B1). "mean" may round twice more: the reciprocal, and the product with it."""
        K, B, O = self.case.target.shape
        mean = self.case.reduction == "mean"
        divisor, more = (K * B * O, 2) if mean else (1, 0)
        rounding, y, size_dy = self.rounding, self.of("y"), self.size["dy"][-K:]
        difference = Rounded(size_dy * divisor, y.E[-K:] + self.target.E)
        self.E["dy"][-K:] = rounding.again(difference.map(lambda v: v / divisor), 1 + more)
        error = Rounded(difference.size, rounding.again(difference, 1))
        row = error.map(lambda v: v.reshape(1, -1))
        half = rounding.product(row, row.mT)[0, 0] / (2 * divisor) + rounding.flushes(K * B * O)
        self.E["loss"][...] = rounding.again(Rounded(self.size["loss"], half), more)

    def backward(self):
        """(B2), (B3)."""
        E, rounding = self.E, self.rounding
        dy, dh, da = map(self.of, ("dy", "dh", "da"))
        weights = join(self.params.W_hy.mT, self.params.W_hh.mT, axis=-2)
        slope, roundings = self.slope()
        after = da[-1].map(np.zeros_like)
        for t in reversed(range(len(dy.size))):
            E["dh"][t] = rounding.product(join(dy[t], after, axis=-1), weights)
            E["da"][t] = rounding.each(dh[t], slope[t], roundings)
            after = da[t]

    def slope(self) -> tuple[Rounded, int]:
        """φ'(a) of all steps, and how many roundings a product with it has.

        1 − h²: e + γ_3(|D| + e) with e = 2|h|E_h + E_h² + γ_2 max(c, c²), c = |h| + E_h, which covers (1−h)(1+h),
        dh − dh·h² and (dh + dh·h)(1−h) too. relu': not known where |a| ≤ E_a, so E is 1 there.
        """
        a, h, rounding = self.of("a"), self.of("h"), self.rounding
        if self.case.nonlinearity == "relu":
            open = (a.size <= a.E) & (a.E > 0)
            return Rounded((h.size > 0).astype(np.float64), open.astype(np.float64)), 0
        D = sech_squared(self.values["a"])
        e = h.E * (2 * h.size + h.E) + rounding.gamma(2) * np.maximum(h.most, h.most**2)
        return Rounded(D, rounding.again(Rounded(D, e), 3)), 1

    def gradients(self):
        """(B4) to (B8): sums over time and batch."""
        E, rounding = self.E, self.rounding
        h, dy, da = self.of("h"), self.of("dy").rows, self.of("da").rows
        h_before = join(self.h_0[None], h[:-1], axis=0)
        E["dW_xh"][...] = rounding.product(self.x.rows.mT, da)
        E["dW_hh"][...] = rounding.product(h_before.rows.mT, da)
        E["dW_hy"][...] = rounding.product(h.rows.mT, dy)
        if self.params.b_h is not None:
            E["db_h"][...] = rounding.sum(da)
            E["db_y"][...] = rounding.sum(dy)

    def input_gradients(self):
        """(B9), (B10)."""
        rounding, da = self.rounding, self.of("da")
        self.E["dh_0"][...] = rounding.product(da[0], self.params.W_hh.mT)
        self.E["dx"][...] = rounding.product(da, self.params.W_xh.mT)

    def update(self):
        """(U1) to (U6), by the formulas of `step.py`."""
        names = [name for name, theta in self.params._asdict().items() if theta is not None]
        gradients = {name: Near(self.values["d" + name], self.E["d" + name]) for name in names}
        step = Step(self.case, self.rounding)
        for name, near in step.updated(gradients, lambda name, near: Near(self.values[name], near.E)).items():
            self.E[name][...] = near.E


def propagate(case: Case, values: dict[str, Enclosure], tau: float) -> dict[str, np.ndarray]:
    """E of every tensor, around the oracle's values. tau: the error of tanh in units of u|h|.

    Raises InputError where a sum or a norm is so long that γ_n says nothing.
    """
    T, B, D, H, O, K = case.sizes.values()
    longest = max(T * B, K * B * O + 2, D + H + 1, H + O)
    if longest * np.finfo(case.dtype).eps > 0.5:
        raise InputError(f"a sum of {longest} terms in {case.dtype} has no bound: expected fewer, or float64")
    propagation = Propagation(case, values, tau)
    propagation.forward()
    propagation.loss()
    propagation.backward()
    propagation.gradients()
    propagation.input_gradients()
    propagation.update()
    return propagation.E
