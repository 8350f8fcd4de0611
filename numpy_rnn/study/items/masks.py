"""A truncation is a 0/1 mask on the item matrix (DERIVATION.md, section 5)."""

import numpy as np

from numpy_rnn.common.records import Gradients
from numpy_rnn.common.windows import windows
from numpy_rnn.loss import DIVISORS


def mask(T: int, k1: int, k2: int) -> np.ndarray:
    """(T, T): 1 at [t-1, s-1] where TBPTT(k1, k2) keeps the item of (t, s), e_{n-1} < t ≤ e_n and s_n < s ≤ t; else 0.

    Raises InputError unless 1 ≤ k1 ≤ k2.
    """
    return weights(T, k1, k2)


def weights(T: int, k1: int, k2: int, reduction: str = "sum", B: int = 1, O: int = 1) -> np.ndarray:
    """The mask; under "mean" every row divided by the K·B·O of the update that counts it.

    Raises InputError unless 1 ≤ k1 ≤ k2, and on an unknown reduction.
    """
    found = np.zeros((T, T))
    for window in windows(T, k1, k2):
        for t in range(window.loss_start + 1, window.stop + 1):
            found[t - 1, window.start : t] = 1 / DIVISORS[reduction](window.loss_steps * B * O)  # (B1)
    return found


def masked_sum(gradients: Gradients, weights: np.ndarray) -> Gradients:
    """Σ_{t,s} weights[t, s] · G[t, s] for every parameter: what one epoch of TBPTT sums while the parameters stay."""
    return Gradients(*(None if theta is None else np.tensordot(weights, theta, 2) for theta in gradients))


def pairs(T: int) -> list[tuple[int, int]]:
    """All 1 ≤ k1 ≤ k2 ≤ T, by k1 and then by k2. Larger ones truncate as T does."""
    return [(k1, k2) for k1 in range(1, T + 1) for k2 in range(k1, T + 1)]


def chunks(T: int) -> list[tuple[int, int]]:
    """(k, k) for every k."""
    return [(k, k) for k in range(1, T + 1)]


def sliding(T: int) -> list[tuple[int, int]]:
    """(1, k) for every k."""
    return [(1, k) for k in range(1, T + 1)]
