"""What is wrong with a gradient, as far as it is certain."""

from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import norm

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.derivatives import ROUNDOFF, LossDerivative
from numpy_rnn.conformance.window_checks import ROUNDOFFS, SPREADS

MAX_PARTS = 64  # of an axis that are looked at one by one
LOOKED_AT = 4  # elements at a limit
SMALLEST = 2.0**-1022  # so that 0/0 is 0
# Relative: a factor so close to a whole number is said to be it.
FACTOR_TOLERANCE = 1e-6


class GradientCheck(NamedTuple):
    """The check of one gradient, along directions v of its parameter."""

    tensor: str
    gradient: Array  # as the function returns it in float64
    derivative: LossDerivative
    noise: float  # the rounding error of the gradient
    verdict: str = ""  # "right", "wrong" or "not judged"
    words: str = ""  # what is wrong, or why it is not judged

    @property
    def expected(self) -> Array:
        """The derivatives of the loss along v."""
        return self.derivative.values

    @property
    def reported(self) -> Array:
        """The products of v and the gradient."""
        return self.derivative.products(self.gradient)

    @property
    def size(self) -> float:
        """The 2-norm of the expected gradient, estimated from the directions."""
        size: float = norm(self.expected) / len(self.expected) ** 0.5
        return size

    @property
    def allowed(self) -> float:
        """What rounding explains along one direction."""
        error: float = self.noise + self.derivative.error
        return SPREADS * error + ROUNDOFFS * ROUNDOFF * self.size

    @property
    def largest_error(self) -> float:
        """The largest difference along a direction."""
        return self.error_of(self.gradient)

    @property
    def ratio(self) -> float:
        """The largest error in units of what is allowed; 0 for 0/0."""
        return self.largest_error / max(self.allowed, SMALLEST)

    def error_of(self, gradient: Array, factor: float = 1.0) -> float:
        """Return the largest difference of a gradient and a multiple of the expected
        one, along a direction.
        """
        errors = self.derivative.products(gradient) - factor * self.expected
        return float(np.abs(errors).max())

    def along_elements(self, indices: Array) -> tuple[float, float]:
        """Return the expected and the reported derivative along random signs of some
        elements, by flat indices. The sign of the first one is +.
        """
        direction = np.zeros(self.gradient.shape)
        signs = self.derivative.directions[0].flat[indices]
        direction.flat[indices] = signs * signs[0]
        reported: float = np.sum(direction * self.gradient)
        return self.derivative.along(direction), reported

    def error_in(self, indices: Array) -> float:
        """Return the error along random signs of some elements."""
        expected, reported = self.along_elements(indices)
        return abs(reported - expected)


def describe(check: GradientCheck) -> str:
    """Return what is wrong with a gradient, in words."""
    gradient = check.gradient
    expected = check.expected
    if not np.any(gradient):
        return "is 0 everywhere"
    if check.size == 0:
        return "expected 0: the loss does not change with it, is another one used?"
    if gradient.size > 1:  # any number is a multiple of another one
        factor = float(check.reported @ expected / (expected @ expected))
        allowed = check.allowed * (1 + abs(factor))
        if factor and check.error_of(gradient, factor) <= allowed:
            return factor_words(factor, check.derivative.function.data)
    is_square = gradient.shape == gradient.T.shape
    if is_square and check.error_of(gradient.T) <= check.allowed:
        return "is the transposed one"
    return clipped_words(check) or where_words(check)


def factor_words(factor: float, data: tuple[Any, ...]) -> str:
    """Return the factor, with the size of the data that it is."""
    for number, start in ((factor, ""), (1 / factor, "1/")):
        whole = round(number)
        if whole not in (0, 1) and abs(number / whole - 1) < FACTOR_TOLERANCE:
            return f"× {start}{whole}{size_words(abs(whole), data)}"
    text = f"{factor:.6g}"
    if text == "1":
        sign = "+" if factor > 1 else "-"
        text = f"(1 {sign} {abs(factor - 1):.2g})"
    return f"× {text}"


def size_words(number: int, data: tuple[Any, ...]) -> str:
    """Return which size of the data a number is, or no words."""
    for position, value in enumerate(data):
        for axis, size in enumerate(getattr(value, "shape", ())):
            if size == number > 2:  # a factor of 2 comes from a square
                return f" ({number} is data[{position}].shape[{axis}])"
    return ""


def clipped_words(check: GradientCheck) -> str:
    """Return the limit of a gradient that is clipped, or no words."""
    sizes = np.abs(check.gradient).ravel()
    at_limit = np.flatnonzero(sizes == sizes.max())
    for index in at_limit[:LOOKED_AT]:
        expected, reported = check.along_elements(np.array([index]))
        if expected / reported < 1 - FACTOR_TOLERANCE or len(at_limit) == 1:
            return ""
    return f"is clipped at {sizes.max():.6g}, in {len(at_limit)} elements"


def where_words(check: GradientCheck) -> str:
    """Return how far a gradient is off, where, and one wrong element."""
    share = norm(check.reported - check.expected) / norm(check.expected)
    words = f"off by {share:.2%}"
    flat = np.arange(check.gradient.size)
    indices = flat.reshape(check.gradient.shape)
    for axis in range(indices.ndim):
        numbers = np.arange(indices.shape[axis])
        parts = np.array_split(numbers, min(len(numbers), MAX_PARTS))
        wrong: list[int] = []
        for part in parts:
            if check.error_in(indices.take(part, axis).ravel()) > check.allowed:
                wrong.extend(part)
        if 0 < len(wrong) < len(numbers):
            words += f", in {len(wrong)} of {len(numbers)} indices of axis {axis}"
            words += f" ({wrong[0]} to {wrong[-1]})"
    while len(flat) > 1:
        flat = max(np.array_split(flat, 2), key=check.error_in)
    (element,) = np.argwhere(indices == flat).tolist()
    expected, reported = check.along_elements(flat)
    return f"{words}; expected {element} {expected:.6g}, is {reported:.6g}"
