"""Rounding errors of single operations on inexact numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

UPWARDS = 1 + 1e-10  # covers the rounding of the bounds themselves, in float64, and the `low` of an enclosure
WIDER = 1 + 2.0**-10  # covers a rounding to a wider format before the one to the dtype: x87 has 11 bits more


def sech_squared(a) -> np.ndarray:
    """tanh'(a) = 1/cosh²(a) without overflow; where that is below 1e-300, something larger."""
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


class Near(NamedTuple):
    """Computed numbers: the exact values, to within the roundings of float64 that UPWARDS covers, and E."""

    value: Any
    E: Any

    @property
    def max_abs(self) -> Any:
        """The largest |ṽ|."""
        return np.abs(self.value) + self.E

    @property
    def mT(self) -> "Near":
        """Transposed."""
        return Near(self.value.mT, self.E.mT)

    @property
    def rows(self) -> "Near":
        """(..., T, B, N) → (..., T·B, N)."""
        return self.map(lambda array: array.reshape(*array.shape[:-3], -1, array.shape[-1]))

    def map(self, f: Callable[[np.ndarray], np.ndarray]) -> "Near":
        """f applied to both: a change of shape."""
        return Near(f(self.value), f(self.E))

    def at(self, index) -> "Near":
        """The entries at an index."""
        return Near(self.value[index], self.E[index])


def join(*parts: Near | None) -> Near:
    """The parts that are not None, along the last axis; the other axes are broadcast."""
    columns = []
    for arrays in zip(*(part for part in parts if part is not None)):
        shape = np.broadcast_shapes(*(array.shape[:-1] for array in arrays))
        columns.append(np.concatenate([np.broadcast_to(v, (*shape, v.shape[-1])) for v in arrays], axis=-1))
    return Near(*columns)


class Rounding:
    """The bounds of single operations in one dtype, each rounded upwards.

    An operation gives (exact result)(1 + δ) with |δ| ≤ u, or 0 if the result is below the smallest normal number and is
    flushed; 8 n · smallest normal is allowed for what n terms lose by that in their products, their sums and when they
    are read again. A term that is exactly 0 rounds nothing and is not counted, so that E = 0 for what every correct
    computation gives exactly.

    own: the unit roundoff of the value with which a result is compared, 0 if it is exact.
    """

    def __init__(self, dtype: Any, own: float = 0.0):
        limits = np.finfo(dtype)
        self.dtype, self.u, self.own = np.dtype(dtype), float(limits.eps) / 2 * WIDER, own
        self.smallest = float(limits.smallest_normal)

    def gamma(self, n):
        """γ_n, of a number or of an array of numbers."""
        return n * self.u / (1 - n * self.u) + n * self.own / (1 - n * self.own)

    def flushes(self, n):
        """The loss of n terms where subnormal numbers are flushed to zero."""
        return 8 * n * self.smallest

    def given(self, array) -> Near:
        """Numbers as they are: exact, but a subnormal one may be read as zero."""
        value = np.asarray(array, np.float64)
        size = np.abs(value)
        return Near(value, np.where(size < self.smallest, size, 0.0))

    def scalar(self, number: float) -> Near:
        """A number of float64 that may be rounded to the dtype: E is what that does to it."""
        value = np.asarray(number, np.float64)
        return Near(value, np.abs(np.float64(self.dtype.type(number)) - value) + self.given(value).E)

    def times(self, a: Near, b: Near) -> Near:
        """a ∘ b: E_a(|b|+E_b) + |a|E_b + u(|a|+E_a)(|b|+E_b). A product with exactly ±1 rounds nothing."""
        max_abs = a.max_abs * b.max_abs
        rounds = max_abs > 0
        for one in (a, b):
            rounds = rounds & ((np.abs(one.value) != 1) | (one.E != 0))
        own = self.gamma(1) * max_abs + self.flushes(1)
        return Near(a.value * b.value, (a.E * b.max_abs + np.abs(a.value) * b.E + own * rounds) * UPWARDS)

    def plus(self, a: Near, b: Near) -> Near:
        """a + b: E_a + E_b + u(|a+b| + E_a + E_b). A sum with exactly 0 rounds nothing."""
        value, inherited = a.value + b.value, a.E + b.E
        rounds = (a.max_abs > 0) & (b.max_abs > 0)
        own = self.gamma(1) * (np.abs(value) + inherited) + self.flushes(1)
        return Near(value, (inherited + own * rounds) * UPWARDS)

    def product(self, A: Near, B: Near) -> Near:
        """The product of matrices AB: γ_n (|A|+E_A)(|B|+E_B) + E_A|B| + |A|E_B + E_A E_B. Source: Higham, (3.13)."""
        A_max, B_max = A.max_abs, B.max_abs
        n = (A_max > 0).astype(np.float64) @ (B_max > 0)
        E = self.gamma(n) * (A_max @ B_max) + A.E @ B_max + np.abs(A.value) @ B.E + self.flushes(n)
        return Near(A.value @ B.value, E * UPWARDS)

    def sum(self, v: Near) -> Near:
        """The sum over the rows, the last axis but one: γ_{n−1} Σ(|v|+E) + ΣE. Source: Higham, (4.4)."""
        max_abs = v.max_abs
        n = (max_abs > 0).sum(-2)
        E = self.gamma(np.maximum(n - 1, 0)) * max_abs.sum(-2) + v.E.sum(-2) + self.flushes(n)
        return Near(v.value.sum(-2), E * UPWARDS)
