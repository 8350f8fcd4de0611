"""Parameters: initial ones, and conversions from and to NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from numpy_rnn.common import initial
from numpy_rnn.common.array_kinds import check_convertible
from numpy_rnn.common.records import Dtype, Parameters
from numpy_rnn.common.trees import tree_map
from torch_rnn.arrays import ARRAY_KIND, Array


def from_numpy(value: Any) -> Any:
    """Convert a NumPy array, or every array of a named tuple, to a tensor.

    Parameters
    ----------
    value : ndarray, or tuple of arrays
        float32, float64 or integers, of any shape; unsigned integers become int64, as
        by `astype`. None and plain numbers are returned as they are.

    Returns
    -------
    Tensor, or tuple of tensors
        New ones, of the shape, or the type, of the value. Those of Parameters require a
        gradient, so that `forward` records what `bptt` needs.

    Raises
    ------
    InputError
        If the value is a list, a masked array or a np.matrix, or has another dtype.

    Examples
    --------
    >>> import numpy as np, torch_rnn as rnn
    >>> rnn.from_numpy(np.ones(2))
    tensor([1., 1.], dtype=torch.float64)
    """

    def converted(array: Any) -> Array:
        check_convertible(array)
        if array.dtype.kind == "u":
            array = array.astype(np.int64)
        return torch.tensor(array.copy())

    tensors = tree_map(converted, value)
    if isinstance(value, Parameters):
        tree_map(lambda v: v.requires_grad_(v.is_floating_point()), tensors)
    return tensors


def to_numpy(value: Any) -> Any:
    """Copy a tensor, or every tensor of a named tuple, to NumPy.

    Parameters
    ----------
    value : Tensor, or tuple of tensors
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
    >>> import torch, torch_rnn as rnn
    >>> rnn.to_numpy(torch.ones(2))
    array([1., 1.], dtype=float32)
    """

    def converted(tensor: Any) -> Any:
        array = ARRAY_KIND.as_numpy("the value", tensor)
        check_convertible(array)
        return np.array(array)

    return tree_map(converted, value)


def initial_parameters(
    *,
    input_size: int = 1,
    hidden_size: int = 6,
    output_size: int = 1,
    bias: bool = False,
    dtype: Dtype = "float32",
    seed: int = 0,
    networks: int | None = None,
) -> Parameters[Array]:
    """Draw initial weights, those of `numpy_rnn.initial_parameters`, as tensors.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        D, H and O, 1 or more.
    bias : bool
        Whether the network has biases.
    dtype : {"float32", "float64"}
        Of all parameters, by its name.
    seed : int
        Seed of NumPy's generator, 0 or more.
    networks : int, optional
        N, for an ensemble, whose network n, from 0, is the one drawn with `seed + n`.

    Returns
    -------
    Parameters
        New tensors, which require a gradient, with a first axis N for an ensemble.

    Raises
    ------
    InputError
        If an argument is not as above.
    MemoryError
        If there is no memory for these sizes; nothing is drawn then.

    Examples
    --------
    >>> import torch_rnn as rnn
    >>> rnn.initial_parameters(hidden_size=3, bias=True).b_h
    tensor([0., 0., 0.], requires_grad=True)
    """
    drawn = initial.initial_parameters(
        input_size=input_size,
        hidden_size=hidden_size,
        output_size=output_size,
        bias=bias,
        dtype=dtype,
        seed=seed,
        networks=networks,
    )
    params: Parameters[Array] = from_numpy(drawn)
    return params
