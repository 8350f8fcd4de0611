"""Weight decay, momentum and Adagrad (DERIVATION.md, section 6)."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from numpy_rnn.common.checks import check_direction, check_step
from numpy_rnn.common.records import MomentumKeywords, Step
from numpy_rnn.parameters import ARRAYS, Array, Gradients, Parameters

NONE: Gradients[Array | None] = Gradients(None, None, None)
TINY = 1e-8  # added to Adagrad's sum of squares, as in min-char-rnn


def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, to be passed in the next time.

        g = dθ + λ θ                                                     (U4)
        v ← μ v + (1 − τ) g, at a parameter's first time v ← g           (U5)
        Δ = g without momentum, with it v, or g + μ v under nesterov     (U6)

    With adagrad, v is the sum of the squares so far, and every number has a step of its own length:

        v ← v + g ∘ g, at a parameter's first time v ← g ∘ g             (U8)
        Δ = g / √(v + 10⁻⁸)                                              (U9)

    options: momentum, μ, dampening, τ, and weight_decay, λ, which are numbers, 0 by default, and are rounded to the
    parameters' dtype; nesterov and adagrad, False by default. velocity: of the previous call, None in the first. A
    parameter without a gradient has no direction, and its velocity does not change. Returns new Gradients; the velocity
    is None without momentum and adagrad.

    Raises InputError on options that torch.optim.SGD would refuse, on adagrad together with momentum, dampening or
    nesterov, and on gradients or a velocity of other shapes or dtypes than the parameters. NaN is not an error: it
    spreads, as in torch.optim.SGD.
    Source: torch.optim.SGD; Sutskever, Martens, Dahl and Hinton 2013; Duchi, Hazan and Singer 2011, with the 10⁻⁸ of
    Karpathy's min-char-rnn.
    """
    step = check_step(Step(0, **options))
    check_direction(ARRAYS, params, gradients, velocity)
    return directed(params, gradients, velocity, step)


def directed(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks."""
    triples = zip(params, gradients, velocity or NONE)
    pairs = [_direction(theta, dtheta, v, step) for theta, dtheta, v in triples]
    delta, v = (Gradients(*values) for values in zip(*pairs))
    return delta, v if step.has_velocity else None


def _direction(
    theta: Any, dtheta: Array | None, v: Array | None, step: Step
) -> tuple[Array | None, Array | None]:
    """The direction and the velocity of one parameter."""
    if dtheta is None:
        return None, v
    _, mu, tau, nesterov, decay, adagrad, *_ = step
    g = dtheta + decay * theta if decay else dtheta  # (U4)
    if adagrad:
        v = g * g if v is None else v + g * g  # (U8)
        return g / np.sqrt(v + TINY), v  # (U9)
    if not mu:
        return g, None
    v = g.copy() if v is None else mu * v + (1 - tau) * g  # (U5)
    return (g + mu * v if nesterov else v), v  # (U6)
