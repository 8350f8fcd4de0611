"""The update (DERIVATION.md, section 6)."""

import numpy as np

from numpy_rnn.clipping import clipped
from numpy_rnn.common.sgd_options import SgdOptions
from numpy_rnn.common.shapes import beside, check_learning_rate
from numpy_rnn.momentum import direction
from numpy_rnn.parameters import Parameters


def sgd(params, s, learning_rate) -> Parameters:
    """One step of gradient descent.

        θ ← θ − η s    (U1)

    s: the direction, the Gradients dθ as they are or what `direction` made of them; a parameter without one stays as it
    is. learning_rate: η, a number or one a network, of shape E, rounded to the parameters' dtype first. Returns new
    Parameters; the given ones stay as they are.

    Raises InputError on learning rates of another shape.
    Source: torch.optim.SGD.
    """
    return _stepped(params, s, _rates(params, learning_rate))


def _rates(params, learning_rate):
    """η in the parameters' dtype, for every parameter in a shape that its direction is multiplied with."""
    learning_rate = np.asarray(learning_rate, params.W_hh.dtype)
    if not learning_rate.ndim:
        return [learning_rate] * len(params)
    check_learning_rate(params, learning_rate)
    return [None if theta is None else beside(learning_rate, theta) for theta in params]


def _stepped(params, s, rates):
    updated = [
        theta if s_theta is None else theta - rate * s_theta  # (U1)
        for theta, s_theta, rate in zip(params, s, rates)
    ]
    return Parameters(*updated)


def sgd_step(params, learning_rate, options):
    """(params, gradients, velocity) → (params, velocity): clipping, direction and step by these SgdOptions."""
    rates = _rates(params, learning_rate)
    if options == SgdOptions():
        return lambda params, gradients, velocity: (_stepped(params, gradients, rates), None)
    of_direction = options._asdict()
    max_norm = of_direction.pop("max_norm")

    def step(params, gradients, velocity):
        if max_norm is not None:
            gradients = clipped(gradients, max_norm)
        s, velocity = direction(params, gradients, velocity, **of_direction)
        return _stepped(params, s, rates), velocity

    return step
