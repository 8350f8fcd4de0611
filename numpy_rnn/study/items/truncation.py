"""What a truncation costs: how far its gradient is from the full one, while the parameters stay as they are.

The items are taken undivided: "mean" gives every update a factor of its own, which belongs to its learning rate.
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.study.items.masks import mask


class Cost(NamedTuple):
    """By truncation; NaN where it is not defined."""

    cosine: np.ndarray  # g_k · g / (‖g_k‖ ‖g‖); NaN where one of the two gradients is zero
    bias: np.ndarray  # ‖g_k − g‖ / ‖g‖; NaN where the full gradient is zero


def cost(G: np.ndarray, truncations: list[tuple[int, int]]) -> Cost:
    """Of each TBPTT(k1, k2): the cosine with the full gradient, and the relative bias. G: (T, T, P), the flat items."""
    T, _, P = G.shape
    kept = np.stack([mask(T, k1, k2) for k1, k2 in truncations]).reshape(len(truncations), -1) @ G.reshape(-1, P)
    full = np.tensordot(mask(T, T, T), G, 2)
    norm = np.linalg.norm(full)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding may carry the cosine of two equal vectors beyond 1.
        cosine = np.clip(kept @ full / (np.linalg.norm(kept, axis=-1) * norm), -1, 1)
        bias = np.linalg.norm(kept - full, axis=-1) / norm if norm else np.full(len(kept), np.nan)
    return Cost(cosine, bias)


def by_lag(norms: np.ndarray) -> list[np.ndarray]:
    """The norms ‖G[t, s]‖ at each lag t − s = 0 to T − 1, over t. norms: (T, T)."""
    return [np.diagonal(norms, -lag) for lag in range(len(norms))]


def reach(norms: np.ndarray, share: float) -> list[int]:
    """For every t, the least number of steps, counted back from t with t itself, that hold this share of
    Σ_s ‖G[t, s]‖; 0 where all are zero.

    norms: (T, T); 0 < share ≤ 1.
    """
    found = []
    for t in range(1, len(norms) + 1):
        held = np.cumsum(norms[t - 1, :t][::-1])
        found.append(int(np.searchsorted(held, share * held[-1])) + 1 if held[-1] > 0 else 0)
    return found
