"""The mutants: mistakes that people make, each as the definition with other functions in place of some equations.

They are sorted by how often they are met in public code and in ports.
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Run, Window, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Arrays,
    Definition,
    Equation,
    Steps,
    train,
    window_update,
)
from numpy_rnn.conformance.traces.recorder import RecordedRun, record


class Mutant(NamedTuple):
    """A mistake: a definition with other functions in place of some."""

    name: str
    stage: str  # the tensor, or "window" or "initial", that is wrong
    in_run: bool  # whether it is visible only in a run of several updates
    functions: dict[str, Equation]  # by the fields of Definition

    @property
    def definition(self) -> Definition:
        """The definition with the mistake."""
        return DEFINITION._replace(**self.functions)


def trace(of: Definition, run: Run) -> RecordedRun:
    """The run of a mutant, or of the definition itself."""

    def compute(case: WindowCase) -> tuple[Arrays, NumpyArray]:
        report = window_update(case, of=of)
        return report, report["h"]

    return record(run, train(run, compute, of))


def named(name: str) -> Mutant:
    """The mutant of this name. Raises LookupError if there is none."""
    if found := [mutant for mutant in MUTANTS if mutant.name == name]:
        return found[0]
    raise LookupError(f"no mutant is called {name!r}")


# -- mistakes that are not one expression -----------------------------------------------------------------------------


def with_leak(n, w, p, nonlinearity, of):
    """The flow back from the first step of a sequence enters the last step of the one before in the batch."""
    flow, d = n.zeros(w.a[1]), {}

    def leaking(n, w, p, t):
        return right.state_adjoint(n, w, p, t) + (flow if t == len(w.x) else 0)

    for _ in range(min(w.a[1].shape[-2], 20)):
        d = right.backward(n, w, p, nonlinearity, of._replace(state_adjoint=leaking))
        dh_0 = n.seen["dh_0"][None]
        flow = np.concatenate((0 * dh_0[..., :1, :], dh_0[..., :-1, :]), axis=-2)
    return d


def with_one_state(n, w, p, nonlinearity, of):
    """The states of all steps are one array, that of the last step."""
    w.h = dict.fromkeys(w.h, w.h[len(w.x)])
    n.seen["h"] = {t: w.h[t] for t in w.steps}
    return right.backward(n, w, p, nonlinearity, of)


def twice_softmax(n, y, target, weights, objective):
    if objective.loss != "cross_entropy":
        return right.loss_and_error(n, y, target, weights, objective)
    p = np.exp(n.log_softmax(y))
    loss, error = right.loss_and_error(n, p, target, weights, objective)
    return loss, p * (error - (p * error).sum(axis=-1, keepdims=True))


def softmax_over_batch(n, y, target, weights, objective):
    if objective.loss != "cross_entropy":
        return right.loss_and_error(n, y, target, weights, objective)
    N, log_p = n.divisor(y, weights, objective), n.log_softmax(y.mT).mT
    total = (weights * -(target * log_p)).sum(axis=(0, -2, -1))
    error = np.exp(log_p) * target.sum(axis=-2, keepdims=True) - target
    return total / (N if np.ndim(N) == 0 else N[0, ..., 0, 0]), weights * error / N


def with_reductions(loss, error):
    """The loss by one reduction and its gradient by another; None: as they should be."""

    def loss_and_error(n, y, target, weights, objective):
        L, dy = (
            right.loss_and_error(
                n,
                y,
                target,
                weights,
                objective._replace(reduction=reduction or objective.reduction),
            )
            for reduction in (loss, error)
        )
        return L[0], dy[1]

    return loss_and_error


def slope_tanh_output(n, y, target, weights, objective):
    loss, error = right.loss_and_error(n, y, target, weights, objective)
    return loss, error * (1 - y * y)


def twice_error(n, y, target, weights, objective):
    loss, error = right.loss_and_error(n, y, target, weights, objective)
    return loss, error * (2 if objective.loss == "squared_error" else 1)


def by_factor(factor):
    """Clipping by another function of the norm and max_norm."""

    def clipped(n, d, p, step):
        if step.max_norm is None:
            return right.clipped(n, d, p, step)
        f = factor(n.norm(list(d.values())), step.max_norm)
        return {name: n.expand(f, g) * g for name, g in d.items()}

    return clipped


def clipped_by_tensor(n, d, p, step):
    if step.max_norm is None:
        return right.clipped(n, d, p, step)
    return {name: n.expand(n.factor(n.norm([g]), step.max_norm), g) * g for name, g in d.items()}


def decayed_before_clipping(n, d, p, step):
    return right.clipped(
        n, {name: g + step.weight_decay * p[name] for name, g in d.items()}, p, step
    )


class Stale:
    """The activations of the older steps of a window are those of the windows before, of other weights."""

    def __init__(self) -> None:
        self.past, self.window = Steps[NumpyArray](), Window(0, 0, 0)

    def carried_state(self, states, window, epoch):
        self.past, self.window = {} if window.loss_start == 0 else self.past, window
        return right.carried_state(states, window, epoch)

    def pre_activation(self, n, w, p, t):
        step = self.window.start + t
        if step > self.window.loss_start or step not in self.past:
            self.past[step] = right.pre_activation(n, w, p, t)
        return self.past[step]


_STALE = Stale()


def mutant(name: str, stage: str, in_run: bool = False, **functions: Equation) -> Mutant:
    """A mutant with these functions."""
    return Mutant(name, stage, in_run, functions)


# -- the catalogue ----------------------------------------------------------------------------------------------------

MUTANTS = (
    mutant("W_hh used without its transpose", "dh",
           state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT), (w.da[t + 1], p.W_hh)]),
           initial_state_adjoint=lambda n, w, p: n.affine([(w.da[1], p.W_hh)])),
    mutant("dh_next dropped", "dh",
           state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])),
    mutant("the flow back leaves out φ′", "dh",
           state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT), (w.dh[t + 1], p.W_hh.mT)]),
           initial_state_adjoint=lambda n, w, p: n.affine([(w.dh[1], p.W_hh.mT)])),
    mutant("h_t for h_{t-1} in dW_hh", "dW_hh",
           recurrent_weights_gradient=lambda n, w: n.affine([(w.h[t].mT, w.da[t]) for t in w.steps])),
    mutant("the flow back leaks into the next sequence", "dh", backward=with_leak),
    mutant("one state for all steps, in one list", "a", backward=with_one_state),
    mutant("state reset at every window", "initial", in_run=True,
           carried_state=lambda states, window, epoch: 0 * states[window.start]),
    mutant("state not reset between epochs", "initial", in_run=True,
           carried_state=lambda states, window, epoch: states[
               max(states) if epoch > 1 and window.loss_start == 0 else window.start]),
    mutant("mean for sum", "loss", loss_and_error=with_reductions("mean", "mean")),
    mutant("sum for mean", "loss", loss_and_error=with_reductions("sum", "sum")),
    mutant("mean of the losses, gradient of their sum", "loss", loss_and_error=with_reductions("mean", None)),
    mutant("2e for e", "dy", loss_and_error=twice_error),
    mutant("softmax applied twice", "loss", loss_and_error=twice_softmax),
    mutant("softmax over the batch", "loss", loss_and_error=softmax_over_batch),
    mutant("1 − h_{t-1}² for 1 − h_t²", "da",
           pre_activation_adjoint=lambda n, w, p, t, phi: n.by_slope(w.dh[t], w.a[t], w.h[t - 1], phi)),
    mutant("1 − a² for 1 − h²", "da",
           pre_activation_adjoint=lambda n, w, p, t, phi: w.dh[t] * (1 - w.a[t] * w.a[t]) if phi == "tanh"
           else n.by_slope(w.dh[t], w.a[t], w.h[t], phi)),
    mutant("tanh′ missing", "da",
           pre_activation_adjoint=lambda n, w, p, t, phi: w.dh[t] if phi == "tanh"
           else n.by_slope(w.dh[t], w.a[t], w.h[t], phi)),
    mutant("relu′ missing", "da",
           pre_activation_adjoint=lambda n, w, p, t, phi: w.dh[t] if phi == "relu"
           else n.by_slope(w.dh[t], w.a[t], w.h[t], phi)),
    mutant("W_hh transposed throughout", "a",
           pre_activation=lambda n, w, p, t: n.affine([(w.x[t], p.W_xh), (w.h[t - 1], p.W_hh.mT)], p.b_h, p.b_hh),
           state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT), (w.da[t + 1], p.W_hh)]),
           recurrent_weights_gradient=lambda n, w: n.affine([(w.da[t].mT, w.h[t - 1]) for t in w.steps]),
           initial_state_adjoint=lambda n, w, p: n.affine([(w.da[1], p.W_hh)])),
    mutant("zeros for h_0", "a",
           pre_activation=lambda n, w, p, t: n.affine(
               [(w.x[t], p.W_xh), ((t > 1) * w.h[t - 1], p.W_hh)], p.b_h, p.b_hh),
           recurrent_weights_gradient=lambda n, w: n.affine([((t > 1) * w.h[t - 1].mT, w.da[t]) for t in w.steps])),
    mutant("h_0 for h_{t-1} at every step", "a",
           pre_activation=lambda n, w, p, t: n.affine([(w.x[t], p.W_xh), (w.h[0], p.W_hh)], p.b_h, p.b_hh),
           recurrent_weights_gradient=lambda n, w: n.affine([(w.h[0].mT, w.da[t]) for t in w.steps])),
    mutant("output read from h_{t-1}, and its gradient", "y",
           output=lambda n, w, p, t: n.affine([(w.h[t - 1], p.W_hy)], p.b_y),
           state_adjoint=lambda n, w, p, t: n.affine(
               [(w.dy[t + 1] if t < len(w.x) else 0 * w.dy[t], p.W_hy.mT), (w.da[t + 1], p.W_hh.mT)]),
           output_weights_gradient=lambda n, w: n.affine([(w.h[t - 1].mT, w.dy[t]) for t in w.steps]),
           initial_state_adjoint=lambda n, w, p: n.affine([(w.dy[1], p.W_hy.mT), (w.da[1], p.W_hh.mT)])),
    mutant("tanh of the outputs", "y",
           output=lambda n, w, p, t: np.tanh(n.affine([(w.h[t], p.W_hy)], p.b_y)),
           loss_and_error=slope_tanh_output),
    mutant("loss of older steps included", "dy", adjoint_without_loss=lambda n, w, t: w.y[t]),
    mutant("float32 accumulator inside float64", "dW_hh",
           recurrent_weights_gradient=lambda n, w: n.affine(
               [(np.float32(w.h[t - 1]).mT, np.float32(w.da[t])) for t in w.steps]).astype(w.da[1].dtype)),
    mutant("clipping without 10⁻⁶", "vW_xh",
           clipped=by_factor(lambda norm, max_norm: np.minimum(1, max_norm / norm))),
    mutant("clipping per tensor", "vW_xh", clipped=clipped_by_tensor),
    mutant("clipping also scales up", "vW_xh",
           clipped=by_factor(lambda norm, max_norm: max_norm / (norm + SMALL))),
    mutant("weight decay before clipping", "vW_xh",
           clipped=decayed_before_clipping, decayed=lambda n, name, g, theta, step: g),
    mutant("no weight decay of the biases", "vb_h",
           decayed=lambda n, name, g, theta, step: g + step.weight_decay * theta if name.startswith("W") else g),
    mutant("decoupled weight decay", "vW_xh",
           decayed=lambda n, name, g, theta, step: g,
           updated=lambda n, name, theta, delta, step: theta - n.rate(step, theta) * (
               delta + step.weight_decay * theta)),
    mutant("learning rate inside the velocity", "vW_xh",
           decayed=lambda n, name, g, theta, step: n.rate(step, theta) * (g + step.weight_decay * theta),
           updated=lambda n, name, theta, delta, step: theta - delta),
    mutant("nesterov forgotten, or from the velocity before the step", "W_xh",
           direction=lambda n, g, v, before, step: v if step.nesterov else right.direction(n, g, v, before, step)),
    mutant("dampening at the first step too", "vW_xh",
           velocity=lambda n, g, before, step: (1 - step.dampening) * g if before is None and not step.adagrad
           else right.velocity(n, g, before, step)),
    mutant("10⁻⁸ outside the root", "W_xh",
           direction=lambda n, g, v, before, step: g / (np.sqrt(v) + TINY) if step.adagrad
           else right.direction(n, g, v, before, step)),
    mutant("a trained second hidden bias", "b_h",
           updated=lambda n, name, theta, delta, step: theta - n.rate(step, theta) * (
               2 * delta if name == "b_h" else delta)),
    mutant("bptt over k+1 steps", "window", in_run=True,
           window=lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1)),
    mutant("chunks instead of a sliding window", "window", in_run=True,
           window=lambda T, new, k1, k2: right.window(T, new, k2, k2)),
    mutant("sliding window starts from the newest state", "initial", in_run=True,
           carried_state=lambda states, window, epoch: states[window.loss_start if window.start else 0]),
    mutant("activations of stale weights kept", "a", in_run=True,
           carried_state=_STALE.carried_state, pre_activation=_STALE.pre_activation),
)  # fmt: skip
