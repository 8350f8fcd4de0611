"""What `compare` prints: the verdict, what it covers, and the largest ratios."""

from typing import NamedTuple

from numpy_rnn.app.output import format_table, schedule_name, step_words
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import TENSORS, equations
from numpy_rnn.conformance.runs.judge import Judgement

LOOP = ("window", "initial")  # what the training loop chooses
LESS_ROUNDING = "choose --dtype float64, a smaller --k2, or --weights of smaller gain"
NO_OVERFLOW = "choose --dtype float64, or a smaller --k2 or --learning-rate"


class ComparedRun(NamedTuple):
    """One run of one implementation, and what was found."""

    run: Run
    judgement: Judgement
    reach: int  # steps that a gradient went back, at most
    carried: int  # windows that start from a carried state
    losses: NumpyArray  # (epochs, networks)
    overflows: bool  # after the updates that are judged


class Comparison(NamedTuple):
    """An implementation and all its runs."""

    name: str
    tau: float  # the error of its tanh, in units of roundoff
    runs: list[ComparedRun]

    @property
    def judgements(self) -> list[Judgement]:
        """Return the judgements on all runs."""
        return [run.judgement for run in self.runs]

    @property
    def updates(self) -> int:
        """Return the number of updates that are judged."""
        return sum(judgement.updates for judgement in self.judgements)


def comparison_report(comparisons: list[Comparison], remedy: str) -> str:
    """Write what `compare` prints.

    The verdict comes first, with a remedy if no gradient went back a step. If an update
    is judged, what the verdict covers follows, in one line if it is the same for all,
    and the largest ratio of every tensor to its rounding bound.
    """
    lines = verdict(comparisons, remedy)
    if any(comparison.updates for comparison in comparisons):
        for coverage in dict.fromkeys(map(covered, comparisons)):
            lines.append(f"checked: {coverage}")
        lines += ["", *ratio_table(comparisons)]
    for comparison in comparisons:
        lines += reservations(comparison)
    return "\n".join(lines)


def verdict(comparisons: list[Comparison], remedy: str) -> list[str]:
    """Return one line for every implementation that is wrong or not judged, with what
    shows it; one line if all agree.
    """
    names = [comparison.name for comparison in comparisons]
    lines = []
    for comparison in comparisons:
        lines += faults(comparison, comparison.name if len(names) > 1 else "")
    if lines:
        return lines
    agree = "agree" if len(names) > 1 else "agrees with the definition"
    line = f"{join_names(names)} {agree}: every update is within its rounding bounds"
    runs = [run for comparison in comparisons for run in comparison.runs]
    if any(run.judgement.counts.estimated for run in runs):
        line += " (~: estimated)"
    if not any(run.reach for run in runs):
        line += f"; but no gradient went back a step: {remedy}"
    return [line]


def faults(comparison: Comparison, name: str) -> list[str]:
    """Return the lines about what is wrong or not judged in an implementation; none
    if all its runs pass. Its name is empty if it is the single one.

    Of several findings it is the last that a hint explains, whose windows are longest,
    or the last of all.
    """
    findings = [run.first for run in reversed(comparison.judgements) if run.first]
    if findings:
        return [max(findings, key=lambda finding: bool(finding.hint)).report(name)]
    of_name = f" of {name}" if name else ""
    for run, judgement, *_ in comparison.runs:
        dtype = run.params.W_hh.dtype
        if not judgement.updates:
            return [
                f"NOT JUDGED{of_name}: the first update of {schedule_name(run)}"
                f" overflows {dtype}; {NO_OVERFLOW}"
            ]
    unjudged = set[str]()
    for judgement in comparison.judgements:
        unjudged.update(judgement.unjudged_results)
    if unjudged:
        return [
            f"NOT JUDGED {in_order(unjudged)}{of_name}: rounding alone changes them"
            f" too much in {dtype}; {LESS_ROUNDING}"
        ]
    return []


def in_order(tensors: set[str]) -> str:
    """Return the names of tensors in the order of their computation."""
    return ", ".join(sorted(tensors, key=TENSORS.index))


def covered(comparison: Comparison) -> str:
    """Describe what the judged updates of an implementation cover."""
    runs = comparison.runs
    schedules = []
    for compared in runs:
        epochs = pluralize(max(1, len(compared.losses)), "epoch")
        updates = compared.judgement.updates
        schedule = f"{epochs} of {schedule_name(compared.run)}"
        if compared.overflows:
            schedule += f", which overflows after {updates} updates: these are judged"
        schedules.append(schedule)
    reach = max(compared.reach for compared in runs)
    carried = sum(compared.carried for compared in runs)
    return (
        f"gradients that go back {pluralize(reach, 'step')}; {carried} of"
        f" {pluralize(comparison.updates, 'window')} start from a state that was"
        f" carried; {join_names(schedules)}; {step_words(runs[0].run.options.step)}"
    )


def ratio_table(comparisons: list[Comparison]) -> list[str]:
    """Return the table of the largest ratios, but for what the loop chooses."""
    options = comparisons[0].runs[0].run.options
    names = [comparison.name for comparison in comparisons]
    rows = [["tensor", "equation", *names]]
    for tensor in TENSORS:
        cells = [ratio_cell(tensor, comparison) for comparison in comparisons]
        if tensor not in LOOP and set(cells) != {"-"}:
            ids = equations(tensor, options.objective, options.step)
            rows.append([tensor, ids, *cells])
    return ["largest difference / rounding bound", *format_table(rows)]


def ratio_cell(tensor: str, comparison: Comparison) -> str:
    """Return the largest ratio of a tensor as it is printed."""
    judgements = comparison.judgements
    ratios = [run.worst[tensor] for run in judgements if tensor in run.worst]
    if not ratios:
        return "-"
    if any(tensor in judgement.unjudged for judgement in judgements):
        return "not judged"
    ratio = max(ratios)
    if ratio > 1:
        return f"{ratio:.1e} !"
    is_estimated = any(tensor in judgement.counts.estimated for judgement in judgements)
    return f"{ratio:.3f} ~" if is_estimated else f"{ratio:.3f}"


def reservations(comparison: Comparison) -> list[str]:
    """Return lines about what was judged in another way."""
    lines = []
    wide = {tensor for run in comparison.judgements for tensor in run.counts.wide}
    if wide:
        lines.append(
            f"{comparison.name}: rounding allows over a tenth of some: {in_order(wide)}"
        )
    ulps = comparison.tau / 2
    if ulps > STRICT_TANH_ULPS:
        lines.append(
            f"{comparison.name} declares a tanh error of {ulps:g} ulps: not a strict"
            " pass"
        )
    return lines
