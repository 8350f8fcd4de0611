"""Parameters: converted from and to NumPy and state dicts, and initial ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array
from numpy_rnn.common.array_kinds import check_convertible
from numpy_rnn.common.checks import check_finite_parameters
from numpy_rnn.common.initial import initial_parameters as initial_parameters
from numpy_rnn.common.records import Parameters, Value
from numpy_rnn.common.state_dict import parameters_from_state, state_from_parameters
from numpy_rnn.common.trees import tree_map


def from_numpy(value: Value, *, copy: bool = True) -> Value:
    """Convert a NumPy array, or every array of a named tuple, to this package's.

    Here they are NumPy arrays again; `torch_rnn.from_numpy` makes tensors.

    Parameters
    ----------
    value : ndarray, or tuple of arrays
        float32, float64 or integers, of any shape. None and plain numbers are returned
        as they are.
    copy : bool
        Whether to copy the memory. False returns arrays that share it and are for
        reading only, for example of a series mapped from a file.

    Returns
    -------
    ndarray, or tuple of arrays
        Of the shape, or the type, of the value.

    Raises
    ------
    InputError
        If the value is a list, a tensor, a masked array or a np.matrix, or has another
        dtype, or integers beyond int64.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> rnn.from_numpy(np.ones(2))
    array([1., 1.])
    """

    def converted(array: Any) -> Array:
        check_convertible(array)
        return np.array(array) if copy else np.asarray(array)

    return tree_map(converted, value)


def to_numpy(value: Value) -> Value:
    """Copy an array of this package, or every array of a named tuple, to NumPy.

    The arrays of this package are NumPy's already. The function is here for programs
    that work with either package: `torch_rnn.to_numpy` converts tensors.

    Parameters
    ----------
    value : ndarray, or tuple of arrays
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
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> rnn.to_numpy(np.ones(2))
    array([1., 1.])
    """
    return from_numpy(value)


def to_state_dict(
    params: Parameters[Array], *, rnn: str = "rnn.", linear: str = "linear."
) -> dict[str, Array]:
    """Convert parameters to the state dict of a torch.nn.RNN and a torch.nn.Linear.

        key                 value         shape
        rnn.weight_ih_l0    W_xh.T        (H, D)
        rnn.weight_hh_l0    W_hh.T        (H, H)
        rnn.bias_ih_l0      b_h           (H,)
        rnn.bias_hh_l0      zeros         (H,)
        linear.weight       W_hy.T        (O, H)
        linear.bias         b_y           (O,)

    torch.nn.RNN adds two hidden biases where there is one here; b_h is their sum. If
    both are trained, the sum moves twice as far as b_h would: let bias_hh_l0 require no
    gradient.

    Parameters
    ----------
    params : Parameters
        Of one network. Without biases there are no bias keys.
    rnn, linear : str
        Prefixes of the keys of the two layers: a module whose attributes `rnn` and
        `linear` they are loads the state as it is.

    Returns
    -------
    dict of ndarray
        New arrays by their keys.

    Raises
    ------
    InputError
        If the parameters are an ensemble, or not finite.

    Examples
    --------
    >>> import numpy_rnn as rnn
    >>> list(rnn.to_state_dict(rnn.initial_parameters(), rnn="", linear="head."))
    ['weight_ih_l0', 'weight_hh_l0', 'head.weight']
    """
    check_finite_parameters(ARRAY_KIND, params)
    return state_from_parameters(to_numpy(params), rnn, linear)


def from_state_dict(
    state: Mapping[str, Any], *, rnn: str = "rnn.", linear: str = "linear."
) -> Parameters[Array]:
    """Convert the state dict of a torch.nn.RNN and a torch.nn.Linear to parameters.

    It inverts `to_state_dict`, with b_h = bias_ih_l0 + bias_hh_l0. A state does not
    contain the nonlinearity: pass it to `forward` and `train`.

    Parameters
    ----------
    state : mapping of str to array
        NumPy's arrays or torch's tensors, for example module.state_dict(), or the
        arrays that numpy.savez saved of it, in the shapes of `to_state_dict`.
    rnn, linear : str
        Prefixes of the keys of the two layers.

    Returns
    -------
    Parameters
        New arrays.

    Raises
    ------
    InputError
        If the state is that of another network (several layers, two directions,
        projections, the gates of an LSTM or GRU, biases in one layer only), if a key is
        missing or unknown, if a shape or dtype does not fit, or a value is not finite.

    Examples
    --------
    >>> import numpy_rnn as rnn
    >>> params = rnn.initial_parameters(hidden_size=3, bias=True)
    >>> rnn.from_state_dict(rnn.to_state_dict(params)).W_xh.shape
    (1, 3)
    """
    return parameters_from_state(state, rnn, linear)
