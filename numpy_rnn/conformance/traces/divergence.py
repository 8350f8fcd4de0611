"""The first wrong element of a run in causal order: the record of it, its equation and its message."""

from typing import NamedTuple

from numpy_rnn.common.records import Objective, Schedule, Step, Window
from numpy_rnn.conformance.case import FIELDS

EQUATIONS = {
    "window": "T1, T2", "initial": "T3", "a": "F1", "h": "F2", "y": "F3", "loss": "L1, L2", "dy": "B1", "dh": "B2",
    "da": "B3", "dh_0": "B9", "dx": "B10", "dW_xh": "B4", "dW_hh": "B5", "dW_hy": "B6", "db_h": "B7", "db_y": "B8",
    "db_hh": "B7", **{"v" + name: "U2 to U5" for name in FIELDS}, **dict.fromkeys(FIELDS, "U1"),
}  # fmt: skip
TENSORS = tuple(EQUATIONS)  # in causal order
CAUSAL_ORDER = tuple(name for name in TENSORS if not name.endswith("b_hh"))
BACKWARDS = ("dh", "da")  # computed from the last step to the first


def equations(tensor: str, objective: Objective, step: Step | None) -> str:
    """The ids of the equations of a tensor under these options, from the tensors reported before it.

    Clipping and weight decay are part of the velocity, and without one of the update of the parameters.
    """
    if tensor == "loss" and objective.loss == "cross_entropy":
        return "L3, L4, L2"
    if step is None or tensor.removeprefix("v") not in FIELDS:
        return EQUATIONS[tensor]
    shortened = (
        "U2, U3, " if step.max_norm is not None else "U7, " if step.max_value is not None else ""
    )
    direction = shortened + "U4, " * bool(step.weight_decay)
    if tensor.startswith("v"):
        return direction + ("U8" if step.adagrad else "U5")
    if step.adagrad:
        return f"{direction}U9, U1"
    return ("U6, " * step.nesterov if step.momentum else direction) + "U1"


class Divergence(NamedTuple):
    """The first element in causal order whose error rounding does not explain."""

    epoch: int
    number: int  # the update within the epoch
    tensor: str
    step: int | None  # of the window, from 1; None for a tensor without time steps
    element: tuple[int, ...]
    reported: float
    expected: float  # recomputed from the reported inputs of the stage
    allowed: float
    ratio: float
    equation: str = ""  # ids of DERIVATION.md
    is_estimated: bool = False  # whether `allowed` is an estimate, not a proven bound

    def message(self, name: str) -> str:
        """The place of the divergence, its element, and the reported and expected values."""
        where = f"epoch {self.epoch}, update {self.number}" + (
            f", step {self.step}" if self.step else ""
        )
        head = f"{name} diverges first in {where}: {self.tensor} ({self.equation})"
        if not self.element and self.tensor == "window":
            return f"{head}\n  the run has {self.reported:g} updates where TBPTT(k1, k2) has {self.expected:g}"
        if self.tensor == "window":
            part = Window._fields[self.element[0]]
            return f"{head}\n  its window has {part} {self.reported:g} where TBPTT(k1, k2) has {self.expected:g}"
        element = f"{self.tensor}{list(self.element)}" if self.element else f"the {self.tensor}"
        bound = "what rounding does by estimate," if self.is_estimated else "the rounding bound of"
        return (
            f"{head}\n"
            f"  {element} is {self.reported:.9g}; recomputed from the reported inputs of this stage it is"
            f" {self.expected:.9g}.\n"
            f"  The difference is {self.ratio:.1e} times {bound} {self.allowed:.1e}"
        )

    def causal_place(self) -> tuple[int, ...]:
        """Its place in the order of computation: a_1 h_1 a_2 h_2 .., y, loss, dy, .. dh_2 da_2 dh_1 da_1, the rest."""
        together = {"h": "a", "da": "dh"}.get(self.tensor, self.tensor)
        step = (
            (self.step or 0) * (-1 if self.tensor in BACKWARDS else 1)
            if together in ("a", "dh")
            else 0
        )
        return self.epoch, self.number, TENSORS.index(together), step, TENSORS.index(self.tensor)


def expected_windows(T: int, schedule: Schedule) -> list[Window]:
    """The windows of TBPTT(k1, k2), (T1) and (T2)."""
    stops = [(new, min(new + schedule.k1, T)) for new in range(0, T, schedule.k1)]
    return [Window(max(0, stop - schedule.k2), new, stop) for new, stop in stops]
