"""The report of `compare`: as text, and as values for JSON."""

from typing import Any

import numpy as np

from numpy_rnn.common.format import align_columns, format_number, join_names
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.divergence import TENSORS, equations


def is_logged(epoch, log_every, epochs):
    """Whether an epoch is printed: the first, every `log_every`-th, and the last are."""
    return epoch in (1, epochs) or epoch % log_every == 0


def finite_median(losses):
    """The median of the losses that are finite; NaN if none is."""
    finite = np.asarray(losses)[np.isfinite(losses)]
    return float(np.median(finite)) if finite.size else np.nan


GROWTH = 10  # of the loss of an epoch over that of the first: such a run diverges


def text(comparison: Any, log_every: int) -> str:
    """The losses, the worst ratio of every tensor, the drift, and the first divergence of every side that has one."""
    sides = comparison.sides
    losses = {side.name: side.losses for side in sides}
    parts = [losses_table(losses, log_every), bounds_table(comparison)]
    if comparison.drift is not None:
        parts.append(drift_text(comparison.drift))
    for side in sides:
        if side.cut:
            overflow = f"{side.name} overflows after {side.judgement.updates} updates: {side.cut}"
            parts.append(f"{overflow};\nonly those are checked")
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
    return "\n\n".join(filter(None, [*parts, verdict(comparison)]))


def verdict(comparison: Any) -> str:
    """Whether the sides agree, whether the run trains, and what is not checked."""
    sides, lines = comparison.sides, []
    until = " before the overflow" if any(side.cut for side in sides) else ""
    bounds = "rounding bounds, which are estimated where ~ marks them"
    bounds = bounds if any(side.judgement.estimated for side in sides) else "rounding bounds"
    judged = f"every update of {'both' if len(sides) == 2 else 'all'}{until} is within its {bounds}"
    names = join_names([side.name for side in sides])
    if comparison.passed:
        lines.append(f"{names} agree: {judged}")
    elif all(side.judgement.passed for side in sides):
        lines.append(
            f"{names} do not agree: {judged}, but rounding does not explain the drift of the losses"
        )
    ends = (
        (side.name, np.max(side.losses[:1]), np.max(side.losses[-1:]))
        for side in sides
        if len(side.losses)
    )
    if diverging := next((each for each in ends if not each[2] / GROWTH <= each[1]), None):
        name, first, last = diverging
        lines.append(
            f"the run diverges: the loss of {name} grows from {first:.3g} to {last:.3g}; choose a lower --learning-rate"
        )
    shown = {tensor for side in sides for tensor in side.judgement.worst}
    for side in sides:
        loop = ["window, initial (the loop is that of compare)"] if side.is_port else []
        missing = [tensor for tensor in TENSORS if tensor in shown - {*side.judgement.worst}]
        if unchecked := loop + [f"{', '.join(missing)} (not reported)"] * bool(missing):
            lines.append(f"not checked of {side.name}: {', '.join(unchecked)}")
        if lost := side.judgement.lost:
            lines.append(
                f"not checked of {side.name}: {', '.join(lost)}, in up to {max(lost.values())} updates: rounding alone"
                " changes them by a hundredth or more, so they are no numbers in this dtype"
            )
    return "\n".join(lines)


