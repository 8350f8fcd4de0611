"""The operations of the definition on arrays of NumPy, real or complex: the values themselves."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import numpy as np

from numpy_rnn.common.records import NumpyArray, Objective, Step
from numpy_rnn.conformance.arithmetics.arithmetic import (
    Arithmetic,
    Dtype,
    choose,
    divisor,
    nonlinearity_of,
)

SMALL = 1e-6  # added to the norm, (U3)
TINY = 1e-8  # added to the sum of squares, (U9)


class Floats(Arithmetic):
    """Arrays of floats, or of complex numbers."""

    def __init__(self, dtype: Dtype):
        self.dtype, self.axes, self.seen = np.dtype(dtype), 0, {}

    def given(self, array: NumpyArray, /) -> NumpyArray:
        return array

    def stack(self, values: Sequence[NumpyArray]) -> NumpyArray:
        if len({value.shape for value in values}) > 1:
            values = np.broadcast_arrays(*values, subok=True)
        return np.stack(values)

    def zeros(self, value: NumpyArray) -> NumpyArray:
        return np.zeros_like(value)

    def affine(
        self, products: Sequence[tuple[NumpyArray, NumpyArray]], bias: NumpyArray | None = None
    ) -> NumpyArray:
        total = reduce(add, [A @ B for A, B in products])
        return total if bias is None else total + bias[..., None, :]

    def total(self, steps: Sequence[NumpyArray]) -> NumpyArray:
        return reduce(add, [value.sum(axis=-2) for value in steps])

    def phi(self, a: NumpyArray, nonlinearity: str) -> NumpyArray:
        return nonlinearity_of(nonlinearity).phi(a)

    def by_slope(
        self, dh: NumpyArray, a: NumpyArray, h: NumpyArray, nonlinearity: str
    ) -> NumpyArray:
        return dh * nonlinearity_of(nonlinearity).slope(a, h)

    def loss_and_error(
        self, y: NumpyArray, target: NumpyArray, objective: Objective
    ) -> tuple[NumpyArray, NumpyArray]:
        N = divisor(y.shape, objective)
        losses, errors = choose(LOSSES, objective.loss, "loss")(self, y, target)
        return losses.sum(axis=(0, -2, -1)) / N, errors / N  # (L2), (B1)

    def log_softmax(self, y: NumpyArray) -> NumpyArray:
        """log p."""
        z = y - y.real.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    def constant(self, number: float) -> float:
        return number

    def rate(self, step: Step, theta: NumpyArray) -> NumpyArray:
        return self.expand(np.asarray(step.learning_rate, self.dtype), theta)

    def norm(self, gradients: Sequence[NumpyArray]) -> NumpyArray:
        squares = [(g * g).sum(axis=tuple(range(self.axes, g.ndim))) for g in gradients]
        return np.sqrt(reduce(add, squares))  # (U2)

    def factor(self, norm: NumpyArray, max_norm: float) -> NumpyArray:
        return np.minimum(1, max_norm / (norm + SMALL))  # (U3)

    def clip(self, g: NumpyArray, max_value: float) -> NumpyArray:
        return np.clip(g, -max_value, max_value)  # (U7)

    def by_root(self, g: NumpyArray, squares: NumpyArray) -> NumpyArray:
        return g / np.sqrt(squares + TINY)  # (U9)


def joined(parts: Sequence[NumpyArray], axis: int) -> NumpyArray:
    """The parts along one of the last two axes; the leading axes are broadcast."""
    arrays = [np.asarray(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    leading = np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
    wide = [np.broadcast_to(array, leading + array.shape[-2:]) for array in arrays]
    return np.concatenate(wide, axis=axis)


Loss = Callable[[Floats, NumpyArray, NumpyArray], tuple[NumpyArray, NumpyArray]]


def squared_error(n: Floats, y: NumpyArray, target: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """The terms of the loss, and of dy, before the division by N."""
    return 0.5 * (y - target) * (y - target), y - target  # (L1), (B1)


def cross_entropy(n: Floats, y: NumpyArray, target: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """The same of softmax cross-entropy; target: classes as rows of 0 and 1."""
    log_p = n.log_softmax(y)  # (L3)
    return -(target * log_p), np.exp(log_p) - target  # (L4), (B1)


LOSSES: dict[str, Loss] = {"squared_error": squared_error, "cross_entropy": cross_entropy}
