"""Parameters under the names and in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays; torch is not
needed. The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.checks import NUMPY_ARRAYS, Arguments, check_values, numpy_view
from numpy_rnn.common.errors import InputError, short_repr, some_of
from numpy_rnn.common.records import Array, NumpyArray, Parameters

# The names of the RNN and of the Linear, with the axes of their arrays: three weights, then the biases.
AXES = {
    "weight_ih_l0": "H D", "weight_hh_l0": "H H", "weight": "O H", "bias_ih_l0": "H", "bias_hh_l0": "H", "bias": "O"
}  # fmt: skip


def _keys(rnn: str, linear: str) -> list[str]:
    """The names with the prefixes of the two layers. Raises InputError on a prefix that is no text."""
    for name, prefix in (("rnn", rnn), ("linear", linear)):
        if not isinstance(prefix, str):
            raise InputError(
                f"{name} is {short_repr(prefix, repr)}: expected the prefix of keys, such as {name + '.'!r}"
            )
    return [(rnn if name.endswith("_l0") else linear) + name for name in AXES]


def state_of(params: Parameters[Array], rnn: str, linear: str) -> dict[str, NumpyArray]:
    """Checked NumPy parameters → state dict. Raises InputError on what the two layers cannot hold."""
    W_xh, W_hh, W_hy, b_h, b_y, h_0 = params
    if W_hh.ndim != 2 or h_0 is not None:
        what = "an ensemble" if h_0 is None else "a learned h_0"
        raise InputError(
            f"the parameters have {what}, and torch.nn.RNN has not: expected one network with h_0 None; take network n"
            " by indexing every array with n, and pass a learned h_0[None] to torch.nn.RNN as hx"
        )
    biases = [] if b_h is None or b_y is None else [b_h, np.zeros_like(b_h), b_y]
    arrays = zip(_keys(rnn, linear), [W_xh.T, W_hh.T, W_hy.T, *biases])
    return {key: np.ascontiguousarray(array) for key, array in arrays}  # as those of a module are


def parameters_of(state: Mapping[str, Any], rnn: str, linear: str) -> Parameters[Array]:
    """State dict → NumPy parameters, of NumPy arrays or torch tensors. Raises InputError on any other network's."""
    if not isinstance(state, Mapping):
        raise InputError(
            f"the state is a {type(state).__name__}: expected a dictionary of arrays, such as state_dict() returns"
        )
    keys = _keys(rnn, linear)
    keys = keys if any(key in state for key in keys[3:]) else keys[:3]
    missing, unknown = (
        [key for key in keys if key not in state],
        [key for key in state if key not in keys],
    )
    if missing or unknown:
        faults = [
            f"{what} {some_of(names)}"
            for what, names in (("no", missing), ("an unknown", unknown))
            if names
        ]
        raise InputError(
            f"the state has {' and '.join(faults)}: expected the names of a torch.nn.RNN of one layer and one direction"
            " and of a torch.nn.Linear, with all biases or none; pass other prefixes as rnn= and linear="
        )
    arguments, arrays = (
        Arguments(NUMPY_ARRAYS, finite=True),
        [numpy_view(key, state[key]) for key in keys],
    )
    for key, array, axes in zip(keys, arrays, AXES.values()):
        arguments.array(key, array, axes)
    params = Parameters(*(array.T.copy() for array in arrays[:3]))
    if len(arrays) == 3:
        return params
    first, second, b_y = arrays[3:]
    with np.errstate(over="ignore"):
        b_h = np.where(second == 0, first, first + second)  # −0 + 0 would be 0
    check_values("the sum of the hidden biases", b_h)
    return params._replace(b_h=b_h, b_y=b_y.copy())
