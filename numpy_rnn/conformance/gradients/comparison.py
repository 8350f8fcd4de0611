"""The comparison of one gradient with the derivatives of the loss."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.derivatives import (
    ROUNDOFF,
    Derivatives,
    LossDerivative,
    norm,
)
from numpy_rnn.conformance.window_checks import ROUNDOFFS, SPREADS

DIRECTIONS = 8  # of a tensor with more elements


class GradientCheck(NamedTuple):
    """The check of one gradient, along directions v of its parameter."""

    tensor: str
    gradient: Array  # as the function returns it in float64
    directions: Array  # v, along the first axis
    derivatives: Derivatives
    loss: LossDerivative
    allowed: float  # what rounding explains along one direction
    verdict: str = ""  # "right", "wrong" or "not judged"
    words: str = ""  # what is wrong, or why it is not judged

    @property
    def expected(self) -> Array:
        """The derivatives of the loss along v."""
        return self.derivatives.values

    @property
    def reported(self) -> Array:
        """The products of v and the gradient."""
        return products(self.directions, self.gradient)

    @property
    def size(self) -> float:
        """The 2-norm of the expected gradient, estimated from random directions."""
        mean = 1 if len(self.directions) == self.gradient.size else DIRECTIONS
        return norm(self.expected) / mean**0.5

    @property
    def largest_error(self) -> float:
        """The largest difference along a direction."""
        return float(np.abs(self.reported - self.expected).max())

    @property
    def ratio(self) -> float:
        """The largest error in units of what is allowed; 0 for 0/0."""
        if self.largest_error == 0:
            return 0.0
        with np.errstate(all="ignore"):
            return float(np.float64(self.largest_error) / self.allowed)

    def is_explained_by(self, gradient: Array, factor: float = 1.0) -> bool:
        """Return whether a gradient is the expected one times a factor."""
        errors = np.abs(products(self.directions, gradient) - factor * self.expected)
        return bool((errors <= self.allowed * max(1.0, abs(factor))).all())

    def along(self, direction: Array) -> float:
        """Return the derivative of the loss along another direction."""
        return float(self.loss.along(self.tensor[1:], direction[None]).values[0])

    def element(self, index: tuple[int, ...]) -> float:
        """Return the derivative of the loss by one element."""
        direction = np.zeros(self.gradient.shape)
        direction[index] = 1.0
        return self.along(direction)


def products(directions: Array, gradient: Array) -> Array:
    """Return the sum of the products of a gradient and each direction."""
    return (directions * gradient).reshape(len(directions), -1).sum(axis=1)


def compare(
    derivative: LossDerivative, name: str, gradient: Array, noise: float
) -> GradientCheck:
    """Compare a gradient, whose rounding error is noise, along all its elements if they
    are few, otherwise along random directions of ±1.
    """
    if gradient.size <= DIRECTIONS:
        directions = np.eye(gradient.size)
    else:
        random = np.random.default_rng(gradient.size)
        directions = random.choice([-1.0, 1.0], (DIRECTIONS, gradient.size))
    directions = directions.reshape(-1, *gradient.shape)
    found = derivative.along(name, directions)
    allowed = SPREADS * (noise + found.error)
    check = GradientCheck("d" + name, gradient, directions, found, derivative, allowed)
    allowed += ROUNDOFFS * ROUNDOFF * check.size
    return check._replace(allowed=np.inf if np.isnan(allowed) else allowed)
