"""Edits of the definition, of which mistakes are made: its equations with other
operands, or with other results.
"""

from collections.abc import Callable, Container, Iterable
from copy import copy
from functools import partial
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.arithmetics.arithmetic import Operand
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import GRADIENTS, Definition, Steps, Tensors

Replacement = Callable[..., Operand]
Equations = dict[str, Replacement]
Change = Callable[[Operand, int, int], Operand]  # of the value of step t of T
FORWARD_EQUATIONS = {"pre_activation", "state", "output"}
STEP_FIELDS = {"clipped", "decayed", "velocity", "direction", "updated"}
FLOW = ("state_adjoint", "initial_state_adjoint")
SUMS = tuple(GRADIENTS.values())
RECORD = "record"  # among equations: a change of what is recorded
CASE = "case"  # among equations: a change of the case, before all others


class Mutant(NamedTuple):
    """A mistake: other equations of the definition, by name, or those for a number,
    which is measured.
    """

    name: str  # with {number}, and {names} for the tensors that are wrong
    equations: Equations | Callable[[float], Equations]
    stage: str = ""  # the tensor, or "window" or "initial", that is wrong
    start: float = 1.0  # where the measurement begins

    def with_number(self, number: float) -> Equations:
        """Return the equations, for this number if they depend on one."""
        return self.equations(number) if callable(self.equations) else self.equations

    @property
    def fields(self) -> set[str]:
        """Return the names of the equations that are other ones."""
        return {*self.with_number(self.start)}

    @property
    def definition(self) -> Definition:
        """Return the definition with these equations."""
        return Definition(**self.with_number(self.start))

    @property
    def in_run(self) -> bool:
        """Return whether it is visible only in a run of several updates."""
        return self.stage in ("window", "initial")


class View:
    """A tensor by step, of which another value is read; of(s): the one for step s."""

    def __init__(self, of: Callable[[int], Operand]):
        """Read the values of `of`."""
        self.of = of

    def __getitem__(self, s: int) -> Operand:
        """Return the value for step s."""
        return self.of(s)


def replace(of, **attributes):
    """Return a copy of tensors, or of an arithmetic, with other attributes."""
    other = copy(of)
    vars(other).update(attributes)
    return other


def changed(
    *fields: str, given: Replacement | None = None, result: Replacement | None = None
) -> Equations:
    """Return equations of other operands, given(*operands), or with another result,
    result(value, *operands).
    """

    def equation(field: str, *operands):
        """Compute an equation with these operands, and its other result."""
        value = getattr(right, field)(*(given(*operands) if given else operands))
        return result(value, *operands) if result else value

    return {field: partial(equation, field) for field in fields}


def with_step(change: Replacement, *fields: str) -> Equations:
    """Return equations of another step, or objective, which is their last operand."""
    return changed(*fields, given=lambda *given: (*given[:-1], change(given[-1])))


def with_weights(fields: Iterable[str], name: str, change: Replacement) -> Equations:
    """Return equations of another weight matrix or bias."""

    def given(n, w, p, *t):
        """Return the operands with the other weights."""
        theta = getattr(p, name)
        return n, w, p._replace(**{name: None if theta is None else change(theta)}), *t

    return changed(*fields, given=given)


def operating(field: str, **operations: Replacement) -> Equations:
    """Return an equation with other operations of the numbers."""
    return changed(field, given=lambda n, *rest: (replace(n, **operations), *rest))


def reading(
    fields: Iterable[str], tensors: str, of: Callable[[Tensors, str, int], Operand]
) -> Equations:
    """Return equations that read other values of some tensors; of(w, tensor, s): that
    of step s.
    """

    def given(n, w, *rest):
        """Return the operands with views of the tensors."""
        views = {name: View(partial(of, w, name)) for name in tensors.split()}
        return n, replace(w, **views), *rest

    return changed(*fields, given=given)


def neighbours(by: int) -> Callable[[Tensors, str, int], Operand]:
    """Return what reads the tensor of another step, so many steps later."""

    def of(w: Tensors, name: str, s: int) -> Operand:
        """Return the tensor at the other step, or at the nearest that there is."""
        steps: Steps = getattr(w, name)
        return steps[min(max(s + by, min(steps)), max(steps))]

    return of


def slope(change: Replacement) -> Equations:
    """Return another slope, change(φ′, a, h)."""

    def result(da, n, w, t, phi):
        """Return dh times the other slope."""
        one = np.ones_like(w.a[t])
        return w.dh[t] * change(n.by_slope(one, w.a[t], w.h[t], phi), w.a[t], w.h[t])

    return changed("pre_activation_adjoint", result=result)


def recording(names: Container[str], change: Replacement) -> Equations:
    """Return a change of these tensors when they are recorded: change(n, name, t,
    value).
    """

    def result(n, name, t, value):
        """Return the changed tensor, or another one as it is."""
        return change(n, name, t, value) if name in names else value

    return {RECORD: result}


def changed_loss(change: Replacement) -> Equations:
    """Return a loss and its error, change(L, dy, n, y, target, objective)."""
    return changed(
        "loss_and_error", result=lambda value, *given: change(*value, *given)
    )


def of_losses(change: Change) -> Equations:
    """Return the loss and error of some of the terms: outputs are perfect, and add
    nothing, where the change makes a 0 of a 1.
    """

    def given(n, y, target, objective):
        """Return the operands with perfect outputs."""
        ones = np.ones_like(y[0])
        steps = [change(ones, t, len(y)) for t in range(1, len(y) + 1)]
        perfect = 1e4 * target if objective.loss == "cross_entropy" else target
        return n, np.where(np.stack(steps) == 0, perfect, y), target, objective

    return changed("loss_and_error", given=given)


def operands(
    fields: Iterable[str], tensors: str, offset: int = 0
) -> Callable[[Change], Equations]:
    """Return how the tensors that equations read are changed; offset: of the step that
    is read from the step of the equation.
    """

    def of(change: Change) -> Equations:
        """Return the equations that read changed tensors."""

        def read(w: Tensors, name: str, s: int) -> Operand:
            """Return the changed tensor of a step."""
            return change(getattr(w, name)[s], s - offset, len(w.x))

        return reading(fields, tensors, read)

    return of


def clamped(c: float, v: NumpyArray, *step: int) -> NumpyArray:
    """Return numbers between ± c; outside, the derivative is 0."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))
