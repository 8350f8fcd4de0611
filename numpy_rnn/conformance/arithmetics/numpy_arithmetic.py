"""The operations that the definition is written in, on arrays of NumPy, real or
complex: the values themselves. Other arithmetics replace them.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.arithmetic import (
    LOSS_TERMS,
    Operand,
    choose,
    loss_divisor,
    nonlinearity_of,
)
from numpy_rnn.conformance.case import SHAPES

AnyDtype = npt.DTypeLike
NORM_OFFSET = 1e-6  # added to the norm, (U3)
ADAGRAD_OFFSET = 1e-8  # added to the sum of squares, (U9)


class NumpyArithmetic:
    """Arrays of floats, or of complex numbers.

    Operations with a name are those whose correct forms differ, or which other numbers
    compute otherwise; + − × are the operators of the numbers.

    Attributes
    ----------
    dtype : dtype
        That of the parameters, to which the learning rate is rounded.
    axes : int
        The number of leading axes of the parameters, those of networks or updates.
    tensors : dict
        The tensors so far, by their names and steps.
    """

    def __init__(self, dtype: AnyDtype):
        """Begin a window of one network."""
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.axes = 0
        self.tensors = dict[str, dict[int | None, Operand]]()

    def from_input(self, array: Operand, error: Operand = 0.0) -> Operand:
        """Return numbers of the case, as they are."""
        return array

    def stack(self, values: Sequence[Operand]) -> Operand:
        """Return values of steps as one array, time first."""
        if len({value.shape for value in values}) > 1:
            values = np.broadcast_arrays(*values, subok=True)
        return np.stack(values)

    def zeros(self, value: Operand) -> Operand:
        """Return zeros like the value."""
        return np.zeros_like(value)

    def affine(
        self, products: Sequence[tuple[Operand, Operand]], bias: Operand | None = None
    ) -> Operand:
        """Return Σ A B, and the bias, for every row."""
        total: Operand = reduce(add, [A @ B for A, B in products])
        return total if bias is None else total + bias[..., None, :]

    def total(self, steps: Sequence[Operand]) -> Operand:
        """Return the sum over steps and sequences."""
        return reduce(add, [value.sum(axis=-2) for value in steps])

    def phi(self, a: Operand, nonlinearity: str) -> Operand:
        """Return φ(a)."""
        return nonlinearity_of(nonlinearity).phi(a)

    def by_slope(
        self, dh: Operand, a: Operand, h: Operand, nonlinearity: str
    ) -> Operand:
        """Return dh ∘ φ'(a)."""
        return dh * nonlinearity_of(nonlinearity).slope(a, h)

    def mean(self, terms: Operand, C: float) -> Operand:
        """Return the sum of the terms, divided by C."""
        return terms.sum(axis=(0, -2, -1)) / C

    def divided(self, values: Operand, C: float) -> Operand:
        """Return the values divided by C."""
        return values / C

    def softmax(self, y: Operand) -> tuple[Operand, Operand]:
        """Return log p and p = softmax(y)."""
        z = y - y.real.max(axis=-1, keepdims=True)  # no exponential overflows
        log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
        return log_p, np.exp(log_p)

    def constant(self, number: float) -> Operand:
        """Return a number of the definition."""
        return number

    def rate(self, step: Step, theta: Operand) -> Operand:
        """Return η, rounded to the dtype, for an array of the parameters."""
        rate = np.asarray(step.learning_rate, self.dtype)
        return self.expand(rate, theta)

    def norm(self, gradients: Sequence[Operand]) -> Operand:
        """Return the norm of all gradients of a network."""
        squares = [(g * g).sum(axis=tuple(range(self.axes, g.ndim))) for g in gradients]
        return np.sqrt(reduce(add, squares))  # (U2)

    def factor(self, norm: Operand, max_norm: float) -> Operand:
        """Return the factor by which gradients are clipped."""
        return np.minimum(1, max_norm / (norm + NORM_OFFSET))  # (U3)

    def clip(self, g: Operand, max_value: float) -> Operand:
        """Return g within ± max_value."""
        return np.clip(g, -max_value, max_value)  # (U7)

    def by_root(self, g: Operand, squares: Operand) -> Operand:
        """Return g over the root of the sum of squares."""
        return g / np.sqrt(squares + ADAGRAD_OFFSET)  # (U9)

    def loss_and_error(
        self, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Operand, Operand]:
        """Return L and dy of the steps with a loss, (K, ..., B, O)."""
        C = loss_divisor(y.shape, objective)
        loss_terms = choose(LOSS_TERMS, objective.loss, "loss")
        terms, errors = loss_terms(self, y, target)
        return self.mean(terms, C), self.divided(errors, C)  # (L2), (B1)

    def record(self, name: str, t: int | None, value: Operand) -> Operand:
        """Note a tensor at a step, and return the value with which the equations
        continue.
        """
        self.tensors.setdefault(name, {})[t] = value
        return value

    def report(self) -> dict[str, Any]:
        """Return the tensors by name, in causal order. Those with steps have the axis
        of time first.
        """
        report = dict[str, Any]()
        for name in SHAPES:
            steps = self.tensors.get(name, {})
            if None in steps:
                report[name] = steps[None]
            elif steps:
                report[name] = self.stack([value for _, value in sorted(steps.items())])
        # Arrays refer to their arithmetic: such a cycle is freed late.
        self.tensors = {}
        return report

    def with_axes(self, array: Array) -> Array:
        """Return an array (B, N) that all networks share as (1, .., 1, B, N)."""
        return array.reshape(*(1,) * (self.axes + 2 - array.ndim), *array.shape)

    def expand(self, per_network: Operand, array: Operand) -> Operand:
        """Return a number per network, with the axes of an array of all networks."""
        if not np.ndim(per_network):
            return per_network
        return per_network.reshape(
            *per_network.shape, *(1,) * (array.ndim - per_network.ndim)
        )


def join(parts: Sequence[Array], axis: int) -> Array:
    """Return the parts along one of the last two axes; leading ones are broadcast."""
    arrays = [np.asarray(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    leading = np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
    wide = [np.broadcast_to(array, leading + array.shape[-2:]) for array in arrays]
    return np.concatenate(wide, axis=axis)
