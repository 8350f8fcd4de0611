"""The gradient of a window by torch.autograd; `numpy_rnn/backward.py` derives it by
hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.graph import GradientEdge

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_backward
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    Objective,
    Parameters,
)
from torch_rnn.arrays import ARRAYS, Array
from torch_rnn.loss import compute_loss

FOREIGN = (
    "the activations are not of these parameters, perhaps of equal ones: expected the "
    "tensors that forward was called with, which require a gradient; run it with these"
)
NO_GRAPH = (
    "the activations carry no autograd graph: expected those that forward computed "
    "outside torch.no_grad() from parameters that require a gradient, as from_numpy "
    "makes them"
)


def bptt(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
) -> Gradients[Array]:
    """Compute the gradient of the loss L of a window with respect to every parameter,
    as `numpy_rnn.bptt`.

    Parameters
    ----------
    params : Parameters
        The very tensors that `forward` was called with, which require a gradient, as
        those of `initial_parameters`, `from_numpy` and `sgd` do.
    activations : Activations
        Of the window, as `forward` returned them.
    target : Tensor
        Targets of the last K ≤ T steps, of shape (K, B, O) or (K, N, B, O); classes, of
        shape (K, B) or (K, N, B), for the cross-entropy.
    nonlinearity : str
        φ, as in `forward`.
    loss : str
        One of those of `numpy_rnn.adjoints`.
    reduction : {"sum", "mean"}
        As in these.

    Returns
    -------
    Gradients
        New tensors in the shapes of the parameters, None for biases that are absent.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, a name is unknown, or the activations do not
        come from these parameters.
    RuntimeError
        By autograd, if the graph was freed, or a parameter was changed in place since.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> params, x = rnn.initial_parameters(), torch.ones(2, 1, 1)
    >>> activations = rnn.forward(params, x, torch.zeros(1, 6))
    >>> rnn.bptt(params, activations, x).W_hh.shape
    torch.Size([6, 6])
    """
    objective = Objective(nonlinearity, loss, reduction)
    check_backward(ARRAYS, params, activations, target, objective)
    check_graph(activations)
    return compute_gradients(loss_of(activations, target, objective), params)


def adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
) -> Adjoints[Array]:
    """Compute the total derivatives of the loss L of a window, as
    `numpy_rnn.adjoints`.

    Parameters
    ----------
    params : Parameters
        The tensors that `forward` was called with.
    activations : Activations
        Of the window, as `forward` returned them.
    target : Tensor
        Targets of the last K ≤ T steps, of shape (K, B, O) or (K, N, B, O); classes, of
        shape (K, B) or (K, N, B), for the cross-entropy.
    nonlinearity : str
        φ, as in `forward`.
    loss : str
        One of those of `numpy_rnn.adjoints`.
    reduction : {"sum", "mean"}
        As in these.

    Returns
    -------
    Adjoints
        dy, dh, da and dx of all T steps, and dh_0, new tensors.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, a name is unknown, or the activations carry no
        graph.
    RuntimeError
        By autograd, as in `bptt`.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> params, x = rnn.initial_parameters(), torch.ones(2, 1, 1)
    >>> activations = rnn.forward(params, x, torch.zeros(1, 6))
    >>> rnn.adjoints(params, activations, x).da.shape
    torch.Size([2, 1, 6])
    """
    objective = Objective(nonlinearity, loss, reduction)
    check_backward(ARRAYS, params, activations, target, objective)
    check_graph(activations)
    return compute_adjoints(loss_of(activations, target, objective), activations)


def check_graph(activations: Activations[Array]) -> None:
    """Check that the activations carry the graph by which they were computed."""
    x, *computed = activations
    has_graph = all(v.grad_fn is not None for v in computed)
    if not (x.requires_grad and has_graph):
        raise InputError(NO_GRAPH)


# enable_grad records the loss where the caller is under no_grad. It does not under
# inference_mode, which has to be switched off.
@torch.inference_mode(False)
@torch.enable_grad()
def loss_of(
    activations: Activations[Array], target: Array, objective: Objective
) -> Array:
    """Compute L of the last steps, with its graph."""
    return compute_loss(activations.y[-len(target) :], target, objective)


def compute_gradients(L: Array, params: Parameters[Array]) -> Gradients[Array]:
    """Compute the derivatives of L, of all networks together, by the parameters."""
    gradients: Gradients[Array] = Gradients(*differentiate(L, not_none(params)))
    return gradients


def compute_adjoints(L: Array, activations: Activations[Array]) -> Adjoints[Array]:
    """Compute the derivatives of L by the activations."""
    return stacked_adjoints(differentiate(L, points(activations)))


def compute_derivatives(
    L: Array, params: Parameters[Array], activations: Activations[Array]
) -> tuple[Gradients[Array], Adjoints[Array]]:
    """Compute gradients and adjoints in one backward pass."""
    thetas = not_none(params)
    found = differentiate(L, [*thetas, *points(activations)])
    gradients: Gradients[Array] = Gradients(*found[: len(thetas)])
    return gradients, stacked_adjoints(found[len(thetas) :])


def not_none(params: Parameters[Array]) -> list[Array]:
    """Return the parameters that are not None."""
    return [theta for theta in params if theta is not None]


def points(activations: Activations[Array]) -> list[Any]:
    """Return where the adjoints are: y, x, and every step of h and a."""
    steps = [*step_edges(activations.h), *step_edges(activations.a)]
    return [activations.y, activations.x, *steps]


def stacked_adjoints(found: Sequence[Array]) -> Adjoints[Array]:
    """Return the derivatives at these points as Adjoints."""
    dy, dx, dh_0, *steps = found
    T = len(dx)
    dh, da = torch.stack(steps[:T]), torch.stack(steps[T:])
    return Adjoints(dy, dh, da, dx, dh_0)


def step_edges(stacked: Array) -> list[Any]:
    """Return where the gradient flows into each step of what torch.stack joined."""
    node: Any = stacked.grad_fn
    return [GradientEdge(*edge) for edge in node.next_functions]


def differentiate(L: Array, of: Sequence[Any]) -> list[Array]:
    """Return the derivatives of L, and keep its graph."""
    if not all(is_differentiable(each) for each in of):
        raise InputError(FOREIGN)
    with torch.autocast(L.device.type, enabled=False):
        ones = torch.ones_like(L)
        found = torch.autograd.grad(L, of, ones, retain_graph=True, allow_unused=True)
    if any(derivative is None for derivative in found):
        raise InputError(FOREIGN)
    return list(found)


def is_differentiable(each: Array | GradientEdge) -> bool:
    """Return whether a tensor, or what an edge leads to, is in any graph."""
    if isinstance(each, GradientEdge):
        return each.node is not None
    return each.requires_grad
