"""Parameters in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays, without torch.

The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.arrays import NUMPY_ARRAYS, Arguments, check_values, numpy_view
from numpy_rnn.common.errors import InputError, short_repr, some_of
from numpy_rnn.common.records import Array, NumpyArray, Parameters

WEIGHTS = {"weight_ih_l0": "H D", "weight_hh_l0": "H H", "weight": "O H"}  # names and axes
BIASES = {"bias_ih_l0": "H", "bias_hh_l0": "H", "bias": "O"}


def _keys(rnn: str, linear: str) -> dict[str, str]:
    """The axes of all arrays by their keys, with the prefixes of the two layers."""
    for name, prefix in (("rnn", rnn), ("linear", linear)):
        if not isinstance(prefix, str):
            raise InputError(f"{name} is {short_repr(prefix, repr)}: expected the prefix of keys")
    axes = WEIGHTS | BIASES
    return {f"{rnn if name.endswith('_l0') else linear}{name}": axes[name] for name in axes}


def state_of(params: Parameters[Array], rnn: str, linear: str) -> dict[str, NumpyArray]:
    """Checked NumPy parameters → state dict. Raises InputError on an ensemble."""
    keys, (W_xh, W_hh, W_hy, b_h, b_y) = _keys(rnn, linear), params
    if params.networks is not None:
        raise InputError(
            "the parameters are an ensemble, and torch.nn.RNN is one network: expected one; take"
            " network n by indexing every array with n"
        )
    biases = [] if b_h is None or b_y is None else [b_h, np.zeros_like(b_h), b_y]
    arrays = zip(keys, [W_xh.T, W_hh.T, W_hy.T, *biases])
    return {key: np.ascontiguousarray(array) for key, array in arrays}  # as those of a module are


def parameters_of(state: Mapping[str, Any], rnn: str, linear: str) -> Parameters[Array]:
    """State dict → NumPy parameters. Raises InputError on the state of any other network."""
    if not isinstance(state, Mapping):
        raise InputError(
            f"the state is a {type(state).__name__}: expected a dictionary of arrays, such as"
            " state_dict() returns"
        )
    keys = _keys(rnn, linear)
    names = list(keys)
    names = names if any(key in state for key in names[3:]) else names[:3]
    missing = [key for key in names if key not in state]
    unknown = [key for key in state if key not in names]
    faults = [f"no {some_of(missing)}"] if missing else []
    faults += [f"an unknown {some_of(unknown)}"] if unknown else []
    if faults:
        raise InputError(
            f"the state has {' and '.join(faults)}: expected the names of a torch.nn.RNN of one"
            " layer and one direction and of a torch.nn.Linear, with all biases or none; pass other"
            " prefixes as rnn= and linear="
        )
    arguments = Arguments(NUMPY_ARRAYS, finite=True)
    arrays = {key: numpy_view(key, state[key]) for key in names}
    for key, array in arrays.items():
        arguments.array(key, array, keys[key])
    W_xh, W_hh, W_hy, *biases = arrays.values()
    params = Parameters(W_xh.T.copy(), W_hh.T.copy(), W_hy.T.copy())
    if not biases:
        return params
    first, second, b_y = biases
    with np.errstate(over="ignore"):
        b_h = np.where(second == 0, first, first + second)  # −0 + 0 would be 0
    check_values("the sum of the hidden biases", b_h)
    return params._replace(b_h=b_h, b_y=b_y.copy())
