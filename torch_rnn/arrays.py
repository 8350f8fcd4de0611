"""What the equations need of tensors: copies, rows, and axes of networks."""

from typing import TypeAlias

import torch

from numpy_rnn.common.array_kinds import ArrayKind
from numpy_rnn.common.records import Value
from numpy_rnn.common.trees import tree_map

ARRAY_KIND = ArrayKind(
    torch.Tensor, "a torch.Tensor; from_numpy converts a NumPy array"
)
Array: TypeAlias = torch.Tensor


def copy_of(value: Value, *, as_leaves: bool = False) -> Value:
    """Return a copy of a tensor, or of every tensor of nested tuples, without graphs.

    as_leaves: whether they require a gradient.
    """

    def copied(tensor: Array) -> Array:
        copy = tensor.detach().clone(memory_format=torch.contiguous_format)
        return copy.requires_grad_(as_leaves)

    return tree_map(copied, value)


def per_network(values: Array, theta: Array) -> Array:
    """Return values (N,), or a scalar, with axes to broadcast with theta (N, ...)."""
    return values.reshape(*values.shape, *(1,) * (theta.ndim - values.ndim))


def with_network_axis(series: Array, is_ensemble: bool) -> Array:
    """Return a series; in an ensemble with an axis N, of size 1 if all networks
    share the series.
    """
    rank = series.ndim + (not series.is_floating_point())  # classes have one axis fewer
    return series[:, None] if is_ensemble and rank == 3 else series
