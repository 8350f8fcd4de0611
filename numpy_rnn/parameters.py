"""The arrays and records of this package, and their conversion from and to NumPy and state dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from numpy_rnn.common.checks import NUMPY_ARRAYS as ARRAYS
from numpy_rnn.common.checks import check_convertible, check_parameters, is_integer
from numpy_rnn.common.conversion import convert
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import Activations, Adjoints, Gradients, Parameters, State, Update
from numpy_rnn.common.state_dict import parameters_of, state_of

Array: TypeAlias = NDArray[Any]
Inputs: TypeAlias = Annotated[Array, "T *E B D"]  # without *E, an array that all networks share
Targets: TypeAlias = Annotated[
    Array, "K *E B O"
]  # inputs and targets may be classes, without their last axis
Outputs: TypeAlias = Annotated[Array, "K *E B O"]
InitialState: TypeAlias = Annotated[Array, "*E B H"]
Weights: TypeAlias = Annotated[Array, "K B"]
Losses: TypeAlias = Annotated[Array, "*E"]
Norms: TypeAlias = Annotated[Array, "*E"]
LearningRate: TypeAlias = float | Annotated[Array, "*E"]
Elementwise: TypeAlias = Callable[[Array], Array]

__all__ = [
    "ARRAYS", "Activations", "Adjoints", "Gradients", "Parameters", "State", "Update", "copy_of", "from_numpy",
    "from_state_dict", "initial_parameters", "to_numpy", "to_state_dict",
]  # fmt: skip


def from_numpy(value: Any, *, copy: bool = True) -> Any:
    """A NumPy array, or every array of a named tuple such as Parameters, as an array of this backend.

    None and plain numbers are returned as they are. copy: whether to copy the memory; False returns arrays that share
    it and are for reading only, for example of a series that is mapped from a file.

    Raises InputError on lists, tensors, masked arrays, and dtypes other than float32, float64 and integers.
    """

    def converted(array: Any) -> Array:
        check_convertible(array)
        return np.array(array) if copy else np.asarray(array)

    return convert(converted, value)


def to_numpy(value: Any) -> Any:
    """The NumPy copy of an array of this backend, or of every array of a named tuple; the inverse of `from_numpy`.

    Raises InputError on values of other packages, and on dtypes that `from_numpy` refuses.
    """
    return from_numpy(value)


def copy_of(value: Any) -> Any:
    """A copy of an array of this package, or of every array of a named tuple, in C order."""
    return convert(partial(np.array, order="C"), value)


def read_only(value: Any) -> Any:
    """Parameters or a velocity, made read-only, so that a caller who gets them cannot change the run."""
    for array in value or ():
        if array is not None:
            array.flags.writeable = False
    return value


def expand_to(value: Array, theta: Array) -> Array:
    """A value of shape E, or (), with trailing axes added so that it broadcasts with an array (*E, ...)."""
    return value.reshape(*value.shape, *(1,) * (theta.ndim - value.ndim)) if value.ndim else value


def series_axes(series: Array, ndim: int) -> Array:
    """The series with the axes of an ensemble: (T, B, N) → (T, 1, ..., B, N) of `ndim` axes, classes one less."""
    missing = ndim - is_integer(series) - series.ndim
    return (
        series.reshape(series.shape[0], *(1,) * missing, *series.shape[1:])
        if missing > 0
        else series
    )


def weights_with_axes(weights: Weights | None, ndim: int) -> Weights | None:
    """Weights (K, B) as (K, 1, ..., B, 1) of `ndim` axes, so that they multiply rows; None as it is."""
    return None if weights is None else weights.reshape(len(weights), *(1,) * (ndim - 3), -1, 1)


def to_state_dict(
    params: Parameters[Array], *, rnn: str = "rnn.", linear: str = "linear."
) -> dict[str, Array]:
    """The parameters as the state dict of a torch.nn.RNN and a torch.nn.Linear, in arrays of this backend.

        key                 value         shape
        rnn.weight_ih_l0    W_xh.T        (H, D)
        rnn.weight_hh_l0    W_hh.T        (H, H)
        rnn.bias_ih_l0      b_h           (H,)
        rnn.bias_hh_l0      zeros         (H,)
        linear.weight       W_hy.T        (O, H)
        linear.bias         b_y           (O,)

    A module whose attributes `rnn` and `linear` are the two layers loads it as it is; for other names give other
    prefixes. Without biases there are no bias keys. The arrays are new and share no memory with params.

    torch.nn.RNN adds two hidden biases where there is one here; b_h is their sum. If both are trained, the sum moves
    twice as far as b_h would: let bias_hh_l0 require no gradient.

    Raises InputError on an ensemble, on numbers that are not finite, and on a learned h_0, which torch.nn.RNN takes as
    an argument, hx, and not as a parameter.
    """
    check_parameters(ARRAYS, params, finite=True)
    return {
        key: from_numpy(array) for key, array in state_of(to_numpy(params), rnn, linear).items()
    }


def from_state_dict(
    state: Mapping[str, Any], *, rnn: str = "rnn.", linear: str = "linear."
) -> Parameters[Array]:
    """The parameters of a torch.nn.RNN and a torch.nn.Linear: the inverse of `to_state_dict`, with its keys.

    b_h = bias_ih_l0 + bias_hh_l0. state: names to arrays, NumPy's or torch's, for example module.state_dict() or the
    arrays that numpy.savez saved of it. Returns new parameters, which share no memory with the state. The state does
    not contain the nonlinearity: pass it to `forward` and `train`.

    Raises InputError on the state of another network: several layers, two directions, projections, the gates of an LSTM
    or GRU, missing or unknown keys, biases in one of the two layers only, shapes or dtypes that do not fit, and
    values that are not finite.
    """
    params: Parameters[Array] = from_numpy(parameters_of(state, rnn, linear))
    return params
