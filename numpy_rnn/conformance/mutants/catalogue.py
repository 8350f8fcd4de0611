"""The mutants: mistakes that people make, each as the definition with other equations.

MUTANTS are those that the suite must kill; `variants` and `other_steps` are for hints alone. Public
code often truncates differently from TBPTT(k1, k2):

    dh_t = Σ_{j=0}^{k−1} g_{t,j}, g_{t,0} = dy_t W_hyᵀ, g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ
    dh_t is that of (B2) for the newest k steps of a window, and 0 for the steps before

Source: the first, rnnlm of Britz 2015, also in ML-From-Scratch; the second, Deeplearning4j with
tBPTTBackwardLength below the forward one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Run, Window
from numpy_rnn.conformance.arithmetics.arithmetic import divisor
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, Steps, train
from numpy_rnn.conformance.runs import RecordedRun, record

Equation = Callable[..., Any]
Equations = dict[str, Equation]
FORWARD = {"pre_activation", "state", "output"}
SUMS = {  # the equations of the gradients, by the parameters
    "W_xh": "input_weights_gradient",
    "W_hh": "recurrent_weights_gradient",
    "W_hy": "output_weights_gradient",
    "b_h": "hidden_bias_gradient",
    "b_y": "output_bias_gradient",
}
HIDDEN = ("W_xh", "W_hh", "b_h")


class Mutant(NamedTuple):
    """A mistake: other equations of the definition, by name."""

    name: str
    stage: str  # the tensor, or "window" or "initial", that is wrong
    equations: Equations

    @property
    def definition(self) -> Definition:
        """The definition with the mistake."""
        return Definition(**self.equations)

    @property
    def in_run(self) -> bool:
        """Whether it is visible only in a run of several updates."""
        return bool(self.equations.keys() & {"window", "carried_state"})

    @property
    def is_forward(self) -> bool:
        """Whether forward equations alone are wrong; by autograd the gradient is then exact."""
        return self.equations.keys() <= FORWARD


def named(name: str) -> Mutant:
    """The mutant of this name. Raises LookupError if there is none."""
    if found := [mutant for mutant in MUTANTS if mutant.name == name]:
        return found[0]
    raise LookupError(f"no mutant is called {name!r}")


def trace(of: Definition, run: Run) -> RecordedRun:
    """The run of a mutant, or of the definition itself."""
    return record(run, train(run, of=of))


# -- equations that are changed -----------------------------------------------------------------


def reading(field: str, tensor: str, of: Callable[[Any, int], Any]) -> Equations:
    """The equation with other values of a tensor; of(w, s): the one for step s, None for zeros."""

    def equation(n, w, *rest):
        own = getattr(w, tensor)
        values = {s: 0 * own[s] if (value := of(w, s)) is None else value for s in own}
        return getattr(right, field)(n, replace(w, **{tensor: values}), *rest)

    return {field: equation}


def with_p(field: str, name: str, change: Equation) -> Equations:
    """The equation with a function of a parameter in its place."""

    def equation(n, w, p, *rest):
        theta = getattr(p, name)
        theta = theta if theta is None else change(theta)
        return getattr(right, field)(n, w, p._replace(**{name: theta}), *rest)

    return {field: equation}


def after(change: Equation, *fields: str) -> Equations:
    """Equations and then a function of their values."""

    def equation(field, *given):
        return change(getattr(right, field)(*given))

    return {field: partial(equation, field) for field in fields}


def flow_back(change: Equation) -> Equations:
    """Another flow into dh_t from the step after: change(n, w, p, t)."""
    return {
        "state_adjoint": lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)]) + change(n, w, p, t),
        "initial_state_adjoint": lambda n, w, p: change(n, w, p, 0),
    }


def flow(n, w, p, t):
    """The right flow into dh_t from the step after."""
    return n.affine([(w.da[t + 1], p.W_hh.mT)])


def slope(change: Equation, only: str = "") -> Equations:
    """Another slope, a function of a, h and φ'; only: where this is the nonlinearity."""

    def pre_activation_adjoint(n, w, t, phi):
        one = n.by_slope(1.0, w.a[t], w.h[t], phi)
        return w.dh[t] * (change(w.a[t], w.h[t], one) if only in ("", phi) else one)

    return {"pre_activation_adjoint": pre_activation_adjoint}


