"""Clipping, by global norm and by value (DERIVATION.md, section 6)."""

from __future__ import annotations

from functools import reduce

import numpy as np

from numpy_rnn.common.checks import check_gradients, check_limit
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.records import Step
from numpy_rnn.parameters import ARRAYS, Array, Gradients, Norms, expand_to

SMALL = 1e-6  # added to the norm, as in clip_grad_norm_


@np.errstate(over="ignore", under="ignore")
def global_norm(gradients: Gradients[Array]) -> Norms:
    """The norm of all gradients of a network as one vector.

        ‖dθ‖ = √(Σ_θ Σ dθ²)    (U2)

    The squares are summed in float64, where those of float32 neither overflow nor underflow. Gradients that are None
    are left out. Returns ‖dθ‖ in float64: shape E, a scalar without an ensemble. It is not finite where a gradient is
    not, or where the sum overflows.
    """
    E = gradients.W_hh.ndim - 2
    present = [dtheta for dtheta in gradients if dtheta is not None]
    squares = (
        np.square(dtheta, dtype=np.float64).sum(axis=tuple(range(E, dtheta.ndim)))
        for dtheta in present
    )
    total_norm: Norms = np.sqrt(reduce(np.add, squares))  # (U2)
    return total_norm


def clip_by_global_norm(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """The gradients, scaled down where their global norm ‖dθ‖ exceeds `max_norm`; the norm of each network is its own.

        dθ ← min(1, max_norm / (‖dθ‖ + 10⁻⁶)) dθ    (U3)

    Returns new Gradients, None where there were none. Where ‖dθ‖ is not finite they are all NaN, not zero, so that
    training is seen to diverge.

    Raises InputError on gradients that do not fit each other, and unless max_norm is a finite number above 0.
    Source: torch.nn.utils.clip_grad_norm_; Pascanu, Mikolov and Bengio 2013, algorithm 1.
    """
    max_norm = check_limit("max norm", max_norm)
    check_gradients(ARRAYS, gradients)
    return clip(gradients, max_norm)


def clip(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """`clip_by_global_norm` without its checks. `expand_to` gives an array of one number per network the axes of dθ."""
    total_norm = global_norm(gradients)
    factor = np.minimum(1, max_norm / (total_norm + SMALL))  # (U3)
    factor = np.where(np.isfinite(total_norm), factor, np.nan)
    clipped: Gradients[Array] = tree_map(
        lambda g: (expand_to(factor, g) * g).astype(g.dtype), gradients
    )  # (U3)
    return clipped


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number of which is moved into the range from −max_value to max_value.

        dθ ← max(−max_value, min(max_value, dθ))    (U7)

    Unlike `clip_by_global_norm` it changes the direction of the gradient. Returns new Gradients, None where there were
    none. NaN stays NaN; an infinite number becomes max_value or −max_value.

    Raises InputError on gradients that do not fit each other, and unless max_value is a finite number above 0.
    Source: torch.nn.utils.clip_grad_value_.
    """
    max_value = check_limit("max value", max_value)
    check_gradients(ARRAYS, gradients)
    return clamp(gradients, max_value)


def clamp(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """`clip_by_value` without its checks."""
    limited: Gradients[Array] = tree_map(
        lambda g: np.clip(g, -max_value, max_value), gradients
    )  # (U7)
    return limited


def apply_clipping(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """The gradients after the clipping that the step asks for."""
    if step.max_norm is not None:
        return clip(gradients, step.max_norm)
    return gradients if step.max_value is None else clamp(gradients, step.max_value)
