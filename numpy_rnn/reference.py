"""The reference as a package of its own: the functions of `numpy_rnn`, with the plain training loop of `tbptt.py`.

`numpy_rnn.train` runs on the engine. Use this module to compare the two, or to run the code that one reads.
"""

from numpy_rnn.bptt import adjoints, bptt
from numpy_rnn.clipping import clip_by_global_norm
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.elman import forward
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
from numpy_rnn.tbptt import train, train_stream

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
