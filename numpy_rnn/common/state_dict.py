"""Parameters under the names and in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays; torch is not
needed. The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.checks import NUMPY_ARRAYS, check_dtype, check_finite, check_parameters
from numpy_rnn.common.errors import InputError, shown, some_of
from numpy_rnn.common.records import Array, NumpyArray, Parameters

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "weight")  # two of the RNN, one of the Linear
BIASES = ("bias_ih_l0", "bias_hh_l0", "bias")
OTHER_NETWORKS = {  # parts of keys that tell them
    "_reverse": "a bidirectional RNN", "weight_hr": "an RNN with projections", "_l1": "an RNN with several layers"
}  # fmt: skip


def keys_of(names: tuple[str, str, str], rnn: str, linear: str) -> list[str]:
    """The keys of two names of the RNN and one of the Linear."""
    for name, prefix in (("rnn", rnn), ("linear", linear)):
        if not isinstance(prefix, str):
            raise InputError(f"{name} is a {type(prefix).__name__}: expected a prefix of names, for example '{name}.'")
    return [rnn + names[0], rnn + names[1], linear + names[2]]


def state_of(params: Parameters[Array], rnn: str, linear: str) -> dict[str, NumpyArray]:
    """NumPy parameters → state dict. Raises InputError on what the two layers cannot hold."""
    weights, biases = keys_of(WEIGHTS, rnn, linear), keys_of(BIASES, rnn, linear)
    check_parameters(NUMPY_ARRAYS, params)
    check_finite(**params._asdict())
    W_xh, W_hh, W_hy, b_h, b_y, h_0 = params
    if W_hh.ndim != 2:
        raise InputError(
            f"the parameters are an ensemble of shape {W_hh.shape[:-2]}: expected one network, as torch.nn.RNN holds"
            " one; take network n by indexing every array with n"
        )
    if h_0 is not None:
        raise InputError(
            "the parameters have a learned h_0, and torch.nn.RNN has no such parameter: expected h_0 None; keep h_0,"
            " pass params._replace(h_0=None) here, and h_0[None] to torch.nn.RNN as hx"
        )
    first, last = dict(zip(weights[:2], (W_xh.T, W_hh.T))), {weights[2]: W_hy.T}
    if b_h is not None and b_y is not None:
        first |= dict(zip(biases[:2], (b_h, np.zeros_like(b_h))))
        last |= {biases[2]: b_y}
    return {key: np.ascontiguousarray(array) for key, array in (first | last).items()}  # as those of a module are


def parameters_of(state: Mapping[str, Any], rnn: str, linear: str) -> Parameters[Array]:
    """State dict → NumPy parameters, of NumPy arrays or torch tensors. Raises InputError on any other network's."""
    if not isinstance(state, Mapping):
        raise InputError(
            f"the state is a {type(state).__name__}: expected a dictionary of arrays, such as state_dict() returns"
        )
    weights, biases = keys_of(WEIGHTS, rnn, linear), keys_of(BIASES, rnn, linear)
    _check_keys(state, weights, biases)
    arrays = {key: _array(key, value) for key, value in state.items()}
    ih, hh, readout = (arrays[key] for key in weights)
    for key in weights:
        if arrays[key].ndim != 2 or arrays[key].size == 0:
            raise InputError(f"{key} has shape {arrays[key].shape}: expected (to, from), neither of size 0")
    (rows, D), H, O = ih.shape, hh.shape[1], len(readout)
    gates = {3 * H: "; these are the gates of a GRU", 4 * H: "; these are the gates of an LSTM"}.get(rows, "")
    for key, shape in zip(weights + biases, ((H, D), (H, H), (O, H), (H,), (H,), (O,))):
        if key in arrays and arrays[key].shape != shape:
            raise InputError(f"{key} has shape {arrays[key].shape}: expected {shape}, to fit the other weights{gates}")
        if key in arrays and arrays[key].dtype != hh.dtype:
            raise InputError(f"{key} is {arrays[key].dtype} and {weights[1]} is {hh.dtype}: expected one dtype")
    params = Parameters(*(array.T.copy() for array in (ih, hh, readout)))
    if biases[2] in arrays:
        first, second, b_y = (arrays[key] for key in biases)
        with np.errstate(over="ignore", invalid="ignore"):
            b_h = np.where(second == 0, first, first + second)  # −0 + 0 would be 0
        params = params._replace(b_h=b_h, b_y=b_y.copy())
    check_finite(**params._asdict())
    return params


def _check_keys(state: Mapping[str, Any], weights: list[str], biases: list[str]) -> None:
    if missing := [key for key in weights if key not in state]:
        raise InputError(
            f"the state has no {', '.join(missing)}; it has {some_of(state) or 'nothing'}: expected the names of"
            " torch.nn.RNN and of torch.nn.Linear, each after its prefix; pass other prefixes as rnn= and linear="
        )
    for key in state:
        if key not in weights + biases:
            kinds = [kind for part, kind in OTHER_NETWORKS.items() if part in str(key)]
            kind = f"of {kinds[0]}" if kinds else "which is not of this network"
            raise InputError(f"the state has {shown(key)}, {kind}: expected {', '.join(weights)} and biases")
    present = [key in state for key in biases]
    if any(present) and not all(present):
        has, lacks = ([key for key, is_there in zip(biases, present) if is_there is wanted] for wanted in (True, False))
        raise InputError(
            f"the state has {' and '.join(has)} and no {' and '.join(lacks)}: expected all biases or none; to train one"
            " that is missing, add zeros under its name"
        )


def _array(key: str, value: Any) -> NumpyArray:
    if isinstance(value, np.ma.MaskedArray) or not hasattr(value, "dtype"):
        NUMPY_ARRAYS.check(**{key: value})
    check_dtype(key, value)
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
