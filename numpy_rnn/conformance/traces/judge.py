"""Lockstep: every update of a trace held to level L1, or L2 without intermediate values; the first divergence named.

The trace's own numbers are the inputs of every check, so an update is judged from the parameters and the state that it
really started from: no drift from one update to the next, however long the run (equivalence in lockstep, level L3).
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.app.trace import ROWS
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios, stages
from numpy_rnn.conformance.traces.carried import learned_state_divergences, schedule_divergences, state_divergences
from numpy_rnn.conformance.traces.divergence import (
    BACKWARDS,
    CAUSAL_ORDER,
    EQUATIONS,
    Divergence,
    causal_place,
    equations,
)
from numpy_rnn.conformance.traces.judge_black_box import excesses
from numpy_rnn.conformance.traces.settings import settings_of
from numpy_rnn.conformance.traces.stacking import stacks

__all__ = ["CAUSAL_ORDER", "EQUATIONS", "Divergence", "Judgement", "equations", "judge"]


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
    """Hold every update of a trace (keys: `numpy_rnn.app.trace`) to the schedule, the carried state and L1.

    The trace's form is checked by `trace_faults`; here its keys, shapes and dtypes are taken as right. Unless it is the
    `whole` run, updates may be missing at its end. With `by_oracle` it is held to L2 though it could be to L1.
    """
    settings = settings_of(trace)
    found = [
        *schedule_divergences(trace, settings, whole),
        *state_divergences(trace),
        *learned_state_divergences(trace),
    ]
    worst = {name: 0.0 for name in CAUSAL_ORDER if name in trace or name in ("window", "entering")}
    for divergence in found:
        worst[divergence.tensor] = np.inf
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite passes no check
        for chosen, case, report in stacks(trace, settings):
            for name, ratio, expected, allowed in _stage_ratios(case, report, tau, by_oracle):
                worst[name] = max(worst[name], float(ratio.max()))
                found += _first_divergence(trace, chosen, name, ratio, report[name], expected, allowed)
    first = min(found, key=causal_place, default=None)
    if first is not None:
        first = first._replace(equation=equations(first.tensor, settings.sgd))
    return Judgement(len(trace["epoch"]), worst, first)


def _stage_ratios(case, report, tau, by_oracle):
    """(tensor, ratio, expected, allowed) with an axis for the updates: by L1, or by L2 where no stages are reported."""
    if "a" in report and not by_oracle:
        for name, (expected, allowed) in stages(case, report, tau).items():
            yield name, ratios(np.asarray(report[name], np.float64) - expected, allowed), expected, allowed
        return
    yield from excesses(case, report, tau)


def _first_divergence(trace, chosen, name, ratio, reported, expected, allowed):
    """The first update of these whose tensor exceeds its bound, as a list of one, or none."""
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
