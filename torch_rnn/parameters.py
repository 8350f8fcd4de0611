"""The tensors of this package, and their conversion from and to NumPy and
state dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from numpy_rnn.common import initial
from numpy_rnn.common.checks import Arrays, check_call, check_convertible
from numpy_rnn.common.records import Parameters, T, tree_map
from numpy_rnn.common.state_dict import parameters_of, state_of

ARRAYS = Arrays(torch.Tensor, "a torch.Tensor; from_numpy converts a NumPy array")
Array: TypeAlias = torch.Tensor


def from_numpy(value: Any, *, copy: bool = True) -> Any:
    """A NumPy array, or every array of a named tuple, as a tensor, as
    `numpy_rnn.from_numpy`.

    The tensors of Parameters require a gradient, so that `forward` records what `bptt`
    needs. Unsigned integers become int64.
    """

    def converted(array: Any) -> Array:
        check_convertible(array)
        array = np.asarray(array, np.int64 if array.dtype.kind == "u" else None)
        if copy or not array.flags.writeable or min(array.strides, default=0) < 0:
            return torch.tensor(
                array.copy()
            )  # torch has no read-only memory, no negative strides
        return torch.from_numpy(array)

    tensors = tree_map(converted, value)
    if isinstance(value, Parameters):
        tree_map(lambda v: v.requires_grad_(v.is_floating_point()), tensors)
    return tensors


def to_numpy(value: Any) -> Any:
    """The NumPy copy of a tensor, or of every tensor of a named tuple; inverts
    `from_numpy`.
    """

    def converted(tensor: Any) -> Any:
        array = ARRAYS.values("the value", tensor)
        check_convertible(array)
        return np.array(array)

    return tree_map(converted, value)


def copy_of(value: T, *, as_leaves: bool = False) -> T:
    """A copy of the tensors of nested tuples, without a graph; as leaves it requires a
    gradient.
    """
    C = torch.contiguous_format
    return tree_map(
        lambda v: v.detach().clone(memory_format=C).requires_grad_(as_leaves), value
    )


def as_rows(series: Array, size: int, like: Array) -> Array:
    """The series, of classes as one-hot rows, with an axis for the networks if `like`
    has one.
    """
    if not series.is_floating_point():
        series = functional.one_hot(series.long(), size).to(like.dtype)  # (F4)
    return series[:, None] if series.ndim < like.ndim + 1 else series


def per_network(value: Array, theta: Array) -> Array:
    """A value (N,), or a scalar, with trailing axes, to broadcast with a tensor (N,
    ...).
    """
    return (
        value.reshape(*value.shape, *(1,) * (theta.ndim - value.ndim))
        if value.ndim
        else value
    )


@wraps(initial.initial_parameters)
def initial_parameters(*sizes: int, **options: Any) -> Parameters[Array]:
    params: Parameters[Array] = from_numpy(
        initial.initial_parameters(*sizes, **options)
    )
    return params


def to_state_dict(
    params: Parameters[Array], *, rnn: str = "rnn.", linear: str = "linear."
) -> dict[str, Array]:
    """The state dict of a torch.nn.RNN and a torch.nn.Linear, as
    `numpy_rnn.to_state_dict`.
    """
    check_call(ARRAYS, params=params, finite=True)
    arrays = state_of(to_numpy(params), rnn, linear)
    return {key: torch.tensor(array) for key, array in arrays.items()}


def from_state_dict(
    state: Mapping[str, Any], *, rnn: str = "rnn.", linear: str = "linear."
) -> Parameters[Array]:
    """The parameters of a torch.nn.RNN and a torch.nn.Linear, as
    `numpy_rnn.from_state_dict`.
    """
    params: Parameters[Array] = from_numpy(parameters_of(state, rnn, linear))
    return params