def phi(change: Equation) -> Equations:
    """Another nonlinearity, a function of a and φ."""
    return {"state": lambda n, w, t, name: change(w.a[t], lambda a: n.phi(a, name))}


def loss(change: Equation, only: str = "") -> Equations:
    """Another L and dy, by a function of n, y, target and objective; only: for this loss."""

    def loss_and_error(n, y, target, objective):
        own = change if only in ("", objective.loss) else right.loss_and_error
        return own(n, y, target, objective)

    return {"loss_and_error": loss_and_error}


def of_targets(change: Equation) -> Equations:
    """The loss of other targets."""
    return loss(lambda n, y, z, objective: right.loss_and_error(n, y, change(z), objective))


def of_steps(part: slice) -> Equations:
    """The loss of a part of the steps."""

    def of_part(n, y, target, objective):
        dy = np.zeros_like(y)
        L, dy[part] = right.loss_and_error(n, y[part], target[part], objective)
        return L, dy

    return loss(of_part)


def of_error(change: Equation, only: str = "") -> Equations:
    """The right loss, with another dy: a function of dy, softmax(y) and the target."""

    def of_change(n, y, target, objective):
        L, dy = right.loss_and_error(n, y, target, objective)
        return L, change(dy, np.exp(n.log_softmax(y)), target)

    return loss(of_change, only)


def of_logarithm(c: float) -> Equations:
    """The logarithm of p + c in the cross-entropy."""

    def plus(n, y, target, objective):
        L, dy = right.loss_and_error(n, y, target, objective)
        logs = np.log(np.exp(n.log_softmax(y)) + c)
        return -(target * logs).sum(axis=(0, -2, -1)) / divisor(y.shape, objective), dy

    return loss(plus, "cross_entropy")


def reduced(of_loss: str, with_dy: bool = True) -> Equations:
    """The loss by this reduction, and dy too or by the right one."""

    def of_reductions(n, y, target, objective):
        L, dy = right.loss_and_error(n, y, target, objective._replace(reduction=of_loss))
        return L, dy if with_dy else right.loss_and_error(n, y, target, objective)[1]

    return loss(of_reductions)


def clamped(c: float, v: NumpyArray) -> NumpyArray:
    """Numbers between ± c; outside, the derivative is 0."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))


def rounded(name: str, v: NumpyArray) -> NumpyArray:
    """The numbers in a shorter format, with their imaginary parts."""
    return v - v.real + v.real.astype(name).astype(v.real.dtype)


def with_step(change: Equation) -> Equations:
    """All equations of the step with another step."""

    def equation(field, *given):
        return getattr(right, field)(*given[:-1], change(given[-1]))

    fields = ("clipped", "decayed", "velocity", "direction", "updated")
    return {field: partial(equation, field) for field in fields}


def by_norm(factor: Equation) -> Equations:
    """Clipping by a function of the norm, max_norm, n and the gradients."""

    def clipped(n, d, p, step):
        if step.max_norm is None:
            return right.clipped(n, d, p, step)
        f = np.asarray(factor(n.norm(list(d.values())), step.max_norm, n, d))
        return {name: n.expand(f, g) * g for name, g in d.items()}

    return {"clipped": clipped}


def by_root(change: Equation) -> Equations:
    """Adagrad's direction as another function of the gradient and the sum of squares."""
    return {"direction": lambda n, g, v, before, step: (
        change(g, v) if step.adagrad else right.direction(n, g, v, before, step))}  # fmt: skip


def with_velocity(change: Equation) -> Equations:
    """Another velocity after the first update, a function of g, the one before, and the step."""
    return {"velocity": lambda n, g, before, step: right.velocity(n, g, before, step)
            if before is None or step.adagrad else change(g, before, step)}  # fmt: skip


# -- mistakes that are more than an expression --------------------------------------------------


