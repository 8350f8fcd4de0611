"""The gradient of a window by hand: back-propagation through time (DERIVATION.md,
section 4).

Where the equations number steps from 1, arrays begin at index 0: x_t, a_t, y_t and all
derivatives of step t are at index t - 1, but h_t is at index t, since h[0] is the
initial state. So h[1:] is h_1 to h_T, and h[:-1] is h_0 to h_{T-1}. `W.mT` is the
transpose, of each matrix of an ensemble.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array
from numpy_rnn.common.checks import check_backward
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    LossName,
    Nonlinearity,
    Objective,
    Parameters,
    Reduction,
)
from numpy_rnn.loss import Elementwise, reduction_divisor, softmax, target_rows


def difference(y: Array, target: Array) -> Array:
    """Return ∂/∂y of ½ Σ_o (y − target)²: y − target."""
    return y - target


def softmax_difference(y: Array, target: Array) -> Array:
    """Return ∂/∂y of −Σ_o target log p, for one-hot targets: p − target."""
    return softmax(y) - target


LOSS_DERIVATIVES: dict[str, Elementwise] = {
    "squared_error": difference,
    "cross_entropy": softmax_difference,
}


def tanh_slope(h: Array) -> Array:
    """Return φ'(a) of h = tanh(a): 1 − h²."""
    return 1 - h * h


def relu_slope(h: Array) -> Array:
    """Return φ'(a) of h = relu(a): 1 where h > 0, else 0."""
    return (h > 0).astype(h.dtype)


def sigmoid_slope(h: Array) -> Array:
    """Return φ'(a) of h = σ(a), the logistic function: h (1 − h)."""
    slope: Array = h * (1 - h)
    return slope


SLOPES: dict[str, Callable[[Array], Array]] = {
    "tanh": tanh_slope,
    "relu": relu_slope,
    "sigmoid": sigmoid_slope,
}


def adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
    loss: LossName = "squared_error",
    reduction: Reduction = "sum",
) -> Adjoints[Array]:
    """Compute the total derivatives of the loss L of a window.

        dy_t = e_t / C, C the terms of a mean, or 1; 0 at steps without a loss    (B1)
        dh_t = dy_t W_hyᵀ + da_{t+1} W_hhᵀ; the last step has no second term      (B2)
        da_t = dh_t ∘ φ'(a_t)                                                     (B3)
        dh_0 = da_1 W_hhᵀ                                                         (B9)
        dx_t = da_t W_xhᵀ                                                         (B10)

    where dX is ∂L/∂X, and e_t is y_t − target_t for the squared error, and
    softmax(y_t) − target_t, with a one-hot target, for the cross-entropy;
    tanh' = 1 − h_t², relu' = [h_t > 0], sigmoid' = h_t (1 − h_t).

    Parameters
    ----------
    params : Parameters
        The parameters, of one network or of an ensemble of N.
    activations : Activations
        Of the window, as `forward` returned them for these parameters.
    target : ndarray
        Targets of the last K ≤ T steps, which have a loss, of shape (K, B, O) or
        (K, N, B, O); classes, of shape (K, B) or (K, N, B), for the cross-entropy.
    nonlinearity : str
        φ, one of those of `forward`.
    loss : {"squared_error", "cross_entropy"}
        `half_squared_error` or `cross_entropy`.
    reduction : {"sum", "mean"}
        Whether L is the sum of the terms of the window, or their mean.

    Returns
    -------
    Adjoints
        dy, dh, da and dx of all T steps, and dh_0, new arrays.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, or a name is unknown.

    References
    ----------
    Werbos 1990. Goodfellow, Bengio and Courville 2016, equations 10.18 to 10.21.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> one = np.ones((1, 1))
    >>> params = rnn.Parameters(W_xh=one, W_hh=2 * one, W_hy=one)
    >>> x, target = np.ones((2, 1, 1)), np.array([2.0, 6.0]).reshape(2, 1, 1)
    >>> activations = rnn.forward(params, x, one, nonlinearity="relu")
    >>> derivatives = rnn.adjoints(params, activations, target, nonlinearity="relu")
    >>> derivatives.da.ravel(), derivatives.dh_0
    (array([3., 1.]), array([[6.]]))
    """
    objective = Objective(nonlinearity, loss, reduction)
    check_backward(ARRAY_KIND, params, activations, target, objective)
    return compute_adjoints(params, activations, target, objective)


