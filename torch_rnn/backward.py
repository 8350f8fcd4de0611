"""The gradient of a window by torch.autograd; `numpy_rnn/backward.py` derives it by
hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.graph import GradientEdge

from numpy_rnn.common.checks import check_backward
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    LossName,
    Nonlinearity,
    Objective,
    Parameters,
    Reduction,
)
from torch_rnn.arrays import ARRAY_KIND, Array
from torch_rnn.loss import compute_loss

FOREIGN = (
    "the activations have no autograd graph that begins with these parameters: "
    "expected those that forward computed, outside of torch.no_grad() and "
    "inference_mode(), from these very tensors, which require a gradient"
)


def bptt(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
    loss: LossName = "squared_error",
    reduction: Reduction = "sum",
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
    reduction : str
        As for `numpy_rnn.adjoints`.

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
    L = checked_loss(params, activations, target, objective)
    gradients, _ = compute_derivatives(L, params, None)
    return gradients


def adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
    loss: LossName = "squared_error",
    reduction: Reduction = "sum",
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
    reduction : str
        As for `numpy_rnn.adjoints`.

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
    L = checked_loss(params, activations, target, objective)
    return stacked_adjoints(differentiate(L, adjoint_edges(activations)))


@torch.enable_grad()
def checked_loss(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Array,
    objective: Objective,
) -> Array:
    """Compute L of the last steps with its graph, if the arguments are right."""
    check_backward(ARRAY_KIND, params, activations, target, objective)
    return compute_loss(activations.y[-len(target) :], target, objective)


def compute_derivatives(
    L: Array, params: Parameters[Array], activations: Activations[Array] | None
) -> tuple[Gradients[Array], Adjoints[Array] | None]:
    """Compute the gradients of L, of all networks together, and in the same pass its
    adjoints, unless the activations are None.
    """
    thetas = [theta for theta in params if theta is not None]
    if activations is None:
        return Gradients(*differentiate(L, thetas)), None
    derivatives = differentiate(L, [*thetas, *adjoint_edges(activations)])
    gradients = Gradients(*derivatives[: len(thetas)])
    return gradients, stacked_adjoints(derivatives[len(thetas) :])


def adjoint_edges(activations: Activations[Array]) -> list[Array | GradientEdge]:
    """Return what L is differentiated by: y, x, h_0 to h_T, and a_1 to a_T.

    The states were joined by torch.stack, and the later steps read them from before:
    L's derivative by the stacked tensor would leave out the paths through these. So
    each state is the edge into torch.stack's node, whose `next_functions` are in the
    order of the steps. torch does not document this order; if it were another one,
    `test_every_function_is_right` of tests/core/test_window.py would fail.
    """
    edges: list[Array | GradientEdge] = [activations.y, activations.x]
    for stacked in (activations.h, activations.a):
        node: Any = stacked.grad_fn
        if node is None:
            raise InputError(FOREIGN)
        edges += [GradientEdge(*edge) for edge in node.next_functions]
    return edges


def stacked_adjoints(derivatives: Sequence[Array]) -> Adjoints[Array]:
    """Return the derivatives by `adjoint_edges` as Adjoints."""
    dy, dx, dh_0, *by_step = derivatives
    T = len(dx)
    dh = torch.stack(by_step[:T])
    da = torch.stack(by_step[T:])
    return Adjoints(dy, dh, da, dx, dh_0)


def differentiate(L: Array, inputs: Sequence[Any]) -> list[Array]:
    """Return the derivatives of L by tensors and edges, and keep its graph.

    inputs: Any, since autograd.grad takes both in one sequence, and its types do not.
    """
    if L.requires_grad and all(map(is_differentiable, inputs)):
        ones = torch.ones_like(L)
        with torch.autocast(L.device.type, enabled=False):
            derivatives = torch.autograd.grad(
                L, inputs, ones, retain_graph=True, allow_unused=True
            )
        if all(derivative is not None for derivative in derivatives):
            return list(derivatives)
    raise InputError(FOREIGN)


def is_differentiable(source: Array | GradientEdge) -> bool:
    """Return whether a tensor, or what an edge leads to, is in any graph."""
    if isinstance(source, GradientEdge):
        return source.node is not None
    return source.requires_grad
