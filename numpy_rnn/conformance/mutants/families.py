"""Mutants with a number, which is measured, and those that a table of places makes.

A place is where the numbers of a step pass: a tensor, or an operand of an equation.
There all of them may be multiplied or clamped, or a part of them left out.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.arithmetics.arithmetic import Operand, loss_divisor
from numpy_rnn.conformance.case import FIELDS
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, each_loss_over
from numpy_rnn.conformance.mutants.edits import (
    FLOW,
    STEP_FIELDS,
    SUMS,
    Change,
    Equations,
    Mutant,
    changed,
    changed_loss,
    clamped,
    neighbours,
    of_losses,
    operands,
    reading,
    recording,
    slope,
    with_step,
    with_weights,
)
from numpy_rnn.conformance.ports.abilities import SGD_OPTIONS

LIMITS = (0.5, 1, 2, 3, 5, 10, 20)  # of numbers that are clamped
FEW_STEPS = 3  # fewer: many mistakes are alike
FEW = 10  # up to which every count of steps, sequences or units is tried
OF_GRADIENTS = tuple("d" + name for name in FIELDS)

# -- places and parts

Place = Callable[[Change], Equations]


def when_recorded(*tensors: str) -> Place:
    """Return how tensors are changed when they are recorded."""

    def of(change: Change) -> Equations:
        """Return the change of the tensors."""
        return recording(tensors, lambda n, name, t, v: change(v, t, len(n.fit.case.x)))

    return of


def flow_back(change: Change) -> Equations:
    """Return a changed flow into dh_t from the step after."""

    def result(dh, n, w, p, t):
        """Return dh_t with the changed flow."""
        flow = w.da[t + 1] @ p.W_hh.mT
        return dh - flow + change(flow, t, len(w.x))

    return changed("state_adjoint", result=result)


FORWARD: dict[str, Place] = {name: when_recorded(name) for name in ("a", "h", "y")}
BACKWARD: dict[str, Place] = {
    "{names}": when_recorded(*OF_GRADIENTS),
    "the flow back": flow_back,
    **{name: when_recorded(name) for name in ("dh", "da", "dy")},
}
# Of which a part may be left out.
FORWARD_PARTS: dict[str, Place] = {"the loss": of_losses}
BACKWARD_PARTS: dict[str, Place] = {
    "dh": when_recorded("dh"),
    "{names}": operands(SUMS, "da dy"),
    "da in dh": operands(FLOW, "da", 1),
    "dy in dh": operands(["state_adjoint"], "dy"),
}
AXES = {"T": "step", "B": "sequence", "H": "unit"}


class TensorPart(NamedTuple):
    """The first or the last positions of a tensor along an axis."""

    letter: str  # of the axis
    size: int
    is_first: bool

    @property
    def words(self) -> str:
        """Return what this part is called."""
        end = "first" if self.is_first else "last"
        if self.size == 1:
            return f"the {end} {AXES[self.letter]}"
        return f"the {end} {pluralize(self.size, AXES[self.letter])}"

    def is_in(self, v: NumpyArray, t: int, T: int) -> NumpyArray:
        """Return which numbers of step t of T are in this part."""
        if self.letter == "T":
            position, length = np.array(t), T
        else:
            axis = "BH".index(self.letter)
            length = v.shape[axis]
            position = np.expand_dims(np.arange(1, length + 1), 1 - axis)
        if self.is_first:
            return np.asarray(position <= self.size)
        return np.asarray(position > length - self.size)

    def alone(self, v: NumpyArray, t: int, T: int) -> NumpyArray:
        """Return a tensor with zeros outside of this part."""
        return v * self.is_in(v, t, T)

    def left_out(self, v: NumpyArray, t: int, T: int) -> NumpyArray:
        """Return a tensor with zeros in this part."""
        return v * ~self.is_in(v, t, T)


def all_of(place: str, make: Place) -> Iterator[Mutant]:
    """Yield the mistakes of all numbers of a place."""

    def times(number: float) -> Equations:
        """Return the place times a number."""
        return make(lambda v, *step: number * v)

    yield Mutant(f"{place} left out", times(0.0))
    yield Mutant(f"{place} × {{number}}", times)
    for c in LIMITS:
        yield Mutant(f"{place} within ±{c}", make(partial(clamped, c)))


def parts_of(place: str, make: Place, sizes: Mapping[str, int]) -> Iterator[Mutant]:
    """Yield the mistakes of a part of a place."""
    for letter in AXES:
        for size in counts(sizes[letter]):
            for is_first in (True, False):
                part = TensorPart(letter, size, is_first)
                yield Mutant(f"{place} of {part.words} alone", make(part.alone))
                yield Mutant(f"{place} without {part.words}", make(part.left_out))


def counts(size: int) -> list[int]:
    """Return counts below a size: all of the small ones, and of the larger ones those
    that people choose.
    """
    return [k for k in range(1, size) if k <= FEW or k % 4 == 0 or k % 5 == 0]


# -- windows


def in_logarithm(number: float) -> Equations:
    """Return the loss −log(p + number)."""

    def change(L, dy, n, y, z, objective):
        """Return this loss, and the usual error."""
        terms = z * np.log(n.softmax(y)[1] + number)
        return -terms.sum(axis=(0, -2, -1)) / loss_divisor(y.shape, objective), dy

    return changed_loss(change)


def without_target(L, dy, n, y, z, objective):
    """Return the loss, and the error without the target."""
    return L, dy + z / loss_divisor(y.shape, objective)


def plus_parameter(n, name, t, g, number: float):
    """Return a gradient and a multiple of its parameter."""
    return g + number * getattr(n.fit.case.params, name[1:])


def clipped(number: float) -> Equations:
    """Return gradients of a norm of at most a number."""

    def result(d, n, *given):
        """Return the gradients times the factor of their norm."""
        factor = n.factor(n.norm(list(d.values())), number)
        return {name: n.record("d" + name, None, factor * g) for name, g in d.items()}

    return changed("backward", result=result)


def weights_times(name: str, number: float) -> Equations:
    """Return the forward pass with a multiple of a weight matrix or bias."""
    field = "output" if name.endswith("y") else "pre_activation"
    return with_weights([field], name, lambda theta: number * theta)


def rereading() -> Iterator[Mutant]:
    """Yield gradients that read another step, or another tensor."""
    for tensor in ("x", "h"):
        for by, words in ((-1, "before"), (1, "after")):
            edit = reading(SUMS, tensor, neighbours(by))
            yield Mutant(f"{tensor} of the step {words} in {{names}}", edit)
    edit = reading(SUMS, "da", lambda w, name, s: w.dh[s])
    yield Mutant("dh for da in {names}", edit)
    edit = recording(("dW_hh",), lambda n, name, t, g: g.mT)
    yield Mutant("{names} transposed", edit)


WINDOW_MUTANTS = (
    Mutant(
        "loss × {number}", lambda c: recording(("loss",), lambda n, name, t, L: c * L)
    ),
    Mutant(
        "consistent: × {number} of this loss",
        lambda c: changed_loss(lambda L, dy, *_: (c * L, c * dy)),
    ),
    Mutant("dy without the target", changed_loss(without_target)),
    Mutant("{number} inside of the logarithm", in_logarithm, start=0.0),
    Mutant(
        "{names} + {number} of the parameter",
        lambda c: recording(OF_GRADIENTS, partial(plus_parameter, number=c)),
        start=0.0,
    ),
    Mutant(
        "{names} without its diagonal",
        recording(("dW_hh",), lambda n, name, t, g: g - np.diag(np.diag(g))),
    ),
    Mutant("gradients clipped at norm {number}", clipped, start=0.0),
    Mutant(
        "{number} added to φ′", lambda c: slope(lambda phi, a, h: phi + c), start=0.0
    ),
    Mutant("1 − {number} h² for φ′", lambda c: slope(lambda phi, a, h: 1 - c * h * h)),
    Mutant("1 − tanh(h)² for φ′", slope(lambda phi, a, h: 1 - np.tanh(h) ** 2)),
)


def window_mutants(sizes: Mapping[str, int], is_forward: bool) -> Iterator[Mutant]:
    """Yield the mistakes that a window may have; sizes: those of one that is wrong, by
    letter; is_forward: whether the loss is wrong.
    """
    yield from (mutant for mutant in MUTANTS if not mutant.in_run)
    if not is_forward:
        yield from all_of("{names}", BACKWARD["{names}"])
    if sizes["T"] < FEW_STEPS:
        return
    yield from WINDOW_MUTANTS
    for k in range(2, sizes["T"]):
        words = f"over {k} steps (bptt_truncate = {k - 1})"
        edit: Equations = {"backward": partial(each_loss_over, k)}
        yield Mutant(f"each loss goes back {words}", edit)
    for name in FIELDS:
        yield Mutant(f"{name} left out", weights_times(name, 0.0))
        yield Mutant(f"{name} × {{number}}", partial(weights_times, name))
    yield from rereading()
    for place, make in (FORWARD if is_forward else BACKWARD).items():
        yield from all_of(place, make)
    for place, make in (FORWARD_PARTS if is_forward else BACKWARD_PARTS).items():
        yield from parts_of(place, make, sizes)


# -- steps


def option_times(name: str, number: float) -> Equations:
    """Return the equations of a step with a multiple of one of its options."""

    def change(step: Operand) -> Step:
        """Return the step with the multiple."""
        return step._replace(**{name: number * getattr(step, name)})

    return with_step(change, *STEP_FIELDS)


def rated(number: float) -> Equations:
    """Return parameters whose change is multiplied by a number."""

    def result(value, n, name, theta, *rest):
        """Return the parameter with a multiple of its change."""
        return theta + number * (value - theta)

    return changed("updated", result=result)


def step_mutants(step: Step) -> Iterator[Mutant]:
    """Yield the mistakes that this step may have."""
    for mutant in MUTANTS:
        if mutant.fields & STEP_FIELDS:
            yield mutant
    for words in ("step", "step of {names}"):  # of all parameters, or of some
        yield Mutant(f"{words} × 0", rated(0.0))
        yield Mutant(f"{words} × {{number}}", rated)
    for name in (*SGD_OPTIONS, "max_value"):
        if getattr(step, name):
            nothing = np.inf if name.startswith("max") else 0.0
            yield Mutant(f"{name} left out", option_times(name, nothing))
            yield Mutant(f"{name} × {{number}}", partial(option_times, name))
    yield Mutant(
        "{names} × {number}",
        lambda c: changed("velocity", result=lambda v, *operands: c * v),
    )
