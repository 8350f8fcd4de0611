"""The gradient of a window in place: a function for stacked rows, one for a single such
row, and one for separate arrays.

The equations are those of `elman.py`, `loss.py` and `backward.py`, with the same ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import add, copyto, divide, multiply, subtract

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Activations, Adjoints, Window
from numpy_rnn.engine.objective import WritePhi, WriteSlope
from numpy_rnn.engine.vectors import ParameterVectors
from numpy_rnn.engine.views import OneStepViews, WindowViews
from numpy_rnn.engine.workspace import Workspace, rows, time_first

# Steps of the shortest windows in which it pays to copy the transpose of W_hh.
MIN_TRANSPOSED = 16

ComputeGradient = Callable[[Any], None]  # from the views of a window
ProductInto = Callable[[Array, Array, Array], Any]  # dot(left, right, out)


def gradient_function(vectors: ParameterVectors, work: Workspace) -> ComputeGradient:
    """Return the function that computes the gradient of a window."""
    if work.is_one_step:
        return one_step_gradient(vectors, work)
    if work.is_stacked:
        return stacked_gradient(vectors, work)
    return separate_gradient(vectors, work)


def operations(work: Workspace) -> tuple[ProductInto, WritePhi, WriteSlope, Array]:
    """Return the functions that windows of every layout use: the product of matrices,
    φ and φ'; and the number 1 in the dtype of the run, an argument of φ'.
    """
    sizes = work.sizes
    dot = np.ndarray.dot if sizes.networks is None else group_dot
    phi, slope_of = work.nonlinearity
    return dot, phi, slope_of, np.ones((), sizes.dtype)


def group_dot(left: Array, right: Array, out: Array) -> Array:
    """Multiply two matrices for every network of a group."""
    if left.shape[-1] == 1:  # sums of one term
        return multiply(left, right, out)
    return np.einsum("nij,njk->nik", left, right, out=out)


def one_step_gradient(vectors: ParameterVectors, work: Workspace) -> ComputeGradient:
    """Return the function for windows of one step of one sequence."""
    sizes = work.sizes
    dot, phi, slope_of, one = operations(work)
    W, U = sizes.stacked(vectors.theta)
    dW, dU = sizes.stacked(vectors.gradient)
    W_hy_T = sizes.named(vectors.theta).W_hy.mT
    a, y, dh, slope, da = work.a, work.y, work.dh, work.slope, work.da

    def compute(views: OneStepViews) -> None:
        h, dy = views.h, views.dy
        dot(views.before, W, a)  # (F1)
        phi(a, h)  # (F2)
        dot(views.new_states, U, y)  # (F3)
        subtract(y, views.target, dy)  # (B1)
        dot(dy, W_hy_T, dh)  # (B2)
        slope_of(h, one, slope)
        multiply(dh, slope, da)  # (B3)
        dot(views.before_T, da, dW)  # (B4), (B5), (B7)
        dot(views.new_states_T, dy, dU)  # (B6), (B8)

    return compute


def stacked_gradient(vectors: ParameterVectors, work: Workspace) -> ComputeGradient:
    """Return the function for windows with rows [x_t h_{t-1} 1]."""
    sizes = work.sizes
    dot, phi, slope_of, one = operations(work)
    differentiate = work.loss.differentiate
    W, U = sizes.stacked(vectors.theta)
    dW, dU = sizes.stacked(vectors.gradient)
    theta = sizes.named(vectors.theta)
    W_hy_T, W_hh_T = theta.W_hy.mT, theta.W_hh.mT
    product = sizes.empty(sizes.B, sizes.H)

    def compute(views: WindowViews) -> None:
        for z_t, a_t, h_t in views.forward:
            dot(z_t, W, a_t)  # (F1)
            phi(a_t, h_t)  # (F2)
        dot(views.new_states, U, views.y)  # (F3)
        write_output_adjoints(views, differentiate)
        slope_of(views.h, one, views.slope)
        backpropagate(views, dot, W_hy_T, W_hh_T, product)
        dot(views.before_T, views.da, dW)  # (B4), (B5), (B7)
        dot(views.new_states_T, views.dy, dU)  # (B6), (B8)

    return compute


def separate_gradient(vectors: ParameterVectors, work: Workspace) -> ComputeGradient:
    """Return the function for windows with inputs and states in arrays of their own."""
    sizes = work.sizes
    dot, phi, slope_of, one = operations(work)
    differentiate = work.loss.differentiate
    theta, gradient = sizes.named(vectors.theta), sizes.named(vectors.gradient)
    W_xh, W_hh, W_hy = theta.W_xh, theta.W_hh, theta.W_hy
    W_hy_T, W_hh_T = W_hy.mT, W_hh.mT
    packed_T = sizes.empty(sizes.H, sizes.H)
    product = sizes.empty(sizes.B, sizes.H)

    def compute(views: WindowViews) -> None:
        dot(views.x, W_xh, views.a)  # (F1), the inputs of all steps
        if theta.b_h is not None:
            add(views.a, theta.b_h, views.a)  # (F1)
        for h_before, a_t, h_t in views.forward:
            a_t += dot(h_before, W_hh, product)  # (F1)
            phi(a_t, h_t)  # (F2)
        dot(views.new_states, W_hy, views.y)  # (F3)
        if theta.b_y is not None:
            add(views.y, theta.b_y, views.y)  # (F3)
        write_output_adjoints(views, differentiate)
        slope_of(views.h, one, views.slope)
        W_T = W_hh_T
        if sizes.B > 1 and len(views.forward) >= MIN_TRANSPOSED:
            copyto(packed_T, W_hh_T)
            W_T = packed_T
        backpropagate(views, dot, W_hy_T, W_T, product)
        dot(views.x_T, views.da, gradient.W_xh)  # (B4)
        dot(views.before_T, views.da, gradient.W_hh)  # (B5)
        dot(views.new_states_T, views.dy, gradient.W_hy)  # (B6)
        if gradient.b_h is not None:
            views.da.sum(axis=-2, out=gradient.b_h)  # (B7)
            views.dy.sum(axis=-2, out=gradient.b_y)  # (B8)

    return compute


def write_output_adjoints(
    views: WindowViews, differentiate: Callable[..., None]
) -> None:
    """Compute dy of the new steps."""
    differentiate(views.y, views.target, views.error, views.row_losses)  # (B1)
    if views.divisor is not None:
        divide(views.error, views.divisor, views.dy)  # (B1)


def backpropagate(
    views: WindowViews, dot: ProductInto, W_hy_T: Array, W_hh_T: Array, product: Array
) -> None:
    """Compute dh and da of all steps, the latest first."""
    dot(views.dy, W_hy_T, views.dh_new)  # (B2), from the outputs of the new steps
    dh_T, slope_T, da_T = views.last_step
    multiply(dh_T, slope_T, da_T)  # (B3)
    for da_next, dh_t, slope_t, da_t in views.newer_steps:
        dh_t += dot(da_next, W_hh_T, product)  # (B2)
        multiply(dh_t, slope_t, da_t)  # (B3)
    for da_next, dh_t, slope_t, da_t in views.older_steps:
        dot(da_next, W_hh_T, dh_t)  # (B2), without an output
        multiply(dh_t, slope_t, da_t)  # (B3)


def read_window(
    vectors: ParameterVectors, work: Workspace, window: Window
) -> tuple[Activations[Array], Adjoints[Array]]:
    """Return all that the latest window computed, time first, before its step: views
    of the workspace, which the next window changes.
    """
    B = work.sizes.B
    W_xh, W_hh, W_hy, _, b_y = work.sizes.named(vectors.theta)
    begin = window.start - work.base
    end = begin + window.steps
    # The plan may have OneStepViews, which lack most of these.
    views = WindowViews(work, begin, end - window.loss_steps, end)
    older = (window.loss_start - window.start) * B
    y = views.h @ W_hy  # (F3)
    if b_y is not None:
        y += b_y[..., None, :]  # (F3)
    y[..., older:, :] = views.y  # with the roundings of the gradient
    dy = np.zeros_like(y)
    dy[..., older:, :] = views.dy
    dx = views.da @ W_xh.mT  # (B10)
    dh_0 = views.da[..., :B, :] @ W_hh.mT  # (B9)
    h = work.h[rows(begin * B, (end + 1) * B)]
    dh = work.dh[rows(0, window.steps * B)]
    x, a, h, y = (time_first(array, B) for array in (views.x, views.a, h, y))
    dy, dh, da, dx = (time_first(array, B) for array in (dy, dh, views.da, dx))
    return Activations(x, a, h, y), Adjoints(dy, dh, da, dx, dh_0)
