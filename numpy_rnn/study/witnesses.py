"""The equations evaluated by numpy_rnn, and by three witnesses that share no line with
it.

By hand: the reference, whose lines the equations are. The witnesses:

- definition: the definition of the conformance suite, another program of the same
  equations.
- complex step: the derivative of the definition's loss as its limit says. A tiny
  imaginary number is added to one number of the forward pass; the imaginary part of the
  loss is its effect.
- autograd: torch_rnn, whose gradients are those of torch.autograd and whose step is
  torch.optim's.

A report holds the tensors of one update by name: a, h, y, loss, dy, ..., dW_xh, and
W_xh and vW_xh after the step.
"""

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import reference
from numpy_rnn.common.records import Run, tree_map
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    train,
    window_update,
)
from numpy_rnn.study.equations import EQUATIONS, WINDOW, runs_of
from numpy_rnn.study.subject import Subject

Report = dict[str, np.ndarray]
DEFINITION_NAME, COMPLEX_STEP, AUTOGRAD = "definition", "complex step", "autograd"
DELTA = 2.0**-100  # its square is negligible, and a product with it is exact
MAX_ELEMENTS = (
    512  # elements of a tensor that the complex step perturbs; of more, that many
)
BY_STEP = ("a", "h", "y")  # tensors of every step, to which a number may be added


def no_gradients(*_: Any) -> dict[str, Any]:
    """The backward pass of a definition of which only the forward pass is wanted."""
    return {}


FORWARD = Definition(backward=no_gradients)


# -- the complex step
# ------------------------------------------------------------


def complex_step(
    function: Callable[[np.ndarray], np.ndarray],
    value: np.ndarray,
    elements: np.ndarray,
) -> np.ndarray:
    """Im f(v + iδ) / δ = ∂f/∂v for some elements v of an array, shape (..., n).

    function: takes n arrays at once, (n, *shape of value), and returns (..., n).
    elements: (n,) indices into the flattened array. Nothing is subtracted, so nothing
    cancels. Source: Squire and Trapp 1998.
    """
    moved = np.zeros((len(elements), value.size), complex)
    moved[np.arange(len(elements)), elements] = 1j * DELTA
    return function(value + moved.reshape(-1, *value.shape)).imag / DELTA


def some_elements(size: int, most: int = MAX_ELEMENTS) -> np.ndarray:
    """The indices of all elements; of more than `most`, so many of them,
    evenly spaced.
    """
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int))


class Moved(Floats):
    """Complex numbers, with an addition to the tensor `name`, (n, T, B, ·) for n
    passes.
    """

    def __init__(self, name: str, added: np.ndarray):
        super().__init__(np.float64)
        self.name, self.added = name, added

    def see(self, name: str, t: int | None, value: Any) -> Any:
        """Note the moved value, with which the equations continue."""
        if t is not None and name == self.name:
            value = value + self.added[:, t - 1]
        return super().see(name, t, value)


def passes(case: WindowCase) -> WindowCase:
    """The case with an axis of networks, here of passes, on its parameters and its
    initial state, and without a step.
    """
    params = tree_map(lambda theta: theta[None], case.params)
    return case._replace(params=params, h_0=case.h_0[None], step=None)  # type: ignore[arg-type]


def moved_loss(case: WindowCase, name: str, values: np.ndarray) -> np.ndarray:
    """The losses of n passes over a window, one for each of n values of a tensor; of a,
    h or y, of what is added to it.
    """
    of = passes(case)
    if name in BY_STEP:
        return window_update(of, Moved(name, values), FORWARD)["loss"]
    if name == "x":
        of = of._replace(x=values.swapaxes(0, 1))
    elif name == "h_0":
        of = of._replace(h_0=values)
    else:
        of = of._replace(params=of.params._replace(**{name: values}))
    return window_update(of, Floats(np.float64), FORWARD)["loss"]


