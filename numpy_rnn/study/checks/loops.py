"""The forward pass and the loss as their index forms stand: loops over plain numbers, sums rounded once."""

from math import fsum, tanh

import numpy as np

from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.problem import Values


def loops(case: Case) -> Values:
    """a, h, y by (F1) to (F3), the losses ℓ_t of the counted steps (L1) and L (L2), element by element.

    No product of NumPy's, no tanh of its own: math.fsum adds without an error, math.tanh is the C library's.
    """
    T, B, D, H, O, K = case.sizes.values()
    W_xh, W_hh, W_hy = (W.tolist() for W in case.params[:3])
    b_h, b_y = ([0.0] * size if bias is None else bias.tolist() for bias, size in zip(case.params[3:5], (H, O)))
    x, target, before = case.x.tolist(), case.target.tolist(), case.h_0.tolist()
    phi = tanh if case.nonlinearity == "tanh" else lambda v: max(v, 0.0)
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
    loss = fsum(losses) / (K * B * O if case.reduction == "mean" else 1)
    return {"a": a, "h": h, "y": y, "losses": np.array(losses), "loss": np.array(loss)}
