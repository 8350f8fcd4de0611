"""What `compare` prints: the verdict, what it covers, and the largest ratios."""

from collections.abc import Sequence
from typing import NamedTuple

from numpy_rnn.app.compare_runs import Source, TraceFile
from numpy_rnn.app.printing import format_table, schedule_name, step_words
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import TENSORS, equations
from numpy_rnn.conformance.runs.judge import Judgement
from numpy_rnn.conformance.verdicts import Finding

LOOP = ("window", "initial")  # what the training loop chooses
LESS_ROUNDING = "choose --dtype float64, a smaller --k2, or --weights of smaller gain"
NO_OVERFLOW = "choose --dtype float64, or a smaller --k2 or --learning-rate"


class ComparedRun(NamedTuple):
    """One run of one implementation, and what was found."""

    run: Run
    judgement: Judgement
    reach: int  # steps that a gradient went back, at most
    carried: int  # windows that start from a carried state
    losses: NumpyArray  # (epochs, *E)
    overflows: bool = False  # after the updates that are judged


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
        return all(run.judgement.passed for run in self.runs)

    @property
    def has_judged_updates(self) -> bool:
        """Check whether an update of a run is judged."""
        return any(run.judgement.updates for run in self.runs)

    def first_finding(self) -> Finding | None:
        """Return the first finding that a hint explains, or the first of all."""
        findings = [run.judgement.first for run in self.runs if run.judgement.first]
        return max(findings, key=lambda finding: bool(finding.hint), default=None)

    def worst_ratios(self) -> dict[str, float]:
        """Return the largest ratio of every tensor that is reported."""
        worst = dict[str, float]()
        for run in self.runs:
            for tensor, ratio in run.judgement.worst.items():
                worst[tensor] = max(ratio, worst.get(tensor, 0.0))
        return worst

    def tensors_in(self, field: str) -> list[str]:
        """Return the tensors that this field of the judgement of any run has."""
        tensors = set[str]()
        for run in self.runs:
            tensors.update(getattr(run.judgement, field))
        return sorted(tensors, key=TENSORS.index)


def comparison_report(comparisons: Sequence[Comparison]) -> str:
    """Write what `compare` prints.

    Parameters
    ----------
    comparisons : sequence of Comparison
        What was found, one for each implementation.

    Returns
    -------
    str
        The verdict. If an update is judged, what the verdict covers; then the largest
        ratio of every tensor to its rounding bound.
    """
    lines = verdict(comparisons)
    if any(comparison.has_judged_updates for comparison in comparisons):
        lines += coverage(comparisons)
        lines += ["", *ratio_table(comparisons)]
    for comparison in comparisons:
        lines += reservations(comparison)
    return "\n".join(lines)


def verdict(comparisons: Sequence[Comparison]) -> list[str]:
    """Return one line for every implementation that is wrong or not judged, with what
    shows it; one line if all agree.
    """
    names = [comparison.name for comparison in comparisons]
    lines = list[str]()
    reach = 0
    note = ""
    for comparison in comparisons:
        lines += faults(comparison, is_single=len(names) == 1)
        reach += sum(run.reach for run in comparison.runs)
        if comparison.tensors_in("estimated"):
            note = " (~: estimated)"
    if lines:
        return lines
    agree = "agree" if len(names) > 1 else "agrees with the definition"
    line = f"{join_names(names)} {agree}: every update is within its rounding bounds"
    if reach == 0:
        is_trace = isinstance(comparisons[0].source, TraceFile)
        remedy = "record a run with k2 5" if is_trace else "use --k2 5"
        note += f"; but no gradient went back a step: {remedy}"
    return [line + note]


def faults(comparison: Comparison, is_single: bool) -> list[str]:
    """Return the lines about what is wrong or not judged in an implementation; none
    if it passes. Its name is left out if it is the single one.
    """
    name = "" if is_single else comparison.name
    of_name = f" of {name}" if name else ""
    finding = comparison.first_finding()
    if finding is not None:
        return [finding.report(name)]
    first = comparison.runs[0]
    dtype = first.run.params.W_hh.dtype
    if not first.judgement.updates:
        overflow = f"the first update overflows {dtype}"
        return [f"NOT JUDGED{of_name}: {overflow}; {NO_OVERFLOW}"]
    not_judged = comparison.tensors_in("not_judged")
    if not_judged:
        return [
            f"NOT JUDGED {', '.join(not_judged)}{of_name}: rounding alone changes them"
            f" too much in {dtype}; {LESS_ROUNDING}"
        ]
    return []


def coverage(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the judged updates cover, in one line if it is the same for all."""
    return [f"checked: {text}" for text in dict.fromkeys(map(covered, comparisons))]


def covered(comparison: Comparison) -> str:
    """Describe what the judged updates of an implementation cover."""
    runs = comparison.runs
    schedules = list[str]()
    for compared in runs:
        epochs = pluralize(max(1, len(compared.losses)), "epoch")
        updates = compared.judgement.updates
        schedule = f"{epochs} of {schedule_name(compared.run)}"
        if compared.overflows:
            schedule += f", which overflows after {updates} updates: these are judged"
        schedules.append(schedule)
    reach = max(compared.reach for compared in runs)
    carried = sum(compared.carried for compared in runs)
    windows = sum(compared.judgement.updates for compared in runs)
    return (
        f"gradients that go back {pluralize(reach, 'step')}; {carried} of"
        f" {pluralize(windows, 'window')} start from a state that was carried;"
        f" {join_names(schedules)}; {step_words(runs[0].run.options.step)}"
    )


def ratio_table(comparisons: Sequence[Comparison]) -> list[str]:
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
    ratio = comparison.worst_ratios().get(tensor)
    if ratio is None:
        return "-"
    if tensor in comparison.tensors_in("unjudged"):
        return "not judged"
    if ratio > 1:
        return f"{ratio:.1e} !"
    mark = " ~" if tensor in comparison.tensors_in("estimated") else ""
    return f"{ratio:.3f}{mark}"


def reservations(comparison: Comparison) -> list[str]:
    """Return lines about what was judged in another way."""
    lines = list[str]()
    wide = ", ".join(comparison.tensors_in("wide"))
    if wide:
        lines.append(f"{comparison.name}: rounding allows over a tenth of some: {wide}")
    ulps = comparison.source.tau / 2
    if ulps > STRICT_TANH_ULPS:
        declared = f"{comparison.name} declares a tanh error of {ulps:g} ulps"
        lines.append(f"{declared}: not a strict pass")
    return lines
