"""Mistakes, made from the operations of the definition: words, and what a case then gives.

Every equation is tried with another operand (a neighbour in time, another tensor of the same shape, a transpose), with
a term that is left out or counted otherwise, with another function, and with a result that is scaled, clipped, rounded,
or added up. A mistake of the forward pass comes with the gradient of the wrong loss, as autograd gives it, by complex
steps; and with the backward equations as they are.

Public code often truncates differently from TBPTT(k1, k2):

    dh_t = Σ_{j=0}^{k−1} g_{t,j}, where g_{t,0} = dy_t W_hyᵀ and g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ    (R1)
    dh_t is that of (B2) for the newest k steps of a window, and 0 for the steps before                         (R2)

Source: (R1) rnnlm of Britz 2015, also in ML-From-Scratch; (R2) Deeplearning4j, tBPTTBackwardLength below the forward
one.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.arithmetics.nonlinearities import NONLINEARITIES
from numpy_rnn.conformance.case import GIVEN_DY, initial_state, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, window_update

FORWARD = ("pre_activation", "state", "output", "forward")
LOGISTIC = NONLINEARITIES["sigmoid"]
CONSTANTS = (1.0, 5.0, 0.5, 2.0, 10.0, 3.0, 0.1, 0.25, 15.0, 20.0)  # at which people clip
FORMATS = ("float32", "float16", "bfloat16")
EPSILON = 1e-50  # of the complex step
EQUATIONS: dict[str, tuple[str, tuple[tuple[str, int], ...], tuple[str, ...]]] = {  # the result, operands and terms
    "pre_activation": ("a_t", (("x", 0), ("h", -1)), ("x_t W_xh", "h_{t-1} W_hh", "b_h", "b_hh")),
    "state": ("h_t", (("a", 0),), ()),
    "output": ("y_t", (("h", 0),), ("h_t W_hy", "b_y")),
    "state_adjoint": ("dh_t", (("dy", 0), ("da", 1)), ("dy_t W_hyᵀ", "da_{t+1} W_hhᵀ")),
    "pre_activation_adjoint": ("da_t", (("dh", 0), ("a", 0), ("h", 0)), ()),
    "input_weights_gradient": ("dW_xh", (("x", 0), ("da", 0)), ()),
    "recurrent_weights_gradient": ("dW_hh", (("h", -1), ("da", 0)), ()),
    "output_weights_gradient": ("dW_hy", (("h", 0), ("dy", 0)), ()),
    "hidden_bias_gradient": ("db_h", (("da", 0),), ()),
    "output_bias_gradient": ("db_y", (("dy", 0),), ()),
    "initial_state_adjoint": ("dh_0", (("da", 1),), ()),
    "input_adjoint": ("dx_t", (("da", 0),), ()),
    "backward": ("the backward pass", (("x", 0), ("h", 0), ("a", 0), ("dy", 0)), ()),
}
ALIKE = (("x",), ("h", "a", "dh", "da"), ("dy", "y"))  # tensors of the same shape


class Mistake(NamedTuple):
    """A mistake in words, the function of the definition that it is in, and what is computed instead."""

    text: str
    field: str = ""
    of: Definition = DEFINITION
    is_exact: bool = False  # whether the gradient is that of the wrong loss, by autograd
    change: Callable[[WindowCase], WindowCase] = lambda case: case


def flow(case: WindowCase, of: Definition = DEFINITION) -> Arrays:
    """The loss, the intermediates and the gradients of a case."""
    return window_update(case._replace(step=None), of=of)  # type: ignore[arg-type]


def changed(text: str, field: str, function: Any, **more: Any) -> Iterator[Mistake]:
    """The mistakes of another function for one of the definition: in the forward pass with either gradient."""
    of = DEFINITION._replace(**{field: function}, **more)
    if field in FORWARD:
        yield Mistake(text, field, of, is_exact=True)
        text += "" if text.endswith(FORMATS) else ", in the forward pass alone"
    yield Mistake(text, field, of)


class Perturbed(Floats):
    """Networks along the first axis; in each, one number more of a, h and y has an imaginary part."""

    def __init__(self, networks: int, row: int):
        super().__init__(np.complex128)
        self.networks, self.row, self.rows = networks, row, dict[tuple[str, Any], int]()

    def see(self, name: str, t: int | None, value: Any) -> Any:
        """The value, with the imaginary parts of its numbers."""
        if name in ("a", "h", "y"):
            value, self.rows[name, t] = np.array(np.broadcast_to(value, (self.networks, *value.shape[1:]))), self.row
            self.row = _perturb(value, self.row)
        return super().see(name, t, value)


def _perturb(value: Any, row: int) -> int:
    """Add an imaginary part to a number of every network from this one on, in place; the first network after them."""
    flat = value.reshape(len(value), -1)
    numbers = np.arange(flat.shape[1])
    flat[row + numbers, numbers] += EPSILON * 1j
    return row + len(numbers)


def exact_flow(case: WindowCase, of: Definition, deep: bool) -> Arrays:
    """The loss and its derivatives by complex steps through the forward pass; deep: also those by a, h and y."""
    inputs = present(case.params) | {"h_0": initial_state(case)}
    (T, B, _), (H, O) = case.x.shape, case.params.W_hy.shape
    row, own = 0, sum(theta.size for theta in inputs.values())
    networks, stacked, rows = own + deep * T * B * (2 * H + O), {}, {}
    for name, theta in inputs.items():
        stacked[name], rows[name] = np.repeat(theta[None].astype(complex), networks, 0), row
        row = _perturb(stacked[name], row)
    h_0 = stacked["h_0"] if case.params.h_0 is not None else stacked.pop("h_0")

    def loss_and_error(n, y, target, weights, objective):
        if objective.loss == GIVEN_DY:
            return (target * y).sum(axis=(0, -2, -1)), target
        return of.loss_and_error(n, y, target, weights, objective)

    n, params = Perturbed(networks, row) if deep else Floats(complex), case.params._replace(**stacked)
    silent = of._replace(loss_and_error=loss_and_error, backward=lambda *_: {})
    without_step: Any = None
    report = window_update(case._replace(params=params, h_0=h_0, step=without_step), n, silent)
    slopes = report["loss"].imag / EPSILON

    def derivative(row, like):
        return slopes[row : row + like.size].reshape(like.shape)

    values = {name: report[name][:, 0].real for name in ("a", "h", "y")} | {"loss": report["loss"][0].real}
    for name in ("a", "h", "y") if deep else ():
        rows_of = [n.rows[name, t] for t in range(1, T + 1)] if isinstance(n, Perturbed) else []
        values["d" + name] = np.stack([derivative(row, values[name][0]) for row in rows_of])
    values |= {"d" + name: derivative(row, inputs[name]) for name, row in rows.items()}
    values |= {"dx": values["da"] @ case.params.W_xh.T} if deep else {}
    return values if case.objective.loss != GIVEN_DY else {n: v for n, v in values.items() if n != "loss"}


# -- operands ---------------------------------------------------------------------------------------------------------


class Moved(dict):
    """A tensor read as another one, or at other steps. Beyond its ends it is 0, as it should be, or the last."""

    def __init__(self, own: Any, steps: Any, index: Callable[[int], int | None], beyond: str):
        super().__init__(own)
        self.own, self.steps, self.index, self.beyond = own, steps, index, beyond

    def __getitem__(self, t: int) -> Any:
        value = self.steps.get(self.index(t))
        if value is None and self.beyond == "last":
            value = self.steps.get(max(self.steps))
        if value is None:
            value = self.own[t] if self.beyond == "own" else 0 * self.own[t]
        return value


def _at(name: str, step: int | str) -> str:
    return f"{name}_{step}" if isinstance(step, str) else f"{name}_t" if step == 0 else f"{name}_{{t{step:+d}}}"


def other_operands() -> Iterator[Mistake]:
    """Every operand of every equation as another tensor, or at another step."""
    for field, (result, operands, _) in EQUATIONS.items():
        for name, offset in operands:
            usual, moves = _at(name, offset), list[tuple[str, str, Any]]()
            for other in next(group for group in ALIKE if name in group):
                for d in (0, -1, 1):
                    moves.append((_at(other, offset + d), other, lambda s, T, d=d: s + d))
                moves.append((_at(other, "T"), other, lambda s, T: T))
                moves.append((_at(other, "1"), other, lambda s, T: 1))
            moves.append((_at(name, "{T+1-t}"), name, lambda s, T: T + 1 - s))
            if name == "h":
                moves.append(("h_0", name, lambda s, T: 0))
            if offset == -1:
                moves.append(("h_T for h_0", name, lambda s, T: s or T))
                moves.append(("zeros for h_0", name, lambda s, T: s or None))
            for text, other, index in moves:
                if text != usual:
                    words = text if " for " in text else f"{text} for {usual}"
                    for beyond in ("0", "own", "last"):
                        function = partial(_moved, getattr(right, field), (name, other, index, beyond))
                        yield from changed(f"{result} with {words}", field, function)


def _moved(equation: Any, move: Any, n: Any, w: Any, *rest: Any) -> Any:
    name, other, index, beyond = move
    T = len(w.x)
    moved = Moved(getattr(w, name), getattr(w, other), lambda s: index(s, T), beyond)
    return equation(n, replace(w, **{name: moved}), *rest)


def transposes() -> Iterator[Mistake]:
    """W_hh transposed in an equation, or in all of the backward pass."""

    def transposed(equation, n, w, p, *rest):
        return equation(n, w, p._replace(W_hh=p.W_hh.mT), *rest)

    for field in ("pre_activation", "state_adjoint", "initial_state_adjoint", "backward"):
        words = f"{EQUATIONS[field][0]} with W_hh transposed"
        yield from changed(words, field, partial(transposed, getattr(right, field)))
    fields = ("pre_activation", "state_adjoint", "initial_state_adjoint")
    of = DEFINITION._replace(**{field: partial(transposed, getattr(right, field)) for field in fields})
    yield Mistake("W_hh transposed, but not its gradient", "", of)


# -- terms and results ------------------------------------------------------------------------------------------------

COUNTED: dict[str, Any] = {  # by the step, T and B
    "without {}": lambda t, T, B: 0, "twice {}": lambda t, T, B: 2, "-{}": lambda t, T, B: -1,
    "half of {}": lambda t, T, B: 0.5, "{} at the first step alone": lambda t, T, B: t == 1,
    "{} at the last step alone": lambda t, T, B: t == T, "{} left out at the first step": lambda t, T, B: t > 1,
    "{} left out at the last step": lambda t, T, B: t < T, "{} / B": lambda t, T, B: 1 / B,
    "{} / T": lambda t, T, B: 1 / T, "B times {}": lambda t, T, B: B, "T times {}": lambda t, T, B: T,
}  # fmt: skip


class Altered:
    """An arithmetic with other operations in place of some."""

    def __init__(self, n: Any, **operations: Any):
        self.n = n
        self.__dict__ |= operations

    def __getattr__(self, name: str) -> Any:
        return getattr(self.n, name)


def other_terms() -> Iterator[Mistake]:
    """A term of an equation left out, or multiplied by a number; or between ± a number."""

    def altered(equation, k, change, n, w, p, t):
        def affine(products, *biases):
            terms = [A @ B for A, B in products] + [None if b is None else b[..., None, :] for b in biases]
            if k >= len(terms) or terms[k] is None:
                raise LookupError("the equation has no such term here")
            terms[k] = change(terms[k], t, len(w.x))
            return sum(term for term in terms if term is not None)

        return equation(Altered(n, affine=affine), w, p, t)

    def times(c, v, t, T):
        return c(t, T, v.shape[-2]) * v

    changes: dict[str, Any] = {text: partial(times, c) for text, c in COUNTED.items()}
    changes |= {f"{{}} within ±{c:g}": partial(lambda c, v, t, T: clamped(v, c), c) for c in CONSTANTS}
    for field, (result, _, terms) in EQUATIONS.items():
        for k, term in enumerate(terms):
            for text, change in changes.items():
                function = partial(altered, getattr(right, field), k, change)
                words = f"{result} {'' if text.startswith('without') else 'with '}{text.format(term)}"
                if (field, k) == ("state_adjoint", 1):  # the flow back to the initial state is altered too
                    first = partial(_altered_first, change)
                    yield from changed(words, field, function, initial_state_adjoint=first)
                yield from changed(words, field, function)


def _altered_first(change: Any, n: Any, w: Any, p: Any) -> Any:
    return change(right.initial_state_adjoint(n, w, p), 0, len(w.x))


def clamped(v: Any, c: float) -> Any:
    """Numbers between ± c."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))


