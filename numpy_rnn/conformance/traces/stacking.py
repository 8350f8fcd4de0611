"""The updates of a trace, those of one kind as one Case and one report with an axis more, so that all are checked at
once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.trace import ROWS
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.traces.settings import Settings


class Stack(NamedTuple):
    """Updates of one kind; arrays have an axis for them first, then those of the ensemble."""

    chosen: np.ndarray  # which updates of the trace, (n,)
    case: Case
    report: dict[str, np.ndarray]


class Kind(NamedTuple):
    """What two updates must have in common to be stacked."""

    T: int
    K: int
    enters: bool  # whether a learned initial state enters, and so is a parameter
    first: bool  # whether there is no velocity yet


def stacks(trace: dict, settings: Settings) -> Iterator[Stack]:
    """All updates of the trace, by their kinds."""
    start, stop = trace["start"], trace["stop"]
    enters = (start == 0) & settings.learns(trace)
    first = np.arange(len(start)) == 0 if settings.sgd.momentum else np.zeros(len(start), bool)
    kinds = np.stack((stop - start, stop - trace["loss_start"], enters, first), axis=1)
    for kind in np.unique(kinds, axis=0):
        chosen = np.flatnonzero((kinds == kind).all(axis=1))
        yield _stack(trace, settings, chosen, Kind(int(kind[0]), int(kind[1]), bool(kind[2]), bool(kind[3])))


def _stack(trace, settings, chosen, kind):
    start, stop = trace["start"], trace["stop"]
    first_row = np.concatenate(([0], np.cumsum(stop - start)))[chosen]
    window_rows = first_row[:, None] + np.arange(kind.T)
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
    if not kind.enters:
        fields = [name for name in fields if name != "h_0"]

    def before(prefix, initial):
        """What stood under these names before the chosen updates."""
        return Parameters(**{
            name: np.concatenate((initial(name)[None], trace[prefix + name][:-1]))[chosen] if name in fields else None
            for name in Parameters._fields
        })  # fmt: skip

    velocity: Any = None
    if settings.sgd.momentum and not kind.first:
        velocity = before("v", lambda name: trace["v" + name][0])  # the first update is not among these
    prefixes = ("d", "v", "") if settings.sgd.momentum else ("d", "")
    report = {name: by_window(trace[name], window_rows) for name in ROWS if name in trace}
    if "dx" in trace:
        report["dh_0"] = trace["dh_0"][chosen]
    report |= {name: trace[name][chosen] for name in ("loss", *(prefix + f for prefix in prefixes for f in fields))}
    case = Case(
        before("", lambda name: trace[f"initial_{name}"]),
        series("x", start, kind.T),
        series("target", trace["loss_start"], kind.K),
        trace["entering"][chosen],
        settings.learning_rate[None] if np.ndim(settings.learning_rate) else settings.learning_rate,
        settings.nonlinearity,
        settings.reduction,
        sgd=settings.sgd,
        velocity=velocity,
    )
    return Stack(chosen, case, report)
