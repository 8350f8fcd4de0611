"""The tensors of a trace in causal order, the first one that is wrong, and what must be continuous between updates."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import SgdOptions
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.conformance.case import FIELDS, SECOND_BIAS
from numpy_rnn.conformance.traces.trace_format import Settings

EQUATIONS = {
    "window": "T1, T2",
    "initial": "T3",
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
    "db_hh": "B7",
    **{"v" + name: "U2 to U5" for name in FIELDS},
    **dict.fromkeys(FIELDS, "U1"),
}
TENSORS = tuple(EQUATIONS)  # in causal order
CAUSAL_ORDER = tuple(name for name in TENSORS if name not in SECOND_BIAS)


OF_TRUNCATION = {("band", "dh"): "R1", ("back", "dh"): "R2", ("stale", "a"): "F1, R3", ("stale", "h"): "F2, R3"}


def equations(tensor: str, sgd: SgdOptions, truncation: str = "") -> str:
    """The ids of the equations of a tensor under these options of SGD, from the tensors that are reported before it.

    Clipping and weight decay are part of the velocity. Without momentum there is none, and they are part of the update
    of the parameters.
    """
    of_gradient = "U2, U3, " * (sgd.max_norm is not None) + "U4, " * bool(sgd.weight_decay)
    if tensor.startswith("v"):
        return of_gradient + ("U8" if sgd.adagrad else "U5")
    if tensor in FIELDS and sgd.adagrad:
        return f"{of_gradient}U9, U1"
    if tensor in FIELDS:
        return ("U6, " * sgd.nesterov if sgd.momentum else of_gradient) + "U1"
    return OF_TRUNCATION.get((truncation.partition(":")[0], tensor), EQUATIONS[tensor])


BACKWARDS = ("dh", "da")  # computed from the last step to the first


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


def causal_place(divergence: Divergence):
    """Its place in the order of computation: a_1 h_1 a_2 h_2 .., y, loss, dy, .. dh_2 da_2 dh_1 da_1, and the rest."""
    tensor = divergence.tensor
    together = {"h": "a", "da": "dh"}.get(tensor, tensor)
    step = (divergence.step or 0) * (-1 if tensor in BACKWARDS else 1) if together in ("a", "dh") else 0
    order = (TENSORS.index(together), step, TENSORS.index(tensor))
    return divergence.epoch, divergence.number, *order


def schedule_divergences(trace: dict, settings: Settings, whole: bool) -> Iterator[Divergence]:
    """The first window that is not one of TBPTT(k1, k2). Unless `whole`, updates may be missing at the end."""
    expected = list(windows(len(trace["x"]), settings.k1, settings.k2))
    columns = [trace[name].tolist() for name in ("epoch", "number", "start", "loss_start", "stop")]
    total = len(expected) * settings.epochs
    for index, (epoch, number, *window) in enumerate(zip(*columns)):
        due = (index // len(expected) + 1, index % len(expected) + 1)
        right = expected[index % len(expected)]
        if index >= total or (epoch, number) != due or Window(*window) != right:
            wrong = next((i for i in range(3) if window[i] != right[i]), 0)
            yield Divergence(*due, "window", None, (wrong,), window[wrong], right[wrong], 0.0, np.inf)
            return
    if whole and len(columns[0]) < total:
        index = len(columns[0])
        due = (index // len(expected) + 1, index % len(expected) + 1)
        right = expected[index % len(expected)]
        yield Divergence(*due, "window", None, (2,), float("nan"), right.stop, 0.0, np.inf)


def state_divergences(trace: dict) -> Iterator[Divergence]:
    """The first window whose initial state is wrong; it must be exact.

    At the start of the series it is the initial state of the run, or the latest value of a learned one; otherwise a
    state of the window before. If the port's states are not reported, it was given by `trace_of_port`.
    """
    start, stop = trace["start"], trace["stop"]
    offsets = np.concatenate(([0], np.cumsum(stop - start)))
    initial, h, learned = trace["initial"], trace.get("h"), trace.get("h_0")
    for index in range(len(start)):
        begins = index == 0 or trace["epoch"][index] != trace["epoch"][index - 1]
        if begins or start[index] == 0:
            h_0 = trace["initial_h_0"] if learned is None or index == 0 else learned[index - 1]
            right = np.broadcast_to(h_0, initial[index].shape)
        elif h is None:
            continue
        else:
            step = start[index] - start[index - 1]  # after which step of the window before
            if not 0 <= step <= stop[index - 1] - start[index - 1]:
                return  # the schedule is wrong, which is already reported
            right = initial[index - 1] if step == 0 else h[offsets[index - 1] + step - 1]
        if not np.array_equal(initial[index], right):
            yield _difference(trace, index, "initial", initial[index], right)
            return


def learned_state_divergences(trace: dict) -> Iterator[Divergence]:
    """The first learned initial state, or velocity of it, that changed in a window that does not start from it."""
    for name in ("h_0", "vh_0"):
        for index in np.flatnonzero(trace["start"] > 0) if name in trace else ():
            if index > 0 and not np.array_equal(trace[name][index], trace[name][index - 1]):
                yield _difference(trace, index, name, trace[name][index], trace[name][index - 1])
                break


def _difference(trace, index, name, found, right):
    element = tuple(map(int, np.argwhere(found != right)[0]))
    where = int(trace["epoch"][index]), int(trace["number"][index])
    return Divergence(*where, name, None, element, float(found[element]), float(right[element]), 0.0, np.inf)
