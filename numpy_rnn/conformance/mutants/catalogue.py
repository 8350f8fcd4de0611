"""The mutants: mistakes that people make, each as the definition with other equations.

MUTANTS are those that the suite must kill; `variants` and STEPS are for hints alone. Public code
often truncates differently from TBPTT(k1, k2):

    dh_t = Σ_{j<k} g_{t,j}, g_{t,0} = dy_t W_hyᵀ, g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ
    dh_t is that of (B2) for the newest k steps of a window, and 0 for the steps before

Source: the first, rnnlm of Britz 2015, also in ML-From-Scratch; the second, Deeplearning4j with
tBPTTBackwardLength below the forward one.
"""

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.format import pluralize
from numpy_rnn.common.records import NumpyArray, Run, Window
from numpy_rnn.conformance.arithmetics.arithmetic import divisor
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, Steps, train
from numpy_rnn.conformance.runs import RecordedRun, record

Equation = Callable[..., Any]
Equations = dict[str, Equation]
FORWARD = {"pre_activation", "state", "output"}
STEP_FIELDS = ("clipped", "decayed", "velocity", "direction", "updated")
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


def replace(w, **tensors: Any):
    """The tensors of a window with others in place of some."""
    other = copy(w)
    vars(other).update(tensors)
    return other


def changed(
    *fields: str, given: Equation | None = None, result: Equation | None = None
) -> Equations:
    """Equations of other operands, given(*operands), or with result(value, *operands) for value."""

    def equation(field, *operands):
        value = getattr(right, field)(*(given(*operands) if given else operands))
        return result(value, *operands) if result else value

    return {field: partial(equation, field) for field in fields}


def after(change: Equation, *fields: str) -> Equations:
    """Equations and then a function of their values."""
    return changed(*fields, result=lambda value, *operands: change(value))


def reading(field: str, tensor: str, of: Callable[[Any, int], Any]) -> Equations:
    """The equation with other values of a tensor; of(w, s): the one for step s, None for zeros."""

    def given(n, w, *rest):
        own = getattr(w, tensor)
        values = {s: 0 * own[s] if (value := of(w, s)) is None else value for s in own}
        return n, replace(w, **{tensor: values}), *rest

    return changed(field, given=given)


def with_p(field: str, name: str, change: Equation) -> Equations:
    """The equation with a function of a parameter in its place."""

    def given(n, w, p, t):
        theta = getattr(p, name)
        return n, w, p if theta is None else p._replace(**{name: change(theta)}), t

    return changed(field, given=given)


def flow(n, w, p, t):
    """The flow into dh_t from the step after."""
    return n.affine([(w.da[t + 1], p.W_hh.mT)])


def flow_back(change: Equation) -> Equations:
    """Another flow into dh_t from the step after: change(n, w, p, t)."""
    return {
        "state_adjoint": lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)]) + change(n, w, p, t),
        "initial_state_adjoint": lambda n, w, p: change(n, w, p, 0),
    }


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
    """A function of the right L and dy and of their operands; only: for this loss."""
    return changed("loss_and_error", result=lambda result, *operands: (
        change(*result, *operands) if only in ("", operands[-1].loss) else result))  # fmt: skip


def of_targets(change: Equation) -> Equations:
    """The loss of other targets."""
    return changed("loss_and_error", given=lambda n, y, z, objective: (n, y, change(z), objective))


def reduced(reduction: str) -> Equations:
    """The loss by this reduction."""
    return changed("loss_and_error", given=lambda *operands: (
        *operands[:-1], operands[-1]._replace(reduction=reduction)))  # fmt: skip


def of_steps(part: slice, L, dy, n, y, z, objective):
    """The loss of a part of the steps."""
    dy = np.zeros_like(y)
    L, dy[part] = right.loss_and_error(n, y[part], z[part], objective)
    return L, dy


