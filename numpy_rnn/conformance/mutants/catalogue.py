"""The mutants: mistakes that people make, each as the definition with other
equations.
"""

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from itertools import starmap
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import pluralize
from numpy_rnn.common.records import NumpyArray, Step, Window
from numpy_rnn.conformance.arithmetics.arithmetic import N, divisor
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import GRADIENTS, Definition, Steps, Tensors
from numpy_rnn.conformance.ports.abilities import SGD_OPTIONS

Equation = Callable[..., N]
Equations = dict[str, Equation]
FORWARD = {"pre_activation", "state", "output"}
STEP_FIELDS = ("clipped", "decayed", "velocity", "direction", "updated")


class Mutant(NamedTuple):
    """A mistake: other equations of the definition, by name."""

    name: str
    equations: Equations
    stage: str = ""  # the tensor, or "window" or "initial", that is wrong

    @property
    def definition(self) -> Definition:
        return Definition(**self.equations)

    @property
    def in_run(self) -> bool:
        """Whether it is visible only in a run of several updates."""
        return bool(self.equations.keys() & {"window", "carried_state"})


def replace(of, **attributes: Steps | Equation):
    """The tensors of a window, or operations, with others in place of some."""
    other = copy(of)
    vars(other).update(attributes)
    return other


def changed(
    *fields: str, given: Equation | None = None, result: Equation | None = None
) -> Equations:
    """Equations of other operands, given(*operands), or with result(value, *operands)
    for value.
    """

    def equation(field, *operands):
        value = getattr(right, field)(*(given(*operands) if given else operands))
        return result(value, *operands) if result else value

    return {field: partial(equation, field) for field in fields}


def after(change: Equation, *fields: str) -> Equations:
    """Equations and then a function of their values."""
    return changed(*fields, result=lambda value, *operands: change(value))


def reading(field: str, tensor: str, of: Callable[[Tensors, int], N]) -> Equations:
    """The equation with other values of a tensor; of(w, s): the one for step s."""
    return changed(
        field,
        given=lambda n, w, *rest: (
            n,
            replace(w, **{tensor: {s: of(w, s) for s in getattr(w, tensor)}}),
            *rest,
        ),
    )


def flow(n, w, p, t):
    """The flow into dh_t from the step after."""
    return n.affine([(w.da[t + 1], p.W_hh.mT)])


def flow_back(change: Equation) -> Equations:
    """Another flow into dh_t from the step after: change(n, w, p, t)."""
    return {
        "state_adjoint": lambda n, w, p, t: (
            n.affine([(w.dy[t], p.W_hy.mT)]) + change(n, w, p, t)
        ),
        "initial_state_adjoint": lambda n, w, p: change(n, w, p, 0),
    }


def slope(change: Equation, only: str) -> Equations:
    """Another slope, a function of a, where this is the nonlinearity."""
    return changed(
        "pre_activation_adjoint",
        result=lambda da, n, w, t, phi: w.dh[t] * change(w.a[t]) if phi == only else da,
    )


def loss(change: Equation, only: str = "") -> Equations:
    """A function of the right L and dy and of their operands; only: for this loss."""
    return changed(
        "loss_and_error",
        result=lambda result, *operands: (
            change(*result, *operands) if only in ("", operands[-1].loss) else result
        ),
    )


def reduced(reduction: str) -> Equations:
    return changed(
        "loss_and_error",
        given=lambda n, y, z, objective: (
            n,
            y,
            z,
            objective._replace(reduction=reduction),
        ),
    )


def loss_of_steps(part: slice, L, dy, n, y, z, objective):
    dy = np.zeros_like(y)
    L, dy[part] = right.loss_and_error(n, y[part], z[part], objective)
    return L, dy


def softmax_over_batch(L, dy, n, y, z, objective):
    log_p = n.log_softmax(y.mT).mT
    dy, C = np.exp(log_p) * z.sum(-2, keepdims=True) - z, divisor(y.shape, objective)
    return -(z * log_p).sum(axis=(0, -2, -1)) / C, dy / C


