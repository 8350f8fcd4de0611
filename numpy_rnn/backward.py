"""The gradient of a window by hand: back-propagation through time (DERIVATION.md,
section 4).

`bptt` and `adjoints` check their arguments; `backward` and `weight_gradients` are the
derivation. Where the equations number steps from 1, arrays begin at index 0: x_t, a_t,
y_t and all derivatives of step t are at index t - 1, but h_t is at index t, since h[0]
is the initial state. So h[1:] is h_1 to h_T, and h[:-1] is h_0 to h_{T-1}. `W.mT` is
the transpose, of each matrix of an ensemble.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_call
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    Objective,
    Parameters,
)
from numpy_rnn.loss import Elementwise, divisor, softmax, target_rows
from numpy_rnn.parameters import ARRAYS, Array, Outputs, Targets


def tanh_slope(h: Array) -> Array:
    """φ'(a) of h = tanh(a): 1 − h²"""
    return 1 - h * h


def relu_slope(h: Array) -> Array:
    """φ'(a) of h = relu(a): 1 where h > 0, else 0"""
    return (h > 0).astype(h.dtype)


def sigmoid_slope(h: Array) -> Array:
    """φ'(a) of h = σ(a), the logistic function: h (1 − h)"""
    slope: Array = h * (1 - h)
    return slope


SLOPES: dict[str, Callable[[Array], Array]] = {
    "tanh": tanh_slope,
    "relu": relu_slope,
    "sigmoid": sigmoid_slope,
}


def difference(y: Outputs, target: Outputs) -> Outputs:
    """∂/∂y of ½ Σ_o (y − target)²: y − target"""
    return y - target


def softmax_difference(y: Outputs, target: Outputs) -> Outputs:
    """∂/∂y of −Σ_o target log p, for one-hot targets: p − target"""
    return softmax(y) - target


ERRORS: dict[str, Elementwise] = {
    "squared_error": difference,
    "cross_entropy": softmax_difference,
}


def bptt(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Targets,
    *,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
) -> Gradients[Array]:
    """The gradient of the window's loss L with respect to every parameter.

        dW_xh = Σ_t x_tᵀ da_t        (B4)
        dW_hh = Σ_t h_{t-1}ᵀ da_t    (B5)
        dW_hy = Σ_t h_tᵀ dy_t        (B6)
        db_h  = Σ_{t,b} da_t         (B7)
        db_y  = Σ_{t,b} dy_t         (B8)

    dy and da are those of `adjoints`, which describes the arguments and the errors
    raised. Returns Gradients in the shapes of the parameters, None for biases that are
    absent; each network of an ensemble has the gradient of its own loss. The initial
    state of the window is a constant.

    Source: Werbos 1990; Goodfellow, Bengio and Courville, equations 10.22 to 10.28.
    """
    objective = Objective(nonlinearity, loss, reduction)
    check_call(ARRAYS, objective, params=params, activations=activations, target=target)
    return weight_gradients(
        params, activations, backward(params, activations, target, objective)
    )


def adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Targets,
    *,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
) -> Adjoints[Array]:
    """The total derivatives of the loss L of a window: ∂L/∂y_t, ∂L/∂h_t, ∂L/∂a_t,
    ∂L/∂x_t, ∂L/∂h_0.

        dy_t = e_t, or e_t / terms for "mean"; 0 at steps without a loss          (B1)
        dh_t = dy_t W_hyᵀ + da_{t+1} W_hhᵀ; the last step has no second term      (B2)
        da_t = dh_t ∘ φ'(a_t)                                                     (B3)
        dh_0 = da_1 W_hhᵀ                                                         (B9)
        dx_t = da_t W_xhᵀ                                                         (B10)

    where e_t is y_t − target_t for the squared error, and softmax(y_t) − target_t, with
    a one-hot target, for the cross-entropy; tanh' = 1 − h_t², relu' = [h_t > 0],
    sigmoid' = h_t (1 − h_t).

    activations: of the window, as `forward` returned them. target: (K, B, O) or (K, N,
    B, O) of its last K ≤ T steps, the steps with a loss, or classes as in
    `cross_entropy`. Returns new Adjoints, with T steps each.

    Raises InputError on parameters, activations or a target that do not fit, and on an
    unknown nonlinearity, loss or reduction. Source: Werbos 1990; Goodfellow, Bengio and
    Courville, equations 10.18 to 10.21.
    """
    objective = Objective(nonlinearity, loss, reduction)
    check_call(ARRAYS, objective, params=params, activations=activations, target=target)
    return backward(params, activations, target, objective)


def backward(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Targets,
    objective: Objective,
) -> Adjoints[Array]:
    """`adjoints` without its checks.

    The loop goes backwards, since dh_t needs da_{t+1}; its t is an index, that of step
    t + 1. What needs no later step is computed for all steps at once.
    """
    W_xh, W_hh, W_hy, _, _ = params
    _, a, h, y = activations
    slope, error, K = (
        SLOPES[objective.nonlinearity],
        ERRORS[objective.loss],
        len(target),
    )
    dy, da = np.zeros_like(y), np.empty_like(a)
    dy[-K:] = error(y[-K:], target_rows(y, target)) / divisor(y[-K:], objective)  # (B1)
    dh = dy @ W_hy.mT  # (B2), the term of the outputs, for all steps at once
    da[-1] = dh[-1] * slope(h[-1])  # (B3); no later step adds to the last
    for t in reversed(range(len(a) - 1)):
        dh[t] += da[t + 1] @ W_hh.mT  # (B2)
        da[t] = dh[t] * slope(h[t + 1])  # (B3)
    dh_0 = da[0] @ W_hh.mT  # (B9)
    dx = da @ W_xh.mT  # (B10)
    return Adjoints(dy, dh, da, dx, dh_0)


def weight_gradients(
    params: Parameters[Array],
    activations: Activations[Array],
    adjoints: Adjoints[Array],
) -> Gradients[Array]:
    """The gradients of the parameters, from the activations and from the Adjoints of
    `backward`.
    """
    x, h, dy, da = activations.x, activations.h, adjoints.dy, adjoints.da
    dW_xh = sum_over_steps(x, da)  # (B4)
    dW_hh = sum_over_steps(h[:-1], da)  # (B5)
    dW_hy = sum_over_steps(h[1:], dy)  # (B6)
    db_h = None if params.b_h is None else da.sum(axis=(0, -2))  # (B7)
    db_y = None if params.b_y is None else dy.sum(axis=(0, -2))  # (B8)
    return Gradients(dW_xh, dW_hh, dW_hy, db_h, db_y)


def sum_over_steps(left: Array, right: Array) -> Array:
    """Σ_t left_tᵀ right_t of (T, N, B, m) and (T, N, B, n), one product (N, m, n);
    section 4.6
    """
    return fold_time(left).mT @ fold_time(right)


def fold_time(sequence: Array) -> Array:
    """(T, N, B, n) → (N, T·B, n): the rows of all steps, in order. The axis N may be
    absent.
    """
    folded = np.moveaxis(sequence, 0, -3)
    return folded.reshape(*folded.shape[:-3], -1, folded.shape[-1])
