"""The item matrix (DERIVATION.md, section 5): how the parameters as used at step s act on the loss of step t.

Step s has a copy θ_s of the parameters. The item of (t, s) is ∂ℓ_t/∂θ_s, undivided, and zero for s > t. A learned h_0
is used by step 1 alone, so its items stand in the column s = 1.
"""

from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Gradients, Nonlinearity, Parameters


class Items(NamedTuple):
    """The items of one network on one series, and what they were made of. Element (t, s) is at [t-1, s-1]."""

    gradients: Gradients  # of ∂ℓ_t/∂θ_s, (T, T, *shape of θ); None for a parameter that is not there
    dh: np.ndarray  # (T, T, B, H)  ∂ℓ_t/∂h_s
    da: np.ndarray  # (T, T, B, H)  ∂ℓ_t/∂a_s
    dy: np.ndarray  # (T, B, O)  ∂ℓ_t/∂y_t = y_t − target_t; to the other outputs there is no arrow
    activations: Activations
    losses: np.ndarray  # (T,)  ℓ_t


def item_matrix(params: Parameters, x, target, h_0, nonlinearity: Nonlinearity = "tanh") -> Items:
    """All items of a series, from the adjoints of the windows (0, t] of which the step t alone is counted.

        ∂ℓ_t/∂W_xh,s = x_sᵀ da_s       (B4)
        ∂ℓ_t/∂W_hh,s = h_{s-1}ᵀ da_s   (B5)
        ∂ℓ_t/∂W_hy,t = h_tᵀ dy_t       (B6)
        ∂ℓ_t/∂b_h,s  = Σ_b da_s        (B7)
        ∂ℓ_t/∂b_y,t  = Σ_b dy_t        (B8)
        ∂ℓ_t/∂h_0    = da_1 W_hhᵀ      (B9)

    each a single term of the sum over steps, with the da and dy of ℓ_t. x: (T, B, D), target: (T, B, O), h_0: (B, H),
    the state that enters, learned or not; no ensemble axes. Raises InputError where `forward` and `adjoints` do.
    """
    activations = numpy_rnn.forward(params, x, h_0, nonlinearity=nonlinearity)
    T, B, _ = activations.y.shape
    dh, da = np.zeros((2, T, T, B, params.W_hh.shape[-1]), params.W_hh.dtype)
    dy = np.empty_like(activations.y)
    for t in range(1, T + 1):
        flow = numpy_rnn.adjoints(params, first_steps(activations, t), target[t - 1 : t], nonlinearity=nonlinearity)
        dh[t - 1, :t], da[t - 1, :t], dy[t - 1] = flow.dh, flow.da, flow.dy[-1]
    gradients = _gradients(params, activations, dy, da)
    return Items(gradients, dh, da, dy, activations, 0.5 * np.square(dy).sum(axis=(-2, -1)))  # (L1)


def first_steps(activations: Activations, t: int) -> Activations:
    """The activations of the steps 1 to t."""
    x, a, h, y = activations
    return Activations(x[:t], a[:t], h[: t + 1], y[:t])


def flat(gradients: Gradients) -> np.ndarray:
    """(T, T, P): the parameters that are there, behind one another, in the order of their names."""
    parts = [theta.reshape(*theta.shape[:2], -1) for theta in gradients if theta is not None]
    return np.concatenate(parts, axis=-1)


def norms(gradients: Gradients) -> np.ndarray:
    """‖G[t, s]‖ over all parameters, (T, T)."""
    squares = [np.square(theta).sum(axis=tuple(range(2, theta.ndim))) for theta in gradients if theta is not None]
    return np.sqrt(sum(squares))


def _gradients(params, activations, dy, da):
    x, _, h, _ = activations
    T = len(x)
    diagonal = np.arange(T)

    def on_the_diagonal(terms):
        found = np.zeros((T, *terms.shape), terms.dtype)
        found[diagonal, diagonal] = terms
        return found

    dW_xh = x.mT @ da  # (B4)
    dW_hh = h[:-1].mT @ da  # (B5)
    dW_hy = on_the_diagonal(h[1:].mT @ dy)  # (B6)
    db_h = db_y = dh_0 = None
    if params.b_h is not None:
        db_h = da.sum(axis=-2)  # (B7)
        db_y = on_the_diagonal(dy.sum(axis=-2))  # (B8)
    if params.h_0 is not None:
        dh_0 = np.zeros_like(da)
        dh_0[:, 0] = da[:, 0] @ params.W_hh.mT  # (B9)
    return Gradients(dW_xh, dW_hh, dW_hy, db_h, db_y, dh_0)
