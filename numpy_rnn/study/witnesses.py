"""The equations evaluated by the reference, judged and compared with other programs.

The verdict is that of the conformance suite: each equation is computed again by the
definition from the numbers that the reference itself reports, and may differ by the
rounding error of that one equation. Two more ways to compute the numbers are shown:

- complex step: the derivative of the definition's loss as its limit says. A tiny
  imaginary number is added to one number of the forward pass; the imaginary part of the
  loss is its effect. It shares the forward pass with the definition, and no backward
  line with any program.
- autograd: torch_rnn, whose gradients are those of torch.autograd. Its step is written
  out; tests compare it with torch.optim, but for Adagrad.
"""

import importlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import reference
from numpy_rnn.common.records import Run, tree_map
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import WindowCase, present
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.judge import judge, schedule_divergences, single_update
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.runs import PackageSource, RecordedRun
from numpy_rnn.study.evaluated_equations import EVALUATED, runs_of
from numpy_rnn.study.subject import Subject

TensorReport = dict[str, np.ndarray]
BY_COMPLEX_STEP, BY_AUTOGRAD = "complex step", "autograd"
AGREES, WRONG, NOT_JUDGED = "agrees within rounding", "WRONG", "not judged"
DELTA = 2.0**-100  # its square is negligible, and a product with it is exact
MAX_ELEMENTS = (
    512  # elements of a tensor that the complex step perturbs; of more, that many
)
BY_STEP = ("a", "h", "y")  # tensors of every step, to which a number may be added


def no_gradients(*_: Any) -> dict[str, Any]:
    """Return the backward pass of a definition of which only the forward pass is
    wanted.
    """
    return {}


FORWARD_ONLY = Definition(backward=no_gradients)


# -- the complex step
# ------------------------------------------------------------


def complex_step(
    function: Callable[[np.ndarray], np.ndarray],
    value: np.ndarray,
    elements: np.ndarray,
) -> np.ndarray:
    """Compute ∂f/∂v = Im f(v + iδ) / δ for some elements v of an array, (..., n).

    function: takes n arrays at once, (n, *shape of value), and returns (..., n).
    elements: (n,) indices into the flattened array. Nothing is subtracted, so nothing
    cancels. Source: Squire and Trapp 1998.
    """
    moved = np.zeros((len(elements), value.size), complex)
    moved[np.arange(len(elements)), elements] = 1j * DELTA
    return function(value + moved.reshape(-1, *value.shape)).imag / DELTA


def some_elements(size: int) -> np.ndarray:
    """Return the indices of all elements, or of 512, evenly spaced."""
    return np.unique(
        np.linspace(0, size - 1, min(size, MAX_ELEMENTS)).round().astype(int)
    )


class Moved(NumpyArithmetic):
    """Complex numbers, with an addition to the tensor `name`, (n, T, B, ·) for n
    passes.
    """

    def __init__(self, name: str, added: np.ndarray):
        super().__init__(np.float64)
        self.name, self.added = name, added

    def record(self, name: str, t: int | None, value: Any) -> Any:
        """Note the moved value, with which the equations continue."""
        if t is not None and name == self.name:
            value = value + self.added[:, t - 1]
        return super().record(name, t, value)


def passes(case: WindowCase) -> WindowCase:
    """Return the case with an axis of networks, here of passes, on its parameters and
    its initial state, and without a step.
    """
    params = tree_map(lambda theta: theta[None], case.params)
    return case._replace(params=params, h_0=case.h_0[None], step=None)  # type: ignore[arg-type]


def moved_loss(case: WindowCase, name: str, values: np.ndarray) -> np.ndarray:
    """Return the losses of n passes over a window, one for each of n values of a
    tensor; of a, h or y, of what is added to it.
    """
    of = passes(case)
    if name in BY_STEP:
        return window_update(of, Moved(name, values), FORWARD_ONLY)["loss"]
    if name == "x":
        of = of._replace(x=values.swapaxes(0, 1))
    elif name == "h_0":
        of = of._replace(h_0=values)
    else:
        of = of._replace(params=of.params._replace(**{name: values}))
    return window_update(of, NumpyArithmetic(np.float64), FORWARD_ONLY)["loss"]


def derivatives(
    case: WindowCase, report: TensorReport
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute ∂L/∂v for every tensor v of a window.

    Returns, by the name of the derivative, the indices of the elements that were
    computed, and their values.
    """
    values = {name: np.zeros_like(report[name]) for name in BY_STEP}
    values |= present(case.params)
    values["h_0"] = case.h_0
    if case.x.dtype.kind == "f":  # classes have no derivative
        values["x"] = case.x
    result = {}
    for name, value in values.items():
        elements = some_elements(value.size)
        loss = partial(moved_loss, case, name)
        result[f"d{name}"] = elements, complex_step(loss, value, elements)
    return result


# -- the comparison
# ------------------------------------------------------------


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
    return [check_equation(id, judged) for id in EVALUATED]


def check_equation(id: str, judged: dict[str, Judged]) -> Checked:
    """Judge one equation."""
    equation = EVALUATED[id]
    ratio, is_judged = 0.0, True
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
    return Checked(id, verdict, ratio, equation.runs[0], shown, value, differences)


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
        for name, (elements, values) in derivatives(case, report).items():
            found = relative(report[name], values, elements)
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
