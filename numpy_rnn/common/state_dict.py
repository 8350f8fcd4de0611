"""Parameters under the names and in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays; torch is not
needed. The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

import re
from collections.abc import Mapping

import numpy as np

from numpy_rnn.common.checks import NUMPY_ARRAYS, check_finite, check_parameters
from numpy_rnn.common.errors import InputError, shown, some_of
from numpy_rnn.common.records import DTYPES, Array, NumpyArray, Parameters

OF_RNN = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
OF_LINEAR = ("weight", "bias")


def state_of(params: Parameters[Array], rnn: str, linear: str) -> dict[str, NumpyArray]:
    """NumPy parameters → state dict. Raises InputError on what the two layers cannot hold."""
    _check_prefixes(rnn, linear)
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
    arrays = {rnn + "weight_ih_l0": W_xh.T, rnn + "weight_hh_l0": W_hh.T}
    if b_h is not None:
        arrays |= {rnn + "bias_ih_l0": b_h, rnn + "bias_hh_l0": np.zeros_like(b_h)}
    arrays[linear + "weight"] = W_hy.T
    if b_y is not None:
        arrays[linear + "bias"] = b_y
    return {key: np.ascontiguousarray(array) for key, array in arrays.items()}  # as those of a module are


def parameters_of(state: Mapping[str, Array], rnn: str, linear: str) -> Parameters[Array]:
    """State dict → NumPy parameters, of NumPy arrays or torch tensors. Raises InputError on any other network's."""
    if not isinstance(state, Mapping):
        raise InputError(
            f"the state is a {type(state).__name__}: expected a dictionary of arrays, such as state_dict() returns"
        )
    _check_prefixes(rnn, linear)
    keys = [rnn + name for name in OF_RNN] + [linear + name for name in OF_LINEAR]
    _check_keys(state, keys)
    arrays = {key: _array(key, value) for key, value in state.items()}
    _check_shapes(arrays, keys)
    ih, hh, bias_ih, bias_hh, weight, bias = keys
    biases = (_sum(arrays[bias_ih], arrays[bias_hh]), arrays[bias]) if bias in arrays else ()
    params = Parameters(*(arrays[key].T.copy() for key in (ih, hh, weight)), *biases)
    check_finite(**params._asdict())
    return params


def _check_prefixes(rnn: str, linear: str) -> None:
    for name, prefix in (("rnn", rnn), ("linear", linear)):
        if not isinstance(prefix, str):
            raise InputError(f"{name} is a {type(prefix).__name__}: expected a prefix of names, for example '{name}.'")


def _sum(bias_ih: NumpyArray, bias_hh: NumpyArray) -> NumpyArray:
    """Their sum, which is bias_ih where bias_hh is zero: −0 + 0 would be 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(bias_hh == 0, bias_ih, bias_ih + bias_hh)


def _check_keys(state: Mapping[str, Array], keys: list[str]) -> None:
    ih, hh, *rnn_biases, weight, linear_bias = keys
    required = [ih, hh, weight]
    if missing := [key for key in required if key not in state]:
        raise InputError(
            f"the state has no {', '.join(missing)}; it has {some_of(state) or 'nothing'}: expected the"
            " names of torch.nn.RNN and of torch.nn.Linear, each after its prefix; pass other prefixes"
            " as rnn= and linear="
        )
    for key in state:
        if key not in keys:
            raise InputError(
                f"the state has {shown(key)}{_kind_of(str(key))}: expected {', '.join(required)} and biases"
            )
    present = [key for key in rnn_biases if key in state]
    if len(present) == 1:
        raise InputError(f"the state has {present[0]} alone: expected {' and '.join(rnn_biases)}, or neither")
    if bool(present) != (linear_bias in state):
        one, other = ("RNN", "Linear") if present else ("Linear", "RNN")
        added = [linear_bias] if present else rnn_biases
        raise InputError(
            f"the {one} has biases and the {other} has none: expected both or neither, as zeros in their place would be"
            f" trained; to do that, add zeros under {' and '.join(added)}"
        )


def _kind_of(key: str) -> str:
    if key.endswith("_reverse"):
        return ", of a bidirectional RNN"
    if "weight_hr_l" in key:
        return ", of an RNN with projections"
    if re.search(r"_l[1-9][0-9]*$", key):
        return ", of an RNN with several layers"
    return ", which is not of this network"


def _array(key: str, value: Array) -> NumpyArray:
    dtype = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
    if isinstance(value, np.ma.MaskedArray):
        NUMPY_ARRAYS.check(**{key: value})
    if dtype not in DTYPES:
        raise InputError(f"{key} is {dtype}: expected {' or '.join(DTYPES)}")
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _check_shapes(arrays: dict[str, NumpyArray], keys: list[str]) -> None:
    """Raise InputError unless they are those of one layer each, with the sizes of their weights, and of one dtype."""
    ih, hh, _, _, weight, _ = keys
    for key in (ih, hh, weight):
        if arrays[key].ndim != 2 or arrays[key].size == 0:
            raise InputError(f"{key} has shape {arrays[key].shape}: expected (to, from), neither of size 0")
    (rows, D), H, O = arrays[ih].shape, arrays[hh].shape[1], len(arrays[weight])
    hint = {3 * H: "; these are the gates of a GRU", 4 * H: "; these are the gates of an LSTM"}.get(rows, "")
    expected = dict(zip(keys, ((H, D), (H, H), (H,), (H,), (O, H), (O,))))
    dtype = arrays[hh].dtype
    for key, array in arrays.items():
        if array.shape != expected[key]:
            raise InputError(f"{key} has shape {array.shape}: expected {expected[key]}, to fit the other weights{hint}")
        if array.dtype != dtype:
            raise InputError(f"{key} is {array.dtype} and {hh} is {dtype}: expected one dtype for all of them")
