"""Large networks: sequences side by side in columns.

A BLAS multiplies a large matrix by a narrow one, (H, H)·(H, B), faster than a flat one by a large one, (B, H)·(H, H):
by a fifth with OpenBLAS in float32. So each step of a large network has its state as (H, B), one sequence per column,
and W is kept transposed, (H, F) with F = H + D + 1::

    z_t   [h_{t-1}; x_t; 1]  (F, B)        a_t  = Wᵀ z_t
    flow  [da_{t+1}; dy_t]   (H + O, B)    dh_t = [W_hh W_hy] flow

The sum of dW runs over steps and sequences. For it the steps are copied to (F, T·B) and (H, T·B), whose product is one.
The equations are those of `update.py`.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy import add, copyto, divide, greater, matmul, multiply, subtract, tanh

from numpy_rnn.common.records import Array
from numpy_rnn.common.windows import Window
from numpy_rnn.engine.layout import Layout
from numpy_rnn.engine.objective import Objective
from numpy_rnn.engine.window import MAX_VIEWED, Tape

TRANSPOSED_AT_ONCE = 64  # rows of a block of a transpose that stays in the fastest cache


class ColumnViews(NamedTuple):
    """One window on a tape."""

    forward: list[tuple[Array, ...]]  # (z_t, a_t, h_t) of every step
    z: Array  # (F, T + 1, B): the columns of all steps, and of the step after the last
    z_copy: Array  # the same, to be laid out as (F, (T + 1)·B)
    before: Array  # (F, T·B) of the copy: what W multiplies
    new: Array  # (H, K·B) of the copy: h_t of the new steps
    h: Array  # (T, H, B)
    target: Array  # (O, K, B)
    error: Array  # (O, K, B)
    y: Array  # (O, K·B)
    dy: Array  # (O, K·B)
    flow_dy: Array  # (O, K, B): the places of dy_t
    flow_older: Array  # (T - K, O, B): those of the steps without a loss
    backward: list[tuple[Array, ...]]  # (flow, dh_t, φ'(a_t), da_t) of every step, latest first
    slope: Array  # (T, H, B)
    da: Array  # (H, T, B)
    da_copy: Array  # the same, laid out as (H, T·B)
    divisor: Array | None
    first_state: Array | None  # (B, H)
    errors: Array | None  # the error in one row, where it is one
    states: Array  # (T + 1, B, H)


class ColumnTape:
    """As `Tape`, for one large network."""

    stacked, one_step = True, False

    def __init__(self, layout: Layout, steps: int, k1: int, k2: int, objective: Objective):
        self.layout, self.steps, self.k2, self.objective, self.base = layout, steps, k2, objective, 0
        self.mean = objective.mean
        self.half = layout.dtype.type(0.5)
        D, H, O, B, bias = layout[:5]
        F, empty = H + D + bias, layout.empty
        self.z = empty(steps + 1, F, B)
        self.z[:, H:] = 1  # of the step after the last too, which is copied and not used
        self.target, self.error = empty(O, steps, B), empty(O, steps, B)
        self.a, self.dh, self.slope = empty(k2, H, B), empty(k2, H, B), empty(k2, H, B)
        self.flow = empty(k2 + 1, H + O, B)
        self.flow[...] = 0  # and so it stays after the last step
        self.z_copy, self.da_copy = empty(F * (k2 + 1) * B), empty(H * k2 * B)
        self.y, self.dy = empty(O * k1 * B), empty(O * k1 * B)
        self.V = empty(H, H + O)
        self.V[...] = 0
        self.views: dict[tuple[int, int, int, bool], ColumnViews] = {}
        self.viewed, self.most_viewed = 0, MAX_VIEWED  # steps of these windows

    def state(self, step: int) -> Array:
        """The place of h after this step of the series, (B, H), a view."""
        return self.z[step - self.base, : self.layout.H].T

    def load(self, base: int, x: Array, target: Array, weights: None = None) -> None:
        """Move to the steps from `base` on, with these inputs and targets, (n, B, ·). The state at `base` is kept."""
        if base > self.base:
            state = self.state(base).copy()
            self.base = base
            self.state(base)[...] = state
        self.base = base
        D, H, n, K = self.layout.D, self.layout.H, len(x), len(target)
        self.z[:n, H : H + D] = x.mT
        self.target[:, n - K : n] = np.moveaxis(target, 2, 0)

    window = Tape.window

    def losses(self, windows: list[Window], views: list[ColumnViews]) -> list[Array]:
        """L of each of these windows."""
        return [self.loss(of_window) for of_window in views]

    def loss(self, views: ColumnViews) -> Array:
        """L of a window."""
        error = views.error.reshape(-1)
        loss = self.half * error.dot(error)  # (L1)
        return loss if views.divisor is None else loss / views.divisor  # (L2)

    def all_views(self, begin: int, first_new: int, end: int, is_first: bool) -> ColumnViews:
        """As those of `Tape`."""
        D, H, O, B, bias = self.layout[:5]
        F, T, K = H + D + bias, end - begin, end - first_new
        z, flow = self.z[begin : end + 1], self.flow[self.k2 - T :]
        z_copy = self.z_copy[: F * (T + 1) * B].reshape(F, T + 1, B)
        da_copy = self.da_copy[: H * T * B].reshape(H, T, B)
        y, dy = (v[: O * K * B].reshape(O, K * B) for v in (self.y, self.dy))
        a, dh, slope = self.a[:T], self.dh[:T], self.slope[:T]
        return ColumnViews(
            forward=list(zip(z, a, z[1:, :H], strict=False)),
            z=z.transpose(1, 0, 2),
            z_copy=z_copy,
            before=z_copy[:, :T].reshape(F, T * B),
            new=z_copy[:H, 1 + T - K :].reshape(H, K * B),
            h=z[1:, :H],
            target=self.target[:, first_new:end],
            error=self.error[:, first_new:end],
            y=y,
            dy=dy,
            flow_dy=flow[1 + T - K :, H:].transpose(1, 0, 2),
            flow_older=flow[1 : 1 + T - K, H:],
            backward=list(zip(flow[1:], dh, slope, flow[:T, :H], strict=True))[::-1],
            slope=slope,
            da=flow[:T, :H].transpose(1, 0, 2),
            da_copy=da_copy,
            divisor=self.layout.dtype.type(K * B * O) if self.mean else None,
            first_state=self.state(self.base + begin) if is_first else None,
            errors=None,
            states=z[:, :H].mT,
        )


def transpose_into(into: Array, matrix: Array) -> None:
    """matrixᵀ, block by block: as a whole it would read each line of the cache many times."""
    for begin in range(0, len(into), TRANSPOSED_AT_ONCE):
        into[begin : begin + TRANSPOSED_AT_ONCE] = matrix[:, begin : begin + TRANSPOSED_AT_ONCE].T


def gradients(
    layout: Layout,
    tape: ColumnTape,
    theta: Array,
    gradient: Array,
    nonlinearity: str,
    windows: Iterable[ColumnViews],
) -> Iterator[ColumnViews]:
    """Compute the gradient of one window after the other; the parameters may be moved in between."""
    H = layout.H
    W_T, U, h_0 = layout.stacked(theta)
    dW_T, dU, dh_0 = layout.stacked(gradient)
    W_hy, b_y, dW_hy = U[:H], U[H:], dU[:H]
    V, dot, one = tape.V, np.ndarray.dot, np.ones((), layout.dtype)
    for views in windows:
        if h_0 is not None and views.first_state is not None:
            views.first_state[...] = h_0  # (T3)
        for z_t, a_t, h_t in views.forward:
            dot(W_T, z_t, a_t)  # (F1)
            if nonlinearity == "tanh":
                tanh(a_t, h_t)  # (F2)
            elif nonlinearity == "relu":
                np.maximum(a_t, 0, out=h_t)  # (F2)
            else:
                multiply(a_t, 0.5, h_t)
                tanh(h_t, h_t)
                multiply(h_t, 0.5, h_t)
                add(h_t, 0.5, h_t)  # (F2)
        copyto(views.z_copy, views.z)
        y, error, dy = views.y, views.error, views.dy
        matmul(W_hy.T, views.new, y)  # (F3)
        if layout.bias:
            add(y, b_y.T, y)  # (F3)
        subtract(y.reshape(error.shape), views.target, error)  # (B1)
        divide(error, 1 if views.divisor is None else views.divisor, dy.reshape(error.shape))  # (B1)
        copyto(views.flow_dy, dy.reshape(error.shape))
        views.flow_older[...] = 0
        h, slope = views.h, views.slope
        if nonlinearity == "tanh":
            multiply(h, h, slope)
            subtract(one, slope, slope)
        elif nonlinearity == "relu":
            greater(h, 0, slope)
        else:
            subtract(one, h, slope)
            multiply(h, slope, slope)
        transpose_into(V[:, :H], W_T[:, :H])
        V[:, H:] = W_hy
        for flow_t, dh_t, slope_t, da_t in views.backward:
            dot(V, flow_t, dh_t)  # (B2)
            multiply(dh_t, slope_t, da_t)  # (B3)
        copyto(views.da_copy, views.da)
        matmul(views.da_copy.reshape(H, -1), views.before.T, dW_T)  # (B4), (B5), (B7)
        matmul(views.new, dy.T, dW_hy)  # (B6)
        if layout.bias:
            dU[H] = dy.sum(axis=-1)  # (B8)
        if h_0 is not None:
            dh_0[...] = 0 if views.first_state is None else (V[:, :H] @ views.da[:, 0]).T  # (B9)
        yield views


def recorded(layout: Layout, tape: ColumnTape, theta: Array, views: ColumnViews) -> dict[str, Array]:
    """Copies of all that the latest window computed, by its name in Activations and Adjoints, time first."""
    D, H, O, B = layout[:4]
    W_xh, _, W_hy, _, b_y, _ = layout.named(theta)
    T, K = len(views.h), views.error.shape[1]
    y, dy = np.zeros((T, B, O), layout.dtype), np.zeros((T, B, O), layout.dtype)
    y[: T - K] = views.h[: T - K].mT @ W_hy + (0 if b_y is None else b_y)  # (F3)
    y[T - K :], dy[T - K :] = (v.reshape(O, K, B).transpose(1, 2, 0) for v in (views.y, views.dy))
    da = np.array(views.da.transpose(1, 2, 0), order="C")
    x = np.array([z_t[H : H + D].T for z_t, _, _ in views.forward])
    return {
        "x": x,
        "a": np.array(tape.a[:T].mT),
        "h": np.array(views.states),
        "y": y,
        "dy": dy,
        "dh": np.array(tape.dh[:T].mT),
        "da": da,
        "dx": da @ W_xh.mT,  # (B10)
        "dh_0": np.array((tape.V[:, :H] @ views.da[:, 0]).T),  # (B9), to the same bits as in `gradients`
    }
