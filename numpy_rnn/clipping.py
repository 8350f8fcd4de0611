"""Clipping by global norm (DERIVATION.md, section 6)."""

import numpy as np

from numpy_rnn.common.sgd_options import SgdOptions
from numpy_rnn.common.shapes import beside
from numpy_rnn.parameters import Gradients

SMALL = 1e-6  # beside the norm, as in clip_grad_norm_


def global_norm(gradients):
    """The norm of all gradients of a network as one vector.

        n = √(Σ_θ Σ dθ²)    (U2)

    Gradients that are None are left out. Returns n in their dtype: shape E, a scalar without an ensemble.
    """
    E = gradients.W_hh.ndim - 2
    present = [dtheta for dtheta in gradients if dtheta is not None]
    return np.sqrt(sum(np.square(dtheta).sum(axis=tuple(range(E, dtheta.ndim))) for dtheta in present))  # (U2)


def clipped(gradients, max_norm) -> Gradients:
    """The gradients, made shorter where their global norm is above `max_norm`; each network's by itself.

        dθ ← min(1, max_norm / (n + 10⁻⁶)) dθ    (U3)

    Returns new Gradients, None where there were none. Raises InputError unless max_norm is a finite number above 0.
    Source: torch.nn.utils.clip_grad_norm_; Pascanu, Mikolov and Bengio 2013, algorithm 1.
    """
    SgdOptions(max_norm=max_norm).check()
    factor = np.minimum(1, float(max_norm) / (global_norm(gradients) + SMALL))  # (U3)
    return Gradients(*(None if dtheta is None else beside(factor, dtheta) * dtheta for dtheta in gradients))  # (U3)