def twice_softmax(L, dy, n, y, z, objective):
    p = np.exp(n.log_softmax(y))
    L, error = right.loss_and_error(n, p, z, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


def clamped(c: float, v: NumpyArray) -> NumpyArray:
    """Numbers between ± c; outside, the derivative is 0."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))


def operating(field: str, **operations: Equation) -> Equations:
    """The equation with other operations of the numbers."""
    return changed(field, given=lambda n, *rest: (replace(n, **operations), *rest))


def with_leak(n, w, p, nonlinearity):
    """The flow back from the first step of a sequence enters the last step of the one
    before.
    """
    leak, d = n.zeros(w.a[1]), {}
    equation = changed(
        "state_adjoint", result=lambda dh, n, w, p, t: dh + leak * (t == len(w.x))
    )
    for _ in range(min(w.a[1].shape[-2], 20)):
        d = Definition(**equation).backward(n, w, p, nonlinearity)
        dh_0 = n.seen["dh_0"][None]
        leak = np.concatenate((0 * dh_0[..., :1, :], dh_0[..., :-1, :]), axis=-2)
    return d


def with_one_state(n, w, p, nonlinearity):
    """The states of all steps are one array, that of the last step."""
    w.h = dict.fromkeys(w.h, w.h[len(w.x)])
    n.seen["h"] = {t: w.h[t] for t in w.steps}
    return right.backward(n, w, p, nonlinearity)


def each_loss_over(k: int, n, w, p, nonlinearity):
    """Each loss goes back over k steps, as in rnnlm of Britz 2015: dh_t = Σ_{j<k}
    g_{t,j} with

    g_{t,0} = dy_t W_hyᵀ, g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ.
    """
    g = {t: n.affine([(w.dy[t], p.W_hy.mT)]) for t in w.steps}
    dh = dict(g)
    for _ in range(k - 1):
        inner = {t: n.by_slope(g[t], w.a[t], w.h[t], nonlinearity) for t in g}
        g = {t: n.affine([(inner[t + 1], p.W_hh.mT)]) for t in w.steps if t + 1 in g}
        dh |= {t: dh[t] + g[t] for t in g}
    return Definition(state_adjoint=lambda n, w, p, t: dh[t]).backward(
        n, w, p, nonlinearity
    )


def partial_sums(is_part: Equation, *fields: str) -> Equations:
    """Gradients of some steps alone: is_part(t, T)."""
    return changed(
        *fields,
        given=lambda n, w: (
            n,
            replace(
                w,
                **{
                    name: {
                        t: is_part(t, len(w.x)) * getattr(w, name)[t] for t in w.steps
                    }
                    for name in ("da", "dy")
                },
            ),
        ),
    )


class Loop:
    """Mistakes of loops, which know the epoch and what was before."""

    def __init__(self, resets: bool = False) -> None:
        self.resets, self.sums, self.past = resets, dict[str, NumpyArray](), Steps()

    def carried_state(self, states, window, epoch):
        self.is_first, self.epoch, self.window = window.loss_start == 0, epoch, window
        self.past = {} if self.is_first else self.past
        return right.carried_state(states, window, epoch)

    def pre_activation(self, n, w, p, t):
        """The activations of older steps are those of the windows before, of other
        weights.
        """
        step = self.window.start + t
        if step > self.window.loss_start or step not in self.past:
            self.past[step] = right.pre_activation(n, w, p, t)
        return self.past[step]

    def backward(self, n, w, p, nonlinearity):
        """The gradients are added to those before; resets: set to zero at
        every epoch.
        """
        d = right.backward(n, w, p, nonlinearity)
        is_new = self.is_first and (self.resets or self.epoch == 1)
        self.sums = d if is_new else {name: d[name] + self.sums[name] for name in d}
        return {name: n.see("d" + name, None, g) for name, g in self.sums.items()}

    def velocity(self, n, g, before, step):
        return right.velocity(n, g, None if self.is_first else before, step)

    def updated(self, n, name, theta, delta, step):
        return right.updated(n, name, theta, delta / self.epoch, step)


def in_loop(equation: str, **options: bool) -> Equations:
    loop = Loop(**options)
    return {name: getattr(loop, name) for name in ("carried_state", equation)}


UNDECAYED = changed("decayed", result=lambda value, n, name, g, theta, step: g)

ROWS: tuple[tuple[str, str, Equations], ...] = (  # name, stage and equations
    (
        "W_hh used without its transpose",
        "dh",
        flow_back(lambda n, w, p, t: n.affine([(w.da[t + 1], p.W_hh)])),
    ),
    (
        "dh_next dropped",
        "dh",
        {"state_adjoint": lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)])},
    ),
    (
        "the flow back leaves out φ′",
        "dh",
        flow_back(lambda n, w, p, t: n.affine([(w.dh[t + 1], p.W_hh.mT)])),
    ),
    (
        "h_t for h_{t-1} in dW_hh",
        "dW_hh",
        reading(GRADIENTS["W_hh"], "h", lambda w, s: w.h[min(s + 1, len(w.x))]),
    ),
    ("the flow back leaks into the next sequence", "dh", {"backward": with_leak}),
    ("one state for all steps, in one list", "a", {"backward": with_one_state}),
    (
        "state reset at every window",
        "initial",
        {"carried_state": lambda states, window, epoch: 0 * states[window.start]},
    ),
    (
        ("state not reset between epochs"),
        "initial",
        {
            "carried_state": lambda states, window, epoch: states[
                max(states) if epoch > 1 and window.loss_start == 0 else window.start
            ]
        },
    ),
    ("mean for sum", "loss", reduced("mean")),
    ("sum for mean", "loss", reduced("sum")),
    (
        "mean of the losses, gradient of their sum",
        "loss",
        loss(lambda L, dy, *given: (reduced("mean")["loss_and_error"](*given)[0], dy)),
    ),
    ("2e for e", "dy", loss(lambda L, dy, *_: (L, 2 * dy), "squared_error")),
    ("softmax applied twice", "loss", loss(twice_softmax, "cross_entropy")),
    ("softmax over the batch", "loss", loss(softmax_over_batch, "cross_entropy")),
    (
        "1 − h_{t-1}² for 1 − h_t²",
        "da",
        reading("pre_activation_adjoint", "h", lambda w, s: w.h[max(s - 1, 0)]),
    ),
    ("1 − a² for 1 − h²", "da", slope(lambda a: 1 - a * a, "tanh")),
    ("tanh′ missing", "da", slope(lambda a: 1.0, "tanh")),
    ("relu′ missing", "da", slope(lambda a: 1.0, "relu")),
    (
        ("W_hh transposed throughout"),
        "a",
        changed(
            "pre_activation",
            given=lambda n, w, p, t: (n, w, p._replace(W_hh=p.W_hh.mT), t),
        ),
    ),
    (
        "zeros for h_0",
        "a",
        reading("pre_activation", "h", lambda w, s: (s > 0) * w.h[s]),
    ),
    (
        ("h_0 for h_{t-1} at every step"),
        "a",
        reading("pre_activation", "h", lambda w, s: w.h[0]),
    ),
    (
        ("output read from h_{t-1}"),
        "y",
        reading("output", "h", lambda w, s: w.h[max(s - 1, 0)]),
    ),
    ("tanh of the outputs", "y", after(np.tanh, "output")),
    (
        ("loss of older steps included"),
        "dy",
        {"adjoint_without_loss": lambda n, w, t: w.y[t]},
    ),
    (
        "float32 accumulator inside float64",
        "dW_hh",
        {
            GRADIENTS["W_hh"]: lambda n, w: n.affine(
                [(np.float32(w.h[t - 1]).mT, np.float32(w.da[t])) for t in w.steps]
            ).astype(w.da[1].dtype)
        },
    ),
    (
        "clipping without 10⁻⁶",
        "vW_xh",
        operating("clipped", factor=lambda norm, c: np.minimum(1, c / norm)),
    ),
    (
        "clipping per tensor",
        "vW_xh",
        changed(
            "clipped",
            result=lambda value, n, d, p, step: {
                name: right.clipped(n, {name: g}, p, step)[name]
                for name, g in d.items()
            },
        ),
    ),
    (
        "clipping also scales up",
        "vW_xh",
        operating("clipped", factor=lambda norm, c: c / (norm + SMALL)),
    ),
    (
        "weight decay before clipping",
        "vW_xh",
        UNDECAYED
        | changed(
            "clipped",
            given=lambda n, d, p, step: (
                n,
                {name: g + step.weight_decay * p[name] for name, g in d.items()},
                p,
                step,
            ),
        ),
    ),
    (
        "no weight decay of the biases",
        "vb_h",
        changed(
            "decayed",
            result=lambda value, n, name, g, *rest: (
                value if name.startswith("W") else g
            ),
        ),
    ),
    (
        "decoupled weight decay",
        "vW_xh",
        UNDECAYED
        | changed(
            "updated",
            given=lambda n, name, theta, delta, step: (
                n,
                name,
                theta,
                delta + step.weight_decay * theta,
                step,
            ),
        ),
    ),
    (
        "learning rate inside the velocity",
        "vW_xh",
        {
            **changed(
                "decayed",
                result=lambda g, n, name, _, theta, step: n.rate(step, theta) * g,
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
        operating("direction", by_root=lambda g, v: g / (np.sqrt(v) + TINY)),
    ),
    (
        "a trained second hidden bias",
        "b_h",
        changed(
            "updated",
            given=lambda n, name, theta, delta, step: (
                n,
                name,
                theta,
                (1 + (name == "b_h")) * delta,
                step,
            ),
        ),
    ),
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
        "sliding window starts from the newest state",
        "initial",
        {
            "carried_state": lambda states, window, epoch: states[
                window.loss_start if window.start else 0
            ]
        },
    ),
    ("activations of stale weights kept", "a", in_loop("pre_activation")),
)
MUTANTS = tuple(
    Mutant(name, equations, stage) for name, stage, equations in ROWS
)  # to be killed

SUMS = {"the gradients": tuple(GRADIENTS.values())}
SUMS |= {f"d{name}": (field,) for name, field in GRADIENTS.items()}
LIMITS = (1, 5, 10, 20)  # of numbers that are clamped
PARTS: Equations = {
    "without the first step": lambda t, T: t > 1,
    "without the last step": lambda t, T: t < T,
    "of the first step alone": lambda t, T: t == 1,
    "of the last step alone": lambda t, T: t == T,
}
OTHERS: dict[str, Equations] = {
    "dh_t for da_t in db_h": reading(GRADIENTS["b_h"], "da", lambda w, s: w.dh[s]),
    "the error of the last step alone flows back": reading(
        "state_adjoint", "dy", lambda w, s: (s == len(w.x)) * w.dy[s]
    ),
    "dW_hh transposed": after(lambda g: g.mT, GRADIENTS["W_hh"]),
    "h_{t-1} for h_t in dW_hy": reading(
        GRADIENTS["W_hy"], "h", lambda w, s: w.h[max(s - 1, 0)]
    ),
    "the loss of the last step alone": loss(partial(loss_of_steps, slice(-1, None))),
    "the loss without the last step": loss(partial(loss_of_steps, slice(-1))),
    "1 − tanh(h)² for 1 − h²": slope(lambda a: 1 - np.tanh(np.tanh(a)) ** 2, "tanh"),
}
CLAMPED = SUMS | {"y_t": ("output",), "da_t": ("pre_activation_adjoint",)}
for c in LIMITS:
    OTHERS |= {
        f"{n} within ±{c}": after(partial(clamped, c), *of) for n, of in CLAMPED.items()
    }
    OTHERS[f"the flow back within ±{c}"] = flow_back(
        lambda *given, c=c: clamped(c, flow(*given))
    )
    given = partial(lambda c, n, y, z, objective: (n, y, clamped(c, z), objective), c)
    OTHERS[f"targets within ±{c}"] = changed("loss_and_error", given=given)
for words, fields in SUMS.items():
    OTHERS |= {
        f"{words} {text}": partial_sums(is_part, *fields)
        for text, is_part in PARTS.items()
    }


def window_mutants(steps: int, is_forward_right: bool = False) -> Iterator[Mutant]:
    """The mistakes that one window may have; steps: of the longest one."""
    known = FORWARD if is_forward_right else set[str]()
    every = (*MUTANTS, *starmap(Mutant, OTHERS.items()))
    yield from (m for m in every if not (m.in_run or m.equations.keys() <= known))
    for k in range(1, steps):
        words = pluralize(k, "step")
        found: dict[str, Equations] = {
            f"each loss goes back over {words} (bptt_truncate = {k - 1})": {
                "backward": partial(each_loss_over, k)
            },
            f"the backward pass ends after the newest {words}": changed(
                "state_adjoint",
                result=lambda dh, n, w, p, t, k=k: dh * (t > len(w.x) - k),
            ),
            f"the gradients of the newest {words} alone": partial_sums(
                lambda t, T, k=k: t > T - k, *GRADIENTS.values()
            ),
        }
        yield from starmap(Mutant, found.items())


STEPS = (
    *(m for m in MUTANTS if m.equations.keys() & {*STEP_FIELDS}),
    *starmap(
        Mutant,
        {
            "the velocity, or sum of squares, of before left out": changed(
                "velocity", given=lambda n, g, v, step: (n, g, None, step)
            ),
            "weight decay of the wrong sign": changed(
                "decayed",
                given=lambda *operands: (
                    *operands[:-1],
                    operands[-1]._replace(weight_decay=-operands[-1].weight_decay),
                ),
            ),
            **{
                f"{name} left out": changed(
                    *STEP_FIELDS,
                    given=lambda *operands, n=name, v=v: (
                        *operands[:-1],
                        operands[-1]._replace(**{n: v}),
                    ),
                )
                for name, v in Step._field_defaults.items()
                if name in SGD_OPTIONS or name == "max_value"
            },
        }.items(),
    ),
)
LOOPS = (
    *(mutant for mutant in MUTANTS if mutant.in_run),
    *starmap(
        Mutant,
        {
            "state reset at every window, to h_0": {
                "carried_state": lambda states, window, epoch: states[0]
            },
            "losses of older steps counted again": {
                "window": lambda *given: (lambda w: Window(w.start, w.start, w.stop))(
                    right.window(*given)
                )
            },
            "windows start a step late": {
                "window": lambda T, new, k1, k2: right.window(
                    T, new, k1, k2 - (new + k1 > k2)
                )
            },
            "the last, shorter window reaches back over k2 steps": {
                "window": lambda T, new, k1, k2: right.window(
                    T, new, k1, k2 + max(0, new + k1 - T)
                )
            },
            "gradients add up from update to update": in_loop("backward"),
            "gradients add up within an epoch": in_loop("backward", resets=True),
            "the velocity, or sum of squares, reset at every epoch": in_loop(
                "velocity"
            ),
            "the rate divided by the number of the epoch": in_loop("updated"),
        }.items(),
    ),
)
