"""The losses by torch.nn.functional; `numpy_rnn/loss.py` has the equations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from numpy_rnn.common.checks import check_call
from numpy_rnn.common.records import Objective, Reduction
from torch_rnn.parameters import ARRAYS, Array, as_rows


def half_squared_error(
    y: Array, target: Array, *, reduction: Reduction = "sum"
) -> Array:
    """Half the squared error, as `numpy_rnn.half_squared_error`, differentiable in y
    and target.
    """
    return _checked_loss(
        y, target, Objective(loss="squared_error", reduction=reduction)
    )


def cross_entropy(y: Array, target: Array, *, reduction: Reduction = "sum") -> Array:
    """Softmax cross-entropy of classes, as `numpy_rnn.cross_entropy`, differentiable in
    y.
    """
    return _checked_loss(
        y, target, Objective(loss="cross_entropy", reduction=reduction)
    )


def _checked_loss(y: Array, target: Array, objective: Objective) -> Array:
    check_call(ARRAYS, objective, y=y, target=target)
    return window_loss(y, target, objective)


def window_loss(y: Array, target: Array, objective: Objective) -> Array:
    """L of the outputs y (K, N, B, O), one per network."""
    rows = as_rows(target, y.shape[-1], y[0]).expand_as(y).movedim(-1, 1)
    factor, loss = TERMS[objective.loss]
    terms = loss(y.movedim(-1, 1), rows, reduction="none").reshape(
        len(y), -1, *y.shape[1:-1]
    )
    return factor * REDUCTIONS[objective.reduction](terms, dim=(0, 1, -1))  # (L2)


# The factor, and the function of outputs and target rows (K, O, N, B).
TERMS: dict[str, tuple[float, Callable[..., Array]]] = {
    "squared_error": (0.5, functional.mse_loss),  # (L1)
    "cross_entropy": (1.0, functional.cross_entropy),  # (L3), (L4)
}
REDUCTIONS: dict[str, Callable[..., Array]] = {"sum": torch.sum, "mean": torch.mean}
