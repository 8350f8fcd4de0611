"""Level L1: every stage of a window recomputed from what the port itself reported as the input of that stage.

So a faulty stage is found by itself, an error that it passes on does not count again, and the bounds do not loosen with
width or depth. Notation: u the unit roundoff of the case's dtype, γ_n = n·u/(1 − n·u); a hat, as in "|h|", is what the
port reported. The checker computes in float64, and its own rounding, the same formulas with the unit roundoff of
float64, is added.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 3.1 and 3.5: γ_n bounds a sum of n
products in any order, with or without fused multiply-add.
"""

import numpy as np

from numpy_rnn.conformance.bounds.step import Step
from numpy_rnn.conformance.case import Case

TAU = 16.0  # τ: twice the largest error in ulps of a usual tanh (NumPy 1.4, torch 0.75, glibc 2.1, JAX 7)
CHECKER_TAU = 4.0  # NumPy's own, in float64
MEASURED = np.finfo(np.float64)


def check_local(case: Case, report: dict, tau: float = TAU) -> dict[str, np.ndarray]:
    """|reported − recomputed| / allowed, for every element of every tensor of a report with all intermediates.

    A correct port is never above 1. Arrays may carry leading axes, the same everywhere, so that all updates of a run
    with windows of one size are checked at once. NaN gives infinity. The report's form is `case.form_faults`'s affair.
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


def stages(case: Case, report: dict, tau: float = TAU) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For every reported tensor, in causal order: what the stage should have given, and the difference allowed."""
    bound = Bound(case.dtype)
    x, target, h_0 = (np.asarray(v, np.float64) for v in (case.x, case.target, case.h_0))
    W_xh, W_hh, W_hy = (np.asarray(p, np.float64) for p in case.params[:3])
    b_h, b_y = (None if p is None else np.asarray(p, np.float64) for p in case.params[3:5])
    a, h, y, dy, dh, da = (np.asarray(report[name], np.float64) for name in ("a", "h", "y", "dy", "dh", "da"))
    (T, B, D), (H, O), K = x.shape[-3:], W_hy.shape[-2:], target.shape[-3]
    h_before = np.concatenate((h_0[..., None, :, :], h[..., :-1, :, :]), axis=-3)
    of = {}

    # (F1) to (F3)
    of["a"] = bound.sum(D + H + 1, each_step(W_xh, x), each_step(W_hh, h_before), each_row(b_h))
    tanh = np.tanh(a)
    is_tanh = case.nonlinearity == "tanh"
    of["h"] = bound.rounded(tau, tanh, CHECKER_TAU) if is_tanh else bound.rounded(0, np.maximum(a, 0), 0)
    of["y"] = bound.sum(H + 1, each_step(W_hy, h), each_row(b_y))

    # (L1), (L2)
    error = y[..., T - K :, :, :] - target
    terms = K * B * O
    mean = case.reduction == "mean"
    divisor = terms if mean else 1
    loss = 0.5 * np.square(error).sum(axis=(-3, -2, -1)) / divisor
    of["loss"] = bound.relative(terms + (4 if mean else 2), loss, terms)

    # (B1) to (B3)
    counted = error / divisor
    expected_dy = np.zeros_like(y)
    expected_dy[..., T - K :, :, :] = counted
    of["dy"] = bound.relative(3 if mean else 1, expected_dy, 1)
    da_next = np.concatenate((da[..., 1:, :, :], np.zeros_like(da[..., :1, :, :])), axis=-3)
    expected_dh, allowed_dh = bound.sum(O + H, each_step(W_hy.mT, dy), each_step(W_hh.mT, da_next))
    of["dh"] = expected_dh, allowed_dh + bound.u * np.abs(expected_dh)
    slope = 1 - np.square(h) if is_tanh else (h > 0).astype(np.float64)
    # dh∘(1 − h²), and also dh − dh·h·h and (dh + dh·h)(1 − h), whose roundings are in units of |h| and not of h².
    curvature = 2 * np.abs(h) * np.maximum(1, np.abs(h)) + 3 * np.abs(slope) if is_tanh else 0
    expected_da = dh * slope
    of["da"] = (
        expected_da,
        (bound.u + bound.own) * (np.abs(dh) * curvature + 2 * np.abs(expected_da)) + 3 * bound.smallest,
    )

    # (B9), (B10)
    if "dh_0" in report:
        of["dh_0"] = bound.sum(H, (da[..., 0, :, :] @ W_hh.mT, np.abs(da[..., 0, :, :]) @ np.abs(W_hh.mT)))
    if "dx" in report:
        of["dx"] = bound.sum(H, each_step(W_xh.mT, da))

    # (B4) to (B8)
    of["dW_xh"] = bound.sum(T * B, over_steps(x, da))
    of["dW_hh"] = bound.sum(T * B, over_steps(h_before, da))
    of["dW_hy"] = bound.sum(T * B, over_steps(h, dy))
    if b_h is not None:
        of["db_h"] = bound.sum(T * B, (da.sum(axis=(-3, -2)), np.abs(da).sum(axis=(-3, -2))))
        of["db_y"] = bound.sum(T * B, (dy.sum(axis=(-3, -2)), np.abs(dy).sum(axis=(-3, -2))))

    # (U1) to (U6), from the velocities that were reported
    step = Step(case, bound)
    names = [name for name, theta in case.params._asdict().items() if theta is not None]
    gradients = {name: step.given(report["d" + name]) for name in names}
    of |= step.updated(gradients, lambda name, near: step.given(report[name]))
    return of


