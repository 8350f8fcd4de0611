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
from types import ModuleType
from typing import NamedTuple

import numpy as np

from numpy_rnn import reference
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Run, Window
from numpy_rnn.conformance.complex_step import derivatives
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.runs.judge import judge, schedule_divergences
from numpy_rnn.conformance.runs.recorded_run import (
    RecordedRun,
    finite_part,
    single_update,
)
from numpy_rnn.conformance.runs.run_sources import PackageSource
from numpy_rnn.study.evidence.evaluated_equations import (
    EvaluatedEquation,
    evaluated_equations,
    runs_of,
)
from numpy_rnn.study.subject import REMEDY, Subject

TensorReport = dict[str, np.ndarray]
BY_COMPLEX_STEP, BY_AUTOGRAD = "complex step", "autograd"
AGREES, WRONG, NOT_JUDGED = "agrees within rounding", "WRONG", "not judged"


class CheckedEquation(NamedTuple):
    """One equation in all of its runs."""

    id: str
    verdict: str
    ratio: float  # largest error of the reference, in units of what rounding explains
    run_name: str  # of the element that is shown
    element: str  # dW_hh[2, 5], with indices from 1
    value: float
    differences: dict[str, float]  # by witness, relative to the largest element


class JudgedRun(NamedTuple):
    """One run of the reference by tensor."""

    ratios: dict[str, float]  # to the rounding bound
    unjudged: tuple[str, ...]  # tensors that rounding alone changes too much
    last_report: TensorReport  # of the last update
    differences: dict[str, dict[str, float]]  # by witness


def check_equations(subject: Subject) -> list[CheckedEquation]:
    """Judge every equation in all of its runs, in the order of their computation."""
    runs = runs_of(subject)
    judged = {name: judged_run(run) for name, run in runs.items()}
    return [
        check_equation(equation_id, equation, judged)
        for equation_id, equation in evaluated_equations(runs).items()
    ]


def check_equation(
    equation_id: str, equation: EvaluatedEquation, judged: dict[str, JudgedRun]
) -> CheckedEquation:
    """Judge one equation."""
    runs = [judged[name] for name in equation.runs]
    ratio = max(run.ratios[name] for run in runs for name in equation.tensors)
    unjudged = {name for run in runs for name in run.unjudged}
    if ratio > 1:
        verdict = WRONG
    elif unjudged.isdisjoint(equation.tensors):
        verdict = AGREES
    else:
        verdict = NOT_JUDGED
    differences: dict[str, float] = {}
    for run in runs:
        for witness, by_tensor in run.differences.items():
            for name in by_tensor.keys() & equation.tensors:
                largest = max(differences.get(witness, 0.0), by_tensor[name])
                differences[witness] = largest
    tensor = equation.tensors[0]
    numbers = runs[0].last_report[tensor]
    position = int(np.abs(numbers).argmax())
    return CheckedEquation(
        equation_id,
        verdict,
        ratio,
        run_name=equation.runs[0],
        element=element_name(tensor, numbers.shape, position),
        value=float(numbers.flat[position]),
        differences=differences,
    )


def judged_run(run: Run) -> JudgedRun:
    """Judge a run of the reference, and compare it with the witnesses.

    It may overflow, as the clipping of the studied run is left out: then these are the
    updates before that. Raises InputError if there are none.
    """
    whole = recorded_run(reference, run)
    recorded = finite_part(whole)
    if not recorded.length:
        raise InputError(f"without clipping, the first update overflows: {REMEDY}")
    is_whole = recorded.length == whole.length
    judgement = judge(recorded, whole=is_whole)
    ratios = dict(judgement.worst) | {"start": 0.0, "stop": 0.0}
    for divergence in schedule_divergences(recorded, whole=is_whole):
        is_start = divergence.element == (Window._fields.index("start"),)
        ratios["start" if is_start else "stop"] = np.inf
    differences = {BY_COMPLEX_STEP: complex_step_differences(recorded)}
    if has_torch():
        differences[BY_AUTOGRAD] = autograd_differences(recorded, run)
    _, last_report = single_update(recorded, recorded.length - 1)
    for name in ("initial", "start", "stop"):
        last_report[name] = recorded.updates[name][-1]
    return JudgedRun(ratios, judgement.unjudged, last_report, differences)


def complex_step_differences(recorded: RecordedRun) -> dict[str, float]:
    """Return the differences of a run from the complex step, by tensor.

    It is taken in the first and the last update.
    """
    result: dict[str, float] = {}
    for n in {0, recorded.length - 1}:
        case, report = single_update(recorded, n)
        for name, derivative in derivatives(case, report).items():
            difference = relative(report[name], derivative.values, derivative.elements)
            result[name] = max(result.get(name, 0.0), difference)
    return result


def autograd_differences(recorded: RecordedRun, run: Run) -> dict[str, float]:
    """Return the differences of a recorded run from that of torch_rnn, by tensor."""
    updates = recorded.updates
    by_torch = recorded_run(importlib.import_module("torch_rnn"), run)
    others = by_torch.upto(recorded.length).updates
    result = {}
    for name in updates.keys() & others.keys():
        result[name] = relative(updates[name], others[name].ravel())
    return result


def recorded_run(rnn: ModuleType, run: Run) -> RecordedRun:
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


def element_name(name: str, shape: tuple[int, ...], position: int) -> str:
    """Return the name of an element, its indices from 1, such as dW_hh[2, 5].

    position: that of the element in the flattened tensor.
    """
    if not shape:
        return name
    index = ", ".join(str(i + 1) for i in np.unravel_index(position, shape))
    return f"{name}[{index}]"


def has_torch() -> bool:
    """Return whether PyTorch is installed."""
    return find_spec("torch") is not None
