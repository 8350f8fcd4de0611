"""The derived bound E of every tensor of a window: how far from its true value rounding alone may move it.

Every stage rounds. By how much at most, e_v for every number v of it, is what the equivalence suite's level L1 allows
(`conformance/bounds/local_bounds.py`). What becomes of that further on is a matter of derivatives: a later number q
moves by ∂q/∂v e_v, to first order in the unit roundoff u. So

    E_q = Σ_v |∂q/∂v| e_v

over all numbers v of all stages. The ∂q/∂v are found by complex step, in a forward and backward pass into which one may
reach. Level L2 of the suite carries the sizes |W| from step to step, holds without "to first order", and is for windows
of a few steps: over twenty, products of |W| outgrow any product of W, and would grant 10¹¹ times what is granted here.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, sections 1.5 and 3.1 to 3.5: first-order
bounds as condition times backward error, and γ_n.
"""

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.local_bounds import TAU, Bound, stages
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.complex_step import IMAGINARY
from numpy_rnn.study.checks.equations import Values

PASSES_AT_ONCE = 256  # passes
STAGES = ("h", "dy", "da")  # into which the pass is reached: what else is rounded acts through one of them


def bounds(case: Case, hand: Values) -> Values:
    """E of every tensor of (F1) to (B10) by name, in its shape, around the values by hand; of `losses` too."""
    allowed = {name: limit for name, (_, limit) in stages(case, hand, TAU).items() if name not in Parameters._fields}
    (T, *_), (K, B, O) = case.x.shape, case.target.shape
    divisor = K * B * O if case.reduction == "mean" else 1
    has_loss = np.arange(T)[:, None, None] >= T - K
    slope = 1 - hand["h"] ** 2 if case.nonlinearity == "tanh" else hand["h"] > 0
    rounded = {
        "h": allowed["h"] + np.abs(slope) * allowed["a"],
        "dy": allowed["dy"] + allowed["y"] / divisor * has_loss,
        "da": allowed["da"] + np.abs(slope) * allowed["dh"],
    }
    E = {name: np.zeros_like(limit) for name, limit in allowed.items()}
    for stage in STAGES:
        for first in range(0, rounded[stage].size, PASSES_AT_ONCE):
            at = np.arange(first, min(first + PASSES_AT_ONCE, rounded[stage].size))
            moved = np.zeros((len(at), rounded[stage].size), complex)
            moved[np.arange(len(at)), at] = 1j * IMAGINARY
            moved = moved.reshape(len(at), *rounded[stage].shape).swapaxes(0, 1)  # time first
            for name, value in perturbed_pass(case, {stage: moved}).items():
                change = np.abs(value.imag) / IMAGINARY
                E[name] += np.tensordot(rounded[stage].ravel()[at], change, 1)
    for name in set(E) - set(STAGES):
        E[name] += allowed[name]
    return E | {"losses": bound_of_losses(case, hand, E["y"])}


def bound_of_losses(case: Case, hand: Values, E_y: np.ndarray) -> np.ndarray:
    """E of every ℓ_t (L1): (|y − target| + E/2) E of every output, and the rounding of a sum of squares."""
    K, B, O = case.target.shape
    error, E = np.abs(hand["y"][-K:] - case.target), E_y[-K:]
    inherited = ((error + E / 2) * E).sum(axis=(-2, -1))
    bound = Bound(case.dtype)
    return inherited + bound.relative(B * O + 2, hand["losses"], bound.flushes(B * O))[1]


def perturbed_pass(case: Case, moved: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of the window in N passes, (N, *its shape). moved: what is added to h, dy or da, (T, N, B, ·).

    The backward pass is written as in `bptt.py`, with φ'(a_t) from h_t, because its roundings are followed.
    """
    W_xh, W_hh, W_hy, b_h, b_y, _ = case.params
    T, B, D, H, O, K = case.sizes.values()
    N = next(iter(moved.values())).shape[1]
    divisor = K * B * O if case.reduction == "mean" else 1
    is_tanh = case.nonlinearity == "tanh"
    nothing = np.zeros((T, 1, 1, 1))
    of_h, of_dy, of_da = (moved.get(stage, nothing) for stage in STAGES)
    a, h, y, dy = [], [np.broadcast_to(case.h_0, (N, B, H)).astype(complex)], [], []
    for t in range(T):
        a.append(case.x[t] @ W_xh + h[-1] @ W_hh + (0 if b_h is None else b_h))
        h.append((np.tanh(a[-1]) if is_tanh else np.where(a[-1].real > 0, a[-1], 0)) + of_h[t])
        y.append(h[-1] @ W_hy + (0 if b_y is None else b_y))
        has_loss = t >= T - K
        dy.append(((y[-1] - case.target[t - (T - K)]) / divisor if has_loss else 0 * y[-1]) + of_dy[t])
    dh, da, after = [y[0]] * T, [a[0]] * T, np.zeros((N, B, H))
    for t in reversed(range(T)):
        dh[t] = dy[t] @ W_hy.T + after @ W_hh.T
        da[t] = dh[t] * (1 - h[t + 1] ** 2 if is_tanh else h[t + 1].real > 0) + of_da[t]
        after = da[t]
    steps = {"a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da}
    result = {name: np.stack(values, axis=1) for name, values in steps.items()}
    before, x = np.stack(h[:-1], axis=1), np.broadcast_to(case.x, (N, T, B, D))
    result["loss"] = 0.5 * ((result["y"][:, -K:] - case.target) ** 2).sum(axis=(1, 2, 3)) / divisor
    result["dx"], result["dh_0"] = result["da"] @ W_xh.T, da[0] @ W_hh.T
    for name, inputs, adjoints in (("dW_xh", x, "da"), ("dW_hh", before, "da"), ("dW_hy", result["h"], "dy")):
        result[name] = inputs.reshape(N, T * B, -1).mT @ result[adjoints].reshape(N, T * B, -1)
    if b_h is not None:
        result["db_h"], result["db_y"] = result["da"].sum(axis=(1, 2)), result["dy"].sum(axis=(1, 2))
    return result
