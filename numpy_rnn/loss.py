"""The losses: half the squared error, and softmax cross-entropy (DERIVATION.md, section
3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array, one_hot, with_network_axis
from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.checks import check_loss
from numpy_rnn.common.records import Objective, Reduction

Elementwise: TypeAlias = Callable[[Array, Array], Array]


def half_squares(y: Array, target: Array) -> Array:
    """Return ½ (y − target)², element by element."""
    terms: Array = 0.5 * (y - target) ** 2  # (L1)
    return terms


def negative_log_likelihoods(y: Array, target: Array) -> Array:
    """Return −target log p, element by element.

    Without a target it is 0, also where p is 0, as of outputs that are far apart.
    """
    log_p = np.where(target == 0, 0, log_softmax(y))  # not 0 · ∞, which is NaN
    terms: Array = -target * log_p  # (L4)
    return terms


@np.errstate(over="ignore")  # where outputs are so far apart that p is 0
def log_softmax(y: Array) -> Array:
    """Return log p of every row.

    The largest number of a row is subtracted first, so that no exponential overflows.
    """
    shifted = y - y.max(axis=-1, keepdims=True)
    sums = np.exp(shifted).sum(axis=-1, keepdims=True)
    log_p: Array = shifted - np.log(sums)  # (L3)
    return log_p


def softmax(y: Array) -> Array:
    """Return p of every row."""
    p: Array = np.exp(log_softmax(y))  # (L3)
    return p


TERMS: dict[str, Elementwise] = {
    "squared_error": half_squares,
    "cross_entropy": negative_log_likelihoods,
}


def half_squared_error(
    y: Array, target: Array, *, reduction: Reduction = "sum"
) -> Array:
    """Compute half the squared error of the steps that have a target.

        ℓ_t = ½ Σ_{b,o} (y_t − target_t)²                 (L1)
        L   = Σ_t ℓ_t, under "mean" divided by K·B·O      (L2)

    Parameters
    ----------
    y : ndarray
        Outputs of these steps only, of shape (K, B, O) or (K, N, B, O).
    target : ndarray
        Targets, of shape (K, B, O), or (K, N, B, O) with one per network.
    reduction : {"sum", "mean"}
        Whether L is the sum of its terms, or their mean.

    Returns
    -------
    ndarray
        L in the dtype of y, a scalar, or of shape (N,) for an ensemble.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, or the reduction is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> y, target = np.array([3.0, 7.0]), np.array([2.0, 4.0])
    >>> float(rnn.half_squared_error(y.reshape(2, 1, 1), target.reshape(2, 1, 1)))
    5.0
    """
    objective = Objective(loss="squared_error", reduction=reduction)
    check_loss(ARRAY_KIND, y, target, objective)
    return compute_loss(y, target, objective)


def cross_entropy(y: Array, target: Array, *, reduction: Reduction = "sum") -> Array:
    """Compute the softmax cross-entropy of the steps that have a target.

        p_t = exp(y_t) / Σ_o exp(y_t)                     (L3)
        ℓ_t = −Σ_b log p_t[target_t]                      (L4)
        L   = Σ_t ℓ_t, under "mean" divided by K·B        (L2)

    Parameters
    ----------
    y : ndarray
        Logits of these steps only, of shape (K, B, O) or (K, N, B, O), as large as
        their dtype allows.
    target : ndarray of int
        Classes from 0 to O − 1, of shape (K, B) or (K, N, B).
    reduction : {"sum", "mean"}
        Whether L is the sum of its terms, or their mean.

    Returns
    -------
    ndarray
        L in the dtype of y, a scalar, or of shape (N,) for an ensemble.

    Raises
    ------
    InputError
        If shapes do not fit, targets are no classes, or the reduction is unknown.

    References
    ----------
    torch.nn.functional.cross_entropy. Blanchard, Higham and Higham 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> y, target = np.log([1.0, 3.0]).reshape(1, 1, 2), np.array([[1]])
    >>> round(float(np.exp(-rnn.cross_entropy(y, target))), 6)
    0.75
    """
    objective = Objective(loss="cross_entropy", reduction=reduction)
    check_loss(ARRAY_KIND, y, target, objective)
    return compute_loss(y, target, objective)


def compute_loss(y: Array, target: Array, objective: Objective) -> Array:
    """Compute L of the outputs: a sum over steps, sequences and outputs, not over
    networks.
    """
    terms = TERMS[objective.loss](y, target_rows(y, target))
    L: Array = terms.sum(axis=(0, -2, -1)) / reduction_divisor(y, objective)  # (L2)
    return L


def target_rows(y: Array, target: Array) -> Array:
    """Return the target as rows that broadcast with y; classes become one-hot rows."""
    target = with_network_axis(target, is_ensemble=y.ndim == 4)
    if is_integer(target):
        return one_hot(target, y.shape[-1], y.dtype)
    return target


def reduction_divisor(y: Array, objective: Objective) -> int:
    """Return C, by which the reduction divides the losses of these outputs.

    A class is the target of a row of outputs, which has one term then. A number is the
    target of one output.
    """
    if objective.reduction == "sum":
        return 1
    rows: int = len(y) * y.shape[-2]
    terms: int = 1 if objective.has_classes else y.shape[-1]
    return rows * terms
