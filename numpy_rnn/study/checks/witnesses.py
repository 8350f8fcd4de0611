"""Witnesses of a window: plain loops, RTRL, ball arithmetic and autograd compute the same tensors in other ways."""

import importlib
from fractions import Fraction
from importlib.util import find_spec
from math import fsum, tanh

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.study.checks.comparison import Witnessed, fractions, from_exact, whole
from numpy_rnn.study.checks.equations import by_hand, divisor
from numpy_rnn.study.suite_parts import enclosures, initial_state, sech_squared


def loops(case: WindowCase) -> dict[str, Witnessed]:
    """a, h, y by (F1) to (F3), the losses ℓ_t (L1) and L (L2) by their index forms, element by element.

    No product of NumPy's, no tanh of its own: math.fsum adds without an error, math.tanh is the C library's.
    The network has biases.
    """
    (T, B, D), (H, O), K = case.x.shape, case.params.W_hy.shape, len(case.target)
    W_xh, W_hh, W_hy, b_h, b_y = (np.asarray(theta).tolist() for theta in case.params[:5])
    x, target, before = case.x.tolist(), case.target.tolist(), initial_state(case).tolist()
    phi = tanh if case.objective.nonlinearity == "tanh" else lambda v: max(v, 0.0)
    a, h, y = np.empty((T, B, H)), np.empty((T, B, H)), np.empty((T, B, O))
    for t in range(T):
        for b in range(B):
            for j in range(H):
                inputs = [x[t][b][d] * W_xh[d][j] for d in range(D)]
                states = [before[b][i] * W_hh[i][j] for i in range(H)]
                a[t, b, j] = fsum((*inputs, *states, b_h[j]))
                h[t, b, j] = phi(a[t, b, j])
        before = h[t].tolist()
        for b in range(B):
            for o in range(O):
                y[t, b, o] = fsum((*(before[b][i] * W_hy[i][o] for i in range(H)), b_y[o]))
    squares = [[(y[T - K + k, b, o] - target[k][b][o]) ** 2 for b in range(B) for o in range(O)] for k in range(K)]
    losses = [fsum(step) / 2 for step in squares]
    values = {"a": a, "h": h, "y": y, "losses": losses, "loss": fsum(losses) / divisor(case)}
    return {name: whole(v) for name, v in values.items()}


def rtrl(case: WindowCase) -> dict[str, Witnessed]:
    """The gradients of (B4) to (B9) by name, dh_0 of every sequence, (B, H).

    θ are the rows of one matrix V of shape (D+H+1, H), in which W_xh, W_hh and b_h lie upon each other, so that
    a_t = z_t V with z_t = (x_t, h_{t-1}, 1); and the state h_0. The network has biases.
    """
    (T, B, D), (H, O), K = case.x.shape, case.params.W_hy.shape, len(case.target)
    W_xh, W_hh, W_hy, b_h, b_y = map(np.asarray, case.params[:5])
    M, V = D + H + 1, np.concatenate((W_xh, W_hh, b_h[None]))
    is_tanh = case.objective.nonlinearity == "tanh"

    h = initial_state(case)
    J = np.zeros((B, H, M + 1, H))  # J[b, j, m, i] = ∂h_{t,bj}/∂V_mi, and in row M ∂h_{t,bj}/∂h_{0,bi}
    J[:, :, M] = np.eye(H)
    dV, dh_0, dW_hy, db_y = np.zeros((M, H)), np.zeros((B, H)), np.zeros((H, O)), np.zeros(O)
    diagonal = np.arange(H)
    for t in range(T):
        z = np.concatenate((case.x[t], h, np.ones((B, 1))), axis=-1)
        a = z @ V
        h, slope = (np.tanh(a), sech_squared(a)) if is_tanh else (np.maximum(a, 0), 1.0 * (a > 0))
        D_t = slope[:, :, None] * W_hh.T  # ∂h_{t,bj}/∂h_{t-1,bi}
        J = (D_t @ J.reshape(B, H, -1)).reshape(B, H, M + 1, H)
        J[:, diagonal, :M, diagonal] += slope.T[:, :, None] * z  # I_t: ∂a_{t,bj}/∂V_mj = z_{t,bm}
        if t < T - K:
            continue
        error = (h @ W_hy + b_y - case.target[t - (T - K)]) / divisor(case)
        by_parameter = np.einsum("bj,bjmi->bmi", error @ W_hy.T, J)
        dV += by_parameter[:, :M].sum(axis=0)
        dh_0 += by_parameter[:, M]
        dW_hy += h.T @ error
        db_y += error.sum(axis=0)

    gradients = {"dW_xh": dV[:D], "dW_hh": dV[D : D + H], "dW_hy": dW_hy, "dh_0": dh_0, "db_h": dV[-1], "db_y": db_y}
    return {name: whole(v) for name, v in gradients.items()}


def balls(case: WindowCase) -> dict[str, Witnessed]:
    """The midpoint of every tensor's ball by name, `losses` among them; the radii are below 2⁻⁹⁶ of it.

    Raises InputError without python-flint, and where the balls stay too wide to be of use.
    """
    if find_spec("flint") is None:
        raise InputError("python-flint is not installed")
    values = enclosures(case)
    y, K = values["y"], len(case.target)
    midpoints = [Fraction(h) + Fraction(l) for h, l in zip(y.high[-K:].ravel(), y.low[-K:].ravel())]
    squares = [(v - wanted) ** 2 / 2 for v, wanted in zip(midpoints, fractions(case.target))]
    per_step = len(squares) // K
    losses = [sum(squares[k * per_step : (k + 1) * per_step], Fraction()) for k in range(K)]  # (L1)
    return {name: whole(value.high, value.low) for name, value in values.items()} | {"losses": from_exact(losses)}


def check_torch() -> None:
    """Raise InputError where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise InputError("PyTorch is not installed")


def autograd(case: WindowCase) -> dict[str, Witnessed]:
    """Every tensor of the window by name, as torch_rnn computes it. Raises InputError without PyTorch."""
    check_torch()
    return {name: whole(v) for name, v in by_hand(case, importlib.import_module("torch_rnn")).items()}
