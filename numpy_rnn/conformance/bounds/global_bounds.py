"""Level L2: bounds on the difference between the true values of a window and any correct computation of it.

A bound E is carried through the window, stage by stage, around the values of the oracle. Nothing but the loss, the
gradients and the new parameters need be reported. Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E;
u the unit roundoff of the case's dtype; γ_n = n·u/(1 − n·u).

Correct is what rounds every operation to nearest, in the case's dtype or a wider one: sums in any order, with or
without fused multiply-add, subnormal numbers kept or flushed to zero, 1 − h² by any of its factorisations, "mean" by
division or by a product with the reciprocal, the SGD step as `step.py` says. Excluded are products of matrices by fewer
multiplications (Strassen) and numbers out of the dtype's range.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: sections 2.2 (the model of arithmetic) and
3.1 to 3.5 (γ_n; inner products and products of matrices, in any order).
"""

from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.bounds.local_bounds import TAU, absolute_error, ratios
from numpy_rnn.conformance.bounds.loss_bounds import cross_entropy_rows, divisor_of, sum_of_rows
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Band, Rounded, Rounding, join, sech_squared
from numpy_rnn.conformance.bounds.step import Near, Step
from numpy_rnn.conformance.case import Case, required_outputs


class Propagation:
    """E of every tensor of a case, by name in `self.E`, filled in causal order around the oracle's values.

    tau: the error of tanh in units of u|h|.
    """

    def __init__(self, case: Case, values: dict[str, Enclosure], tau: float):
        self.case, self.tau = case.in_rows(), tau
        self.rounding = Rounding(case.dtype)
        self.size = {name: np.abs(value.high) for name, value in values.items()}
        self.values = {name: value.high for name, value in values.items()}
        self.E = {name: np.zeros_like(size) for name, size in self.size.items()}
        given = self.rounding.given
        self.x, self.target, self.h_0 = map(given, (self.case.x, self.case.target, case.h_0))
        self.weights = given(np.ones((1, 1, 1)) if case.weights is None else case.weights[..., None])
        params = (None if theta is None else given(np.atleast_2d(theta)) for theta in case.params)
        self.params: Any = type(case.params)(*params)
        self.band: Band | None = None

    def of(self, name: str) -> Rounded:
        """A tensor and what is known of its error so far."""
        return Rounded(self.size[name], self.E[name])

    def forward(self):
        """(F1) to (F3). A bias is one more row of the weights, for a one in the inputs."""
        W_xh, W_hh, W_hy, b_h, b_y, _, *second = self.params
        E, h, rounding = self.E, self.of("h"), self.rounding
        T, B, _ = self.case.x.shape
        ones = None if b_h is None else rounding.given(np.ones((T, B, 1)))
        weights = join(W_xh, W_hh, b_h, *second, axis=-2)
        more = [ones for b in second if b is not None and ones is not None]
        before, older = self.h_0, 0 if self.case.kept is None else len(self.case.kept[1])
        if older:  # (R3)
            before = h[older - 1]
        for t in range(older, T):
            inputs = join(self.x[t], before, ones and ones[t], *(one[t] for one in more), axis=-1)
            E["a"][t] = rounding.product(inputs, weights)
            E["h"][t] = self.nonlinearity(t)
            before = h[t]
        E["y"][...] = rounding.product(join(h, ones, axis=-1), join(W_hy, b_y, axis=-2))
        E["y"][:older] = np.inf  # of no use to the update

    def nonlinearity(self, t: int) -> np.ndarray:
        """E of h_t: for tanh sech²(max(|a|−E_a, 0)) E_a + τu(|h| + that); for relu E_a, and 0 on its dead side.

        The logistic function is ½ + ½ tanh(a/2): ¼ sech² of half the argument, and τu(½ + |h|), as at level L1.
        """
        a, E_a, rounding = self.values["a"][t], self.E["a"][t], self.rounding
        if self.case.nonlinearity == "relu":
            return np.where(a < -E_a, 0.0, E_a)
        nearest = np.maximum(np.abs(a) - E_a, 0)
        if self.case.nonlinearity == "tanh":
            inherited, more = sech_squared(nearest) * E_a, 0.0
        else:
            inherited, more = sech_squared(nearest / 2) / 4 * E_a, 0.5
        max_abs = self.size["h"][t] + inherited + more
        own = (self.tau * max_abs + absolute_error(self.tau)) * rounding.u
        return (inherited + own + rounding.flushes(max_abs > 0)) * UPWARDS

    def loss(self):
        """(L1) to (L4), (B1). "mean" may round twice more: the reciprocal, and the product with it."""
        if self.case.loss == "cross_entropy":
            self.cross_entropy()
        elif self.case.weights is not None:
            self.weighted_squared_error()
        else:
            self.squared_error()

    def squared_error(self):
        """Without weights."""
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

    def weighted_squared_error(self):
        """The same with weights. N is off by a relative γ_{KB}."""
        K, B, O = self.case.target.shape
        rounding, y, target, w = self.rounding, self.of("y")[-K:], self.target, self.weights
        N, roundings = divisor_of(w.size, (K, B, O), self.case.reduction == "mean", True)
        size = np.abs(self.values["y"][-K:] - self.case.target)
        E_size = np.finfo(np.float64).eps * (y.size + target.size)
        error = Rounded(size + E_size, y.E + target.E)
        error = Rounded(error.size, rounding.again(error, 1))
        weighted = Rounded(w.size * error.size, rounding.each(Rounded(w.size, w.E), error, 1))
        self.E["dy"][-K:] = rounding.again(weighted.map(lambda v: v / N), 3 + roundings)
        left, right = weighted.map(lambda v: v.reshape(1, -1)), error.map(lambda v: v.reshape(1, -1))
        half = rounding.product(left, right.mT)[0, 0] / (2 * N[0, 0, 0]) + rounding.flushes(K * B * O)
        self.E["loss"][...] = rounding.again(Rounded(self.size["loss"], half), 3 + roundings)

    def cross_entropy(self):
        """(L3), (L4), (L2), (B1), by the formulas of `loss_bounds.py`."""
        K, B, O = self.case.target.shape
        target, w, rounding = self.target, self.weights, self.rounding
        N, roundings = divisor_of(
            w.size if self.case.weights is not None else np.ones(()), (K, B, O), self.case.reduction == "mean", False
        )
        y, E = self.values["y"][-K:], self.E["y"][-K:]
        rows = cross_entropy_rows(y, E, target.size, target.E, w.size, w.E, N, roundings, rounding, self.tau)
        rows = rows._replace(loss=np.broadcast_to(rows.loss, (K, B, 1)), E_loss=np.broadcast_to(rows.E_loss, (K, B, 1)))
        self.E["dy"][-K:] = rows.E_dy * UPWARDS
        self.E["loss"][...] = sum_of_rows(rows, N, roundings, rounding)["E_loss"] * UPWARDS

    def backward(self):
        """(B2), (B3)."""
        E, rounding = self.E, self.rounding
        dy, dh, da = map(self.of, ("dy", "dh", "da"))
        weights = join(self.params.W_hy.mT, self.params.W_hh.mT, axis=-2)
        slope, roundings = self.slope()
        after, truncation, T = da[-1].map(np.zeros_like), self.case.truncation, len(dy.size)
        if truncation is not None and truncation.kind == "band" and truncation.cuts(T):  # (R1)
            W_hy, W_hh = (np.asarray(W, np.float64) for W in self.case.params[1:3][::-1])
            values = self.values["dy"], dy.E, slope.size, slope.E
            self.band = Band(rounding, *values, roundings, W_hy, W_hh, min(truncation.steps, T))
            E["dh"][...] = self.band.summed(self.band.dh_parts)[1]
            E["da"][...] = self.band.summed(self.band.da_parts)[1]
            return
        first = 0 if truncation is None else truncation.first_step(T)  # (R2)
        for t in reversed(range(first, T)):
            E["dh"][t] = rounding.product(join(dy[t], after, axis=-1), weights)
            E["da"][t] = rounding.each(dh[t], slope[t], roundings)
            after = da[t]

    def slope(self) -> tuple[Rounded, int]:
        """φ'(a) of all steps, and how many roundings a product with it has.

        1 − h²: e + γ_3(|D| + e) with e = 2|h|E_h + E_h² + γ_2 max(c, c²), c = |h| + E_h, which covers (1−h)(1+h),
        dh − dh·h² and (dh + dh·h)(1−h) too. 1/cosh²(a): s(2E_a + γ_{2τ+3}) with s = sech²(max(|a|−E_a, 0)), as the
        derivative of sech² is at most 2 sech² and cosh may be as inaccurate as tanh; and what a flush of the slope
        loses. E is the larger of the two. The logistic function's
        h(1 − h): the same with |1 − 2h| for 2|h|, which covers dh·h − dh·h² too, and ¼/cosh²(a/2). relu': not known
        where |a| ≤ E_a, so E is 1 there.
        """
        a, h, rounding = self.of("a"), self.of("h"), self.rounding
        if self.case.nonlinearity == "relu":
            open = (a.size <= a.E) & (a.E > 0)
            return Rounded((h.size > 0).astype(np.float64), open.astype(np.float64)), 0
        logistic = self.case.nonlinearity == "sigmoid"
        D = sech_squared(self.values["a"] / 2) / 4 if logistic else sech_squared(self.values["a"])
        derivative = np.abs(1 - 2 * h.size) if logistic else 2 * h.size
        if self.case.kept is not None:  # the slope is that of the kept h; from the kept a it is off by the error of h
            E_h = np.zeros_like(h.E)
            older = slice(len(self.case.kept[1]))
            E_h[older] = (self.tau * (h.size[older] + 0.5 * logistic) + absolute_error(self.tau)) * rounding.u
            h = Rounded(h.size, h.E + E_h)
        e = h.E * (derivative + h.E) + rounding.gamma(2) * np.maximum(h.max_abs, h.max_abs**2)
        nearest = np.maximum(a.size - a.E, 0)
        s = sech_squared(nearest / 2) / 4 if logistic else sech_squared(nearest)
        by_cosh = (s * (2 * a.E + rounding.gamma(2 * self.tau + 3)) + rounding.flushes(1)) * UPWARDS
        return Rounded(D, np.maximum(rounding.again(Rounded(D, e), 3), by_cosh)), 1

    def gradients(self):
        """(B4) to (B8): sums over time and batch."""
        E, rounding = self.E, self.rounding
        h, dy, da = self.of("h"), self.of("dy").rows, self.of("da").rows
        h_before = join(self.h_0[None], h[:-1], axis=0)
        E["dW_xh"][...] = rounding.product(self.x.rows.mT, da)
        E["dW_hh"][...] = rounding.product(h_before.rows.mT, da)
        E["dW_hy"][...] = rounding.product(h.rows.mT, dy)
        if self.band is not None:
            values = np.concatenate((self.case.h_0[None], self.values["h"][:-1]))
            E["dW_xh"][...] = self.band.over_steps(np.asarray(self.case.x, np.float64), self.x.E)[1]
            E["dW_hh"][...] = self.band.over_steps(values, h_before.E)[1]
        if self.params.b_h is not None:
            E["db_h"][...] = rounding.sum(da)
            E["db_y"][...] = rounding.sum(dy)
            if self.band is not None:
                E["db_h"][...] = self.band.over_rows()[1]
            if "db_hh" in E:
                E["db_hh"][...] = E["db_h"]

    def input_gradients(self):
        """(B9), (B10)."""
        rounding, da = self.rounding, self.of("da")
        if self.band is not None:  # the parts may be added after the product
            M = np.zeros_like(da.size)
            for part in self.band.da_parts:
                M[: len(part.M)] += part.M
            da = Rounded(da.size, da.E + rounding.gamma(self.band.k) * M)
        self.E["dh_0"][...] = rounding.product(da[0], self.params.W_hh.mT)
        self.E["dx"][...] = rounding.product(da, self.params.W_xh.mT)

    def update(self):
        """(U1) to (U9), by the formulas of `step.py`."""
        step = Step(self.case, self.rounding)

        def row(prefix, tensors):
            return step.row(tensors[prefix + name] for name in step.names)

        gradient = Near(row("d", self.values), row("d", self.E))
        for name, near in step.updated(gradient, lambda velocity: Near(row("v", self.values), velocity.E)).items():
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
    if case.given_dy:
        propagation.E["dy"][-K:] = propagation.target.E
    else:
        propagation.loss()
    propagation.backward()
    propagation.gradients()
    propagation.input_gradients()
    if case.has_step:
        propagation.update()
    return propagation.E


