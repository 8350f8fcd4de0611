"""The update: step, clipping and direction (DERIVATION.md, section 6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, Unpack

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array, copy_of, per_network
from numpy_rnn.common.checks import check_gradients_alone, check_update
from numpy_rnn.common.numbers import checked_positive
from numpy_rnn.common.option_checks import (
    check_keywords,
    checked_learning_rate,
    checked_step,
)
from numpy_rnn.common.records import (
    DirectionKeywords,
    Gradients,
    Parameters,
    Step,
)
from numpy_rnn.common.signatures import with_keywords
from numpy_rnn.common.trees import tree_map

LearningRate: TypeAlias = float | Array  # one per network, of shape (N,)
NORM_EPSILON = 1e-6  # added to the norm, as in clip_grad_norm_
ADAGRAD_EPSILON = 1e-8  # added to Adagrad's sum of squares, as in min-char-rnn


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """Make one step of gradient descent.

        θ ← θ − η Δ    (U1)

    Parameters
    ----------
    params : Parameters
        The parameters θ.
    delta : Gradients
        The direction Δ: the gradients dθ, or what `direction` returned for them. A
        parameter whose Δ is None does not change.
    learning_rate : float or ndarray
        η, a number, or one per network, of shape (N,). It is rounded to the dtype of
        the parameters.

    Returns
    -------
    Parameters
        New arrays in the shapes of the parameters.

    Raises
    ------
    InputError
        If a shape or dtype does not fit the parameters, or a learning rate is not a
        finite number, 0 or more.

    References
    ----------
    torch.optim.SGD.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> one = np.ones((1, 1))
    >>> params, gradients = rnn.Parameters(one, one, one), rnn.Gradients(one, one, one)
    >>> rnn.sgd(params, gradients, 0.25).W_hh
    array([[0.75]])
    """
    check_update(ARRAY_KIND, params, delta)
    rate = checked_learning_rate(params, learning_rate)
    return compute_parameters(params, delta, rounded_rate(params, rate))


def compute_parameters(
    params: Parameters[Array], delta: Gradients[Array], rate: Array
) -> Parameters[Array]:
    """Compute the parameters after a step."""

    def stepped(theta: Array, dtheta: Array | None) -> Array:
        if dtheta is None:
            return theta.copy()
        after: Array = theta - per_network(rate, theta) * dtheta  # (U1)
        return after

    return tree_map(stepped, params, delta)


@np.errstate(over="ignore")  # a rate beyond the dtype is infinite in it
def rounded_rate(params: Parameters[Array], learning_rate: LearningRate) -> Array:
    """Return η in the dtype of the parameters, a copy."""
    return np.array(learning_rate, dtype=params.W_hh.dtype)


def clip_by_global_norm(
    gradients: Gradients[Array], max_norm: float
) -> Gradients[Array]:
    """Scale the gradients of each network to a global norm of at most `max_norm`.

        ‖dθ‖ = √(Σ_θ Σ dθ²)                             (U2)
        dθ ← min(1, max_norm / (‖dθ‖ + 10⁻⁶)) dθ        (U3)

    Parameters
    ----------
    gradients : Gradients
        The gradients dθ, that of W_hh at least; others may be None.
    max_norm : float
        The limit, finite and above 0.

    Returns
    -------
    Gradients
        New arrays in the shapes of the gradients. Where ‖dθ‖ is not finite they are
        all NaN, not zero, so that training is seen to diverge.

    Raises
    ------
    InputError
        If the gradients do not fit each other, or the limit is not as above.

    References
    ----------
    torch.nn.utils.clip_grad_norm_. Pascanu, Mikolov and Bengio 2013, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> gradients = rnn.Gradients(
    ...     np.array([[3.0]]), np.array([[4.0]]), np.array([[0.0]])
    ... )
    >>> clipped = rnn.clip_by_global_norm(gradients, 1.0)
    >>> clipped.W_xh.round(4), clipped.W_hh.round(4)
    (array([[0.6]]), array([[0.8]]))
    """
    check_gradients_alone(ARRAY_KIND, gradients)
    return compute_clipped_by_norm(gradients, checked_positive("max norm", max_norm))


def compute_clipped_by_norm(
    gradients: Gradients[Array], max_norm: float
) -> Gradients[Array]:
    """Compute the gradients within a limit of their norm."""
    factor = clipping_factor(global_norm(gradients), max_norm)

    def scaled(g: Array) -> Array:
        product = per_network(factor, g) * g  # (U3), in float64
        return product.astype(g.dtype)

    return tree_map(scaled, gradients)


@np.errstate(over="ignore", under="ignore")
def global_norm(gradients: Gradients[Array]) -> Array:
    """Return the norm ‖dθ‖ of all gradients of a network as one vector.

    The squares are summed in float64, where those of float32 neither overflow nor
    underflow.
    """
    first = gradients.W_hh.ndim - 2  # the first axis that is not N
    total = 0.0
    for g in gradients:
        if g is not None:
            axes = tuple(range(first, g.ndim))
            total = total + np.square(g, dtype=np.float64).sum(axis=axes)
    norm: Array = np.sqrt(total)  # (U2)
    return norm


def clipping_factor(norm: Array, max_norm: float) -> Array:
    """Return the factor of gradients of this norm; NaN if it is not finite."""
    factor = np.minimum(1, max_norm / (norm + NORM_EPSILON))  # (U3)
    return np.where(np.isfinite(norm), factor, np.nan)


def clip_by_value(gradients: Gradients[Array], max_value: float) -> Gradients[Array]:
    """Clip each element of the gradients to [−max_value, max_value].

        dθ ← max(−max_value, min(max_value, dθ))        (U7)

    Unlike `clip_by_global_norm` it changes the direction of the gradient.

    Parameters
    ----------
    gradients : Gradients
        The gradients dθ, that of W_hh at least; others may be None.
    max_value : float
        The limit, finite and above 0.

    Returns
    -------
    Gradients
        New arrays in the shapes of the gradients. NaN stays NaN.

    Raises
    ------
    InputError
        If the gradients do not fit each other, or the limit is not as above.

    References
    ----------
    torch.nn.utils.clip_grad_value_.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> gradients = rnn.Gradients(None, np.array([[-3.0, 0.5], [2.0, -1.0]]), None)
    >>> rnn.clip_by_value(gradients, 1.0).W_hh
    array([[-1. ,  0.5],
           [ 1. , -1. ]])
    """
    check_gradients_alone(ARRAY_KIND, gradients)
    return compute_clipped_by_value(gradients, checked_positive("max value", max_value))


@np.errstate(over="ignore")  # a limit beyond the dtype is infinite in it
def compute_clipped_by_value(
    gradients: Gradients[Array], max_value: float
) -> Gradients[Array]:
    """Compute the gradients within a limit of their elements."""
    return tree_map(lambda g: np.clip(g, -max_value, max_value), gradients)  # (U7)


def compute_clipped(gradients: Gradients[Array], step: Step) -> Gradients[Array]:
    """Compute the gradients within a limit, if there is one."""
    if step.max_norm is not None:
        return compute_clipped_by_norm(gradients, step.max_norm)
    if step.max_value is not None:
        return compute_clipped_by_value(gradients, step.max_value)
    return gradients


@with_keywords(DirectionKeywords, np.ndarray)
def direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None = None,
    **options: Unpack[DirectionKeywords],
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """Compute the direction Δ that `sgd` steps against, and the velocity v.

        g = dθ + λ θ                                                     (U4)
        v ← μ v + (1 − τ) g, at a parameter's first time v ← g           (U5)
        Δ = g without momentum, with it v, or g + μ v under nesterov     (U6)

    With adagrad, v is the sum of the squares so far, and every element has a step size
    of its own:

        v ← v + g ∘ g, at a parameter's first time v ← g ∘ g             (U8)
        Δ = g / √(v + 10⁻⁸)                                              (U9)

    Parameters
    ----------
    params : Parameters
        The parameters θ.
    gradients : Gradients
        The gradients dθ, any of which may be None.
    velocity : Gradients, optional
        v, as the previous call returned it; None in the first.
    momentum, dampening, weight_decay : float
        μ, τ and λ, 0 by default; they are rounded to the dtype of the parameters.
    nesterov, adagrad : bool
        False by default.

    Returns
    -------
    delta : Gradients
        Δ, new arrays in the shapes of the gradients.
    velocity : Gradients or None
        v, new arrays; None without momentum and adagrad. That of a parameter without a
        gradient has not changed.

    Raises
    ------
    InputError
        If torch.optim.SGD would refuse the options, if adagrad comes with momentum,
        dampening or nesterov, or if a shape or dtype does not fit the parameters. NaN
        is no error: it spreads, as in torch.optim.SGD.

    References
    ----------
    torch.optim.SGD. Sutskever, Martens, Dahl and Hinton 2013. Duchi, Hazan and Singer
    2011, with the 10⁻⁸ of Karpathy's min-char-rnn.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> one = np.ones((1, 1))
    >>> params, gradients = rnn.Parameters(one, one, one), rnn.Gradients(one, one, one)
    >>> delta, v = rnn.direction(params, gradients, momentum=0.5)
    >>> delta, v = rnn.direction(params, gradients, v, momentum=0.5)
    >>> delta.W_hh
    array([[1.5]])
    """
    check_keywords("direction", options, DirectionKeywords)
    step = checked_step(Step(None, **options))
    check_update(ARRAY_KIND, params, gradients, velocity)
    return copy_of(compute_direction(params, gradients, velocity, step))


def compute_direction(
    params: Parameters[Array],
    gradients: Gradients[Array],
    velocity: Gradients[Array] | None,
    step: Step,
) -> tuple[Gradients[Array], Gradients[Array] | None]:
    """Compute the direction and the velocity. What does not change is not copied."""
    before: Iterable[Array | None] = velocity or (None,) * len(params)
    directions: list[Array | None] = []
    velocities: list[Array | None] = []
    for theta, g, v in zip(params, gradients, before):
        if theta is not None and g is not None:
            if step.weight_decay:
                g = g + step.weight_decay * theta  # (U4)
            if step.momentum:
                g, v = momentum_direction(g, v, step)
            if step.adagrad:
                g, v = adagrad_direction(g, v)
        directions.append(g)
        velocities.append(v)
    delta: Gradients[Array] = Gradients._make(directions)
    if not step.has_velocity:
        return delta, None
    return delta, Gradients._make(velocities)


def momentum_direction(g: Array, v: Array | None, step: Step) -> tuple[Array, Array]:
    """Compute the direction and the new velocity, from the last one v."""
    velocity = g  # (U5), the first time
    if v is not None:
        velocity = step.momentum * v + (1 - step.dampening) * g  # (U5)
    if step.nesterov:
        return g + step.momentum * velocity, velocity  # (U6)
    return velocity, velocity  # (U6)


def adagrad_direction(g: Array, v: Array | None) -> tuple[Array, Array]:
    """Compute the direction and the new sum of squares, from the last one v."""
    squares = g * g  # (U8), the first time
    if v is not None:
        squares = v + squares  # (U8)
    return g / np.sqrt(squares + ADAGRAD_EPSILON), squares  # (U9)
