"""The step in place: the equations of `step.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import add, divide, multiply, sqrt, subtract

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Clipping, Direction, Step
from numpy_rnn.engine.memory import ParameterVectors
from numpy_rnn.step import ADAGRAD_EPSILON, NORM_EPSILON

ApplyStep = Callable[[bool], None]


def step_function(
    vectors: ParameterVectors, step: Step, rate: Array, *, initialized: bool
) -> ApplyStep:
    """Return the function that moves the parameters by their gradient.

    Its argument says whether the gradient is kept; otherwise it may be overwritten.
    rate: η, a number, or (N, 1), one per network. initialized: whether there is a
    velocity.
    """
    clipping, direction = step.clipping, step.direction
    if clipping == Clipping() and direction == Direction():
        return plain_step(vectors, rate)
    return StepWithOptions(vectors, clipping, direction, rate, initialized).apply


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
    clipping: Clipping
    direction: Direction
    rate: Array
    initialized: bool
    """Whether there is a velocity."""

    def apply(self, keep_gradient: bool) -> None:
        """Move the parameters."""
        vectors = self.vectors
        changed = vectors.changed if keep_gradient else vectors.gradient
        g = self.clipped(vectors.gradient, changed)
        g = self.decayed(g, changed)
        delta = g
        if vectors.velocity is not None:
            delta = self.descent(g, vectors.velocity)
            self.initialized = True
        multiply(delta, self.rate, vectors.scratch)
        subtract(vectors.theta, vectors.scratch, vectors.theta)  # (U1)

    def clipped(self, g: Array, out: Array) -> Array:
        """Return the gradient within the limits."""
        max_norm, max_value = self.clipping
        if max_norm is not None:
            multiply(g, vector_clipping_factor(g, max_norm), out)  # (U3)
            return out
        if max_value is not None:
            np.clip(g, -max_value, max_value, out=out)  # (U7)
            return out
        return g

    def decayed(self, g: Array, out: Array) -> Array:
        """Return the gradient with weight decay."""
        decay, scratch = self.direction.weight_decay, self.vectors.scratch
        if not decay:
            return g
        return add(g, multiply(self.vectors.theta, decay, scratch), out)  # (U4)

    def descent(self, g: Array, v: Array) -> Array:
        """Update the velocity, or the sum of squares, and return the direction."""
        scratch = self.vectors.scratch
        momentum = self.direction.momentum
        if self.direction.adagrad:
            add(v, multiply(g, g, scratch), v)  # (U8); v is 0 the first time
            add(v, ADAGRAD_EPSILON, scratch)
            sqrt(scratch, scratch)
            return divide(g, scratch, scratch)  # (U9)
        if self.initialized:
            multiply(v, momentum, v)
            add(v, multiply(g, 1 - self.direction.dampening, scratch), v)  # (U5)
        else:
            v[...] = g  # (U5), the first time
        if self.direction.nesterov:
            return add(g, multiply(v, momentum, scratch), scratch)  # (U6)
        return v  # (U6)


@np.errstate(over="ignore", under="ignore")
def vector_clipping_factor(gradient: Array, max_norm: float) -> Any:
    """Return min(1, max_norm / (‖dθ‖ + 10⁻⁶)) of vectors (..., P), of shape (..., 1);
    NaN where ‖dθ‖ is not finite.
    """
    squares = np.square(gradient.astype(np.float64))
    total_norm = np.sqrt(squares.sum(axis=-1, keepdims=True))  # (U2)
    factor = np.minimum(1, max_norm / (total_norm + NORM_EPSILON))  # (U3)
    return np.where(np.isfinite(total_norm), factor, np.nan)
