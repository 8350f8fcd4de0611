"""The operations that the definition is written in, on arrays of NumPy, real or
complex, and the tables of its nonlinearities and losses.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod
from operator import add
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import NumpyArray, Objective, Step
from numpy_rnn.conformance.case import LOSS_AXES, SHAPES, loss_kind

# The numbers of the equations, which run in any arithmetic, and the arithmetic.
Operand = Any
AnyDtype = npt.DTypeLike
NORM_OFFSET = 1e-6  # added to the norm, (U3)
ADAGRAD_OFFSET = 1e-8  # added to the sum of squares, (U9)


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
    return float(prod(sizes[axis] for axis in axes))


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
    raise NotImplementedError("this nonlinearity lacks change or steepest")


def products_of_h(c: NumpyArray) -> NumpyArray:
    """Return the terms that round in 1 − h², or in h(1 − h), for |h| up to c."""
    terms: NumpyArray = np.maximum(c, c**2)
    return terms


FunctionOfOne = Callable[[NumpyArray], NumpyArray]
FunctionOfTwo = Callable[[NumpyArray, NumpyArray], NumpyArray]


class Nonlinearity(NamedTuple):
    """φ, its slope, and what the rounding bounds need of them.

    tests/conformance/test_bounds_by_mpmath.py compares every column with mpmath. With a
    kink at 0, only φ and its slope are used.

    The error of φ is τu(|h| + `roundings`). So `roundings` is 0 for a function of a
    library alone. For one that is composed, it is what a relative error of an inner
    function moves h by, at most, within E of a. log1p(exp(a)) needs the logistic
    function of a + E, which is ½ at a = 0, and next to nothing at a = −20.

    `slope_roundings` is the same of a slope from h, in units of γ_2, and a function of
    c, the largest |h|.
    """

    phi: FunctionOfOne  # of a, real or complex
    slope: FunctionOfTwo  # of a and h: φ'(a), from h where that is usual
    slope_of_a: FunctionOfOne  # φ'(a) from a; nothing cancels
    # Of h: |∂ slope(a, h)/∂h|; the second derivative by h is 2 at most.
    change: FunctionOfOne = not_stated
    steepest: FunctionOfTwo = not_stated  # of a and E: the largest |φ'| within E of a
    curvature: float = 0.0  # the largest |φ''|/|φ'|
    roundings: FunctionOfTwo = lambda a, E: np.zeros_like(a)
    slope_roundings: FunctionOfOne = products_of_h
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
        roundings=lambda a, E: np.full_like(a, 0.5),  # ½ and ½ tanh(a/2) cancel
    ),
}


def nonlinearity_of(name: str) -> Nonlinearity:
    """Return the nonlinearity of this name. Raises InputError if there is none."""
    check_choice("nonlinearity", name, tuple(NONLINEARITIES))
    return NONLINEARITIES[name]


class NumpyArithmetic:
    """Arrays of floats, or of complex numbers.

    Operations with a name are those whose correct forms differ, or which other numbers
    compute otherwise; + − × are the operators of the numbers.

    Attributes
    ----------
    dtype : dtype
        That of the parameters, to which the learning rate is rounded.
    axes : int
        The number of leading axes of the parameters, those of networks or updates;
        `window_update` sets it.
    reported : dict
        Tensors from which the equations continue, instead of those computed here.
    tensors : dict
        The tensors so far, by their names and steps.
    """

    def __init__(
        self, dtype: AnyDtype, reported: Mapping[str, NumpyArray] | None = None
    ):
        """Begin a window of one network."""
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.axes = 0
        self.reported = reported or {}
        self.tensors = dict[str, dict[int | None, Operand]]()

    def from_input(self, array: Operand, error: Operand = 0.0) -> Operand:
        """Return numbers of the case, as they are."""
        return array

    def stack(self, values: Sequence[Operand]) -> Operand:
        """Return values of steps as one array, time first."""
        return np.stack(np.broadcast_arrays(*values, subok=True))

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
        return np.maximum(-max_value, np.minimum(max_value, g))  # (U7)

    def by_root(self, g: Operand, squares: Operand) -> Operand:
        """Return g over the root of the sum of squares."""
        return g / np.sqrt(squares + ADAGRAD_OFFSET)  # (U9)

    def loss_and_error(
        self, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Operand, Operand]:
        """Return L and dy of the steps with a loss, (K, ..., B, O)."""
        C = loss_divisor(y.shape, objective)
        terms, errors = LOSS_TERMS[objective.loss](self, y, target)
        return self.mean(terms, C), self.divided(errors, C)  # (L2), (B1)

    def pass_on(self, name: str, t: int | None, value: Operand) -> Operand:
        """Note a tensor at a step, and return what the equations after it continue
        from: the value, or at L1 what is reported in its place.
        """
        self.tensors.setdefault(name, {})[t] = value
        if name not in self.reported:
            return value
        reported = self.reported[name] if t is None else self.reported[name][t - 1]
        return self.from_input(np.broadcast_to(reported, value.shape))

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

    def with_axes(self, array: NumpyArray) -> NumpyArray:
        """Return an array (B, N) that all networks share as (1, .., 1, B, N)."""
        return array[(np.newaxis,) * (self.axes + 2 - array.ndim)]

    def expand(self, per_network: Operand, array: Operand) -> Operand:
        """Return a number per network, with the axes of an array of all networks."""
        if not np.ndim(per_network):
            return per_network
        return per_network[..., *(np.newaxis,) * (array.ndim - per_network.ndim)]


def join(parts: Sequence[NumpyArray], axis: int) -> NumpyArray:
    """Return the parts along one of the last two axes; leading ones are broadcast."""
    arrays = [np.asarray(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    leading = np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
    wide = [np.broadcast_to(array, leading + array.shape[-2:]) for array in arrays]
    return np.concatenate(wide, axis=axis)
