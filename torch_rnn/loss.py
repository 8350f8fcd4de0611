"""The losses by torch.nn.functional; `numpy_rnn/loss.py` has the equations."""

from collections.abc import Callable

import torch
from torch.nn import functional

from numpy_rnn.common.checks import check_loss
from numpy_rnn.common.records import Objective, Reduction
from torch_rnn.arrays import ARRAY_KIND, Array, with_network_axis


def half_squares(y: Array, target: Array) -> Array:
    """Return ½ (y − target)², element by element."""
    return 0.5 * functional.mse_loss(y, target.expand_as(y), reduction="none")  # (L1)


def row_entropies(y: Array, target: Array) -> Array:
    """Return the cross-entropy of every row and its class, with a last axis of 1."""
    logits = y.movedim(-1, 1)
    classes = target.long().expand(y.shape[:-1])
    losses = functional.cross_entropy(logits, classes, reduction="none")  # (L3), (L4)
    return losses.unsqueeze(-1)


TERMS: dict[str, Callable[[Array, Array], Array]] = {
    "squared_error": half_squares,
    "cross_entropy": row_entropies,
}
REDUCTIONS: dict[str, Callable[..., Array]] = {"sum": torch.sum, "mean": torch.mean}


def half_squared_error(
    y: Array, target: Array, *, reduction: Reduction = "sum"
) -> Array:
    """Compute half the squared error, as `numpy_rnn.half_squared_error`.

    Parameters
    ----------
    y : Tensor
        Outputs of the steps with a target, of shape (K, B, O) or (K, N, B, O).
    target : Tensor
        Targets, of shape (K, B, O), or (K, N, B, O) with one per network.
    reduction : {"sum", "mean"}
        Whether L is the sum of its terms, or their mean.

    Returns
    -------
    Tensor
        L, a scalar, or of shape (N,), differentiable in y and target.

    Raises
    ------
    InputError
        If shapes or dtypes do not fit, or the reduction is unknown.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> y, target = torch.tensor([3.0, 7.0]), torch.tensor([2.0, 4.0])
    >>> rnn.half_squared_error(y.reshape(2, 1, 1), target.reshape(2, 1, 1)).item()
    5.0
    """
    objective = Objective(loss="squared_error", reduction=reduction)
    check_loss(ARRAY_KIND, y, target, objective)
    return compute_loss(y, target, objective)


def cross_entropy(y: Array, target: Array, *, reduction: Reduction = "sum") -> Array:
    """Compute the softmax cross-entropy of classes, as `numpy_rnn.cross_entropy`.

    Parameters
    ----------
    y : Tensor
        Logits of the steps with a target, of shape (K, B, O) or (K, N, B, O).
    target : Tensor of integers
        Classes from 0 to O − 1, of shape (K, B) or (K, N, B).
    reduction : {"sum", "mean"}
        Whether L is the sum of its terms, or their mean.

    Returns
    -------
    Tensor
        L, a scalar, or of shape (N,), differentiable in y.

    Raises
    ------
    InputError
        If shapes do not fit, targets are no classes, or the reduction is unknown.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> y, target = torch.tensor([[[0.0, 0.0]]]), torch.tensor([[1]])
    >>> rnn.cross_entropy(y, target).exp().item()
    2.0
    """
    objective = Objective(loss="cross_entropy", reduction=reduction)
    check_loss(ARRAY_KIND, y, target, objective)
    return compute_loss(y, target, objective)


def compute_loss(y: Array, target: Array, objective: Objective) -> Array:
    """Compute L of the outputs, one per network."""
    terms = TERMS[objective.loss](y, with_network_axis(target, is_ensemble=y.ndim == 4))
    return REDUCTIONS[objective.reduction](terms, dim=(0, -2, -1))  # (L2)
