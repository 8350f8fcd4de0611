"""The update: clipping, direction and step (DERIVATION.md, section 6)."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from numpy_rnn.common import checks
from numpy_rnn.common.records import (
    Gradients,
    MomentumKeywords,
    Parameters,
    Step,
    tree_map,
)
from numpy_rnn.parameters import (
    ARRAYS,
    Array,
    LearningRate,
    Norms,
    broadcast_per_network,
)

SMALL = 1e-6  # added to the norm, as in clip_grad_norm_
TINY = 1e-8  # added to Adagrad's sum of squares, as in min-char-rnn


def clip_by_global_norm(
    gradients: Gradients[Array], max_norm: float
) -> Gradients[Array]:
    """Gradients, scaled down where the global norm of their network exceeds `max_norm`.

        ‖dθ‖ = √(Σ_θ Σ dθ²)                             (U2)
        dθ ← min(1, max_norm / (‖dθ‖ + 10⁻⁶)) dθ        (U3)

    Returns new Gradients, None where there were none. Where ‖dθ‖ is not finite they are
    all NaN, not zero, so that training is seen to diverge.

    Raises InputError on gradients that do not fit each other, and unless max_norm is a
    finite number above 0. Source: torch.nn.utils.clip_grad_norm_; Pascanu, Mikolov and
    Bengio 2013, algorithm 1.
    """
    max_norm = checks.check_clipping(ARRAYS, gradients, "max norm", max_norm)
    return clip(gradients, Step(0, max_norm=max_norm))


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """Gradients, each number of which is moved into the range from −max_value to
    max_value.

        dθ ← max(−max_value, min(max_value, dθ))        (U7)

    Unlike `clip_by_global_norm` it changes the direction of the gradient. Returns new
    Gradients, None where there were none. NaN stays NaN; an infinite number becomes
    max_value or −max_value.

    Raises InputError on gradients that do not fit each other, and unless max_value is a
    finite number above 0. Source: torch.nn.utils.clip_grad_value_.
    """
    max_value = checks.check_clipping(ARRAYS, gradients, "max value", max_value)
    return clip(gradients, Step(0, max_value=max_value))


def clip(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """The gradients after the clipping that the step asks for."""
    clipped = gradients
    if step.max_value is not None:
        least, most = -step.max_value, step.max_value
        clipped = tree_map(lambda g: np.clip(g, least, most), gradients)  # (U7)
    if step.max_norm is not None:
        norm = global_norm(gradients)
        factor = np.minimum(1, step.max_norm / (norm + SMALL))  # (U3)
        factor = np.where(np.isfinite(norm), factor, np.nan)
        clipped = tree_map(
            lambda g: (broadcast_per_network(factor, g) * g).astype(g.dtype), gradients
        )  # (U3)
    return clipped


@np.errstate(over="ignore", under="ignore")
def global_norm(gradients: Gradients[Array]) -> Norms:
    """The norm ‖dθ‖ of all gradients of a network as one vector (U2), one per network.

    The squares are summed in float64, where those of float32 neither overflow nor
    underflow.
    """
    axis = gradients.W_hh.ndim - 2  # the first one that is not N
    squares = [
        np.square(dtheta, dtype=np.float64).sum(axis=tuple(range(axis, dtheta.ndim)))
        for dtheta in gradients
        if dtheta is not None
    ]
    norm: Norms = np.sqrt(np.sum(squares, axis=0))  # (U2)
    return norm


def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[MomentumKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """The direction Δ that `sgd` steps against, and the velocity v, to be passed in the
    next time.

        g = dθ + λ θ                                                     (U4)
        v ← μ v + (1 − τ) g, at a parameter's first time v ← g           (U5)
        Δ = g without momentum, with it v, or g + μ v under nesterov     (U6)

    With adagrad, v is the sum of the squares so far, and every number has a step size
    of its own:

        v ← v + g ∘ g, at a parameter's first time v ← g ∘ g             (U8)
        Δ = g / √(v + 10⁻⁸)                                              (U9)

    options: momentum, μ, dampening, τ, and weight_decay, λ, which are numbers, 0 by
    default, and are rounded to the parameters' dtype; nesterov and adagrad, False by
    default. velocity: of the previous call, None in the first. A parameter without a
    gradient has no direction, and its velocity does not change. Returns new Gradients;
    the velocity is None without momentum and adagrad.

    Raises InputError on options that torch.optim.SGD would refuse, on adagrad together
    with momentum, dampening or nesterov, and on gradients or a velocity of other shapes
    or dtypes than the parameters. NaN is not an error: it spreads, as in
    torch.optim.SGD. Source: torch.optim.SGD; Sutskever, Martens, Dahl and Hinton 2013;
    Duchi, Hazan and Singer 2011, with the 10⁻⁸ of Karpathy's min-char-rnn.
    """
    step = checks.check_step(Step(0, **options))
    checks.check_call(ARRAYS, params=params, gradient=gradients, velocity=velocity)
    return make_direction(params, gradients, velocity, step)


def make_direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """`direction` without its checks."""
    before: Any = velocity or Gradients[Any](None, None, None)
    triples: Any = zip(params, gradients, before)
    pairs = [_direction(theta, dtheta, v, step) for theta, dtheta, v in triples]
    delta, after = (Gradients(*arrays) for arrays in zip(*pairs))
    return delta, after if step.has_velocity else None


def _direction(
    theta: Array, dtheta: Array | None, v: Array | None, step: Step
) -> tuple[Array | None, Array | None]:
    """The direction and the velocity of one parameter."""
    if dtheta is None:
        return None, v
    g = dtheta + step.weight_decay * theta if step.weight_decay else dtheta  # (U4)
    if step.adagrad:
        v = g * g if v is None else v + g * g  # (U8)
        return g / np.sqrt(v + TINY), v  # (U9)
    if not step.momentum:
        return g, None  # (U6)
    mu, tau = step.momentum, step.dampening
    v = g.copy() if v is None else mu * v + (1 - tau) * g  # (U5)
    return (g + mu * v if step.nesterov else v), v  # (U6)


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """One step of gradient descent.

        θ ← θ − η Δ    (U1)

    delta: the direction Δ, either the Gradients dθ or what `direction` returned for
    them; a parameter whose Δ is None does not change. learning_rate: η, a number, or
    one per network, of shape (N,); it is rounded to the parameters' dtype. Returns new
    Parameters.

    Raises InputError on directions of other shapes or dtypes than the parameters, and
    on learning rates that are not finite numbers, 0 or more, or of another shape.
    Source: torch.optim.SGD.
    """
    checks.check_call(ARRAYS, params=params, gradient=delta)
    rate = checks.check_learning_rate(params, learning_rate)
    return sgd_step(params, delta, as_learning_rate(params, rate))


def sgd_step(
    params: Parameters[Array], delta: Gradients[Array], rate: Array
) -> Parameters[Array]:
    """`sgd` without its checks."""
    pairs: Any = zip(params, delta)
    updated = [
        theta
        if dtheta is None
        else theta - broadcast_per_network(rate, theta) * dtheta  # (U1)
        for theta, dtheta in pairs
    ]
    return Parameters(*updated)


def as_learning_rate(params: Parameters[Array], learning_rate: LearningRate) -> Array:
    """η in the parameters' dtype, a copy."""
    return np.array(learning_rate, dtype=params.W_hh.dtype)
