"""Clipping, by global norm and by value (DERIVATION.md, section 6)."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.common.shapes import expand_to
from torch_rnn.parameters import ARRAYS, Array, Gradients, Norms

SMALL = 1e-6  # added to the norm, as in clip_grad_norm_


@torch.no_grad()
def global_norm(gradients: Gradients[Array]) -> Norms:
    """The norm of all gradients of a network as one vector.

        ‖dθ‖ = √(Σ_θ Σ dθ²)    (U2)

    Where a square overflows or underflows, ‖dθ‖ is computed as 2ᵏ √(Σ_θ Σ (dθ/2ᵏ)²), where 2ᵏ is the largest power of
    two that does not exceed the largest |dθ|; a division by it rounds nothing. Gradients that are None are left out.
    Returns ‖dθ‖ in their dtype: shape E, a scalar without an ensemble. It is not finite where a gradient is not, or
    where it overflows.

    Raises InputError on gradients that do not fit each other.
    """
    ARRAYS.gradients(gradients)
    return norm(gradients)


@torch.no_grad()
def norm(gradients: Gradients[Array]) -> Norms:
    """`global_norm` without its checks. `expand_to` gives an array of one number per network the axes of dθ."""
    E = gradients.W_hh.ndim - 2
    present = [dtheta for dtheta in gradients if dtheta is not None]
    total_norm = root_of_squares(present, E)
    least = torch.finfo(total_norm.dtype).tiny ** 0.5 / torch.finfo(total_norm.dtype).eps
    if ((total_norm > least) & (total_norm < torch.inf)).all():
        return total_norm  # no square overflowed, and those that underflowed are too small to matter
    largest = (torch.amax(abs(dtheta), dim=tuple(range(E, dtheta.ndim))) for dtheta in present)
    scale = power_of_two(reduce(torch.maximum, largest))
    return scale * root_of_squares([dtheta / expand_to(scale, dtheta) for dtheta in present], E)


def root_of_squares(present: list[Array], E: int) -> Norms:
    squares = (torch.square(dtheta).sum(dim=tuple(range(E, dtheta.ndim))) for dtheta in present)
    total_norm: Norms = torch.sqrt(reduce(torch.add, squares))  # (U2)
    return total_norm


def power_of_two(largest: Norms) -> Norms:
    """The largest powers of two that do not exceed these numbers, at least the smallest normal number."""
    largest = largest.clip(min=torch.finfo(largest.dtype).tiny)
    mantissa, _ = torch.frexp(largest)
    power: Norms = largest / (2 * mantissa)
    return power


@torch.no_grad()
def clip_by_global_norm(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """The gradients, scaled down where their global norm ‖dθ‖ exceeds `max_norm`; the norm of each network is its own.

        dθ ← min(1, max_norm / (‖dθ‖ + 10⁻⁶)) dθ    (U3)

    Returns new Gradients, None where there were none. Where ‖dθ‖ is not finite they are all NaN, not zero, so that
    training is seen to diverge.

    Raises InputError on gradients that do not fit each other, and unless max_norm is a finite number above 0.
    Source: torch.nn.utils.clip_grad_norm_; Pascanu, Mikolov and Bengio 2013, algorithm 1.
    """
    if max_norm is None:
        raise InputError("max norm is None: expected a finite number above 0")
    SgdOptions(max_norm=max_norm).check()
    ARRAYS.gradients(gradients)
    return clip(gradients, max_norm)


@torch.no_grad()
def clip(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """`clip_by_global_norm` without its checks."""
    factor = (float(max_norm) / (norm(gradients) + SMALL)).clamp(max=1)  # (U3)
    factor = torch.where(factor > 0, factor, torch.nan)  # 0 where ‖dθ‖ overflows
    return Gradients(*(None if dtheta is None else expand_to(factor, dtheta) * dtheta for dtheta in gradients))  # (U3)


@torch.no_grad()
def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number of which is moved into the range from −max_value to max_value.

        dθ ← max(−max_value, min(max_value, dθ))    (U7)

    Unlike `clip_by_global_norm` it changes the direction of the gradient. Returns new Gradients, None where there were
    none. NaN stays NaN; an infinite number becomes max_value or −max_value.

    Raises InputError on gradients that do not fit each other, and unless max_value is a finite number above 0.
    Source: torch.nn.utils.clip_grad_value_.
    """
    if max_value is None:
        raise InputError("max value is None: expected a finite number above 0")
    SgdOptions(max_value=max_value).check()
    ARRAYS.gradients(gradients)
    return clamp(gradients, float(max_value))


@torch.no_grad()
def clamp(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """`clip_by_value` without its checks."""
    limited: list[Any] = []
    for dtheta in gradients:
        limited.append(None if dtheta is None else torch.clip(dtheta, -max_value, max_value))  # (U7)
    return Gradients(*limited)


def apply_clipping(gradients: Gradients[Array], options: SgdOptions) -> Gradients[Array]:
    """The gradients after the clipping that the options ask for."""
    if options.max_norm is not None:
        return clip(gradients, options.max_norm)
    return gradients if options.max_value is None else clamp(gradients, options.max_value)
