"""The step in place: the equations of `step.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import add, copyto, divide, multiply, sqrt, subtract

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Step
from numpy_rnn.engine.vectors import ParameterVectors
from numpy_rnn.step import ADAGRAD_EPSILON, clipping_factor

ApplyStep = Callable[[bool], None]


def step_function(
    vectors: ParameterVectors, step: Step, rate: Array, *, initialized: bool
) -> ApplyStep:
    """Return the function that moves the parameters by their gradient.

    Its argument says whether the gradient is kept; otherwise it may be overwritten.
    rate: η, a number, or (N, 1), one per network. initialized: whether there is a
    velocity.
    """
    if step._replace(learning_rate=None) == Step(None):
        return plain_step(vectors, rate)
    return step_with_options(vectors, step, rate, initialized)


def plain_step(vectors: ParameterVectors, rate: Array) -> ApplyStep:
    """Return the step of plain gradient descent."""
    theta, gradient, scratch = vectors.theta, vectors.gradient, vectors.scratch

    def apply(keep_gradient: bool) -> None:
        delta = scratch if keep_gradient else gradient
        multiply(gradient, rate, delta)
        subtract(theta, delta, theta)  # (U1)

    return apply


def step_with_options(
    vectors: ParameterVectors, step: Step, rate: Array, initialized: bool
) -> ApplyStep:
    """Return a step with clipping, or a direction that is not the gradient."""
    theta, gradient, scratch = vectors.theta, vectors.gradient, vectors.scratch
    velocity: Any = vectors.velocity

    def apply(keep_gradient: bool) -> None:
        nonlocal initialized
        # An Update shows the gradient as it is before clipping and weight decay.
        changed = vectors.changed if keep_gradient else gradient
        g = clipped(gradient, step, changed)
        if step.weight_decay:
            g = add(g, multiply(theta, step.weight_decay, scratch), changed)  # (U4)
        delta = g
        if step.momentum:
            delta = momentum_direction(g, velocity, scratch, step, initialized)
            initialized = True
        if step.adagrad:
            delta = adagrad_direction(g, velocity, scratch)
        multiply(delta, rate, scratch)
        subtract(theta, scratch, theta)  # (U1)

    return apply


def clipped(gradient: Array, step: Step, out: Array) -> Array:
    """Return the gradient within the limits: itself, or what is written into `out`."""
    max_norm, max_value = step.max_norm, step.max_value
    if max_norm is not None:
        factor = clipping_factor(vector_norm(gradient), max_norm)
        return multiply(gradient, factor, out)  # (U3)
    if max_value is not None:
        with np.errstate(over="ignore"):  # a limit beyond the dtype is infinite
            return np.clip(gradient, -max_value, max_value, out=out)  # (U7)
    return gradient


def momentum_direction(
    g: Array, v: Array, scratch: Array, step: Step, initialized: bool
) -> Array:
    """Update the velocity v, and return the direction."""
    if initialized:
        multiply(v, step.momentum, v)
        add(v, multiply(g, 1 - step.dampening, scratch), v)  # (U5)
    else:
        copyto(v, g)  # (U5), the first time
    if step.nesterov:
        return add(g, multiply(v, step.momentum, scratch), scratch)  # (U6)
    return v  # (U6)


def adagrad_direction(g: Array, v: Array, scratch: Array) -> Array:
    """Update the sum of squares v, which is 0 at first, and return the direction."""
    add(v, multiply(g, g, scratch), v)  # (U8)
    add(v, ADAGRAD_EPSILON, scratch)
    sqrt(scratch, scratch)
    return divide(g, scratch, scratch)  # (U9)


@np.errstate(over="ignore", under="ignore")
def vector_norm(gradient: Array) -> Array:
    """Return ‖dθ‖ of vectors (..., P), of shape (..., 1)."""
    # Not square(dtype=...): with the small buffers of a wide ensemble it is slow.
    squares = np.square(gradient.astype(np.float64, copy=False))
    norm: Array = np.sqrt(squares.sum(axis=-1, keepdims=True))  # (U2)
    return norm
