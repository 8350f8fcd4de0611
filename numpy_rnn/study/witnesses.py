"""The equations evaluated by the reference, judged and compared with other programs.

The verdict is that of the conformance suite: each equation is computed again by the
definition from the numbers that the reference itself reports, and may differ by the
rounding error of that one equation. Two more ways to compute the numbers are shown:

- complex step: the derivative of the definition's loss, in `complex_step.py`;
- autograd: torch_rnn, whose gradients are those of torch.autograd. Its step is written
  out; tests compare it with torch.optim, but for Adagrad.
"""

import importlib
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import reference
from numpy_rnn.common.records import Run
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import RecordedRun, single_update
from numpy_rnn.conformance.runs.schedule_checks import schedule_divergences
from numpy_rnn.conformance.runs.sources import PackageSource
from numpy_rnn.study.complex_step import derivatives
from numpy_rnn.study.evaluated_equations import EVALUATED
from numpy_rnn.study.study_runs import runs_of
from numpy_rnn.study.subject import Subject

TensorReport = dict[str, np.ndarray]
BY_COMPLEX_STEP, BY_AUTOGRAD = "complex step", "autograd"
AGREES, WRONG, NOT_JUDGED = "agrees within rounding", "WRONG", "not judged"


class Checked(NamedTuple):
    """One equation in all of its runs."""

    id: str
    verdict: str
    ratio: float  # largest error of the reference, in units of what rounding explains
    where: str  # the run of the element that is shown
    element: str  # dW_hh[2, 5], with indices from 1
    value: float
    differences: dict[str, float]  # by witness, relative to the largest element


class Judged(NamedTuple):
    """One run of the reference by tensor."""

    ratios: dict[str, float]  # to the rounding bound
    unjudged: tuple[str, ...]  # tensors that rounding alone changes too much
    last: TensorReport  # of the last update
    differences: dict[tuple[str, str], float]  # by witness and tensor


def check_equations(subject: Subject) -> list[Checked]:
    """Judge every equation in all of its runs, in the order of EVALUATED."""
    judged = {where: judged_run(run) for where, run in runs_of(subject).items()}
    return [check_equation(equation, judged) for equation in EVALUATED]


def check_equation(equation_id: str, judged: dict[str, Judged]) -> Checked:
    """Judge one equation."""
    equation = EVALUATED[equation_id]
    ratio = 0.0
    is_judged = True
    differences: dict[str, float] = {}
    for where in equation.runs:
        run = judged[where]
        for name in equation.tensors:
            ratio = max(ratio, run.ratios[name])
            is_judged = is_judged and name not in run.unjudged
            for witness in (BY_COMPLEX_STEP, BY_AUTOGRAD):
                found = run.differences.get((witness, name))
                if found is not None:
                    differences[witness] = max(differences.get(witness, 0.0), found)
    verdict = AGREES if is_judged else NOT_JUDGED
    if not ratio <= 1:
        verdict = WRONG
    tensor = judged[equation.runs[0]].last[equation.tensors[0]]
    at = int(np.abs(tensor).argmax())
    shown = element(equation.tensors[0], tensor, at)
    value = float(tensor.flat[at])
    return Checked(
        equation_id, verdict, ratio, equation.runs[0], shown, value, differences
    )


def judged_run(run: Run) -> Judged:
    """Judge a run of the reference, and compare it with the witnesses.

    The complex step is taken in the first and the last update.
    """
    recorded = recorded_run(reference, run)
    judgement = judge(recorded)
    ratios = dict(judgement.worst)
    ratios |= {"start": 0.0, "stop": 0.0}
    for divergence in schedule_divergences(recorded, whole=True):
        ratios["start" if divergence.element == (0,) else "stop"] = np.inf
    count = len(recorded.updates["epoch"])
    differences: dict[tuple[str, str], float] = {}
    for n in {0, count - 1}:
        case, report = single_update(recorded, n)
        for name, derivative in derivatives(case, report).items():
            found = relative(report[name], derivative.values, derivative.elements)
            place = BY_COMPLEX_STEP, name
            differences[place] = max(differences.get(place, 0.0), found)
    if has_torch():
        other = recorded_run(importlib.import_module("torch_rnn"), run).updates
        for name in recorded.updates.keys() & other.keys():
            found = relative(recorded.updates[name], other[name].ravel())
            differences[BY_AUTOGRAD, name] = found
    _, last = single_update(recorded, count - 1)
    for name in ("initial", "start", "stop"):
        last[name] = recorded.updates[name][-1]
    return Judged(ratios, judgement.unjudged, last, differences)


def recorded_run(rnn: Any, run: Run) -> RecordedRun:
    """Record a run by the `train` of a package."""
    return PackageSource(PackagePort(rnn)).trace(run)


def relative(
    hand: np.ndarray, values: np.ndarray, elements: np.ndarray | slice = slice(None)
) -> float:
    """Return the largest difference of some elements, relative to the largest of all.

    Infinite where a number is not finite, where the sizes differ, and where all are
    zero by hand only.
    """
    if hand.ravel()[elements].shape != values.shape:
        return np.inf
    difference = np.abs(hand.ravel()[elements] - values).max()
    largest = np.abs(hand).max()
    if difference == 0:
        return 0.0
    if not np.isfinite(difference) or largest == 0:
        return np.inf
    return float(difference / largest)


def element(name: str, tensor: np.ndarray, at: int) -> str:
    """Return the name of an element, its indices from 1, such as dW_hh[2, 5]."""
    index = ", ".join(str(i + 1) for i in np.unravel_index(at, tensor.shape))
    return f"{name}[{index}]" if index else name


def has_torch() -> bool:
    """Return whether PyTorch is installed."""
    return find_spec("torch") is not None
