"""What `compare` prints: the verdict, what it covers, and the largest ratios."""

from collections.abc import Sequence
from typing import NamedTuple

from numpy_rnn.app.compared_sources import Source, TraceFile
from numpy_rnn.app.printing import format_table, schedule_name, step_words
from numpy_rnn.common.records import NumpyArray, Run
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import STRICT_TANH_ULPS
from numpy_rnn.conformance.case import TENSORS, equations
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.runs.judge import Judgement

LOOP = ("window", "initial")  # what the training loop chooses
# Fields of a judgement, and what they say of tensors.
RESERVATIONS = {
    "contracted": "checked with smaller recurrent weights, as rounding decides",
    "wide": "rounding allows over a tenth of some",
    "unjudged": "not judged, as rounding decides",
}
LESS_ROUNDING = "choose --dtype float64, a smaller --k2, or weights of smaller gain"


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
        return all(each.judgement.passed for each in self.runs)

    def first_finding(self) -> Finding | None:
        """Return the first finding that a hint explains, or the first of all."""
        first = None
        for each in self.runs:
            found = each.judgement.first
            if first is None or (found is not None and found.hint and not first.hint):
                first = found
        return first

    def worst(self) -> dict[str, float]:
        """Return the largest ratio of every tensor that is reported."""
        largest = dict[str, float]()
        for each in self.runs:
            for name, ratio in each.judgement.worst.items():
                largest[name] = max(ratio, largest.get(name, 0.0))
        return largest

    def named(self, what: str) -> list[str]:
        """Return the tensors that a field of a judgement of any run has."""
        names = set[str]()
        for each in self.runs:
            names.update(getattr(each.judgement, what))
        return sorted(names, key=TENSORS.index)


def comparison_report(comparisons: Sequence[Comparison]) -> str:
    """Write what `compare` prints.

    Parameters
    ----------
    comparisons : sequence of Comparison
        What was found, one for each implementation.

    Returns
    -------
    str
        The verdict and what it covers; then the largest ratio of every tensor to its
        rounding bound.
    """
    lines = verdict(comparisons) + coverage(comparisons)
    lines += ["", *ratio_table(comparisons)]
    for each in comparisons:
        lines += reservations(each)
    return "\n".join(lines)


def verdict(comparisons: Sequence[Comparison]) -> list[str]:
    """Return one line for every implementation that is wrong or not judged, with what
    shows it; one line if all agree.
    """
    lines = list[str]()
    reach = 0
    note = ""
    names = [each.name for each in comparisons]
    for each in comparisons:
        name = each.name if len(names) > 1 else ""
        lines += fault(each, name)
        reach += sum(run.reach for run in each.runs)
        if each.named("estimated"):
            note = " (~: estimated)"
    if lines:
        return lines
    agree = "agree" if len(names) > 1 else "agrees with the definition"
    line = f"{join_names(names)} {agree}: every update is within its rounding bounds"
    if not reach:
        is_trace = isinstance(comparisons[0].source, TraceFile)
        remedy = "record a run with k2 5" if is_trace else "use --k2 5"
        note += f"; but no gradient went back a step: {remedy}"
    return [line + note]


def fault(comparison: Comparison, name: str) -> list[str]:
    """Return the lines about what is wrong or not judged in an implementation; none
    if it passes. name: of it, among several.
    """
    first = comparison.first_finding()
    not_judged = comparison.named("not_judged")
    if first is not None:
        return [first.report(name)]
    of = f" of {name}" if name else ""
    dtype = comparison.runs[0].run.params.W_hh.dtype
    if not comparison.runs[0].judgement.updates:
        return [f"NOT JUDGED{of}: the first update overflows {dtype}"]
    if not_judged:
        return [
            f"NOT JUDGED {', '.join(not_judged)}{of}: rounding alone changes them too"
            f" much in {dtype}; {LESS_ROUNDING}"
        ]
    return []


def coverage(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the judged updates cover, in one line if it is the same for all."""
    return [f"checked: {text}" for text in dict.fromkeys(map(covered, comparisons))]


def covered(comparison: Comparison) -> str:
    """Describe what the judged updates of an implementation cover."""
    schedules = list[str]()
    reach = 0
    carried = 0
    windows = 0
    for each in comparison.runs:
        judged = each.judgement.updates
        epochs = pluralize(max(1, len(each.losses)), "epoch")
        schedule = f"{epochs} of {schedule_name(each.run)}"
        if each.overflows:
            schedule += f", which overflows after {judged} updates: these are judged"
        schedules.append(schedule)
        reach = max(reach, each.reach)
        carried += each.carried
        windows += judged
    return (
        f"gradients that go back {pluralize(reach, 'step')}; {carried} of"
        f" {pluralize(windows, 'window')} start from a state that was carried;"
        f" {join_names(schedules)}; {step_words(comparison.runs[0].run.options.step)}"
    )


def ratio_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the table of the largest ratios, but for what the loop chooses."""
    options = comparisons[0].runs[0].run.options
    rows = [["tensor", "equation", *(each.name for each in comparisons)]]
    for name in TENSORS:
        cells = [ratio_cell(name, each) for each in comparisons]
        if name not in LOOP and set(cells) != {"-"}:
            ids = equations(name, options.objective, options.step)
            rows.append([name, ids, *cells])
    head = "largest difference / rounding bound"
    return [head, *format_table(rows)]


def ratio_cell(tensor: str, comparison: Comparison) -> str:
    """Return the largest ratio of a tensor as it is printed."""
    worst = comparison.worst().get(tensor)
    if worst is None:
        return "-"
    if tensor in comparison.named("unjudged"):
        return "not judged"
    if worst > 1:
        return f"{worst:.1e} !"
    mark = " ~" if tensor in comparison.named("estimated") else ""
    return f"{worst:.3f}{mark}"


def reservations(comparison: Comparison) -> list[str]:
    """Return lines about what was judged in another way, or not at all."""
    lines = list[str]()
    for what, words in RESERVATIONS.items():
        if tensors := comparison.named(what):
            lines.append(f"{comparison.name}: {words}: {', '.join(tensors)}")
    relative, absolute = comparison.source.tau
    if relative > 2 * STRICT_TANH_ULPS or absolute:
        lines.append(
            f"{comparison.name} declares a tanh error of {relative / 2:g} ulps and"
            f" {absolute / 2:g} ulps of 1: not a strict pass"
        )
    return lines
