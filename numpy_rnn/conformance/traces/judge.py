"""Lockstep: every update of a trace held to level L1, or L2 without intermediate values; the first divergence named.

The trace's own numbers are the inputs of every check, so an update is judged from the parameters and the state that it
really started from: no drift from one update to the next, however long the run (equivalence in lockstep, level L3).
"""

import json
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.common.trace import BY_STEP
from numpy_rnn.common.windows import Window, windows
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios, stages
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.traces.judge_black_box import excesses

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
    "dW_xh": "B4",
    "dW_hh": "B5",
    "dW_hy": "B6",
    "db_h": "B7",
    "db_y": "B8",
    "W_xh": "U1",
    "W_hh": "U1",
    "W_hy": "U1",
    "b_h": "U1",
    "b_y": "U1",
}
CAUSAL_ORDER = tuple(EQUATIONS)
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

    @property
    def equation(self) -> str:
        """The ids of DERIVATION.md that the stage computes."""
        return EQUATIONS[self.tensor]


class Judgement(NamedTuple):
    """What became of a whole trace."""

    updates: int
    worst: dict[str, float]  # the largest ratio of every tensor; 1 is the bound
    first: Divergence | None

    @property
    def passed(self) -> bool:
        """Whether no bound was exceeded."""
        return self.first is None


def judge(trace: dict, tau: float = TAU, whole: bool = True, by_oracle: bool = False) -> Judgement:
    """Hold every update of a trace (keys as in `numpy_rnn.common.trace`) to the schedule, the carried state and L1.

    The trace's form is checked by `trace_faults`; here its keys, shapes and dtypes are taken as right. Unless it is the
    `whole` run, updates may be missing at its end. With `by_oracle` it is held to L2 though it could be to L1.
    """
    configuration = json.loads(trace["configuration"].tobytes())
    count = len(trace["epoch"])
    found = list(_schedule_divergences(trace, configuration, whole)) + list(_state_divergences(trace))
    worst = {name: 0.0 for name in CAUSAL_ORDER if name in trace or name in ("window", "entering")}
    for divergence in found:
        worst[divergence.tensor] = np.inf
    sizes = np.stack((trace["stop"] - trace["start"], trace["stop"] - trace["counted_from"]), axis=1)
    for T, K in np.unique(sizes, axis=0):
        chosen = np.flatnonzero((sizes == (T, K)).all(axis=1))
        case, report = _stack(trace, configuration, chosen, int(T), int(K))
        for name, ratio, expected, allowed in _stage_ratios(case, report, len(chosen), tau, by_oracle):
            worst[name] = max(worst[name], float(ratio.max()))
            found += _first_divergence(trace, chosen, name, ratio, report[name], expected, allowed)
    return Judgement(count, worst, min(found, key=_causal_place, default=None))


def _causal_place(divergence):
    """Its place in the order of computation: a_1 h_1 a_2 h_2 .., y, loss, dy, .. dh_2 da_2 dh_1 da_1, and the rest."""
    tensor = divergence.tensor
    together = {"h": "a", "da": "dh"}.get(tensor, tensor)
    step = (divergence.step or 0) * (-1 if tensor in BACKWARDS else 1) if together in ("a", "dh") else 0
    order = (CAUSAL_ORDER.index(together), step, CAUSAL_ORDER.index(tensor))
    return divergence.epoch, divergence.number, *order


def _stage_ratios(case, report, count, tau, by_oracle):
    """(tensor, ratio, expected, allowed) with an axis for the updates: by L1, or by L2 where no stages are reported."""
    if "a" in report and not by_oracle:
        for name, (expected, allowed) in stages(case, report, tau).items():
            yield name, ratios(np.asarray(report[name], np.float64) - expected, allowed), expected, allowed
        return
    columns: dict[str, list] = {}
    for _, name, *arrays in excesses(case, report, count, tau):
        columns.setdefault(name, []).append(arrays)
    for name, rows in columns.items():
        yield name, *(np.stack(column) for column in zip(*rows))


