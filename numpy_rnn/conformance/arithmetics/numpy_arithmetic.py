"""The operations of the definition on arrays of NumPy, real or complex: the values
themselves.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.arithmetics.arithmetic import (
    Arithmetic,
    nonlinearity_of,
)

NORM_OFFSET = 1e-6  # added to the norm, (U3)
ADAGRAD_OFFSET = 1e-8  # added to the sum of squares, (U9)


class NumpyArithmetic(Arithmetic[Array]):
    """Arrays of floats, or of complex numbers."""

    def from_input(self, array: Array, error: Array | float = 0.0) -> Array:
        """Return numbers of the case, as they are."""
        return array

    def stack(self, values: Sequence[Array]) -> Array:
        """Return values of steps as one array, time first."""
        if len({value.shape for value in values}) > 1:
            values = np.broadcast_arrays(*values, subok=True)
        return np.stack(values)

    def zeros(self, value: Array) -> Array:
        """Return zeros like the value."""
        return np.zeros_like(value)

    def affine(
        self, products: Sequence[tuple[Array, Array]], bias: Array | None = None
    ) -> Array:
        """Return Σ A B, and the bias, for every row."""
        total: Array = reduce(add, [A @ B for A, B in products])
        return total if bias is None else total + bias[..., None, :]

    def total(self, steps: Sequence[Array]) -> Array:
        """Return the sum over steps and sequences."""
        total: Array = reduce(add, [value.sum(axis=-2) for value in steps])
        return total

    def phi(self, a: Array, nonlinearity: str) -> Array:
        """Return φ(a)."""
        return nonlinearity_of(nonlinearity).phi(a)

    def by_slope(self, dh: Array, a: Array, h: Array, nonlinearity: str) -> Array:
        """Return dh ∘ φ'(a)."""
        return dh * nonlinearity_of(nonlinearity).slope(a, h)

    def mean(self, terms: Array, C: float) -> Array:
        """Return the sum of the terms, divided by C."""
        total: Array = terms.sum(axis=(0, -2, -1))
        return total / C

    def divided(self, values: Array, C: float) -> Array:
        """Return the values divided by C."""
        return values / C

    def softmax(self, y: Array) -> tuple[Array, Array]:
        """Return log p and p = softmax(y)."""
        z = y - y.real.max(axis=-1, keepdims=True)  # no exponential overflows
        log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
        return log_p, np.exp(log_p)

    def constant(self, number: float) -> float:
        """Return a number of the definition."""
        return number

    def rate(self, step: Step, theta: Array) -> Array:
        """Return η, rounded to the dtype, for an array of the parameters."""
        rate = np.asarray(step.learning_rate, self.dtype)
        expanded: Array = self.expand(rate, theta)
        return expanded

    def norm(self, gradients: Sequence[Array]) -> Array:
        """Return the norm of all gradients of a network."""
        squares = [(g * g).sum(axis=tuple(range(self.axes, g.ndim))) for g in gradients]
        norm: Array = np.sqrt(reduce(add, squares))  # (U2)
        return norm

    def factor(self, norm: Array, max_norm: float) -> Array:
        """Return the factor by which gradients are clipped."""
        factor: Array = np.minimum(1, max_norm / (norm + NORM_OFFSET))  # (U3)
        return factor

    def clip(self, g: Array, max_value: float) -> Array:
        """Return g within ± max_value."""
        return np.clip(g, -max_value, max_value)  # (U7)

    def by_root(self, g: Array, squares: Array) -> Array:
        """Return g over the root of the sum of squares."""
        return g / np.sqrt(squares + ADAGRAD_OFFSET)  # (U9)


def join(parts: Sequence[Array], axis: int) -> Array:
    """Return the parts along one of the last two axes; leading ones are broadcast."""
    arrays = [np.asarray(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    leading = np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
    wide = [np.broadcast_to(array, leading + array.shape[-2:]) for array in arrays]
    return np.concatenate(wide, axis=axis)
