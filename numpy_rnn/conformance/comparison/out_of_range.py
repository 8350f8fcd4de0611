"""Runs whose numbers leave the range of their dtype: they are judged until there."""

import numpy as np

from numpy_rnn.app.trace import PER_UPDATE, ROWS
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.traces.judge import Judgement, judge

NUMBERS = "its numbers are not finite"
NORM = (
    "the norm of its gradient overflows (U2), which makes the factor 0 (U3): scale the numbers before they are squared"
)
STEPPED = {*Parameters._fields, *("v" + name for name in Parameters._fields)}


def finite_part(trace: dict) -> tuple[dict, bool]:
    """The updates before the first that holds NaN or infinity, and whether that is not all of them."""
    steps = trace["stop"] - trace["start"]
    of_row = np.repeat(np.arange(len(steps)), steps)
    first_bad = len(steps)
    for name, array in trace.items():
        if name in ROWS or name in PER_UPDATE:
            bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
            if len(bad):
                first_bad = min(first_bad, int(of_row[bad[0]] if name in ROWS else bad[0]))
    return (trace, False) if first_bad == len(steps) else (_first_updates(trace, first_bad), True)


def judge_in_range(trace: dict, tau: float) -> tuple[dict, Judgement, str | None]:
    """The part of a trace that can be judged, its judgement, and why the rest is left out; None where nothing is.

    It ends before the first update that is not finite, and before one whose step is wrong as clipping by the global
    norm is where the sum of the squares overflows: the norm is infinite, the factor 0, and the gradient has no effect.
    """
    judged, is_cut = finite_part(trace)
    judgement = judge(judged, tau, whole=not is_cut)
    if judgement.first is not None and judgement.first.tensor in STEPPED:
        place = judgement.first.epoch, judgement.first.number
        (index,) = np.flatnonzero((judged["epoch"] == place[0]) & (judged["number"] == place[1]))
        if _is_stopped_by_its_norm(judged, index, tau):
            judged = _first_updates(judged, index)
            return judged, judge(judged, tau, whole=False), NORM
    return judged, judgement, NUMBERS if is_cut else None


def _first_updates(trace, count):
    rows = int((trace["stop"] - trace["start"])[:count].sum())
    part = {name: array[:rows] for name, array in trace.items() if name in ROWS}
    return trace | part | {name: array[:count] for name, array in trace.items() if name in PER_UPDATE}


def _is_stopped_by_its_norm(trace, index, tau):
    """Whether this update is right but for gradients that count as 0 in the networks whose norm overflows."""
    part = _first_updates(trace, index + 1)
    names = ["d" + name for name in Parameters._fields if name in trace]
    if trace["start"][index] > 0:  # a learned initial state does not enter
        names = [name for name in names if name != "dh_0"]
    E = trace["initial_W_hh"].ndim - 2
    with np.errstate(over="ignore"):
        squares = sum(np.square(part[name][index]).sum(axis=tuple(range(E, part[name].ndim - 1))) for name in names)
    overflows = ~np.isfinite(squares)
    if not overflows.any():
        return False
    for name in names:
        part[name] = part[name].copy()
        part[name][index][overflows] = 0
    worst = judge(part, tau, whole=False).worst
    return all(ratio <= 1 for name, ratio in worst.items() if name in STEPPED)
