"""The step by torch.optim.SGD; `numpy_rnn/momentum.py` and `sgd.py` have the equations (DERIVATION.md, section 6)."""

from __future__ import annotations

from typing import Unpack

import torch

from numpy_rnn.common.checks import check_direction, check_learning_rate, check_step
from numpy_rnn.common.records import Gradients, MomentumKeywords, Parameters, Step
from torch_rnn.parameters import ARRAYS, Array, LearningRate, copy_of, own, per_network

BUFFER = "momentum_buffer"  # the name of torch.optim.SGD for the velocity


class Adagrad(torch.optim.Optimizer):
    """Adagrad with 10⁻⁸ inside the root, as in min-char-rnn; torch.optim.Adagrad adds its ε outside of it."""

    def __init__(self, params: list[Array], lr: float, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for theta in group["params"]:
                if theta.grad is not None:
                    g = theta.grad.add(theta, alpha=group["weight_decay"]) if group["weight_decay"] else theta.grad
                    v = g * g + self.state[theta].get(BUFFER, 0)  # (U8)
                    self.state[theta][BUFFER] = v
                    theta -= group["lr"] * (g / torch.sqrt(v + 1e-8))  # (U9), (U1)


def make_optimizer(params: Parameters[Array], step: Step, velocity: Gradients[Array] | None) -> torch.optim.Optimizer:
    """The optimizer of these very parameters, which continues from the velocity."""
    leaves = [theta for theta in params if theta is not None]
    rate = 1.0 if getattr(step.learning_rate, "ndim", 0) else float(step.learning_rate)
    optimizer: torch.optim.Optimizer
    if step.adagrad:
        optimizer = Adagrad(leaves, rate, step.weight_decay)
    else:
        _, mu, tau, nesterov, decay, *_ = step
        optimizer = torch.optim.SGD(
            leaves, rate, momentum=mu, dampening=tau, nesterov=nesterov, weight_decay=decay
        )  # (U4), (U5), (U6), (U1)
    for theta, v in zip(params, velocity or ()):
        if theta is not None and v is not None and step.has_velocity:
            optimizer.state[theta][BUFFER] = copy_of(v)
    return optimizer


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
    step, decay = step._replace(learning_rate=1.0, weight_decay=0.0), step.weight_decay
    zeros = Parameters(*(None if theta is None else torch.zeros_like(theta) for theta in params))  # type: ignore[arg-type]
    for leaf, theta, dtheta in zip(zeros, params, gradients):
        if dtheta is not None:
            leaf.grad = dtheta.detach().add(theta, alpha=decay) if decay else dtheta.detach().clone()  # (U4)
    optimizer = make_optimizer(zeros, step, velocity)
    optimizer.step()
    delta = Gradients(*(None if dtheta is None else -leaf for leaf, dtheta in zip(zeros, gradients)))  # type: ignore[arg-type]
    if not step.has_velocity:
        return delta, None
    moving = velocity_of(optimizer, zeros)
    unused = velocity.h_0 if velocity is not None and params.h_0 is None else moving.h_0
    return delta, moving._replace(h_0=unused)


def sgd(params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate) -> Parameters[Array]:
    """One step of gradient descent, as `numpy_rnn.sgd`, which describes the arguments and the errors raised."""
    check_direction(ARRAYS, params, delta)
    check_learning_rate(params, learning_rate)
    updated, step = own(params), Step(learning_rate)
    take_step(updated, delta, None, make_optimizer(updated, step, None), step)
    return own(updated)


@torch.no_grad()
def take_step(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    optimizer: torch.optim.Optimizer,
    step: Step,
) -> Gradients[Array] | None:
    """Take the step in place, after clipping. Returns the velocity, or None.

    torch.optim.SGD has no learning rate per network: with an array of rates it computes the direction alone.
    """
    if getattr(step.learning_rate, "ndim", 0):
        delta, velocity = directed(params, gradients, velocity, step)
        rate = torch.as_tensor(step.learning_rate, dtype=params.W_hh.dtype)
        for theta, delta_theta in zip(params, delta):
            if delta_theta is not None:
                theta -= per_network(rate, theta) * delta_theta  # (U1)
        return velocity
    for theta, dtheta in zip(params, gradients):
        if theta is not None:
            theta.grad = None if dtheta is None else dtheta.detach().clone()
    optimizer.step()
    return velocity_of(optimizer, params) if step.has_velocity else None


def gradients_of(params: Parameters[Array]) -> Gradients[Array]:
    """Copies of the gradients that a backward pass left in the parameters."""
    return Gradients(*(None if theta is None else copy_of(theta.grad) for theta in params))


def velocity_of(optimizer: torch.optim.Optimizer, params: Parameters[Array]) -> Gradients[Array]:
    """Copies of the velocities; None for parameters that had no gradient yet."""
    return Gradients(*(None if theta is None else copy_of(optimizer.state[theta].get(BUFFER)) for theta in params))
