"""Parameters in the layout of torch.nn.RNN and torch.nn.Linear, as NumPy arrays,
without torch.

The docstring of `to_state_dict`, parameters.py, has the table of keys.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.common.array_kinds import NUMPY_KIND, numpy_view
from numpy_rnn.common.axes import ArrayChecks
from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Parameters
from numpy_rnn.common.texts import short_repr, some_of

# Keys, with the prefixes of the two layers, and the axes of their arrays.
WEIGHT_AXES = {
    "{rnn}weight_ih_l0": "HD",
    "{rnn}weight_hh_l0": "HH",
    "{linear}weight": "OH",
}
BIAS_AXES = {"{rnn}bias_ih_l0": "H", "{rnn}bias_hh_l0": "H", "{linear}bias": "O"}
EXPECTED_KEYS = (
    "expected the keys of a torch.nn.RNN of one layer and one direction and of a "
    "torch.nn.Linear, with all biases or none; pass other prefixes as rnn= and linear="
)


def axes_by_key(names: dict[str, str], rnn: str, linear: str) -> dict[str, str]:
    """Return WEIGHT_AXES or BIAS_AXES with these prefixes."""
    for layer, prefix in {"rnn": rnn, "linear": linear}.items():
        if not isinstance(prefix, str):
            raise InputError(
                f"{layer} is {short_repr(prefix, repr)}: expected the prefix of keys"
            )
    return {key.format(rnn=rnn, linear=linear): axes for key, axes in names.items()}


def state_from_parameters(
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
    keys = list(axes_by_key(WEIGHT_AXES, rnn, linear))
    if b_h is not None and b_y is not None:
        arrays += [b_h, np.zeros_like(b_h), b_y]
        keys += axes_by_key(BIAS_AXES, rnn, linear)
    # In C order, as the arrays of a module are.
    return {key: np.ascontiguousarray(array) for key, array in zip(keys, arrays)}


def parameters_from_state(
    state: Mapping[str, Any], rnn: str, linear: str
) -> Parameters[NumpyArray]:
    """Return a state dict as NumPy parameters; that of another network is refused."""
    if not isinstance(state, Mapping):
        raise InputError(
            f"the state is a {type(state).__name__}: expected a dictionary of arrays, "
            "as state_dict() returns it"
        )
    expected = axes_by_key(WEIGHT_AXES, rnn, linear)
    biases = axes_by_key(BIAS_AXES, rnn, linear)
    if any(key in state for key in biases):
        expected |= biases
    _check_keys(state, list(expected))
    checks = ArrayChecks(NUMPY_KIND, finite=True)
    arrays = []
    for key, axes in expected.items():
        array = numpy_view(key, state[key])
        checks.check(key, array, axes)
        arrays.append(array.T.copy())
    params = Parameters(*arrays[:3])
    if len(arrays) > 3:
        first, second, b_y = arrays[3:]
        with np.errstate(over="ignore"):  # an infinite sum is refused below
            b_h = np.where(second == 0, first, first + second)  # −0 + 0 would be 0
        params = params._replace(b_h=b_h, b_y=b_y)
    check_finite_parameters(NUMPY_KIND, params)
    return params


def _check_keys(state: Mapping[str, Any], keys: list[str]) -> None:
    """Check that the state has these keys and no others."""
    missing = [key for key in keys if key not in state]
    unknown = [key for key in state if key not in keys]
    mistakes = []
    if missing:
        mistakes.append(f"no {some_of(missing)}")
    if unknown:
        mistakes.append(f"an unknown {some_of(unknown)}")
    if mistakes:
        raise InputError(f"the state has {' and '.join(mistakes)}: {EXPECTED_KEYS}")
