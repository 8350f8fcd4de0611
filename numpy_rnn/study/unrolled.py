"""The forward pass as a list of assignments into which one may reach: the definition of a total derivative, executed.

Step t has a copy of the parameters of its own, and a number may be added to any value on its way (DERIVATION.md,
sections 4.1 and 5). Real or complex numbers; written step by step and in full, as a witness that shares no line with
`numpy_rnn.forward`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import Choices
from numpy_rnn.common.records import Activations, Parameters


def _relu(a):
    return np.where(a.real > 0, a, 0)  # also of complex numbers: its slope is 0 or 1, and 0 at zero


NONLINEARITIES: Choices[Any] = Choices("nonlinearity", tanh=np.tanh, relu=_relu)


def unrolled(
    copies: Sequence[Parameters], x, h_0, nonlinearity: str = "tanh", added: Mapping[tuple[str, int], np.ndarray] = {}
) -> Activations:
    """Run (F1) to (F3) step by step, step t with `copies[t-1]`.

    x: (T, B, D); h_0: (B, H). added: what is added to "x", "a", "h" or "y" at a step, by (name, t), t from 1, before
    anything later reads it; ("h", 0) is the state that enters. Copies and additions may carry leading axes N, one entry
    a pass; all passes run at once. Returns Activations with N between time and batch.
    """
    phi = NONLINEARITIES[nonlinearity]

    def reached(name, t, value):
        return value + added[name, t] if (name, t) in added else value

    x_t, a, h, y = [], [], [reached("h", 0, h_0)], []
    for t, (W_xh, W_hh, W_hy, b_h, b_y, _) in enumerate(copies, start=1):
        x_t.append(reached("x", t, x[t - 1]))
        a_t = x_t[-1] @ W_xh + h[-1] @ W_hh
        a.append(reached("a", t, a_t if b_h is None else a_t + b_h[..., None, :]))
        h.append(reached("h", t, phi(a[-1])))
        y_t = h[-1] @ W_hy
        y.append(reached("y", t, y_t if b_y is None else y_t + b_y[..., None, :]))
    return Activations(*(np.stack(np.broadcast_arrays(*v)) for v in (x_t, a, h, y)))


def step_losses(y, target) -> np.ndarray:
    """ℓ_t of every step (L1), undivided: (T, *N, B, O), (T, B, O) → (T, *N). Analytic, so that complex numbers pass."""
    T, *N, B, O = y.shape
    error = y - target.reshape(T, *(1 for _ in N), B, O)
    return 0.5 * (error * error).sum(axis=(-2, -1))
