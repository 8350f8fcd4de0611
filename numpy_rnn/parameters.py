"""The arrays of this package, and their conversion from and to NumPy and
state dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numpy_rnn.common.checks import (
    NUMPY_ARRAYS,
    check_call,
    check_convertible,
    is_integer,
)
from numpy_rnn.common.initial import initial_parameters as initial_parameters
from numpy_rnn.common.records import Parameters, T, tree_map
from numpy_rnn.common.state_dict import parameters_of, state_of

ARRAYS = NUMPY_ARRAYS
Array: TypeAlias = NDArray[Any]
# Inputs, targets and h_0 without N are shared by all networks. Classes have no last
# axis.
Inputs: TypeAlias = Annotated[Array, "T N B D"]
Targets: TypeAlias = Annotated[Array, "K N B O"]
Outputs: TypeAlias = Annotated[Array, "K N B O"]
InitialState: TypeAlias = Annotated[Array, "N B H"]
Losses: TypeAlias = Annotated[Array, "N"]
Norms: TypeAlias = Annotated[Array, "N"]
LearningRate: TypeAlias = float | Annotated[Array, "N"]


def from_numpy(value: Any, *, copy: bool = True) -> Any:
    """A NumPy array, or every array of a named tuple, as an array of this backend.

    None and plain numbers are returned as they are. copy: whether to copy the memory;
    False returns arrays that share it and are for reading only, for example of a series
    mapped from a file.

    Raises InputError on lists, tensors, masked arrays and np.matrix, on dtypes other
    than float32, float64 and integers, and on integers beyond int64.
    """

    def converted(array: Any) -> Array:
        check_convertible(array)
        return np.array(array) if copy else np.asarray(array)

    return tree_map(converted, value)


def to_numpy(value: Any) -> Any:
    """The NumPy copy of an array of this backend, or of every array of a named tuple.

    The inverse of `from_numpy`. Raises InputError on values of other packages and other
    dtypes.
    """
    return from_numpy(value)


def copy_of(value: T) -> T:
    """A copy of an array of this package, or of every array of nested tuples, in C
    order.
    """
    return tree_map(partial(np.array, order="C"), value)


def read_only(value: Any) -> Any:
    """Parameters or a velocity, made read-only."""
    for array in value or ():
        if array is not None:
            array.flags.writeable = False
    return value


def broadcast_per_network(value: Array, theta: Array) -> Array:
    """A value (N,), or a scalar, with trailing axes, to broadcast with an array (N,
    ...).
    """
    return (
        value.reshape(*value.shape, *(1,) * (theta.ndim - value.ndim))
        if value.ndim
        else value
    )


def with_network_axis(series: Array, like: Array) -> Array:
    """A shared series with an axis of 1 for networks, if `like`, a step or a matrix,
    has one.
    """
    is_shared = series.ndim + is_integer(series) < like.ndim + 1
    return series[:, None] if is_shared else series


def to_state_dict(
    params: Parameters[Array], *, rnn: str = "rnn.", linear: str = "linear."
) -> dict[str, Array]:
    """The parameters as the state dict of a torch.nn.RNN and a torch.nn.Linear.

        key                 value         shape
        rnn.weight_ih_l0    W_xh.T        (H, D)
        rnn.weight_hh_l0    W_hh.T        (H, H)
        rnn.bias_ih_l0      b_h           (H,)
        rnn.bias_hh_l0      zeros         (H,)
        linear.weight       W_hy.T        (O, H)
        linear.bias         b_y           (O,)

    A module whose attributes `rnn` and `linear` are the two layers loads it as it is;
    for other names give other prefixes. Without biases there are no bias keys. The
    arrays are new.

    torch.nn.RNN adds two hidden biases where there is one here; b_h is their sum. If
    both are trained, the sum moves twice as far as b_h would: let bias_hh_l0 require no
    gradient.

    Raises InputError on an ensemble and on numbers that are not finite.
    """
    check_call(ARRAYS, params=params, finite=True)
    state = state_of(to_numpy(params), rnn, linear)
    return {key: from_numpy(array) for key, array in state.items()}


def from_state_dict(
    state: Mapping[str, Any], *, rnn: str = "rnn.", linear: str = "linear."
) -> Parameters[Array]:
    """The parameters of a torch.nn.RNN and a torch.nn.Linear: the inverse of
    `to_state_dict`.

    b_h = bias_ih_l0 + bias_hh_l0. state: names to arrays, NumPy's or torch's, for
    example module.state_dict() or the arrays that numpy.savez saved of it. Returns new
    parameters. The state does not contain the nonlinearity: pass it to `forward` and
    `train`.

    Raises InputError on the state of another network: several layers, two directions,
    projections, the gates of an LSTM or GRU, missing or unknown keys, biases in one of
    the two layers only, shapes or dtypes that do not fit, and values that are not
    finite.
    """
    params: Parameters[Array] = from_numpy(parameters_of(state, rnn, linear))
    return params
