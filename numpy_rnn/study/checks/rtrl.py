"""Real-time recurrent learning: the same gradients carried forwards in time, beside the states.

    J_t = ∂h_t/∂θ = I_t + D_t J_{t-1}

with I_t the immediate derivative of h_t by θ and D_t = ∂h_t/∂h_{t-1}. No delta flows backwards, and no step is looked
at twice; the price is a J of H numbers for every parameter.

Source: Williams and Zipser 1989, A learning algorithm for continually running fully recurrent neural networks.
"""

import numpy as np

from numpy_rnn.conformance.bounds.global_bounds import sech_squared
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.problem import Values


def rtrl(case: Case) -> Values:
    """The gradients of (B4) to (B9) by name, dh_0 of every sequence, (B, H).

    θ are the rows of one matrix V of shape (D+H+1, H), in which W_xh, W_hh and b_h lie upon each other, so that
    a_t = z_t V with z_t = (x_t, h_{t-1}, 1); and beside them the state h_0.
    """
    T, B, D, H, O, K = case.sizes.values()
    W_xh, W_hh, W_hy, b_h, b_y, _ = case.params
    M = D + H + 1
    V = np.concatenate((W_xh, W_hh, (np.zeros(H) if b_h is None else b_h)[None]))
    bias_y = np.zeros(O) if b_y is None else b_y
    divisor = K * B * O if case.reduction == "mean" else 1

    h = case.h_0
    J = np.zeros((B, H, M + 1, H))  # J[b, j, m, i] = ∂h_{t,bj}/∂V_mi, and in row M ∂h_{t,bj}/∂h_{0,bi}
    J[:, :, M] = np.eye(H)
    dV, dh_0, dW_hy, db_y = np.zeros((M, H)), np.zeros((B, H)), np.zeros((H, O)), np.zeros(O)
    diagonal = np.arange(H)
    for t in range(T):
        z = np.concatenate((case.x[t], h, np.ones((B, 1))), axis=-1)
        a = z @ V
        h, slope = (np.tanh(a), sech_squared(a)) if case.nonlinearity == "tanh" else (np.maximum(a, 0), 1.0 * (a > 0))
        D_t = slope[:, :, None] * W_hh.T  # ∂h_{t,bj}/∂h_{t-1,bi}
        J = (D_t @ J.reshape(B, H, -1)).reshape(B, H, M + 1, H)
        J[:, diagonal, :M, diagonal] += slope.T[:, :, None] * z  # I_t: V_mj stands in a_{t,bj}, beside z_{t,bm}
        if t < T - K:
            continue
        error = (h @ W_hy + bias_y - case.target[t - (T - K)]) / divisor
        by_parameter = np.einsum("bj,bjmi->bmi", error @ W_hy.T, J)
        dV += by_parameter[:, :M].sum(axis=0)
        dh_0 += by_parameter[:, M]
        dW_hy += h.T @ error
        db_y += error.sum(axis=0)

    gradients = {"dW_xh": dV[:D], "dW_hh": dV[D : D + H], "dW_hy": dW_hy, "dh_0": dh_0}
    return gradients if b_h is None else gradients | {"db_h": dV[M - 1], "db_y": db_y}
