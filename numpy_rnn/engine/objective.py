"""The losses of the engine: half the squared error or softmax cross-entropy, with weights or without.

A loss is computed in two places: its derivative ∂L/∂y in the loop of `update.py`, and the losses themselves here, later
and for many windows at once, from what that loop left on the tape. The equations are those of `loss.py`.
"""

from typing import NamedTuple

import numpy as np
from numpy import divide, exp, log, multiply, subtract

from numpy_rnn.common.records import Array


class Objective(NamedTuple):
    """The loss of a run."""

    mean: bool = False  # whether it is divided by its terms
    cross_entropy: bool = False  # or else half the squared error
    classes: bool = False  # whether the targets of a cross-entropy are classes
    weighted: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is half the squared error with weights of 1."""
        return not (self.cross_entropy or self.weighted)

    def divisor(self, rows: int, O: int, dtype: np.dtype) -> np.generic | None:
        """N of (L2) for so many rows without weights; None for 1."""
        return dtype.type(rows * (1 if self.cross_entropy else O)) if self.mean else None

    def total(self, weights: Array, O: int) -> Array:
        """N of (L2), (..., 1, 1), for the weights of a window, (..., K·B, 1)."""
        total = weights.sum(axis=-2, keepdims=True)
        if not self.cross_entropy:
            total *= O
        total[total == 0] = 1
        return total

    def losses(self, error: Array, row_losses: Array | None, weights: Array | None, count: int) -> Array:
        """L of so many windows of one size, (count,) or (count, N), if it is not `plain`.

        error: y − target, (..., count·K·B, O); row_losses: of a cross-entropy, (..., count·K·B, 1); weights: the same.
        """
        losses = 0.5 * np.vecdot(error, error)[..., None] if row_losses is None else row_losses  # (L1)
        if weights is not None:
            losses = losses * weights
            weights = weights.reshape(*weights.shape[:-2], count, -1, 1)
        losses = losses.reshape(*losses.shape[:-2], count, -1)
        O, rows = error.shape[-1], losses.shape[-1]
        losses = losses.sum(axis=-1)  # (L1), (L4)
        if self.mean and weights is None:
            losses /= self.divisor(rows, O, losses.dtype)  # (L2)
        elif self.mean:
            losses /= self.total(weights, O)[..., 0, 0]  # (L2)
        return losses if losses.ndim == 1 else losses.T


def softmax_difference(y: Array, target: Array, classes: bool, error: Array, losses: Array) -> None:
    """p − target into `error`, and the losses of the rows into `losses`, (..., 1), of softmax cross-entropy.

    classes: whether each row of the target has one 1 and nothing else. With m the largest number of a row, its loss is
    log(Σ_o exp(y − m)) Σ_o target − Σ_o target (y − m).
    """
    subtract(y, y.max(axis=-1, keepdims=True), error)
    np.vecdot(target, error, out=losses[..., 0])
    exp(error, error)
    sums = error.sum(axis=-1, keepdims=True)
    divide(error, sums, error)  # (L3)
    log(sums, sums)
    if not classes:
        total = target.sum(axis=-1, keepdims=True)
        multiply(sums, total, sums)
        multiply(error, total, error)
    subtract(sums, losses, losses)  # (L4)
    subtract(error, target, error)  # (B1)
