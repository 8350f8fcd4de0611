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
    """The gradients with a norm of at most `max_norm`, as `numpy_rnn.clip_by_global_norm`.

    A norm that is not finite makes every gradient NaN; clip_grad_norm_ alone would make them zero.
    """
    max_norm = checks.check_limit("max norm", max_norm)
    leaves = _leaves_with_grad(gradients)
    present = [leaf for leaf in leaves if leaf is not None]
    if gradients.networks is None:
        norm = clip_grad_norm_(present, max_norm)  # (U2), (U3)
    else:
        rows = torch.cat([leaf.grad.flatten(1) for leaf in present], dim=1)
        norm = torch.linalg.vector_norm(rows, dim=1)  # (U2)
        factor = (max_norm / (norm + 1e-6)).clamp(max=1)  # (U3)
        tree_map(lambda leaf: leaf.grad.mul_(broadcast_per_network(factor, leaf)), leaves)
    nan = torch.where(torch.isfinite(norm), 0.0, torch.nan)
    tree_map(lambda leaf: leaf.grad.add_(broadcast_per_network(nan, leaf)), leaves)
    clipped: Gradients[Array] = tree_map(lambda leaf, g: leaf.grad.to(g), leaves, gradients)
    return clipped


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number from −max_value to max_value, as `numpy_rnn.clip_by_value`."""
    max_value = checks.check_limit("max value", max_value)
    leaves = _leaves_with_grad(gradients)
    clip_grad_value_([leaf for leaf in leaves if leaf is not None], max_value)  # (U7)
    clipped: Gradients[Array] = tree_map(lambda leaf, g: leaf.grad.to(g), leaves, gradients)
    return clipped


def _leaves_with_grad(gradients: Gradients[Array]) -> Gradients[Any]:
    """Leaves whose .grad is the gradient in float64, where the squares of float32 are finite."""
    checks.check_gradients(ARRAYS, gradients)
    leaves: Gradients[Any] = tree_map(lambda g: torch.zeros_like(g).double(), gradients)
    tree_map(lambda leaf, g: setattr(leaf, "grad", g.detach().double().clone()), leaves, gradients)
    return leaves


@torch.no_grad()
def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, as `numpy_rnn.direction`.

    Δ is what torch.optim.SGD adds to zero at a rate of −1. The class of this name imports
    torch._dynamo, which takes as long as torch; its function does not.
    """
    step = checks.check_step(Step(0, **options))
    checks.check_direction(ARRAYS, params, gradients, velocity)
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
    rest: Any = {"nesterov": step.nesterov, "maximize": False, "foreach": False}
    rest |= {"momentum": momentum, "dampening": dampening, "weight_decay": 0, "lr": -1.0}
    for n, g in enumerate(gradients):
        if g is not None:
            buffers = [after[n]]
            torch_sgd([delta[n]], [g], buffers, **rest)  # (U5), (U6)
            after[n] = buffers[0]
    return delta, Gradients(*after) if step.has_velocity else None


def _in_range(number: float, params: Parameters[Array]) -> float:
    """The number, or infinity where it is too large for the parameters' dtype: torch raises."""
    is_small = abs(number) <= torch.finfo(params.W_hh.dtype).max
    return number if is_small else math.copysign(math.inf, number)


@torch.no_grad()
def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """One step of gradient descent, as `numpy_rnn.sgd`: new parameters that require a gradient."""
    checks.check_direction(ARRAYS, params, delta)
    rate = checks.check_learning_rate(params, learning_rate)
    rate = torch.as_tensor(rate, dtype=params.W_hh.dtype)
    pairs: Any = zip(params, delta)
    updated = [
        theta if d is None else theta - broadcast_per_network(rate, theta) * d  # (U1)
        for theta, d in pairs
    ]
    return as_leaves(Parameters(*updated))
