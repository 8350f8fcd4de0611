"""The losses by torch.nn.functional; `numpy_rnn/loss.py` has the equations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from numpy_rnn.common.checks import check_loss
from numpy_rnn.common.records import Objective, Reduction
from torch_rnn.parameters import ARRAYS, Array, as_rows


def half_squared_error(y: Array, target: Array, *, reduction: Reduction = "sum") -> Array:
    """Half the squared error, as `numpy_rnn.half_squared_error`, differentiable in y and target."""
    objective = Objective(loss="squared_error", reduction=reduction)
    check_loss(ARRAYS, y, target, objective)
    return window_loss(y, target, objective)


def cross_entropy(y: Array, target: Array, *, reduction: Reduction = "sum") -> Array:
    """Softmax cross-entropy of classes, as `numpy_rnn.cross_entropy`, differentiable in y."""
    objective = Objective(loss="cross_entropy", reduction=reduction)
    check_loss(ARRAYS, y, target, objective)
    return window_loss(y, target, objective)


def _half_squared_errors(y: Array, target: Array) -> Array:
    """(K, N, B, O), one term per number of y."""
    rows = as_rows(target, y.shape[-1], y[0]).expand_as(y)
    return functional.mse_loss(y, rows, reduction="none") / 2  # (L1)


def _cross_entropies(y: Array, target: Array) -> Array:
    """(K, N, B, 1), one term per row of y."""
    classes = target.long() if target.ndim == y.ndim - 1 else target.long()[:, None]
    logits, classes = y.flatten(0, -2), classes.expand(y.shape[:-1]).flatten()
    losses = functional.cross_entropy(logits, classes, reduction="none")  # (L3), (L4)
    return losses.reshape(*y.shape[:-1], 1)


TERMS: dict[str, Callable[[Array, Array], Array]] = {
    "squared_error": _half_squared_errors,
    "cross_entropy": _cross_entropies,
}
REDUCTIONS: dict[str, Callable[..., Array]] = {"sum": torch.sum, "mean": torch.mean}


def window_loss(y: Array, target: Array, objective: Objective) -> Array:
    """L of the outputs y (K, N, B, O), one per network."""
    terms = TERMS[objective.loss](y, target)
    return REDUCTIONS[objective.reduction](terms, dim=(0, -2, -1))  # (L2)
