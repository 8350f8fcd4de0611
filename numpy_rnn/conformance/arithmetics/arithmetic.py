"""The operations that the definition is written in, and the table of its
nonlinearities.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import NumpyArray, Objective, Value
from numpy_rnn.conformance.case import LOSS_AXES, SHAPES, loss_kind

AnyDtype = npt.DTypeLike
# Numbers: an array, whose operators round or carry a bound as its arithmetic does.
Operand = Any
LossTerms = tuple[Operand, Operand]
Operation = Callable[..., Operand]


class Arithmetic:
    """The numbers of one window. dtype: of the parameters, to which the rate is
    rounded.

    axes: the number of leading axes of the parameters, those of networks or updates.
    seen: the tensors so far, by their names and steps. Operations with a name are those
    whose correct forms differ, or which other numbers compute otherwise; + − × are the
    operators of the numbers.
    """

    dtype: np.dtype[Any]
    axes: int
    seen: dict[str, dict[int | None, Operand]]

    from_input: Operation  # (array): an input
    zeros: Operation  # (value): like a value
    stack: Operation  # (values): of several steps, time first

    # The sum of products of matrices and of a bias, and over steps and sequences, in
    # any order.
    affine: Operation  # (products, bias)
    total: Operation  # (steps)

    # φ(a); dh ∘ φ'(a) by any factorisation.
    phi: Operation  # (a, nonlinearity)
    by_slope: Operation  # (dh, a, h, nonlinearity)

    # Of rows: log p and p of the outputs. The sum over all rows divided by C, and
    # numbers divided by C.
    softmax: Operation  # (y)
    mean: Operation  # (terms, C)
    divided: Operation  # (values, C)

    # An option, rounded to the dtype or not; η, rounded, with the axes of a parameter.
    constant: Operation  # (number)
    rate: Operation  # (step, theta)

    # The norm of all gradients of a network, the factor that clips; ±max_value; g over
    # the root.
    norm: Operation  # (gradients)
    factor: Operation  # (norm, max_norm)
    clip: Operation  # (g, max_value)
    by_root: Operation  # (g, squares)

    def loss_and_error(
        self, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Operand, Operand]:
        """Return L and dy of the steps with a loss, (K, ..., B, O)."""
        C = loss_divisor(y.shape, objective)
        terms, errors = choose(LOSS_TERMS, objective.loss, "loss")(self, y, target)
        return self.mean(terms, C), self.divided(errors, C)  # (L2), (B1)

    def record(self, name: str, t: int | None, value: Operand) -> Operand:
        """Note a tensor at a step, and return the value with which the equations
        continue.
        """
        self.seen.setdefault(name, {})[t] = value
        return value

    def report(self) -> dict[str, Operand]:
        """Return the tensors by name, in causal order. Those with steps have the axis
        of time first.
        """
        found = dict[str, Operand]()
        for name in (name for name in SHAPES if name in self.seen):
            steps: Operand = self.seen[name]
            values = [steps[t] for t in sorted(steps)]
            found[name] = values[0] if None in steps else self.stack(values)
        self.seen = {}  # arrays refer to their arithmetic: such a cycle is freed late
        return found

    def with_axes(self, array: NumpyArray) -> NumpyArray:
        """Return an array (B, N) that all networks share as (1, .., 1, B, N)."""
        return array.reshape(*(1,) * (self.axes + 2 - array.ndim), *array.shape)

    def expand(self, per_network: Operand, array: Operand) -> Operand:
        """Return a number per network, with the axes of an array of all networks."""
        if not np.ndim(per_network):
            return per_network
        return per_network.reshape(
            *per_network.shape, *(1,) * (array.ndim - per_network.ndim)
        )


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
    name, axes = objective.reduction, loss_kind(objective).axes
    if name != "mean":
        axes = tuple(axis for axis in axes if axis in name.split())
        check_choice("reduction", name, ("mean", mean_over(axes)))
    C = 1.0
    for axis in axes:
        C *= sizes[axis]
    return C


def squared_error_terms(n: Arithmetic, y: Operand, target: Operand) -> LossTerms:
    """Return the terms of the loss, and of dy, before the division by C."""
    error = y - target
    return n.constant(0.5) * error * error, error  # (L1), (B1)


def cross_entropy_terms(n: Arithmetic, y: Operand, target: Operand) -> LossTerms:
    """Return the same of softmax cross-entropy; target: classes as rows of 0 and 1."""
    log_p, p = n.softmax(y)  # (L3)
    return -(target * log_p), p - target  # (L4), (B1)


# By the names of LOSS_KINDS.
LOSS_TERMS: dict[str, Callable[[Arithmetic, Operand, Operand], LossTerms]] = {
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


class Nonlinearity(NamedTuple):
    """φ, its slope, and what the rounding bounds need of them.

    `test_row_of_a_nonlinearity` compares every column with mpmath. With a kink at 0,
    only φ and its slope are used.
    """

    phi: Operation  # (a), of any numbers
    slope: Operation  # (a, h): φ'(a), from h where that is usual
    slope_of_a: Callable[[NumpyArray], NumpyArray]  # the same; nothing cancels
    change: Operation = not_stated  # (h): |∂ slope(a, h)/∂h|
    steepest: Operation = not_stated  # (a, E): the largest |φ'| within E of a
    curvature: float = 0.0  # the largest |φ''|/|φ'|
    roundings: float = 0.0  # those of φ are in units of |h| and this
    has_kink: bool = False


def steepest_of_even(
    slope: Callable[[NumpyArray], NumpyArray],
) -> Callable[[NumpyArray, NumpyArray], NumpyArray]:
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
