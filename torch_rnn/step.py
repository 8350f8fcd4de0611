"""The update by torch.nn.utils and torch.optim; `numpy_rnn/step.py` has the equations.

Own lines are where torch has no function with the same formula: Adagrad with 10⁻⁸ inside the root,
clipping and learning rates per network, and the subtraction of the step.
"""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.sgd import sgd as torch_sgd

from numpy_rnn.common import checks
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.records import Gradients, MomentumKeywords, Parameters, Step
from torch_rnn.parameters import (
    ARRAYS,
    Array,
    LearningRate,
    as_leaves,
    broadcast_per_network,
    copy_of,
)


def clip_by_global_norm(gradients: Gradients[Array], max_norm: float) -> Gradients[Array]:
    """The gradients with a global norm of at most `max_norm`, as `numpy_rnn.clip_by_global_norm`."""
    step = Step(0, max_norm=checks.check_limit("max norm", max_norm))
    checks.check_gradients(ARRAYS, gradients)
    return clip(gradients, step)


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number from −max_value to max_value, as `numpy_rnn.clip_by_value`."""
    step = Step(0, max_value=checks.check_limit("max value", max_value))
    checks.check_gradients(ARRAYS, gradients)
    return clip(gradients, step)


@torch.no_grad()
def clip(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """The gradients after the clipping that the step asks for.

    In float64, where the squares of float32 neither overflow nor underflow. A norm that is not
    finite makes every gradient NaN; clip_grad_norm_ alone would make them zero.
    """
    if step.max_norm is None and step.max_value is None:
        return gradients
    leaves: Gradients[Any] = tree_map(lambda g: torch.zeros_like(g).double(), gradients)
    tree_map(lambda leaf, g: setattr(leaf, "grad", g.detach().double().clone()), leaves, gradients)
    present = [leaf for leaf in leaves if leaf is not None]
    if step.max_value is not None:
        clip_grad_value_(present, step.max_value)  # (U7)
    if step.max_norm is not None:
        if gradients.networks is None:
            norm = clip_grad_norm_(present, step.max_norm)  # (U2), (U3)
        else:
            rows = torch.cat([leaf.grad.flatten(1) for leaf in present], dim=1)
            norm = torch.linalg.vector_norm(rows, dim=1)  # (U2)
            factor = (step.max_norm / (norm + 1e-6)).clamp(max=1)  # (U3)
            tree_map(lambda leaf: leaf.grad.mul_(broadcast_per_network(factor, leaf)), leaves)
        nan = torch.where(torch.isfinite(norm), 0.0, torch.nan)
        tree_map(lambda leaf: leaf.grad.add_(broadcast_per_network(nan, leaf)), leaves)
    clipped: Gradients[Array] = tree_map(lambda leaf, g: leaf.grad.to(g), leaves, gradients)
    return clipped


def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, as `numpy_rnn.direction`."""
    step = checks.check_step(Step(0, **options))
    checks.check_direction(ARRAYS, params, gradients, velocity)
    return make_direction(params, gradients, velocity, step)


@torch.no_grad()
def make_direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks: what torch.optim.SGD adds to zero at a rate of −1.

    By the function behind the class: the class imports torch._dynamo, which takes as long as torch.
    """
    before: Any = velocity or Gradients[Any](None, None, None)
    numbers = step.momentum, step.dampening, step.weight_decay
    momentum, dampening, decay = (_in_range(number, params) for number in numbers)
    if decay:
        gradients = tree_map(lambda g, theta: g.add(theta, alpha=decay), gradients, params)  # (U4)
    if step.adagrad:
        pairs = zip(gradients, before)
        squares = [v if g is None else g * g + (0 if v is None else v) for g, v in pairs]  # (U8)
        adapted = tree_map(lambda g, v: g / torch.sqrt(v + 1e-8), gradients, squares)  # (U9)
        return adapted, Gradients(*squares)
    delta, after = tree_map(torch.zeros_like, gradients), [*copy_of(before)]
    options: Any = {"nesterov": step.nesterov, "maximize": False, "foreach": False}
    options |= {"momentum": momentum, "dampening": dampening, "weight_decay": 0, "lr": -1.0}
    for n, g in enumerate(gradients):
        if g is not None:
            buffers = [after[n]]
            torch_sgd([delta[n]], [g], buffers, **options)  # (U5), (U6)
            after[n] = buffers[0]
    return delta, Gradients(*after) if step.has_velocity else None


def _in_range(number: float, params: Parameters[Array]) -> float:
    """The number, or infinity where it is too large for the parameters' dtype, as torch raises then."""
    is_small = abs(number) <= torch.finfo(params.W_hh.dtype).max
    return number if is_small else math.copysign(math.inf, number)


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """One step of gradient descent, as `numpy_rnn.sgd`."""
    checks.check_direction(ARRAYS, params, delta)
    return sgd_step(params, delta, checks.check_learning_rate(params, learning_rate))


@torch.no_grad()
def sgd_step(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """`sgd` without its checks: new parameters, leaves that require a gradient."""
    rate = torch.as_tensor(learning_rate, dtype=params.W_hh.dtype)
    updated: list[Any] = [
        theta if d is None else theta - broadcast_per_network(rate, theta) * d  # (U1)
        for theta, d in zip(params, delta)
    ]
    return as_leaves(Parameters(*updated))
