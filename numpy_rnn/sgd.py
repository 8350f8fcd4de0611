"""The update (DERIVATION.md, section 6)."""

from __future__ import annotations

import numpy as np

from numpy_rnn.common.shapes import check_learning_rate, check_like, expand_to
from numpy_rnn.parameters import ARRAYS, Array, Gradients, LearningRate, Parameters, copy_of


def sgd(params: Parameters[Array], delta: Gradients[Array], learning_rate: LearningRate) -> Parameters[Array]:
    """One step of gradient descent.

        θ ← θ − η Δ    (U1)

    delta: the direction Δ, either the Gradients dθ or what `direction` returned for them; a parameter whose Δ is None
    does not change. learning_rate: η, a number, or one per network, of shape E; it is rounded to the parameters' dtype.
    Returns new Parameters.

    Raises InputError on directions of other shapes or dtypes than the parameters, and on learning rates that are not
    finite numbers, 0 or more, or of another shape.
    Source: torch.optim.SGD.
    """
    ARRAYS.parameters(params, both_biases=False)
    ARRAYS.like_parameters("gradient", delta)
    check_like(params, "gradient", delta)
    return sgd_step(params, delta, as_learning_rate(params, learning_rate))


def sgd_step(params: Parameters[Array], delta: Gradients[Array], rate: Array) -> Parameters[Array]:
    """`sgd` without its checks. `expand_to` gives an array of one η per network the axes of θ."""
    updated = [
        theta if delta_theta is None else theta - expand_to(rate, theta) * delta_theta  # (U1)
        for theta, delta_theta in zip(params, delta)
    ]
    return Parameters(*updated)


def as_learning_rate(params: Parameters[Array], learning_rate: LearningRate) -> Array:
    """η in the parameters' dtype. Raises InputError on learning rates that `sgd` refuses."""
    check_learning_rate(params, learning_rate)
    rate: Array = copy_of(np.asarray(learning_rate, dtype=params.W_hh.dtype))
    return rate