def with_leak(n, w, p, nonlinearity):
    """The flow back from the first step of a sequence enters the last step of the one before."""
    leak, d = n.zeros(w.a[1]), {}

    def leaking(n, w, p, t):
        return right.state_adjoint(n, w, p, t) + (leak if t == len(w.x) else 0)

    for _ in range(min(w.a[1].shape[-2], 20)):
        d = Definition(state_adjoint=leaking).backward(n, w, p, nonlinearity)
        dh_0 = n.seen["dh_0"][None]
        leak = np.concatenate((0 * dh_0[..., :1, :], dh_0[..., :-1, :]), axis=-2)
    return d


def with_one_state(n, w, p, nonlinearity):
    """The states of all steps are one array, that of the last step."""
    w.h = dict.fromkeys(w.h, w.h[len(w.x)])
    n.seen["h"] = {t: w.h[t] for t in w.steps}
    return right.backward(n, w, p, nonlinearity)


def each_loss_over(k, n, w, p, nonlinearity):
    """Each loss goes back over k steps."""
    g = {t: n.affine([(w.dy[t], p.W_hy.mT)]) for t in w.steps}
    dh = dict(g)
    for _ in range(k - 1):
        inner = {t: n.by_slope(g[t], w.a[t], w.h[t], nonlinearity) for t in g}
        g = {t: n.affine([(inner[t + 1], p.W_hh.mT)]) for t in w.steps if t + 1 in g}
        dh |= {t: dh[t] + g[t] for t in g}
    given = Definition(state_adjoint=lambda n, w, p, t: dh[t])
    return given.backward(n, w, p, nonlinearity)


def newest(field, k, n, w, *rest):
    """An adjoint, 0 before the newest k steps."""
    t = next(each for each in rest if isinstance(each, int))
    return getattr(right, field)(n, w, *rest) * (t > len(w.x) - k)