def softmax_over(axis: int, L, dy, n, y, z, objective):
    """Softmax over another axis than that of the outputs."""
    log_p = np.moveaxis(n.log_softmax(np.moveaxis(y, axis, -1)), -1, axis)
    dy, N = np.exp(log_p) * z.sum(axis, keepdims=True) - z, divisor(y.shape, objective)
    return -(z * log_p).sum(axis=(0, -2, -1)) / N, dy / N


def twice_softmax(L, dy, n, y, z, objective):
    p = np.exp(n.log_softmax(y))
    L, error = right.loss_and_error(n, p, z, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


def with_log(c: float, L, dy, n, y, z, objective):
    """The logarithm of p + c."""
    terms = z * np.log(np.exp(n.log_softmax(y)) + c)
    return -terms.sum(axis=(0, -2, -1)) / divisor(y.shape, objective), dy


def clamped(c: float, v: NumpyArray) -> NumpyArray:
    """Numbers between ± c; outside, the derivative is 0."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))


def rounded(name: str, v: NumpyArray) -> NumpyArray:
    """The numbers in a shorter format, with their imaginary parts."""
    return v - v.real + v.real.astype(name).astype(v.real.dtype)


def with_step(change: Equation) -> Equations:
    """All equations of the step with another step."""
    return changed(*STEP_FIELDS, given=lambda *operands: (*operands[:-1], change(operands[-1])))


def by_norm(factor: Equation) -> Equations:
    """Clipping by a function of the norm, max_norm, n and the gradients."""

    def clipped(value, n, d, p, step):
        if step.max_norm is None:
            return value
        f = np.asarray(factor(n.norm(list(d.values())), step.max_norm, n, d))
        return {name: n.expand(f, g) * g for name, g in d.items()}

    return changed("clipped", result=clipped)


def by_root(change: Equation) -> Equations:
    """Adagrad's direction as another function of the gradient and the sum of squares."""
    return changed("direction", result=lambda value, n, g, v, before, step: (
        change(g, v) if step.adagrad else value))  # fmt: skip


def with_velocity(change: Equation) -> Equations:
    """Another velocity after the first update, a function of g, the one before, and the step."""
    return changed("velocity", result=lambda value, n, g, before, step: (
        value if before is None or step.adagrad else change(g, before, step)))  # fmt: skip


# -- mistakes that are more than an expression --------------------------------------------------


def with_leak(n, w, p, nonlinearity):
    """The flow back from the first step of a sequence enters the last step of the one before."""
    leak, d = n.zeros(w.a[1]), {}
    leaking = changed(
        "state_adjoint", result=lambda value, n, w, p, t: value + leak * (t == len(w.x))
    )
    for _ in range(min(w.a[1].shape[-2], 20)):
        d = Definition(**leaking).backward(n, w, p, nonlinearity)
        dh_0 = n.seen["dh_0"][None]
        leak = np.concatenate((0 * dh_0[..., :1, :], dh_0[..., :-1, :]), axis=-2)
    return d


def with_one_state(n, w, p, nonlinearity):
    """The states of all steps are one array, that of the last step."""
    w.h = dict.fromkeys(w.h, w.h[len(w.x)])
    n.seen["h"] = {t: w.h[t] for t in w.steps}
    return right.backward(n, w, p, nonlinearity)


def each_loss_over(k: int, n, w, p, nonlinearity):
    """Each loss goes back over k steps."""
    g = {t: n.affine([(w.dy[t], p.W_hy.mT)]) for t in w.steps}
    dh = dict(g)
    for _ in range(k - 1):
        inner = {t: n.by_slope(g[t], w.a[t], w.h[t], nonlinearity) for t in g}
        g = {t: n.affine([(inner[t + 1], p.W_hh.mT)]) for t in w.steps if t + 1 in g}
        dh |= {t: dh[t] + g[t] for t in g}
    return Definition(state_adjoint=lambda n, w, p, t: dh[t]).backward(n, w, p, nonlinearity)


def partly(is_part: Equation, n, w):
    """The operands of a gradient at some steps, or of some sequences, of dicts by step."""
    b = np.arange(w.x[1].shape[-2])[:, None]
    share = {t: is_part(t, len(w.x), b) for t in w.steps}
    da, dy = ({t: share[t] * tensor[t] for t in w.steps} for tensor in (w.da, w.dy))
    return n, replace(w, da=da, dy=dy)


def float32_sum(n, w):
    pairs = [(np.float32(w.h[t - 1]).mT, np.float32(w.da[t])) for t in w.steps]
    return n.affine(pairs).astype(w.da[1].dtype)


class Stale:
    """The activations of older steps are those of the windows before, of other weights."""

    def __init__(self) -> None:
        self.past, self.window = Steps(), Window(0, 0, 0)

    def carried_state(self, states, window, epoch):
        self.past, self.window = {} if window.loss_start == 0 else self.past, window
        return right.carried_state(states, window, epoch)

    def pre_activation(self, n, w, p, t):
        step = self.window.start + t
        if step > self.window.loss_start or step not in self.past:
            self.past[step] = right.pre_activation(n, w, p, t)
        return self.past[step]


_STALE = Stale()
UNDECAYED = changed("decayed", result=lambda value, n, name, g, theta, step: g)

# -- the catalogue ------------------------------------------------------------------------------

MUTANTS = tuple(Mutant(name, stage, equations) for name, stage, equations in (
    ("W_hh used without its transpose", "dh",
     flow_back(lambda n, w, p, t: n.affine([(w.da[t + 1], p.W_hh)]))),
    ("dh_next dropped", "dh",
     {"state_adjoint": lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])}),
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
    ("mean of the losses, gradient of their sum", "loss", loss(
     lambda L, dy, *given: (reduced("mean")["loss_and_error"](*given)[0], dy))),
    ("2e for e", "dy", loss(lambda L, dy, *_: (L, 2 * dy), "squared_error")),
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
    ("clipping per tensor", "vW_xh", changed("clipped", result=lambda value, n, d, p, step: {
     name: right.clipped(n, {name: g}, p, step)[name] for name, g in d.items()})),
    ("clipping also scales up", "vW_xh", by_norm(lambda norm, c, n, d: c / (norm + SMALL))),
    ("weight decay before clipping", "vW_xh", UNDECAYED | changed(
     "clipped", given=lambda n, d, p, step: (
         n, {name: g + step.weight_decay * p[name] for name, g in d.items()}, p, step))),
    ("no weight decay of the biases", "vb_h", changed(
     "decayed", result=lambda value, n, name, g, *rest: value if name.startswith("W") else g)),
    ("decoupled weight decay", "vW_xh", UNDECAYED | changed(
     "updated", given=lambda n, name, theta, delta, step: (
         n, name, theta, delta + step.weight_decay * theta, step))),
    ("learning rate inside the velocity", "vW_xh", {
     **changed("decayed", result=lambda g, n, name, _, theta, step: n.rate(step, theta) * g),
     "updated": lambda n, name, theta, delta, step: theta - delta}),
    ("nesterov forgotten, or from the velocity before the step", "W_xh", changed(
     "direction", result=lambda value, n, g, v, before, step: v if step.nesterov else value)),
    ("dampening at the first step too", "vW_xh", changed(
     "velocity", given=lambda n, g, v, step: (n, g, 0 * g if v is None else v, step))),
    ("10⁻⁸ outside the root", "W_xh", by_root(lambda g, v: g / (np.sqrt(v) + TINY))),
    ("a trained second hidden bias", "b_h", changed(
     "updated", given=lambda n, name, theta, delta, step: (
         n, name, theta, (1 + (name == "b_h")) * delta, step))),
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

CHANGES: Equations = {
    f"within ±{c:g}": partial(clamped, c) for c in (1, 5, 10, 20, 100, 0.1, 0.5, 2, 3)
}
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
    ("a_t", "h", "a_{t-1} for h_{t-1}", lambda w, s: w.a.get(s, w.h[0])),
    ("a_t", "x", "x_{t-1} for x_t", lambda w, s: w.x.get(s - 1)),
    ("a_t", "x", "x_{t+1} for x_t", lambda w, s: w.x.get(s + 1)),
    ("da_t", "h", "h_{t+1} for h_t", lambda w, s: w.h[min(s + 1, len(w.x))]),
    ("dW_hh", "h", "a_{t-1} for h_{t-1}", lambda w, s: w.a.get(s, w.h[0])),
    ("dW_hh", "da", "da_{t+1} for da_t", lambda w, s: w.da.get(s + 1)),
    ("dW_xh", "x", "x_{t-1} for x_t", lambda w, s: w.x.get(s - 1)),
    ("dW_xh", "x", "x_{t-1} for x_t, x_T at the first step,", lambda w, s: w.x[s - 1 or len(w.x)]),
    ("dW_hy", "h", "h_{t-1} for h_t", lambda w, s: w.h[max(s - 1, 0)]),
    *((f"d{name}", "da", "dh_t for da_t", lambda w, s: w.dh[s]) for name in HIDDEN),
)
OTHERS: dict[str, Equations] = {
    "dW_hh transposed": after(lambda g: g.mT, SUMS["W_hh"]),
    "dh_t for da_t in dW_xh, dW_hh, db_h": {field: equation for name in HIDDEN for field, equation
        in reading(SUMS[name], "da", lambda w, s: w.dh[s]).items()},
    "the flow back adds up from step to step": flow_back(
        lambda n, w, p, t: sum(flow(n, w, p, s) for s in range(t, len(w.x) + 1))),
    "the flow back of the other sign": flow_back(lambda *given: -flow(*given)),
    "the flow back twice": flow_back(lambda *given: 2 * flow(*given)),
    "the error of the last step alone flows back": changed(
        "state_adjoint", result=lambda dh, n, w, p, t: dh if t == len(w.x) else flow(n, w, p, t)),
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
    "a sigmoid for φ": phi(lambda a, f: 0.5 + 0.5 * np.tanh(0.5 * a)),
    "relu for φ": phi(lambda a, f: np.where(a.real > 0, a, 0)),
    "leaky relu for φ": phi(lambda a, f: np.where(a.real > 0, a, 0.01 * a)),
    "a_t without h_{t-1} W_hh": with_p("pre_activation", "W_hh", lambda v: 0 * v),
    "a_t without b_h": with_p("pre_activation", "b_h", lambda v: 0 * v),
    "y_t without b_y": with_p("output", "b_y", lambda v: 0 * v),
    "a sigmoid of the outputs": after(lambda y: 0.5 + 0.5 * np.tanh(0.5 * y), "output"),
    "targets one step late": of_targets(lambda z: np.roll(z, 1, 0)),
    "targets one step early": of_targets(lambda z: np.roll(z, -1, 0)),
    "targets reshaped for transposed": of_targets(
        lambda z: np.ascontiguousarray(np.moveaxis(z, 0, -2)).reshape(z.shape)),
    "the loss of the last step alone": loss(partial(of_steps, slice(-1, None))),
    "the loss of the first step alone": loss(partial(of_steps, slice(1))),
    "the loss without the last step": loss(partial(of_steps, slice(-1))),
    "the loss without the first step": loss(partial(of_steps, slice(1, None))),
    "p for p − target": loss(
        lambda L, dy, n, y, z, _: (L, np.exp(n.log_softmax(y))), "cross_entropy"),
    "(p − target) p (1 − p)": loss(lambda L, dy, n, y, z, _: (
        L, dy * np.exp(n.log_softmax(y)) * (1 - np.exp(n.log_softmax(y)))), "cross_entropy"),
    **{f"log(p + {c:g})": loss(partial(with_log, c), "cross_entropy")
       for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)},
}  # fmt: skip


