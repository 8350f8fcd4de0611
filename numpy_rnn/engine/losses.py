"""The losses of the engine: half the squared error or softmax cross-entropy, with weights or without.

A loss is computed in two places: its derivative ∂L/∂y in `gradient.py`, and the losses themselves here, later and for
many windows at once, from what that left on the tape. The equations are those of `loss.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy import divide, exp, log, multiply, square, subtract

from numpy_rnn.parameters import Array

IS_MEAN, IS_SOFTMAX = {"sum": False, "mean": True}, {"squared_error": False, "cross_entropy": True}


class LossKind(NamedTuple):
    """The loss of a run, and what it is computed from."""

    mean: bool  # whether it is divided by its terms
    cross_entropy: bool  # or else half the squared error
    classes: bool  # whether the targets of a cross-entropy are classes
    weighted: bool

    @property
    def plain(self) -> bool:
        """Whether it is half the squared error with weights of 1."""
        return not (self.cross_entropy or self.weighted)

    def divisor(self, rows: int, O: int, dtype: np.dtype[Any]) -> Any:
        """N of (L2) for so many rows without weights; None for 1."""
        return dtype.type(rows * (1 if self.cross_entropy else O)) if self.mean else None

    def total(self, weights: Array, O: int) -> Array:
        """N of (L2), (..., 1, 1), for the weights of a window, (..., K·B, 1)."""
        total: Array = weights.sum(axis=-2, keepdims=True)
        if not self.cross_entropy:
            total *= O
        total[total == 0] = 1
        return total

    def losses(
        self, error: Array, row_losses: Array | None, weights: Array | None, count: int
    ) -> Array:
        """L of so many windows of one size, (count,) or (count, N).

        error: y − target, (..., count·K·B, O); row_losses: of a cross-entropy, (..., count·K·B, 1); weights: the same.
        """
        O, rows = error.shape[-1], error.shape[-2] // count
        if self.plain and rows * O == 1:
            losses = 0.5 * square(error[..., 0])  # (L1)
        elif self.plain:
            terms = error.reshape(*error.shape[:-2], count, rows * O)
            losses = 0.5 * (
                np.vecdot(terms, terms) if error.ndim == 2 else square(terms).sum(axis=-1)
            )  # (L1)
        else:
            each = (
                0.5 * np.vecdot(error, error)[..., None] if row_losses is None else row_losses
            )  # (L1)
            each = each if weights is None else each * weights
            losses = each.reshape(*each.shape[:-2], count, rows).sum(axis=-1)  # (L1), (L4)
        if self.mean and weights is None:
            losses /= self.divisor(rows, O, losses.dtype)  # (L2)
        elif self.mean and weights is not None:
            losses /= self.total(weights.reshape(*weights.shape[:-2], count, rows, 1), O)[
                ..., 0, 0
            ]  # (L2)
        by_window: Array = losses if losses.ndim == 1 else losses.T
        return by_window


def softmax_difference(y: Array, target: Array, classes: bool, error: Array, losses: Array) -> None:
    """p − target into `error`, and the losses of the rows into `losses`, (..., 1), of softmax cross-entropy.

    classes: whether each row of the target has one 1 and nothing else. With m the largest number of a row, its loss is
    log Σ exp(y − m) Σ target − Σ target (y − m), in which no exponential overflows.
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
