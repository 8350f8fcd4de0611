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


def read_only(value: Value) -> Value:
    """Make an array, or every array of nested tuples, read-only, and return them."""

    def locked(array: Array) -> Array:
        array.flags.writeable = False
        return array

    return tree_map(locked, value)


def per_network(values: Array, theta: Array) -> Array:
    """Return values (N,), or a scalar, with axes to broadcast with theta (N, ...)."""
    return values.reshape(*values.shape, *(1,) * (theta.ndim - values.ndim))


def with_network_axis(series: Array, like: Array) -> Array:
    """Return a series with an axis N, of size 1 if it is shared, where `like`, a step
    or a matrix, has one.
    """
    is_shared = series.ndim + is_integer(series) < like.ndim + 1
    return series[:, None] if is_shared else series


def one_hot(classes: Array, size: int, dtype: DTypeLike) -> Array:
    """Return rows of `size` numbers with a 1 at their class: (...) → (..., size)."""
    return np.equal(classes[..., None], np.arange(size)).astype(dtype)  # (F4)
