"""Forward pass, loss, gradient and step of one window after the other, in place.

The equations are those of `elman.py`, `loss.py` and `backward.py`, with the same ids. The losses are summed later, for
many windows at once, by `Tape.losses`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy import add, copyto, divide, greater, maximum, multiply, subtract, tanh

from numpy_rnn.common.records import Activations, Adjoints, Window
from numpy_rnn.engine.descent import Descent
from numpy_rnn.engine.losses import softmax_difference
from numpy_rnn.engine.memory import Memory
from numpy_rnn.engine.tape import Tape, Views, time_first
from numpy_rnn.parameters import Array

MIN_TRANSPOSED = 16  # steps from which on a copy of the transpose of W_hh pays


class Placed(NamedTuple):
    """A window of the series, on a tape."""

    views: Any  # Views or OneStep
    number: int  # of the update in its epoch
    window: Window
    next_state: Array  # the place of the initial state of the next window
    is_due: bool  # whether its update is yielded


def relu(a: Array, out: Array) -> Array:
    """max(a, 0) into `out`."""
    return maximum(a, 0, out=out)


def sigmoid(a: Array, out: Array) -> Array:
    """The logistic function, ½ (1 + tanh(a/2)), into `out`."""
    multiply(a, 0.5, out)
    tanh(out, out)
    multiply(out, 0.5, out)
    return add(out, 0.5, out)


def slope_into(nonlinearity: str, h: Array, one: Array, slope: Array) -> None:
    """φ'(a) of h = φ(a) into `slope`. Raises KeyError on another name."""
    if nonlinearity == "tanh":
        multiply(h, h, slope)
        subtract(one, slope, slope)
    elif nonlinearity == "relu":
        greater(h, 0, slope)
    elif nonlinearity == "sigmoid":
        subtract(one, h, slope)
        multiply(h, slope, slope)
    else:
        raise KeyError(nonlinearity)


NONLINEARITIES: dict[str, Any] = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}


def product_of_group(left: Array, right: Array, out: Array) -> Array:
    """The product of two matrices for every network of a group, into `out`."""
    if left.shape[-1] == 1:  # sums of one term
        return multiply(left, right, out)
    return np.einsum("nij,njk->nik", left, right, out=out)


def one_step_updates(
    descent: Descent, tape: Tape, nonlinearity: str, windows: Iterable[Placed]
) -> Iterator[Placed]:
    """`window_updates` of windows of one step of one sequence: only what these need."""
    memory, rate, is_plain = descent.memory, descent.rate, descent.is_plain
    theta, gradient, layout = memory.theta, memory.gradient, memory.layout
    phi, one = NONLINEARITIES[nonlinearity], np.ones((), layout.dtype)
    dot: Any = np.ndarray.dot if layout.networks is None else product_of_group
    (W, U, _), (dW, dU, _) = layout.stacked(theta), layout.stacked(gradient)
    W_hy_T = layout.named(theta).W_hy.mT
    a, y, dh, slope, da = tape.a, tape.y, tape.dh, tape.slope, tape.da
    for placed in windows:
        z, z_T, h, new, new_T, target, dy, _, _ = placed[0]
        dot(z, W, a)  # (F1)
        phi(a, h)  # (F2)
        dot(new, U, y)  # (F3)
        subtract(y, target, dy)  # (B1)
        dot(dy, W_hy_T, dh)  # (B2)
        slope_into(nonlinearity, h, one, slope)
        multiply(dh, slope, da)  # (B3)
        dot(z_T, da, dW)  # (B4), (B5), (B7)
        dot(new_T, dy, dU)  # (B6), (B8)
        if placed[4]:
            yield placed
        elif is_plain:
            subtract(
                theta, multiply(gradient, rate, gradient), theta
            )  # (U1); nobody sees this gradient
        else:
            descent.take_step(placed.window, False)


