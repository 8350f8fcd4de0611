"""Parameters and activations, into and out of this backend."""

import warnings

import numpy as np
import torch

from numpy_rnn.common.arrays import Arrays, check_convertible, is_plain, like
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Activations, Adjoints, Gradients, Parameters, State, Update
from numpy_rnn.common.state_dict import parameters_of, state_of

ARRAYS = Arrays(torch.Tensor, "a torch.Tensor", "torch_rnn")  # what the functions of this package take

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

    None and plain numbers stay as they are. Nothing is shared: a change of the original is not seen in the copy. The
    tensors of Parameters require a gradient, so that `forward` records what `bptt` needs.

    Raises InputError on lists, tensors, masked arrays, and dtypes other than float32, float64 and integers.
    """
    if isinstance(value, tuple):
        copies = like(value, map(from_numpy, value))
        if isinstance(value, Parameters):
            _require_gradients(copies)
        return copies
    if is_plain(value):
        return value
    check_convertible(value)
    return torch.tensor(value)


def view_of_numpy(array):
    """A NumPy array as one of this backend, for reading only and without a copy: for series mapped from a file.

    Raises InputError as `from_numpy` does.
    """
    check_convertible(array)
    with warnings.catch_warnings():  # that a tensor of read-only memory can be written to
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.asarray(array))


def own(params) -> Parameters:
    """A copy of parameters of this backend, to train on."""
    return Parameters(*(None if theta is None else theta.detach().clone().requires_grad_() for theta in params))


def _require_gradients(params):
    for theta in params:
        if isinstance(theta, torch.Tensor) and theta.is_floating_point():
            theta.requires_grad_()


def copy_of(value):
    """A copy of an array of this backend, or of every array of a named tuple; without autograd's graph."""
    if isinstance(value, tuple):
        return like(value, map(copy_of, value))
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def handed_out(value):
    """Parameters or a velocity, so that who gets them cannot change the run: copies."""
    return own(value) if isinstance(value, Parameters) and value.W_hh.requires_grad else copy_of(value)


def to_numpy(value):
    """The NumPy copy of an array of this backend, or of every array of a named tuple; the way back of `from_numpy`.

    Raises InputError on what is not of this backend, and on dtypes that `from_numpy` does not take.
    """
    if isinstance(value, tuple):
        return like(value, map(to_numpy, value))
    if is_plain(value):
        return value
    ARRAYS.check(value=value)
    if value.dtype == torch.bfloat16:
        raise InputError("the tensor is torch.bfloat16: expected a dtype that NumPy has; convert it by .float()")
    array = value.detach().cpu().numpy()
    check_convertible(array)
    return array.copy()


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
    drawn = draw_parameters(input_size, hidden_size, output_size, bias=bias, dtype=dtype, seed=seed, networks=networks)
    return from_numpy(drawn)
