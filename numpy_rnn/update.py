"""The update (DERIVATION.md, section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_rnn.common.checks import check_direction, check_learning_rate
from numpy_rnn.parameters import ARRAYS, Array, Gradients, LearningRate, Parameters, expand_to


def sgd(
    params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate
) -> Parameters[Array]:
    """One step of gradient descent.

        θ ← θ − η Δ    (U1)

    delta: the direction Δ, either the Gradients dθ or what `direction` returned for them; a parameter whose Δ is None
    does not change. learning_rate: η, a number, or one per network, of shape E; it is rounded to the parameters' dtype.
    Returns new Parameters.

    Raises InputError on directions of other shapes or dtypes than the parameters, and on learning rates that are not
    finite numbers, 0 or more, or of another shape.
    Source: torch.optim.SGD.
    """
    check_direction(ARRAYS, params, delta)
    rate = check_learning_rate(params, learning_rate)
    return sgd_step(params, delta, as_learning_rate(params, rate))


def sgd_step(params: Parameters[Array], delta: Gradients[Array], rate: Array) -> Parameters[Array]:
    """`sgd` without its checks. `expand_to` gives an array of one η per network the axes of θ."""
    updated: list[Any] = [
        theta
        if theta is None or dtheta is None
        else theta - expand_to(rate, theta) * dtheta  # (U1)
        for theta, dtheta in zip(params, delta)
    ]
    return Parameters(*updated)


def as_learning_rate(params: Parameters[Array], learning_rate: LearningRate) -> Array:
    """η in the parameters' dtype, a copy."""
    return np.array(learning_rate, dtype=params.W_hh.dtype)
