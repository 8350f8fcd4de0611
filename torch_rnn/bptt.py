"""The gradient of a window by torch.autograd; `numpy_rnn/bptt.py` derives it by hand (DERIVATION.md, section 4)."""

import torch
from torch.autograd.graph import GradientEdge

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.shapes import check_target
from torch_rnn.elman import NONLINEARITIES, unroll
from torch_rnn.loss import DIVISORS, half_squared_error, half_sum_of_squares
from torch_rnn.parameters import ARRAYS, Adjoints, Gradients, Parameters


def bptt(params, activations, target, *, nonlinearity="tanh", reduction="sum") -> Gradients:
    """The gradient of the window's loss L with respect to every parameter.

    activations: of the window, as `forward` returned them for these very params, which require a gradient (those of
    `initial_parameters`, `from_numpy` and `sgd` do); target: (K, B, O) or (K, *E, B, O) of its last K ≤ T steps, the
    steps with a loss. Returns Gradients in the shapes of the parameters, None for parameters that are absent; each
    network of an ensemble has the gradient of its own loss. The initial state of the window is a constant, unless
    params has a learned h_0, which is then taken to be that state.

    `nonlinearity` is accepted since `numpy_rnn.bptt` needs it; autograd knows which one `forward` applied.

    Raises InputError on parameters, activations or a target that do not fit, on an unknown nonlinearity or reduction,
    on activations without a graph, and on those of other parameters, equal ones too.
    """
    NONLINEARITIES[nonlinearity]  # known, or refused
    loss = _loss(params, activations, target, reduction)
    for name, theta in zip(Parameters._fields[:5], params):
        if theta is not None and not theta.requires_grad:
            raise InputError(
                f"{name} does not require a gradient: expected the parameters that forward was called with; make them"
                " with from_numpy or initial_parameters"
            )
    gradients = loss_gradients(loss, activations, params)
    if any(dtheta is None and theta is not None for dtheta, theta in zip(gradients, params)):
        raise InputError(
            "the activations are not of these parameters, perhaps of equal ones: expected the tensors themselves that"
            " forward was called with; run forward with these parameters"
        )
    return gradients


def adjoints(params, activations, target, *, nonlinearity="tanh", reduction="sum") -> Adjoints:
    """The total derivatives of the window's loss L: ∂L/∂y_t, ∂L/∂h_t, ∂L/∂a_t, ∂L/∂x_t and ∂L/∂h_0.

    Arguments and errors as in `bptt`. Returns new Adjoints, with T steps each; dy is zero at steps without a loss.
    """
    NONLINEARITIES[nonlinearity]  # known, or refused
    return loss_deltas(_loss(params, activations, target, reduction), activations)


def loss_gradients(loss, activations, params) -> Gradients:
    """∂L/∂θ. The losses of an ensemble may be differentiated together: no network acts on the loss of another."""
    *weights, h_0 = params
    present = [theta for theta in weights if theta is not None]
    if h_0 is not None:
        present.append(_steps(activations.h)[0])
    found = iter(torch.autograd.grad(loss, present, torch.ones_like(loss), retain_graph=True, allow_unused=True))
    return Gradients(*(None if theta is None else next(found) for theta in params))


def loss_deltas(loss, activations) -> Adjoints:
    """∂L/∂y_t, ∂L/∂h_t, ∂L/∂a_t, ∂L/∂x_t and ∂L/∂h_0."""
    a, (h_0, *h), y = _steps(activations.a), _steps(activations.h), activations.y
    of = [y, activations.x, h_0, *h, *a]
    dy, dx, dh_0, *flow = torch.autograd.grad(loss, of, torch.ones_like(loss), retain_graph=True)
    return Adjoints(dy, torch.stack(flow[: len(h)]), torch.stack(flow[len(h) :]), dx, dh_0)


@torch.enable_grad()
def _loss(params, activations, target, reduction):
    ARRAYS.parameters(params)
    ARRAYS.activations(params, activations)
    ARRAYS.check(target=target)
    check_target(params, target, activations.x)
    y = activations.y
    if not (activations.x.requires_grad and all(v.requires_grad and v.grad_fn is not None for v in activations[1:])):
        raise InputError(
            "the activations carry no autograd graph: expected those that forward computed outside torch.no_grad() from"
            " parameters that require a gradient; make the parameters with from_numpy or initial_parameters"
        )
    return half_squared_error(newest(y, len(target)), target, reduction=reduction)


def newest(y, counted):
    """The last steps of y; all of them as they are, without a node in the graph."""
    return y if counted == len(y) else y[-counted:]


def _steps(stacked):
    """Where autograd delivers the gradient of each step's tensor: the inputs of the graph's node for `torch.stack`."""
    return [GradientEdge(node, number) for node, number in stacked.grad_fn.next_functions]


def window_gradients(params, learned, x, h_0, target, nonlinearity, reduction, record):
    """One window of training: its activations, its loss, its gradients, and with `record` its Adjoints, otherwise None.

    learned: the parameters whose gradients are asked for: params, or without its h_0 where that is a constant.
    """
    K, *_, B, O = target.shape
    with torch.enable_grad():
        activations = unroll(params, x, h_0, NONLINEARITIES[nonlinearity])
        loss = half_sum_of_squares(newest(activations.y, K), target, DIVISORS[reduction](K, B, O))
    gradients = loss_gradients(loss, activations, learned)
    flow = loss_deltas(loss, activations) if record else None
    return activations._replace(h=activations.h.detach()), loss.detach(), gradients, flow
