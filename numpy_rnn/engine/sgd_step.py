"""The step in place: the equations of `step.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import add, divide, multiply, sqrt, subtract

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Step
from numpy_rnn.engine.memory import ParameterVectors
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
    if step == Step(step.learning_rate):
        return plain_step(vectors, rate)
    return StepWithOptions(vectors, step, rate, initialized).apply


def plain_step(vectors: ParameterVectors, rate: Array) -> ApplyStep:
    """Return the step of plain gradient descent."""
    theta, gradient, scratch = vectors.theta, vectors.gradient, vectors.scratch

    def apply(keep_gradient: bool) -> None:
        delta = scratch if keep_gradient else gradient
        multiply(gradient, rate, delta)
        subtract(theta, delta, theta)  # (U1)

    return apply


@dataclass
class StepWithOptions:
    """A step with clipping, or a direction that is not the gradient."""

    vectors: ParameterVectors
    step: Step
    rate: Array
    initialized: bool
    """Whether there is a velocity."""

    def apply(self, keep_gradient: bool) -> None:
        """Move the parameters."""
        vectors = self.vectors
        changed = vectors.changed if keep_gradient else vectors.gradient
        g = self.decayed(self.clipped(vectors.gradient, changed), changed)
        delta = g
        if vectors.velocity is not None:
            delta = self.descent(g, vectors.velocity)
            self.initialized = True
        multiply(delta, self.rate, vectors.scratch)
        subtract(vectors.theta, vectors.scratch, vectors.theta)  # (U1)

    def clipped(self, g: Array, out: Array) -> Array:
        """Return the gradient within the limits."""
        max_norm, max_value = self.step.max_norm, self.step.max_value
        if max_norm is not None:
            return multiply(g, clipping_factor(vector_norm(g), max_norm), out)  # (U3)
        if max_value is not None:
            with np.errstate(over="ignore"):  # a limit beyond the dtype is infinite
                return np.clip(g, -max_value, max_value, out=out)  # (U7)
        return g

    def decayed(self, g: Array, out: Array) -> Array:
        """Return the gradient with weight decay."""
        decay = self.step.weight_decay
        if not decay:
            return g
        decayed = multiply(self.vectors.theta, decay, self.vectors.scratch)
        return add(g, decayed, out)  # (U4)

    def descent(self, g: Array, v: Array) -> Array:
        """Update the velocity, or the sum of squares, and return the direction."""
        scratch = self.vectors.scratch
        step = self.step
        if step.adagrad:
            add(v, multiply(g, g, scratch), v)  # (U8); v is 0 the first time
            add(v, ADAGRAD_EPSILON, scratch)
            sqrt(scratch, scratch)
            return divide(g, scratch, scratch)  # (U9)
        if self.initialized:
            multiply(v, step.momentum, v)
            add(v, multiply(g, 1 - step.dampening, scratch), v)  # (U5)
        else:
            v[...] = g  # (U5), the first time
        if step.nesterov:
            return add(g, multiply(v, step.momentum, scratch), scratch)  # (U6)
        return v  # (U6)


@np.errstate(over="ignore", under="ignore")
def vector_norm(gradient: Array) -> Array:
    """Return ‖dθ‖ of vectors (..., P), of shape (..., 1)."""
    # Not square(dtype=...): with the small buffers of a wide ensemble it is slow.
    squares = np.square(gradient.astype(np.float64, copy=False))
    norm: Array = np.sqrt(squares.sum(axis=-1, keepdims=True))  # (U2)
    return norm
