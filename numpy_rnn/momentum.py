"""Weight decay, momentum and Adagrad (DERIVATION.md, section 6)."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from numpy_rnn.common.records import MomentumKeywords, SgdOptions
from numpy_rnn.common.shapes import check_like
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
    step = SgdOptions(**options).check()
    ARRAYS.parameters(params, both_biases=False)
    ARRAYS.like_parameters("gradient", gradients)
    check_like(params, "gradient", gradients)
    if velocity is not None:
        ARRAYS.like_parameters("velocity", velocity)
        used = velocity if params.h_0 is not None else velocity._replace(h_0=None)  # that of h_0 does not change
        check_like(params, "velocity", used)
    return directed(params, gradients, velocity, step)


def directed(
    params: Parameters[Array], gradients: Gradients[Array], velocity: Gradients[Array] | None, options: SgdOptions
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks."""
    triples = zip(params, gradients, velocity or NONE)
    pairs = [_direction(theta, dtheta, v, options) for theta, dtheta, v in triples]
    delta, v = (Gradients(*values) for values in zip(*pairs))
    return delta, v if options.has_velocity else None


def _direction(
    theta: Any, dtheta: Array | None, v: Array | None, options: SgdOptions
) -> tuple[Array | None, Array | None]:
    """The direction and the velocity of one parameter."""
    if dtheta is None:
        return None, v
    mu, tau, nesterov, decay = options.momentum, options.dampening, options.nesterov, options.weight_decay
    g = dtheta + decay * theta if decay else dtheta  # (U4)
    if options.adagrad:
        v = g * g if v is None else v + g * g  # (U8)
        return g / np.sqrt(v + TINY), v  # (U9)
    if not mu:
        return g, None
    v = g.copy("K") if v is None else mu * v + (1 - tau) * g  # (U5)
    return (g + mu * v if nesterov else v), v  # (U6)
