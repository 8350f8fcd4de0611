"""Forward pass, gradient and step of one window after the other, in place.

The equations are those of `elman.py`, `loss.py` and `backward.py`, with the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy import add, copyto, divide, multiply, subtract

from numpy_rnn.common.records import Activations, Adjoints, Window
from numpy_rnn.engine.memory import ParameterVectors
from numpy_rnn.engine.sgd_step import SgdStep
from numpy_rnn.engine.workspace import WindowViews, Workspace, time_first
from numpy_rnn.parameters import Array

MIN_TRANSPOSED = 16  # steps from which on a copy of the transpose of W_hh pays


class PlannedUpdate(NamedTuple):
    """An update of an epoch, and its window."""

    views: Any  # WindowViews or OneStepViews
    number: int  # from 1
    window: Window
    is_yielded: bool


def select_dot(networks: int | None) -> Any:
    """The matrix product into an array: dot(left, right, out)."""
    return np.ndarray.dot if networks is None else group_dot


def group_dot(left: Array, right: Array, out: Array) -> Array:
    """The product of two matrices for every network of a group, into `out`."""
    if left.shape[-1] == 1:  # sums of one term
        return multiply(left, right, out)
    return np.einsum("nij,njk->nik", left, right, out=out)


def one_step_updates(
    step: SgdStep, work: Workspace, planned: Iterable[PlannedUpdate]
) -> Iterator[PlannedUpdate]:
    """Make updates as `window_updates` does, with the calls that windows of one step
    need.
    """
    vectors, layout, take_step = step.vectors, work.layout, step.take
    (phi, slope_of), one = work.nonlinearity, np.ones((), layout.dtype)
    dot, record = select_dot(layout.networks), work.record
    (W, U), (dW, dU) = layout.stacked(vectors.theta), layout.stacked(vectors.gradient)
    W_hy_T = layout.named(vectors.theta).W_hy.mT
    a, y, dh, slope, da = work.a, work.y, work.dh, work.slope, work.da
    for update in planned:
        (z, z_T, h, new, new_T, target, dy, _, _), _, window, is_yielded = update
        dot(z, W, a)  # (F1)
        phi(a, h)  # (F2)
        dot(new, U, y)  # (F3)
        subtract(y, target, dy)  # (B1)
        dot(dy, W_hy_T, dh)  # (B2)
        slope_of(h, one, slope)
        multiply(dh, slope, da)  # (B3)
        dot(z_T, da, dW)  # (B4), (B5), (B7)
        dot(new_T, dy, dU)  # (B6), (B8)
        if record and is_yielded:
            work.recorded = recorded(vectors, work, window)
        take_step(is_yielded)
        if is_yielded:
            yield update


def window_updates(
    step: SgdStep, work: Workspace, planned: Iterable[PlannedUpdate]
) -> Iterator[PlannedUpdate]:
    """Make these updates, and generate those that are yielded, after their step."""
    vectors, layout, stacked, take_step = (
        step.vectors,
        work.layout,
        work.stacked,
        step.take,
    )
    (phi, slope_of), one = work.nonlinearity, np.ones((), layout.dtype)
    dot, differentiate, record = (
        select_dot(layout.networks),
        work.loss.differentiate,
        work.record,
    )
    (W, U), (dW, dU) = layout.stacked(vectors.theta), layout.stacked(vectors.gradient)
    W_xh, W_hh, W_hy, b_h, b_y = layout.named(vectors.theta)
    dW_xh, dW_hh, dW_hy, db_h, db_y = layout.named(vectors.gradient)
    W_hy_T, W_hh_T, product = W_hy.mT, W_hh.mT, layout.empty(layout.B, layout.H)
    V, W_hh_T_packed = (
        layout.empty(layout.O + layout.H, layout.H),
        layout.empty(layout.H, layout.H),
    )
    V_y, V_h = V[..., : layout.O, :], V[..., layout.O :, :]
    is_wide = layout.networks is None and layout.B > 1
    for update in planned:
        views: WindowViews = update.views
        y, error, dy, h, slope, da = (
            views.y,
            views.error,
            views.dy,
            views.h,
            views.slope,
            views.da,
        )
        if stacked:
            for z_t, a_t, h_t in views.forward:
                dot(z_t, W, a_t)  # (F1)
                phi(a_t, h_t)  # (F2)
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
        differentiate(y, views.target, error, views.row_losses)  # (B1)
        if views.divisor is not None:
            divide(error, views.divisor, dy)  # (B1)
        slope_of(h, one, slope)
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
        if record and update.is_yielded:
            work.recorded = recorded(vectors, work, update.window)
        take_step(update.is_yielded)
        if update.is_yielded:
            yield update


def recorded(
    vectors: ParameterVectors, work: Workspace, window: Window
) -> tuple[Activations[Array], Adjoints[Array]]:
    """Copies of all that the latest window computed, time first, to be made before its
    step.
    """
    layout, dot = vectors.layout, select_dot(vectors.layout.networks)
    begin, first_new, end = (step - work.base for step in window)
    views, B = WindowViews(work, begin, first_new, end), layout.B
    W_xh, W_hh, W_hy, _, b_y = layout.named(vectors.theta)
    rows, new = (end - begin) * B, (end - first_new) * B
    y, dy, dx = (layout.empty(rows, n) for n in (layout.O, layout.O, layout.D))
    dh_0 = layout.empty(B, layout.H)
    dot(views.h, W_hy, y)  # (F3)
    if b_y is not None:
        add(y, b_y[..., None, :], y)  # (F3)
    dy[...] = 0
    y[..., rows - new :, :], dy[..., rows - new :, :] = views.y, views.dy
    dot(views.da, W_xh.mT, dx)  # (B10)
    dot(views.da[..., :B, :], W_hh.mT, dh_0)  # (B9)
    x, h = (
        work.x[..., begin * B : end * B, :],
        work.h[..., begin * B : (end + 1) * B, :],
    )
    series = x, work.a[..., :rows, :], h, y, dy, work.dh[..., :rows, :], views.da, dx
    x, a, h, y, dy, dh, da, dx = (time_first(v, B).copy() for v in series)
    return Activations(x, a, h, y), Adjoints(dy, dh, da, dx, dh_0)