def rounded(v: Any, name: str) -> Any:
    """The numbers in a shorter format, with their imaginary parts."""
    if name == "bfloat16":
        bits = np.asarray(v.real, np.float32).view(np.uint32)
        real = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    else:
        real = v.real.astype(name)
    return v - v.real + real.astype(v.real.dtype)


RESULTS: dict[str, Any] = {  # of a result, the values of all steps, and the step
    "{} × 2": lambda v, s, t: 2 * v, "{} × 1/2": lambda v, s, t: v / 2, "{} × -1": lambda v, s, t: -v,
    "{} / B": lambda v, s, t: v / v.shape[-2],
    "{} added to that of the step before": lambda v, s, t: v + s.get(t - 1, 0),
    "{} added to that of the step after": lambda v, s, t: v + s.get(t + 1, 0),
    "{} of the first sequence for all": lambda v, s, t: v[..., :1, :] + 0 * v,
    "{} of the last sequence for all": lambda v, s, t: v[..., -1:, :] + 0 * v,
    "{} averaged over the batch": lambda v, s, t: v.mean(axis=-2, keepdims=True) + 0 * v,
    "{} of the sequence before": lambda v, s, t: np.roll(v, 1, -2),
    "{} of the sequence after": lambda v, s, t: np.roll(v, -1, -2),
    "tanh of {}": lambda v, s, t: np.tanh(v), "sigmoid of {}": lambda v, s, t: LOGISTIC.phi(v),
    **{f"{{}} within ±{c:g}": partial(lambda c, v, s, t: clamped(v, c), c) for c in CONSTANTS},
    **{f"{{}} at most {c:g}": partial(lambda c, v, s, t: np.where(v.real > c, c, v), c) for c in (6.0, *CONSTANTS)},
    **{f"{{}} rounded to {name}": partial(lambda name, v, s, t: rounded(v, name), name) for name in FORMATS},
}  # fmt: skip


