"""Mutants with a number, which is measured, and those that a table of places makes.

A place is where the numbers of a step pass: a tensor, or an operand of an equation.
There all of them may be multiplied or clamped, or a part of them left out.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Objective, Step
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.arithmetics.arithmetic import Operand, loss_divisor
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import FIELDS
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import OperandParameters, Tensors
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, each_loss_over
from numpy_rnn.conformance.mutants.edits import (
    FLOW,
    STEP_EQUATIONS,
    SUMS,
    Equations,
    Mutant,
    Place,
    clamped,
    flow_back,
    neighbours,
    reading,
    recording,
    slope,
    terms_of_loss,
    when_read,
    when_recorded,
    with_operands,
    with_result,
)
from numpy_rnn.conformance.ports.abilities import SGD_OPTIONS

LIMITS = (0.5, 1, 2, 3, 5, 10, 20)  # of numbers that are clamped
FEW_STEPS = 3  # fewer: many mistakes are alike
FEW = 10  # up to which every count of steps, sequences or units is tried
WINDOW_GRADIENTS = tuple("d" + name for name in FIELDS)

# Places and parts.

FORWARD: dict[str, Place] = {name: when_recorded(name) for name in ("a", "h", "y")}
BACKWARD: dict[str, Place] = {
    "{names}": when_recorded(*WINDOW_GRADIENTS),
    "the flow back": flow_back,
    **{name: when_recorded(name) for name in ("dh", "da", "dy")},
}
# Of which a part may be left out.
FORWARD_PARTS: dict[str, Place] = {"the loss": terms_of_loss}
BACKWARD_PARTS: dict[str, Place] = {
    "dh": when_recorded("dh"),
    "{names}": when_read(SUMS, "da dy"),
    "da in dh": when_read(FLOW, "da", 1),
    "dy in dh": when_read(["state_adjoint"], "dy"),
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


def mutants_of_all(words: str, place: Place) -> Iterator[Mutant]:
    """Yield the mistakes of all numbers of a place."""

    def times(number: float) -> Equations:
        """Return the place times a number."""
        return place(lambda v, *step: number * v)

    yield Mutant(f"{words} left out", times(0.0))
    yield Mutant(f"{words} × {{number}}", times)
    for c in LIMITS:
        yield Mutant(f"{words} within ±{c}", place(partial(clamped, c)))


def mutants_of_parts(
    words: str, place: Place, sizes: Mapping[str, int]
) -> Iterator[Mutant]:
    """Yield the mistakes of a part of a place."""
    for letter in AXES:
        for size in likely_counts(sizes[letter]):
            for is_first in (True, False):
                part = TensorPart(letter, size, is_first)
                yield Mutant(f"{words} of {part.words} alone", place(part.alone))
                yield Mutant(f"{words} without {part.words}", place(part.left_out))


def likely_counts(size: int) -> list[int]:
    """Return counts below a size: all of the small ones, and of the larger ones those
    that people choose.
    """
    return [k for k in range(1, size) if k <= FEW or k % 4 == 0 or k % 5 == 0]


# Windows.


def loss_times(number: float) -> Equations:
    """Return the loss times a number, and the usual error."""
    return recording(("loss",), lambda n, name, t, L: number * L)


def loss_and_error_times(number: float) -> Equations:
    """Return the loss and its error times a number."""
    return with_result(
        lambda usual, *operands: [number * value for value in usual], "loss_and_error"
    )


def in_logarithm(number: float) -> Equations:
    """Return the loss −log(p + number), and the usual error."""

    def loss_and_error(
        n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Operand, Operand]:
        """Compute them from the outputs."""
        _, error = right.loss_and_error(n, y, target, objective)
        _, p = n.softmax(y)
        terms = target * np.log(p + number)
        C = loss_divisor(y.shape, objective)
        return -terms.sum(axis=(0, -2, -1)) / C, error

    return {"loss_and_error": loss_and_error}


def plus_parameter(number: float) -> Equations:
    """Return gradients and a multiple of their parameters."""

    def change(n: Any, name: str, t: None, g: NumpyArray) -> NumpyArray:
        """Return a gradient and the multiple of its parameter."""
        theta: NumpyArray = getattr(n.fit.case.params, name.removeprefix("d"))
        return g + number * theta

    return recording(WINDOW_GRADIENTS, change)


def without_weights(name: str) -> Equations:
    """Return the forward pass with zeros for a weight matrix or bias."""

    def forward(
        n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
    ) -> None:
        """Compute it."""
        theta = getattr(p, name)
        if theta is not None:
            p = p._replace(**{name: 0 * theta})
        right.forward(n, w, p, nonlinearity)

    return {"forward": forward}


def rereading() -> Iterator[Mutant]:
    """Yield gradients that read another step, or another tensor."""
    for tensor in ("x", "h"):
        for distance, words in ((-1, "before"), (1, "after")):
            edit = reading(SUMS, tensor, neighbours(distance))
            yield Mutant(f"{tensor} of the step {words} in {{names}}", edit)
    edit = reading(SUMS, "da", lambda w, name, s: w.dh[s])
    yield Mutant("dh for da in {names}", edit)
    edit = recording(("dW_hh",), lambda n, name, t, g: g.mT)
    yield Mutant("{names} transposed", edit)


WINDOW_MUTANTS = (
    Mutant("loss × {number}", loss_times),
    Mutant("consistent: × {number} of this loss", loss_and_error_times),
    Mutant("{number} inside of the logarithm", in_logarithm, start=0.0),
    Mutant("{names} + {number} of the parameter", plus_parameter, start=0.0),
    Mutant("1 − tanh(h)² for φ′", slope(lambda phi, a, h: 1 - np.tanh(h) ** 2)),
)


def window_mutants(sizes: Mapping[str, int], is_forward: bool) -> Iterator[Mutant]:
    """Yield the mistakes that a window may have; sizes: those of one that is wrong, by
    letter; is_forward: whether the loss is wrong.
    """
    yield from (mutant for mutant in MUTANTS if not mutant.in_run)
    if not is_forward:
        yield from mutants_of_all("{names}", BACKWARD["{names}"])
    if sizes["T"] < FEW_STEPS:
        return
    yield from WINDOW_MUTANTS
    for k in range(2, sizes["T"]):
        words = f"over {k} steps (bptt_truncate = {k - 1})"
        edit: Equations = {"backward": partial(each_loss_over, k)}
        yield Mutant(f"each loss goes back {words}", edit)
    for name in FIELDS:
        yield Mutant(f"{name} left out", without_weights(name))
    yield from rereading()
    for words, place in (FORWARD if is_forward else BACKWARD).items():
        yield from mutants_of_all(words, place)
    for words, place in (FORWARD_PARTS if is_forward else BACKWARD_PARTS).items():
        yield from mutants_of_parts(words, place, sizes)


# Steps.


def option_times(name: str, number: float) -> Equations:
    """Return the equations of a step with a multiple of one of its options."""

    def change(*operands: Any) -> tuple[Any, ...]:
        """Return the operands, the last of which is the step, with the multiple."""
        *others, step = operands
        return *others, step._replace(**{name: number * getattr(step, name)})

    return with_operands(change, *STEP_EQUATIONS)


def change_times(number: float) -> Equations:
    """Return parameters whose change is multiplied by a number."""

    def updated(
        after: Operand, n: NumpyArithmetic, name: str, theta: Operand, *rest: object
    ) -> Operand:
        """Return the parameter with a multiple of its change."""
        return theta + number * (after - theta)

    return with_result(updated, "updated")


def velocity_times(number: float) -> Equations:
    """Return the velocity times a number."""
    return with_result(lambda v, *operands: number * v, "velocity")


def step_mutants(step: Step) -> Iterator[Mutant]:
    """Yield the mistakes that this step may have."""
    for mutant in MUTANTS:
        if mutant.fields & STEP_EQUATIONS:
            yield mutant
    for words in ("step", "step of {names}"):  # of all parameters, or of some
        yield Mutant(f"{words} × 0", change_times(0.0))
        yield Mutant(f"{words} × {{number}}", change_times)
    for name in (*SGD_OPTIONS, "max_value"):
        if getattr(step, name):
            nothing = np.inf if name.startswith("max") else 0.0
            yield Mutant(f"{name} left out", option_times(name, nothing))
            yield Mutant(f"{name} × {{number}}", partial(option_times, name))
    yield Mutant("{names} × {number}", velocity_times)