def twice_softmax(n, y, target, objective):
    p = np.exp(n.log_softmax(y))
    L, error = right.loss_and_error(n, p, target, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


def softmax_over(axis, n, y, target, objective):
    """Softmax over another axis than that of the outputs."""
    log_p = np.moveaxis(n.log_softmax(np.moveaxis(y, axis, -1)), -1, axis)
    N, error = divisor(y.shape, objective), np.exp(log_p) * target.sum(axis, keepdims=True) - target
    return -(target * log_p).sum(axis=(0, -2, -1)) / N, error / N


def decayed_before_clipping(n, d, p, step):
    decayed = {name: g + step.weight_decay * p[name] for name, g in d.items()}
    return right.clipped(n, decayed, p, step)


def clipped_by_tensor(n, d, p, step):
    return {name: g for each in d for name, g in right.clipped(n, {each: d[each]}, p, step).items()}


def float32_sum(n, w):
    pairs = [(np.float32(w.h[t - 1]).mT, np.float32(w.da[t])) for t in w.steps]
    return n.affine(pairs).astype(w.da[1].dtype)


class Stale:
    """The activations of older steps are those of the windows before, of other weights."""

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
UNDECAYED: Equations = {"decayed": lambda n, name, g, theta, step: g}

# -- the catalogue ------------------------------------------------------------------------------

MUTANTS = tuple(Mutant(name, stage, equations) for name, stage, equations in (
    ("W_hh used without its transpose", "dh",
     flow_back(lambda n, w, p, t: n.affine([(w.da[t + 1], p.W_hh)]))),
    ("dh_next dropped", "dh", {"state_adjoint": lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])}),
    ("the flow back leaves out φ′", "dh",
     flow_back(lambda n, w, p, t: n.affine([(w.dh[t + 1], p.W_hh.mT)]))),
    ("h_t for h_{t-1} in dW_hh", "dW_hh", reading(SUMS["W_hh"], "h", lambda w, s: w.h.get(s + 1))),
    ("the flow back leaks into the next sequence", "dh", {"backward": with_leak}),
    ("one state for all steps, in one list", "a", {"backward": with_one_state}),
    ("state reset at every window", "initial",
     {"carried_state": lambda states, window, epoch: 0 * states[window.start]}),
    ("state not reset between epochs", "initial", {"carried_state": lambda states, window, epoch:
     states[max(states) if epoch > 1 and window.loss_start == 0 else window.start]}),
    ("mean for sum", "loss", reduced("mean")),
    ("sum for mean", "loss", reduced("sum")),
    ("mean of the losses, gradient of their sum", "loss", reduced("mean", False)),
    ("2e for e", "dy", of_error(lambda dy, p, z: 2 * dy, "squared_error")),
    ("softmax applied twice", "loss", loss(twice_softmax, "cross_entropy")),
    ("softmax over the batch", "loss", loss(partial(softmax_over, -2), "cross_entropy")),
    ("1 − h_{t-1}² for 1 − h_t²", "da",
     reading("pre_activation_adjoint", "h", lambda w, s: w.h[max(s - 1, 0)])),
    ("1 − a² for 1 − h²", "da", slope(lambda a, h, s: 1 - a * a, "tanh")),
    ("tanh′ missing", "da", slope(lambda a, h, s: 1.0, "tanh")),
    ("relu′ missing", "da", slope(lambda a, h, s: 1.0, "relu")),
    ("W_hh transposed throughout", "a", with_p("pre_activation", "W_hh", lambda W: W.mT)),
    ("zeros for h_0", "a", reading("pre_activation", "h", lambda w, s: w.h[s] if s else None)),
    ("h_0 for h_{t-1} at every step", "a", reading("pre_activation", "h", lambda w, s: w.h[0])),
    ("output read from h_{t-1}", "y", reading("output", "h", lambda w, s: w.h[max(s - 1, 0)])),
    ("tanh of the outputs", "y", after(np.tanh, "output")),
    ("loss of older steps included", "dy", {"adjoint_without_loss": lambda n, w, t: w.y[t]}),
    ("float32 accumulator inside float64", "dW_hh", {SUMS["W_hh"]: float32_sum}),
    ("clipping without 10⁻⁶", "vW_xh", by_norm(lambda norm, c, n, d: np.minimum(1, c / norm))),
    ("clipping per tensor", "vW_xh", {"clipped": clipped_by_tensor}),
    ("clipping also scales up", "vW_xh", by_norm(lambda norm, c, n, d: c / (norm + SMALL))),
    ("weight decay before clipping", "vW_xh", {"clipped": decayed_before_clipping, **UNDECAYED}),
    ("no weight decay of the biases", "vb_h", {"decayed": lambda n, name, g, theta, step:
     right.decayed(n, name, g, theta, step) if name.startswith("W") else g}),
    ("decoupled weight decay", "vW_xh", {**UNDECAYED, "updated": lambda n, name, theta, delta, step:
     right.updated(n, name, theta, delta + step.weight_decay * theta, step)}),
    ("learning rate inside the velocity", "vW_xh", {
        "decayed": lambda n, name, g, theta, step:
        n.rate(step, theta) * right.decayed(n, name, g, theta, step),
        "updated": lambda n, name, theta, delta, step: theta - delta}),
    ("nesterov forgotten, or from the velocity before the step", "W_xh", {
        "direction": lambda n, g, v, before, step:
        v if step.nesterov else right.direction(n, g, v, before, step)}),
    ("dampening at the first step too", "vW_xh", {"velocity": lambda n, g, before, step:
     right.velocity(n, g, 0 * g if before is None else before, step)}),
    ("10⁻⁸ outside the root", "W_xh", by_root(lambda g, v: g / (np.sqrt(v) + TINY))),
    ("a trained second hidden bias", "b_h", {"updated": lambda n, name, theta, delta, step:
     right.updated(n, name, theta, (1 + (name == "b_h")) * delta, step)}),
    ("bptt over k+1 steps", "window",
     {"window": lambda T, new, k1, k2: right.window(T, new, k1, k2 + 1)}),
    ("chunks instead of a sliding window", "window",
     {"window": lambda T, new, k1, k2: right.window(T, new, k2, k2)}),
    ("sliding window starts from the newest state", "initial", {"carried_state":
     lambda states, window, epoch: states[window.loss_start if window.start else 0]}),
    ("activations of stale weights kept", "a",
     {"carried_state": _STALE.carried_state, "pre_activation": _STALE.pre_activation}),
))  # fmt: skip

