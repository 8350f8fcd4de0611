"""The SGD step of a case in balls, (U1) to (U6): the second half of the oracle."""

from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.case import Case


def matrix(array):
    """The matrix of exactly these numbers; a vector is a row."""
    return flint().arb_mat(*np.atleast_2d(array).shape, array.ravel().tolist())


def step(case: Case, gradients: dict[str, Any]) -> dict[str, list[Any]]:
    """The balls of the velocities and of the new parameters, flattened, from the matrices of the gradients by name.

    η is rounded to the dtype; the other options are the numbers that they are in float64, and so is 10⁻⁶.
    """
    momentum, dampening, nesterov, decay, max_norm = case.sgd
    ball = flint().arb
    rate = ball(float(case.dtype.type(case.learning_rate)))
    factor = None if max_norm is None else clip_factor(gradients, ball(max_norm))
    velocities, parameters = {}, {}
    for name, gradient in gradients.items():
        theta = matrix(getattr(case.params, name))
        s = gradient if factor is None else gradient * factor
        if decay:
            s += theta * ball(decay)
        if momentum:
            before = getattr(case.velocity, name, None)
            v = s if before is None else matrix(before) * ball(momentum) + s * (1 - ball(dampening))
            velocities["v" + name] = v.entries()
            s = s + v * ball(momentum) if nesterov else v
        parameters[name] = (theta - s * rate).entries()
    return velocities | parameters


def clip_factor(gradients, max_norm):
    """min(1, max_norm / (n + 10⁻⁶)); where the ball of the quotient holds 1, the ball of all that it may be.

    A sum of squares is not negative, though its ball may reach below 0.
    """
    ball = flint().arb
    squares = sum((g * g for gradient in gradients.values() for g in gradient.entries()), ball(0))
    quotient = max_norm / (squares.nonnegative_part().sqrt() + ball(1e-6))
    return quotient.min(ball(1))


def flint():
    """The module flint, which only the oracle needs."""
    try:
        import flint as module
    except ImportError as error:
        raise InputError(
            "python-flint is not installed: the oracle needs it; run `pip install python-flint`, or check at level L1"
        ) from error
    return module
