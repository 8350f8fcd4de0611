"""Clipping by torch.nn.utils; `numpy_rnn/clipping.py` has the equations (DERIVATION.md, section 6)."""

from __future__ import annotations

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from numpy_rnn.common.checks import check_gradients, check_limit
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.records import Gradients, Step
from torch_rnn.parameters import ARRAYS, Array, per_network


def clip_by_global_norm(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """The gradients with a global norm of at most `max_norm`, as `numpy_rnn.clip_by_global_norm`."""
    max_norm = check_limit("max norm", max_norm)
    check_gradients(ARRAYS, gradients)
    return clipped(gradients, Step(0, max_norm=max_norm))


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number from −max_value to max_value, as `numpy_rnn.clip_by_value`."""
    max_value = check_limit("max value", max_value)
    check_gradients(ARRAYS, gradients)
    return clipped(gradients, Step(0, max_value=max_value))


@torch.no_grad()
def clipped(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """The gradients after the clipping that the step asks for.

    In float64, where the squares of float32 neither overflow nor underflow. A norm that is not finite makes every
    gradient NaN, so that training is seen to diverge; clip_grad_norm_ alone would make them zero.
    """
    if step.max_norm is None and step.max_value is None:
        return gradients
    leaves = tree_map(lambda dtheta: torch.zeros_like(dtheta, dtype=torch.float64), gradients)
    tree_map(
        lambda leaf, dtheta: setattr(leaf, "grad", dtheta.detach().to(torch.float64, copy=True)),
        leaves,
        gradients,
    )
    present = [leaf for leaf in leaves if leaf is not None]
    if step.max_value is not None:
        clip_grad_value_(present, step.max_value)  # (U7)
    else:
        assert step.max_norm is not None
        E = gradients.W_hh.ndim - 2
        if E == 0:
            norm = clip_grad_norm_(present, step.max_norm)  # (U2), (U3)
        else:  # torch has no clipping per network
            norm = torch.linalg.vector_norm(
                torch.cat([leaf.grad.flatten(E) for leaf in present], dim=-1), dim=-1
            )
            for leaf in present:
                leaf.grad *= per_network((step.max_norm / (norm + 1e-6)).clamp(max=1), leaf)  # (U3)
        for leaf in present:
            leaf.grad[~torch.isfinite(per_network(norm, leaf)).expand_as(leaf)] = torch.nan
    found: Gradients[Array] = tree_map(lambda leaf: leaf.grad.to(gradients.W_hh.dtype), leaves)
    return found
