"""The report of `compare`: as text, and as values for JSON."""

from numpy_rnn.app.report import comparison_table, join_names
from numpy_rnn.conformance.bounds.local_bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.judge import TENSORS, equations


def text(comparison, log_every: int) -> str:
    """The losses, the worst ratio of every tensor, the drift, and the first divergence of every side that has one."""
    results = {side.name: side.result for side in comparison.sides}
    parts = [comparison_table(results, log_every), _bounds(comparison)]
    if comparison.drift is not None:
        parts.append(_drift(comparison.drift))
    parts += [
        f"{side.name} overflows after {side.judgement.updates} updates: {side.cut};\n"
        f"only the updates before that are checked"
        for side in comparison.sides
        if side.cut
    ]
    parts += [divergence(side) for side in comparison.sides if not side.judgement.passed]
    parts += [
        f"{side.name} declares a tanh error of {side.tanh_ulps:g} ulps, above {STRICT_TANH_ULPS}: not a strict pass"
        for side in comparison.sides
        if side.tanh_ulps > STRICT_TANH_ULPS
    ]
    parts += [
        f"{side.name} declares an absolute tanh error of {side.tanh_absolute_ulps:g} ulps of 1: a small h may have a"
        " large relative error, not a strict pass"
        for side in comparison.sides
        if side.tanh_absolute_ulps
    ]
    if comparison.passed:
        names = join_names([side.name for side in comparison.sides])
        judged = f"every update of {'both' if len(comparison.sides) == 2 else 'all'}" + (
            " before the overflow" if any(side.cut for side in comparison.sides) else ""
        )
        parts.append(f"{names} agree: {judged} is within its rounding bounds")
    return "\n\n".join(parts)


def _bounds(comparison):
    sides, sgd = comparison.sides, comparison.configuration.sgd_options()
    shown = {tensor: equations(tensor, sgd) for tensor in TENSORS if any(tensor in s.judgement.worst for s in sides)}
    width, wide = max(12, *(len(side.name) for side in sides)), max(map(len, ("equation", *shown.values())))
    updates = " and ".join(dict.fromkeys(str(side.judgement.updates) for side in sides))
    lines = [
        f"worst ratio of {updates} updates, each from its own parameters and state: difference / rounding bound",
        f"tensor    {'equation':{wide}}  " + "  ".join(f"{side.name:>{width}}" for side in sides),
    ]
    for tensor, of_tensor in shown.items():
        cells = "  ".join(f"{_ratio(tensor, side.judgement.worst.get(tensor)):>{width}}" for side in sides)
        lines.append(f"{tensor:8}  {of_tensor:{wide}}  {cells}")
    return "\n".join(lines)


def _ratio(tensor, worst):
    if worst is None:
        return "not reported"
    if tensor in ("window", "initial"):
        return "exact" if worst == 0 else "WRONG"
    return f"{worst:.3f}" if worst <= 1 else f"{worst:.1e} !"


def _drift(measured):
    verdict = "rounding explains the drift" if measured.ratio <= drive.ALARM else "rounding does not explain the drift"
    return (
        f"free-running, the losses drift apart by at most {measured.drift[-1]:.1e};"
        f" {drive.REFERENCES} runs whose initial weights differ by an ulp spread by {measured.spread[-1]:.1e};\n"
        f"the largest drift / spread is {measured.ratio:.1f}, the limit {drive.ALARM:g}: {verdict}"
    )


def divergence(side) -> str:
    """The first divergence of a side, and the mutants that it looks like."""
    lines = [divergence_text(side.name, side.judgement.first)]
    if "a" in side.judgement.worst:
        lines.append("  every stage before it is within its bound, so the fault is in this stage")
    else:
        lines.append("  no intermediate values are reported, so the fault is in this stage or an earlier one")
    lines += [f"  looks like: {', or '.join(side.looks_like)}"] if side.looks_like else []
    return "\n".join(lines)


def divergence_text(name: str, first) -> str:
    """The place of a divergence, its element, and the reported and expected values."""
    where = f"epoch {first.epoch}, update {first.number}" + (f", step {first.step}" if first.step else "")
    head = f"{name} diverges first in {where}: {first.tensor} ({first.equation})"
    if first.tensor == "window":
        part = ("start", "loss_start", "stop")[first.element[0]]
        return f"{head}\n  its window has {part} {first.reported:g} where TBPTT(k1, k2) has {first.expected:g}"
    return (
        f"{head}\n"
        f"  {first.tensor}{list(first.element)} is {first.reported:.9g}; recomputed from the reported inputs of this"
        f" stage it is {first.expected:.9g}.\n"
        f"  The difference is {first.ratio:.1e} times the rounding bound of {first.allowed:.1e}"
    )


def values(comparison) -> dict:
    """The whole comparison as values for JSON."""
    return {
        "passed": comparison.passed,
        "configuration": comparison.configuration.to_dict(),
        "drift_over_spread": None if comparison.drift is None else comparison.drift.ratio,
        "sides": [
            {
                "name": side.name,
                "tanh_ulps": side.tanh_ulps,
                "updates": side.judgement.updates,
                "out_of_range": side.cut,
                "losses": side.losses,
                "worst_ratio": side.judgement.worst,
                "first_divergence": _first(side.judgement.first),
                "looks_like": side.looks_like,
            }
            for side in comparison.sides
        ],
    }


def _first(first):
    return None if first is None else first._asdict()
