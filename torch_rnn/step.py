"""The update in PyTorch; `numpy_rnn/step.py` has the equations.

torch.optim.SGD, clip_grad_norm_ and clip_grad_value_ do the same to one network, and
tests compare them. They change parameters in place; here are new ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import torch

from numpy_rnn.common.checks import check_gradients_alone, check_update
from numpy_rnn.common.numbers import checked_positive
from numpy_rnn.common.option_checks import (
    check_keywords,
    checked_learning_rate,
    checked_step,
)
from numpy_rnn.common.records import (
    DirectionKeywords,
    Gradients,
    NumpyArray,
    Parameters,
    Step,
)
from numpy_rnn.common.signatures import with_keywords
from numpy_rnn.common.trees import tree_map
from torch_rnn.arrays import ARRAY_KIND, Array, copy_of, per_network

NORM_EPSILON = 1e-6  # added to the norm, as in clip_grad_norm_
ADAGRAD_EPSILON = 1e-8  # added to Adagrad's sum of squares, as in min-char-rnn


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: float | Array
) -> Parameters[Array]:
    """Make one step of gradient descent, as `numpy_rnn.sgd`.

    Parameters
    ----------
    params : Parameters
        The parameters θ.
    delta : Gradients
        The direction Δ. A parameter whose Δ is None does not change.
    learning_rate : float or Tensor
        η, a number, or one per network, of shape (N,).

    Returns
    -------
    Parameters
        New tensors in the shapes of the parameters, which require a gradient.

    Raises
    ------
    InputError
        If a shape or dtype does not fit the parameters, or a learning rate is not a
        finite number, 0 or more.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> one = torch.ones(1, 1)
    >>> params, gradients = rnn.Parameters(one, one, one), rnn.Gradients(one, one, one)
    >>> rnn.sgd(params, gradients, 0.25).W_hh
    tensor([[0.7500]], requires_grad=True)
    """
    check_update(ARRAY_KIND, params, delta)
    rate = checked_learning_rate(params, learning_rate)
    return compute_parameters(params, delta, rounded_rate(params, rate))


@torch.no_grad()
def compute_parameters(
    params: Parameters[Array], delta: Gradients[Array], rate: Array
) -> Parameters[Array]:
    """Compute the parameters after a step; they require a gradient."""

    def stepped(theta: Array, dtheta: Array | None) -> Array:
        if dtheta is None:
            updated = theta.clone()
        else:
            updated = theta - per_network(rate, theta) * dtheta  # (U1)
        return updated.requires_grad_()

    return tree_map(stepped, params, delta)


def rounded_rate(params: Parameters[Array], rate: float | NumpyArray) -> Array:
    """Return a checked η in the dtype and on the device of the parameters."""
    W = params.W_hh
    return torch.as_tensor(rate, dtype=W.dtype, device=W.device)


def clip_by_global_norm(
    gradients: Gradients[Array], max_norm: float
) -> Gradients[Array]:
    """Scale the gradients of each network to a global norm of at most `max_norm`, as
    `numpy_rnn.clip_by_global_norm`.

    Parameters
    ----------
    gradients : Gradients
        The gradients dθ, that of W_hh at least; others may be None.
    max_norm : float
        The limit, finite and above 0.

    Returns
    -------
    Gradients
        New tensors in the shapes of the gradients. Where the norm is not finite they
        are all NaN; clip_grad_norm_ makes them zero if it is infinite.

    Raises
    ------
    InputError
        If the gradients do not fit each other, or the limit is not as above.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> three, four = torch.tensor([[3.0]]), torch.tensor([[4.0]])
    >>> clipped = rnn.clip_by_global_norm(rnn.Gradients(three, four, None), 1.0)
    >>> round(clipped.W_hh.item(), 4)
    0.8
    """
    check_gradients_alone(ARRAY_KIND, gradients)
    return compute_clipped_by_norm(gradients, checked_positive("max norm", max_norm))


@torch.no_grad()
def compute_clipped_by_norm(
    gradients: Gradients[Array], max_norm: float
) -> Gradients[Array]:
    """Compute the gradients within a limit of their norm; NaN if it is not finite."""
    norm = global_norm(gradients)
    factor = (max_norm / (norm + NORM_EPSILON)).clamp(max=1)  # (U3)
    factor = factor.where(norm.isfinite(), torch.nan)
    return tree_map(
        lambda g: (per_network(factor, g) * g.double()).to(g),  # (U3)
        gradients,
    )


def global_norm(gradients: Gradients[Array]) -> Array:
    """Return the norm ‖dθ‖ of all gradients of a network as one vector.

    The squares are summed in float64, where those of float32 neither overflow nor
    underflow.
    """
    networks = gradients.W_hh.shape[:-2]
    rows = [g.double().reshape(*networks, -1) for g in gradients if g is not None]
    norm: Array = torch.linalg.vector_norm(torch.cat(rows, dim=-1), dim=-1)  # (U2)
    return norm


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """Clip each element of the gradients to [−max_value, max_value], as
    `numpy_rnn.clip_by_value`.

    Parameters
    ----------
    gradients : Gradients
        The gradients dθ, that of W_hh at least; others may be None.
    max_value : float
        The limit, finite and above 0.

    Returns
    -------
    Gradients
        New tensors in the shapes of the gradients.

    Raises
    ------
    InputError
        If the gradients do not fit each other, or the limit is not as above.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> gradients = rnn.Gradients(None, torch.tensor([[-3.0]]), None)
    >>> rnn.clip_by_value(gradients, 1.0).W_hh
    tensor([[-1.]])
    """
    check_gradients_alone(ARRAY_KIND, gradients)
    return compute_clipped_by_value(gradients, checked_positive("max value", max_value))


@torch.no_grad()
def compute_clipped_by_value(
    gradients: Gradients[Array], max_value: float
) -> Gradients[Array]:
    """Compute the gradients within a limit of their elements."""
    # In float64, since `clamp` refuses a limit that is too large for float32.
    return tree_map(
        lambda g: g.double().clamp(-max_value, max_value).to(g),  # (U7)
        gradients,
    )


def compute_clipped(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """Compute the gradients within a limit, if there is one."""
    if step.max_norm is not None:
        return compute_clipped_by_norm(gradients, step.max_norm)
    if step.max_value is not None:
        return compute_clipped_by_value(gradients, step.max_value)
    return gradients


@with_keywords(DirectionKeywords, torch.Tensor)
def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[DirectionKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """Compute the direction Δ that `sgd` steps against, and the velocity v, as
    `numpy_rnn.direction`.

    Parameters
    ----------
    params : Parameters
        The parameters θ.
    gradients : Gradients
        The gradients dθ, any of which may be None.
    velocity : Gradients, optional
        v, as the previous call returned it; None in the first.
    momentum, dampening, weight_decay : float
        0 by default.
    nesterov, adagrad : bool
        False by default.

    Returns
    -------
    delta : Gradients
        Δ, new tensors in the shapes of the gradients.
    velocity : Gradients or None
        v, new tensors; None without momentum and adagrad.

    Raises
    ------
    InputError
        As `numpy_rnn.direction` does.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> one = torch.ones(1, 1)
    >>> params, gradients = rnn.Parameters(one, one, one), rnn.Gradients(one, one, one)
    >>> delta, v = rnn.direction(params, gradients, momentum=0.5)
    >>> delta, v = rnn.direction(params, gradients, v, momentum=0.5)
    >>> delta.W_hh
    tensor([[1.5000]])
    """
    check_keywords("direction", options, DirectionKeywords)
    step = checked_step(Step(None, **options))
    check_update(ARRAY_KIND, params, gradients, velocity)
    return copy_of(compute_direction(params, gradients, velocity, step))


@torch.no_grad()
def compute_direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """Compute the direction and the velocity. What does not change is not copied."""
    before: Iterable[Array | None] = velocity or (None,) * len(params)
    directions: list[Array | None] = []
    velocities: list[Array | None] = []
    for theta, g, v in zip(params, gradients, before):
        if theta is not None and g is not None:
            if step.weight_decay:
                g = g + step.weight_decay * theta  # (U4)
            if step.momentum:
                g, v = momentum_direction(g, v, step)
            if step.adagrad:
                g, v = adagrad_direction(g, v)
        directions.append(g)
        velocities.append(v)
    delta: Gradients[Array] = Gradients._make(directions)
    if not step.has_velocity:
        return delta, None
    return delta, Gradients._make(velocities)


def momentum_direction(g: Array, v: Array | None, step: Step) -> tuple[Array, Array]:
    """Compute the direction and the new velocity, from the last one v."""
    velocity = g  # (U5), the first time
    if v is not None:
        velocity = step.momentum * v + (1 - step.dampening) * g  # (U5)
    if step.nesterov:
        return g + step.momentum * velocity, velocity  # (U6)
    return velocity, velocity  # (U6)


def adagrad_direction(g: Array, v: Array | None) -> tuple[Array, Array]:
    """Compute the direction and the new sum of squares, from the last one v."""
    squares = g * g  # (U8), the first time
    if v is not None:
        squares = v + squares  # (U8)
    return g / torch.sqrt(squares + ADAGRAD_EPSILON), squares  # (U9)
