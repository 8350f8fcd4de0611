"""The losses: half the squared error, and softmax cross-entropy (DERIVATION.md, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from numpy_rnn.common.checks import check_loss, is_integer
from numpy_rnn.common.records import LossName, Objective, Reduction
from numpy_rnn.elman import one_hot
from numpy_rnn.parameters import (
    ARRAYS,
    Array,
    Losses,
    Outputs,
    Targets,
    Weights,
    series_axes,
    weights_with_axes,
)


def half_squared_error(
    y: Outputs, target: Targets, *, reduction: Reduction = "sum", weights: Weights | None = None
) -> Losses:
    """Half the squared error of the steps that have a target, one number per network.

        ℓ_t = ½ Σ_b w_{t,b} Σ_o (y_t − target_t)²         (L1)
        L   = Σ_t ℓ_t, under "mean" divided by O Σ w      (L2)

    y: (K, *E, B, O), of these steps only; target: the same, or (K, B, O) for all networks. weights: w, (K, B), numbers
    of 0 or more for all networks; None: 1 each, so that "mean" divides by K·B·O. Where all weights are 0, so is L.
    Returns L in the dtype of y: shape E, a scalar without an ensemble.

    Raises InputError on shapes or dtypes that differ, on weights below 0, and on an unknown reduction.
    """
    return window_loss(y, target, weights, "squared_error", reduction)


def cross_entropy(
    y: Outputs, target: Targets, *, reduction: Reduction = "sum", weights: Weights | None = None
) -> Losses:
    """Softmax cross-entropy of the steps that have a target, one number per network.

        p_t = exp(y_t) / Σ_o exp(y_t)                      (L3)
        ℓ_t = −Σ_b w_{t,b} Σ_o target_t log p_t            (L4)
        L   = Σ_t ℓ_t, under "mean" divided by Σ w         (L2)

    y: (K, *E, B, O), the logits of these steps only, as large as their dtype allows. target: classes, integers (K, B)
    or (K, *E, B) from 0 to O − 1, each of which is the row with 1 at its place and 0 elsewhere; or distributions,
    (K, *E, B, O), or (K, B, O) for all networks, rows of numbers of 0 or more whose sum is 1. weights: as in
    `half_squared_error`; None: 1 each, so that "mean" divides by K·B. Returns L in the dtype of y: shape E, a scalar
    without an ensemble.

    Raises InputError on shapes or dtypes that differ, on numbers that are neither classes nor distributions, on weights
    below 0, and on an unknown reduction.
    Source: torch.nn.functional.cross_entropy; Blanchard, Higham and Higham 2021.
    """
    return window_loss(y, target, weights, "cross_entropy", reduction)


def window_loss(
    y: Outputs, target: Targets, weights: Weights | None, loss: LossName, reduction: Reduction
) -> Losses:
    """The loss of this name, with its checks."""
    objective = Objective(loss=loss, reduction=reduction)
    check_loss(ARRAYS, y, target, weights, objective)
    terms = loss_terms(
        y, series_axes(target, y.ndim), weights_with_axes(weights, y.ndim), objective
    )
    return LOSSES[loss](y, *terms)


class Terms(NamedTuple):
    """What a loss takes besides the outputs."""

    target: Array  # (K, *E or 1, B, O), classes as rows
    weights: Any  # w, (K, 1, .., B, 1), or the number 1
    N: Any  # the divisor of the loss


def loss_terms(y: Outputs, target: Targets, weights: Weights | None, objective: Objective) -> Terms:
    """The terms of a window's loss.

    target, weights: with as many axes as y, but classes with one less; the weights may be None.
    """
    K, *_, B, O = y.shape
    if is_integer(target):
        target = one_hot(target, O, y.dtype)  # (F4)
    N: Any = 1
    if objective.reduction == "mean":
        N = K * B if weights is None else weights.sum()
        N = N * {"squared_error": O, "cross_entropy": 1}[objective.loss] or 1
    return Terms(target, 1 if weights is None else weights, N)


def half_sum_of_squares(y: Outputs, target: Targets, weights: Any, N: Any) -> Losses:
    """`half_squared_error` without its checks. The sum runs over steps, sequences and outputs, not over networks."""
    error = y - target
    loss: Losses = 0.5 * (weights * error * error).sum(axis=(0, -2, -1)) / N  # (L1), (L2)
    return loss


def sum_of_cross_entropies(y: Outputs, target: Targets, weights: Any, N: Any) -> Losses:
    """`cross_entropy` without its checks."""
    loss: Losses = -(weights * target * log_softmax(y)).sum(axis=(0, -2, -1)) / N  # (L4), (L2)
    return loss


Loss: TypeAlias = Callable[[Outputs, Targets, Any, Any], Losses]
LOSSES: dict[str, Loss] = {
    "squared_error": half_sum_of_squares,
    "cross_entropy": sum_of_cross_entropies,
}


def log_softmax(y: Outputs) -> Outputs:
    """log p of every row. Its largest number is subtracted first, so that no exponential overflows."""
    shifted = y - y.max(axis=-1, keepdims=True)
    log_p: Outputs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (L3)
    return log_p


def softmax(y: Outputs) -> Outputs:
    """p of every row"""
    p: Outputs = np.exp(log_softmax(y))  # (L3)
    return p
