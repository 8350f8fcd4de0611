"""The update by torch.nn.utils and torch.optim; `numpy_rnn/step.py` has the equations.

Own lines: decay, clipping by value, Adagrad with 10⁻⁸ in the root, clipping and rates
per network.
"""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim.sgd import sgd as torch_sgd

from numpy_rnn.common import checks
from numpy_rnn.common.records import (
    Gradients,
    MomentumKeywords,
    Parameters,
    Step,
    tree_map,
)
from torch_rnn.parameters import ARRAYS, Array, copy_of, per_network


def clip_by_global_norm(
    gradients: Gradients[Array], max_norm: float
) -> Gradients[Array]:
    """The gradients with a norm of at most `max_norm`, as
    `numpy_rnn.clip_by_global_norm`.

    A norm that is not finite makes every gradient NaN; clip_grad_norm_ alone would make
    them zero.
    """
    max_norm = checks.check_clipping(ARRAYS, gradients, "max norm", max_norm)
    # In float64, where the squares of float32 are finite; clip_grad_norm_ reads and
    # writes .grad.
    leaves: Any = tree_map(lambda g: torch.zeros_like(g).double(), gradients)
    tree_map(
        lambda leaf, g: setattr(leaf, "grad", g.detach().double().clone()),
        leaves,
        gradients,
    )
    present = [leaf for leaf in leaves if leaf is not None]
    if gradients.networks is None:
        norm = clip_grad_norm_(present, max_norm)  # (U2), (U3)
    else:
        rows = torch.cat([leaf.grad.flatten(1) for leaf in present], dim=1)
        norm = torch.linalg.vector_norm(rows, dim=1)  # (U2)
        factor = (max_norm / (norm + 1e-6)).clamp(max=1)  # (U3)
        tree_map(lambda leaf: leaf.grad.mul_(per_network(factor, leaf)), leaves)
    nan = torch.where(torch.isfinite(norm), 0.0, torch.nan)
    return tree_map(
        lambda g, leaf: (leaf.grad + per_network(nan, g)).to(g), gradients, leaves
    )


@torch.no_grad()
def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """The gradients, each number from −max_value to max_value, as
    `numpy_rnn.clip_by_value`.
    """
    max_value = checks.check_clipping(ARRAYS, gradients, "max value", max_value)
    return tree_map(
        lambda g: g.double().clamp(-max_value, max_value).to(g), gradients
    )  # (U7)


def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, as
    `numpy_rnn.direction`.
    """
    step = checks.check_step(Step(0, **options))
    checks.check_call(ARRAYS, params=params, gradient=gradients, velocity=velocity)
    return make_direction(params, gradients, velocity, step)


@torch.no_grad()
def make_direction(
    params: Any, gradients: Any, velocity: Any, step: Step
) -> tuple[Any, Any]:
    """`direction` without its checks."""
    if not (step.has_velocity or step.weight_decay):
        return gradients, None
    # Δ is what torch.optim.SGD adds to zero at a rate of −1; the class would import
    # torch._dynamo.
    after: list[Any] = (
        [None] * len(params) if velocity is None else [*copy_of(velocity)]
    )
    numbers = step.momentum, step.dampening, step.weight_decay
    momentum, dampening, decay = (_in_range(number, params) for number in numbers)
    if decay:
        gradients = tree_map(
            lambda g, theta: g.add(theta, alpha=decay), gradients, params
        )  # (U4)
    delta: Any = tree_map(torch.zeros_like, gradients)
    sgd_options: Any = {
        "momentum": momentum,
        "dampening": dampening,
        "nesterov": step.nesterov,
    }
    sgd_options |= {"weight_decay": 0, "lr": -1.0, "maximize": False, "foreach": False}
    for n, g in enumerate(gradients):
        if g is not None and step.adagrad:
            after[n] = g * g + (0 if after[n] is None else after[n])  # (U8)
            delta[n].copy_(g / torch.sqrt(after[n] + 1e-8))  # (U9)
        elif g is not None:
            buffers = [after[n]]
            torch_sgd([delta[n]], [g], buffers, **sgd_options)  # (U5), (U6)
            after[n] = buffers[0]
    return delta, Gradients(*after) if step.has_velocity else None


def _in_range(number: float, params: Parameters[Array]) -> float:
    """The number, or infinity where it is too large for the parameters' dtype: torch
    raises.
    """
    is_small = abs(number) <= torch.finfo(params.W_hh.dtype).max
    return number if is_small else math.copysign(math.inf, number)


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: float | Array
) -> Parameters[Array]:
    """One step of gradient descent, as `numpy_rnn.sgd`: new parameters that require a
    gradient.
    """
    checks.check_call(ARRAYS, params=params, gradient=delta)
    return move(params, delta, checks.check_learning_rate(params, learning_rate))


@torch.no_grad()
def move(
    params: Parameters[Array], delta: Gradients[Array], rate: Any
) -> Parameters[Array]:
    """`sgd` without its checks."""
    if isinstance(rate, float):
        rate = _in_range(rate, params)
    else:
        rates = torch.as_tensor(rate, dtype=params.W_hh.dtype)
        delta, rate = tree_map(lambda d: per_network(rates, d) * d, delta), 1.0
    pairs: Any = zip(params, delta)
    moved = [
        p if d is None else p.detach().sub(d, alpha=rate) for p, d in pairs
    ]  # (U1)
    return tree_map(torch.Tensor.requires_grad_, Parameters(*moved))
