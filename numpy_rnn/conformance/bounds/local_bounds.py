"""Level L1: every stage of a window recomputed from what the port itself reported as the input of that stage.

So a faulty stage is found by itself, an error that it passes on does not count again, and the bounds do not loosen with
width or depth. Notation: u the unit roundoff of the case's dtype, γ_n = n·u/(1 − n·u); a hat, as in "|h|", is what the
port reported. The checker computes in float64, and its own rounding, the same formulas with the unit roundoff of
float64, is added.

Subnormal numbers may be flushed to zero as results and read as zero as inputs; `cc -ffast-math` does both. A sum of n
products Σ v_k w_k may then be off by

    γ_n Σ |v_k||w_k|              the roundings
    + Σ' |v_k||w_k|               over the k whose v_k or w_k is subnormal: read as zero, it takes its product with it
    + 8 n · smallest normal       products and partial sums that are flushed

The second part is 0 unless an input of the stage is subnormal. The third is below the first unless the sum is tiny.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 3.1 and 3.5: γ_n bounds a sum of n
products in any order, with or without fused multiply-add.
"""

from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.bounds.loss_bounds import cross_entropy, squared_error
from numpy_rnn.conformance.bounds.rounding import sech_squared
from numpy_rnn.conformance.bounds.step import StepBounds
from numpy_rnn.conformance.case import GIVEN_DY, case_dtype, initial_state, with_rows

STRICT_TANH_ULPS = 8  # the largest error of a usual tanh in ulps (NumPy 1.4, torch 0.75, glibc 2.1, JAX 7)


class TanhError(NamedTuple):
    """The error of tanh that is allowed, in units of u: τ|h|, and an absolute part, which is 0 for a usual tanh."""

    relative: float = 2.0 * STRICT_TANH_ULPS  # τ
    absolute: float = 0.0


TAU = TanhError()
CHECKER_TAU = 4.0  # NumPy's own, in float64
MEASURED = np.finfo(np.float64)


def check_local(case: WindowCase, report: dict, tau: TanhError = TAU) -> dict[str, np.ndarray]:
    """|reported − recomputed| / allowed, for every element of every tensor of a report with all intermediates.

    A correct port is never above 1. Arrays may carry leading axes, the same everywhere, so that all updates of a run
    with windows of one size are checked at once. NaN gives infinity. `case.format_errors` checks the format of a
    report.
    """
    return {
        name: ratios(np.asarray(report[name], np.float64) - recomputed, allowed)
        for name, (recomputed, allowed) in stages(case, report, tau).items()
    }


