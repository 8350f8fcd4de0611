"""The first wrong tensor of a run in causal order, and what must be continuous from update to update."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Objective, Schedule, Step, Window
from numpy_rnn.conformance.case import FIELDS
from numpy_rnn.conformance.traces.recorder import RecordedRun

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

    Clipping and weight decay are part of the velocity. Without momentum there is none, and they are part of the update
    of the parameters.
    """
    if tensor == "loss" and objective.loss == "cross_entropy":
        return "L3, L4, L2"
    if step is None or tensor.removeprefix("v") not in FIELDS:
        return EQUATIONS[tensor]
    shortened = "U2, U3, " if step.max_norm is not None else "U7, " if step.max_value is not None else ""
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

    def message(self, name: str) -> str:
        """The place of the divergence, its element, and the reported and expected values."""
        where = f"epoch {self.epoch}, update {self.number}" + (f", step {self.step}" if self.step else "")
        head = f"{name} diverges first in {where}: {self.tensor} ({self.equation})"
        if not self.element:
            return f"{head}\n  the run has {self.reported:g} updates where TBPTT(k1, k2) has {self.expected:g}"
        if self.tensor == "window":
            part = Window._fields[self.element[0]]
            return f"{head}\n  its window has {part} {self.reported:g} where TBPTT(k1, k2) has {self.expected:g}"
        return (
            f"{head}\n"
            f"  {self.tensor}{list(self.element)} is {self.reported:.9g}; recomputed from the reported inputs of this"
            f" stage it is {self.expected:.9g}.\n"
            f"  The difference is {self.ratio:.1e} times the rounding bound of {self.allowed:.1e}"
        )


def causal_place(divergence: Divergence):
    """Its place in the order of computation: a_1 h_1 a_2 h_2 .., y, loss, dy, .. dh_2 da_2 dh_1 da_1, and the rest."""
    tensor = divergence.tensor
    together = {"h": "a", "da": "dh"}.get(tensor, tensor)
    step = (divergence.step or 0) * (-1 if tensor in BACKWARDS else 1) if together in ("a", "dh") else 0
    return divergence.epoch, divergence.number, TENSORS.index(together), step, TENSORS.index(tensor)


def expected_windows(T: int, schedule: Schedule) -> list[Window]:
    """The windows of TBPTT(k1, k2), (T1) and (T2)."""
    stops = [(new, min(new + schedule.k1, T)) for new in range(0, T, schedule.k1)]
    return [Window(max(0, stop - schedule.k2), new, stop) for new, stop in stops]


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Divergence]:
    """The first window that is not one of TBPTT(k1, k2). Unless `whole`, updates may be missing at the end."""
    run, updates = recorded
    windows, epochs = expected_windows(len(run.x), run.options.schedule), range(1, run.options.schedule.epochs + 1)
    expected = [(epoch, number, *window) for epoch in epochs for number, window in enumerate(windows, 1)]
    rows = list(zip(*(updates[name].tolist() for name in ("epoch", "number", *Window._fields))))
    for right, row in zip(expected, rows):
        if row != right:
            wrong = next((i for i in range(3) if row[2 + i] != right[2 + i]), 0)
            yield Divergence(*right[:2], "window", None, (wrong,), row[2 + wrong], right[2 + wrong], 0.0, np.inf)
            return
    if len(rows) > len(expected) or (whole and len(rows) < len(expected)):
        index, total = min(len(rows), len(expected)), len(expected)
        place = index // len(windows) + 1, index % len(windows) + 1
        yield Divergence(*place, "window", None, (), len(rows), total, 0.0, np.inf)


def state_divergences(recorded: RecordedRun) -> Iterator[Divergence]:
    """The first window whose initial state is wrong; it must be exact.

    At the start of the series it is the initial state of the run, or the latest value of a learned one; otherwise a
    state of the window before. If the states are not reported, `judge` recomputes it.
    """
    run, updates = recorded
    initial, h, learned = updates["initial"], updates.get("h"), updates.get("h_0")
    steps, ends = carried_steps(updates), np.cumsum(updates["stop"] - updates["start"])
    for index, start in enumerate(updates["start"]):
        if start == 0 or index == 0 or updates["epoch"][index] != updates["epoch"][index - 1]:
            h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
            right = np.broadcast_to(h_0 if learned is None or index == 0 else learned[index - 1], initial[index].shape)
        elif start == updates["start"][index - 1]:
            right = initial[index - 1]
        elif h is None or steps[index - 1] == 0:  # no such step: the schedule is wrong, which is already reported
            continue
        else:
            first = ends[index - 2] if index > 1 else 0
            right = h[first + steps[index - 1] - 1]
        if not np.array_equal(initial[index], right):
            yield _difference(updates, index, "initial", right)
            return


def carried_steps(updates: dict[str, np.ndarray]) -> np.ndarray:
    """After which step of a window the next one of its epoch starts, by update, (N,); 0 where there is no such step."""
    start, stop, epoch = (np.append(updates[name], -1) for name in ("start", "stop", "epoch"))
    steps = start[1:] - start[:-1]
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0) & (steps <= (stop - start)[:-1])
    return np.where(follows, steps, 0)


def learned_state_divergences(recorded: RecordedRun) -> Iterator[Divergence]:
    """The first learned initial state, or velocity of it, that changed in a window that does not start from it."""
    updates = recorded.updates
    for name in ("h_0", "vh_0"):
        for index in np.flatnonzero(updates["start"] > 0) if name in updates else ():
            if index > 0 and not np.array_equal(updates[name][index], updates[name][index - 1]):
                yield _difference(updates, index, name, updates[name][index - 1])
                break


def _difference(updates, index, name, right):
    found = updates[name][index]
    element = tuple(map(int, np.argwhere(found != right)[0]))
    place = int(updates["epoch"][index]), int(updates["number"][index])
    return Divergence(*place, name, None, element, float(found[element]), float(right[element]), 0.0, np.inf)
