"""The update (DERIVATION.md, section 6)."""

import numpy as np
from numpy import multiply, subtract

from numpy_rnn.clipping import clip
from numpy_rnn.common.sgd_options import SgdOptions
from numpy_rnn.common.shapes import beside, check_learning_rate, check_like
from numpy_rnn.momentum import directed
from numpy_rnn.parameters import ARRAYS, Parameters


def sgd(params, s, learning_rate) -> Parameters:
    """One step of gradient descent.

        θ ← θ − η s    (U1)

    s: the direction, the Gradients dθ as they are or what `direction` made of them; a parameter without one stays as it
    is. learning_rate: η, a number or one a network, of shape E, rounded to the parameters' dtype first. Returns new
    Parameters; the given ones stay as they are.

    Raises InputError on directions of other shapes or dtypes than the parameters, and on learning rates that are not
    finite numbers, 0 or more, or of another shape.
    Source: torch.optim.SGD.
    """
    ARRAYS.parameters(params, both_biases=False)
    ARRAYS.like_parameters("gradient", s)
    check_like(params, "gradient", s)
    rate = rate_for(params, learning_rate)
    return Parameters(
        *(
            theta if s_theta is None else stepped(theta, s_theta, beside(rate, theta))
            for theta, s_theta in zip(params, s)
        )
    )


def stepped(theta, s, rate, into=None):
    """θ − η s, as a new array or into the memory of one."""
    return subtract(theta, multiply(rate, s, into), into)  # (U1)


def step_parts(params, s, rate, into):
    """As `sgd`, into memory for the new parameters."""
    for theta, s_theta, updated in zip(params, s, into):
        if s_theta is not None:
            stepped(theta, s_theta, beside(rate, theta), updated)
        elif theta is not None:
            updated[...] = theta


def rate_for(params, learning_rate):
    """η in the parameters' dtype. Raises InputError on learning rates that `sgd` refuses."""
    check_learning_rate(params, learning_rate)
    return np.asarray(learning_rate, params.W_hh.dtype)


def direction_for(options):
    """(params, gradients, velocity) → (s, velocity): clipping and direction by these SgdOptions; None where s is dθ."""
    if options == SgdOptions():
        return None
    of_direction = options._asdict()
    max_norm = of_direction.pop("max_norm")

    def direct(params, gradients, velocity):
        if max_norm is not None:
            gradients = clip(gradients, max_norm)
        return directed(params, gradients, velocity, **of_direction)

    return direct