def losses_table(losses: dict[str, np.ndarray], log_every: int) -> str:
    """Losses (epochs, *E) by epoch, of an ensemble the medians, with the largest difference of a single network."""
    epochs = max(map(len, losses.values()))  # a trace may have other ones
    rows = [
        values.reshape(len(values), int(np.prod(values.shape[1:]))) for values in losses.values()
    ]
    stacked = np.stack(
        [np.pad(row, ((0, epochs - len(row)), (0, 0)), constant_values=np.nan) for row in rows]
    )
    finite, networks, common = np.isfinite(stacked), stacked.shape[-1], min(map(len, rows))
    difference = np.where(finite.all(axis=0), np.ptp(np.where(finite, stacked, 0), axis=0), 0)
    difference[:common][(finite.any(axis=0) != finite.all(axis=0))[:common]] = np.inf
    note = f"   medians of {networks} networks, and the largest difference" if networks > 1 else ""
    logged = [epoch for epoch in range(epochs) if is_logged(epoch + 1, log_every, epochs)]
    columns = [(5, ["epoch", *(str(epoch + 1) for epoch in logged)])]
    for name, row in zip(losses, rows):
        cells = (
            format_number(finite_median(row[epoch])) if epoch < len(row) else "-"
            for epoch in logged
        )
        columns.append((14, [name, *cells]))
    columns.append((11, ["difference", *(f"{difference[epoch].max():.1e}" for epoch in logged)]))
    head, *lines = align_columns(columns)
    lines = [head + note, *lines]
    epoch, network = map(int, np.unravel_index(difference.argmax(), difference.shape))
    which = f" of network {network + 1}" if networks > 1 else ""
    lines.append(
        f"largest difference {difference.max():.1e}, in epoch {epoch + 1}, where the loss{which} is"
        f" {stacked[0, epoch, network]:.6g}"
    )
    return "\n".join(lines)


def bounds_table(comparison: Any) -> str:
    """The worst ratio of every tensor and side."""
    sides, (_, objective, step) = comparison.sides, comparison.run.options
    tensors = [
        tensor for tensor in TENSORS if any(tensor in side.judgement.worst for side in sides)
    ]
    shown = {tensor: equations(tensor, objective, step) for tensor in tensors}
    wide = max(map(len, ("equation", *shown.values())))
    updates = " and ".join(dict.fromkeys(str(side.judgement.updates) for side in sides))
    columns = [
        (8, ["tensor  ", *(f"{tensor:8}" for tensor in tensors)]),
        (wide, [f"{ids:{wide}}" for ids in ("equation", *shown.values())]),
        *((12, [side.name, *(_ratio(tensor, side) for tensor in tensors)]) for side in sides),
    ]
    head = f"worst ratio of {updates} updates, each from its own parameters and state: difference / rounding bound"
    lines = [head, *align_columns(columns)]
    if any(side.judgement.estimated for side in sides):
        lines.append("~ estimated: the proven bound of so large a window is too wide")
    return "\n".join(lines)


def _ratio(tensor: str, side: Any) -> str:
    worst, is_exact = side.judgement.worst.get(tensor), tensor in ("window", "initial")
    if worst is None or (side.is_port and is_exact):
        return "not checked"
    if is_exact and worst in (0, np.inf):
        return "WRONG" if worst else "exact"
    if worst > 1:
        return f"{worst:.1e} !"
    return f"{worst:.3f}" + " ~" * (tensor in side.judgement.estimated)


def drift_text(measured: drive.Drift) -> str:
    """The drift of the losses, and whether rounding explains it."""
    verdict = (
        "rounding explains the drift"
        if measured.ratio <= drive.ALARM
        else "rounding does not explain the drift"
    )
    return (
        f"free-running, the losses drift apart by at most {measured.drift[-1]:.1e};"
        f" {drive.REFERENCES} runs whose initial weights differ by an ulp spread by {measured.spread[-1]:.1e};\n"
        f"the largest drift / spread is {measured.ratio:.1f}, the limit {drive.ALARM:g}: {verdict}"
    )


def divergence_text(side: Any) -> str:
    """The first divergence of a side, and the mutants that it looks like."""
    lines = [side.judgement.first.message(side.name)]
    if "a" in side.judgement.worst or side.judgement.first.tensor in ("window", "initial"):
        lines.append("  every stage before it is within its bound, so the fault is in this stage")
    else:
        lines.append(
            "  no intermediate values are reported, so the fault is in this stage or an earlier one"
        )
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
                "estimated_updates": side.judgement.estimated,
                "lost_updates": side.judgement.lost,
                "first_divergence": None
                if side.judgement.first is None
                else side.judgement.first._asdict(),
                "looks_like": side.looks_like,
            }
            for side in comparison.sides
        ],
    }
