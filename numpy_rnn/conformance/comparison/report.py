"""What a comparison says: as text for a person, and as plain values for JSON."""

from numpy_rnn.app.report import comparison_table, join_names
from numpy_rnn.conformance.traces import drift
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, equations

STRICT_TANH_ULPS = 8


def text(comparison, log_every: int) -> str:
    """The loss columns, the bounds tensor by tensor, the drift, and what diverged first."""
    results = {side.name: side.result for side in comparison.sides}
    parts = [comparison_table(results, log_every), _bounds(comparison)]
    if comparison.drift is not None:
        parts.append(_drift(comparison.drift))
    parts += [
        f"{side.name} left the range of its dtype after {side.judgement.updates} updates: {side.cut};\n"
        f"only the updates before that are judged"
        for side in comparison.sides
        if side.cut
    ]
    parts += [divergence(side) for side in comparison.sides if not side.judgement.passed]
    parts += [
        f"{side.name} declares a tanh of {side.tanh_ulps:g} ulps, over {STRICT_TANH_ULPS}: this is no strict pass"
        for side in comparison.sides
        if side.tanh_ulps > STRICT_TANH_ULPS
    ]
    if comparison.passed:
        names = join_names([side.name for side in comparison.sides])
        judged = f"every update of {'both' if len(comparison.sides) == 2 else 'all'}" + (
            " that is in range" if any(side.cut for side in comparison.sides) else ""
        )
        parts.append(f"{names} agree: {judged} is within its rounding bounds")
    return "\n\n".join(parts)


def _bounds(comparison):
    sides, sgd = comparison.sides, comparison.configuration.sgd_options()
    shown = {
        tensor: equations(tensor, sgd) for tensor in CAUSAL_ORDER if any(tensor in s.judgement.worst for s in sides)
    }
    width, wide = max(12, *(len(side.name) for side in sides)), max(map(len, ("equation", *shown.values())))
    updates = " and ".join(dict.fromkeys(str(side.judgement.updates) for side in sides))
    lines = [
        f"worst of {updates} updates, each from its own parameters and state, in units of the rounding bound",
        f"tensor    {'equation':{wide}}  " + "  ".join(f"{side.name:>{width}}" for side in sides),
    ]
    for tensor, of_tensor in shown.items():
        cells = "  ".join(f"{_ratio(tensor, side.judgement.worst.get(tensor)):>{width}}" for side in sides)
        lines.append(f"{tensor:8}  {of_tensor:{wide}}  {cells}")
    return "\n".join(lines)


def _ratio(tensor, worst):
    if worst is None:
        return "not reported"
    if tensor in ("window", "entering"):
        return "exact" if worst == 0 else "WRONG"
    return f"{worst:.3f}" if worst <= 1 else f"{worst:.1e} !"


def _drift(measured):
    verdict = "rounding explains it" if measured.ratio <= drift.ALARM else "rounding does not explain it"
    return (
        f"left to run freely, the losses part by {measured.drift[-1]:.1e} at most; {drift.REFERENCES} runs that start"
        f" an ulp apart part by {measured.spread[-1]:.1e};\n"
        f"drift over spread is {measured.ratio:.1f} at its largest, alarm at {drift.ALARM:g}: {verdict}"
    )


def divergence(side) -> str:
    """Where a side diverged first, and what it looks like."""
    lines = [divergence_text(side.name, side.judgement.first)]
    if "a" in side.judgement.worst:
        lines.append("  every stage before it is within its bound, so the fault is in this one")
    else:
        lines.append("  no intermediate values are reported, so the fault is in this stage or in one before it")
    lines += [f"  looks like: {name}" for name in side.looks_like]
    return "\n".join(lines)


def divergence_text(name: str, first) -> str:
    """Where, which element, what it is and what it should be."""
    where = f"epoch {first.epoch}, update {first.number}" + (f", step {first.step}" if first.step else "")
    head = f"{name} diverges first in {where}: {first.tensor} ({first.equation})"
    if first.tensor == "window":
        part = ("start", "loss_start", "stop")[first.element[0]]
        return f"{head}\n  its window has {part} {first.reported:g} where TBPTT(k1, k2) has {first.expected:g}"
    return (
        f"{head}\n"
        f"  {first.tensor}{list(first.element)} is {first.reported:.9g}; from what was reported as the inputs of this\n"
        f"  stage it should be {first.expected:.9g}, and rounding allows a difference of {first.allowed:.1e}:"
        f" this one is {first.ratio:.1e} times as large"
    )


def values(comparison) -> dict:
    """Everything, as values for `plain_json`."""
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
