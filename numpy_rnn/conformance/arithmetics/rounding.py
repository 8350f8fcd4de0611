"""Rounding errors of single operations on inexact numbers.

Notation: v the value, ṽ what is computed, |ṽ − v| ≤ E; u the unit roundoff; γ_n =
n·u/(1 − n·u).

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: sections
2.2 (the model of arithmetic), 3.1 to 3.5 (γ_n; inner products and products of matrices,
in any order; how relative errors of products and quotients add up) and 4.2 (sums).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.arithmetics.arithmetic import AnyDtype, NumpyArithmetic, join

Real = NumpyArray | float

UPWARDS = 1 + 1e-10  # covers the rounding of the bounds themselves, in float64
# Covers a rounding to a wider format before the one to the dtype: x87 has 11 bits more.
WIDER = 1 + 2.0**-10


class Rounding(NumpyArithmetic):
    """The operations that bounds are made of, in one dtype; each is rounded upwards.

    An operation gives (exact result)(1 + δ) with |δ| ≤ u, or 0 if the result is below
    the smallest normal number and is flushed; 8 n · smallest normal is allowed for what
    n terms lose by that in their products, their sums and when they are read again. A
    term that is exactly 0 rounds nothing and is not counted, so that E = 0 for what
    every correct computation gives exactly.

    checker_u: the unit roundoff of float64, in which the value is computed that a
    result is compared to.
    """

    def __init__(
        self, dtype: AnyDtype, reported: Mapping[str, NumpyArray] | None = None
    ):
        """Make the rounding of a dtype."""
        super().__init__(dtype, reported)
        limits = np.finfo(dtype)
        self.u = float(limits.eps) / 2 * WIDER
        self.checker_u = 2.0**-53
        self.smallest = float(limits.smallest_normal)
        self.largest = float(limits.max)

    def gamma(self, n: Real) -> Real:
        """Return γ_n, of a number or an array; infinity where n·u is too large to say
        anything.
        """
        gamma: Real = 0.0
        for u in (self.u, self.checker_u):
            nu = np.multiply(n, u)
            gamma = gamma + np.where(nu < 0.5, nu / (1 - np.minimum(nu, 0.5)), np.inf)
        return gamma

    def flushes(self, n: Real) -> Real:
        """Return the loss of n terms where subnormal numbers are flushed to zero."""
        return 8 * n * self.smallest

    def bounded(self, value: NumpyArray, E: NumpyArray) -> "BoundedArray":
        """Return the numbers of a result; its bound is rounded upwards."""
        return BoundedArray(value, E * UPWARDS, self)

    def from_input(
        self, array: npt.ArrayLike, error: NumpyArray | float = 0.0
    ) -> "BoundedArray":
        """Return numbers with this error; a subnormal one may be read as zero."""
        value = np.asarray(array, np.float64)
        size = np.abs(value)
        E = np.where(size < self.smallest, size, 0.0) + error
        return BoundedArray(value, E, self)

    def constant(self, number: float) -> "BoundedArray":
        """Return a number of float64 that may be rounded to the dtype: E is what that
        does to it.
        """
        value = np.asarray(number, np.float64)
        with np.errstate(over="ignore"):
            rounded = np.asarray(number, self.dtype).astype(np.float64)
        return BoundedArray(
            value, np.abs(rounded - value) + self.from_input(value).E, self
        )

    def join(self, parts: Sequence["BoundedArray"], axis: int) -> "BoundedArray":
        """Return the parts along one of the last two axes; the leading axes are
        broadcast.
        """
        value = join([part.value for part in parts], axis)
        E = join([part.E for part in parts], axis)
        return BoundedArray(value, E, self)

    def product(self, A: "BoundedArray", B: "BoundedArray") -> "BoundedArray":
        """Return AB, with E = γ_n (|A|+E_A)(|B|+E_B) + E_A|B| + |A|E_B + E_A E_B.

        Source: Higham, (3.13).
        """
        A_max = A.max_abs
        B_max = B.max_abs
        n: Real = float(A_max.shape[-1])
        if not (A_max.all() and B_max.all()):
            n = (A_max > 0).astype(np.float64) @ (B_max > 0)
        if np.ndim(n):
            E = self.gamma(n) * (A_max @ B_max) + A.E @ B_max
        else:
            E = (self.gamma(n) * A_max + A.E) @ B_max
        return self.bounded(
            A.value @ B.value, E + np.abs(A.value) @ B.E + self.flushes(n)
        )

    def sum(
        self, v: "BoundedArray", axes: int | tuple[int, ...] = -2
    ) -> "BoundedArray":
        """Return the sum over these axes: γ_{n−1} Σ(|v|+E) + ΣE. Source: Higham,
        (4.4).
        """
        max_abs = v.max_abs
        n = (max_abs > 0).sum(axes)
        rounding = self.gamma(np.maximum(n - 1, 0)) * max_abs.sum(axes)
        rounding = rounding + self.flushes(n)
        return self.bounded(v.value.sum(axes), v.E.sum(axes) + rounding)


class BoundedArray:
    """Computed numbers: values, and the largest distance E of what a correct
    computation gives.
    """

    __slots__ = ("E", "rounding", "value")
    __array_ufunc__ = None  # an array of NumPy leaves the operators to this class

    def __init__(self, value: NumpyArray, E: NumpyArray, rounding: Rounding):
        """Make numbers of a rounding, with their bounds E."""
        self.value = value
        self.E = E
        self.rounding = rounding

    max_abs = property(lambda self: np.abs(self.value) + self.E)  # the largest |ṽ|
    mT = property(lambda self: self.map(lambda array: array.mT))
    ndim = property(lambda self: self.value.ndim)
    shape = property(lambda self: self.value.shape)

    def map(self, f: Callable[[NumpyArray], NumpyArray]) -> "BoundedArray":
        """Apply f, a change of shape, to both."""
        return BoundedArray(f(self.value), f(self.E), self.rounding)

    def reshape(self, *shape: int) -> "BoundedArray":
        """Return the numbers in another shape."""
        return self.map(lambda array: array.reshape(shape))

    def __getitem__(self, index: Any) -> "BoundedArray":
        """Return some of the numbers."""
        return self.map(lambda array: array[index])

    def __mul__(self, other: "BoundedArray") -> "BoundedArray":
        """Return ab, with E = E_a(|b|+E_b) + |a|E_b + u(|a|+E_a)(|b|+E_b).

        A product with ±1 rounds nothing.
        """
        max_abs = self.max_abs * other.max_abs
        rounds = max_abs > 0
        for factor in (self, other):
            rounds = rounds & ((np.abs(factor.value) != 1) | (factor.E != 0))
        error = self.rounding.gamma(1) * max_abs + self.rounding.flushes(1)
        inherited = self.E * other.max_abs + np.abs(self.value) * other.E
        value = self.value * other.value
        return self.rounding.bounded(value, inherited + error * rounds)

    def __add__(self, other: "BoundedArray") -> "BoundedArray":
        """Return a + b, with E = E_a + E_b + u(|a+b| + E_a + E_b).

        A sum with exactly 0 rounds nothing.
        """
        value = self.value + other.value
        inherited = self.E + other.E
        error = self.rounding.gamma(1) * (np.abs(value) + inherited)
        error = error + self.rounding.flushes(1)
        rounds = (self.max_abs > 0) & (other.max_abs > 0)
        return self.rounding.bounded(value, inherited + error * rounds)

    def __sub__(self, other: "BoundedArray") -> "BoundedArray":
        """Return the difference, with the bound of a sum."""
        return self + -other

    def __neg__(self) -> "BoundedArray":
        """Return the negated numbers, which rounds nothing."""
        return BoundedArray(-self.value, self.E, self.rounding)


def root_of_squares(v: NumpyArray, axis: int | tuple[int, ...]) -> NumpyArray:
    """Return √Σv² along axes that are kept, of numbers scaled so that no square leaves
    float64's range.
    """
    _, exponent = np.frexp(np.abs(v).max(axis=axis, keepdims=True))
    squares = np.square(np.ldexp(v, -exponent)).sum(axis=axis, keepdims=True)
    root: NumpyArray = np.ldexp(np.sqrt(squares), exponent)
    return root
