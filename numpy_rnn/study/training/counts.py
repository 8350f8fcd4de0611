"""How often an epoch counts every item ∂ℓ_t/∂θ_s: a 0/1 mask for the definition, other numbers for other ways."""

import numpy as np

from numpy_rnn.common.windows import windows


def counted(steps: int, k1: int, k2: int) -> np.ndarray:
    """(T, T), [t-1, s-1]: 1 where TBPTT(k1, k2) keeps the item, else 0 (DERIVATION.md, section 5)."""
    counts = np.zeros((steps, steps), int)
    for start, loss_start, stop in windows(steps, k1, k2):
        for t in range(loss_start + 1, stop + 1):
            counts[t - 1, start:t] = 1
    return counts


def added_up(steps: int, k1: int, k2: int) -> np.ndarray:
    """The same where what reached a state through its next step is kept, and added to at every later update.

    later[s-1, t-1]: how often the effect of h_s on ℓ_t through a_{s+1} has been added up so far. Only the losses of the
    new steps come in anew. For k1 = 1 the numbers of one update are those of Pascal's triangle.
    """
    counts = np.zeros((steps, steps), int)
    later = np.zeros((steps, steps), int)
    for start, loss_start, stop in windows(steps, k1, k2):
        flowing = np.zeros(steps, int)  # how often ℓ_t is in da_{s+1}
        for s in range(stop, start, -1):
            if s < stop:
                later[s - 1] += flowing
                flowing = later[s - 1].copy()
            if s > loss_start:
                flowing[s - 1] += 1
            counts[:, s - 1] += flowing
    return counts


def divisors(steps: int, k1: int, terms: int) -> np.ndarray:
    """(T, 1): the N of (L2) under "mean", by which every loss of a step is divided; terms: B·O."""
    sizes = np.zeros((steps, 1))
    for _, loss_start, stop in windows(steps, k1, k1):
        sizes[loss_start:stop] = (stop - loss_start) * terms
    return sizes
