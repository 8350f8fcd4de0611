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
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.bounds.local_bounds import TAU, TanhError, ratios
from numpy_rnn.conformance.bounds.loss_bounds import cross_entropy, divisor, squared_error
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Rounded, Rounding, join, sech_squared
from numpy_rnn.conformance.bounds.step import Near, StepBounds
from numpy_rnn.conformance.case import (
    GIVEN_DY,
    case_dtype,
    case_sizes,
    initial_state,
    required_outputs,
    with_rows,
)


class Propagation:
    """E of every tensor of a case, by name in `self.E`, filled in causal order around the oracle's values.

    tau: the error of tanh in units of u|h|.
    """

    def __init__(self, case: WindowCase, values: dict[str, Enclosure], tau: TanhError):
        self.case, self.tau = with_rows(case), tau
        self.rounding = Rounding(case_dtype(case))
        self.size = {name: np.abs(value.high) for name, value in values.items()}
        self.values = {name: value.high for name, value in values.items()}
        self.E = {name: np.zeros_like(size) for name, size in self.size.items()}
        given = self.rounding.given
        self.x, self.target, self.h_0 = map(given, (self.case.x, self.case.target, initial_state(case)))
        self.weights = given(np.ones((1, 1, 1)) if case.weights is None else case.weights[..., None])
        params = (None if theta is None else given(np.atleast_2d(theta)) for theta in case.params)
        self.params: Any = type(case.params)(*params)

    def rounded(self, name: str) -> Rounded:
        """A tensor and what is known of its error so far."""
        return Rounded(self.size[name], self.E[name])

    def forward(self):
        """(F1) to (F3). A bias is one more row of the weights, for a one in the inputs."""
        W_xh, W_hh, W_hy, b_h, b_y, _, *second = self.params
        E, h, rounding = self.E, self.rounded("h"), self.rounding
        T, B, _ = self.case.x.shape
        ones = None if b_h is None else rounding.given(np.ones((T, B, 1)))
        weights = join(W_xh, W_hh, b_h, *second, axis=-2)
        more = [ones for b in second if b is not None and ones is not None]
        before = self.h_0
        for t in range(T):
            inputs = join(self.x[t], before, ones and ones[t], *(one[t] for one in more), axis=-1)
            E["a"][t] = rounding.product(inputs, weights)
            E["h"][t] = self.nonlinearity(t)
            before = h[t]
        E["y"][...] = rounding.product(join(h, ones, axis=-1), join(W_hy, b_y, axis=-2))

    def nonlinearity(self, t: int) -> np.ndarray:
        """E of h_t: for tanh sech²(max(|a|−E_a, 0)) E_a + τu(|h| + that); for relu E_a, and 0 on its dead side.

        The logistic function is ½ + ½ tanh(a/2): ¼ sech² of half the argument, and τu(½ + |h|), as at level L1.
        """
        a, E_a, rounding = self.values["a"][t], self.E["a"][t], self.rounding
        if self.case.objective.nonlinearity == "relu":
            return np.where(a < -E_a, 0.0, E_a)
        nearest = np.maximum(np.abs(a) - E_a, 0)
        if self.case.objective.nonlinearity == "tanh":
            inherited, more = sech_squared(nearest) * E_a, 0.0
        else:
            inherited, more = sech_squared(nearest / 2) / 4 * E_a, 0.5
        max_abs = self.size["h"][t] + inherited + more
        own = (self.tau.relative * max_abs + self.tau.absolute) * rounding.u
        return (inherited + own + rounding.flushes(max_abs > 0)) * UPWARDS

    def loss(self):
        """(L1) to (L4), (B1), by the formulas of `loss_bounds.py`."""
        K, B, O = self.case.target.shape
        target, w, mean = self.target, self.weights, self.case.objective.reduction == "mean"
        if self.case.weights is None:
            w = w.map(lambda array: array[0, 0, 0])
        if self.case.objective.loss == "cross_entropy":
            y, E = self.values["y"][-K:], self.E["y"][-K:]
            found = cross_entropy(y, E, target, w, mean, self.rounding, self.tau.relative)
        else:
            N, _ = divisor(w.size, (K, B, O), mean, True)
            error = self.size["dy"][-K:] * N / np.where(w.size > 0, w.size, 1)  # without a cancellation in float64
            found = squared_error(error, self.E["y"][-K:] + target.E, w, mean, self.rounding)
        self.E["dy"][-K:], self.E["loss"][...] = found.E_dy * UPWARDS, found.E_loss * UPWARDS

    def backward(self):
        """(B2), (B3)."""
        E, rounding = self.E, self.rounding
        dy, dh, da = map(self.rounded, ("dy", "dh", "da"))
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
        dh − dh·h² and (dh + dh·h)(1−h) too. 1/cosh²(a): s(2E_a + γ_{2τ+3}) with s = sech²(max(|a|−E_a, 0)), as the
        derivative of sech² is at most 2 sech² and cosh may be as inaccurate as tanh; and what a flush of the slope
        loses. E is the larger of the two. The logistic function's
        h(1 − h): the same with |1 − 2h| for 2|h|, which covers dh·h − dh·h² too, and ¼/cosh²(a/2). relu': not known
        where |a| ≤ E_a, so E is 1 there.
        """
        a, h, rounding = self.rounded("a"), self.rounded("h"), self.rounding
        if self.case.objective.nonlinearity == "relu":
            open = (a.size <= a.E) & (a.E > 0)
            return Rounded((h.size > 0).astype(np.float64), open.astype(np.float64)), 0
        logistic = self.case.objective.nonlinearity == "sigmoid"
        D = sech_squared(self.values["a"] / 2) / 4 if logistic else sech_squared(self.values["a"])
        derivative = np.abs(1 - 2 * h.size) if logistic else 2 * h.size
        e = h.E * (derivative + h.E) + rounding.gamma(2) * np.maximum(h.max_abs, h.max_abs**2)
        nearest = np.maximum(a.size - a.E, 0)
        s = sech_squared(nearest / 2) / 4 if logistic else sech_squared(nearest)
        by_cosh = (s * (2 * a.E + rounding.gamma(2 * self.tau.relative + 3)) + rounding.flushes(1)) * UPWARDS
        return Rounded(D, np.maximum(rounding.again(Rounded(D, e), 3), by_cosh)), 1

    def gradients(self):
        """(B4) to (B8): sums over time and batch."""
        E, rounding = self.E, self.rounding
        h, dy, da = self.rounded("h"), self.rounded("dy").rows, self.rounded("da").rows
        h_before = join(self.h_0[None], h[:-1], axis=0)
        E["dW_xh"][...] = rounding.product(self.x.rows.mT, da)
        E["dW_hh"][...] = rounding.product(h_before.rows.mT, da)
        E["dW_hy"][...] = rounding.product(h.rows.mT, dy)
        if self.params.b_h is not None:
            E["db_h"][...] = rounding.sum(da)
            E["db_y"][...] = rounding.sum(dy)
            if "db_hh" in E:
                E["db_hh"][...] = E["db_h"]

    def input_gradients(self):
        """(B9), (B10)."""
        rounding, da = self.rounding, self.rounded("da")
        self.E["dh_0"][...] = rounding.product(da[0], self.params.W_hh.mT)
        self.E["dx"][...] = rounding.product(da, self.params.W_xh.mT)

    def update(self):
        """(U1) to (U9), by the formulas of `step.py`."""
        step = StepBounds(self.case, self.rounding)

        def near(prefix):
            return Near(*(step.row(v[prefix + name] for name in step.names) for v in (self.values, self.E)))

        velocity = step.velocity(step.decayed(near("d")))
        if velocity is not None:  # around the value of the oracle
            velocity = Near(near("v").value, velocity.E)
        for name, (_, E) in step.updated(near("d"), velocity).items():
            self.E[name][...] = E


def propagate(case: WindowCase, values: dict[str, Enclosure], tau: TanhError) -> dict[str, np.ndarray]:
    """E of every tensor, around the oracle's values. tau: the error of tanh in units of u|h|.

    Raises InputError where a sum or a norm is so long that γ_n says nothing.
    """
    T, B, D, H, O, K = case_sizes(case).values()
    longest = max(T * B, K * B * O + 2, D + H + 1, H + O)
    if longest * np.finfo(case_dtype(case)).eps > 0.5:
        raise InputError(f"a sum of {longest} terms in {case_dtype(case)} has no bound: expected fewer, or float64")
    propagation = Propagation(case, values, tau)
    propagation.forward()
    if case.objective.loss == GIVEN_DY:
        propagation.E["dy"][-K:] = propagation.target.E
    else:
        propagation.loss()
    propagation.backward()
    propagation.gradients()
    propagation.input_gradients()
    if case.step is not None:
        propagation.update()
    return propagation.E


Bounds = dict[str, tuple[Enclosure, np.ndarray]]


def global_bounds(case: WindowCase, tau: TanhError = TAU) -> Bounds:
    """The oracle's values of every tensor that the case may require, and E in the same shape.

    tau: τ, the error of tanh in units of u|h|: twice its largest error in ulps. Where E reaches over the kink of
    a relu, so that its derivative is open, the bound is that wide.

    Raises InputError where the oracle does, and if the sums are so long that γ_n is not defined.
    """
    values = oracle(case)
    E = propagate(case, values, tau)
    return {name: (value, E[name]) for name, value in values.items()}


def check_global(
    case: WindowCase, report: dict, tau: TanhError = TAU, bounds: Bounds | None = None
) -> dict[str, np.ndarray]:
    """|reported − value| / (E + radius), by element, of every required tensor and of the others that are reported.

    `bounds`: those of `global_bounds` for this case, if they are known. What is missing or has another shape, and NaN,
    give infinity; `case.format_errors` checks dtype and completeness of a report.
    """
    found, required = {}, required_outputs(case, intermediates=False)
    for name, (value, E) in (bounds or global_bounds(case, tau)).items():
        if name in report and np.shape(report[name]) == E.shape:
            found[name] = ratios(value.difference(report[name]), E + value.radius)
        elif name in report or name in required:
            found[name] = np.full(E.shape, np.inf)
    return found
