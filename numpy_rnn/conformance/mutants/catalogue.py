"""The mutants: mistakes that people make, each as the definition with other equations.

The suite finds every one in a tensor of its equations.
"""

from typing import Any

from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic, Operand
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import (
    GRADIENTS,
    Definition,
    NamedOperands,
    OperandParameters,
    Tensors,
)
from numpy_rnn.conformance.mutants.edits import (
    FLOW,
    Mutant,
    neighbours,
    reading,
    slope,
    with_operands,
)

# Operands


def with_transposed_recurrence(
    n: NumpyArithmetic, w: Tensors, p: OperandParameters, *step: int
) -> tuple[Any, ...]:
    """Return the operands of an equation with W_hhᵀ for W_hh."""
    return n, w, p._replace(W_hh=p.W_hh.mT), *step


# Losses


def twice_softmax(
    n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
) -> tuple[Operand, Operand]:
    """Return the loss of a softmax of a softmax, and its error."""
    _, p = n.softmax(y)
    L, error = right.loss_and_error(n, p, target, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


# Backward passes


def each_loss_over(
    k: int, n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
) -> NamedOperands:
    """Let each loss go back over k steps, as in rnnlm of Britz 2015: dh_t = Σ_{j<k}
    g_{t,j} with

    g_{t,0} = dy_t W_hyᵀ, g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ.
    """
    g = {t: w.dy[t] @ p.W_hy.mT for t in w.steps}
    dh = dict(g)
    for _ in range(1, k):
        inner = {t: n.by_slope(g[t], w.a[t], w.h[t], nonlinearity) for t in g}
        g = {t - 1: inner[t] @ p.W_hh.mT for t in inner if t > 1}
        for t in g:
            dh[t] = dh[t] + g[t]
    other = Definition(state_adjoint=lambda n, w, p, t: dh[t])
    return other.backward(n, w, p, nonlinearity)


# Steps


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


WINDOW_MUTANTS = (
    Mutant(
        "W_hh used without its transpose",
        with_operands(with_transposed_recurrence, *FLOW),
    ),
    Mutant(
        "the flow back leaves out φ′",
        reading(FLOW, "da", lambda w, name, s: w.dh[s]),
    ),
    Mutant(
        "the flow back left out",
        reading(["state_adjoint"], "da", lambda w, name, s: 0 * w.da[s]),
    ),
    Mutant(
        "h_t for h_{t-1} in dW_hh",
        reading([GRADIENTS["W_hh"]], "h", neighbours(1)),
    ),
    Mutant("softmax applied twice", {"loss_and_error": twice_softmax}),
    Mutant(
        "1 − h_{t-1}² for 1 − h_t²",
        reading(["pre_activation_adjoint"], "h", neighbours(-1)),
    ),
    Mutant("1 − a² for φ′", slope(lambda a, h: 1 - a * a)),
    Mutant("1 − h for φ′", slope(lambda a, h: 1 - h)),
    Mutant("h (1 − h) for φ′", slope(lambda a, h: h * (1 - h))),
    Mutant("φ′ left out", slope(lambda a, h: 1.0)),
    Mutant(
        "W_hh transposed throughout",
        with_operands(with_transposed_recurrence, "pre_activation"),
    ),
    Mutant(
        "zeros for h_0",
        reading(["pre_activation"], "h", lambda w, name, s: (s > 0) * w.h[s]),
    ),
    Mutant("output read from h_{t-1}", reading(["output"], "h", neighbours(-1))),
    Mutant(
        "loss of older steps included",
        {"adjoint_without_loss": lambda n, w, t: w.y[t]},
    ),
)
STEP_MUTANTS = (
    Mutant("clipping per tensor", {"clipped": clipped_per_tensor}),
    Mutant(
        "decoupled weight decay",
        {"decayed": lambda n, g, theta, step: g, "updated": decoupled},
    ),
)
MUTANTS = (*WINDOW_MUTANTS, *STEP_MUTANTS)
