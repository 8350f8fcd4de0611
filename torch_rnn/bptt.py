"""The gradient of a window by torch.autograd; `numpy_rnn/bptt.py` derives it by hand (DERIVATION.md, section 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.graph import GradientEdge

from numpy_rnn.common.arrays import check_window_loss, weights_with_axes
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import LossName, Nonlinearity, Reduction
from numpy_rnn.common.shapes import series_axes
from torch_rnn.elman import NONLINEARITIES, unroll
from torch_rnn.loss import LOSSES, loss_terms
from torch_rnn.parameters import (
    ARRAYS,
    Activations,
    Adjoints,
    Array,
    Gradients,
    InitialState,
    Inputs,
    Losses,
    Outputs,
    Parameters,
    Targets,
    Weights,
)


def bptt(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Targets,
    *,
    nonlinearity: Nonlinearity = "tanh",
    reduction: Reduction = "sum",
    loss: LossName = "squared_error",
    weights: Weights | None = None,
) -> Gradients[Array]:
    """The gradient of the window's loss L with respect to every parameter.

    activations: of the window, as `forward` returned them for these very params, which require a gradient (those of
    `initial_parameters`, `from_numpy` and `sgd` do); target: (K, B, O) or (K, *E, B, O) of its last K ≤ T steps, the
    steps with a loss, or classes as in `cross_entropy`; weights: w, (K, B), of their losses, None for 1. Returns
    Gradients in the shapes of the parameters, None for parameters that are absent; each network of an ensemble has the
    gradient of its own loss. The initial state of the window is a constant, unless params has a learned h_0, which is
    then taken to be that state.

    `nonlinearity` is an argument because `numpy_rnn.bptt` needs it; autograd knows which one `forward` applied.

    Raises InputError on parameters, activations or a target that do not fit, on an unknown nonlinearity or reduction,
    on activations without a graph, and on those of other parameters, even of equal ones.
    """
    NONLINEARITIES[nonlinearity]  # raises InputError if unknown
    L = _loss(params, activations, target, weights, loss, reduction)
    for name, theta in zip(Parameters._fields[:5], params):
        if theta is not None and not theta.requires_grad:
            raise InputError(
                f"{name} does not require a gradient: expected the parameters that forward was called with; make them"
                " with from_numpy or initial_parameters"
            )
    gradients = loss_gradients(L, activations, params)
    if any(dtheta is None and theta is not None for dtheta, theta in zip(gradients, params)):
        raise InputError(
            "the activations are not of these parameters, perhaps of equal ones: expected the tensors themselves that"
            " forward was called with; run forward with these parameters"
        )
    return gradients


def adjoints(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Targets,
    *,
    nonlinearity: Nonlinearity = "tanh",
    reduction: Reduction = "sum",
    loss: LossName = "squared_error",
    weights: Weights | None = None,
) -> Adjoints[Array]:
    """The total derivatives of the window's loss L: ∂L/∂y_t, ∂L/∂h_t, ∂L/∂a_t, ∂L/∂x_t and ∂L/∂h_0.

    Arguments and errors as in `bptt`. Returns new Adjoints, with T steps each; dy is zero at steps without a loss.
    """
    NONLINEARITIES[nonlinearity]  # raises InputError if unknown
    return loss_adjoints(_loss(params, activations, target, weights, loss, reduction), activations)


def loss_gradients(loss: Losses, activations: Activations[Array], params: Parameters[Array]) -> Gradients[Array]:
    """∂L/∂θ. The losses of an ensemble are differentiated together: no network has an effect on another's loss."""
    *weights, h_0 = params
    present: list[Any] = [theta for theta in weights if theta is not None]
    if h_0 is not None:
        present.append(_steps(activations.h)[0])
    results = iter(torch.autograd.grad(loss, present, torch.ones_like(loss), retain_graph=True, allow_unused=True))
    gradients: list[Any] = [None if theta is None else next(results) for theta in params]
    return Gradients(*gradients)


def loss_adjoints(loss: Losses, activations: Activations[Array]) -> Adjoints[Array]:
    """∂L/∂y_t, ∂L/∂h_t, ∂L/∂a_t, ∂L/∂x_t and ∂L/∂h_0."""
    a, (h_0, *h), y = _steps(activations.a), _steps(activations.h), activations.y
    inputs: list[Any] = [y, activations.x, h_0, *h, *a]
    dy, dx, dh_0, *flow = torch.autograd.grad(loss, inputs, torch.ones_like(loss), retain_graph=True)
    return Adjoints(dy, torch.stack(flow[: len(h)]), torch.stack(flow[len(h) :]), dx, dh_0)


@torch.enable_grad()
def _loss(
    params: Parameters[Array],
    activations: Activations[Array],
    target: Targets,
    weights: Weights | None,
    loss: str,
    reduction: str,
) -> Losses:
    ARRAYS.parameters(params)
    ARRAYS.activations(params, activations)
    check_window_loss(ARRAYS, params, target, weights, activations.x, loss)
    y = activations.y
    if not (activations.x.requires_grad and all(v.requires_grad and v.grad_fn is not None for v in activations[1:])):
        raise InputError(
            "the activations carry no autograd graph: expected those that forward computed outside torch.no_grad() from"
            " parameters that require a gradient; make the parameters with from_numpy or initial_parameters"
        )
    y = newest(y, len(target))
    terms = loss_terms(y, series_axes(target, y.ndim), weights_with_axes(weights, y.ndim), loss, reduction)
    return LOSSES[loss](y, *terms)


def newest(y: Outputs, K: int) -> Outputs:
    """The last K steps of y; y itself, without another node in the graph, where these are all."""
    return y if len(y) == K else y[-K:]


def _steps(stacked: Array) -> list[GradientEdge]:
    """The edges of the graph to the tensors that `torch.stack` stacked, one per step."""
    stack: Any = stacked.grad_fn
    return [GradientEdge(node, number) for node, number in stack.next_functions]


def window_gradients(
    params: Parameters[Array],
    learned: Parameters[Array],
    x: Inputs,
    h_0: InitialState,
    target: Targets,
    weights: Weights | None,
    names: tuple[str, str, str],
    record: bool,
) -> tuple[Activations[Array], Losses, Gradients[Array], Adjoints[Array] | None]:
    """One window of training: its activations, loss and gradients, and with `record` its Adjoints, otherwise None.

    learned: the parameters to differentiate with respect to: params, without its h_0 where that is a constant. target,
    weights: as `loss_terms` takes them; names: of the nonlinearity, the reduction and the loss.
    """
    nonlinearity, reduction, loss = names
    with torch.enable_grad():
        activations = unroll(params, x, h_0, NONLINEARITIES[nonlinearity])
        y = newest(activations.y, len(target))
        L = LOSSES[loss](y, *loss_terms(y, target, weights, loss, reduction))
    gradients = loss_gradients(L, activations, learned)
    flow = loss_adjoints(L, activations) if record else None
    return activations._replace(h=activations.h.detach()), L.detach(), gradients, flow
