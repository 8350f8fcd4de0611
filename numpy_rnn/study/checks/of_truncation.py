"""(T1) to (T3) beside brute force by the definition."""

from typing import Any

import numpy as np

from numpy_rnn.common.windows import windows
from numpy_rnn.study.checks.comparing import whole
from numpy_rnn.study.checks.equations import TRUNCATION
from numpy_rnn.study.checks.gathering import Check, compared, findings_of
from numpy_rnn.study.checks.truncation import (
    constant,
    counted_by_steps,
    initial_states,
    recorded,
    schedules,
    truncations,
)
from numpy_rnn.study.setting import Setting

COUNTING, ONCE, PREVIOUS, COMPLEX = "counting steps", "once each", "previous window", "complex step"


def of_truncation(setting: Setting) -> dict[str, Any]:
    """(T1), (T2) for every TBPTT(k1, k2); (T3) along two epochs of some of them, in which h is the same to the bit."""
    T = len(setting.x)
    found, every = schedules(T), f"all 1 ≤ k1 ≤ k2 ≤ {T}"
    checks: dict[str, list[Check]] = {id: [] for id in TRUNCATION}
    examples = {}
    for id, name in (("T1", "e"), ("T2", "s")):
        ends, by_counting = found[name]
        checks[id] += _exactly(every, ends, {COUNTING: by_counting})
    k1, k2 = truncations(setting)[-1]
    last = f"of the last update of k1 = {k1}, k2 = {k2}"
    ours, counted = list(windows(T, k1, k2))[-1], list(counted_by_steps(T, k1, k2))[-1]
    examples["T1"] = {"element": f"e {last}", "values": _values(ours.stop, counted.stop)}
    examples["T2"] = {"element": f"s {last}", "values": _values(ours.start, counted.start)}
    times, once = found["times"]
    checks["T1"] += _exactly("how often each loss is counted", times, {ONCE: once})
    for k1, k2 in truncations(setting):
        where, run = f"k1 = {k1}, k2 = {k2}", list(recorded(setting, k1, k2))
        states = list(initial_states(setting, run))
        state, expected = (np.concatenate([getattr(one, side) for one in states]) for side in ("state", "expected"))
        checks["T3"] += _exactly(where, state, {PREVIOUS: expected})
        for before, update in run:
            checks["T3"] += [Check(where, COMPLEX, difference) for _, difference in constant(setting, before, update)]
    examples["T3"] = {"element": f"h[1] that enters {last[3:]}", "values": _values(state[-1, 0], expected[-1, 0])}
    return findings_of(TRUNCATION, checks, examples)


def _exactly(where, ours, others):
    return compared(where, ours, np.zeros(np.shape(ours)), {name: whole(v) for name, v in others.items()})


def _values(ours, other):
    return [{"by": "by hand", "value": float(ours)}, {"by": "by the definition", "value": float(other)}]
