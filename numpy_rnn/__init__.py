"""An Elman network in pure NumPy, its gradients derived by hand; `torch_rnn` is the same with autograd.

The reference is `elman.py`, `loss.py`, `bptt.py`, `tbptt.py`, `clipping.py`, `momentum.py` and `sgd.py`. DERIVATION.md
derives its equations; each has an id, which the line of code that computes it carries. `train` and `train_stream` are
those of `engine/`, which computes the same equations faster; `numpy_rnn.reference` has the plain ones.
`python -m numpy_rnn` learns a sine wave.
"""

from numpy_rnn.bptt import adjoints, bptt
from numpy_rnn.clipping import clip_by_global_norm, clip_by_value
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import __version__ as __version__
from numpy_rnn.common.records import Activations, Adjoints, Gradients, Parameters, State, Update, Window
from numpy_rnn.elman import forward
from numpy_rnn.engine.loop import train, train_stream
from numpy_rnn.loss import cross_entropy, half_squared_error
from numpy_rnn.momentum import direction
from numpy_rnn.parameters import from_numpy, from_state_dict, initial_parameters, to_numpy, to_state_dict
from numpy_rnn.sgd import sgd
from numpy_rnn.windows import windows

__all__ = [
    "Activations", "Adjoints", "Gradients", "InputError", "Parameters", "State", "Update", "Window", "adjoints", "bptt",
    "clip_by_global_norm", "clip_by_value", "cross_entropy", "direction", "forward", "from_numpy", "from_state_dict",
    "half_squared_error", "initial_parameters", "sgd", "to_numpy", "to_state_dict", "train", "train_stream", "windows",
]  # fmt: skip