class Bound:
    """The rounding of one stage: in the port's dtype, with the checker's own added."""

    def __init__(self, dtype):
        limits = np.finfo(dtype)
        self.u = float(limits.eps) / 2
        self.own = float(MEASURED.eps) / 2
        self.smallest = float(limits.smallest_normal)  # a subnormal result may be flushed to zero

    def gamma(self, n) -> float:
        """γ_n of the port, plus γ_n of the checker."""
        return n * self.u / (1 - n * self.u) + n * self.own / (1 - n * self.own)

    def flushes(self, n):
        """What n terms lose where subnormal numbers are flushed to zero; as much as `rounding.Rounding` allows."""
        return 8 * n * self.smallest

    def sum(self, n, *parts) -> tuple[np.ndarray, np.ndarray]:
        """Parts of (value, magnitude), or None, that stand for a sum of at most n rounded terms each."""
        present = [part for part in parts if part is not None]
        value, magnitude = present[0]
        for other_value, other_magnitude in present[1:]:
            value, magnitude = value + other_value, magnitude + other_magnitude
        return value, self.gamma(n) * magnitude + n * self.smallest

    def relative(self, n, value, terms) -> tuple[np.ndarray, np.ndarray]:
        """A value whose terms have one sign, so that its relative error is at most γ_n."""
        return value, self.gamma(n) * np.abs(value) + terms * self.smallest

    def rounded(self, ulps, value, own_ulps) -> tuple[np.ndarray, np.ndarray]:
        """A function's value, known to so many units of roundoff."""
        return value, (ulps * self.u + own_ulps * self.own) * np.abs(value) + self.smallest


def each_step(W, v) -> tuple[np.ndarray, np.ndarray]:
    """v_t W of every step, and |v_t||W|: (..., T, B, N), (..., N, M) → (..., T, B, M)."""
    W = W[..., None, :, :]
    return v @ W, np.abs(v) @ np.abs(W)


def each_row(b):
    """A bias beside every row, and its magnitude: (..., N) → (..., 1, 1, N)."""
    return None if b is None else (b[..., None, None, :], np.abs(b)[..., None, None, :])


def over_steps(v, d) -> tuple[np.ndarray, np.ndarray]:
    """Σ_t v_tᵀ d_t, and Σ_t |v_t|ᵀ|d_t|: (..., T, B, N), (..., T, B, M) → (..., N, M)."""
    v = v.reshape(*v.shape[:-3], -1, v.shape[-1])
    d = d.reshape(*d.shape[:-3], -1, d.shape[-1])
    return v.mT @ d, np.abs(v).mT @ np.abs(d)
