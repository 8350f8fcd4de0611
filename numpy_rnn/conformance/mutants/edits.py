"""Edits of the definition, of which mistakes are made: its equations with other
operands, or with other results.
"""

from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Objective
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic, Operand
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import GRADIENTS, Definition, Steps, Tensors

Replacement = Callable[..., Any]
Equations = dict[str, Replacement]
Change = Callable[..., Operand]  # of a value, or of that of step t of T
Place = Callable[[Change], Equations]  # where numbers pass, which are changed there
Reading = Callable[[Tensors, str, int], Operand]  # of a tensor for step s
# What autograd differentiates: a hint of these explains the forward pass alone.
FORWARD_EQUATIONS = {"pre_activation", "state", "output", "forward"}
FLOW = ("state_adjoint", "initial_state_adjoint")
SUMS = tuple(GRADIENTS.values())


class Mutant(NamedTuple):
    """A mistake: other equations of the definition, by name, or those for a number,
    which is measured.
    """

    name: str  # with {number}, and {names} for the tensors that are wrong
    equations: Equations | Callable[[float], Equations]

    def with_number(self, number: float) -> Equations:
        """Return the equations, for this number if they depend on one."""
        return self.equations(number) if callable(self.equations) else self.equations

    @property
    def is_forward(self) -> bool:
        """Return whether the equations that are other ones are of the forward pass."""
        return {*self.with_number(1.0)} <= FORWARD_EQUATIONS

    @property
    def definition(self) -> Definition:
        """Return the definition with these equations."""
        return Definition(**self.with_number(1.0))


class View:
    """A tensor by step, of which another value is read: value(s) for step s."""

    def __init__(self, value: Callable[[int], Operand]):
        """Read these values."""
        self.value = value

    def __getitem__(self, s: int) -> Operand:
        """Return the value for step s."""
        return self.value(s)


# Edits of any equation


def with_operands(change: Replacement, *fields: str) -> Equations:
    """Return equations of other operands, change(*operands)."""

    def equation(field: str, *operands: Any) -> Operand:
        """Compute an equation with the other operands."""
        return getattr(right, field)(*change(*operands))

    return {field: partial(equation, field) for field in fields}


def with_result(change: Replacement, *fields: str) -> Equations:
    """Return equations with another result, change(result, *operands)."""

    def equation(field: str, *operands: Any) -> Operand:
        """Compute the other result of an equation."""
        return change(getattr(right, field)(*operands), *operands)

    return {field: partial(equation, field) for field in fields}


def reading(fields: Iterable[str], tensors: str, read: Reading) -> Equations:
    """Return equations that read other values of some tensors."""

    def change(n: NumpyArithmetic, w: Tensors, *rest: Any) -> tuple[Any, ...]:
        """Return the operands with views of the tensors."""
        other = copy(w)
        for name in tensors.split():
            setattr(other, name, View(partial(read, w, name)))
        return n, other, *rest

    return with_operands(change, *fields)


def neighbours(distance: int) -> Reading:
    """Return what reads the tensor of another step, so many steps later."""

    def read(w: Tensors, name: str, s: int) -> Operand:
        """Return the tensor at the other step, or at the nearest that there is."""
        steps: Steps = getattr(w, name)
        return steps[min(max(s + distance, min(steps)), max(steps))]

    return read


def wrapped(distance: int) -> Reading:
    """Return what reads the tensor of another step of the window, so many steps later;
    the last step is before the first, as index −1 is in Python.
    """

    def read(w: Tensors, name: str, s: int) -> Operand:
        """Return the tensor at the other step."""
        steps: Steps = getattr(w, name)
        return steps[(s - 1 + distance) % len(w.x) + 1]

    return read


def instead(other: str) -> Reading:
    """Return what reads another tensor of the same step."""
    return lambda w, name, s: getattr(w, other)[s]


# Edits of one equation


def slope(change: Replacement) -> Equations:
    """Return another slope, change(a, h)."""
    return {
        "pre_activation_adjoint": lambda n, w, t, nonlinearity: (
            w.dh[t] * change(w.a[t], w.h[t])
        )
    }


# Places


def result_of(*fields: str) -> Place:
    """Return the place where equations have their result."""
    return lambda change: with_result(lambda value, *_: change(value), *fields)


def state_adjoint(change: Change) -> Equations:
    """Return a changed dh_t."""
    return with_result(lambda dh, n, w, p, t: change(dh, t, len(w.x)), "state_adjoint")


def when_read(fields: Iterable[str], tensors: str, offset: int = 0) -> Place:
    """Return the place where equations read tensors; offset: of the step that is read
    from the step of the equation.
    """
    return lambda change: reading(
        fields,
        tensors,
        lambda w, name, s: change(getattr(w, name)[s], s - offset, len(w.x)),
    )


def flow_back(change: Change) -> Equations:
    """Return a changed flow into dh_t from the step after."""

    def adjoint(dh: Operand, n: NumpyArithmetic, w: Tensors, p: Any, t: int) -> Operand:
        """Return dh_t with the changed flow."""
        flow = w.da[t + 1] @ p.W_hh.mT
        return dh - flow + change(flow, t, len(w.x))

    return with_result(adjoint, "state_adjoint")


def terms_of_loss(change: Change) -> Equations:
    """Return the loss and error of some of the terms: outputs are perfect, and add
    nothing, where the change makes a 0 of a 1.
    """

    def operands(
        n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Any, ...]:
        """Return the operands with perfect outputs."""
        ones = np.ones_like(y[0])
        steps = [change(ones, t, len(y)) for t in range(1, len(y) + 1)]
        perfect = 1e4 * target if objective.has_classes else target
        return n, np.where(np.stack(steps) == 0, perfect, y), target, objective

    return with_operands(operands, "loss_and_error")


def terms_of_loss_alone(change: Change) -> Equations:
    """Return the loss of some of the terms, and the error of all."""
    part = terms_of_loss(change)["loss_and_error"]

    def loss_and_error(*operands: Any) -> tuple[Operand, Operand]:
        """Return the loss of a part, and the right error."""
        return part(*operands)[0], right.loss_and_error(*operands)[1]

    return {"loss_and_error": loss_and_error}


# Changes at a place


def clamped(c: float, v: NumpyArray, *step: int) -> Operand:
    """Return numbers between ± c; outside, the derivative is 0."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))
