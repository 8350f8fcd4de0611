"""The rounding of (R1), a band of k steps: of dh, da, dW_xh, dW_hh and db_h, from dy, the states and the inputs.

A program may keep the part of every loss by itself, as rnnlm does, and add up outer products; or it adds the parts of
all losses at a step before a product. The parts g_{t,j} of da may cancel in the sum, so their magnitudes are kept
apart: with M_j ≥ |g_j| from |δ_{j−1}| |W_hh|ᵀ, a sum over the lags in any order, before or after a product, is off by
γ_k Σ_j M_j at most, and a sum of n products over steps, sequences and lags by γ_{n+k} Σ |x| |δ|.

Both levels take these formulas: at L2 with the errors of dy and of the states, at L1 from the reported ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.conformance.bounds.rounding import UPWARDS, Rounded, Rounding

SLACK = UPWARDS - 1  # of a value of float64 that may cancel, relative to the sum of its magnitudes


class Part(NamedTuple):
    """Of one lag: the values, and what is known of the errors of g or δ, whose magnitude is M at most."""

    value: np.ndarray
    near: Rounded
    M: np.ndarray


class Band:
    """The lags of a band: dy (.., T, B, O) and its error, the slopes φ'(a) (.., T, B, H), their error and roundings."""

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
