"""What `compare` prints: the verdict, what it covers, and the largest ratios."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.run import schedule_name, step_words
from numpy_rnn.app.sources import Source, TraceFile
from numpy_rnn.app.tables import format_number, format_table
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import RECURRENT, TENSORS, equations
from numpy_rnn.conformance.judge import Judgement
from numpy_rnn.conformance.runs import PackageSource

GROWTH = 10  # of the loss of an epoch over that of the first: such a run diverges
LOOP = ("window", "initial")  # what the training loop chooses
ADVICE = "choose --dtype float64, a smaller --k2, or weights of smaller gain"


class ComparedRun(NamedTuple):
    """One run of one implementation, and what was found."""

    run: Run
    judgement: Judgement
    reach: int  # steps that a gradient went back, at most
    carried: int  # windows that start from a carried state
    losses: NumpyArray  # (epochs, *E)
    overflows: bool = False  # after the updates that are judged
    hint: str = ""  # a mutant that gives the same wrong values


class Comparison(NamedTuple):
    """An implementation and all its runs."""

    source: Source
    runs: list[ComparedRun]

    @property
    def name(self) -> str:
        """Return the name of the implementation."""
        return self.source.name

    @property
    def passed(self) -> bool:
        """Check whether every run passes."""
        return all(each.judgement.passed for each in self.runs)

    @property
    def wrong(self) -> ComparedRun | None:
        """Return the first wrong run that a hint explains, or the first."""
        found = [each for each in self.runs if each.judgement.first is not None]
        found.sort(key=lambda each: not each.hint)
        return found[0] if found else None

    def worst(self, tensor: str) -> float | None:
        """Return the largest ratio of a tensor, None if it is not reported."""
        worst = [each.judgement.worst.get(tensor) for each in self.runs]
        known = [ratio for ratio in worst if ratio is not None]
        return max(known, default=None)

    def named(self, what: str) -> list[str]:
        """Return the tensors that a field of a judgement of any run has."""
        names = set[str]()
        for each in self.runs:
            names.update(getattr(each.judgement, what))
        return [name for name in TENSORS if name in names]

    @property
    def updates(self) -> int:
        """Return the number of updates that are judged."""
        return sum(each.judgement.updates for each in self.runs)


def report(comparisons: Sequence[Comparison]) -> str:
    """Return the verdict and what it covers; then the losses, and the largest ratio of
    every tensor.
    """
    parts = verdict(comparisons) + coverage(comparisons)
    for each in comparisons:
        parts += [losses(each, run) for run in each.runs]
    parts += ["", *ratio_table(comparisons)]
    for each in comparisons:
        parts += reservations(each)
    return "\n".join(parts)


def verdict(comparisons: Sequence[Comparison]) -> list[str]:
    """Return one line for every implementation that is wrong or not judged, with what
    shows it; one line if all agree.
    """
    lines = list[str]()
    for each in comparisons:
        name = each.name if len(comparisons) > 1 else ""
        of = f" of {name}" if name else ""
        dtype = each.runs[0].run.params.W_hh.dtype
        not_judged = each.named("not_judged")
        if each.wrong is not None:
            lines += fault(each, each.wrong, name)
        elif not each.updates:
            lines.append(f"NOT JUDGED{of}: the first update overflows {dtype}")
        elif not_judged:
            why = f"rounding alone changes them too much in {dtype}; {ADVICE}"
            lines.append(f"NOT JUDGED {', '.join(not_judged)}{of}: {why}")
    if lines:
        return lines
    names = join_names([each.name for each in comparisons])
    agree = f"{names} agrees with the definition"
    if len(comparisons) > 1:
        agree = f"{names} agree"
    line = f"{agree}: every update is within its rounding bounds"
    if any(each.named("estimated") for each in comparisons):
        line += " (~: estimated)"
    if not any(run.reach for each in comparisons for run in each.runs):
        remedy = "use --k2 5"
        if any(isinstance(each.source, TraceFile) for each in comparisons):
            remedy = "record a run with k2 5"
        line += f"; but no gradient went back a step: {remedy}"
    return [line]


def fault(comparison: Comparison, wrong: ComparedRun, of: str) -> list[str]:
    """Return the lines about the first fault of an implementation."""
    first = wrong.judgement.first
    assert first is not None
    where = first.where
    if len(comparison.runs) > 1:
        where = f"in the run {schedule_name(wrong.run)}"
    lines = [first._replace(hint=wrong.hint, where=where).report(of)]
    if "a" not in wrong.judgement.worst and first.tensor not in LOOP:
        lines.append("  no intermediate values are reported: an earlier one may be off")
    return lines


def coverage(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the judged updates cover, in one line if it is the same for all."""
    texts = {each.name: covered(each) for each in comparisons}
    if len(set(texts.values())) == 1:
        return [f"checked: {next(iter(texts.values()))}"]
    return [f"checked of {name}: {text}" for name, text in texts.items()]


