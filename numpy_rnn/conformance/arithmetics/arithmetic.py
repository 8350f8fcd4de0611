"""The operations that the definition is written in, and the table of its
nonlinearities.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import NumpyArray, Objective, Step, T
from numpy_rnn.conformance.case import LOSS_AXES, SHAPES, loss_kind

AnyDtype = npt.DTypeLike
# numbers: an array, whose operators round or carry a bound as its arithmetic does
Operand = Any


class Arithmetic(Protocol):
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

    def from_input(self, array: NumpyArray) -> Operand: ...  # an input
    def zeros(self, value: Operand) -> Operand: ...  # like a value
    def stack(
        self, values: Sequence[Operand]
    ) -> Operand: ...  # of several steps, time first

    # The sum of products of matrices and of a bias, and over steps and sequences, in
    # any order.
    def affine(self, products: Any, bias: Operand | None = None) -> Operand: ...
    def total(self, steps: Sequence[Operand]) -> Operand: ...

    # φ(a); dh ∘ φ'(a) by any factorisation; L and dy of the steps with a loss, (K, ...,
    # B, O).
    def phi(self, a: Operand, nonlinearity: str) -> Operand: ...
    def by_slope(
        self, dh: Operand, a: Operand, h: Operand, nonlinearity: str
    ) -> Operand: ...
    def loss_and_error(
        self, y: Operand, target: Operand, objective: Objective
    ) -> Operand: ...

    # An option, rounded to the dtype or not; η, rounded, with the axes of a parameter.
    def constant(self, number: float) -> Operand: ...
    def rate(self, step: Step, theta: Operand) -> Operand: ...

    # The norm of all gradients of a network, the factor that clips; ±max_value; g over
    # the root.
    def norm(self, gradients: Sequence[Operand]) -> Operand: ...
    def factor(self, norm: Operand, max_norm: float) -> Operand: ...
    def clip(self, g: Operand, max_value: float) -> Operand: ...
    def by_root(self, g: Operand, squares: Operand) -> Operand: ...

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


def choose(table: Mapping[str, T], name: str, what: str) -> T:
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
    axes = loss_kind(objective).axes
    parts: dict[str, tuple[str, ...]] = {"sum": (), "mean": axes}
    for count in range(1, len(axes) + 1):
        for each in itertools.combinations(axes, count):
            parts[mean_over(each)] = each
    C = 1.0
    for axis in choose(parts, objective.reduction, "reduction"):
        C *= sizes[axis]
    return C


def sech_squared(a: NumpyArray) -> NumpyArray:
    """tanh'(a) = 1/cosh²(a) without overflow; where that is below 1e-300, something
    larger.
    """
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


class Nonlinearity(NamedTuple):
    """φ and its slope, which is even, falls with |a|, and |φ''| ≤ 2 φ'; or has a kink
    at 0.
    """

    phi: Callable[[NumpyArray], NumpyArray]  # of any numbers
    slope: Callable[[NumpyArray, NumpyArray], NumpyArray]  # φ'(a), from a and h
    slope_of_a: Callable[
        [NumpyArray], NumpyArray
    ]  # the same from a, in which nothing cancels
    change: Callable[[NumpyArray], NumpyArray]  # |∂ slope(a, h)/∂h|, from h
    unit: float = (
        0.0  # roundings of φ are in units of |h| and this, a term that cancels
    )
    has_kink: bool = False

    def steepest(self, a: NumpyArray, E: NumpyArray) -> NumpyArray:
        """Return the largest φ' within E of a."""
        return self.slope_of_a(np.maximum(np.abs(a) - E, 0))


NONLINEARITIES = {
    "tanh": Nonlinearity(
        np.tanh, lambda a, h: 1 - h * h, sech_squared, lambda h: 2 * np.abs(h)
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
        slope_of_a=lambda a: sech_squared(a / 2) / 4,
        change=lambda h: np.abs(1 - 2 * h),
        unit=0.5,
    ),
}


def nonlinearity_of(name: str) -> Nonlinearity:
    """Return the nonlinearity of this name. Raises InputError if there is none."""
    return choose(NONLINEARITIES, name, "nonlinearity")