def other_results() -> Iterator[Mistake]:
    """A result that is scaled, clipped, rounded, added up, or mixed between sequences."""

    def altered(equation, change, name, n, w, p, t, *rest):
        return change(equation(n, w, p, t, *rest), getattr(w, name), t)

    for field in ("state", "pre_activation", "output", "pre_activation_adjoint", "state_adjoint"):
        result = EQUATIONS[field][0]
        for text, change in RESULTS.items():
            function = partial(altered, getattr(right, field), change, result.removesuffix("_t"))
            yield from changed(text.format(result), field, function)


# -- functions --------------------------------------------------------------------------------------------------------

PHIS: dict[str, Any] = {  # of a_t and h_{t-1}
    "no nonlinearity": lambda a, h: a,
    "tanh applied twice": lambda a, h: np.tanh(np.tanh(a)),
    "a / (1 + |a|) for φ": lambda a, h: np.where(a.real > 0, a / (1 + a), a / (1 - a)),
    "a within ±1 for φ": lambda a, h: clamped(a, 1.0),
    "1.7159 tanh(2a/3) for φ": lambda a, h: 1.7159 * np.tanh(2 * a / 3),
    "tanh(a/2) for φ": lambda a, h: np.tanh(a / 2), "tanh(2a) for φ": lambda a, h: np.tanh(2 * a),
    "log(1 + exp a) for φ": lambda a, h: np.log1p(np.exp(a)),
    "elu for φ": lambda a, h: np.where(a.real > 0, a, np.exp(a) - 1),
    "|a| for φ": lambda a, h: np.where(a.real > 0, a, -a),
    **{f"leaky relu with {c:g} for φ": partial(lambda c, a, h: np.where(a.real > 0, a, c * a), c)
       for c in (0.01, 0.1, 0.2)},
}  # fmt: skip
MIXED = (0.5, 0.1, 0.9)  # of the state before, in that of a leaky unit
SLOPES_OF: dict[str, Any] = {  # of a, h and φ'
    "φ′ squared": lambda a, h, s: s * s,
    "1 − h for φ′": lambda a, h, s: 1 - h,
    "1 + h² for φ′": lambda a, h, s: 1 + h * h,
    "1 − tanh(h)² for φ′": lambda a, h, s: 1 - np.tanh(h) ** 2,
    "1 − h² for φ′": lambda a, h, s: 1 - h * h,
    "1 − |h| for φ′": lambda a, h, s: 1 - np.abs(h),
    "h(1 − h) for φ′": lambda a, h, s: h * (1 - h),
    "a(1 − a) for φ′": lambda a, h, s: a * (1 - a),
    "σ(h)(1 − σ(h)) for φ′": lambda a, h, s: LOGISTIC.slope(a, LOGISTIC.phi(h)),
    "φ for φ′": lambda a, h, s: h,
    "φ′ missing": lambda a, h, s: 1.0,
    "φ′ of relu": lambda a, h, s: a > 0,
    "a φ′ of 1 at a = 0": lambda a, h, s: a >= 0,
    "a φ′ of 1/2 at a = 0": lambda a, h, s: np.where(a == 0, 0.5, a > 0),
    "leaky φ′ of 0.01": lambda a, h, s: np.where(a > 0, 1.0, 0.01),
    "φ′ / 2": lambda a, h, s: s / 2,
}


