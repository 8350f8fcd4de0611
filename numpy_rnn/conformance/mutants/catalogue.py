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
    Equations,
    Mutant,
    changed,
    changed_loss,
    neighbours,
    operating,
    reading,
    slope,
    with_step,
    with_weights,
)

FOLLOWED = 20  # sequences through which a leak is followed


def transposed(value):
    """Return matrices with rows for columns."""
    return value.mT


def of_dh(w: Tensors, name: str, s: int) -> Operand:
    """Return dh where another tensor is meant."""
    return w.dh[s]


def first_state(w: Tensors, name: str, s: int) -> Operand:
    """Return h_0 for the states of all steps."""
    return w.h[0]


def no_first_state(w: Tensors, name: str, s: int) -> Operand:
    """Return zeros for h_0."""
    return (s > 0) * w.h[s]


# -- losses


def reduced(reduction: str) -> Equations:
    """Return the loss with another reduction."""
    return with_step(lambda each: each._replace(reduction=reduction), "loss_and_error")


def mean_alone(L, dy, *given):
    """Return the mean of the losses, and the gradient of their sum."""
    mean, _ = reduced("mean")["loss_and_error"](*given)
    return mean, dy


def softmax_over_batch(L, dy, n, y, z, objective):
    """Return the loss of a softmax over the sequences."""
    log_p = n.log_softmax(y.mT).mT
    dy, C = (
        np.exp(log_p) * z.sum(-2, keepdims=True) - z,
        loss_divisor(y.shape, objective),
    )
    return -(z * log_p).sum(axis=(0, -2, -1)) / C, dy / C


