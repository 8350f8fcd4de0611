"""Parameters and activations, into and out of this backend."""

import numpy as np

from numpy_rnn.common.arrays import NUMPY_ARRAYS, check_convertible, is_plain, like
from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Activations, Adjoints, Gradients, Parameters, State, Update
from numpy_rnn.common.state_dict import parameters_of, state_of

ARRAYS = NUMPY_ARRAYS  # what the functions of this package take

__all__ = [
    "ARRAYS",
    "Activations",
    "Adjoints",
    "Gradients",
    "Parameters",
    "State",
    "Update",
    "copy_of",
    "from_numpy",
    "from_state_dict",
    "handed_out",
    "initial_parameters",
    "own",
    "to_numpy",
    "to_state_dict",
    "view_of_numpy",
]


def from_numpy(value):
    """This backend's own copy of a NumPy array, or of every array of a named tuple such as Parameters.

    None and plain numbers stay as they are. Nothing is shared: a change of the original is not seen in the copy.

    Raises InputError on lists, tensors, masked arrays, and dtypes other than float32, float64 and integers.
    """
    if isinstance(value, tuple):
        return like(value, map(from_numpy, value))
    if is_plain(value):
        return value
    check_convertible(value)
    return np.array(value)


def view_of_numpy(array):
    """A NumPy array as one of this backend, for reading only and without a copy: for series mapped from a file.

    Raises InputError as `from_numpy` does.
    """
    check_convertible(array)
    return np.asarray(array)


def own(params) -> Parameters:
    """A copy of parameters of this backend, to train on."""
    return copy_of(params)


def copy_of(value):
    """A copy of an array of this backend, or of every array of a named tuple."""
    if isinstance(value, tuple):
        return like(value, map(copy_of, value))
    return value.copy("K") if isinstance(value, np.ndarray) else value


def handed_out(value):
    """Parameters or a velocity, so that who gets them cannot change the run: set to read-only."""
    for array in value or ():
        if array is not None:
            array.flags.writeable = False
    return value


def to_numpy(value):
    """The NumPy copy of an array of this backend, or of every array of a named tuple; the way back of `from_numpy`.

    Raises InputError on what is not of this backend, and on dtypes that `from_numpy` does not take.
    """
    if isinstance(value, tuple):
        return like(value, map(to_numpy, value))
    if is_plain(value):
        return value
    check_convertible(value)
    return np.array(value)


def to_state_dict(params, *, rnn="rnn.", linear="linear.") -> dict:
    """The parameters as the state dict of a torch.nn.RNN and a torch.nn.Linear, in arrays of this backend.

        key                 value         shape
        rnn.weight_ih_l0    W_xh turned   (H, D)
        rnn.weight_hh_l0    W_hh turned   (H, H)
        rnn.bias_ih_l0      b_h           (H,)
        rnn.bias_hh_l0      zeros         (H,)
        linear.weight       W_hy turned   (O, H)
        linear.bias         b_y           (O,)

    A module whose attributes `rnn` and `linear` are the two layers loads it as it is; for other names give other
    prefixes. Without biases the three bias keys are not there. New arrays, which share no memory with params.

    torch.nn.RNN adds two hidden biases where there is one here; b_h is their sum. If both are trained, the sum moves
    twice as far as b_h would: let bias_hh_l0 require no gradient.

    Raises InputError on an ensemble, on numbers that are not finite, and on a learned h_0, which torch.nn.RNN takes as
    an argument, hx, and not as a parameter.
    """
    ARRAYS.parameters(params)
    return {key: from_numpy(array) for key, array in state_of(to_numpy(params), rnn, linear).items()}


def from_state_dict(state, *, rnn="rnn.", linear="linear.") -> Parameters:
    """The parameters of a torch.nn.RNN and a torch.nn.Linear: the way back of `to_state_dict`, with its keys.

    b_h = bias_ih_l0 + bias_hh_l0. state: names to arrays, NumPy's or torch's, for example module.state_dict() or what
    numpy.savez made of it. New parameters, which share no memory with the state. Its nonlinearity is not in the state:
    pass it to `forward` and `train`.

    Raises InputError on any other network's state: several layers, two directions, projections, the gates of an LSTM or
    GRU, keys that are missing or not known, biases in one of the two layers only, shapes or dtypes that do not fit, and
    values that are not finite.
    """
    return from_numpy(parameters_of(state, rnn, linear))


def initial_parameters(
    input_size=1, hidden_size=6, output_size=1, *, bias=False, dtype="float32", seed=0, networks=None
) -> Parameters:
    """Initial weights, the same in every backend: drawn once, by NumPy's Generator.

    W_xh and W_hh ~ N(0, 0.4), W_hy ~ N(0, 0.3) (standard deviations), biases zero. With `networks` = N, an ensemble of
    shape (N,), whose n-th network is the one that `seed + n` draws alone.

    Raises InputError on a size, seed, number of networks, dtype or flag that no network has.
    """
    return draw_parameters(input_size, hidden_size, output_size, bias=bias, dtype=dtype, seed=seed, networks=networks)
