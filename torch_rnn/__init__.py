"""An Elman network in PyTorch, its gradients by autograd; `numpy_rnn` is the same with gradients derived by hand.

`python -m torch_rnn` learns a sine wave.
"""

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.windows import Window, windows
from torch_rnn.bptt import bptt, deltas
from torch_rnn.elman import forward
from torch_rnn.loss import half_squared_error
from torch_rnn.parameters import (
    Activations,
    Deltas,
    Gradients,
    Parameters,
    Update,
    from_numpy,
    initial_parameters,
    to_numpy,
)
from torch_rnn.sgd import sgd
from torch_rnn.train import train

__all__ = [
    "Activations",
    "Deltas",
    "Gradients",
    "InputError",
    "Parameters",
    "Update",
    "Window",
    "bptt",
    "deltas",
    "forward",
    "from_numpy",
    "half_squared_error",
    "initial_parameters",
    "sgd",
    "to_numpy",
    "train",
    "windows",
]
