"""What is held in a trace, in causal order, and how the first that is wrong is named."""

from typing import NamedTuple

from numpy_rnn.common.records import Parameters, SgdOptions

EQUATIONS = {
    "window": "T1, T2",
    "entering": "T3",
    "a": "F1",
    "h": "F2",
    "y": "F3",
    "loss": "L1, L2",
    "dy": "B1",
    "dh": "B2",
    "da": "B3",
    "dh_0": "B9",
    "dx": "B10",
    "dW_xh": "B4",
    "dW_hh": "B5",
    "dW_hy": "B6",
    "db_h": "B7",
    "db_y": "B8",
    **{"v" + name: "U2 to U5" for name in Parameters._fields},
    **dict.fromkeys(Parameters._fields, "U1"),
}
CAUSAL_ORDER = tuple(EQUATIONS)


def equations(tensor: str, sgd: SgdOptions) -> str:
    """The ids that a tensor is computed by under these options of the step, from what is reported before it.

    What clipping and weight decay make of the gradient is reported in the velocity. Without momentum there is none, and
    the parameters are computed from the gradient itself.
    """
    of_gradient = "U2, U3, " * (sgd.max_norm is not None) + "U4, " * bool(sgd.weight_decay)
    if tensor.startswith("v"):
        return f"{of_gradient}U5"
    if tensor in Parameters._fields:
        return ("U6, " * sgd.nesterov if sgd.momentum else of_gradient) + "U1"
    return EQUATIONS[tensor]


BACKWARDS = ("dh", "da")  # computed from the last step to the first


class Divergence(NamedTuple):
    """The first element, in causal order, that no rounding explains."""

    epoch: int
    number: int  # the update within the epoch
    tensor: str
    step: int | None  # of the window, from 1; None for a tensor without steps
    element: tuple[int, ...]
    reported: float
    expected: float  # recomputed from what was reported as the stage's input
    allowed: float
    ratio: float
    equation: str = ""  # the ids of DERIVATION.md that the stage computes, once it is known how the run was stepped


def causal_place(divergence: Divergence):
    """Its place in the order of computation: a_1 h_1 a_2 h_2 .., y, loss, dy, .. dh_2 da_2 dh_1 da_1, and the rest."""
    tensor = divergence.tensor
    together = {"h": "a", "da": "dh"}.get(tensor, tensor)
    step = (divergence.step or 0) * (-1 if tensor in BACKWARDS else 1) if together in ("a", "dh") else 0
    order = (CAUSAL_ORDER.index(together), step, CAUSAL_ORDER.index(tensor))
    return divergence.epoch, divergence.number, *order
