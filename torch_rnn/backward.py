"""The gradient of a window by torch.autograd; `numpy_rnn/backward.py` derives it by
hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.graph import GradientEdge

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_call
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    Objective,
    Parameters,
)
from torch_rnn.loss import window_loss
from torch_rnn.parameters import ARRAYS, Array


def bptt(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
) -> Gradients[Array]:
    """The gradient of the window's loss L with respect to every parameter, as
    `numpy_rnn.bptt`.

    activations: as `forward` returned them for these very params, which require a
    gradient (those of `initial_parameters`, `from_numpy` and `sgd` do), else InputError
    is raised.
    """
    objective = Objective(nonlinearity, loss, reduction)
    return derivatives(_checked_loss(params, activations, target, objective), params)[0]


def adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
) -> Adjoints[Array]:
    """The total derivatives of the window's loss L, as `numpy_rnn.adjoints`."""
    objective = Objective(nonlinearity, loss, reduction)
    return derivatives(
        _checked_loss(params, activations, target, objective), None, activations
    )[1]


@torch.enable_grad()
def _checked_loss(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    objective: Objective,
) -> Array:
    check_call(ARRAYS, objective, params=params, activations=activations, target=target)
    if not (
        activations.x.requires_grad
        and all(v.grad_fn is not None for v in activations[1:])
    ):
        raise InputError(
            "the activations carry no autograd graph: expected those that "
            "forward computed outside"
            " torch.no_grad() from parameters that require a gradient, as "
            "from_numpy makes them"
        )
    return window_loss(activations.y[-len(target) :], target, objective)


def derivatives(
    L: Array, params: Any, activations: Any = None
) -> tuple[Gradients[Array], Adjoints[Array]]:
    """The Gradients of L and its Adjoints, of all networks together; None leaves one
    out.
    """
    of = [theta for theta in params or () if theta is not None]
    if activations is not None:
        stacks = (
            activations.h.grad_fn,
            activations.a.grad_fn,
        )  # of steps, by torch.stack
        edges = [
            GradientEdge(*edge) for stack in stacks for edge in stack.next_functions
        ]
        of += [activations.y, activations.x, *edges]
    try:
        with torch.autocast(L.device.type, enabled=False):
            found = iter(
                torch.autograd.grad(L, of, torch.ones_like(L), retain_graph=True)
            )
    except RuntimeError:
        raise InputError(
            "the activations are not of these parameters, perhaps of equal ones: "
            "expected the"
            " tensors that forward was called with, which require a gradient; "
            "run it with these"
        ) from None
    gradients: Any = records.tree_map(lambda theta: next(found), params)
    flow: Any = list(found) or None
    if flow:
        dy, dx, dh_0, *rest = flow
        flow = Adjoints(
            dy, torch.stack(rest[: len(dy)]), torch.stack(rest[len(dy) :]), dx, dh_0
        )
    return gradients, flow