# -- variants -----------------------------------------------------------------------------------

CHANGES: Equations = {f"within ±{c:g}": partial(clamped, c) for c in (1, 5, 10, 100, 0.1, 0.5, 2, 3, 20)}
CHANGES |= {f"rounded to {name}": partial(rounded, name) for name in ("float32", "float16")}
RESULTS = {"a_t": "pre_activation", "h_t": "state", "y_t": "output", "dh_t": "state_adjoint"}
RESULTS |= {"da_t": "pre_activation_adjoint"} | {f"d{name}": field for name, field in SUMS.items()}
GROUPS = {  # gradients that are wrong together
    "the gradients": tuple(SUMS.values()),
    "dW_xh, dW_hh, db_h": tuple(SUMS[name] for name in HIDDEN),
    **{f"d{name}": (field,) for name, field in SUMS.items()},
}
PARTS: Equations = {  # of the step, T, and the sequences
    "without the first step": lambda t, T, b: t > 1,
    "without the last step": lambda t, T, b: t < T,
    "of the first step alone": lambda t, T, b: t == 1,
    "of the last step alone": lambda t, T, b: t == T,
    "of the first sequence alone": lambda t, T, b: b == 0,
    "of the last sequence alone": lambda t, T, b: b == b.max(),
}
READS: tuple[tuple[str, str, str, Callable[[Any, int], Any]], ...] = (
    ("a_t", "h", "h_{t-2} for h_{t-1}", lambda w, s: w.h[max(s - 1, 0)]),
    ("a_t", "h", "a_{t-1} for h_{t-1}", lambda w, s: w.a.get(s, w.h[0])),
    ("a_t", "x", "x_{t-1} for x_t", lambda w, s: w.x.get(s - 1)),
    ("a_t", "x", "x_{t+1} for x_t", lambda w, s: w.x.get(s + 1)),
    ("a_t", "x", "the inputs in reversed order", lambda w, s: w.x[len(w.x) + 1 - s]),
    ("y_t", "h", "a_t for h_t", lambda w, s: w.a.get(s, w.h[0])),
    ("da_t", "h", "h_{t+1} for h_t", lambda w, s: w.h[min(s + 1, len(w.x))]),
    ("dW_hh", "h", "a_{t-1} for h_{t-1}", lambda w, s: w.a.get(s, w.h[0])),
    ("dW_hh", "h", "h_0 for h_{t-1}", lambda w, s: w.h[0]),
    ("dW_hh", "da", "da_{t+1} for da_t", lambda w, s: w.da.get(s + 1)),
    ("dW_xh", "x", "x_{t-1} for x_t", lambda w, s: w.x.get(s - 1)),
    ("dW_xh", "x", "x_{t+1} for x_t", lambda w, s: w.x.get(s + 1)),
    ("dW_hy", "h", "h_{t-1} for h_t", lambda w, s: w.h[max(s - 1, 0)]),
    ("dW_hy", "h", "a_t for h_t", lambda w, s: w.a.get(s, w.h[0])),
    ("dW_hy", "h", "h_T for h_t", lambda w, s: w.h[len(w.x)]),
    *((f"d{name}", "da", "dh_t for da_t", lambda w, s: w.dh[s]) for name in HIDDEN),
)
DH_FOR_DA = [reading(SUMS[name], "da", lambda w, s: w.dh[s]) for name in HIDDEN]
LAST_ERROR = {"state_adjoint": lambda n, w, p, t: (
    right.state_adjoint(n, w, p, t) if t == len(w.x) else flow(n, w, p, t))}  # fmt: skip
