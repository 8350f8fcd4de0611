"""The update by torch.nn.utils and torch.optim; `numpy_rnn/step.py` has the equations.

Own lines are only where torch has no function with the same formula: Adagrad with 10⁻⁸ inside the
root, clipping and learning rates per network, and the subtraction of the step.
"""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.sgd import sgd as torch_sgd

from numpy_rnn.common.checks import (
    check_direction,
    check_gradients,
    check_learning_rate,
    check_limit,
    check_step,
)
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.records import Gradients, MomentumKeywords, Parameters, Step
from torch_rnn.parameters import ARRAYS, Array, LearningRate, as_leaves, broadcast_per_network


def clip_by_global_norm(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """The gradients with a global norm of at most `max_norm`, as `numpy_rnn.clip_by_global_norm`."""
    max_norm = check_limit("max norm", max_norm)
    check_gradients(ARRAYS, gradients)
    return clip(gradients, Step(0, max_norm=max_norm))


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number from −max_value to max_value, as `numpy_rnn.clip_by_value`."""
    max_value = check_limit("max value", max_value)
    check_gradients(ARRAYS, gradients)
    return clip(gradients, Step(0, max_value=max_value))


@torch.no_grad()
def clip(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """The gradients after the clipping that the step asks for.

    In float64, where the squares of float32 neither overflow nor underflow. A norm that is not
    finite makes every gradient NaN; clip_grad_norm_ alone would make them zero.
    """
    if step.max_norm is None and step.max_value is None:
        return gradients
    leaves: Gradients[Any] = tree_map(_leaf_with_grad, gradients)
    present = [leaf for leaf in leaves if leaf is not None]
    if step.max_value is not None:
        clip_grad_value_(present, step.max_value)  # (U7)
    if step.max_norm is not None:
        if gradients.W_hh.ndim == 2:
            norm = clip_grad_norm_(present, step.max_norm)  # (U2), (U3)
        else:
            rows = torch.cat([leaf.grad.flatten(1) for leaf in present], dim=1)
            norm = torch.linalg.vector_norm(rows, dim=1)  # (U2)
            factor = (step.max_norm / (norm + 1e-6)).clamp(max=1)  # (U3)
            for leaf in present:
                leaf.grad *= broadcast_per_network(factor, leaf)  # (U3)
        for leaf in present:
            is_finite = torch.isfinite(broadcast_per_network(norm, leaf))
            leaf.grad.masked_fill_(~is_finite, torch.nan)
    dtype = gradients.W_hh.dtype
    clipped: Gradients[Array] = tree_map(lambda leaf: leaf.grad.to(dtype), leaves)
    return clipped


def _leaf_with_grad(dtheta: Array) -> Array:
    leaf = torch.zeros_like(dtheta, dtype=torch.float64)
    leaf.grad = dtheta.detach().to(torch.float64, copy=True)
    return leaf


def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, as `numpy_rnn.direction`."""
    step = check_step(Step(0, **options))
    check_direction(ARRAYS, params, gradients, velocity)
    return make_direction(params, gradients, velocity, step)


@torch.no_grad()
def make_direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks: what torch.optim.SGD subtracts from zero at a rate of 1.

    By the function behind the class: the class imports torch._dynamo, which takes as long as torch.
    """
    before: Any = velocity or Gradients[Any](None, None, None)
    momentum, dampening, decay = (
        _in_range(number, params) for number in (step.momentum, step.dampening, step.weight_decay)
    )
    if decay:
        gradients = tree_map(lambda g, theta: g.add(theta, alpha=decay), gradients, params)  # (U4)
    if step.adagrad:
        pairs = zip(gradients, before)
        squares = [v if g is None else g * g + (0 if v is None else v) for g, v in pairs]  # (U8)
        adapted = tree_map(lambda g, v: g / torch.sqrt(v + 1e-8), gradients, squares)  # (U9)
        return adapted, Gradients(*squares)
    names = [name for name, g in gradients._asdict().items() if g is not None]
    found = [getattr(gradients, name) for name in names]
    zeros = [torch.zeros_like(g) for g in found]
    buffers: list[Any] = [getattr(before, name) for name in names]
    buffers = [None if v is None else v.clone() for v in buffers]
    torch_sgd(
        zeros, found, buffers, weight_decay=0, momentum=momentum, lr=1.0, dampening=dampening,
        nesterov=step.nesterov, maximize=False, foreach=False,
    )  # (U5), (U6)  # fmt: skip
    nothing = Gradients[Any](None, None, None)
    delta = nothing._replace(**{name: -zero for name, zero in zip(names, zeros)})
    after = before._replace(**dict(zip(names, buffers)))
    return delta, after if step.has_velocity else None


def _in_range(number: float, params: Parameters[Array]) -> float:
    """The number, or infinity where it is too large for the parameters' dtype, as torch raises then."""
    is_small = abs(number) <= torch.finfo(params.W_hh.dtype).max
    return number if is_small else math.copysign(math.inf, number)


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """One step of gradient descent, as `numpy_rnn.sgd`."""
    check_direction(ARRAYS, params, delta)
    return sgd_step(params, delta, check_learning_rate(params, learning_rate))


@torch.no_grad()
def sgd_step(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """`sgd` without its checks: new parameters, leaves that require a gradient."""
    rate = torch.as_tensor(learning_rate, dtype=params.W_hh.dtype)
    updated: list[Any] = []
    for theta, delta_theta in zip(params, delta):
        if theta is not None and delta_theta is not None:
            theta = theta - broadcast_per_network(rate, theta) * delta_theta  # (U1)
        updated.append(theta)
    return as_leaves(Parameters(*updated))
