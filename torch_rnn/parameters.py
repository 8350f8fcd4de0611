"""Parameters: converted from and to NumPy and state dicts, and initial ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from numpy_rnn.common import initial
from numpy_rnn.common.array_kinds import check_convertible
from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.records import Dtype, Parameters
from numpy_rnn.common.state_dict import parameters_from_state, state_from_parameters
from numpy_rnn.common.trees import tree_map
from torch_rnn.arrays import ARRAY_KIND, Array


def from_numpy(value: Any, *, copy: bool = True) -> Any:
    """Convert a NumPy array, or every array of a named tuple, to a tensor.

    Parameters
    ----------
    value : ndarray, or tuple of arrays
        float32, float64 or integers, of any shape; unsigned integers become int64. None
        and plain numbers are returned as they are.
    copy : bool
        Whether to copy the memory. False shares it where torch can.

    Returns
    -------
    Tensor, or tuple of tensors
        Of the shape, or the type, of the value. Those of Parameters require a gradient,
        so that `forward` records what `bptt` needs.

    Raises
    ------
    InputError
        If the value is a list, a masked array or a np.matrix, or has another dtype, or
        integers beyond int64.

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
        # torch has no read-only memory and no negative strides.
        is_shareable = array.flags.writeable and min(array.strides, default=0) >= 0
        if copy or not is_shareable:
            return torch.tensor(array.copy())
        return torch.from_numpy(np.asarray(array))

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


def to_state_dict(
    params: Parameters[Array], *, rnn: str = "rnn.", linear: str = "linear."
) -> dict[str, Array]:
    """Convert parameters to the state dict of a torch.nn.RNN and a torch.nn.Linear.

    The docstring of `numpy_rnn.to_state_dict` has the table of keys and shapes.

    Parameters
    ----------
    params : Parameters
        Of one network. Without biases there are no bias keys.
    rnn, linear : str
        Prefixes of the keys of the two layers.

    Returns
    -------
    dict of Tensor
        New tensors by their keys, which require no gradient.

    Raises
    ------
    InputError
        If the parameters are an ensemble, or not finite.

    Examples
    --------
    >>> import torch_rnn as rnn
    >>> list(rnn.to_state_dict(rnn.initial_parameters(), rnn="", linear="head."))
    ['weight_ih_l0', 'weight_hh_l0', 'head.weight']
    """
    check_finite_parameters(ARRAY_KIND, params)
    arrays = state_from_parameters(to_numpy(params), rnn, linear)
    return {key: torch.tensor(array) for key, array in arrays.items()}


def from_state_dict(
    state: Mapping[str, Any], *, rnn: str = "rnn.", linear: str = "linear."
) -> Parameters[Array]:
    """Convert the state dict of a torch.nn.RNN and a torch.nn.Linear to parameters, as
    `numpy_rnn.from_state_dict`.

    Parameters
    ----------
    state : mapping of str to array
        Tensors or NumPy's arrays, for example module.state_dict(), in the shapes of
        `to_state_dict`.
    rnn, linear : str
        Prefixes of the keys of the two layers.

    Returns
    -------
    Parameters
        New tensors, which require a gradient.

    Raises
    ------
    InputError
        If the state is that of another network, as in `numpy_rnn.from_state_dict`.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> layers = {"rnn": torch.nn.RNN(1, 3), "linear": torch.nn.Linear(3, 1)}
    >>> rnn.from_state_dict(torch.nn.ModuleDict(layers).state_dict()).W_xh.shape
    torch.Size([1, 3])
    """
    params: Parameters[Array] = from_numpy(parameters_from_state(state, rnn, linear))
    return params
