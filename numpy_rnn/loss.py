"""The losses: half the squared error, and softmax cross-entropy (DERIVATION.md, section
3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from numpy_rnn.common.checks import check_call, is_integer
from numpy_rnn.common.records import Objective, Reduction
from numpy_rnn.elman import one_hot
from numpy_rnn.parameters import ARRAYS, Losses, Outputs, Targets, with_network_axis


def half_squared_error(
    y: Outputs, target: Targets, *, reduction: Reduction = "sum"
) -> Losses:
    """Half the squared error of the steps that have a target, one number per network.

        ℓ_t = ½ Σ_{b,o} (y_t − target_t)²                 (L1)
        L   = Σ_t ℓ_t, under "mean" divided by K·B·O      (L2)

    y: (K, B, O) or (K, N, B, O), of these steps only; target: the same, or (K, B, O)
    for all networks. Returns L in the dtype of y: shape (N,), a scalar without an
    ensemble.

    Raises InputError on shapes or dtypes that differ, and on an unknown reduction.
    """
    return _checked_loss(
        y, target, Objective(loss="squared_error", reduction=reduction)
    )


def cross_entropy(
    y: Outputs, target: Targets, *, reduction: Reduction = "sum"
) -> Losses:
    """Softmax cross-entropy of the steps that have a target, one number per network.

        p_t = exp(y_t) / Σ_o exp(y_t)                     (L3)
        ℓ_t = −Σ_b log p_t[target_t]                      (L4)
        L   = Σ_t ℓ_t, under "mean" divided by K·B        (L2)

    y: (K, B, O) or (K, N, B, O), the logits of these steps only, as large as their
    dtype allows. target: classes, integers (K, B) or (K, N, B) from 0 to O − 1. Returns
    L in the dtype of y: shape (N,), a scalar without an ensemble.

    Raises InputError on shapes that differ, on targets that are not classes, and on an
    unknown reduction. Source: torch.nn.functional.cross_entropy; Blanchard, Higham and
    Higham 2021.
    """
    return _checked_loss(
        y, target, Objective(loss="cross_entropy", reduction=reduction)
    )


def _checked_loss(y: Outputs, target: Targets, objective: Objective) -> Losses:
    check_call(ARRAYS, objective, y=y, target=target)
    return window_loss(y, target_rows(y, target), objective)


def target_rows(y: Outputs, target: Targets) -> Outputs:
    """The target as rows that broadcast with y (K, N, B, O); classes become one-hot
    rows.
    """
    target = with_network_axis(target, y[0])
    return (
        one_hot(target, y.shape[-1], y.dtype) if is_integer(target) else target
    )  # (F4)


def window_loss(y: Outputs, target: Outputs, objective: Objective) -> Losses:
    """L of the outputs. The sum runs over steps, sequences and outputs, not over
    networks.
    """
    terms = TERMS[objective.loss](y, target).sum(axis=(0, -2, -1))
    L: Losses = terms / divisor(y, objective)  # (L2)
    return L


def divisor(y: Outputs, objective: Objective) -> int:
    """C, the number of terms of the loss under "mean"; 1 under "sum"."""
    K, B, O = len(y), *y.shape[-2:]
    terms = {"squared_error": K * B * O, "cross_entropy": K * B}[objective.loss]
    count: int = {"sum": 1, "mean": terms}[objective.reduction]
    return count


def half_squares(y: Outputs, target: Outputs) -> Outputs:
    """½ (y − target)², element by element"""
    half: Outputs = 0.5 * (y - target) ** 2  # (L1)
    return half


def negative_log_likelihoods(y: Outputs, target: Outputs) -> Outputs:
    """−target log p, element by element"""
    terms: Outputs = -target * log_softmax(y)  # (L4)
    return terms


Elementwise: TypeAlias = Callable[[Outputs, Outputs], Outputs]
TERMS: dict[str, Elementwise] = {
    "squared_error": half_squares,
    "cross_entropy": negative_log_likelihoods,
}


def log_softmax(y: Outputs) -> Outputs:
    """log p of every row. Its largest number is subtracted first: no exponential
    overflows.
    """
    shifted = y - y.max(axis=-1, keepdims=True)
    log_p: Outputs = shifted - np.log(
        np.exp(shifted).sum(axis=-1, keepdims=True)
    )  # (L3)
    return log_p


def softmax(y: Outputs) -> Outputs:
    """p of every row"""
    p: Outputs = np.exp(log_softmax(y))  # (L3)
    return p
