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

LOOP = ("window", "initial")  # what the training loop chooses
LESS_ROUNDING = "choose --dtype float64, a smaller --k2, or weights of smaller gain"


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
        for each in sorted(self.runs, key=lambda each: not each.hint):
            if each.judgement.first is not None:
                return each
        return None

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
        The verdict and what it covers; then the losses, and the largest ratio of every
        tensor to its rounding bound.
    """
    lines = verdict(comparisons) + coverage(comparisons)
    for each in comparisons:
        for run in each.runs:
            name = f"{each.name}, {schedule_name(run.run)}"
            lines.append(f"{name}: {describe_losses(run)}")
    lines += ["", *ratio_table(comparisons)]
    for each in comparisons:
        lines += reservations(each)
    return "\n".join(lines)


def verdict(comparisons: Sequence[Comparison]) -> list[str]:
    """Return one line for every implementation that is wrong or not judged, with what
    shows it; one line if all agree.
    """
    lines, names, reach, note = list[str](), list[str](), 0, ""
    for each in comparisons:
        names.append(each.name)
        name = each.name
        if len(comparisons) == 1:
            name = ""
        lines += fault(each, name)
        reach += sum(run.reach for run in each.runs)
        if each.named("estimated"):
            note = " (~: estimated)"
    if lines:
        return lines
    agree = "agree" if len(names) > 1 else "agrees with the definition"
    line = f"{join_names(names)} {agree}: every update is within its rounding bounds"
    if not reach:
        note += "; but no gradient went back a step: "
        is_trace = isinstance(comparisons[0].source, TraceFile)
        if is_trace:
            note += "record a run with k2 5"
        else:
            note += "use --k2 5"
    return [line + note]


def fault(comparison: Comparison, name: str) -> list[str]:
    """Return the lines about what is wrong or not judged in an implementation; none
    if it passes. name: of it, among several.
    """
    of = ""
    if name:
        of = f" of {name}"
    wrong, not_judged = comparison.wrong, comparison.named("not_judged")
    dtype = comparison.runs[0].run.params.W_hh.dtype
    if wrong is None or wrong.judgement.first is None:
        if not comparison.runs[0].judgement.updates:
            return [f"NOT JUDGED{of}: the first update overflows {dtype}"]
        if not_judged:
            why = f"rounding alone changes them too much in {dtype}; {LESS_ROUNDING}"
            return [f"NOT JUDGED {', '.join(not_judged)}{of}: {why}"]
        return []
    first = wrong.judgement.first._replace(hint=wrong.hint)
    if len(comparison.runs) > 1:
        first = first._replace(where=f"in the run {schedule_name(wrong.run)}")
    lines = [first.report(name)]
    if "a" not in wrong.judgement.worst and first.tensor not in LOOP:
        lines.append("  no intermediate values are reported: an earlier one may be off")
    return lines


def coverage(comparisons: Sequence[Comparison]) -> list[str]:
    """Return what the judged updates cover, in one line if it is the same for all."""
    texts = list(map(covered, comparisons))
    if len(set(texts)) == 1:
        return [f"checked: {texts[0]}"]
    pairs = zip(comparisons, texts)
    return [f"checked of {each.name}: {text}" for each, text in pairs]


def covered(comparison: Comparison) -> str:
    """Describe what the judged updates of an implementation cover."""
    schedules, reach, carried, windows = list[str](), 0, 0, 0
    for each in comparison.runs:
        epochs = pluralize(max(1, len(each.losses)), "epoch")
        schedules.append(f"{epochs} of {schedule_name(each.run)}")
        reach = max(reach, each.reach)
        carried += each.carried
        windows += each.judgement.updates
    return (
        f"gradients that go back {pluralize(reach, 'step')}; {carried} of"
        f" {pluralize(windows, 'window')} start from a state that was carried;"
        f" {join_names(schedules)}; {step_words(comparison.runs[0].run.options.step)}"
    )


def describe_losses(compared: ComparedRun) -> str:
    """Describe the losses of the first and last epoch of a run; of an ensemble, the
    medians.
    """
    epochs = len(compared.losses)
    text = "no whole epoch"
    if epochs:
        medians = np.median(compared.losses.reshape(epochs, -1), axis=1)
        text = f"loss {format_number(medians[0])} in epoch 1"
        text += f", {format_number(medians[-1])} in epoch {epochs}"
    if compared.overflows:
        updates = pluralize(compared.judgement.updates, "update")
        text += f"; it overflows after {updates}, which alone are judged"
    return text


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
    return [head, *format_table(rows, left=2)]


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
    lines, name = list[str](), comparison.name
    if contracted := comparison.named("contracted"):
        lines.append(
            f"{name}: rounding alone changes {', '.join(contracted)} too much to be"
            f" judged; checked in windows with smaller {' and '.join(RECURRENT)}"
        )
    if wide := comparison.named("wide"):
        lines.append(f"{name}: rounding allows over a tenth of some {', '.join(wide)}")
    if lost := comparison.named("unjudged"):
        lines.append(f"{name}: not judged, as rounding decides: {', '.join(lost)}")
    relative, absolute = comparison.source.tau
    if relative > 2 * STRICT_TANH_ULPS or absolute:
        found = f"a tanh error of {relative / 2:g} ulps and {absolute / 2:g} ulps of 1"
        lines.append(f"{name} declares {found}: not a strict pass")
    return lines
