"""The losses by torch.nn.functional; `numpy_rnn/loss.py` has the equations (DERIVATION.md, section 3)."""

from __future__ import annotations

import torch
from torch.nn import functional

from numpy_rnn.common.checks import check_loss
from numpy_rnn.common.records import Objective, Reduction
from torch_rnn.parameters import ARRAYS, Array, rows


def half_squared_error(
    y: Array, target: Array, *, reduction: Reduction = "sum", weights: Array | None = None
) -> Array:
    """Half the squared error, as `numpy_rnn.half_squared_error`, which describes the arguments and errors raised.

    It can be differentiated with respect to y and target; the weights are constants.
    """
    objective = Objective(loss="squared_error", reduction=reduction)
    check_loss(ARRAYS, y, target, weights, objective)
    return window_loss(y, target, weights, objective)


def cross_entropy(
    y: Array, target: Array, *, reduction: Reduction = "sum", weights: Array | None = None
) -> Array:
    """Softmax cross-entropy, as `numpy_rnn.cross_entropy`, which describes the arguments and the errors raised.

    It can be differentiated with respect to y and target; the weights are constants.
    """
    objective = Objective(loss="cross_entropy", reduction=reduction)
    check_loss(ARRAYS, y, target, weights, objective)
    return window_loss(y, target, weights, objective)


def window_loss(y: Array, target: Array, weights: Array | None, objective: Objective) -> Array:
    """L of the outputs y (K, *E, B, O), shape E."""
    K, *E, B, O = y.shape
    target, terms = rows(target, O, y[0]).expand_as(y), 1
    if objective.loss == "squared_error":
        losses, terms = functional.mse_loss(y, target, reduction="none") / 2, O  # (L1)
    elif objective.loss == "cross_entropy":
        losses = functional.cross_entropy(
            y.movedim(-1, 1), target.movedim(-1, 1), reduction="none"
        )  # (L3), (L4)
        losses = losses.unsqueeze(-1)
    else:
        raise KeyError(objective.loss)
    N: float = K * B * terms
    if weights is not None:
        weights = weights.detach()
        losses, N = losses * weights.reshape(K, *(1 for _ in E), B, 1), float(weights.sum()) * terms
    L: torch.Tensor = losses.sum((0, -2, -1))
    return L / (N or 1) if objective.reduction == "mean" else L  # (L2)