def _schedule_divergences(trace, configuration, whole):
    """The first window that TBPTT(k1, k2) would not make."""
    steps = len(trace["x"])
    expected = list(windows(steps, configuration["k1"], configuration["k2"]))
    columns = [trace[name].tolist() for name in ("epoch", "number", "start", "counted_from", "stop")]
    total = len(expected) * configuration["epochs"]
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


def _state_divergences(trace):
    """The first state that did not enter exactly as the update before left it, or as h_0 at the start of a series."""
    start, stop = trace["start"], trace["stop"]
    offsets = np.concatenate(([0], np.cumsum(stop - start)))
    entering, h = trace["entering"], trace.get("h")
    for index in range(len(start)):
        begins = index == 0 or trace["epoch"][index] != trace["epoch"][index - 1]
        if h is None and not begins:
            continue  # the port's states are not known: who drove it gave it this one
        if begins or start[index] == 0:
            right = np.broadcast_to(trace["h_0"], entering[index].shape)
        else:
            step = start[index] - start[index - 1]  # after which step of the window before
            if not 0 <= step <= stop[index - 1] - start[index - 1]:
                return  # the schedule is wrong, and that is reported already
            right = entering[index - 1] if step == 0 else h[offsets[index - 1] + step - 1]
        if not np.array_equal(entering[index], right):
            element = tuple(map(int, np.argwhere(entering[index] != right)[0]))
            where = int(trace["epoch"][index]), int(trace["number"][index])
            values = float(entering[index][element]), float(right[element])
            yield Divergence(*where, "entering", None, element, *values, 0.0, np.inf)
            return


def _stack(trace, configuration, chosen, T, K):
    """The chosen updates, of windows of one size, as one Case and report with a leading axis, then the ensemble's."""
    start, stop = trace["start"], trace["stop"]
    first_row = np.concatenate(([0], np.cumsum(stop - start)))[chosen]
    window_rows = first_row[:, None] + np.arange(T)
    E = trace["entering"].ndim - 3

    def by_window(array, rows):
        """Rows of (S, *E, B, N) → (n, *E, T, B, N)."""
        return np.moveaxis(array[rows], 1, 1 + E)

    def series(name, from_step, steps):
        array = trace[name]
        if array.ndim < 3 + E:
            array = array.reshape(len(array), *(1,) * E, *array.shape[1:])
        return by_window(array, from_step[chosen][:, None] + np.arange(steps))

    fields = [name for name in Parameters._fields if f"initial_{name}" in trace]
    before = {
        name: np.concatenate((trace[f"initial_{name}"][None], trace[name][:-1]))[chosen] for name in fields
    }  # fmt: skip
    report = {name: by_window(trace[name], window_rows) for name in BY_STEP if name in trace}
    report |= {name: trace[name][chosen] for name in ("loss", *(prefix + f for prefix in ("d", "") for f in fields))}
    case = Case(
        Parameters(**before),
        series("x", start, T),
        series("target", trace["counted_from"], K),
        trace["entering"][chosen],
        configuration["learning_rate"],
        configuration["nonlinearity"],
        configuration["reduction"],
    )
    return case, report


def _first_divergence(trace, chosen, name, ratio, reported, expected, allowed):
    """The first update of these whose tensor exceeds its bound, as a list of one, or none."""
    bad = ~(ratio <= 1)
    if not bad.any():
        return []
    index = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
    elements = [tuple(map(int, element)) for element in np.argwhere(bad[index])]
    if name in BY_STEP:  # (*E, T, B, N): the step first, and from the last one back where the stage runs backwards
        direction = -1 if name in BACKWARDS else 1
        elements.sort(key=lambda element: direction * element[-3])
    element = elements[0]
    at = (index, *element)
    return [
        Divergence(
            int(trace["epoch"][chosen[index]]),
            int(trace["number"][chosen[index]]),
            name,
            element[-3] + 1 if name in BY_STEP else None,
            (*element[:-3], *element[-2:]) if name in BY_STEP else element,
            float(reported[at]),
            float(np.broadcast_to(expected, ratio.shape)[at]),
            float(np.broadcast_to(allowed, ratio.shape)[at]),
            float(ratio[at]),
        )
    ]
