"""The mutants of steps: mistakes that people make in the update of the parameters."""

from collections.abc import Iterator

import numpy as np

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.arithmetics.arithmetic import (
    ADAGRAD_OFFSET,
    NORM_OFFSET,
    NumpyArithmetic,
    Operand,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import NamedOperands
from numpy_rnn.conformance.mutants.edits import Equations, Mutant


def clipped_per_tensor(
    n: NumpyArithmetic, d: NamedOperands, step: Step
) -> NamedOperands:
    """Return gradients of which each has been clipped by its norm."""
    return {name: right.clipped(n, {name: g}, step)[name] for name, g in d.items()}


def decoupled(
    n: NumpyArithmetic, name: str, theta: Operand, delta: Operand, step: Step
) -> Operand:
    """Return the parameter after a step whose change has the weight decay."""
    return right.updated(n, name, theta, delta + step.weight_decay * theta, step)


def decayed_before_clipping(
    n: NumpyArithmetic,
    p: NamedOperands,
    d: NamedOperands,
    step: Step,
) -> Iterator[tuple[str, Operand]]:
    """Yield gradients that are clipped with their weight decay."""
    decayed = {name: right.decayed(n, g, p[name], step) for name, g in d.items()}
    yield from right.clipped(n, decayed, step).items()


def without_decay_of_biases(
    n: NumpyArithmetic, g: Operand, theta: Operand, step: Step
) -> Operand:
    """Return the gradient with the weight decay of a matrix."""
    is_bias = theta.ndim - n.axes == 1
    return g if is_bias else right.decayed(n, g, theta, step)


def averaged(first: float | None) -> Equations:
    """Return velocities μ v + (1 − μ) g, a mean of gradients; first: the factor of g in
    the first one, or None for 1 − μ.
    """

    def velocity(
        n: NumpyArithmetic, g: Operand, before: Operand | None, step: Step
    ) -> Operand:
        """Return the velocity."""
        if step.adagrad:
            return right.velocity(n, g, before, step)
        share = (1 - step.momentum) * g
        if before is None:
            return share if first is None else first * g
        return step.momentum * before + share

    return {"velocity": velocity}


def dampened_first(
    n: NumpyArithmetic, g: Operand, before: Operand | None, step: Step
) -> Operand:
    """Return the velocity that starts from zeros, so that the first is dampened."""
    return right.velocity(n, g, 0 * g if before is None else before, step)


def without_upper_limit(
    n: NumpyArithmetic, d: NamedOperands, step: Step
) -> NamedOperands:
    """Return gradients that clipping makes larger too."""
    if step.max_norm is None:
        return right.clipped(n, d, step)
    factor = step.max_norm / (n.norm(list(d.values())) + NORM_OFFSET)
    return {name: n.expand(factor, g) * g for name, g in d.items()}


def by_offset_root(
    n: NumpyArithmetic, g: Operand, v: Operand | None, step: Step
) -> Operand:
    """Return the direction of Adagrad without a root."""
    if not step.adagrad or v is None:
        return right.direction(n, g, v, step)
    return g / (v + ADAGRAD_OFFSET)


def times_root(
    n: NumpyArithmetic, g: Operand, v: Operand | None, step: Step
) -> Operand:
    """Return the direction of Adagrad times the root, not over it."""
    if not step.adagrad or v is None:
        return right.direction(n, g, v, step)
    return g * np.sqrt(v + ADAGRAD_OFFSET)


def with_nesterov(
    n: NumpyArithmetic, g: Operand, v: Operand | None, step: Step
) -> Operand:
    """Return the direction of Nesterov in any step with momentum."""
    return right.direction(n, g, v, step._replace(nesterov=True))


def by_larger_factor(n: NumpyArithmetic, d: NamedOperands, step: Step) -> NamedOperands:
    """Return gradients that max for min makes no smaller."""
    if step.max_norm is None:
        return right.clipped(n, d, step)
    factor = step.max_norm / (n.norm(list(d.values())) + NORM_OFFSET)
    return {name: n.expand(np.maximum(1, factor), g) * g for name, g in d.items()}


def by_transposed(
    n: NumpyArithmetic, name: str, theta: Operand, delta: Operand, step: Step
) -> Operand:
    """Return the parameter after a step by the transpose of Δ for W_hh."""
    if name == "W_hh":
        delta = delta.mT
    return right.updated(n, name, theta, delta, step)


def rate_in_velocity(
    n: NumpyArithmetic, g: Operand, before: Operand | None, step: Step
) -> Operand:
    """Return a velocity of steps, not of gradients."""
    if step.adagrad:
        return right.velocity(n, g, before, step)
    return right.velocity(n, n.rate(step, g) * g, before, step)


def without_rate(
    n: NumpyArithmetic, name: str, theta: Operand, delta: Operand, step: Step
) -> Operand:
    """Return the parameter less its velocity, which has the rate."""
    if step.adagrad or not step.momentum:
        return right.updated(n, name, theta, delta, step)
    return theta - delta


def from_older_velocity(
    n: NumpyArithmetic, g: Operand, v: Operand | None, step: Step
) -> Operand:
    """Return the direction of Nesterov without the gradient: μ v."""
    if v is None or not step.nesterov:
        return right.direction(n, g, v, step)
    return step.momentum * v


STEP_MUTANTS = (
    Mutant("clipping per tensor", {"clipped": clipped_per_tensor}),
    Mutant("clipping also scales up", {"clipped": without_upper_limit}),
    Mutant(
        "decoupled weight decay",
        {"decayed": lambda n, g, theta, step: g, "updated": decoupled},
    ),
    Mutant("weight decay before clipping", {"step_gradients": decayed_before_clipping}),
    Mutant("no weight decay of the biases", {"decayed": without_decay_of_biases}),
    Mutant("velocity μ v + (1 − μ) g", averaged(None)),
    Mutant("velocity μ v + (1 − μ) g after the first", averaged(1.0)),
    Mutant("Nesterov's step, though it is not asked for", {"direction": with_nesterov}),
    Mutant("the root of Adagrad multiplies", {"direction": times_root}),
    Mutant("the gradient of W_hh transposed in the step", {"updated": by_transposed}),
    Mutant("dampening at the first step too", {"velocity": dampened_first}),
    Mutant(
        "learning rate inside the velocity",
        {"velocity": rate_in_velocity, "updated": without_rate},
    ),
    Mutant("μ v alone for Nesterov's g + μ v", {"direction": from_older_velocity}),
    Mutant("the root of Adagrad left out", {"direction": by_offset_root}),
)
# Tried after the options that are left out, which are alike where every norm is large.
LATE_STEP_MUTANTS = (
    Mutant("clipping by the larger factor", {"clipped": by_larger_factor}),
)