def ratios(difference, allowed) -> np.ndarray:
    """|difference| / allowed; 0 where both are 0, infinity where only `allowed` is, or where the difference is NaN."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where next to nothing is allowed
        ratio = np.abs(difference) / allowed
    return np.where(difference == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))


Stages = dict[str, Any]  # name: (value, allowed difference)


def stages(case: WindowCase, report: dict, tau: TanhError = TAU) -> Stages:
    """For every reported tensor, in causal order: what the stage should have given, and the difference allowed."""
    case, bound = with_rows(case), Bound(case_dtype(case))
    x, target, h_0 = (np.asarray(v, np.float64) for v in (case.x, case.target, initial_state(case)))
    W_xh, W_hh, W_hy = (np.asarray(p, np.float64) for p in case.params[:3])
    b_h, b_y, second = (
        None if p is None else np.asarray(p, np.float64)
        for p in (*case.params[3:5], getattr(case.params, "b_hh", None))
    )
    a, h, y, dy, dh, da = (np.asarray(report[name], np.float64) for name in ("a", "h", "y", "dy", "dh", "da"))
    (T, B, D), (H, O), nonlinearity = x.shape[-3:], W_hy.shape[-2:], case.objective.nonlinearity
    h_before = np.concatenate((h_0[..., None, :, :], h[..., :-1, :, :]), axis=-3)
    found: Stages = {}

    # (F1) to (F3)
    terms = bound.each_step(W_xh, x), bound.each_step(W_hh, h_before), bound.each_row(b_h), bound.each_row(second)
    found["a"] = bound.sum(D + H + 1 + (second is not None), *terms)
    found["h"] = bound.nonlinearity(nonlinearity, a, tau)
    found["y"] = bound.sum(H + 1, bound.each_step(W_hy, h), bound.each_row(b_y))
    found |= loss_stages(case, y, target, bound, tau)

    # (B2), (B3)
    da_next = np.concatenate((da[..., 1:, :, :], np.zeros_like(da[..., :1, :, :])), axis=-3)
    expected_dh, allowed_dh = bound.sum(O + H, bound.each_step(W_hy.mT, dy), bound.each_step(W_hh.mT, da_next))
    found["dh"] = expected_dh, allowed_dh + bound.u * np.abs(expected_dh)
    if nonlinearity == "relu":
        found["da"] = bound.through_relu(dh, a, h)
    else:
        found["da"] = bound.through_tanh(dh, h, a, da, tau, logistic=nonlinearity == "sigmoid")

    # (B9), (B10)
    if "dh_0" in report:
        found["dh_0"] = bound.sum(H, bound.product(da[..., 0, :, :], W_hh.mT))
    if "dx" in report:
        found["dx"] = bound.sum(H, bound.each_step(W_xh.mT, da))

    # (B4) to (B8)
    for name, left, right in (("dW_xh", x, da), ("dW_hh", h_before, da), ("dW_hy", h, dy)):
        found[name] = bound.sum(T * B, bound.over_steps(left, right))
    for name, bias, v in (("db_h", b_h, da), ("db_hh", second, da), ("db_y", b_y, dy)):
        if bias is not None:
            found[name] = bound.sum(T * B, bound.numbers(v, np.add.reduce, axis=(-3, -2)))
    return found | step_stages(case, report, bound)


def loss_stages(case: WindowCase, y: np.ndarray, target: np.ndarray, bound: "Bound", tau: TanhError) -> Stages:
    """(L1) to (L4) and (B1), from the reported outputs."""
    T, K, (_, loss, reduction) = y.shape[-3], target.shape[-3], case.objective
    expected, allowed = np.zeros_like(y), np.zeros_like(y)
    newest = (..., slice(T - K, None), slice(None), slice(None))
    if loss == GIVEN_DY:
        expected[newest] = target
        return {"dy": (expected, bound.subnormal(expected))}
    w = np.ones(()) if case.weights is None else np.asarray(case.weights, np.float64)[..., None]
    losses = cross_entropy if loss == "cross_entropy" else squared_error
    found = losses(y[newest], target, w, reduction == "mean", bound, tau.relative)
    expected[newest], allowed[newest] = found.dy, found.E_dy
    return {"loss": (found.loss, found.E_loss), "dy": (expected, allowed)}


def step_stages(case: WindowCase, report: dict, bound: "Bound") -> Stages:
    """(U1) to (U9), from the reported gradients and velocities."""
    if case.step is None:
        return {}
    step = StepBounds(case, bound)
    reported = {
        prefix: step.given(step.row(report[prefix + name] for name in step.names))
        for prefix in ("d", "v") if prefix == "d" or case.step.has_velocity
    }  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):  # reports that are not finite give NaN, which no check passes
        return step.updated(reported["d"], reported.get("v"))


class Terms(NamedTuple):
    """A sum of terms, by element."""

    value: np.ndarray
    magnitude: np.ndarray  # the sum of the terms' absolute values
    subnormal: np.ndarray  # of these, the terms with a subnormal factor


class Bound:
    """The rounding of one stage: in the port's dtype, with the checker's own added."""

    def __init__(self, dtype):
        limits = np.finfo(dtype)
        self.u = float(limits.eps) / 2
        self.own = float(MEASURED.eps) / 2
        self.smallest = float(limits.smallest_normal)

    def gamma(self, n) -> float:
        """γ_n of the port, plus γ_n of the checker."""
        return n * self.u / (1 - n * self.u) + n * self.own / (1 - n * self.own)

    def flushes(self, n):
        """What n terms lose where subnormal results are flushed to zero; as much as `rounding.Rounding` allows."""
        return 8 * n * self.smallest

    def subnormal(self, v) -> np.ndarray:
        """|v| where it is subnormal, which is what reading it as zero loses; 0 elsewhere."""
        size = np.abs(v)
        return np.where(size < self.smallest, size, 0.0)

    def product(self, left, right) -> Terms:
        """The product of matrices."""
        size_left, size_right = np.abs(left), np.abs(right)
        tiny_left, tiny_right = self.subnormal(left), self.subnormal(right)
        subnormal = tiny_left @ size_right + (size_left - tiny_left) @ tiny_right
        return Terms(left @ right, size_left @ size_right, subnormal)

    def each_step(self, W, v) -> Terms:
        """v_t W of every step: (..., N, M), (..., T, B, N) → (..., T, B, M)."""
        return self.product(v, W[..., None, :, :])

    def over_steps(self, v, d) -> Terms:
        """Σ_t v_tᵀ d_t: (..., T, B, N), (..., T, B, M) → (..., N, M)."""
        v, d = (array.reshape(*array.shape[:-3], -1, array.shape[-1]) for array in (v, d))
        return self.product(v.mT, d)

    def each_row(self, b) -> Terms | None:
        """A bias, for every row: (..., N) → (..., 1, 1, N)."""
        return None if b is None else self.numbers(b[..., None, None, :], np.asarray)

    def numbers(self, v, f, **options) -> Terms:
        """Numbers that are summed up as they are, by f."""
        return Terms(*(f(part, **options) for part in (v, np.abs(v), self.subnormal(v))))

    def sum(self, n, *parts: Terms | None) -> tuple[np.ndarray, np.ndarray]:
        """The sum of the parts that are not None, of at most n rounded terms in all, and the difference allowed."""
        present = [part for part in parts if part is not None]
        value, magnitude, subnormal = (reduce(np.add, column) for column in zip(*present))
        return value, self.gamma(n) * magnitude + subnormal + self.flushes(n)

    def relative(self, n, value, E) -> tuple[np.ndarray, np.ndarray]:
        """A value whose terms have one sign, so that its relative error is at most γ_n; E comes on top."""
        return value, self.gamma(n) * (np.abs(value) + E) + E

    def rounded(self, ulps, value, own_ulps) -> tuple[np.ndarray, np.ndarray]:
        """A function's value, known to so many units of roundoff; its argument may be read as zero."""
        return value, (ulps * self.u + own_ulps * self.own) * np.abs(value) + self.flushes(1)

    def nonlinearity(self, name, a, tau) -> tuple[np.ndarray, np.ndarray]:
        """(F2). The logistic function is 1/(1 + exp(−a)), exp(a)/(1 + exp(a)) or ½ + ½ tanh(a/2).

        The roundings of the last are in units of its ½, so that much is allowed where the value is smaller: τu (½ + h).
        """
        if name == "relu":
            return self.rounded(0, np.maximum(a, 0), 0)
        absolute = tau.absolute * self.u
        if name == "tanh":
            h, allowed = self.rounded(tau.relative, np.tanh(a), CHECKER_TAU)
            return h, allowed + absolute
        h = 0.5 + 0.5 * np.tanh(0.5 * a)
        return h, (tau.relative * self.u + CHECKER_TAU * self.own) * (0.5 + h) + self.flushes(1) + absolute

    def through_tanh(self, dh, h, a, da, tau, logistic=False) -> tuple[np.ndarray, np.ndarray]:
        """(B3) of tanh from h, or from a; for every element the form that the reported da is nearer to.

        From h: dh∘(1 − h²), and also dh − dh·h·h and (dh + dh·h)(1 − h). The roundings of the latter are in units of
        |h| and not of h². A subnormal dh loses itself at most, a subnormal h nothing that the rounding of 1 − h² does
        not cover. From a: dh/cosh²(a), with τu for cosh, as for tanh, twice in the square, and three roundings more; a
        slope that is flushed to zero takes its product with it.

        The logistic function likewise: from h dh∘h(1 − h), and also dh·h − dh·h·h; from a dh σ(a) σ(−a), which is
        ¼ dh/cosh²(a/2).
        """
        slope = h * (1 - h) if logistic else 1 - np.square(h)
        expected = dh * slope
        curvature = 2 * np.abs(h) * np.maximum(1, np.abs(h)) + 3 * np.abs(slope)
        allowed = (self.u + self.own) * (np.abs(dh) * curvature + 2 * np.abs(expected)) + self.flushes(1)
        by_cosh = dh * (sech_squared(a / 2) / 4 if logistic else sech_squared(a))
        roundings = (2 * tau.relative + 3) * self.u + (2 * CHECKER_TAU + 3) * self.own
        allowed_by_cosh = roundings * np.abs(by_cosh) + self.flushes(1) * (1 + np.abs(dh))
        nearer = ratios(da - by_cosh, allowed_by_cosh) < ratios(da - expected, allowed)
        return np.where(nearer, by_cosh, expected), np.where(nearer, allowed_by_cosh, allowed)

    def through_relu(self, dh, a, h) -> tuple[np.ndarray, np.ndarray]:
        """(B3) of relu: dh where h > 0, which is open where a or h is subnormal and may be read as zero."""
        expected = dh * (h > 0)
        is_open = (self.subnormal(a) > 0) | (self.subnormal(h) > 0)
        return expected, 2 * (self.u + self.own) * np.abs(expected) + is_open * np.abs(dh) + self.flushes(1)