Bounds = dict[str, tuple[Enclosure, np.ndarray]]


def global_bounds(case: Case, tau: float = TAU) -> Bounds:
    """Of every tensor that the case may owe: the oracle's values, and E in the same shape.

    tau: τ, the error of tanh in units of u|h|: twice its largest error in ulps. Where E reaches over the kink of
    a relu, so that its derivative is open, the bound is that wide.

    Raises InputError where the oracle does, and if the sums are so long that γ_n is not defined.
    """
    values = oracle(case)
    E = propagate(case, values, tau)
    return {name: (value, E[name]) for name, value in values.items()}


def check_global(
    case: Case, report: dict, tau: float = TAU, other: dict | None = None, bounds: Bounds | None = None
) -> dict[str, np.ndarray]:
    """Of every required tensor, and of the others that are reported: |reported − value| / (E + radius), by element.

    With the report of another port instead: |a − b| / 2E. A pair of correct ports is never above 1. `bounds`: those of
    `global_bounds` for this case, if they are known. What is missing or has another shape, and NaN, give infinity;
    dtype and completeness of a report are the affair of `case.format_errors`.
    """
    found, needed = {}, required_outputs(case, intermediates=False)
    reports = [report] if other is None else [report, other]
    for name, (value, E) in (bounds or global_bounds(case, tau)).items():
        arrays = [np.asarray(given[name], np.float64) for given in reports if name in given]
        if name not in needed and len(arrays) < len(reports):
            continue
        if [array.shape for array in arrays] != [E.shape] * len(reports):
            found[name] = np.full(E.shape, np.inf)
        elif other is None:
            found[name] = ratios(value.difference(arrays[0]), E + value.radius)
        else:
            with np.errstate(invalid="ignore"):  # two infinities differ by NaN
                difference = arrays[0] - arrays[1]
            found[name] = ratios(difference, 2 * E)
    return found


def truncation_signal(case: Case, bounds: Bounds | None = None) -> float:
    """How clearly dW_hh shows that gradients flow from step to step: the largest |contribution| / 10 E of its elements.

    The contribution is the part of dW_hh that comes with the terms da_{t+1} W_hhᵀ. Below 1, a port that drops them, or
    one step of them, could pass; so cases to find faults with have much more. 0 for a window of one step.
    """
    bounds = bounds or global_bounds(case)
    (a, _), (h, _), (da, _), (_, E) = (bounds[name] for name in ("a", "h", "da", "dW_hh"))
    slopes = {
        "tanh": lambda: sech_squared(a.high),
        "sigmoid": lambda: sech_squared(a.high / 2) / 4,
        "relu": lambda: h.high > 0,
    }
    slope = slopes[case.nonlinearity]()
    from_later = da.high[1:] @ case.params.W_hh.T.astype(np.float64) * slope[:-1]
    h_before = np.concatenate((case.h_0[None], h.high[:-1]))
    contribution = np.einsum("tbi,tbj->ij", h_before[:-1], from_later)
    return float(ratios(contribution, 10 * E).max())
