"""Parameters and state dicts of small networks, for the two layers of torch."""

import numpy as np
import pytest
from cases import random_case

import numpy_rnn

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
BIASES = pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
KEYS = ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0", "linear.weight", "linear.bias"]
WEIGHTS = [key for key in KEYS if "bias" not in key]


def drawn(D=2, H=3, O=4, bias=True, dtype="float64"):
    """Parameters, in NumPy."""
    return random_case(0, 1, 1, D, H, O, bias=bias, dtype=dtype).params


def state(**sizes):
    """Their state dict, in NumPy."""
    return numpy_rnn.to_state_dict(drawn(**sizes))


def numpy_of(arrays):
    """{name: array of either backend} → {name: NumPy array}."""
    return {name: np.asarray(array) for name, array in arrays.items()}


def in_ensemble():
    return random_case(0, 1, 1, 2, 3, 4, E=(5,)).params


UNSAYABLE = {
    "an ensemble": (in_ensemble(), r"an ensemble of shape \(5,\): expected one network"),
    "a learned h_0": (
        drawn()._replace(h_0=np.zeros((1, 3))),
        r"a learned h_0, and torch.nn.RNN has no .*h_0\[None\] to",
    ),
    "shapes that do not fit": (drawn()._replace(W_hy=np.zeros((2, 4))), "W_hy has shape"),
    "one bias": (drawn()._replace(b_y=None), "b_h is given without b_y"),
}
