"""The mutants: mistakes that people make, each as the definition with other equations.

Every one is found by the suite, at its stage.
"""

import numpy as np

from numpy_rnn.common.records import Window
from numpy_rnn.conformance.arithmetics.arithmetic import Operand, loss_divisor
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import (
    ADAGRAD_OFFSET,
    NORM_OFFSET,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import GRADIENTS, Definition, Steps, Tensors
from numpy_rnn.conformance.mutants.edits import (
    FLOW,
    Mutant,
    changed,
    changed_loss,
    neighbours,
    operands,
    operating,
    reading,
    slope,
    with_weights,
)


def transposed(value):
    """Return matrices with rows for columns."""
    return value.mT


# -- losses


def softmax_over_batch(L, dy, n, y, z, objective):
    """Return the loss of a softmax over the sequences."""
    log_p, C = n.softmax(y.mT)[0].mT, loss_divisor(y.shape, objective)
    dy = np.exp(log_p) * z.sum(-2, keepdims=True) - z
    return -(z * log_p).sum(axis=(0, -2, -1)) / C, dy / C


def twice_softmax(L, dy, n, y, z, objective):
    """Return the loss of a softmax of a softmax."""
    _, p = n.softmax(y)
    L, error = right.loss_and_error(n, p, z, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


# -- backward passes


def with_one_state(n, w, p, nonlinearity):
    """Let the states of all steps be one array, that of the last step."""
    w.h = dict.fromkeys(w.h, w.h[len(w.x)])
    n.tensors["h"] = {t: w.h[t] for t in w.steps}
    return right.backward(n, w, p, nonlinearity)


def each_loss_over(k: int, n, w, p, nonlinearity):
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


def forward_in_time(n, w, p, nonlinearity):
    """Let the loop of the backward pass begin with the first step."""

    def da_before(w: Tensors, name: str, s: int) -> Operand:
        """Return da of the step before; of the first one, zeros."""
        return w.da.get(s - 2, n.zeros(w.a[1]))

    w.steps = w.steps[::-1]
    other = Definition(**reading(["state_adjoint"], "da", da_before))
    return other.backward(n, w, p, nonlinearity)


def outside_of_slope(n, w, p, nonlinearity):
    """Multiply only the error of the step itself by φ′."""

    def adjoint(n, w, t, phi):
        """Return da: φ′ times dh without the flow of the step after, and the flow."""
        flow = w.da[t + 1] @ p.W_hh.mT
        return n.by_slope(w.dh[t] - flow, w.a[t], w.h[t], phi) + flow

    other = Definition(pre_activation_adjoint=adjoint)
    return other.backward(n, w, p, nonlinearity)


def in_single(v: Operand, t: int, T: int) -> Operand:
    """Return numbers that were float32."""
    return v.astype(np.float32).astype(v.dtype)


# -- steps


def clipped_per_tensor(value, n, d, p, step):
    """Return gradients of which each has been clipped by its norm."""
    return {name: right.clipped(n, {name: g}, p, step)[name] for name, g in d.items()}


def with_decay(n, d, p, step):
    """Return the operands of clipping with gradients that have decayed."""
    decayed = {name: g + step.weight_decay * p[name] for name, g in d.items()}
    return n, decayed, p, step


def with_decay_of_change(n, name, theta, delta, step):
    """Return the operands of the update, with the weight decay in Δ."""
    return n, name, theta, delta + step.weight_decay * theta, step


UNDECAYED = changed("decayed", result=lambda value, n, name, g, *rest: g)

# -- loops


def kept_state(states: Steps, window: Window, epoch: int) -> Operand:
    """Return the last state of an epoch as the first of the next one."""
    is_kept = epoch > 1 and window.loss_start == 0
    return states[max(states) if is_kept else window.start]


MUTANTS = (
    Mutant(
        "W_hh used without its transpose",
        with_weights(FLOW, "W_hh", transposed),
        "dh",
    ),
    Mutant(
        "the flow back leaves out φ′",
        reading(FLOW, "da", lambda w, name, s: w.dh[s]),
        "dh",
    ),
    Mutant(
        "φ′ of the error of the step itself alone", {"backward": outside_of_slope}, "da"
    ),
    Mutant(
        "the flow back left out",
        reading(["state_adjoint"], "da", lambda w, name, s: 0 * w.da[s]),
        "dh",
    ),
    Mutant(
        "the backward pass runs forward in time", {"backward": forward_in_time}, "dh"
    ),
    Mutant(
        "h_t for h_{t-1} in dW_hh",
        reading([GRADIENTS["W_hh"]], "h", neighbours(1)),
        "dW_hh",
    ),
    Mutant("one state for all steps, in one list", {"backward": with_one_state}, "a"),
    Mutant(
        "state reset to zero at every window",
        {"carried_state": lambda states, window, epoch: 0 * states[window.start]},
        "initial",
    ),
    Mutant("state not reset between epochs", {"carried_state": kept_state}, "initial"),
    Mutant("softmax applied twice", changed_loss(twice_softmax), "loss"),
    Mutant(
        "softmax over the batch",
        changed_loss(softmax_over_batch),
        "loss",
    ),
    Mutant(
        "1 − h_{t-1}² for 1 − h_t²",
        reading(["pre_activation_adjoint"], "h", neighbours(-1)),
        "da",
    ),
    Mutant("1 − a² for φ′", slope(lambda phi, a, h: 1 - a * a), "da"),
    Mutant("1 − h for φ′", slope(lambda phi, a, h: 1 - h), "da"),
    Mutant("h (1 − h) for φ′", slope(lambda phi, a, h: h * (1 - h)), "da"),
    Mutant("φ′ left out", slope(lambda phi, a, h: 1.0), "da"),
    Mutant(
        "W_hh transposed throughout",
        with_weights(["pre_activation"], "W_hh", transposed),
        "a",
    ),
    Mutant(
        "zeros for h_0",
        reading(["pre_activation"], "h", lambda w, name, s: (s > 0) * w.h[s]),
        "a",
    ),
    Mutant("output read from h_{t-1}", reading(["output"], "h", neighbours(-1)), "y"),
    Mutant(
        "tanh of the outputs",
        changed("output", result=lambda y, *operands: np.tanh(y)),
        "y",
    ),
    Mutant(
        "loss of older steps included",
        {"adjoint_without_loss": lambda n, w, t: w.y[t]},
        "dy",
    ),
    Mutant(
        "dW_hh of numbers in float32",
        operands([GRADIENTS["W_hh"]], "h da")(in_single),
        "dW_hh",
    ),
    Mutant(
        "clipping without 10⁻⁶",
        operating("clipped", factor=lambda norm, c: np.minimum(1, c / norm)),
        "vW_xh",
    ),
    Mutant(
        "clipping per tensor", changed("clipped", result=clipped_per_tensor), "vW_xh"
    ),
    Mutant(
        "clipping also scales up",
        operating("clipped", factor=lambda norm, c: c / (norm + NORM_OFFSET)),
        "vW_xh",
    ),
    Mutant(
        "weight decay before clipping",
        UNDECAYED | changed("clipped", given=with_decay),
        "vW_xh",
    ),
    Mutant(
        "no weight decay of the biases",
        changed(
            "decayed",
            result=lambda value, n, name, g, *rest: g if name[0] == "b" else value,
        ),
        "vb_h",
    ),
    Mutant(
        "decoupled weight decay",
        UNDECAYED | changed("updated", given=with_decay_of_change),
        "vW_xh",
    ),
    Mutant(
        "learning rate inside the velocity",
        {
            **changed(
                "decayed", result=lambda g, n, _, __, p, step: n.rate(step, p) * g
            ),
            "updated": lambda n, name, theta, delta, step: theta - delta,
        },
        "vW_xh",
    ),
    Mutant(
        "nesterov forgotten, or from the velocity before the step",
        changed(
            "direction",
            result=lambda value, n, g, v, before, step: v if step.nesterov else value,
        ),
        "W_xh",
    ),
    Mutant(
        "dampening at the first step too",
        changed(
            "velocity",
            given=lambda n, g, v, step: (n, g, 0 * g if v is None else v, step),
        ),
        "vW_xh",
    ),
    Mutant(
        "10⁻⁸ outside the root",
        operating("direction", by_root=lambda g, v: g / (np.sqrt(v) + ADAGRAD_OFFSET)),
        "W_xh",
    ),
    Mutant(
        "bptt over k+1 steps",
        {"window": lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1)},
        "window",
    ),
    Mutant(
        "chunks instead of a sliding window",
        {"window": lambda T, new, k1, k2: right.window(T, new, k2, k2)},
        "window",
    ),
    Mutant(
        "state of the newest step at every window",
        {
            "carried_state": lambda states, window, epoch: states[
                window.loss_start if window.start else 0
            ]
        },
        "initial",
    ),
)
