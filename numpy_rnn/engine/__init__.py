"""The engine as a package of its own: the functions of `numpy_rnn`, whose `train` and `train_stream` run on it.

README.md in this folder describes the layout of its memory, and why it is so.
"""

from numpy_rnn.bptt import adjoints, bptt
from numpy_rnn.clipping import clip_by_global_norm
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.elman import forward
from numpy_rnn.engine.training import train, train_stream
from numpy_rnn.loss import half_squared_error
from numpy_rnn.momentum import direction
from numpy_rnn.parameters import (
    Activations,
    Adjoints,
    Gradients,
    Parameters,
    State,
    Update,
    from_numpy,
    from_state_dict,
    initial_parameters,
    to_numpy,
    to_state_dict,
    view_of_numpy,
)
from numpy_rnn.sgd import sgd

__all__ = [
    "Activations",
    "Adjoints",
    "Gradients",
    "InputError",
    "Parameters",
    "State",
    "Update",
    "Window",
    "adjoints",
    "bptt",
    "clip_by_global_norm",
    "direction",
    "forward",
    "from_numpy",
    "from_state_dict",
    "half_squared_error",
    "initial_parameters",
    "sgd",
    "to_numpy",
    "to_state_dict",
    "train",
    "train_stream",
    "view_of_numpy",
    "windows",
]
