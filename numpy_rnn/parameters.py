"""Parameters and activations, into and out of this backend."""

import numpy as np

from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Activations, Deltas, Gradients, Parameters, Update

__all__ = ["Activations", "Deltas", "Gradients", "Parameters", "Update", "from_numpy", "initial_parameters", "to_numpy"]


def from_numpy(value):
    """This backend's own copy of a NumPy array, or of every array of a named tuple such as Parameters.

    None and plain numbers stay as they are. Nothing is shared: a change of the original is not seen in the copy.
    """
    if isinstance(value, tuple):
        return type(value)(*map(from_numpy, value))
    return value if value is None or isinstance(value, int) else np.array(value)


def to_numpy(value):
    """The NumPy copy of an array of this backend, or of every array of a named tuple; the way back of `from_numpy`."""
    if isinstance(value, tuple):
        return type(value)(*map(to_numpy, value))
    return value if value is None or isinstance(value, int) else np.array(value)


def initial_parameters(
    input_size=1, hidden_size=6, output_size=1, *, bias=False, dtype="float32", seed=0, networks=None
) -> Parameters:
    """Initial weights, the same in every backend: drawn once, by NumPy's Generator.

    W_xh and W_hh ~ N(0, 0.4), W_hy ~ N(0, 0.3) (standard deviations), biases zero. With `networks` = N, an ensemble of
    shape (N,), whose n-th network is the one that `seed + n` draws alone.
    """
    drawn = draw_parameters(input_size, hidden_size, output_size, bias=bias, dtype=dtype, seed=seed, networks=networks)
    return from_numpy(drawn)