def other_functions() -> Iterator[Mistake]:
    """Another nonlinearity, another slope, or a slope that one of the two parts of dh lacks or has twice."""

    def state(f, n, w, p, t, nonlinearity):
        return f(w.a[t], w.h[t - 1])

    def within(c, n, w, p, t, nonlinearity):
        return n.phi(clamped(w.a[t], c), nonlinearity)

    def leaky(c, n, w, p, t, nonlinearity):
        return c * w.h[t - 1] + (1 - c) * right.state(n, w, p, t, nonlinearity)

    def adjoint(f, n, w, p, t, nonlinearity):
        return w.dh[t] * f(w.a[t], w.h[t], n.by_slope(1.0, w.a[t], w.h[t], nonlinearity))

    def lacking(of_dy, of_flow, n, w, p, t, nonlinearity):
        """φ' to other powers than 1 in the part of dh from the outputs, and in that from the step after."""
        direct = n.affine([(w.dy[t], p.W_hy.mT)])
        slope = n.by_slope(1.0, w.a[t], w.h[t], nonlinearity)
        return direct * slope**of_dy + (w.dh[t] - direct) * slope**of_flow

    def all_later(n, w, p, t):
        later = sum(w.da[s] for s in range(t + 1, len(w.x) + 2))
        return n.affine([(w.dy[t], p.W_hy.mT), (later, p.W_hh.mT)])

    def all_first(n, w, p):
        return n.affine([(sum(w.da[s] for s in w.steps), p.W_hh.mT)])

    words = "the flow back adds up from step to step"
    yield from changed(words, "state_adjoint", all_later, initial_state_adjoint=all_first)

    def forwards(n, w, p, nonlinearity, of):
        dh, da = {}, {0: n.zeros(w.a[1])}
        for t in w.steps:
            dh[t] = n.affine([(w.dy[t], p.W_hy.mT), (da[t - 1], p.W_hh.mT)])
            da[t] = n.by_slope(dh[t], w.a[t], w.h[t], nonlinearity)
        last = n.affine([(da[len(w.x)], p.W_hh.mT)])
        of = of._replace(state_adjoint=lambda n, w, p, t: dh[t], initial_state_adjoint=lambda n, w, p: last)
        return right.backward(n, w, p, nonlinearity, of)

    yield from changed("the backward pass goes forwards in time", "backward", forwards)
    for text, f in PHIS.items():
        yield from changed(text, "state", partial(state, f))
    yield from changed("b_h added after φ", "forward", _bias_outside)
    yield from changed("units of the state updated in place, one after the other", "forward", _in_place)
    for c in CONSTANTS:
        yield from changed(f"a_t within ±{c:g} before φ", "state", partial(within, c))
    for keeps_h_0, by_a in product((True, False), repeat=2):
        of = DEFINITION._replace(backward=partial(_one_state, keeps_h_0, by_a))
        yield Mistake("one state for all steps, in one list", "", of)
    for c in MIXED:
        yield from changed(f"{c:g} h_{{t-1}} + {1 - c:g} φ(a_t) for h_t", "state", partial(leaky, c))
    for text, slope in SLOPES_OF.items():
        yield from changed(text, "pre_activation_adjoint", partial(adjoint, slope))
    for text, of_dy, of_flow in (
        ("φ′ left out of the part of the outputs", 0, 1), ("φ′ left out of the flow back", 1, 0),
        ("φ′ twice in the part of the outputs", 2, 1), ("φ′ twice in the flow back", 1, 2),
    ):  # fmt: skip
        yield from changed(text, "pre_activation_adjoint", partial(lacking, of_dy, of_flow))


