"""The tables of the nonlinearities and losses that the equations are made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import NumpyArray, Objective, Value
from numpy_rnn.conformance.case import LOSS_AXES, loss_kind

# The numbers of the equations, which run in any arithmetic, and the arithmetic.
Operand = Any


def choose(table: Mapping[str, Value], name: str, what: str) -> Value:
    """Return the entry of this name. Raises InputError on an unknown name."""
    check_choice(what, name, tuple(table))
    return table[name]


def mean_over(axes: Sequence[str]) -> str:
    """Return the name of a reduction: a mean over these axes, a sum over the others."""
    known = [axis for axis in LOSS_AXES if axis in axes]
    if not known:
        return "sum"
    return f"mean over {' and '.join(known)}"


def loss_divisor(shape: Sequence[int], objective: Objective) -> float:
    """Return C of (L2), for outputs of this shape: 1 for a sum, the number of terms for
    a mean, or of those along the axes of a mean.
    """
    sizes = {"steps": shape[0], "batch": shape[-2], "outputs": shape[-1]}
    name = objective.reduction
    axes = loss_kind(objective).axes
    if name != "mean":
        axes = tuple(axis for axis in axes if axis in name.split())
        check_choice("reduction", name, ("mean", mean_over(axes)))
    C = 1.0
    for axis in axes:
        C *= sizes[axis]
    return C


def squared_error_terms(
    n: Operand, y: Operand, target: Operand
) -> tuple[Operand, Operand]:
    """Return the terms of the loss, and of dy, before the division by C."""
    error = y - target
    return n.constant(0.5) * error * error, error  # (L1), (B1)


def cross_entropy_terms(
    n: Operand, y: Operand, target: Operand
) -> tuple[Operand, Operand]:
    """Return the same of softmax cross-entropy; target: classes as rows of 0 and 1."""
    log_p, p = n.softmax(y)  # (L3)
    return -(target * log_p), p - target  # (L4), (B1)


# By the names of LOSS_KINDS.
LOSS_TERMS: dict[str, Callable[..., tuple[Operand, Operand]]] = {
    "squared_error": squared_error_terms,
    "cross_entropy": cross_entropy_terms,
}


def sech_squared(a: NumpyArray) -> NumpyArray:
    """Return tanh'(a) = 1/cosh²(a) without overflow.

    Where that is below 1e-300, it is something larger.
    """
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


def not_stated(*arrays: NumpyArray) -> NumpyArray:
    """Raise NotImplementedError: the row of a nonlinearity lacks a column it needs."""
    raise NotImplementedError


FunctionOfOne = Callable[[NumpyArray], NumpyArray]
FunctionOfTwo = Callable[[NumpyArray, NumpyArray], NumpyArray]


class Nonlinearity(NamedTuple):
    """φ, its slope, and what the rounding bounds need of them.

    `test_row_of_a_nonlinearity` compares every column with mpmath. With a kink at 0,
    only φ and its slope are used.

    The error of φ is τu(|h| + `roundings`). So `roundings` is 0 for a function of a
    library alone. For one that is composed, it is what a relative error of an inner
    function moves h by, at most. Where this is far smaller for some a, the bound is too
    wide there, and φ has to be written otherwise: log(1 + exp(a)) needs 1/2 at a = 0,
    and next to nothing at a = −20.
    """

    phi: FunctionOfOne  # of a, real or complex
    slope: FunctionOfTwo  # of a and h: φ'(a), from h where that is usual
    slope_of_a: FunctionOfOne  # φ'(a) from a; nothing cancels
    change: FunctionOfOne = not_stated  # of h: |∂ slope(a, h)/∂h|
    steepest: FunctionOfTwo = not_stated  # of a and E: the largest |φ'| within E of a
    curvature: float = 0.0  # the largest |φ''|/|φ'|
    roundings: float = 0.0
    has_kink: bool = False


def steepest_of_even(slope: FunctionOfOne) -> FunctionOfTwo:
    """Return the column `steepest` of a slope that is even and falls with |a|."""
    return lambda a, E: slope(np.maximum(np.abs(a) - E, 0))


def sigmoid_slope_of(a: NumpyArray) -> NumpyArray:
    """Return σ'(a)."""
    return sech_squared(a / 2) / 4


NONLINEARITIES = {
    "tanh": Nonlinearity(
        phi=np.tanh,
        slope=lambda a, h: 1 - h * h,
        slope_of_a=sech_squared,
        change=lambda h: 2 * np.abs(h),
        steepest=steepest_of_even(sech_squared),
        curvature=2.0,
    ),
    "relu": Nonlinearity(
        phi=lambda a: np.maximum(a, 0),
        slope=lambda a, h: (h.real > 0).astype(h.dtype),
        slope_of_a=lambda a: (a > 0) * 1.0,
        change=np.zeros_like,
        has_kink=True,
    ),
    "sigmoid": Nonlinearity(
        phi=lambda a: 0.5 + 0.5 * np.tanh(0.5 * a),
        slope=lambda a, h: h * (1 - h),
        slope_of_a=sigmoid_slope_of,
        change=lambda h: np.abs(1 - 2 * h),
        steepest=steepest_of_even(sigmoid_slope_of),
        curvature=1.0,
        roundings=0.5,  # ½ and ½ tanh(a/2) cancel
    ),
}


def nonlinearity_of(name: str) -> Nonlinearity:
    """Return the nonlinearity of this name. Raises InputError if there is none."""
    return choose(NONLINEARITIES, name, "nonlinearity")