def window_updates(
    descent: Descent, tape: Tape, nonlinearity: str, windows: Iterable[Placed]
) -> Iterator[Placed]:
    """Make the updates of these windows. Those that are due are generated, after the gradient and before the step."""
    memory, stacked, kind = descent.memory, tape.stacked, tape.kind
    layout = memory.layout
    dot: Any = np.ndarray.dot if layout.networks is None else product_of_group
    phi, one = NONLINEARITIES[nonlinearity], np.ones((), layout.dtype)
    (W, U, h_0), (dW, dU, dh_0) = layout.stacked(memory.theta), layout.stacked(memory.gradient)
    W_xh, W_hh, W_hy, b_h, b_y, _ = layout.named(memory.theta)
    dW_xh, dW_hh, dW_hy, db_h, db_y, _ = layout.named(memory.gradient)
    W_hy_T, W_hh_T, product = W_hy.mT, W_hh.mT, layout.empty(layout.B, layout.H)
    V, W_hh_T_packed = layout.empty(layout.O + layout.H, layout.H), layout.empty(layout.H, layout.H)
    V_y, V_h = V[..., : layout.O, :], V[..., layout.O :, :]
    is_wide = layout.networks is None and layout.B > 1
    for placed in windows:
        views: Views = placed[0]
        y, error, dy, h, slope, da = views.y, views.error, views.dy, views.h, views.slope, views.da
        if h_0 is not None and views.initial is not None:
            views.initial[...] = h_0  # (T3)
        if stacked:
            for z_t, a_t, h_t in views.forward:
                dot(z_t, W, a_t)  # (F1)
                phi(a_t, h_t)  # (F2)
            if views.gaps is not None:
                copyto(*views.gaps)
            dot(views.new, U, y)  # (F3)
        else:
            x, x_T, a = views.inputs
            dot(x, W_xh, a)  # (F1), the inputs of all steps
            if b_h is not None:
                add(a, b_h, a)  # (F1)
            for h_before, a_t, h_t in views.forward:
                a_t += dot(h_before, W_hh, product)  # (F1)
                phi(a_t, h_t)  # (F2)
            dot(views.new, W_hy, y)  # (F3)
            if b_y is not None:
                add(y, b_y, y)  # (F3)
        if views.row_losses is not None:
            softmax_difference(
                y, views.target, kind.classes, error, views.row_losses
            )  # (L3), (L4), (B1)
        else:
            subtract(y, views.target, error)  # (B1)
        if views.weights is not None:
            multiply(error, views.weights, dy)  # (B1)
            if views.divisor is not None:
                divide(dy, kind.total(views.weights, y.shape[-1]), dy)  # (B1)
        elif views.divisor is not None:
            divide(error, views.divisor, dy)  # (B1)
        slope_into(nonlinearity, h, one, slope)
        if views.joint is not None:
            steps, joint_dy, joint_da = views.joint
            copyto(joint_dy, dy)
            V_y[...], V_h[...] = W_hy_T, W_hh_T
            for flow_t, dh_t, slope_t, da_t in steps:
                dot(flow_t, V, dh_t)  # (B2)
                multiply(dh_t, slope_t, da_t)  # (B3)
            copyto(da, joint_da)
        else:
            dot(dy, W_hy_T, views.dh_new)  # (B2), from the outputs of the new steps
            multiply(*views.last)  # (B3)
            W_T = W_hh_T
            if is_wide and len(views.forward) >= MIN_TRANSPOSED:
                copyto(W_hh_T_packed, W_hh_T)
                W_T = W_hh_T_packed
            for da_next, dh_t, slope_t, da_t in views.newer:
                dh_t += dot(da_next, W_T, product)  # (B2)
                multiply(dh_t, slope_t, da_t)  # (B3)
            for da_next, dh_t, slope_t, da_t in views.older:
                dot(da_next, W_T, dh_t)  # (B2), without an output
                multiply(dh_t, slope_t, da_t)  # (B3)
        if stacked:
            dot(views.before_T, da, dW)  # (B4), (B5), (B7)
            dot(views.new_T, dy, dU)  # (B6), (B8)
        else:
            dot(x_T, da, dW_xh)  # (B4)
            dot(views.before_T, da, dW_hh)  # (B5)
            dot(views.new_T, dy, dW_hy)  # (B6)
            if b_h is not None:
                da.sum(axis=-2, out=db_h)  # (B7)
                dy.sum(axis=-2, out=db_y)  # (B8)
        if h_0 is not None and views.initial is not None:
            dot(da[..., : layout.B, :], W_hh_T, dh_0)  # (B9)
        elif h_0 is not None:
            dh_0[...] = 0  # h_0 has no gradient here, and plain gradient descent leaves it as it is
        if placed.is_due:
            yield placed
        else:
            descent.take_step(placed.window, False)


def recorded(
    memory: Memory, tape: Tape, window: Window
) -> tuple[Activations[Array], Adjoints[Array]]:
    """Copies of all that the latest window computed, time first; and what training does not need: (B9), (B10), y.

    To be called before the parameters are moved.
    """
    layout, dot = (
        memory.layout,
        np.ndarray.dot if memory.layout.networks is None else product_of_group,
    )
    begin, first_new, end = (step - tape.base for step in window)
    views, B = Views(tape, begin, first_new, end, False), layout.B
    W_xh, W_hh, W_hy, _, b_y, _ = layout.named(memory.theta)
    rows, new = (end - begin) * B, (end - first_new) * B
    y, dy, dx, dh_0 = (
        layout.empty(*shape)
        for shape in ((rows, layout.O), (rows, layout.O), (rows, layout.D), (B, layout.H))
    )
    dot(views.h, W_hy, y)  # (F3)
    if b_y is not None:
        add(y, b_y[..., None, :], y)  # (F3)
    dy[...] = 0
    y[..., rows - new :, :], dy[..., rows - new :, :] = views.y, views.dy
    dot(views.da, W_xh.mT, dx)  # (B10)
    dot(views.da[..., :B, :], W_hh.mT, dh_0)  # (B9)
    x, h = tape.x[..., begin * B : end * B, :], tape.h[..., begin * B : (end + 1) * B, :]
    series = x, tape.a[..., :rows, :], h, y, dy, tape.dh[..., :rows, :], views.da, dx
    x, a, h, y, dy, dh, da, dx = (time_first(v, B).copy() for v in series)
    return Activations(x, a, h, y), Adjoints(dy, dh, da, dx, dh_0)
