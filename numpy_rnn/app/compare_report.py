"""The report of `compare`: as text, and as values for JSON."""

from typing import Any

import numpy as np

from numpy_rnn.app.report import comparison_table, join_names
from numpy_rnn.app.results import Result
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.bounds.local_bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.divergence import TENSORS, equations


def heading(names: list[str], series: str, run: Run) -> str:
    """One line that describes the run."""
    (k1, k2, _), (nonlinearity, loss, reduction), step = run.options
    T, B, D, (H, O) = len(run.x), run.x.shape[1], run.params.W_xh.shape[-2], run.params.W_hy.shape[-2:]
    parts = [f"{join_names(names)}: {series}", f"T={T} B={B} D={D} H={H} O={O}", nonlinearity]
    parts += ["cross-entropy"] * (loss == "cross_entropy")
    parts += ["no biases" if run.params.b_h is None else "biases", f"reduction {reduction}", f"k1={k1} k2={k2}"]
    for name, value in step._asdict().items():
        words = name.replace("_", " ")
        if np.ndim(value):
            parts.append(f"{words}s {' '.join(f'{rate:g}' for rate in np.unique(value))}")
        elif value or name == "learning_rate":
            parts.append(words if value is True else f"{words} {value:g}")
    parts += ["initial state learned"] * (run.params.h_0 is not None)
    return ", ".join([*parts, str(run.params.W_hh.dtype)])


def text(comparison: Any, log_every: int) -> str:
    """The losses, the worst ratio of every tensor, the drift, and the first divergence of every side that has one."""
    sides = comparison.sides
    unpredicted = np.zeros((0, *sides[0].losses.shape[1:], 1, 1))
    results = {side.name: Result(side.losses, side.params, unpredicted, unpredicted) for side in sides}
    parts = [comparison_table(results, log_every), bounds_table(comparison)]
    if comparison.drift is not None:
        parts.append(drift_text(comparison.drift))
    for side in sides:
        if side.cut:
            updates = side.judgement.updates
            parts.append(f"{side.name} overflows after {updates} updates: {side.cut};\nonly those are checked")
    parts += [divergence_text(side) for side in sides if not side.judgement.passed]
    for side in sides:
        ulps, absolute = side.tau.relative / 2, side.tau.absolute / 2
        if ulps > STRICT_TANH_ULPS:
            parts.append(
                f"{side.name} declares a tanh error of {ulps:g} ulps, above {STRICT_TANH_ULPS}: not a strict pass"
            )
        if absolute:
            parts.append(
                f"{side.name} declares an absolute tanh error of {absolute:g} ulps of 1: a small h may have a large"
                " relative error, not a strict pass"
            )
    if comparison.passed:
        until = " before the overflow" if any(side.cut for side in sides) else ""
        judged = f"every update of {'both' if len(sides) == 2 else 'all'}{until}"
        parts.append(f"{join_names([side.name for side in sides])} agree: {judged} is within its rounding bounds")
    return "\n\n".join(parts)


def bounds_table(comparison: Any) -> str:
    """The worst ratio of every tensor and side."""
    sides, step = comparison.sides, comparison.run.options.step
    shown = {tensor: equations(tensor, step) for tensor in TENSORS if any(tensor in s.judgement.worst for s in sides)}
    width, wide = max(12, *(len(side.name) for side in sides)), max(map(len, ("equation", *shown.values())))
    updates = " and ".join(dict.fromkeys(str(side.judgement.updates) for side in sides))
    lines = [
        f"worst ratio of {updates} updates, each from its own parameters and state: difference / rounding bound",
        f"tensor    {'equation':{wide}}  " + "  ".join(f"{side.name:>{width}}" for side in sides),
    ]
    for tensor, ids in shown.items():
        cells = "  ".join(f"{_ratio(tensor, side.judgement.worst.get(tensor)):>{width}}" for side in sides)
        lines.append(f"{tensor:8}  {ids:{wide}}  {cells}")
    return "\n".join(lines)


def _ratio(tensor: str, worst: float | None) -> str:
    if worst is None:
        return "not reported"
    if tensor in ("window", "initial"):
        return "exact" if worst == 0 else "WRONG"
    return f"{worst:.3f}" if worst <= 1 else f"{worst:.1e} !"


def drift_text(measured: drive.Drift) -> str:
    """The drift of the losses, and whether rounding explains it."""
    verdict = "rounding explains the drift" if measured.ratio <= drive.ALARM else "rounding does not explain the drift"
    return (
        f"free-running, the losses drift apart by at most {measured.drift[-1]:.1e};"
        f" {drive.REFERENCES} runs whose initial weights differ by an ulp spread by {measured.spread[-1]:.1e};\n"
        f"the largest drift / spread is {measured.ratio:.1f}, the limit {drive.ALARM:g}: {verdict}"
    )


def divergence_text(side: Any) -> str:
    """The first divergence of a side, and the mutants that it looks like."""
    lines = [side.judgement.first.message(side.name)]
    if "a" in side.judgement.worst:
        lines.append("  every stage before it is within its bound, so the fault is in this stage")
    else:
        lines.append("  no intermediate values are reported, so the fault is in this stage or an earlier one")
    lines += [f"  looks like: {', or '.join(side.looks_like)}"] if side.looks_like else []
    return "\n".join(lines)


def values(comparison: Any) -> dict[str, Any]:
    """The whole comparison as values for JSON."""
    return {
        "passed": comparison.passed,
        "options": comparison.run.options.keywords(),
        "drift_over_spread": None if comparison.drift is None else comparison.drift.ratio,
        "sides": [
            {
                "name": side.name,
                "tanh_ulps": side.tau.relative / 2,
                "updates": side.judgement.updates,
                "out_of_range": side.cut,
                "losses": side.losses,
                "worst_ratio": side.judgement.worst,
                "first_divergence": None if side.judgement.first is None else side.judgement.first._asdict(),
                "looks_like": side.looks_like,
            }
            for side in comparison.sides
        ],
    }