def covered(comparison: Comparison) -> str:
    """Describe what the judged updates of an implementation cover."""
    schedules = list[str]()
    for each in comparison.runs:
        epochs = pluralize(max(1, len(each.losses)), "epoch")
        schedules.append(f"{epochs} of {schedule_name(each.run)}")
    reach = max(each.reach for each in comparison.runs)
    carried = sum(each.carried for each in comparison.runs)
    parts = [
        f"gradients that go back {pluralize(reach, 'step')}",
        f"{carried} of {pluralize(comparison.updates, 'window')} start from a state"
        " that was carried",
        join_names(schedules),
        step_words(comparison.runs[0].run.options.step),
    ]
    return "; ".join(parts)


def losses(comparison: Comparison, compared: ComparedRun) -> str:
    """Return the losses of the first and last epoch of a run in one line; of an
    ensemble, the medians.
    """
    name, epochs = comparison.name, len(compared.losses)
    if len(comparison.runs) > 1:
        name += f", {schedule_name(compared.run)}"
    if not epochs:
        return f"{name}: no whole epoch"
    first, last = (float(np.median(compared.losses[epoch])) for epoch in (0, -1))
    text = f"{name}: loss {format_number(first)} in epoch 1"
    if epochs > 1:
        text += f", {format_number(last)} in epoch {epochs}"
    if compared.overflows:
        updates = pluralize(compared.judgement.updates, "update")
        text += f"; it overflows after {updates}, which alone are judged"
    elif not last <= GROWTH * first:
        text += "; it diverges: choose a lower --learning-rate"
    return text


def ratio_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the table of the largest ratios."""
    options = comparisons[0].runs[0].run.options
    counts = dict.fromkeys(str(each.updates) for each in comparisons)
    rows = []
    for name in TENSORS:
        if any(each.worst(name) is not None for each in comparisons):
            ids = equations(name, options.objective, options.step)
            rows.append([name, ids, *(ratio_cell(name, each) for each in comparisons)])
    head = f"largest difference / rounding bound of {' and '.join(counts)} updates"
    columns = ["tensor", "equation", *(each.name for each in comparisons)]
    return [head, *format_table(columns, rows, left=2)]


def ratio_cell(tensor: str, comparison: Comparison) -> str:
    """Return the largest ratio of a tensor as it is printed."""
    # Ports have the loop of `compare`.
    has_own_loop = isinstance(comparison.source, TraceFile | PackageSource)
    worst = comparison.worst(tensor)
    if worst is None or (tensor in LOOP and not has_own_loop):
        return "-"
    if tensor in LOOP and worst == 0:
        return "exact"
    if tensor in LOOP and worst == np.inf:
        return "WRONG"
    if tensor in comparison.named("unjudged"):
        return "not judged"
    if worst > 1:
        return f"{worst:.1e} !"
    if tensor in comparison.named("estimated"):
        return f"{worst:.3f} ~"
    return f"{worst:.3f}"


def reservations(comparison: Comparison) -> list[str]:
    """Return lines about what was judged in another way, or not at all."""
    lines, name = list[str](), comparison.name
    if contracted := comparison.named("calmed"):
        lines.append(
            f"{name}: rounding alone changes {', '.join(contracted)} too much to be"
            f" judged; checked in windows with smaller {' and '.join(RECURRENT)}"
        )
    known = comparison.named("not_judged")
    rest = [tensor for tensor in comparison.named("unjudged") if tensor not in known]
    if rest:
        lines.append(
            f"{name}: not judged, as they are lost to rounding: {', '.join(rest)}"
        )
    relative, absolute = (error / 2 for error in comparison.source.tau)
    if relative > STRICT_TANH_ULPS or absolute:
        errors = f"{relative:g} ulps"
        if absolute:
            errors += f" and {absolute:g} ulps of 1"
        lines.append(f"{name} declares a tanh error of {errors}: not a strict pass")
    return lines