def derivatives(
    case: WindowCase, report: Report
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Elements of ∂L/∂v, and their values, for every tensor v of a window, by the name
    of the derivative.
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


# -- reports of runs
# ------------------------------------------------------------


def package_reports(rnn: Any, run: Run) -> Iterator[Report]:
    """The updates of a run by a package: numpy_rnn.reference or torch_rnn."""
    params, x, target, h_0 = (
        rnn.from_numpy(array) for array in (run.params, run.x, run.target, run.h_0)
    )
    for update in rnn.train(
        params, x, target, h_0, **run.options.keywords(), record=True
    ):
        h = update.activations.h
        tensors = {"a": update.activations.a, "h": h[1:], "y": update.activations.y}
        tensors |= {"loss": update.loss, "initial": h[0], **update.adjoints._asdict()}
        records = {"": update.parameters, "d": update.gradients, "v": update.velocity}
        for prefix, record in records.items():
            tensors |= {
                prefix + name: tensor for name, tensor in present(record).items()
            }
        report = {
            name: np.asarray(rnn.to_numpy(tensor)) for name, tensor in tensors.items()
        }
        yield report | window_report(update.window)


def definition_reports(run: Run) -> Iterator[tuple[Report, WindowCase]]:
    """The updates of a run by the definition of the conformance suite, with the windows
    as it takes them.
    """
    latest: list[WindowCase] = []

    def compute(case: WindowCase) -> tuple[Report, np.ndarray]:
        latest[:] = [case]
        report = window_update(case)
        return report, report["h"]

    for update in train(run, compute):
        yield (
            update.report | {"initial": update.initial} | window_report(update.window),
            latest[0],
        )


def window_report(window: Any) -> Report:
    """Start and end of a window, and the end of the one before, where its
    losses begin.
    """
    return {
        "start": np.array(window.start),
        "end": np.array([window.loss_start, window.stop]),
    }


# -- the comparison
# ------------------------------------------------------------


class Checked(NamedTuple):
    """One equation: an element of its tensor by hand, and the largest difference from
    each witness.

    A difference is relative to the largest element of the tensor.
    """

    what: str
    where: str  # the run that the element is of
    element: str  # dW_hh[2, 5], with indices from 1
    value: float
    differences: dict[str, float]  # by witness


def check_equations(subject: Subject) -> dict[str, Checked]:
    """Every equation, by its id, compared with every witness in all of its runs."""
    differences: dict[
        tuple[str, str, str], float
    ] = {}  # by run, witness and tensor: the largest
    last: dict[str, Report] = {}
    for where, run in runs_of(subject).items():
        hand = list(package_reports(reference, run))
        last[where] = hand[-1]
        for witness, name, difference in run_differences(run, hand):
            place = where, witness, name
            differences[place] = max(differences.get(place, 0.0), difference)
    result = {}
    for id, (tensors, runs, what) in EQUATIONS.items():
        found: dict[str, float] = {}
        for (where, witness, name), difference in differences.items():
            if where in runs and name in tensors:
                found[witness] = max(found.get(witness, 0.0), difference)
        tensor = last[runs[0]][tensors[0]]
        at = int(np.abs(tensor).argmax())
        name = element(tensors[0], tensor, at)
        result[id] = Checked(what, runs[0], name, tensor.flat[at], found)
    return result


def run_differences(run: Run, hand: list[Report]) -> Iterator[tuple[str, str, float]]:
    """Witness, tensor and difference of every tensor of every update of a run.

    hand: the reports of the reference. The complex step is taken in the first and the
    last update.
    """
    defined = list(definition_reports(run))
    for ours, (theirs, _) in zip(hand, defined, strict=True):
        yield from compare(DEFINITION_NAME, ours, theirs)
    for n in {0, len(hand) - 1}:
        report, case = defined[n]
        for name, (elements, values) in derivatives(case, report).items():
            yield COMPLEX_STEP, name, relative(hand[n][name], values, elements)
    if has_torch():
        torch_rnn = importlib.import_module("torch_rnn")
        for ours, theirs in zip(hand, package_reports(torch_rnn, run), strict=True):
            yield from compare(AUTOGRAD, ours, theirs)


def compare(
    witness: str, hand: Report, other: Report
) -> Iterator[tuple[str, str, float]]:
    """The differences of the tensors that both reports have."""
    for name in hand.keys() & other.keys():
        yield witness, name, relative(hand[name], other[name].ravel())


def relative(
    hand: np.ndarray, values: np.ndarray, elements: np.ndarray | slice = slice(None)
) -> float:
    """The largest difference of some elements, relative to the largest of all.

    Infinite where a number is not finite, and where all are zero by hand only.
    """
    difference, largest = (
        np.abs(hand.ravel()[elements] - values).max(),
        np.abs(hand).max(),
    )
    if difference == 0:
        return 0.0
    return (
        float(difference / largest)
        if np.isfinite(difference) and largest > 0
        else np.inf
    )


def element(name: str, tensor: np.ndarray, at: int) -> str:
    """The name of an element, its indices from 1, such as dW_hh[2, 5]."""
    index = ", ".join(str(i + 1) for i in np.unravel_index(at, tensor.shape))
    return f"{name}[{index}]" if index else name


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return find_spec("torch") is not None


def without_transpose(subject: Subject) -> float:
    """The difference that W_hh in place of its transpose in (B2) makes to dW_hh,
    relative.
    """

    def state_adjoint(n: Any, w: Any, p: Any, t: int) -> Any:
        return DEFINITION.state_adjoint(n, w, p._replace(W_hh=p.W_hh.mT), t)

    right, case = next(definition_reports(runs_of(subject)[WINDOW]))
    wrong = window_update(case, of=Definition(state_adjoint=state_adjoint))
    return relative(right["dW_hh"], wrong["dW_hh"].ravel())
