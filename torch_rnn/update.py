"""The update by torch.optim's function of SGD; `momentum.py` and `update.py` of numpy_rnn have its equations."""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch.optim.sgd import sgd as torch_sgd

from numpy_rnn.common.checks import check_direction, check_learning_rate, check_step
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.records import Gradients, MomentumKeywords, Parameters, Step
from torch_rnn.parameters import ARRAYS, Array, LearningRate, copy_of, own, per_network


def in_range(number: float, params: Parameters[Array]) -> float:
    """The number, or infinity where it is too large for the dtype of the parameters: torch does not round it so."""
    return (
        number
        if abs(number) <= torch.finfo(params.W_hh.dtype).max
        else math.copysign(math.inf, number)
    )


@torch.no_grad()
def descend(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> Gradients[Array] | None:
    """Take the step of torch.optim.SGD in place, with the velocity, which is returned.

    By the function behind the class: the class imports torch._dynamo, which takes as long as the import of torch.
    """
    numbers = step.learning_rate, step.momentum, step.dampening, step.weight_decay
    lr, momentum, dampening, decay = (in_range(number, params) for number in numbers)
    moved: list[Any] = [*velocity] if velocity else [None] * len(params)
    used = [place for place, dtheta in enumerate(gradients) if dtheta is not None]
    arrays: tuple[Any, ...] = params, gradients, moved
    leaves, found, buffers = ([part[place] for place in used] for part in arrays)
    rest: Any = {
        "dampening": dampening,
        "nesterov": step.nesterov,
        "maximize": False,
        "foreach": False,
    }
    torch_sgd(
        leaves, found, buffers, weight_decay=decay, momentum=momentum, lr=lr, **rest
    )  # (U4), (U5), (U6), (U1)
    for place, v in zip(used, buffers):
        moved[place] = v
    return Gradients(*moved) if step.has_velocity else None


def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, as `numpy_rnn.direction` describes them."""
    step = check_step(Step(1.0, **options))
    check_direction(ARRAYS, params, gradients, velocity)
    return directed(params, gradients, velocity, step)


@torch.no_grad()
def directed(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks: what torch.optim.SGD subtracts from zero at a learning rate of 1."""
    decay = in_range(step.weight_decay, params)
    decayed = tree_map(
        lambda dtheta, theta: dtheta.add(theta, alpha=decay), gradients, params
    )  # (U4)
    if step.adagrad:  # as in min-char-rnn; torch.optim.Adagrad adds its ε outside of the root
        before: Any = velocity or Gradients(None, None, None)
        squares = [
            v if g is None else g * g + (0 if v is None else v) for g, v in zip(decayed, before)
        ]  # (U8)
        delta: Gradients[Array] = tree_map(
            lambda g, v: g / torch.sqrt(v + 1e-8), decayed, squares
        )  # (U9)
        return delta, Gradients(*squares)
    zeros: Parameters[Array] = tree_map(torch.zeros_like, params)
    plain = step._replace(learning_rate=1.0, weight_decay=0.0)
    velocity = descend(zeros, decayed, copy_of(velocity), plain)
    return tree_map(lambda _, leaf: -leaf, gradients, zeros), velocity


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """One step of gradient descent, as `sgd` of numpy_rnn, which describes the arguments and the errors raised."""
    check_direction(ARRAYS, params, delta)
    rate = check_learning_rate(params, learning_rate)
    updated: Parameters[Array] = own(params)
    move(updated, delta, rate)
    return updated


@torch.no_grad()
def move(params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate) -> None:
    """Take the step in place. The rate may be one per network, which torch.optim.SGD does not have."""
    rate = torch.as_tensor(learning_rate, dtype=params.W_hh.dtype)
    for theta, delta_theta in zip(params, delta):
        if theta is not None and delta_theta is not None:
            theta -= per_network(rate, theta) * delta_theta  # (U1)