OTHERS: dict[str, Equations] = {
    "dW_hh transposed": after(lambda g: g.mT, SUMS["W_hh"]),
    "dh_t for da_t in dW_xh, dW_hh, db_h": DH_FOR_DA[0] | DH_FOR_DA[1] | DH_FOR_DA[2],
    "the flow back adds up from step to step": flow_back(
        lambda n, w, p, t: sum(flow(n, w, p, s) for s in range(t, len(w.x) + 1))
    ),
    "the flow back of the other sign": flow_back(lambda *given: -flow(*given)),
    "the flow back twice": flow_back(lambda *given: 2 * flow(*given)),
    "the error of the last step alone flows back": LAST_ERROR,
    "φ′ squared": slope(lambda a, h, s: s * s),
    "φ for φ′": slope(lambda a, h, s: h),
    "φ′ missing": slope(lambda a, h, s: 1.0),
    "1 − h² for φ′": slope(lambda a, h, s: 1 - h * h),
    "1 − h for φ′": slope(lambda a, h, s: 1 - h),
    "1 − tanh(h)² for φ′": slope(lambda a, h, s: 1 - np.tanh(h) ** 2),
    "h(1 − h) for φ′": slope(lambda a, h, s: h * (1 - h)),
    "a φ′ of 1 at a = 0": slope(lambda a, h, s: a >= 0),
    "no nonlinearity": phi(lambda a, f: a),
    "φ applied twice": phi(lambda a, f: f(f(a))),
    "tanh for φ": phi(lambda a, f: np.tanh(a)),
    "a sigmoid for φ": phi(lambda a, f: 0.5 + 0.5 * np.tanh(0.5 * a)),
    "relu for φ": phi(lambda a, f: np.where(a.real > 0, a, 0)),
    "leaky relu for φ": phi(lambda a, f: np.where(a.real > 0, a, 0.01 * a)),
    "a_t without h_{t-1} W_hh": with_p("pre_activation", "W_hh", lambda W: 0 * W),
    "a_t without b_h": with_p("pre_activation", "b_h", lambda b: 0 * b),
    "a_t with twice b_h": with_p("pre_activation", "b_h", lambda b: 2 * b),
    "y_t without b_y": with_p("output", "b_y", lambda b: 0 * b),
    "a sigmoid of the outputs": after(lambda y: 0.5 + 0.5 * np.tanh(0.5 * y), "output"),
    "targets one step late": of_targets(lambda z: np.roll(z, 1, 0)),
    "targets one step early": of_targets(lambda z: np.roll(z, -1, 0)),
    "targets in reversed order": of_targets(lambda z: z[::-1]),
    "targets reshaped for transposed": of_targets(
        lambda z: np.ascontiguousarray(np.moveaxis(z, 0, -2)).reshape(z.shape)
    ),
    "the loss of the last step alone": of_steps(slice(-1, None)),
    "the loss of the first step alone": of_steps(slice(1)),
    "the loss without the last step": of_steps(slice(-1)),
    "the loss without the first step": of_steps(slice(1, None)),
    "softmax over the steps": loss(partial(softmax_over, 0), "cross_entropy"),
    "p for p − target": of_error(lambda dy, p, z: p, "cross_entropy"),
    "(p − target) p (1 − p)": of_error(lambda dy, p, z: dy * p * (1 - p), "cross_entropy"),
    **{f"log(p + {c:g})": of_logarithm(c) for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)},
}


