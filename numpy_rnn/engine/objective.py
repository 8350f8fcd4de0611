"""The nonlinearities and the losses of the engine: a row of a table each.

The derivative of a loss is computed window by window, in `gradient.py`; the losses
themselves later, for many windows at once, in `losses.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan
from typing import Any, NamedTuple

import numpy as np
from numpy import (
    add,
    divide,
    exp,
    greater,
    log,
    maximum,
    minimum,
    multiply,
    subtract,
    tanh,
)

from numpy_rnn.arrays import Array

# C of (L2), in the dtype of the run.
Divisor = np.floating[Any]
# Computes φ(a) of its first argument, a, and writes it into the second.
WritePhi = Callable[[Array, Array], object]
# Computes φ'(a) of its first argument, h = φ(a), and of the number 1 in the dtype of h,
# and writes it into the third.
WriteSlope = Callable[[Array, Array, Array], None]


class NonlinearityFunctions(NamedTuple):
    """A nonlinearity, and its derivative φ'(a)."""

    phi: WritePhi
    slope: WriteSlope


def write_relu(a: Array, out: Array) -> None:
    """Write max(a, 0)."""
    maximum(a, 0, out=out)


def write_sigmoid(a: Array, out: Array) -> None:
    """Write the logistic function, ½ (1 + tanh(a/2))."""
    multiply(a, 0.5, out)
    tanh(out, out)
    multiply(out, 0.5, out)
    add(out, 0.5, out)


def write_tanh_slope(h: Array, one: Array, out: Array) -> None:
    """Write 1 − h²."""
    multiply(h, h, out)
    subtract(one, out, out)


def write_relu_slope(h: Array, one: Array, out: Array) -> None:
    """Write 1 where h > 0, else 0."""
    greater(h, 0, out)


def write_sigmoid_slope(h: Array, one: Array, out: Array) -> None:
    """Write h (1 − h)."""
    subtract(one, h, out)
    multiply(h, out, out)


NONLINEARITIES = {
    "tanh": NonlinearityFunctions(tanh, write_tanh_slope),
    "relu": NonlinearityFunctions(write_relu, write_relu_slope),
    "sigmoid": NonlinearityFunctions(write_sigmoid, write_sigmoid_slope),
}


def write_difference(y: Array, target: Array, error: Array, row_losses: None) -> None:
    """Write the derivative of half the squared error, y − target, into `error`, of
    which the losses are computed later.
    """
    subtract(y, target, error)  # (B1)


# Outputs may be so far apart that p is 0, and 0 · ∞ is met below.
@np.errstate(over="ignore", invalid="ignore")
def write_softmax_difference(
    y: Array, target: Array, error: Array, row_losses: Array
) -> None:
    """Write the derivative of the cross-entropy, p − target, into `error`, and ℓ of
    rows into `row_losses`.

    With m the largest number of a row and c its class, its loss is
    log Σ exp(y − m) − (y_c − m), in which no exponential overflows. The differences of
    other outputs may be infinite, so y_c is taken from y, before m is subtracted.
    """
    # `reduce` is what the methods y.max and error.sum call, after some Python code.
    largest = maximum.reduce(y, axis=-1, keepdims=True)
    np.vecdot(target, y, out=row_losses[..., 0])
    # It is NaN where another output is −∞. The masked minimum is right then, and slow.
    if isnan(add.reduce(row_losses, axis=None)):
        minimum.reduce(
            y, axis=-1, keepdims=True, out=row_losses, where=target > 0, initial=inf
        )
    subtract(row_losses, largest, row_losses)
    subtract(y, largest, error)
    exp(error, error)
    sums = add.reduce(error, axis=-1, keepdims=True)
    divide(error, sums, error)  # (L3)
    subtract(log(sums, sums), row_losses, row_losses)  # (L4)
    subtract(error, target, error)  # (B1)


class LossFunctions(NamedTuple):
    """A loss ℓ of rows of outputs."""

    differentiate: Callable[..., None]
    """Write ∂ℓ/∂y of (y, target) into the third argument, and if `by_row` ℓ of every
    row into the fourth, which is None otherwise.
    """
    by_row: bool
    """Otherwise ℓ is half the sum of squares of ∂ℓ/∂y."""


LOSSES = {
    "squared_error": LossFunctions(write_difference, by_row=False),
    "cross_entropy": LossFunctions(write_softmax_difference, by_row=True),
}
