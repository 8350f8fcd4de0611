"""Truncations of public code that are not TBPTT(k1, k2): their names and equations; `truncated_run.py` has a loop.

The windows are still those of TBPTT(k1, k2), (T1) to (T3). One stage of a window is another one:

    band:k    every loss flows back over k steps: its own and k − 1 earlier ones

        dh_t = Σ_{j=0}^{k−1} g_{t,j}, where g_{t,0} = dy_t W_hyᵀ and g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ    (R1)

    back:k    the backward pass ends after the newest k steps of the window

        dh_t is that of (B2) for t > T − k, and 0 for the steps before                                              (R2)

    stale     older steps are not computed again

        a_t and h_t of the steps without a loss are those of the update that had step t as a new one                (R3)

All other equations stay. k counts steps, so band:5 is "bptt_truncate = 4" of programs that count the steps before the
own one. With k of at least T, (R1) and (R2) are (B2).

Source: (R1) rnnlm of Britz 2015, also in ML-From-Scratch; (R2) Deeplearning4j, tBPTTBackwardLength below the forward
one; (R3) Sutskever 2013, section 2.8.6 (from t down to t − k2: k2 + 1 steps), and Mikolov's rnnlm (bptt − 1 steps).
"""

import json
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError, one_line

KINDS = ("band", "back", "stale")
MAX_CANDIDATES = 30  # steps of a truncation that a hint names
FORMS = "band:k, back:k or stale, with k a number of steps from 1"


class Truncation(NamedTuple):
    """A truncation, and its number of steps; 0 for "stale"."""

    kind: str
    steps: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.steps}" if self.steps else self.kind

    def first_step(self, T: int) -> int:
        """How many of T steps the backward pass does not reach."""
        return max(0, T - self.steps) if self.kind == "back" else 0

    def cuts(self, T: int) -> bool:
        """Whether it differs from (B2) in a window of T steps."""
        return 0 < self.steps < T


def truncation_of(name: str) -> Truncation | None:
    """The truncation of this name; None for "", which is TBPTT(k1, k2). Raises InputError on another name."""
    kind, colon, steps = name.partition(":")
    if name == "":
        return None
    if name == "stale":
        return Truncation("stale")
    if kind not in KINDS[:2] or not (colon and steps.isdecimal() and steps.isascii() and 0 < int(steps) < 10**9):
        raise InputError(f"unknown truncation {one_line(repr(name), 40)}: expected {FORMS}")
    return Truncation(kind, int(steps))


def truncation_fault(name: Any) -> str | None:
    """Why a port cannot have this truncation; None if it can."""
    try:
        truncation = truncation_of(name if isinstance(name, str) else "?")
    except InputError as error:
        return str(error)
    seen = truncation is None or truncation.steps > 0
    return None if seen else "truncation is 'stale', which no single window shows: expected a trace"


def candidates(T: int) -> list[Truncation | None]:
    """TBPTT(k1, k2) itself, and the truncations that differ from it in windows of T steps."""
    of_steps = [Truncation(kind, steps) for steps in range(1, min(T, MAX_CANDIDATES)) for kind in KINDS[:2]]
    return [None, *of_steps, Truncation("stale")]


def truncated_adjoints(outputs: Any, W_hh: Any, slopes: Any, truncation: Truncation | None) -> tuple[Any, Any]:
    """dh and da, (T, B, H), under (R1), (R2) or (B2); outputs: dy_t W_hyᵀ of all steps; slopes: φ'(a_t)."""
    T, dh, da = len(slopes), outputs.copy(), np.zeros_like(slopes)
    if truncation is not None and truncation.kind == "band":
        g = outputs  # g_{t,j} of the steps 1 to T − j
        for _ in range(1, min(truncation.steps, T)):
            g = (g[1:] * slopes[1 : len(g)]) @ W_hh.mT  # (R1)
            dh[: len(g)] += g
        return dh, dh * slopes
    first = 0 if truncation is None else truncation.first_step(T)
    dh[:first] = 0  # (R2)
    for t in reversed(range(first, T)):
        if t + 1 < T:
            dh[t] += da[t + 1] @ W_hh.mT
        da[t] = dh[t] * slopes[t]
    return dh, da


def with_truncation(trace: dict[str, Any], truncation: Truncation | None) -> dict[str, Any]:
    """The trace with this truncation in its configuration."""
    known = json.loads(trace["configuration"].tobytes().rstrip(b"\0"))
    return trace | {"configuration": np.bytes_(json.dumps(known | {"truncation": str(truncation or "")}))}


def kept_rows(trace: dict[str, Any]) -> np.ndarray:
    """For every row of a trace, the row of the same step and epoch in the update that has it as a new step."""
    steps = trace["stop"] - trace["start"]
    of_update = np.repeat(np.arange(len(steps)), steps)
    first_row = np.concatenate(([0], np.cumsum(steps)[:-1]))
    step = np.arange(len(of_update)) - first_row[of_update] + trace["start"][of_update]
    is_new = step >= trace["loss_start"][of_update]
    place = list(zip(trace["epoch"][of_update].tolist(), step.tolist()))
    row_of = {place[row]: int(row) for row in np.flatnonzero(is_new)}
    return np.array([row_of.get(at, row) for row, at in enumerate(place)])
