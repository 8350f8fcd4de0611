"""The names of `numpy_rnn`, which imports this module at the first use of
one of them.
"""

from numpy_rnn.backward import adjoints, bptt
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    Parameters,
    Update,
    Window,
)
from numpy_rnn.elman import forward
from numpy_rnn.engine.loop import train
from numpy_rnn.loss import cross_entropy, half_squared_error
from numpy_rnn.parameters import (
    from_numpy,
    initial_parameters,
    to_numpy,
)
from numpy_rnn.step import clip_by_global_norm, clip_by_value, direction, sgd
from numpy_rnn.tbptt import windows

__all__ = [
    "Activations",
    "Adjoints",
    "Gradients",
    "InputError",
    "Parameters",
    "Update",
    "Window",
    "adjoints",
    "bptt",
    "clip_by_global_norm",
    "clip_by_value",
    "cross_entropy",
    "direction",
    "forward",
    "from_numpy",
    "half_squared_error",
    "initial_parameters",
    "sgd",
    "to_numpy",
    "train",
    "windows",
]
