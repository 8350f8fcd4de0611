"""One SGD step in place, on the vectors of networks: the equations of `clipping.py`, `momentum.py` and `update.py`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import add, divide, multiply, sqrt, subtract

from numpy_rnn.clipping import SMALL
from numpy_rnn.common.records import Step, Window
from numpy_rnn.engine.memory import Memory
from numpy_rnn.momentum import TINY
from numpy_rnn.parameters import Array


class Descent(NamedTuple):
    """The step of a group of networks, or of one."""

    memory: Memory
    step: Step
    rate: Array  # η: a number, or (N, 1), one for every network
    is_plain: bool  # whether it is plain gradient descent

    def take_step(self, window: Window, is_seen: bool = True) -> None:
        """Clip the gradient and move the parameters. The gradient itself stays, unless nobody sees it."""
        memory, step, moves_h_0, g = self.memory, self.step, window.start == 0, self.memory.gradient
        if self.is_plain:
            subtract(
                memory.theta, multiply(g, self.rate, memory.spare if is_seen else g), memory.theta
            )  # (U1)
            return
        layout, moving = memory.layout, memory.is_moving
        end = layout.weights if layout.learned and not moves_h_0 else None
        g, changed = g[..., :end], (memory.clipped if is_seen else g)[..., :end]
        if step.max_norm is not None:
            g = multiply(g, clipping_factor(g, step.max_norm), changed)  # (U3)
        elif step.max_value is not None:
            g = np.clip(g, -step.max_value, step.max_value, out=changed)  # (U7)
        if moving[0] == moving[1] or end or not layout.learned:
            self._descend(g, changed, slice(0, end))
        else:  # h_0 has no velocity yet
            self._descend(g, changed, slice(0, layout.weights))
            self._descend(g, changed, slice(layout.weights, None))
        moving[0], moving[1] = True, moving[1] or moves_h_0

    def _descend(self, gradient: Array, changed: Array, part: slice) -> None:
        """Move one part of the vector. changed: where another gradient is put."""
        memory, (_, mu, tau, nesterov, decay, adagrad, *_) = self.memory, self.step
        theta, g, spare = memory.theta[..., part], gradient[..., part], memory.spare[..., part]
        moving = memory.is_moving[part.start > 0]
        v = None if memory.velocity is None else memory.velocity[..., part]
        if decay:
            g = add(g, multiply(theta, decay, spare), changed[..., part])  # (U4)
        delta = g
        if v is not None and adagrad:
            add(v, multiply(g, g, spare), v)  # (U8); v is 0 the first time
            sqrt(add(v, TINY, spare), spare)
            delta = divide(g, spare, spare)  # (U9)
        elif v is not None:
            if moving:
                multiply(v, mu, v)
                add(v, multiply(g, 1 - tau, spare), v)  # (U5)
            else:
                v[...] = g  # (U5), the first time
            delta = add(g, multiply(v, mu, spare), spare) if nesterov else v  # (U6)
        subtract(theta, multiply(delta, self.rate, spare), theta)  # (U1)


@np.errstate(over="ignore", under="ignore")
def clipping_factor(gradient: Array, max_norm: float) -> Array:
    """min(1, max_norm / (‖dθ‖ + 10⁻⁶)) of vectors dθ (..., P): shape (..., 1); NaN where ‖dθ‖ is not finite."""
    total_norm = np.sqrt(np.square(gradient.astype(np.float64)).sum(axis=-1, keepdims=True))  # (U2)
    factor = np.minimum(1, max_norm / (total_norm + SMALL))  # (U3)
    return np.where(np.isfinite(total_norm), factor, np.nan)
