"""The updates: forward pass, loss, gradient and step of one window after the other, in place.

The equations are those of `elman.py`, `bptt.py`, `clipping.py`, `momentum.py` and `sgd.py`, with the same ids. The
losses are summed later, for many windows at once, by `Tape.losses`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy import add, copyto, divide, greater, maximum, multiply, sqrt, subtract, tanh

from numpy_rnn.clipping import SMALL, power_of_two
from numpy_rnn.common.records import Array, SgdOptions
from numpy_rnn.engine.columns import gradients as gradients_in_columns
from numpy_rnn.engine.columns import recorded as recorded_in_columns
from numpy_rnn.engine.layout import Layout
from numpy_rnn.engine.objective import softmax_difference
from numpy_rnn.engine.window import OneStep, Views
from numpy_rnn.momentum import TINY


def relu(a: Array, out: Array) -> Array:
    """max(a, 0) into `out`."""
    return maximum(a, 0, out=out)


def sigmoid(a: Array, out: Array) -> Array:
    """The logistic function, ½ (1 + tanh(a/2)), into `out`."""
    multiply(a, 0.5, out)
    tanh(out, out)
    multiply(out, 0.5, out)
    add(out, 0.5, out)
    return out


def other_slope(phi: Any, h: Array, one: Array, slope: Array) -> None:
    """φ'(a) of h = φ(a), relu or the logistic function, into `slope`."""
    if phi is relu:
        greater(h, 0, slope)
    else:
        subtract(one, h, slope)
        multiply(h, slope, slope)


INTO: dict[str, Any] = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}


def product_of_group(left: Array, right: Array, out: Array) -> Array:
    """The product of two matrices for every network of a group, into `out`."""
    if left.shape[-1] == 1:  # sums of one term
        return multiply(left, right, out)
    return np.einsum("nij,njk->nik", left, right, out=out)


