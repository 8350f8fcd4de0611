"""Parameters in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays,
without torch.

The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.axes import NUMPY_ARRAYS, ArrayChecks, Axes, numpy_view
from numpy_rnn.common.checks import check_saved
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Parameters
from numpy_rnn.common.texts import short_repr, some_of

# The names of keys after their prefix, weights first, and the axes of their arrays.
AXES = {
    "weight_ih_l0": Axes("HD"),
    "weight_hh_l0": Axes("HH"),
    "weight": Axes("OH"),
    "bias_ih_l0": Axes("H"),
    "bias_hh_l0": Axes("H"),
    "bias": Axes("O"),
}
EXPECTED = (
    "expected the keys of a torch.nn.RNN of one layer and one direction and of a "
    "torch.nn.Linear, with all biases or none; pass other prefixes as rnn= and linear="
)


def axes_by_key(rnn: str, linear: str) -> dict[str, Axes]:
    """Return the axes of all arrays by their keys; rnn, linear: prefixes of layers."""
    for name, prefix in (("rnn", rnn), ("linear", linear)):
        if not isinstance(prefix, str):
            raise InputError(
                f"{name} is {short_repr(prefix, repr)}: expected the prefix of keys"
            )
    keys: dict[str, Axes] = {}
    for name, axes in AXES.items():
        prefix = rnn if "l0" in name else linear
        keys[prefix + name] = axes
    return keys


def state_of(
    params: Parameters[NumpyArray], rnn: str, linear: str
) -> dict[str, NumpyArray]:
    """Return checked NumPy parameters as a state dict."""
    if params.networks is not None:
        raise InputError(
            "the parameters are an ensemble, and torch.nn.RNN is one network: expected "
            "one; take network n by indexing every array with n"
        )
    W_xh, W_hh, W_hy, b_h, b_y = params
    arrays = [W_xh.T, W_hh.T, W_hy.T]
    if b_h is not None and b_y is not None:
        arrays += [b_h, np.zeros_like(b_h), b_y]
    keys = axes_by_key(rnn, linear)
    # In C order, as the arrays of a module are.
    return {key: np.ascontiguousarray(array) for key, array in zip(keys, arrays)}


def parameters_of(
    state: Mapping[str, Any], rnn: str, linear: str
) -> Parameters[NumpyArray]:
    """Return a state dict as NumPy parameters; that of another network is refused."""
    if not isinstance(state, Mapping):
        raise InputError(
            f"the state is a {type(state).__name__}: expected a dictionary of arrays, "
            "as state_dict() returns it"
        )
    axes = axes_by_key(rnn, linear)
    keys = list(axes)
    if not any(key in state for key in keys[3:]):
        keys = keys[:3]
    _check_keys(state, keys)
    checks = ArrayChecks(NUMPY_ARRAYS, finite=True, is_ensemble=False)
    arrays = [numpy_view(key, state[key]) for key in keys]
    for key, array in zip(keys, arrays):
        checks.check(key, array, axes[key])
    W_xh, W_hh, W_hy = (weight.T for weight in arrays[:3])
    params = Parameters(W_xh.copy(), W_hh.copy(), W_hy.copy())
    if len(arrays) > 3:
        first, second, b_y = arrays[3:]
        with np.errstate(over="ignore"):  # an infinite sum is refused below
            both = np.where(second == 0, first, first + second)  # −0 + 0 would be 0
        params = params._replace(b_h=both.copy(), b_y=b_y.copy())
    check_saved(NUMPY_ARRAYS, params)
    return params


def _check_keys(state: Mapping[str, Any], keys: list[str]) -> None:
    missing = [key for key in keys if key not in state]
    unknown = [key for key in state if key not in keys]
    found = []
    if missing:
        found.append(f"no {some_of(missing)}")
    if unknown:
        found.append(f"an unknown {some_of(unknown)}")
    if found:
        raise InputError(f"the state has {' and '.join(found)}: {EXPECTED}")
