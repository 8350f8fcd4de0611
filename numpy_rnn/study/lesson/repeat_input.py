"""An Elman network learns to repeat the input of five steps ago. Needs NumPy only."""

import numpy as np

DELAY, K, UPDATES = 5, 6, 1500  # K: the steps of a chunk, TBPTT(K, K)
B, D, H, O = 4, 1, 8, 1  # sequences, inputs, hidden units, outputs


def forward(weights, x, h_0):
    W_xh, W_hh, W_hy, b_h, b_y = weights
    h, y = [h_0], [None]  # steps are 1 to T; x[0] and y[0] are not used
    for t in range(1, len(x)):
        h.append(np.tanh(x[t] @ W_xh + h[t - 1] @ W_hh + b_h))  # (F1), (F2)
        y.append(h[t] @ W_hy + b_y)  # (F3)
    return h, y


def loss(weights, x, h_0, target):  # half the mean squared error (L1), (L2)
    return ((forward(weights, x, h_0)[1][1:] - target[1:]) ** 2).mean() / 2


def backward(weights, x, h, y, target):
    _, W_hh, W_hy, _, _ = weights
    T, N = len(x) - 1, target[1:].size
    dy, dh, da = (np.zeros((T + 2, B, size)) for size in (O, H, H))
    dW_xh, dW_hh, dW_hy, db_h, db_y = map(np.zeros_like, weights)
    for t in range(T, 0, -1):
        dy[t] = (y[t] - target[t]) / N  # (B1)
        dh[t] = dy[t] @ W_hy.T + da[t + 1] @ W_hh.T  # (B2)
        da[t] = dh[t] * (1 - h[t] ** 2)  # (B3)
        dW_xh += x[t].T @ da[t]  # (B4)
        dW_hh += h[t - 1].T @ da[t]  # (B5)
        dW_hy += h[t].T @ dy[t]  # (B6)
        db_h += da[t].sum(axis=0)  # (B7)
        db_y += dy[t].sum(axis=0)  # (B8)
    return dW_xh, dW_hh, dW_hy, db_h, db_y


normal = np.random.default_rng().normal
weights = [normal(0, 0.1, (D, H)), normal(0, 0.2, (H, H)), normal(0, 0.3, (H, O))]
weights += [np.zeros(H), np.zeros(O)]
signs = np.sign(normal(size=(UPDATES * K + DELAY + 1, B, D)))
h, losses = [np.zeros((B, H))], []
for n in range(0, UPDATES * K, K):
    x, target = signs[n + DELAY :][: K + 1], signs[n:][: K + 1]
    h_0 = h[-1]  # of the chunk before, a constant: this is the cut
    h, y = forward(weights, x, h_0)
    losses.append(loss(weights, x, h_0, target))
    gradients = backward(weights, x, h, y, target)
    if n == 0:  # the check: nudge every weight, and see what the loss does
        for theta, gradient in zip(weights, gradients):
            for i in np.ndindex(theta.shape):
                theta[i] += 1e-5
                above = loss(weights, x, h_0, target)
                theta[i] -= 2e-5
                slope = (above - loss(weights, x, h_0, target)) / 2e-5
                theta[i] += 1e-5
                assert abs(slope - gradient[i]) < 1e-9, "the gradient is wrong"
    weights = [theta - 0.2 * d for theta, d in zip(weights, gradients)]  # (U1)
print("learned" if 2 * np.mean(losses[-25:]) < 0.5 else "not learned")
