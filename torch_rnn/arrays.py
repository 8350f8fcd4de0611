"""What the equations need of tensors: copies, rows, axes of networks, and graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeAlias, TypeVar

import torch
from torch.nn import functional

from numpy_rnn.common.array_kinds import ArrayKind
from numpy_rnn.common.records import Value
from numpy_rnn.common.trees import tree_map

ARRAY_KIND = ArrayKind(
    torch.Tensor, "a torch.Tensor; from_numpy converts a NumPy array"
)
Array: TypeAlias = torch.Tensor
P = ParamSpec("P")
Result = TypeVar("Result")


def with_graphs(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function so that autograd records in it, whatever its caller's mode.

    enable_grad undoes a no_grad of the caller, and not an inference_mode, which has to
    be switched off besides: tensors that are made under it never enter a graph. Torch
    2 enables gradients where that is switched off, but does not document it. Of a
    generator, both enclose every step, and nothing between.
    """
    recording = torch.enable_grad()(function)
    return torch.inference_mode(False)(recording)


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


def with_network_axis(series: Array, like: Array) -> Array:
    """Return a series with an axis N, of size 1 if it is shared, where `like`, a step
    or a matrix, has one.
    """
    has_classes = not series.is_floating_point()  # and so one axis fewer than rows
    is_shared = series.ndim + has_classes < like.ndim + 1
    return series[:, None] if is_shared else series


def as_rows(series: Array, size: int, like: Array) -> Array:
    """Return a series with an axis N, as `with_network_axis` does; classes become
    one-hot rows.
    """
    series = with_network_axis(series, like)
    if not series.is_floating_point():
        series = functional.one_hot(series.long(), size).to(like.dtype)  # (F4)
    return series