class Networks:
    """A group of networks, or one network, in training: its vectors, its tape and its step."""

    def __init__(self, layout: Layout, tape: Any, rate: Array, options: SgdOptions, nonlinearity: str):
        self.layout, self.tape, self.rate, self.options = layout, tape, rate, options
        self.theta, self.gradient = layout.empty(layout.size), layout.empty(layout.size)
        self.velocity: Any = layout.empty(layout.size) if options.has_velocity else None
        self.moving = [False, False]  # whether the weights, and h_0, have a velocity already
        self.nonlinearity = nonlinearity
        self.product = np.ndarray.dot if layout.networks is None else product_of_group
        self.plain = options == SgdOptions()
        self.spare = layout.empty(layout.size)
        if not layout.columns:
            self._make_views()

    def _make_views(self) -> None:
        layout, tape = self.layout, self.tape
        H, B = layout.H, layout.B
        one = np.ones((), layout.dtype)
        V = layout.empty(layout.O + H, H)
        anew: Any = layout.empty(H, H) if layout.networks is None else None
        spaces = layout.empty(B, H), anew, V, V[..., : layout.O, :], V[..., layout.O :, :]
        phi: Any = INTO[self.nonlinearity]
        self.constants = self.product, phi, tape.objective, tape.stacked, one, *spaces
        W, U, h_0 = layout.stacked(self.theta)
        W_xh, W_hh, W_hy, b_h, b_y, _ = layout.named(self.theta)
        self.parameter_views = self.theta, W, U, h_0, W_xh, W_hh, W_hy, b_h, b_y, W_hy.mT, W_hh.mT
        self.gradient_views = self.gradient, *layout.stacked(self.gradient), *layout.named(self.gradient)[:5]

    def run(self, windows: list[Views], into: Array | None = None, record: dict[str, Array] | None = None) -> None:
        """Make the updates of these windows.

        into: gets the gradient of the last one; record: gets all that it computed, under the names of the arrays.
        """
        theta, gradient, rate = self.theta, self.gradient, self.rate
        last = windows[-1]
        for views in self.gradients(windows, last):
            if views is last and into is not None:
                copyto(into, gradient)
                if record is not None:
                    record.update(self.recorded(views))
            if self.plain:
                subtract(theta, multiply(gradient, rate, gradient), theta)  # (U1)
            else:
                self.step(self.layout.learned and views.first_state is not None)

    def gradients(self, windows: Iterable[Any], last: Any = None) -> Iterator[Any]:
        """Compute the gradient of one window after the other; the parameters may be moved in between.

        last: the window from which on the caller makes the steps. Those before it may be made here, without a halt.
        """
        if self.layout.columns:
            return gradients_in_columns(self.layout, self.tape, self.theta, self.gradient, self.nonlinearity, windows)
        if self.tape.one_step:
            return self._gradients_of_one_step(windows, last if self.plain else None)
        return self._gradients(windows)

    def _gradients_of_one_step(self, windows: Iterable[OneStep], last: OneStep | None) -> Iterator[OneStep]:
        """As `_gradients`, of windows of one step of one sequence: only what these need."""
        dot, phi, _, _, one, *_ = self.constants
        theta, W, U, *_, W_hy_T, _ = self.parameter_views
        gradient, dW, dU, *_ = self.gradient_views
        (a, _, y, _, dh, slope, da), rate = self.tape.scratch, self.rate
        for views in windows:
            z, z_T, h, new, new_T, target, dy = views.loop
            dot(z, W, a)  # (F1)
            phi(a, h)  # (F2)
            dot(new, U, y)  # (F3)
            subtract(y, target, dy)  # (B1)
            dot(dy, W_hy_T, dh)  # (B2)
            if phi is tanh:
                multiply(h, h, slope)
                subtract(one, slope, slope)
            else:
                other_slope(phi, h, one, slope)
            multiply(dh, slope, da)  # (B3)
            dot(z_T, da, dW)  # (B4), (B5), (B7)
            dot(new_T, dy, dU)  # (B6), (B8)
            if last is None or views is last:
                yield views
            else:
                subtract(theta, multiply(gradient, rate, gradient), theta)  # (U1)

    def _gradients(self, windows: Iterable[Views]) -> Iterator[Views]:
        dot, phi, objective, stacked, one, product, anew, V, V_y, V_h = self.constants
        _, W, U, h_0, W_xh, W_hh, W_hy, b_h, b_y, W_hy_T, view_of_W_hh_T = self.parameter_views
        _, dW, dU, dh_0, dW_xh, dW_hh, dW_hy, db_h, db_y = self.gradient_views
        for views in windows:
            (
                forward, gaps, new, new_T, h, before_T, target, error, y, dy, dh_new, slope, da, (dh_T, slope_T, da_T),
                earlier, inputs, divisor, first_state, weights, row_losses,
            ) = views.loop  # fmt: skip
            if h_0 is not None and first_state is not None:
                first_state[...] = h_0  # (T3)
            if stacked:
                for z_t, a_t, h_t in forward:
                    dot(z_t, W, a_t)  # (F1)
                    phi(a_t, h_t)  # (F2)
                if gaps is not None:
                    gaps[0][...] = gaps[1]
                dot(new, U, y)  # (F3)
            else:
                x, x_T, a = inputs
                dot(x, W_xh, a)  # (F1), the inputs of all steps
                if b_h is not None:
                    add(a, b_h, a)  # (F1)
                for h_before, a_t, h_t in forward:
                    a_t += dot(h_before, W_hh, product)  # (F1)
                    phi(a_t, h_t)  # (F2)
                dot(new, W_hy, y)  # (F3)
                if b_y is not None:
                    add(y, b_y, y)  # (F3)
            if row_losses is not None:
                softmax_difference(y, target, objective.classes, error, row_losses)  # (L3), (L4), (B1)
            else:
                subtract(y, target, error)  # (B1)
            if weights is not None:
                multiply(error, weights, dy)  # (B1)
                if divisor is not None:
                    divide(dy, objective.total(weights, y.shape[-1]), dy)  # (B1)
            elif divisor is not None:
                divide(error, divisor, dy)  # (B1)
            if phi is tanh:
                multiply(h, h, slope)
                subtract(one, slope, slope)
            else:
                other_slope(phi, h, one, slope)
            if earlier is not None and earlier.is_joint:
                steps, joint_dy, joint_da, _ = earlier
                joint_dy[...] = dy
                V_y[...], V_h[...] = W_hy_T, view_of_W_hh_T
                for flow_t, dh_t, slope_t, da_t in steps:
                    dot(flow_t, V, dh_t)  # (B2)
                    multiply(dh_t, slope_t, da_t)  # (B3)
                da[...] = joint_da
            else:
                dot(dy, W_hy_T, dh_new)  # (B2), from the outputs of the new steps
                multiply(dh_T, slope_T, da_T)  # (B3)
                if earlier is not None:
                    newer, older, transposed, _ = earlier
                    W_hh_T = view_of_W_hh_T
                    if transposed:
                        copyto(anew, view_of_W_hh_T)
                        W_hh_T = anew
                    for da_next, dh_t, slope_t, da_t in newer:
                        dh_t += dot(da_next, W_hh_T, product)  # (B2)
                        multiply(dh_t, slope_t, da_t)  # (B3)
                    for da_next, dh_t, slope_t, da_t in older:
                        dot(da_next, W_hh_T, dh_t)  # (B2), without an output
                        multiply(dh_t, slope_t, da_t)  # (B3)
            if stacked:
                dot(before_T, da, dW)  # (B4), (B5), (B7)
                dot(new_T, dy, dU)  # (B6), (B8)
            else:
                dot(x_T, da, dW_xh)  # (B4)
                dot(before_T, da, dW_hh)  # (B5)
                dot(new_T, dy, dW_hy)  # (B6)
                if b_h is not None:
                    da.sum(axis=-2, out=db_h)  # (B7)
                    dy.sum(axis=-2, out=db_y)  # (B8)
            if h_0 is not None and first_state is not None:
                dot(views.da_1, view_of_W_hh_T, dh_0)  # (B9)
            elif h_0 is not None:
                dh_0[...] = 0  # h_0 has no gradient here, and plain gradient descent leaves it as it is
            yield views

    def recorded(self, views: Any) -> dict[str, Array]:
        """Copies of all that the latest window computed, by its name in Activations and Adjoints, time first."""
        if self.layout.columns:
            return recorded_in_columns(self.layout, self.tape, self.theta, views)
        layout, dot, tape = self.layout, self.product, self.tape
        W_xh, W_hh, W_hy, _, b_y, _ = layout.named(self.theta)
        if tape.one_step:
            views = tape.all_views(*views.key)
        loop = views.loop
        T, K = loop.h.shape[-2], loop.y.shape[-2]
        y, dy = layout.empty(T, layout.O), layout.empty(T, layout.O)
        dot(loop.h, W_hy, y)  # (F3)
        if b_y is not None:
            add(y, b_y[..., None, :], y)  # (F3)
        dy[...] = 0
        y[..., T - K :, :], dy[..., T - K :, :] = loop.y, loop.dy
        dx, dh_0 = layout.empty(T, layout.D), layout.empty(layout.B, layout.H)
        dot(loop.da, W_xh.mT, dx)  # (B10)
        dot(views.da_1, W_hh.mT, dh_0)  # (B9)
        rows = {"x": views.x, "a": views.a, "y": y, "dy": dy, "dh": views.dh, "da": loop.da, "dx": dx}
        return {name: tape.time_first(v).copy() for name, v in rows.items()} | {"h": views.states.copy(), "dh_0": dh_0}

    def step(self, moves_h_0: bool) -> None:
        """One step of gradient descent with clipping, weight decay and momentum or Adagrad. It uses up the gradient."""
        layout, moving = self.layout, self.moving
        end = layout.size if moves_h_0 or not layout.learned else layout.weights
        if self.options.max_norm is not None:
            gradient = self.gradient[..., :end]
            multiply(gradient, clipping_factor(gradient, self.options.max_norm), gradient)  # (U3)
        elif self.options.max_value is not None:
            gradient, limit = self.gradient[..., :end], self.options.max_value
            np.clip(gradient, -limit, limit, out=gradient)  # (U7)
        if moving[0] == moving[1] or end == layout.weights:
            self._descend(slice(0, end), moving[0])
        else:
            self._descend(slice(0, layout.weights), moving[0])
            self._descend(slice(layout.weights, end), moving[1])
        moving[0] = True
        moving[1] = moving[1] or moves_h_0

    def _descend(self, part: slice, moving: bool) -> None:
        """For one part of the vector; `moving`: whether it has a velocity already."""
        mu, tau, nesterov, decay, *_, adagrad = self.options
        theta, g, spare = self.theta[..., part], self.gradient[..., part], self.spare[..., part]
        if decay:
            add(g, multiply(theta, decay, spare), g)  # (U4)
        delta = g
        if adagrad:
            v = self.velocity[..., part]
            if moving:
                add(v, multiply(g, g, spare), v)  # (U8)
            else:
                multiply(g, g, v)  # (U8), the first time
            sqrt(add(v, TINY, spare), spare)
            divide(g, spare, g)  # (U9)
        elif mu:
            v = self.velocity[..., part]
            if moving:
                multiply(v, mu, v)
                add(v, multiply(g, 1 - tau, spare), v)  # (U5)
            else:
                v[...] = g  # (U5), the first time
            delta = v
            if nesterov:
                delta = add(g, multiply(v, mu, spare), g)  # (U6)
        subtract(theta, multiply(delta, self.rate, spare), theta)  # (U1)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def clipping_factor(gradient: Array, max_norm: float) -> Array:
    """min(1, max_norm / (‖dθ‖ + 10⁻⁶)) of vectors dθ (..., P): shape (..., 1).

    As in `clipping.py`: scaled where a square leaves the range, and NaN where ‖dθ‖ does.
    """
    total_norm = root_of_squares(gradient)
    limits = np.finfo(total_norm.dtype)
    if not ((total_norm > limits.tiny**0.5 / limits.eps) & (total_norm < np.inf)).all():
        scale = power_of_two(np.abs(gradient).max(axis=-1, keepdims=True))
        total_norm = scale * root_of_squares(gradient / scale)
    factor = np.minimum(1, max_norm / (total_norm + SMALL))  # (U3)
    return np.where(factor > 0, factor, np.nan)


def root_of_squares(gradient: Array) -> Array:
    """The norm of vectors (..., P): shape (..., 1)."""
    return np.sqrt(np.square(gradient).sum(axis=-1, keepdims=True))  # (U2)