def compute_adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    objective: Objective,
) -> Adjoints[Array]:
    """Compute the adjoints of a window.

    The loop goes backwards, since dh_t needs da_{t+1}; its t is an index, that of step
    t + 1. What needs no later step is computed for all steps at once.
    """
    W_xh, W_hh, W_hy = params[:3]
    a, h, y = activations[1:]
    slope = SLOPES[objective.nonlinearity]
    dy = np.zeros_like(y)
    dy[-len(target) :] = output_adjoints(y[-len(target) :], target, objective)  # (B1)
    dh = dy @ W_hy.mT  # (B2), the term of the outputs, for all steps at once
    da = np.empty_like(a)
    da[-1] = dh[-1] * slope(h[-1])  # (B3); no later step adds to the last
    for t in reversed(range(len(a) - 1)):
        dh[t] += da[t + 1] @ W_hh.mT  # (B2)
        da[t] = dh[t] * slope(h[t + 1])  # (B3)
    dh_0 = da[0] @ W_hh.mT  # (B9)
    dx = da @ W_xh.mT  # (B10)
    return Adjoints(dy, dh, da, dx, dh_0)


def output_adjoints(y: Array, target: Array, objective: Objective) -> Array:
    """Return dy of the steps with a loss."""
    error = LOSS_DERIVATIVES[objective.loss](y, target_rows(y, target))
    return error / reduction_divisor(y, objective)  # (B1)


def bptt(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
    loss: LossName = "squared_error",
    reduction: Reduction = "sum",
) -> Gradients[Array]:
    """Compute the gradient of the loss L of a window with respect to every parameter.

        dW_xh = Σ_t x_tᵀ da_t        (B4)
        dW_hh = Σ_t h_{t-1}ᵀ da_t    (B5)
        dW_hy = Σ_t h_tᵀ dy_t        (B6)
        db_h  = Σ_{t,b} da_t         (B7)
        db_y  = Σ_{t,b} dy_t         (B8)

    where dy and da are those of `adjoints`. The initial state of the window is a
    constant.

    Parameters
    ----------
    params : Parameters
        The parameters, of one network or of an ensemble of N.
    activations : Activations
        Of the window, as `forward` returned them for these parameters.
    target : ndarray
        Targets of the last K ≤ T steps, which have a loss, of shape (K, B, O) or
        (K, N, B, O); classes, of shape (K, B) or (K, N, B), for the cross-entropy.
    nonlinearity : str
        φ, one of those of `forward`.
    loss, reduction : str
        As for `adjoints`.

    Returns
    -------
    Gradients
        New arrays in the shapes of the parameters, None for biases that are absent.
        Each network of an ensemble has the gradient of its own loss.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, or a name is unknown.

    References
    ----------
    Werbos 1990. Goodfellow, Bengio and Courville 2016, equations 10.22 to 10.28.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> one = np.ones((1, 1))
    >>> params = rnn.Parameters(W_xh=one, W_hh=2 * one, W_hy=one)
    >>> x, target = np.ones((2, 1, 1)), np.array([2.0, 6.0]).reshape(2, 1, 1)
    >>> activations = rnn.forward(params, x, one, nonlinearity="relu")
    >>> rnn.bptt(params, activations, target, nonlinearity="relu").W_hh
    array([[6.]])
    """
    objective = Objective(nonlinearity, loss, reduction)
    check_backward(ARRAY_KIND, params, activations, target, objective)
    derivatives = compute_adjoints(params, activations, target, objective)
    return compute_gradients(params, activations, derivatives)


def compute_gradients(
    params: Parameters[Array],
    activations: Activations[Array],
    derivatives: Adjoints[Array],
) -> Gradients[Array]:
    """Compute the gradients of the parameters from activations and adjoints."""
    x, h = activations.x, activations.h
    dy, da = derivatives.dy, derivatives.da
    dW_xh = sum_over_steps(x, da)  # (B4)
    dW_hh = sum_over_steps(h[:-1], da)  # (B5)
    dW_hy = sum_over_steps(h[1:], dy)  # (B6)
    gradients: Gradients[Array] = Gradients(dW_xh, dW_hh, dW_hy)
    if params.b_h is None:
        return gradients
    db_h = da.sum(axis=(0, -2))  # (B7)
    db_y = dy.sum(axis=(0, -2))  # (B8)
    return gradients._replace(b_h=db_h, b_y=db_y)


def sum_over_steps(left: Array, right: Array) -> Array:
    """Return Σ_t left_tᵀ right_t as one product, section 4.6.

    (T, B, m) and (T, B, n) give (m, n); (T, N, B, m) and (T, N, B, n) give (N, m, n).
    """
    return fold_time(left).mT @ fold_time(right)


def fold_time(sequence: Array) -> Array:
    """Return the rows of all steps in order, (T·B, n), or (N, T·B, n)."""
    folded = np.moveaxis(sequence, 0, -3)
    return folded.reshape(*folded.shape[:-3], -1, folded.shape[-1])
