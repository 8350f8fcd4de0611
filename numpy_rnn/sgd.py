"""The update (DERIVATION.md, section 6)."""

import numpy as np

from numpy_rnn.parameters import Parameters


def sgd(params, gradients, learning_rate) -> Parameters:
    """One step of plain gradient descent.

        θ ← θ − η dθ    (U1)

    learning_rate: η, a number, rounded to the parameters' dtype first. Returns new Parameters; the given ones stay as
    they are.

    Source: torch.optim.SGD without options.
    """
    learning_rate = np.asarray(learning_rate, params.W_hh.dtype)
    updated = [
        None if theta is None else theta - learning_rate * dtheta  # (U1)
        for theta, dtheta in zip(params, gradients)
    ]
    return Parameters(*updated)
