"""Rounding errors of single operations on inexact numbers, and of the sums of a band of k steps, (R1).

Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E; u the unit roundoff; γ_n = n·u/(1 − n·u).

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: section 2.2 (the model of arithmetic), 3.1
to 3.5 (γ_n, inner products, products of matrices) and 4.2 (sums).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

UPWARDS = 1 + 1e-10  # covers the rounding of the bounds themselves, in float64, and the `low` of an enclosure
WIDER = 1 + 2.0**-10  # covers a rounding to a wider format before the one to the dtype: x87 has 11 bits more


def sech_squared(a) -> np.ndarray:
    """tanh'(a) = 1/cosh²(a) without overflow; where that is below 1e-300, something larger."""
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


@dataclass(frozen=True, slots=True)
class Rounded:
    """What is known of computed numbers: the size |v| of the exact ones, and E."""

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
        """(T, B, N) → (T·B, N)."""
        return self.map(lambda array: array.reshape(-1, array.shape[-1]))

    def map(self, f: Callable[[np.ndarray], np.ndarray]) -> "Rounded":
        """f of both: of a change of shape, or a division without a rounding."""
        return Rounded(f(self.size), f(self.E))

    def __getitem__(self, index) -> "Rounded":
        return Rounded(self.size[index], self.E[index])


def join(*parts: Rounded | None, axis: int) -> Rounded:
    """The parts that are there, along one axis."""
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
        """What n terms lose where subnormal numbers are flushed to zero."""
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
        """E of the sum over the first axis: γ_{n−1} Σ(|v|+E) + ΣE. Source: Higham, (4.4)."""
        max_abs = v.max_abs
        n = (max_abs > 0).sum(0)
        return (self.gamma(np.maximum(n - 1, 0)) * max_abs.sum(0) + v.E.sum(0) + self.flushes(n)) * UPWARDS


SLACK = UPWARDS - 1  # of a value of float64 that may cancel, relative to the sum of its magnitudes


class Part(NamedTuple):
    """Of one lag: the values, and what is known of the errors of g or δ, whose magnitude is M at most."""

    value: np.ndarray
    near: Rounded
    M: np.ndarray


class Band:
    """The rounding of (R1), a band of k steps: of dh, da, dW_xh, dW_hh and db_h, from dy, the states and the inputs.

    A program may keep the part of every loss by itself, as rnnlm does, and add up outer products; or it adds the parts
    of all losses at a step before a product. The parts g_{t,j} of da may cancel in the sum, so their magnitudes are
    kept apart: with M_j ≥ |g_j| from |δ_{j−1}| |W_hh|ᵀ, a sum over the lags in any order, before or after a product, is
    off by γ_k Σ_j M_j at most, and a sum of n products over steps, sequences and lags by γ_{n+k} Σ |x| |δ|.

    Both levels take these formulas: at L2 with the errors of dy and of the states, at L1 from the reported ones. dy is
    (.., T, B, O), and slope, φ'(a), is (.., T, B, H); `roundings` are those of a product with it.
    """

    def __init__(self, rounding: Rounding, dy: np.ndarray, E_dy: np.ndarray, slope: np.ndarray, E_slope: np.ndarray,
                 roundings: int, W_hy: np.ndarray, W_hh: np.ndarray, k: int):  # fmt: skip
        self.rounding, self.k = rounding, k
        near = Rounded(slope, E_slope)
        g = self._product(dy, Rounded(np.abs(dy), E_dy), np.abs(dy) + E_dy, W_hy.mT)
        self.dh_parts: list[Part] = []
        self.da_parts: list[Part] = []
        for _ in range(k):
            steps = g.value.shape[-3]
            s = near[..., :steps, :, :]
            delta = Part(
                g.value * slope[..., :steps, :, :],
                Rounded(g.near.size * s.size, rounding.each(g.near, s, roundings)),
                np.maximum(g.M, g.near.max_abs) * s.max_abs * (1 + 4 * rounding.u),
            )
            self.dh_parts.append(g)
            self.da_parts.append(delta)
            if steps == 1:
                break
            later = Part(*(delta.value[..., 1:, :, :], delta.near[..., 1:, :, :], delta.M[..., 1:, :, :]))
            g = self._product(later.value, later.near, later.M, W_hh.mT)

    def _product(self, value, near, M, W):
        """A part after a product with a matrix."""
        size = M @ np.abs(W)
        after = value @ W
        E = self.rounding.product(near, self.rounding.given(W))
        return Part(after, Rounded(np.abs(after) + SLACK * size, E), size)

    def summed(self, parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
        """The sum over the lags, of dh or da, and its error."""
        value, E, M = (np.zeros_like(parts[0].value) for _ in range(3))
        for part in parts:
            steps = part.value.shape[-3]
            value[..., :steps, :, :] += part.value
            E[..., :steps, :, :] += part.near.E
            M[..., :steps, :, :] += np.maximum(part.M, part.near.max_abs)
        return value, (E + self.rounding.gamma(self.k) * M + self.rounding.flushes(self.k)) * UPWARDS

    def over_steps(self, v: np.ndarray, E_v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Σ_t v_tᵀ da_t and its error: (.., T, B, N) → (.., N, H)."""
        value, E, M = (np.zeros((*v.shape[:-3], v.shape[-1], self.da_parts[0].value.shape[-1])) for _ in range(3))
        n = 0
        for part in self.da_parts:
            steps = part.value.shape[-3]
            left, E_left = (_rows(array[..., :steps, :, :]).mT for array in (v, E_v))
            right, E_right, largest = (_rows(array) for array in (part.value, part.near.E, part.M))
            largest = np.maximum(largest, np.abs(right) + E_right)
            value = value + left @ right
            E = E + E_left @ largest + np.abs(left) @ E_right
            M = M + (np.abs(left) + E_left) @ largest
            n = n + left.shape[-1]
        return value, (E + self.rounding.gamma(n + self.k) * M + self.rounding.flushes(n)) * UPWARDS

    def over_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Σ_{t,b} da_t and its error: (.., H)."""
        ones = np.ones((*self.da_parts[0].value.shape[:-1], 1))
        value, E = self.over_steps(ones, np.zeros_like(ones))
        return value[..., 0, :], E[..., 0, :]


def _rows(array):
    """(.., T, B, N) → (.., T·B, N)."""
    return array.reshape(*array.shape[:-3], -1, array.shape[-1])
