"""What `compare` prints: the verdict, what was tested, and the largest ratios."""

from typing import NamedTuple

from numpy_rnn.app.output import format_table, schedule_name
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import TENSORS, equations
from numpy_rnn.conformance.coverage import LOOP_TENSORS, Coverage
from numpy_rnn.conformance.runs.judge import Judgement
from numpy_rnn.conformance.tested import Subject, agreement, coverage_lines
from numpy_rnn.conformance.verdicts import Finding

LESS_ROUNDING = "choose --dtype float64, a smaller --k2, or --weights of smaller gain"
NO_OVERFLOW = "choose --dtype float64, or a smaller --k2 or --learning-rate"


class ComparedRun(NamedTuple):
    """One run of one implementation, and what was found."""

    run: Run
    judgement: Judgement
    losses: NumpyArray  # (epochs, networks)
    overflows: bool  # after the updates that are judged


class Comparison(NamedTuple):
    """An implementation and all its runs."""

    name: str
    tau: float  # the error of its tanh, in units of roundoff
    runs: list[ComparedRun]
    subject: Subject

    @property
    def judgements(self) -> list[Judgement]:
        """Return the judgements on all runs."""
        return [run.judgement for run in self.runs]

    @property
    def updates(self) -> int:
        """Return the number of updates that are judged."""
        return sum(judgement.updates for judgement in self.judgements)

    @property
    def coverage(self) -> Coverage:
        """Return what the updates of all runs cover."""
        coverage = Coverage()
        for judgement in self.judgements:
            coverage.add(judgement.counts)
        return coverage


def comparison_report(comparisons: list[Comparison], remedy: str) -> str:
    """Write what `compare` prints.

    The verdict comes first, with a remedy if no gradient went back a step. If an update
    is judged, what was tested and what was not follows, once for all implementations of
    which the same is true, and the largest ratio of every tensor to its rounding bound.
    """
    groups = alike(comparisons)
    lines = [line for each in comparisons for line in faults(each, comparisons)]
    if not lines:
        lines = [agreement_of(group, remedy) for group in groups]
    if any(comparison.updates for comparison in comparisons):
        for group in groups:
            if len(groups) > 1:
                lines.append(f"{join_names([each.name for each in group])}:")
            lines += coverage_lines(group[-1].subject, group[-1].coverage)
        lines += ["", *ratio_table(comparisons)]
    for comparison in comparisons:
        lines += reservations(comparison)
    return "\n".join(lines)


def alike(comparisons: list[Comparison]) -> list[list[Comparison]]:
    """Return the implementations in groups of which the same was tested and not."""
    groups = dict[tuple[str, ...], list[Comparison]]()
    for comparison in comparisons:
        subject = comparison.subject._replace(suite="the suite")
        key = coverage_lines(subject, comparison.coverage)
        groups.setdefault(tuple(key), []).append(comparison)
    return list(groups.values())


def agreement_of(group: list[Comparison], remedy: str) -> str:
    """Return the verdict on right implementations of which the same was tested."""
    first = group[0]
    names = [comparison.name for comparison in group]
    line = agreement(names, first.subject, first.coverage)
    if not first.coverage.reach:
        line += f"; but no gradient went back a step: {remedy}"
    return line


def faults(comparison: Comparison, compared: list[Comparison]) -> list[str]:
    """Return the lines about what is wrong or not judged in an implementation; none
    if all its runs pass. Its name is told if it is one of several.
    """
    name = comparison.name if len(compared) > 1 else ""
    finding = told_finding(comparison)
    if finding is not None:
        return [finding.report(name)]
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


def told_finding(comparison: Comparison) -> Finding | None:
    """Return the finding that is told: of several the last that a hint explains, whose
    windows are longest, or the last of all.
    """
    findings = [run.first for run in reversed(comparison.judgements) if run.first]
    return max(findings, key=lambda finding: bool(finding.hint), default=None)


def in_order(tensors: set[str]) -> str:
    """Return the names of tensors in the order of their computation."""
    return ", ".join(sorted(tensors, key=TENSORS.index))


def ratio_table(comparisons: list[Comparison]) -> list[str]:
    """Return the table of the largest ratios."""
    names = [comparison.name for comparison in comparisons]
    rows = [["tensor", "equation", *names]]
    for tensor in shown_tensors(comparisons):
        cells = [ratio_cell(tensor, comparison) for comparison in comparisons]
        rows.append([tensor, equations_of(tensor, comparisons), *cells])
    return ["largest difference / rounding bound", *format_table(rows)]


def shown_tensors(comparisons: list[Comparison]) -> list[str]:
    """Return the tensors that an implementation computes, in the order of computation;
    of those that the loop chooses, the wrong ones.
    """
    shown = list[str]()
    for tensor in TENSORS:
        ratios = [largest_ratio(tensor, comparison) for comparison in comparisons]
        known = [ratio for ratio in ratios if ratio is not None]
        if known and (tensor not in LOOP_TENSORS or max(known) > 1):
            shown.append(tensor)
    return shown


def equations_of(tensor: str, comparisons: list[Comparison]) -> str:
    """Return the ids of the equations of a tensor in these runs."""
    options = comparisons[0].runs[0].run.options
    return equations(tensor, options.objective, options.step)


def largest_ratio(tensor: str, comparison: Comparison) -> float | None:
    """Return the largest ratio of a tensor in all runs; None if it is not computed."""
    ratios = [run.worst[tensor] for run in comparison.judgements if tensor in run.worst]
    return max(ratios, default=None)


def ratio_cell(tensor: str, comparison: Comparison) -> str:
    """Return the largest ratio of a tensor as it is printed."""
    judgements = comparison.judgements
    ratio = largest_ratio(tensor, comparison)
    if ratio is None:
        return "-"
    if any(tensor in judgement.unjudged for judgement in judgements):
        return "not judged"
    if ratio > 1:
        return f"{ratio:.1e} !"
    is_estimated = any(tensor in judgement.counts.estimated for judgement in judgements)
    return f"{ratio:.3f} ~" if is_estimated else f"{ratio:.3f}"


def reservations(comparison: Comparison) -> list[str]:
    """Return lines about what was judged in another way."""
    lines = []
    for compared in comparison.runs:
        if compared.overflows and compared.judgement.updates:
            count = pluralize(compared.judgement.updates, "update")
            lines.append(
                f"{comparison.name}: {schedule_name(compared.run)} overflows after"
                f" {count}: these are judged"
            )
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