def variants(steps: int) -> Iterator[Mutant]:
    """The other mistakes that a window may have; steps: of the longest window."""
    found = dict(OTHERS)
    for k in range(1, steps):
        words = pluralize(k, "step")
        each = f"each loss goes back over {words} (bptt_truncate = {k - 1})"
        found[each] = {"backward": partial(each_loss_over, k)}
        newest = f"the backward pass ends after the newest {words}"
        found[newest] = changed(
            "state_adjoint", result=lambda value, n, w, p, t, k=k: value * (t > len(w.x) - k)
        )
        alone = partial(partly, lambda t, T, b, k=k: t > T - k)
        found[f"the gradients of the newest {words} alone"] = changed(*SUMS.values(), given=alone)
        chunk = flow_back(lambda n, w, p, t, k=k: flow(n, w, p, t) * (t % k > 0))
        found[f"the flow back ends after every {words}"] = chunk
    for (text, is_part), (words, fields) in product(PARTS.items(), GROUPS.items()):
        found[f"{words} {text}"] = changed(*fields, given=partial(partly, is_part))
    for words, tensor, text, of in READS:
        name = text if words == "a_t" else f"{text} in {words}"
        found[name] = reading(RESULTS[words], tensor, of)
    for text, change in CHANGES.items():
        found |= {f"{words} {text}": after(change, field) for words, field in RESULTS.items()}
        found |= {f"{words} {text}": after(change, *fields) for words, fields in GROUPS.items()}
        found[f"the flow back {text}"] = flow_back(lambda *given, f=change: f(flow(*given)))
        found[f"targets {text}"] = of_targets(change)
        found[f"dy {text}"] = loss(lambda L, dy, *_, f=change: (L, f(dy)))
    yield from (Mutant(name, "", equations) for name, equations in found.items())