def variants(steps: int) -> Iterator[Mutant]:
    """The other mistakes that a window may have; steps: of the longest window."""

    def partly(field, is_part, n, w):
        b = np.arange(w.x[1].shape[-2])[:, None]
        share = {t: is_part(t, len(w.x), b) for t in w.steps}
        da, dy = ({t: share[t] * tensor[t] for t in w.steps} for tensor in (w.da, w.dy))
        return getattr(right, field)(n, replace(w, da=da, dy=dy))

    found = dict(OTHERS)
    for k in range(1, steps):
        words = f"{k} step{'s' * (k > 1)}"
        name = f"each loss goes back over {words} (bptt_truncate = {k - 1})"
        found[name] = {"backward": partial(each_loss_over, k)}
        name = f"the backward pass ends after the newest {words}"
        found[name] = {RESULTS["dh_t"]: partial(newest, RESULTS["dh_t"], k)}
        found[f"{name} and φ′"] = {RESULTS["da_t"]: partial(newest, RESULTS["da_t"], k)}
        chunk = flow_back(lambda n, w, p, t, k=k: flow(n, w, p, t) * (t % k > 0))
        found[f"the flow back ends after every {words}"] = chunk
    for (text, is_part), (words, fields) in product(PARTS.items(), GROUPS.items()):
        found[f"{words} {text}"] = {field: partial(partly, field, is_part) for field in fields}
    for words, tensor, text, of in READS:
        name = text if words == "a_t" else f"{text} in {words}"
        found[name] = reading(RESULTS[words], tensor, of)
    for text, change in CHANGES.items():
        found |= {f"{words} {text}": after(change, field) for words, field in RESULTS.items()}
        found |= {f"{words} {text}": after(change, *fields) for words, fields in GROUPS.items()}
        found[f"the flow back {text}"] = flow_back(lambda *given, f=change: f(flow(*given)))
        found[f"targets {text}"] = of_targets(change)
        found[f"dy {text}"] = of_error(lambda dy, p, z, f=change: f(dy))
    yield from (Mutant(name, "", equations) for name, equations in found.items())


STEPS: dict[str, Equations] = {
    "a norm without its root": by_norm(lambda norm, c, n, d: np.minimum(1, c / (norm**2 + SMALL))),
    "the sum of the tensors' norms for the norm": by_norm(
        lambda norm, c, n, d: np.minimum(1, c / (sum(n.norm([g]) for g in d.values()) + SMALL))
    ),
    "the largest number for the norm": by_norm(
        lambda norm, c, n, d: np.minimum(1, c / (max(abs(g).max() for g in d.values()) + SMALL))
    ),
    "no root of the sum of squares": by_root(lambda g, v: g / (v + TINY)),
    "10⁻¹⁰ outside the root": by_root(lambda g, v: g / (np.sqrt(v) + 1e-10)),
    "10⁻⁷ outside the root": by_root(lambda g, v: g / (np.sqrt(v) + 1e-7)),
    "the velocity of before left out": with_velocity(lambda g, v, s: g),
    "(1 − μ) g in the velocity": with_velocity(lambda g, v, s: s.momentum * v + (1 - s.momentum) * g),
    "the velocity of before without μ": with_velocity(lambda g, v, s: v + (1 - s.dampening) * g),
    "the sum of squares of before left out": {"velocity": lambda n, g, before, step: (
        right.velocity(n, g, None if step.adagrad else before, step))},
    "nesterov with the velocity before the step": {"direction": lambda n, g, v, before, step: (
        g + step.momentum * (0 * g if before is None else before))},
    "nesterov, though it is not asked for": {
        "direction": lambda n, g, v, before, step: g + step.momentum * v},
    "max_value for max_norm, or the other way round": with_step(
        lambda s: s._replace(max_norm=s.max_value, max_value=s.max_norm)
    ),
    **{f"a weight decay of {c:g}": with_step(lambda s, c=c: s._replace(weight_decay=c))
       for c in (1e-5, 1e-4, 5e-4, 1e-3, 0.01, 0.1)},
}  # fmt: skip
NUMBERS = {"max_norm": None, "max_value": None, "weight_decay": 0.0, "momentum": 0.0,
           "dampening": 0.0, "nesterov": False}  # fmt: skip


def other_steps() -> Iterator[Mutant]:
    """The other mistakes that a step may have."""
    found = dict(STEPS)
    for name, off in NUMBERS.items():
        found[f"{name} left out"] = with_step(lambda s, n=name, v=off: s._replace(**{n: v}))
        for words, f in {"twice the": 2.0, "half of the": 0.5, "the negative": -1.0}.items():
            own = with_step(lambda s, n=name, f=f: s._replace(**{n: getattr(s, n) and f * getattr(s, n)}))
            found[f"{words} {name}"] = own
    yield from (Mutant(name, "", equations) for name, equations in found.items())
