"""Rounding errors of single operations on inexact numbers.

Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E; u the unit roundoff; γ_n = n·u/(1 − n·u).

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: section 2.2 (the model of arithmetic), 3.1
to 3.5 (γ_n, inner products, products of matrices) and 4.2 (sums).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

UPWARDS = 1 + 1e-10  # covers the rounding of the bounds themselves, in float64, and the `low` of an enclosure
WIDER = 1 + 2.0**-10  # covers a rounding to a wider format before the one to the dtype: x87 has 11 bits more


def sech_squared(a) -> np.ndarray:
    """tanh'(a) = 1/cosh²(a) without overflow; where that is below 1e-300, something larger."""
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


@dataclass(frozen=True, slots=True)
class Rounded:
    """Computed numbers: the size |v| of the exact ones, and E."""

    size: np.ndarray
    E: np.ndarray

    @property
    def max_abs(self) -> np.ndarray:
        """The largest |ṽ|."""
        return self.size + self.E

    @property
    def mT(self) -> "Rounded":
        """Transposed."""
        return Rounded(self.size.mT, self.E.mT)

    @property
    def rows(self) -> "Rounded":
        """(..., T, B, N) → (..., T·B, N)."""
        return self.map(lambda array: array.reshape(*array.shape[:-3], -1, array.shape[-1]))

    def map(self, f: Callable[[np.ndarray], np.ndarray]) -> "Rounded":
        """f applied to both: a change of shape, or a division without a rounding."""
        return Rounded(f(self.size), f(self.E))

    def __getitem__(self, index) -> "Rounded":
        return Rounded(self.size[index], self.E[index])


def join(*parts: Rounded | None, axis: int) -> Rounded:
    """The parts that are not None, along one axis."""
    present = [part for part in parts if part is not None]
    size = np.concatenate([part.size for part in present], axis)
    return Rounded(size, np.concatenate([part.E for part in present], axis))


class Rounding:
    """The bounds of single operations in one dtype, each rounded upwards.

    An operation gives (exact result)(1 + δ) with |δ| ≤ u, or 0 if the result is below the smallest normal number and is
    flushed; 8 n · smallest normal is allowed for what n terms lose by that in their products, their sums and when they
    are read again. A term that is exactly 0 rounds nothing and is not counted, so that E = 0 for what every correct
    computation gives exactly.
    """

    def __init__(self, dtype):
        limits = np.finfo(dtype)
        self.u = float(limits.eps) / 2 * WIDER
        self.smallest = float(limits.smallest_normal)

    def gamma(self, n):
        """γ_n, of a number or of an array of numbers."""
        return n * self.u / (1 - n * self.u)

    def flushes(self, n):
        """The loss of n terms where subnormal numbers are flushed to zero."""
        return 8 * n * self.smallest

    def given(self, array) -> Rounded:
        """Numbers of the case: exact, but a subnormal one may be read as zero."""
        size = np.abs(np.asarray(array, np.float64))
        return Rounded(size, np.where(size < self.smallest, size, 0.0))

    def product(self, A: Rounded, B: Rounded) -> np.ndarray:
        """E of the product of matrices AB: γ_n (|A|+E_A)(|B|+E_B) + E_A|B| + |A|E_B + E_A E_B.

        n counts, for every element, the terms that are not 0. Source: Higham, (3.13).
        """
        A_max, B_max = A.max_abs, B.max_abs
        n = (A_max > 0).astype(np.float64) @ (B_max > 0)
        return (self.gamma(n) * (A_max @ B_max) + A.E @ B_max + A.size @ B.E + self.flushes(n)) * UPWARDS

    def each(self, A: Rounded, B: Rounded, roundings: int) -> np.ndarray:
        """E of the product A ∘ B, element by element; relu' is 0 or 1 and rounds nothing."""
        max_abs = A.max_abs * B.max_abs
        return (self.gamma(roundings) * max_abs + A.E * B.max_abs + A.size * B.E + self.flushes(max_abs > 0)) * UPWARDS

    def again(self, v: Rounded, roundings: int) -> np.ndarray:
        """E of ṽ after so many more roundings."""
        max_abs = v.max_abs
        return (v.E + self.gamma(roundings) * max_abs + self.flushes(max_abs > 0)) * UPWARDS

    def sum(self, v: Rounded) -> np.ndarray:
        """E of the sum over the rows, the last axis but one: γ_{n−1} Σ(|v|+E) + ΣE. Source: Higham, (4.4)."""
        max_abs = v.max_abs
        n = (max_abs > 0).sum(-2)
        return (self.gamma(np.maximum(n - 1, 0)) * max_abs.sum(-2) + v.E.sum(-2) + self.flushes(n)) * UPWARDS
