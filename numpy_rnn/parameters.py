"""Parameters: initial ones, and conversions from and to NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.array_kinds import check_convertible
from numpy_rnn.common.initial import initial_parameters as initial_parameters
from numpy_rnn.common.records import Value
from numpy_rnn.common.trees import tree_map


def from_numpy(value: Value) -> Value:
    """Convert a NumPy array, or every array of a named tuple, to this package's.

    Here they are NumPy arrays again; `torch_rnn.from_numpy` makes tensors.

    Parameters
    ----------
    value : ndarray, or tuple of arrays
        float32, float64 or integers, of any shape. None and plain numbers are returned
        as they are.

    Returns
    -------
    ndarray, or tuple of arrays
        New arrays, of the shape, or the type, of the value.

    Raises
    ------
    InputError
        If the value is a list, a tensor, a masked array or a np.matrix, or has another
        dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> rnn.from_numpy(np.ones(2))
    array([1., 1.])
    """

    def converted(array: Any) -> Array:
        check_convertible(array)
        return np.array(array)

    return tree_map(converted, value)


def to_numpy(value: Value) -> Value:
    """Copy an array of this package, or every array of a named tuple, to NumPy.

    The arrays of this package are NumPy's already. The function is here for programs
    that work with either package: `torch_rnn.to_numpy` converts tensors.

    Parameters
    ----------
    value : ndarray, or tuple of arrays
        Of any shape. None and plain numbers are returned as they are.

    Returns
    -------
    ndarray, or tuple of arrays
        New arrays, of the shape, or the type, of the value.

    Raises
    ------
    InputError
        If the value is of another package, or has another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> rnn.to_numpy(np.ones(2))
    array([1., 1.])
    """
    return from_numpy(value)
