"""Lockstep, level L3: every update of a trace is checked at L1, or at L2 without intermediates.

The inputs of every check are the numbers of the trace, so an update is judged from the parameters and the state from
which it started. No drift accumulates from update to update, however long the run is.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.trace import ROWS
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios, stages
from numpy_rnn.conformance.case import FIELDS, Case, parameters_of
from numpy_rnn.conformance.traces.first_divergence import (
    BACKWARDS,
    CAUSAL_ORDER,
    EQUATIONS,
    TENSORS,
    Divergence,
    causal_place,
    equations,
    learned_state_divergences,
    schedule_divergences,
    state_divergences,
)
from numpy_rnn.conformance.traces.trace_format import Settings, in_rows, settings_of
from numpy_rnn.conformance.truncations import kept_rows, truncation_of


class Stack(NamedTuple):
    """Updates of one kind as one case and one report. Their axis comes first, then those of the ensemble."""

    chosen: np.ndarray  # which updates of the trace, (n,)
    case: Case
    report: dict[str, np.ndarray]


class Kind(NamedTuple):
    """What updates must have in common to be stacked."""

    T: int
    K: int
    from_h_0: bool  # whether the window starts from a learned initial state, which is then a parameter
    first: bool  # whether there is no velocity before the update


def stacks(trace: dict, settings: Settings) -> Iterator[Stack]:
    """The updates of the trace, stacked by their kinds."""
    trace = in_rows(trace, settings)
    kept = kept_rows(trace) if settings.truncation == "stale" else None
    start, stop = trace["start"], trace["stop"]
    from_h_0 = (start == 0) & settings.learns(trace)
    first = np.arange(len(start)) == 0 if settings.sgd.has_velocity else np.zeros(len(start), bool)
    kinds = np.stack((stop - start, stop - trace["loss_start"], from_h_0, first), axis=1)
    for kind in np.unique(kinds, axis=0):
        chosen = np.flatnonzero((kinds == kind).all(axis=1))
        yield _stack(trace, settings, chosen, Kind(int(kind[0]), int(kind[1]), bool(kind[2]), bool(kind[3])), kept)


def _stack(trace, settings, chosen, kind, kept):
    start, stop = trace["start"], trace["stop"]
    first_row = np.concatenate(([0], np.cumsum(stop - start)))[chosen]
    window_rows = first_row[:, None] + np.arange(kind.T)
    E = trace["initial"].ndim - 3

    def by_window(array, rows):
        """Rows of (S, *E, B, N) → (n, *E, T, B, N)."""
        return np.moveaxis(array[rows], 1, 1 + E)

    def series(name, from_step, steps):
        array = trace[name]
        if array.ndim < 3 + E:
            array = array.reshape(len(array), *(1,) * E, *array.shape[1:])
        return by_window(array, from_step[chosen][:, None] + np.arange(steps))

    fields = [name for name in FIELDS if f"initial_{name}" in trace]
    if not kind.from_h_0:
        fields = [name for name in fields if name != "h_0"]

    def before(prefix, initial):
        """The values of these names before the chosen updates."""
        return parameters_of({
            name: np.concatenate((initial(name)[None], trace[prefix + name][:-1]))[chosen] for name in fields
        })  # fmt: skip

    velocity: Any = None
    if settings.sgd.has_velocity and not kind.first:
        velocity = before("v", lambda name: trace["v" + name][0])  # never the first update
    prefixes = ("d", "v", "") if settings.sgd.has_velocity else ("d", "")
    report = {name: by_window(trace[name], window_rows) for name in ROWS if name in trace}
    if "dx" in trace:
        report["dh_0"] = trace["dh_0"][chosen]
    report |= {name: trace[name][chosen] for name in ("loss", *(prefix + f for prefix in prefixes for f in fields))}
    weights: Any = None
    if "weights" in trace:
        steps = trace["loss_start"][chosen][:, None] + np.arange(kind.K)
        weights = trace["weights"][steps].reshape(len(chosen), *(1,) * E, kind.K, -1)
    case = Case(
        before("", lambda name: trace[f"initial_{name}"]),
        series("x", start, kind.T),
        series("target", trace["loss_start"], kind.K),
        trace["initial"][chosen],
        settings.learning_rate[None] if np.ndim(settings.learning_rate) else settings.learning_rate,
        settings.nonlinearity,
        settings.reduction,
        sgd=settings.sgd,
        velocity=velocity,
        loss=settings.loss,
        weights=weights,
        truncation=truncation_of(settings.truncation),
    )
    if kept is not None:
        rows = kept[window_rows[:, : kind.T - kind.K]]
        case = case._replace(kept=(by_window(trace["a"], rows), by_window(trace["h"], rows)))
    return Stack(chosen, case, report)


def oracle_ratios(case, report, tau) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(tensor, ratio, expected, allowed) of stacked updates at L2; the axes of updates and networks come first.

    The oracle computes one network at a time.
    """
    axes = case.params.W_hh.shape[:-2]
    columns: dict[str, list] = {}
    for index in np.ndindex(axes):
        reported = {name: np.asarray(array[index]) for name, array in report.items()}
        one = _at(case, index)
        bounds = global_bounds(one, tau)
        for name, ratio in check_global(one, reported, bounds=bounds).items():
            value, E = bounds[name]
            columns.setdefault(name, []).append((ratio, value.high, E + value.radius))
    for name, rows in columns.items():
        ratio, expected, allowed = (np.stack(column).reshape(*axes, *column[0].shape) for column in zip(*rows))
        yield name, ratio, expected, allowed


