"""What makes two functions agree: tried in turn, and said only if it does."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from numpy_rnn.conformance.equivalence.compare import JUDGED, compared
from numpy_rnn.conformance.equivalence.edits import (
    Edit,
    ParameterEdits,
    gradient_names,
)
from numpy_rnn.conformance.equivalence.interventions import (
    Blocks,
    Pairing,
    missing_path,
    reset_order,
)
from numpy_rnn.conformance.equivalence.rearranged import factors, rearrangement
from numpy_rnn.conformance.equivalence.runs import (
    Arguments,
    ArraysByPath,
    Compute,
    Runs,
    with_spreads,
)
from numpy_rnn.conformance.equivalence.steps import TimeAxis, first_steps, step_edits

FEW_STEPS = 4


class Subject(NamedTuple):
    """Two functions that differ, by the names of the first one's results."""

    f: Compute
    g: Compute
    arguments: Arguments
    f_runs: Runs
    g_runs: Runs
    single: Collection[str]  # tensors that one of them computes in float32
    time_axis: TimeAxis | None

    def at(self, arguments: Arguments) -> "Subject":
        """Return the two functions at other arguments."""
        runs = [with_spreads(c, arguments, c(arguments)) for c in (self.f, self.g)]
        return self._replace(arguments=arguments, f_runs=runs[0], g_runs=runs[1])

    def different(self) -> set[str]:
        """Return the names of the results that differ."""
        checks = compared(self.f_runs, self.g_runs, single=self.single)
        return {check.tensor for check in checks if check.verdict == "different"}


def diagnose(subject: Subject) -> str:
    """Return what makes all agree, or no words."""
    if subject.single:  # the rounding of float32 would agree with much
        return ""
    return next(explanations(subject), "")


def explanations(subject: Subject) -> Iterator[str]:
    """Yield what makes all agree, the cheap ones first."""
    arguments, axis = subject.arguments, subject.time_axis
    runs = subject.f_runs, subject.g_runs
    yield from factors(*runs, subject.single, arguments)
    yield from rearrangement(*runs, subject.single, axis)
    gradients = gradient_names(arguments, subject.f_runs.values)
    params = arguments._replace(data=()).arrays()
    short = with_few_steps(subject)
    parameter_edits = ParameterEdits(params, gradients)
    for edit in chain(step_edits(arguments, axis), parameter_edits.all()):
        for label in "fg":
            if agrees_after(edit, label, short) and (
                short is subject or agrees_after(edit, label, subject)
            ):
                other = "g" if label == "f" else "f"
                yield f"if {label} gets {edit.words}".replace("{other}", other)
    pairing = Pairing(subject.f, subject.g, short.arguments, gradients)
    blocks = Blocks.of(arguments)
    yield from reset_order(pairing, blocks)
    yield from missing_path(pairing, blocks, axis)


def with_few_steps(subject: Subject) -> Subject:
    """Return the two functions with the first steps alone, if these show the same
    differences: most edits are refuted there.
    """
    axis = subject.time_axis
    if axis is None or axis.size <= FEW_STEPS:
        return subject
    try:
        short = subject.at(first_steps(subject.arguments, axis, FEW_STEPS))
    except Exception:  # the user's code may need all steps
        return subject
    return short if short.different() == subject.different() else subject


def agrees_after(edit: Edit, label: str, subject: Subject) -> bool:
    """Return whether all agree if one function is edited."""
    is_f = label == "f"
    compute = edit.applied(subject.f if is_f else subject.g)
    runs = subject.g_runs if is_f else subject.f_runs
    try:
        values = compute(subject.arguments)
        if not is_near(values, runs.values):
            return False
        edited = with_spreads(compute, subject.arguments, values)
    except Exception:  # of the user's code, which this edit does not fit
        return False
    checks = compared(edited, runs, single=subject.single)
    verdicts = {check.verdict for check in checks}
    return "different" not in verdicts and "equal" in verdicts


def is_near(values: ArraysByPath, others: ArraysByPath) -> bool:
    """Return whether all arrays agree to the digits that are judged at all."""
    for name, value in values.items():
        other = others[name]
        if value.shape != other.shape:
            return False
        size = np.linalg.norm(other) + np.linalg.norm(value)
        if not np.linalg.norm(value - other) <= JUDGED * size:
            return False
    return True
