"""The update (DERIVATION.md, section 6)."""

import torch

from torch_rnn.parameters import Parameters


@torch.no_grad()
def sgd(params, gradients, learning_rate) -> Parameters:
    """One step of plain gradient descent.

        θ ← θ − η dθ    (U1)

    learning_rate: η, a number, rounded to the parameters' dtype first. Returns new Parameters; the given ones stay as
    they are.

    Source: torch.optim.SGD without options.
    """
    learning_rate = torch.as_tensor(learning_rate, dtype=params.W_hh.dtype)
    updated = [
        None if theta is None else (theta - learning_rate * dtheta).requires_grad_()  # (U1)
        for theta, dtheta in zip(params, gradients)
    ]
    return Parameters(*updated)
