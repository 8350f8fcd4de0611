"""Level L1: every stage of a window recomputed from what the port itself reported as the input of that stage.

So a faulty stage is found by itself, an error that it passes on does not count again, and the bounds do not loosen with
width or depth. The operations have the bounds of `rounding.py`. The checker computes in float64, and its own rounding,
the same formulas with the unit roundoff of float64, is added. A reported number that is subnormal may be read as zero
by the next stage, which `cc -ffast-math` does; it then loses itself.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 3.1 and 3.5: γ_n bounds a sum of n
products in any order, with or without fused multiply-add.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.bounds.loss_bounds import cross_entropy, squared_error
from numpy_rnn.conformance.bounds.rounding import Rounding, sech_squared
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
    """The value that each stage should have given, and the difference allowed, by tensor in causal order."""
    case, bound = with_rows(case), Bound(case_dtype(case))
    x, h_0 = (np.asarray(v, np.float64) for v in (case.x, initial_state(case)))
    params: list[Any] = [None if p is None else np.asarray(p, np.float64) for p in case.params]
    W_xh, W_hh, W_hy, b_h, b_y, _, *second = params
    a, h, y, dy, dh, da = (np.asarray(report[name], np.float64) for name in ("a", "h", "y", "dy", "dh", "da"))
    h_before = np.concatenate((h_0[..., None, :, :], h[..., :-1, :, :]), axis=-3)
    biases = [b for b in (b_h, *second) if b is not None]
    nonlinearity = case.objective.nonlinearity
    found: Stages = {}

    found["a"] = bound.product((x, h_before), (W_xh, W_hh), biases)  # (F1)
    found["h"] = bound.nonlinearity(nonlinearity, a, tau)  # (F2)
    found["y"] = bound.product((h,), (W_hy,), [] if b_y is None else [b_y])  # (F3)
    found |= loss_stages(case, y, bound, tau)

    da_next = np.concatenate((da[..., 1:, :, :], np.zeros_like(da[..., :1, :, :])), axis=-3)
    expected_dh, allowed_dh = bound.product((dy, da_next), (W_hy.mT, W_hh.mT))  # (B2)
    found["dh"] = expected_dh, allowed_dh + bound.u * np.abs(expected_dh)
    if nonlinearity == "relu":  # (B3)
        found["da"] = bound.through_relu(dh, a, h)
    else:
        found["da"] = bound.through_tanh(dh, h, a, da, tau, logistic=nonlinearity == "sigmoid")

    if "dh_0" in report:
        value, E = bound.product((da[..., :1, :, :],), (W_hh.mT,))  # (B9)
        found["dh_0"] = value[..., 0, :, :], E[..., 0, :, :]
    if "dx" in report:
        found["dx"] = bound.product((da,), (W_xh.mT,))  # (B10)

    for name, left, right in (("dW_xh", x, da), ("dW_hh", h_before, da), ("dW_hy", h, dy)):  # (B4) to (B6)
        rows = bound.given(left).rows.mT, bound.given(right).rows
        found[name] = _rows(left).mT @ _rows(right), Rounding.product(bound, *rows)
    for name, bias, v in (("db_h", b_h, da), ("db_hh", [*second, None][0], da), ("db_y", b_y, dy)):  # (B7), (B8)
        if bias is not None:
            found[name] = _rows(v).sum(axis=-2), bound.sum(bound.given(v).rows)
    return found | step_stages(case, report, bound)


def _rows(array: np.ndarray) -> np.ndarray:
    """(..., T, B, N) → (..., T·B, N)."""
    return array.reshape(*array.shape[:-3], -1, array.shape[-1])


def loss_stages(case: WindowCase, y: np.ndarray, bound: "Bound", tau: TanhError) -> Stages:
    """(L1) to (L4) and (B1), from the reported outputs."""
    target = np.asarray(case.target, np.float64)
    T, K, (_, loss, reduction) = y.shape[-3], target.shape[-3], case.objective
    expected, allowed = np.zeros_like(y), np.zeros_like(y)
    newest = (..., slice(T - K, None), slice(None), slice(None))
    if loss == GIVEN_DY:
        expected[newest] = target
        return {"dy": (expected, bound.subnormal(expected))}
    w, y, given = bound.given(1 if case.weights is None else case.weights[..., None]), y[newest], bound.given(target)
    if loss == "cross_entropy":
        found = cross_entropy(y, bound.subnormal(y), given, w, reduction == "mean", bound, tau.relative)
    else:
        found = squared_error(y - target, bound.subnormal(y) + given.E, w, reduction == "mean", bound)
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


class Bound(Rounding):
    """The rounding of one stage: in the port's dtype, with the checker's own added."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self.own = float(MEASURED.eps) / 2

    def gamma(self, n):
        """γ_n of the port, plus γ_n of the checker."""
        return super().gamma(n) + n * self.own / (1 - n * self.own)

    def subnormal(self, v) -> np.ndarray:
        """|v| where it is subnormal, which is what reading it as zero loses; 0 elsewhere."""
        return self.given(v).E

    def product(self, inputs, weights, biases=()):  # type: ignore[override]
        """Σ v W + b for every step, as one sum: its value and E. A bias is one more row, for a one in the inputs."""
        shape = np.broadcast_shapes(*(v.shape[:-1] for v in inputs))
        inputs = [np.broadcast_to(v, (*shape, v.shape[-1])) for v in inputs] + [np.ones((*shape, 1))] * len(biases)
        left = np.concatenate(inputs, axis=-1)
        right = np.concatenate((*weights, *(b[..., None, :] for b in biases)), axis=-2)[..., None, :, :]
        return left @ right, super().product(self.given(left), self.given(right))

    def nonlinearity(self, name, a, tau) -> tuple[np.ndarray, np.ndarray]:
        """(F2). The logistic function is 1/(1 + exp(−a)), exp(a)/(1 + exp(a)) or ½ + ½ tanh(a/2).

        The roundings of the last are in units of its ½, so that much is allowed where the value is smaller: τu (½ + h).
        """
        if name == "relu":
            return np.maximum(a, 0), self.flushes(1) * np.ones_like(a)
        absolute = tau.absolute * self.u
        if name == "tanh":
            h = np.tanh(a)
            return h, (tau.relative * self.u + CHECKER_TAU * self.own) * np.abs(h) + self.flushes(1) + absolute
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