STEPS = tuple(Mutant(name, "", equations) for name, equations in {
    "a norm without its root": by_norm(lambda norm, c, n, d: np.minimum(1, c / (norm**2 + SMALL))),
    "the sum of the tensors' norms for the norm": by_norm(
        lambda norm, c, n, d: np.minimum(1, c / (sum(n.norm([g]) for g in d.values()) + SMALL))),
    "the largest number for the norm": by_norm(
        lambda norm, c, n, d: np.minimum(1, c / (max(abs(g).max() for g in d.values()) + SMALL))),
    "no root of the sum of squares": by_root(lambda g, v: g / (v + TINY)),
    "10⁻¹⁰ outside the root": by_root(lambda g, v: g / (np.sqrt(v) + 1e-10)),
    "the velocity of before left out": with_velocity(lambda g, v, s: g),
    "(1 − μ) g in the velocity": with_velocity(
        lambda g, v, s: s.momentum * v + (1 - s.momentum) * g),
    "the velocity of before without μ": with_velocity(lambda g, v, s: v + (1 - s.dampening) * g),
    "the sum of squares of before left out": changed(
        "velocity", given=lambda n, g, v, step: (n, g, None if step.adagrad else v, step)),
    "nesterov with the velocity before the step": changed(
        "direction", result=lambda value, n, g, v, before, step:
        g if before is None else g + step.momentum * before),
    "nesterov, though it is not asked for": changed(
        "direction", result=lambda value, n, g, v, before, step: g + step.momentum * v),
    "max_value for max_norm, or the other way round": with_step(
        lambda s: s._replace(max_norm=s.max_value, max_value=s.max_norm)),
    "nesterov left out": with_step(lambda s: s._replace(nesterov=False)),
    **{f"{name} left out": with_step(lambda s, n=name: s._replace(**{n: None}))
       for name in ("max_norm", "max_value")},
    **{f"{name} left out": with_step(lambda s, n=name: s._replace(**{n: 0.0}))
       for name in ("weight_decay", "momentum", "dampening")},
    **{f"{words} {name}": with_step(lambda s, n=name, f=f: s._replace(**{n: f * getattr(s, n)}))
       for name in ("weight_decay", "momentum", "dampening")
       for words, f in (("twice the", 2.0), ("half of the", 0.5), ("the negative", -1.0))},
    **{f"a weight decay of {c:g}": with_step(lambda s, c=c: s._replace(weight_decay=c))
       for c in (1e-5, 1e-4, 5e-4, 1e-3, 0.01, 0.1)},
}.items())  # fmt: skip
