"""The other implementation: PyTorch's forward pass, and its gradients by autograd."""

from importlib.util import find_spec

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import backend
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.problem import Values, by_hand

PACKAGE = "torch_rnn"


def check_torch() -> None:
    """Raise InputError where PyTorch is not installed."""
    if find_spec("torch") is None:
        raise InputError("PyTorch is not installed")


def autograd(case: Case) -> Values:
    """Every tensor of the window by name, as torch_rnn computes it.

    Raises InputError where PyTorch is not installed.
    """
    check_torch()
    return by_hand(case, backend(PACKAGE))