def twice_softmax(L, dy, n, y, z, objective):
    """Return the loss of a softmax of a softmax."""
    p = np.exp(n.log_softmax(y))
    L, error = right.loss_and_error(n, p, z, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


# -- backward passes


def with_leak(n, w, p, nonlinearity):
    """Let the flow back from the first step of a sequence enter the last step of the
    previous one.
    """
    leak, d = n.zeros(w.a[1]), {}
    equation = changed(
        "state_adjoint", result=lambda dh, n, w, p, t: dh + leak * (t == len(w.x))
    )
    for _ in range(min(w.a[1].shape[-2], FOLLOWED)):
        d = Definition(**equation).backward(n, w, p, nonlinearity)
        dh_0 = n.seen["dh_0"][None]
        leak = np.concatenate((0 * dh_0[..., :1, :], dh_0[..., :-1, :]), axis=-2)
    return d


def with_one_state(n, w, p, nonlinearity):
    """Let the states of all steps be one array, that of the last step."""
    w.h = dict.fromkeys(w.h, w.h[len(w.x)])
    n.seen["h"] = {t: w.h[t] for t in w.steps}
    return right.backward(n, w, p, nonlinearity)


def from_adjoints(dh, n, w, p, nonlinearity):
    """Return the gradients of given dh."""
    other = Definition(state_adjoint=lambda n, w, p, t: dh[t])
    return other.backward(n, w, p, nonlinearity)


def each_loss_over(k: int, n, w, p, nonlinearity):
    """Let each loss go back over k steps, as in rnnlm of Britz 2015: dh_t = Σ_{j<k}
    g_{t,j} with

    g_{t,0} = dy_t W_hyᵀ, g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ.
    """
    g = {t: n.affine([(w.dy[t], p.W_hy.mT)]) for t in w.steps}
    dh = dict(g)
    for _ in range(k - 1):
        inner = {t: n.by_slope(g[t], w.a[t], w.h[t], nonlinearity) for t in g}
        g = {t: n.affine([(inner[t + 1], p.W_hh.mT)]) for t in w.steps if t + 1 in g}
        dh |= {t: dh[t] + g[t] for t in g}
    return from_adjoints(dh, n, w, p, nonlinearity)


def forward_in_time(n, w, p, nonlinearity):
    """Let the loop of the backward pass begin with the first step."""
    dh, da = Steps(), n.zeros(w.a[1])
    for t in w.steps:
        dh[t] = n.affine([(w.dy[t], p.W_hy.mT), (da, p.W_hh.mT)])
        da = n.by_slope(dh[t], w.a[t], w.h[t], nonlinearity)
    return from_adjoints(dh, n, w, p, nonlinearity)


def outside_of_slope(n, w, p, nonlinearity):
    """Multiply only the error of the step itself by φ′."""

    def adjoint(n, w, t, phi):
        """Return da: φ′ times dh without the flow of the step after, and the flow."""
        flow = n.affine([(w.da[t + 1], p.W_hh.mT)])
        return n.by_slope(w.dh[t] - flow, w.a[t], w.h[t], phi) + flow

    other = Definition(pre_activation_adjoint=adjoint)
    return other.backward(n, w, p, nonlinearity)


def with_input_rows(n, w, p, t):
    """Return the operands of dh with the first H rows of W_xh above W_hh, for W_hh."""
    rows = np.concatenate((p.W_xh, p.W_hh), axis=-2)
    return n, w, p._replace(W_hh=rows[..., : p.W_hh.shape[-1], :]), t


# -- steps


def in_single(dtype: type) -> Equations:
    """Return the sum of dW_hh in another dtype."""

    def total(n, w):
        """Return the sum of dW_hh in the dtype."""
        pairs = [(w.h[t - 1].astype(dtype).mT, w.da[t].astype(dtype)) for t in w.steps]
        return n.affine(pairs).astype(w.da[1].dtype)

    return {GRADIENTS["W_hh"]: total}


def clipped_per_tensor(value, n, d, p, step):
    """Return gradients of which each has been clipped by its own norm."""
    return {name: right.clipped(n, {name: g}, p, step)[name] for name, g in d.items()}


def with_decay(n, d, p, step):
    """Return the operands of clipping with gradients that have decayed."""
    decayed = {name: g + step.weight_decay * p[name] for name, g in d.items()}
    return n, decayed, p, step


def with_own_decay(n, name, theta, delta, step):
    """Return the operands of the update, with the weight decay in Δ."""
    return n, name, theta, delta + step.weight_decay * theta, step


def twice_for_b_h(n, name, theta, delta, step):
    """Return the operands of the update, with twice the Δ of the hidden bias."""
    return n, name, theta, 2 * delta if name == "b_h" else delta, step


UNDECAYED = changed("decayed", result=lambda value, n, name, g, *rest: g)

# -- loops


def older_losses(T: int, new: int, k1: int, k2: int) -> Window:
    """Return the window with the losses of all of its steps."""
    window = right.window(T, new, k1, k2)
    return Window(window.start, window.start, window.stop)


def newest_state(states: Steps, window: Window, epoch: int) -> Operand:
    """Return the newest state, not that at the start of the window."""
    return states[window.loss_start if window.start else 0]


def kept_state(states: Steps, window: Window, epoch: int) -> Operand:
    """Return the last state of an epoch as the first of the next one."""
    is_kept = epoch > 1 and window.loss_start == 0
    return states[max(states) if is_kept else window.start]


class Loop:
    """Mistakes of loops, which know what was before. They see each update of a run, in
    order.
    """

    def __init__(self) -> None:
        """Begin a run, before which nothing was."""
        self.past, self.flow, self.is_first = Steps(), Operand, True

    def carried_state(self, states: Steps, window: Window, epoch: int) -> Operand:
        """Note the window."""
        self.is_first, self.window = window.loss_start == 0, window
        if self.is_first:
            self.past = {}
        return right.carried_state(states, window, epoch)

    def pre_activation(self, n, w, p, t):
        """Keep the activations of older steps, which belong to other weights."""
        step = self.window.start + t
        if step > self.window.loss_start or step not in self.past:
            self.past[step] = right.pre_activation(n, w, p, t)
        return self.past[step]

    def backward(self, n, w, p, nonlinearity):
        """Let dh of the last step begin with dh_0 of the window before."""
        flow = n.zeros(w.a[1]) if self.is_first else self.flow
        equation = changed(
            "state_adjoint", result=lambda dh, n, w, p, t: dh + flow * (t == len(w.x))
        )
        d = Definition(**equation).backward(n, w, p, nonlinearity)
        self.flow = n.seen["dh_0"][None]
        return d


def in_loop(equation: str) -> Equations:
    """Return an equation of a loop, which sees the windows."""
    loop = Loop()
    return {name: getattr(loop, name) for name in ("carried_state", equation)}


# name, stage and equations
MUTANT_ROWS: tuple[tuple[str, str, Equations], ...] = (
    (
        "W_hh used without its transpose",
        "dh",
        with_weights("state_adjoint", "W_hh", transposed)
        | with_weights("initial_state_adjoint", "W_hh", transposed),
    ),
    (
        "dh_next dropped",
        "dh",
        reading(["state_adjoint"], "da", lambda w, name, s: 0 * w.da[s]),
    ),
    (
        "the flow back leaves out φ′",
        "dh",
        reading(["state_adjoint", "initial_state_adjoint"], "da", of_dh),
    ),
    ("φ′ of the error of the step itself alone", "da", {"backward": outside_of_slope}),
    ("the backward pass runs forward in time", "dh", {"backward": forward_in_time}),
    (
        "h_t for h_{t-1} in dW_hh",
        "dW_hh",
        reading([GRADIENTS["W_hh"]], "h", neighbours(1)),
    ),
    ("the flow back leaks into the next sequence", "dh", {"backward": with_leak}),
    ("one state for all steps, in one list", "a", {"backward": with_one_state}),
    (
        "state reset to zero at every window",
        "initial",
        {"carried_state": lambda states, window, epoch: 0 * states[window.start]},
    ),
    ("state not reset between epochs", "initial", {"carried_state": kept_state}),
    ("mean for sum", "loss", reduced("mean")),
    ("sum for mean", "loss", reduced("sum")),
    ("mean of the losses, gradient of their sum", "loss", changed_loss(mean_alone)),
    ("2e for e", "dy", changed_loss(lambda L, dy, *_: (L, 2 * dy), "squared_error")),
    ("softmax applied twice", "loss", changed_loss(twice_softmax, "cross_entropy")),
    (
        "softmax over the batch",
        "loss",
        changed_loss(softmax_over_batch, "cross_entropy"),
    ),
    (
        "1 − h_{t-1}² for 1 − h_t²",
        "da",
        reading(["pre_activation_adjoint"], "h", neighbours(-1)),
    ),
    ("1 − a² for 1 − h²", "da", slope(lambda phi, a, h: 1 - a * a, "tanh")),
    ("1 − h for 1 − h²", "da", slope(lambda phi, a, h: 1 - h, "tanh")),
    ("h (1 − h) for 1 − h²", "da", slope(lambda phi, a, h: h * (1 - h), "tanh")),
    ("tanh′ missing", "da", slope(lambda phi, a, h: 1.0, "tanh")),
    ("relu′ missing", "da", slope(lambda phi, a, h: 1.0, "relu")),
    (
        "W_hh transposed throughout",
        "a",
        with_weights("pre_activation", "W_hh", transposed),
    ),
    ("zeros for h_0", "a", reading(["pre_activation"], "h", no_first_state)),
    (
        "h_0 for h_{t-1} at every step",
        "a",
        reading(["pre_activation"], "h", first_state),
    ),
    ("output read from h_{t-1}", "y", reading(["output"], "h", neighbours(-1))),
    (
        "tanh of the outputs",
        "y",
        changed("output", result=lambda y, *operands: np.tanh(y)),
    ),
    (
        "loss of older steps included",
        "dy",
        {"adjoint_without_loss": lambda n, w, t: w.y[t]},
    ),
    ("float32 accumulator inside float64", "dW_hh", in_single(np.float32)),
    (
        "clipping without 10⁻⁶",
        "vW_xh",
        operating("clipped", factor=lambda norm, c: np.minimum(1, c / norm)),
    ),
    ("clipping per tensor", "vW_xh", changed("clipped", result=clipped_per_tensor)),
    (
        "clipping also scales up",
        "vW_xh",
        operating("clipped", factor=lambda norm, c: c / (norm + NORM_OFFSET)),
    ),
    (
        "weight decay before clipping",
        "vW_xh",
        UNDECAYED | changed("clipped", given=with_decay),
    ),
    (
        "no weight decay of the biases",
        "vb_h",
        changed(
            "decayed",
            result=lambda value, n, name, g, *rest: g if name[0] == "b" else value,
        ),
    ),
    (
        "decoupled weight decay",
        "vW_xh",
        UNDECAYED | changed("updated", given=with_own_decay),
    ),
    (
        "learning rate inside the velocity",
        "vW_xh",
        {
            **changed(
                "decayed", result=lambda g, n, _, __, p, step: n.rate(step, p) * g
            ),
            "updated": lambda n, name, theta, delta, step: theta - delta,
        },
    ),
    (
        "nesterov forgotten, or from the velocity before the step",
        "W_xh",
        changed(
            "direction",
            result=lambda value, n, g, v, before, step: v if step.nesterov else value,
        ),
    ),
    (
        "dampening at the first step too",
        "vW_xh",
        changed(
            "velocity",
            given=lambda n, g, v, step: (n, g, 0 * g if v is None else v, step),
        ),
    ),
    (
        "10⁻⁸ outside the root",
        "W_xh",
        operating("direction", by_root=lambda g, v: g / (np.sqrt(v) + ADAGRAD_OFFSET)),
    ),
    ("a trained second hidden bias", "b_h", changed("updated", given=twice_for_b_h)),
    (
        "bptt over k+1 steps",
        "window",
        {"window": lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1)},
    ),
    (
        "chunks instead of a sliding window",
        "window",
        {"window": lambda T, new, k1, k2: right.window(T, new, k2, k2)},
    ),
    (
        "state of the newest step at every window",
        "initial",
        {"carried_state": newest_state},
    ),
    ("activations of stale weights kept", "a", in_loop("pre_activation")),
)
MUTANTS = tuple(
    Mutant(name, equations, stage) for name, stage, equations in MUTANT_ROWS
)
