"""The mutants of windows: mistakes that people make in the forward pass, the loss and
the gradients, each as the definition with other equations.
"""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Objective
from numpy_rnn.conformance.arithmetics.arithmetic import (
    NumpyArithmetic,
    Operand,
    loss_divisor,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import (
    GRADIENTS,
    Definition,
    NamedOperands,
    OperandParameters,
    Steps,
    Tensors,
)
from numpy_rnn.conformance.mutants.edits import (
    FLOW,
    Equations,
    Mutant,
    Replacement,
    instead,
    neighbours,
    reading,
    slope,
    with_operands,
    with_result,
    wrapped,
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


def over_batch(
    n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
) -> tuple[Operand, Operand]:
    """Return the loss of a softmax over the sequences, and its error."""
    if not objective.has_classes:
        return right.loss_and_error(n, y, target, objective)
    log_p, p = n.softmax(y.mT)
    C = loss_divisor(y.shape, objective)
    L = n.mean(-(target * log_p.mT), C)
    error = p.mT * target.sum(axis=-2, keepdims=True) - target
    return L, n.divided(error, C)


def without_target(
    n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
) -> tuple[Operand, Operand]:
    """Return the loss, and an error from which no target is subtracted."""
    L, _ = right.loss_and_error(n, y, target, objective)
    return L, right.loss_and_error(n, y, 0 * target, objective)[1]


def rolled_target(steps: int) -> Replacement:
    """Return what gives the operands of the loss with the targets of other steps."""
    return lambda n, y, target, objective: (
        n,
        y,
        np.roll(target, steps, axis=0),
        objective,
    )


def rolled_in_error(steps: int) -> Equations:
    """Return the loss, and an error with the targets of other steps."""

    def loss_and_error(
        n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Operand, Operand]:
        """Return the loss and the other error."""
        other = np.roll(target, steps, axis=0)
        L, _ = right.loss_and_error(n, y, target, objective)
        return L, right.loss_and_error(n, y, other, objective)[1]

    return {"loss_and_error": loss_and_error}


# Forward passes


def without_output_bias(
    n: NumpyArithmetic, w: Tensors, p: OperandParameters, t: int
) -> tuple[Any, ...]:
    """Return the operands of the outputs without their bias."""
    return n, w, p._replace(b_y=None), t


def previous_a(w: Tensors, name: str, s: int) -> Operand:
    """Return a_s for h_s; the initial state has no a."""
    return w.a[s] if s else w.h[0]


def transposed(value: Operand, *operands: Any) -> Operand:
    """Return a matrix with rows for columns."""
    return value.mT


def without_first_state(w: Tensors, name: str, s: int) -> Operand:
    """Return zeros for h_0, and the other states."""
    return (s > 0) * w.h[s]


def last_for_first(w: Tensors, name: str, s: int) -> Operand:
    """Return the last state for h_0, as h[t - 1] does at t = 0."""
    return w.h[len(w.x)] if s == 0 else w.h[s]


# Backward passes


def forward_in_time(
    n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
) -> NamedOperands:
    """Let the loop of the backward pass begin with the first step."""
    dh = Steps()
    da = n.zeros(w.a[1])
    for t in w.steps:
        dh[t] = n.affine([(w.dy[t], p.W_hy.mT), (da, p.W_hh.mT)])
        da = n.by_slope(dh[t], w.a[t], w.h[t], nonlinearity)
    other = Definition(state_adjoint=lambda n, w, p, t: dh[t])
    return other.backward(n, w, p, nonlinearity)


def outside_of_slope(
    n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
) -> NamedOperands:
    """Multiply only the error of the step itself by φ′, and not the flow back."""

    def adjoint(n: NumpyArithmetic, w: Tensors, t: int, phi: str) -> Operand:
        """Return φ′ times the error, and the flow of the step after."""
        flow = w.da[t + 1] @ p.W_hh.mT
        return n.by_slope(w.dh[t] - flow, w.a[t], w.h[t], phi) + flow

    other = Definition(pre_activation_adjoint=adjoint)
    return other.backward(n, w, p, nonlinearity)


def flow_by_other_slope(
    n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
) -> NamedOperands:
    """Let the flow back have the slope of the step that it enters."""

    def adjoint(n: NumpyArithmetic, w: Tensors, p: Any, t: int) -> Operand:
        """Return dh_t with this flow."""
        inner = n.by_slope(w.dh[t + 1], w.a[t], w.h[t], nonlinearity)
        return w.dy[t] @ p.W_hy.mT + inner @ p.W_hh.mT

    other = Definition(state_adjoint=adjoint)
    return other.backward(n, w, p, nonlinearity)


def adding_flow(
    n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
) -> NamedOperands:
    """Let the flow back be the sum of those from all later steps."""
    total = {len(w.x): n.zeros(w.a[1])}

    def adjoint(n: NumpyArithmetic, w: Tensors, p: Any, t: int) -> Operand:
        """Return dh_t with the sum of the flows."""
        if t < len(w.x):
            total[t] = total[t + 1] + w.da[t + 1] @ p.W_hh.mT
        return w.dy[t] @ p.W_hy.mT + total[t]

    other = Definition(state_adjoint=adjoint)
    return other.backward(n, w, p, nonlinearity)


def over_units(g: Operand, *operands: Any) -> Operand:
    """Return the sum over the units in the place of each."""
    return g.sum(axis=-1, keepdims=True) + 0 * g


def added_to_flow(name: str) -> Equations:
    """Return dh_t with the tensor of the step after instead of the flow through
    W_hh.
    """
    return {
        "state_adjoint": lambda n, w, p, t: (
            w.dy[t] @ p.W_hy.mT + getattr(w, name)[t + 1]
        )
    }


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


FORWARD_MUTANTS = (
    Mutant(
        "W_hh transposed throughout",
        with_operands(with_transposed_recurrence, "pre_activation"),
    ),
    Mutant("zeros for h_0", reading(["pre_activation"], "h", without_first_state)),
    Mutant(
        "h_0 for h_{t-1} at every step",
        reading(["pre_activation"], "h", lambda w, name, s: w.h[0]),
    ),
    Mutant("a_{t-1} for h_{t-1}", reading(["pre_activation"], "h", previous_a)),
    Mutant("x of the step before", reading(["pre_activation"], "x", wrapped(-1))),
    Mutant("x of the step after", reading(["pre_activation"], "x", neighbours(1))),
    Mutant("b_y left out of y", with_operands(without_output_bias, "output")),
    Mutant("φ left out", {"state": lambda n, w, t, nonlinearity: w.a[t]}),
    Mutant(
        "φ applied twice",
        {"state": lambda n, w, t, phi: n.phi(n.phi(w.a[t], phi), phi)},
    ),
    Mutant("output read from h_{t-1}", reading(["output"], "h", neighbours(-1))),
    Mutant("output read from a_t", reading(["output"], "h", instead("a"))),
    Mutant(
        "φ of the outputs",
        with_result(lambda y, n, *rest: n.phi(y, "tanh"), "output"),
    ),
)
LOSS_MUTANTS = (
    Mutant("softmax applied twice", {"loss_and_error": twice_softmax}),
    Mutant("softmax over the batch", {"loss_and_error": over_batch}),
    Mutant("the target not subtracted in dy", {"loss_and_error": without_target}),
    Mutant(
        "target of the step before",
        with_operands(rolled_target(1), "loss_and_error"),
    ),
    Mutant(
        "target of the step after",
        with_operands(rolled_target(-1), "loss_and_error"),
    ),
    Mutant("target of the step before in dy", rolled_in_error(1)),
    Mutant("target of the step after in dy", rolled_in_error(-1)),
    Mutant(
        "loss of older steps included",
        {"adjoint_without_loss": lambda n, w, t: w.y[t]},
    ),
)
FLOW_MUTANTS = (
    Mutant(
        "W_hh used without its transpose",
        with_operands(with_transposed_recurrence, *FLOW),
    ),
    Mutant(
        "the flow back leaves out φ′",
        reading(FLOW, "da", instead("dh")),
    ),
    Mutant(
        "the flow back left out",
        reading(["state_adjoint"], "da", lambda w, name, s: 0 * w.da[s]),
    ),
    Mutant("the flow back leaves out W_hh", added_to_flow("da")),
    Mutant("dh_{t+1} for the flow back", added_to_flow("dh")),
    Mutant("φ′ of step t for that of t + 1", {"backward": flow_by_other_slope}),
    Mutant("the flow back not multiplied by φ′", {"backward": outside_of_slope}),
    Mutant("the flow back adds up from step to step", {"backward": adding_flow}),
    Mutant("the backward pass runs forward in time", {"backward": forward_in_time}),
)
SLOPE_MUTANTS = (
    Mutant(
        "1 − h_{t-1}² for 1 − h_t²",
        reading(["pre_activation_adjoint"], "h", neighbours(-1)),
    ),
    Mutant("1 − a² for φ′", slope(lambda a, h: 1 - a * a)),
    Mutant("1 − h for φ′", slope(lambda a, h: 1 - h)),
    Mutant("h (1 − h) for φ′", slope(lambda a, h: h * (1 - h))),
    Mutant("φ′ left out", slope(lambda a, h: 1.0)),
    Mutant("1 − h² for φ′", slope(lambda a, h: 1 - h * h)),
    Mutant("1 + h² for φ′", slope(lambda a, h: 1 + h * h)),
    Mutant("h² for φ′", slope(lambda a, h: h * h)),
    Mutant("(1 − h)² for φ′", slope(lambda a, h: (1 - h) ** 2)),
    Mutant("1 − tanh(h)² for φ′", slope(lambda a, h: 1 - np.tanh(h) ** 2)),
    Mutant("a (1 − a) for φ′", slope(lambda a, h: a * (1 - a))),
    Mutant(
        "φ′ applied twice",
        {
            "pre_activation_adjoint": lambda n, w, t, phi: n.by_slope(
                n.by_slope(w.dh[t], w.a[t], w.h[t], phi), w.a[t], w.h[t], phi
            )
        },
    ),
)
GRADIENT_MUTANTS = (
    Mutant(
        "h_t for h_{t-1} in dW_hh",
        reading([GRADIENTS["W_hh"]], "h", neighbours(1)),
    ),
    Mutant(
        "the last state for h_0 in dW_hh, as h[t - 1] is at t = 0",
        reading([GRADIENTS["W_hh"]], "h", last_for_first),
    ),
    Mutant(
        "zeros for h_0 in dW_hh",
        reading([GRADIENTS["W_hh"]], "h", without_first_state),
    ),
    Mutant("dW_hh transposed", with_result(transposed, GRADIENTS["W_hh"])),
    Mutant(
        "a for h in dW_hh",
        reading([GRADIENTS["W_hh"]], "h", previous_a),
    ),
    Mutant(
        "x of the step before in dW_xh",
        reading([GRADIENTS["W_xh"]], "x", wrapped(-1)),
    ),
    Mutant(
        "x of the step after in dW_xh",
        reading([GRADIENTS["W_xh"]], "x", wrapped(1)),
    ),
    Mutant(
        "da of the step after in dW_xh",
        reading([GRADIENTS["W_xh"]], "da", lambda w, name, s: w.da[s + 1]),
    ),
    Mutant(
        "da of the step after in dW_hh",
        reading([GRADIENTS["W_hh"]], "da", lambda w, name, s: w.da[s + 1]),
    ),
    Mutant(
        "h_{t-1} for h_t in dW_hy",
        reading([GRADIENTS["W_hy"]], "h", neighbours(-1)),
    ),
    Mutant("a for h in dW_hy", reading([GRADIENTS["W_hy"]], "h", instead("a"))),
    Mutant(
        "dy of the step before in dW_hy",
        reading([GRADIENTS["W_hy"]], "dy", wrapped(-1)),
    ),
    Mutant("db_h summed over the units", with_result(over_units, GRADIENTS["b_h"])),
    Mutant("db_y summed over the outputs", with_result(over_units, GRADIENTS["b_y"])),
    Mutant("dh for da in db_h", reading([GRADIENTS["b_h"]], "da", instead("dh"))),
)
# The first of those that explain a wrong port is the hint: known mistakes come first.
WINDOW_MUTANTS = (
    *FLOW_MUTANTS[:3],
    *GRADIENT_MUTANTS[:1],
    *LOSS_MUTANTS,
    *SLOPE_MUTANTS,
    *FORWARD_MUTANTS,
    *FLOW_MUTANTS[3:],
    *GRADIENT_MUTANTS[1:],
)
