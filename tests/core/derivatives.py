"""Derivatives by complex steps, and the loss of a window of complex numbers (DERIVATION.md, section 7)."""

import numpy as np
from witness import in_rows

from numpy_rnn import Gradients

STEP = 1e-200  # of the complex-step derivative: its square underflows to 0


def complex_step(f, theta):
    """The derivatives of f at the real array theta, (*theta.shape, *f's shape), without a rounding of differences:
    f(θ + iε) = f(θ) + iε f'(θ). All entries are nudged at once: f is given them stacked, (entries, *theta.shape).

    Source: Squire and Trapp 1998.
    """
    nudges = np.eye(theta.size).reshape(theta.size, *theta.shape)
    value = f(theta + 1j * STEP * nudges)
    return (value.imag / STEP).reshape(*theta.shape, *value.shape[1:])


def complex_step_gradients(f, params) -> Gradients:
    """df/dθ for every parameter; f takes Parameters of which one is stacked as in `complex_step`."""

    def derivative(name, theta):
        return None if theta is None else complex_step(lambda nudged: f(params._replace(**{name: nudged})), theta)

    return Gradients(*(derivative(name, theta) for name, theta in params._asdict().items()))


def window_loss(case, params, nudge_a=0, nudge_h=0, nudge_y=0, nudge_x=0, nudge_h_0=0):
    """L of a window, with parameters that may be complex and may carry leading axes.

    The nudges (..., T, B, N) are added to every a, h, y and x, and (..., B, H) to the initial state: that of the case,
    or if that is None the learned one.
    """
    target, weights, N = case.loss_rows
    x, T, K = in_rows(case.x, case.params.W_xh.shape[-2], case.dtype), len(case.x), len(target)
    nudge_a, nudge_h, nudge_y, nudge_x = (np.zeros((T, 1, 1)) + v for v in (nudge_a, nudge_h, nudge_y, nudge_x))
    W_xh, W_hh, W_hy, b_h, b_y, learned = params
    h, loss = (learned if case.h_0 is None else case.h_0) + nudge_h_0, 0
    phi = {
        "tanh": np.tanh,
        "relu": lambda a: a * (a.real > 0),
        "sigmoid": lambda a: 0.5 * (1 + np.tanh(0.5 * a)),
    }[case.options["nonlinearity"]]
    for t in range(T):
        x_t = x[t] + nudge_x[..., t, :, :]
        a = x_t @ W_xh + h @ W_hh + (0 if b_h is None else b_h[..., None, :]) + nudge_a[..., t, :, :]
        h = phi(a) + nudge_h[..., t, :, :]
        y = h @ W_hy + (0 if b_y is None else b_y[..., None, :]) + nudge_y[..., t, :, :]
        if t >= T - K:
            target_t, w_t = target[t - (T - K)], weights[t - (T - K)]
            if case.options["loss"] == "squared_error":
                terms = (y - target_t) ** 2 / 2
            else:
                shifted = y - y.real.max(axis=-1, keepdims=True)
                terms = target_t * (np.log(np.exp(shifted).sum(axis=-1, keepdims=True)) - shifted)
            loss = loss + (w_t * terms).sum((-2, -1)) / N
    return loss
