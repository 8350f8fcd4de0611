"""An Elman network in PyTorch, its gradients by autograd; `numpy_rnn` is the same by
hand.
"""

from numpy_rnn import __version__ as __version__
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Gradients,
    Parameters,
    Update,
    Window,
)

try:  # the first import that imports torch; a sorter is to leave it here
    from torch_rnn.backward import adjoints, bptt
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "torch is not installed: run pip install torch, or use numpy_rnn, which needs"
        " NumPy alone",
        name="torch",
    ) from None
from torch_rnn.elman import forward
from torch_rnn.loop_audit import audit as audit  # has no counterpart in numpy_rnn
from torch_rnn.loss import cross_entropy, half_squared_error
from torch_rnn.parameters import (
    from_numpy,
    initial_parameters,
    to_numpy,
)
from torch_rnn.step import clip_by_global_norm, clip_by_value, direction, sgd
from torch_rnn.tbptt import train, windows

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


def __dir__() -> list[str]:
    """Return the public names: modules are not for users."""
    return sorted([*__all__, "audit"])