def _one_state(keeps_h_0: bool, by_a: bool, n: Any, w: Any, p: Any, nonlinearity: str, of: Definition) -> Arrays:
    """The list of states has the last one at every step, with or without h_0; relu's slope is that of a, or of h."""
    own, T = w.h, len(w.x)
    w.h = {t: own[T] if t or not keeps_h_0 else own[0] for t in own}
    n.seen["h"] = dict.fromkeys(w.steps, own[T])

    def slope(n, w, p, t, nonlinearity):
        return n.by_slope(w.dh[t], w.a[t], n.phi(w.a[t], nonlinearity), nonlinearity)

    is_relu = by_a and nonlinearity == "relu"
    return right.backward(n, w, p, nonlinearity, of._replace(pre_activation_adjoint=slope) if is_relu else of)


def _bias_outside(n: Any, w: Any, p: Any, nonlinearity: str, of: Definition) -> None:
    if p.b_h is None:
        raise LookupError("there is no bias")
    inside = of._replace(pre_activation=lambda n, w, p, t: right.pre_activation(n, w, p._replace(b_h=None), t),
                         state=lambda n, w, p, t, phi: right.state(n, w, p, t, phi) + p.b_h[..., None, :])  # fmt: skip
    right.forward(n, w, p, nonlinearity, inside)


def _in_place(n: Any, w: Any, p: Any, nonlinearity: str, of: Definition) -> None:
    def pre_activation(n, w, p, t):
        rest = right.pre_activation(n, w, p._replace(W_hh=0 * p.W_hh), t)
        h, a = w.h[t - 1] + 0 * rest, 0 * rest
        for i in range(h.shape[-1]):
            a[..., i] = rest[..., i] + (h @ p.W_hh[..., i : i + 1])[..., 0]
            h[..., i] = n.phi(a[..., i], nonlinearity)
        return a

    right.forward(n, w, p, nonlinearity, of._replace(pre_activation=pre_activation))
