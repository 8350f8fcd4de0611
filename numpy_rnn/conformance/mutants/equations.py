"""Other equations: the parts from which the mutants of the catalogue are made."""

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.arithmetics.arithmetic import Operand, loss_divisor
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import Definition, Steps, Tensors

Replacement = Callable[..., Operand]
Equations = dict[str, Replacement]
FORWARD_EQUATIONS = {"pre_activation", "state", "output"}
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


def replace(of, **attributes: Steps | Replacement):
    """The tensors of a window, or operations, with others in place of some."""
    other = copy(of)
    vars(other).update(attributes)
    return other


def changed(
    *fields: str, given: Replacement | None = None, result: Replacement | None = None
) -> Equations:
    """Equations of other operands, given(*operands), or with result(value, *operands)
    for value.
    """

    def equation(field, *operands):
        value = getattr(right, field)(*(given(*operands) if given else operands))
        return result(value, *operands) if result else value

    return {field: partial(equation, field) for field in fields}


def after(change: Replacement, *fields: str) -> Equations:
    """Equations and then a function of their values."""
    return changed(*fields, result=lambda value, *operands: change(value))


def with_step(change: Replacement, *fields: str) -> Equations:
    """Equations of another step, change(step), which is their last operand."""
    return changed(*fields, given=lambda *given: (*given[:-1], change(given[-1])))


def reading(
    field: str, tensor: str, of: Callable[[Tensors, int], Operand]
) -> Equations:
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


def flow_back(change: Replacement) -> Equations:
    """Another flow into dh_t from the step after: change(n, w, p, t)."""
    return {
        "state_adjoint": lambda n, w, p, t: (
            n.affine([(w.dy[t], p.W_hy.mT)]) + change(n, w, p, t)
        ),
        "initial_state_adjoint": lambda n, w, p: change(n, w, p, 0),
    }


def slope(change: Replacement, only: str) -> Equations:
    """Another slope, a function of a, where this is the nonlinearity."""
    return changed(
        "pre_activation_adjoint",
        result=lambda da, n, w, t, phi: w.dh[t] * change(w.a[t]) if phi == only else da,
    )


def changed_loss(change: Replacement, only: str = "") -> Equations:
    """A function of the right L and dy and of their operands; only: for this loss."""
    return changed(
        "loss_and_error",
        result=lambda result, *operands: (
            change(*result, *operands) if only in ("", operands[-1].loss) else result
        ),
    )


def reduced(reduction: str) -> Equations:
    """The loss with another reduction; its options are its last operand."""
    return with_step(lambda each: each._replace(reduction=reduction), "loss_and_error")


def loss_of_steps(part: slice, L, dy, n, y, z, objective):
    dy = np.zeros_like(y)
    L, dy[part] = right.loss_and_error(n, y[part], z[part], objective)
    return L, dy


def softmax_over_batch(L, dy, n, y, z, objective):
    log_p = n.log_softmax(y.mT).mT
    dy, C = (
        np.exp(log_p) * z.sum(-2, keepdims=True) - z,
        loss_divisor(y.shape, objective),
    )
    return -(z * log_p).sum(axis=(0, -2, -1)) / C, dy / C


def twice_softmax(L, dy, n, y, z, objective):
    p = np.exp(n.log_softmax(y))
    L, error = right.loss_and_error(n, p, z, objective)
    return L, p * (error - (p * error).sum(axis=-1, keepdims=True))


def clamped(c: float, v: NumpyArray) -> NumpyArray:
    """Numbers between ± c; outside, the derivative is 0."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))


def operating(field: str, **operations: Replacement) -> Equations:
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


def partial_sums(is_part: Replacement, *fields: str) -> Equations:
    """Gradients of some steps alone: is_part(t, T)."""

    def given(n, w):
        parts = {"da": Steps(), "dy": Steps()}
        for t in w.steps:
            is_counted = is_part(t, len(w.x))
            parts["da"][t] = is_counted * w.da[t]
            parts["dy"][t] = is_counted * w.dy[t]
        return n, replace(w, **parts)

    return changed(*fields, given=given)


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
        return {name: n.record("d" + name, None, g) for name, g in self.sums.items()}

    def velocity(self, n, g, before, step):
        return right.velocity(n, g, None if self.is_first else before, step)

    def updated(self, n, name, theta, delta, step):
        return right.updated(n, name, theta, delta / self.epoch, step)


def in_loop(equation: str, **options: bool) -> Equations:
    loop = Loop(**options)
    return {name: getattr(loop, name) for name in ("carried_state", equation)}


UNDECAYED = changed("decayed", result=lambda value, n, name, g, theta, step: g)
