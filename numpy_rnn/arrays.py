"""What the equations need of NumPy's arrays: copies, axes of networks, and rows of
classes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from numpy_rnn.common.array_kinds import NUMPY_KIND, is_integer
from numpy_rnn.common.records import Value
from numpy_rnn.common.trees import tree_map

ARRAY_KIND = NUMPY_KIND
Array: TypeAlias = NDArray[Any]


def copy_of(value: Value) -> Value:
    """Return a copy of an array, or of every array of nested tuples, in C order."""
    return tree_map(partial(np.array, order="C"), value)


def frozen_copy(value: Value) -> Value:
    """Return a read-only copy of an array, or of every array of nested tuples."""

    def frozen(array: Array) -> Array:
        copy = copy_of(array)
        copy.flags.writeable = False
        return copy

    return tree_map(frozen, value)


def per_network(values: Array, theta: Array) -> Array:
    """Return values (N,), or a scalar, with axes to broadcast with theta (N, ...)."""
    return values.reshape(*values.shape, *(1,) * (theta.ndim - values.ndim))


def with_network_axis(series: Array, is_ensemble: bool) -> Array:
    """Return a series; in an ensemble with an axis N, of size 1 if all networks
    share the series.
    """
    rank = series.ndim + is_integer(series)  # classes have one axis fewer than rows
    return series[:, None] if is_ensemble and rank == 3 else series


def one_hot(classes: Array, size: int, dtype: DTypeLike) -> Array:
    """Return rows of `size` numbers with a 1 at their class: (...) → (..., size)."""
    return np.equal(classes[..., None], np.arange(size)).astype(dtype)  # (F4)