def _at(case, index):
    """One update of one network."""

    def of(array):
        """The entry of an array whose ensemble axes may have size 1, shared by all networks."""
        return array[tuple(min(i, size - 1) for i, size in zip(index, array.shape))]

    def each(params):
        return None if params is None else type(params)(*(None if p is None else of(p) for p in params))

    rate = np.asarray(case.learning_rate)
    return case._replace(
        params=each(case.params),
        velocity=each(case.velocity),
        kept=None if case.kept is None else (of(case.kept[0]), of(case.kept[1])),
        x=of(case.x),
        target=of(case.target),
        weights=None if case.weights is None else of(case.weights),
        h_0=of(case.h_0),
        learning_rate=float(of(rate) if rate.ndim else rate),
    )


__all__ = ["CAUSAL_ORDER", "EQUATIONS", "TENSORS", "Divergence", "Judgement", "equations", "judge"]


class Judgement(NamedTuple):
    """The judgement of a trace."""

    updates: int
    worst: dict[str, float]  # the largest ratio of every tensor; 1 is the bound
    first: Divergence | None

    @property
    def passed(self) -> bool:
        """Whether no bound is exceeded."""
        return self.first is None


def judge(trace: dict, tau: float = TAU, whole: bool = True, by_oracle: bool = False) -> Judgement:
    """Check every update of a trace (keys: `numpy_rnn.app.trace`): its window, its initial state, and all tensors.

    The trace must be valid: see `trace_errors`. Unless `whole`, updates may be missing at the end. With `by_oracle`
    tensors are checked at L2 although the trace has intermediates for L1.
    """
    settings = settings_of(trace)
    divergences = [
        *schedule_divergences(trace, settings, whole),
        *state_divergences(trace),
        *learned_state_divergences(trace),
    ]
    worst = {name: 0.0 for name in TENSORS if name in trace or name in ("window", "initial")}
    for divergence in divergences:
        worst[divergence.tensor] = np.inf
    with np.errstate(over="ignore", invalid="ignore"):  # non-finite values fail every check
        for chosen, case, report in stacks(trace, settings):
            for name, ratio, expected, allowed in _stage_ratios(case, report, tau, by_oracle):
                worst[name] = max(worst[name], float(ratio.max()))
                divergences += _first_divergence(trace, chosen, name, ratio, report[name], expected, allowed)
    first = min(divergences, key=causal_place, default=None)
    if first is not None:
        first = first._replace(equation=equations(first.tensor, settings.sgd, settings.truncation))
    return Judgement(len(trace["epoch"]), worst, first)


def _stage_ratios(case, report, tau, by_oracle):
    """(tensor, ratio, expected, allowed) with an axis for the updates: at L1, or at L2 without intermediates."""
    if "a" in report and not by_oracle:
        for name, (expected, allowed) in stages(case, report, tau).items():
            yield name, ratios(np.asarray(report[name], np.float64) - expected, allowed), expected, allowed
        return
    yield from oracle_ratios(case, report, tau)


def _first_divergence(trace, chosen, name, ratio, reported, expected, allowed):
    """The first of these updates whose tensor exceeds its bound, as a list of at most one divergence."""
    bad = ~(ratio <= 1)
    if not bad.any():
        return []
    index = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
    elements = [tuple(map(int, element)) for element in np.argwhere(bad[index])]
    if name in ROWS:  # (*E, T, B, N): the step first, and from the last one back where the stage runs backwards
        direction = -1 if name in BACKWARDS else 1
        elements.sort(key=lambda element: direction * element[-3])
    element = elements[0]
    at = (index, *element)
    return [
        Divergence(
            int(trace["epoch"][chosen[index]]),
            int(trace["number"][chosen[index]]),
            name,
            element[-3] + 1 if name in ROWS else None,
            (*element[:-3], *element[-2:]) if name in ROWS else element,
            float(reported[at]),
            float(np.broadcast_to(expected, ratio.shape)[at]),
            float(np.broadcast_to(allowed, ratio.shape)[at]),
            float(ratio[at]),
        )
    ]
