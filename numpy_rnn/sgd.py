"""The update (DERIVATION.md, section 6)."""

import numpy as np
from numpy import multiply, subtract

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
    rate = _rate(params, learning_rate)
    return Parameters(
        *(
            theta if s_theta is None else stepped(theta, s_theta, beside(rate, theta))
            for theta, s_theta in zip(params, s)
        )
    )


def stepped(theta, s, rate, into=None):
    """θ − η s, as a new array or into the memory of one."""
    return subtract(theta, multiply(rate, s, into), into)  # (U1)


def _rate(params, learning_rate):
    """η in the parameters' dtype."""
    learning_rate = np.asarray(learning_rate, params.W_hh.dtype)
    if learning_rate.ndim:
        check_learning_rate(params, learning_rate)
    return learning_rate


def sgd_step(start, learning_rate, options):
    """(before, gradient, velocity, after) → velocity: clipping, direction and step by these SgdOptions.

    start, before, gradient and after are Vectors: all parameters of a network together, and the arrays that are their
    parts. after: memory for the parameters after the step.
    """
    vector, params = start
    rate = _rate(params, learning_rate)
    if options == SgdOptions() and params.h_0 is None:
        return _step_of_all(beside(rate, vector))
    rates = [None if theta is None else beside(rate, theta) for theta in params]
    of_direction = options._asdict()
    max_norm = of_direction.pop("max_norm")

    def step(before, gradient, velocity, after):
        (_, params), (_, gradients), (_, updated) = before, gradient, after
        if max_norm is not None:
            gradients = clipped(gradients, max_norm)
        s, velocity = direction(params, gradients, velocity, **of_direction)
        for theta, s_theta, rate, into in zip(params, s, rates, updated):
            if s_theta is not None:
                stepped(theta, s_theta, rate, into)
            elif theta is not None:
                into[...] = theta
        return velocity

    return step


def _step_of_all(rate):
    """The step without any options: of all parameters at once, as one vector; it has no velocity."""

    def step(before, gradient, velocity, after):
        stepped(before[0], gradient[0], rate, after[0])

    return step
