"""Parameters in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays,
without torch.

The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.checks import NUMPY_ARRAYS, check_arrays, check_call, numpy_view
from numpy_rnn.common.errors import InputError, short_repr, some_of
from numpy_rnn.common.records import NumpyArray, Parameters

AXES = {"weight_ih_l0": "H D", "weight_hh_l0": "H H", "weight": "O H"}
AXES |= {"bias_ih_l0": "H", "bias_hh_l0": "H", "bias": "O"}
EXPECTED = (
    "expected the keys of a torch.nn.RNN of one layer and one direction and of a "
    "torch.nn.Linear, with all biases or none; pass other prefixes as rnn= and linear="
)


def axes_by_key(rnn: str, linear: str) -> dict[str, str]:
    """The axes of all arrays by their keys, weights first; rnn, linear: prefixes of the
    layers.
    """
    for name, prefix in (("rnn", rnn), ("linear", linear)):
        if not isinstance(prefix, str):
            raise InputError(
                f"{name} is {short_repr(prefix, repr)}: expected the prefix of keys"
            )
    return {
        (rnn if "l0" in name else linear) + name: axes for name, axes in AXES.items()
    }


def state_of(
    params: Parameters[NumpyArray], rnn: str, linear: str
) -> dict[str, NumpyArray]:
    """Checked NumPy parameters → state dict. Raises InputError on an ensemble."""
    if params.networks is not None:
        found = "the parameters are an ensemble, and torch.nn.RNN is one network"
        raise InputError(
            f"{found}: expected one; take network n by indexing every array with n"
        )
    W_xh, W_hh, W_hy, b_h, b_y = params
    biases = [] if b_h is None or b_y is None else [b_h, np.zeros_like(b_h), b_y]
    arrays = zip(axes_by_key(rnn, linear), [W_xh.T, W_hh.T, W_hy.T, *biases])
    return {
        key: np.ascontiguousarray(array) for key, array in arrays
    }  # as those of a module are


def parameters_of(
    state: Mapping[str, Any], rnn: str, linear: str
) -> Parameters[NumpyArray]:
    """State dict → NumPy parameters. Raises InputError on the state of any other
    network.
    """
    if not isinstance(state, Mapping):
        found = f"the state is a {type(state).__name__}"
        raise InputError(
            f"{found}: expected a dictionary of arrays, as state_dict() returns it"
        )
    axes = axes_by_key(rnn, linear)
    names = (
        list(axes) if any(key in state for key in list(axes)[3:]) else list(axes)[:3]
    )
    faults = {"no": [key for key in names if key not in state]}
    faults["an unknown"] = [key for key in state if key not in names]
    if any(faults.values()):
        found = [f"{kind} {some_of(keys)}" for kind, keys in faults.items() if keys]
        raise InputError(f"the state has {' and '.join(found)}: {EXPECTED}")
    arrays = {key: numpy_view(key, state[key]) for key in names}
    check_arrays(
        NUMPY_ARRAYS, ((key, arrays[key], axes[key]) for key in names), finite=True
    )
    W_xh, W_hh, W_hy, *biases = arrays.values()
    if biases:
        first, second, b_y = biases
        with np.errstate(over="ignore"):  # an infinite sum is refused below
            biases = [
                np.where(second == 0, first, first + second),
                b_y,
            ]  # −0 + 0 would be 0
    params = Parameters(*(array.copy() for array in (W_xh.T, W_hh.T, W_hy.T, *biases)))
    check_call(NUMPY_ARRAYS, params=params, finite=True)
    return params
