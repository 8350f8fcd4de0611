"""The update by torch.optim.SGD; `momentum.py` and `update.py` of numpy_rnn have its equations (DERIVATION.md, 6)."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any, Unpack

import torch

from numpy_rnn.common.checks import check_direction, check_learning_rate, check_step
from numpy_rnn.common.conversion import each
from numpy_rnn.common.records import Gradients, MomentumKeywords, Parameters, Step
from torch_rnn.parameters import ARRAYS, Array, LearningRate, copy_of, own, per_network

BUFFER = "momentum_buffer"  # the name of torch.optim.SGD for the velocity


class SGD(torch.optim.SGD):
    """torch.optim.SGD without its profiling, and without torch._dynamo, whose import takes as long as that of torch."""

    add_param_group = unwrap(torch.optim.SGD.add_param_group)
    take_step = torch.no_grad()(unwrap(torch.optim.SGD.step))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients, which are of no use after the step."""
        for theta in self.param_groups[0]["params"]:
            theta.grad = None


def in_range(number: float, params: Parameters[Array]) -> float:
    """The number, or infinity where it is too large for the dtype of the parameters: torch does not round it so."""
    return number if abs(number) <= torch.finfo(params.W_hh.dtype).max else math.copysign(math.inf, number)


def make_optimizer(params: Parameters[Array], step: Step, velocity: Gradients[Array] | None) -> SGD:
    """The optimizer of these very parameters, which continues from the velocity."""
    rate, mu, tau, nesterov, decay, *_ = step
    leaves = [theta for theta in params if theta is not None]
    rate, mu, tau, decay = (in_range(number, params) for number in (rate, mu, tau, decay))
    optimizer = SGD(leaves, rate, mu, tau, decay, nesterov)  # (U4), (U5), (U6), (U1)
    for theta, v in zip(params, velocity or ()):
        if theta is not None and v is not None and mu:
            optimizer.state[theta][BUFFER] = copy_of(v)
    return optimizer


def descend(optimizer: SGD, params: Parameters[Array], gradients: Gradients[Array]) -> None:
    """Take the step of the optimizer with these gradients."""
    for theta, dtheta in zip(params, gradients):
        if theta is not None:
            theta.grad = dtheta
    optimizer.take_step()


def velocities(optimizer: SGD, params: Parameters[Array]) -> Gradients[Array]:
    """The velocities of the optimizer, which its next step overwrites."""
    return Gradients(*(None if theta is None else optimizer.state[theta].get(BUFFER) for theta in params))


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
    params: Parameters[Array], gradients: Gradients[Array], velocity: Gradients[Array] | None, step: Step
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks: what torch.optim.SGD subtracts from zero at a learning rate of 1."""
    decay = in_range(step.weight_decay, params)
    decayed = each(lambda dtheta, theta: dtheta.add(theta, alpha=decay), gradients, params)  # (U4)
    if step.adagrad:  # as in min-char-rnn; torch.optim.Adagrad adds its ε outside of the root
        before: Any = velocity or Gradients(None, None, None)
        squares = [v if g is None else g * g + (0 if v is None else v) for g, v in zip(decayed, before)]  # (U8)
        delta: Gradients[Array] = each(lambda g, v: g / torch.sqrt(v + 1e-8), decayed, squares)  # (U9)
        return delta, Gradients(*squares)
    zeros: Parameters[Array] = each(torch.zeros_like, params)
    optimizer = make_optimizer(zeros, step._replace(learning_rate=1.0, weight_decay=0.0), velocity)
    descend(optimizer, zeros, decayed)
    delta = each(lambda _, leaf: -leaf, gradients, zeros)
    if not step.has_velocity:
        return delta, None
    moving = velocities(optimizer, zeros)
    if params.h_0 is None and velocity is not None:  # an unused velocity does not change
        moving = moving._replace(h_0=velocity.h_0)
    return delta, moving


def sgd(params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate) -> Parameters[Array]:
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
