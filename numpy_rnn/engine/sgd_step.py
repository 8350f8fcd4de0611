"""One SGD step in place: the equations of `step.py`."""

from __future__ import annotations

import numpy as np
from numpy import add, divide, multiply, sqrt, subtract

from numpy_rnn.common.records import Step
from numpy_rnn.engine.memory import ParameterVectors
from numpy_rnn.parameters import Array
from numpy_rnn.step import SMALL, TINY


class SgdStep:
    """The step of a group of networks, or of one."""

    def __init__(
        self, vectors: ParameterVectors, step: Step, rate: Array, has_moved: bool
    ):
        """rate: η, a number, or (N, 1), one per network; has_moved: whether there is a
        velocity.
        """
        self.vectors, self.step, self.rate, self.has_moved = (
            vectors,
            step,
            rate,
            has_moved,
        )
        self.theta, self.gradient, self.spare = (
            vectors.theta,
            vectors.gradient,
            vectors.spare,
        )
        is_plain = step == Step(step.learning_rate)
        self.take = self.take_plain if is_plain else self.take_any

    def take_plain(self, keep_gradient: bool) -> None:
        """Move the parameters by plain gradient descent. The gradient may be
        overwritten.
        """
        delta = self.spare if keep_gradient else self.gradient
        multiply(self.gradient, self.rate, delta)
        subtract(self.theta, delta, self.theta)  # (U1)

    def take_any(self, keep_gradient: bool) -> None:
        """Clip the gradient and move the parameters. The gradient may be
        overwritten.
        """
        vectors, step, spare, g = self.vectors, self.step, self.spare, self.gradient
        changed = vectors.clipped if keep_gradient else g
        if step.max_norm is not None:
            g = multiply(g, clipping_factor(g, step.max_norm), changed)  # (U3)
        elif step.max_value is not None:
            g = np.clip(g, -step.max_value, step.max_value, out=changed)  # (U7)
        if step.weight_decay:
            g = add(g, multiply(self.theta, step.weight_decay, spare), changed)  # (U4)
        delta, v = g, vectors.velocity
        if v is not None and step.adagrad:
            add(v, multiply(g, g, spare), v)  # (U8); v is 0 the first time
            sqrt(add(v, TINY, spare), spare)
            delta = divide(g, spare, spare)  # (U9)
        elif v is not None:
            if self.has_moved:
                multiply(v, step.momentum, v)
                add(v, multiply(g, 1 - step.dampening, spare), v)  # (U5)
            else:
                v[...] = g  # (U5), the first time
            delta = (
                add(g, multiply(v, step.momentum, spare), spare) if step.nesterov else v
            )  # (U6)
        subtract(self.theta, multiply(delta, self.rate, spare), self.theta)  # (U1)
        self.has_moved = True


@np.errstate(over="ignore", under="ignore")
def clipping_factor(gradient: Array, max_norm: float) -> Array:
    """min(1, max_norm / (‖dθ‖ + 10⁻⁶)) of vectors (..., P): (..., 1); NaN if ‖dθ‖ is
    not finite.
    """
    squares = np.square(gradient.astype(np.float64))
    total_norm = np.sqrt(squares.sum(axis=-1, keepdims=True))  # (U2)
    factor = np.minimum(1, max_norm / (total_norm + SMALL))  # (U3)
    return np.where(np.isfinite(total_norm), factor, np.nan)
