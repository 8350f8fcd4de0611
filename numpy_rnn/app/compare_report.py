"""What `compare` prints: the verdict, what it covers, and the largest ratios."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from numpy_rnn.app.compare_runs import Source, TraceFile
from numpy_rnn.app.printing import format_table, schedule_name, step_words
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import TENSORS, equations
from numpy_rnn.conformance.runs.judge import Judgement
from numpy_rnn.conformance.window_checks import Coverage

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


class Comparison:
    """An implementation and all its runs, with one judgement on them."""

    def __init__(self, source: Source, runs: Sequence[ComparedRun]):
        self.source = source
        self.name = source.name
        self.runs = runs
        self.judgement = judgement_on([run.judgement for run in runs])


def judgement_on(judgements: Sequence[Judgement]) -> Judgement:
    """Join the judgements on several runs, but for the ratios of every update.

    It passes if all of them pass: its updates are those of the run that has fewest, and
    it has the first finding that a hint explains, or the first of all.
    """
    worst = dict[str, float]()
    counts = Coverage()
    unjudged = set[str]()
    for judgement in judgements:
        counts.add(judgement.counts)
        unjudged.update(judgement.unjudged)
        for tensor, ratio in judgement.worst.items():
            worst[tensor] = max(ratio, worst.get(tensor, 0.0))
    findings = [judgement.first for judgement in judgements if judgement.first]
    return Judgement(
        updates=min(judgement.updates for judgement in judgements),
        worst=worst,
        first=max(findings, key=lambda finding: bool(finding.hint), default=None),
        counts=counts,
        unjudged=tuple(in_order(unjudged)),
    )


def in_order(tensors: Iterable[str]) -> list[str]:
    """Return the names of tensors in the order of their computation."""
    return sorted(tensors, key=TENSORS.index)


def has_judged_updates(comparisons: Sequence[Comparison]) -> bool:
    """Return whether an update of a run is judged."""
    return any(
        run.judgement.updates for comparison in comparisons for run in comparison.runs
    )


def comparison_report(comparisons: Sequence[Comparison]) -> str:
    """Write what `compare` prints.

    The verdict comes first. If an update is judged, what the verdict covers follows,
    and the largest ratio of every tensor to its rounding bound.
    """
    lines = verdict(comparisons)
    if has_judged_updates(comparisons):
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
    lines = []
    reach = 0
    note = ""
    for comparison in comparisons:
        lines += faults(comparison, comparison.name if len(names) > 1 else "")
        reach += sum(run.reach for run in comparison.runs)
        if comparison.judgement.estimated:
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


def faults(comparison: Comparison, name: str) -> list[str]:
    """Return the lines about what is wrong or not judged in an implementation; none
    if it passes. Its name is empty if it is the single one.
    """
    judgement = comparison.judgement
    if judgement.first is not None:
        return [judgement.first.report(name)]
    of_name = f" of {name}" if name else ""
    dtype = comparison.runs[0].run.params.W_hh.dtype
    for compared in comparison.runs:
        if not compared.judgement.updates:
            update = f"the first update of {schedule_name(compared.run)}"
            return [f"NOT JUDGED{of_name}: {update} overflows {dtype}; {NO_OVERFLOW}"]
    if judgement.not_judged:
        return [
            f"NOT JUDGED {', '.join(judgement.not_judged)}{of_name}: rounding alone"
            f" changes them too much in {dtype}; {LESS_ROUNDING}"
        ]
    return []


def coverage(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the judged updates cover, in one line if it is the same for all."""
    return [f"checked: {text}" for text in dict.fromkeys(map(covered, comparisons))]


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
    judgement = comparison.judgement
    ratio = judgement.worst.get(tensor)
    if ratio is None:
        return "-"
    if tensor in judgement.unjudged:
        return "not judged"
    if ratio > 1:
        return f"{ratio:.1e} !"
    mark = " ~" if tensor in judgement.estimated else ""
    return f"{ratio:.3f}{mark}"


def reservations(comparison: Comparison) -> list[str]:
    """Return lines about what was judged in another way."""
    lines = []
    wide = ", ".join(in_order(comparison.judgement.wide))
    if wide:
        lines.append(f"{comparison.name}: rounding allows over a tenth of some: {wide}")
    ulps = comparison.source.tau / 2
    if ulps > STRICT_TANH_ULPS:
        declared = f"{comparison.name} declares a tanh error of {ulps:g} ulps"
        lines.append(f"{declared}: not a strict pass")
    return lines
