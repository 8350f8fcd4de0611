"""Mutants with a number, which is measured, and those that a table of places makes.

A place is where the numbers of a step pass: a tensor, or an operand of an equation.
There all of them may be multiplied or clamped, or a part of them left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step
from numpy_rnn.common.texts import pluralize
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic, Operand
from numpy_rnn.conformance.definition import Tensors
from numpy_rnn.conformance.mutants.edits import (
    FLOW,
    SUMS,
    Equations,
    Mutant,
    Place,
    Replacement,
    clamped,
    flow_back,
    reading,
    result_of,
    state_adjoint,
    terms_of_loss,
    terms_of_loss_alone,
    when_read,
    with_operands,
    with_result,
)
from numpy_rnn.conformance.mutants.step_mutants import (
    LATE_STEP_MUTANTS,
    STEP_MUTANTS,
)
from numpy_rnn.conformance.mutants.window_mutants import (
    WINDOW_MUTANTS,
    each_loss_over,
)
from numpy_rnn.conformance.ports.abilities import NO_MOMENTUM

LIMITS = (0.5, 1, 2, 3, 5, 10, 20)  # of numbers that are clamped
FEW = 10  # the largest count of steps, sequences or units that is tried

# Places, by their words

FORWARD: dict[str, Place] = {
    "a": result_of("pre_activation"),
    "h": result_of("state"),
    "y": result_of("output"),
}
BACKWARD: dict[str, Place] = {"{names}": result_of(*SUMS), "the flow back": flow_back}
# Of which a part may be left out.
FORWARD_PARTS: dict[str, Place] = {"the loss": terms_of_loss}
LOSS_PARTS: dict[str, Place] = {"the loss, but not its gradient,": terms_of_loss_alone}
BACKWARD_PARTS: dict[str, Place] = {
    "dh": state_adjoint,
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

    def kept(self, is_kept: bool, v: NumpyArray, t: int, T: int) -> Any:
        """Return a tensor with zeros outside of this part, or in it."""
        return v * (self.is_in(v, t, T) == is_kept)


def clamped_mutants(
    places: Mapping[str, Place], limits: Iterable[float] = LIMITS
) -> Iterator[Mutant]:
    """Yield the mistakes of numbers that are clamped."""
    for words, place in places.items():
        for c in limits:
            yield Mutant(f"{words} within ±{c}", place(partial(clamped, c)))


def mutants_of_parts(
    places: Mapping[str, Place], sizes: Mapping[str, int]
) -> Iterator[Mutant]:
    """Yield the mistakes of a part of a place."""
    parts = list[TensorPart]()
    for letter in AXES:
        for size in range(1, min(sizes[letter], FEW + 1)):
            parts += [TensorPart(letter, size, is_first) for is_first in (True, False)]
    for words, place in places.items():
        for part in parts:
            yield Mutant(
                f"{words} of {part.words} alone", place(partial(part.kept, True))
            )
            yield Mutant(
                f"{words} without {part.words}", place(partial(part.kept, False))
            )


# Windows


def of_loss(change: Replacement) -> Callable[[float], Equations]:
    """Return a function of a number, which gives the equations of another loss and
    error, change(number, loss, error).
    """
    return lambda number: with_result(
        lambda usual, *rest: change(number, *usual), "loss_and_error"
    )


def gradients_times(number: float) -> Equations:
    """Return the gradients times a number."""
    return with_result(lambda g, *rest: number * g, *SUMS)


def term_times(name: str, number: float) -> Equations:
    """Return a with one of its terms times a number: that of a parameter."""

    def changed(a: Operand, n: NumpyArithmetic, w: Tensors, p: Any, t: int) -> Operand:
        """Return a_t with the other term."""
        theta = getattr(p, name)
        if theta is None:
            return a
        if name == "b_h":
            return a + (number - 1) * theta[..., None, :]
        term = w.x[t] @ theta if name == "W_xh" else w.h[t - 1] @ theta
        return a + (number - 1) * term

    return with_result(changed, "pre_activation")


TERMS = {"W_xh": "x_t W_xh", "W_hh": "h_{t-1} W_hh", "b_h": "b_h"}


def mutants_of_terms() -> Iterator[Mutant]:
    """Yield the mistakes of a term of a that is left out, or there twice."""
    for name, words in TERMS.items():
        yield Mutant(f"{words} left out of a", term_times(name, 0.0))
        yield Mutant(f"{words} twice in a", term_times(name, 2.0))


LOSS_MUTANTS = (
    Mutant("loss × {number}", of_loss(lambda c, L, dy: (c * L, dy))),
    Mutant(
        "consistent: × {number} of this loss", of_loss(lambda c, L, dy: (c * L, c * dy))
    ),
)
GRADIENT_MUTANTS = (
    Mutant("{names} left out", gradients_times(0.0)),
    Mutant("{names} × {number}", gradients_times),
    Mutant("dy × {number}", of_loss(lambda c, L, dy: (L, c * dy))),
    Mutant("dh for da in {names}", reading(SUMS, "da", lambda w, name, s: w.dh[s])),
)


def window_mutants(
    sizes: Mapping[str, int], is_forward: bool, limits: Iterable[float] = LIMITS
) -> Iterator[Mutant]:
    """Yield the mistakes that a window may have.

    sizes: those of one that is wrong, by letter. is_forward: whether the loss is wrong.
    limits: those to which gradients may be clamped.
    """
    yield from WINDOW_MUTANTS
    if is_forward:
        yield from LOSS_MUTANTS
        yield from mutants_of_terms()
        yield from clamped_mutants(FORWARD)
        yield from mutants_of_parts(FORWARD_PARTS, sizes)
        yield from mutants_of_parts(LOSS_PARTS, sizes)
        return
    yield from GRADIENT_MUTANTS
    for k in range(2, sizes["T"]):
        words = f"over {k} steps (bptt_truncate = {k - 1})"
        edit: Equations = {"backward": partial(each_loss_over, k)}
        yield Mutant(f"each loss goes back {words}", edit)
    yield from clamped_mutants(BACKWARD, limits)
    yield from mutants_of_parts(BACKWARD_PARTS, sizes)


# Steps


def without_option(name: str) -> Equations:
    """Return the equations of a step without one of its options. Without momentum
    there is no dampening, as in torch.optim.SGD.
    """
    defaults = {name: Step._field_defaults[name]}
    if name == "momentum":
        defaults = dict(NO_MOMENTUM)

    def change(*operands: Any) -> tuple[Any, ...]:
        """Return the operands, the last of which is the step, without the option."""
        *others, step = operands
        return *others, step._replace(**defaults)

    return with_operands(change, "apply_step")


def change_times(number: float) -> Equations:
    """Return parameters whose change is multiplied by a number."""
    return with_result(
        lambda after, n, name, theta, *rest: theta + number * (after - theta), "updated"
    )


def decay_times(number: float) -> Equations:
    """Return the equations of a step with its weight decay times a number."""
    return with_operands(
        lambda n, g, theta, step: (
            n,
            g,
            theta,
            step._replace(weight_decay=number * step.weight_decay),
        ),
        "decayed",
    )


def momentum_times(number: float) -> Equations:
    """Return the equations of a step with the velocity before it times a number."""

    def change(n: NumpyArithmetic, g: Operand, before: Any, step: Step) -> Any:
        """Return the operands with the other velocity."""
        if before is not None and not step.adagrad:
            before = number * before
        return n, g, before, step

    return with_operands(change, "velocity")


def parameters_times(number: float) -> Equations:
    """Return a step from the parameters times a number."""
    return with_result(
        lambda after, n, name, theta, *rest: after + (number - 1) * theta, "updated"
    )


def step_mutants(step: Step) -> Iterator[Mutant]:
    """Yield the mistakes that this step may have."""
    yield from STEP_MUTANTS
    for words in ("step", "step of {names}"):  # of all parameters, or of some
        yield Mutant(f"{words} × 0", change_times(0.0))
        yield Mutant(f"{words} × {{number}}", change_times)
    for name in Step._field_defaults:
        if getattr(step, name):
            yield Mutant(f"{name} left out", without_option(name))
    if step.weight_decay:
        yield Mutant("weight_decay × {number}", decay_times)
    if step.momentum:
        yield Mutant("momentum × {number}", momentum_times)
    yield from LATE_STEP_MUTANTS
    for words in ("the step starts", "the step of {names} starts"):
        yield Mutant(f"{words} from the parameters × {{number}}", parameters_times)
