"""Mistakes of a window, made from the operations of the definition: words, and what a case then gives.

One table of changes is applied to every term and result of the equations. Every operand is also read at other steps,
and from other tensors. A mistake of the forward pass comes with the backward equations as they are, and with the
gradient of the wrong loss, as autograd gives it, by complex steps.

Public code often truncates differently from TBPTT(k1, k2):

    dh_t = Σ_{j=0}^{k−1} g_{t,j}, where g_{t,0} = dy_t W_hyᵀ and g_{t,j} = (g_{t+1,j−1} ∘ φ'(a_{t+1})) W_hhᵀ    (R1)
    dh_t is that of (B2) for the newest k steps of a window, and 0 for the steps before                         (R2)

Source: (R1) rnnlm of Britz 2015, also in ML-From-Scratch; (R2) Deeplearning4j, tBPTTBackwardLength below the forward
one.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.case import GIVEN_DY, initial_state, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, Equation, window_update

FORWARD = ("pre_activation", "state", "output")
CONSTANTS = (1.0, 5.0, 0.5, 2.0, 10.0, 3.0, 0.1)  # at which people clip
FORMATS = ("float32", "float16", "bfloat16")
EPSILON = 1e-50  # of the complex step
EQUATIONS: dict[
    str, tuple[str, dict[str, int], tuple[str, ...]]
] = {  # the result, operands by their steps, and terms
    "pre_activation": ("a_t", {"x": 0, "h": -1}, ("x_t W_xh", "h_{t-1} W_hh", "b_h", "b_hh")),
    "state": ("h_t", {"a": 0}, ()),
    "output": ("y_t", {"h": 0}, ("h_t W_hy", "b_y")),
    "state_adjoint": ("dh_t", {"dy": 0, "da": 1}, ("dy_t W_hyᵀ", "da_{t+1} W_hhᵀ")),
    "pre_activation_adjoint": ("da_t", {"dh": 0, "a": 0, "h": 0}, ()),
    "input_weights_gradient": ("dW_xh", {"x": 0, "da": 0}, ()),
    "recurrent_weights_gradient": ("dW_hh", {"h": -1, "da": 0}, ()),
    "output_weights_gradient": ("dW_hy", {"h": 0, "dy": 0}, ()),
    "initial_state_adjoint": ("dh_0", {"da": 1}, ()),
    "input_adjoint": ("dx_t", {"da": 0}, ()),
}
ALIKE = (("x",), ("h", "a", "dh", "da"), ("dy", "y"))  # tensors of the same shape


class Mistake(NamedTuple):
    """A mistake in words, what is computed instead, and the function of the definition that it is in."""

    text: str
    of: Definition = DEFINITION
    field: str = ""
    is_exact: bool = False  # whether the gradient is that of the wrong loss, by autograd
    change: Callable[[WindowCase], WindowCase] = lambda case: case


Mistakes = Iterator[Mistake]
Changes = dict[str, Callable[..., Any]]  # by words


def flow(case: WindowCase, of: Definition = DEFINITION) -> Arrays:
    """The loss, the intermediates and the gradients of a case."""
    return window_update(case._replace(step=None), of=of)  # type: ignore[arg-type]


def changed(text: str, field: str, function: Equation, **more: Equation) -> Mistakes:
    """The mistakes of another function for one of the definition: in the forward pass with either gradient."""
    of = DEFINITION._replace(**{field: function}, **more)
    if field in FORWARD:
        yield Mistake(text, of, field, is_exact=True)
        text += "" if text.endswith(FORMATS) else ", in the forward pass alone"
    yield Mistake(text, of, field)


def exact_flow(case: WindowCase, of: Definition) -> Arrays:
    """The loss, a, h and y, and the gradients by complex steps: one network for each number with an imaginary part."""
    inputs = present(case.params) | {"h_0": initial_state(case)}
    networks, rows, first = sum(theta.size for theta in inputs.values()), dict[str, slice](), 0
    stacked = {
        name: np.repeat(theta[None].astype(complex), networks, 0) for name, theta in inputs.items()
    }
    for name, theta in inputs.items():
        numbers, rows[name] = np.arange(theta.size), slice(first, first + theta.size)
        stacked[name].reshape(networks, -1)[first + numbers, numbers] += EPSILON * 1j
        first += theta.size
    h_0 = stacked["h_0"] if case.params.h_0 is not None else stacked.pop("h_0")
    if case.objective.loss == GIVEN_DY:
        of = of._replace(loss_and_error=lambda n, y, dy, *_: ((dy * y).sum(axis=(0, -2, -1)), dy))
    copies = case._replace(params=case.params._replace(**stacked), h_0=h_0)
    report = flow(copies, of._replace(backward=lambda *_: {}))
    slopes = report["loss"].imag / EPSILON
    values = {name: report[name][:, 0].real for name in ("a", "h", "y")} | {
        "loss": report["loss"][0].real
    }
    return values | {
        "d" + name: slopes[rows[name]].reshape(theta.shape) for name, theta in inputs.items()
    }


# -- terms and results ------------------------------------------------------------------------------------------------


def clamped(v: NumpyArray, c: float) -> NumpyArray:
    """Numbers between ± c."""
    return np.where(np.abs(v.real) <= c, v, c * np.sign(v.real))


def rounded(v: NumpyArray, name: str) -> NumpyArray:
    """The numbers in a shorter format, with their imaginary parts."""
    if name == "bfloat16":
        bits = np.asarray(v.real, np.float32).view(np.uint32)
        real = (
            ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
        )
    else:
        real = v.real.astype(name)
    return v - v.real + real.astype(v.real.dtype)


CHANGES: Changes = {  # of a value, the step, and T
    "without {}": lambda v, t, T: 0 * v, "twice {}": lambda v, t, T: 2 * v, "-{}": lambda v, t, T: -v,
    "{} / B": lambda v, t, T: v / v.shape[-2], "{} at the first step alone": lambda v, t, T: v * (t == 1),
    "{} at the last step alone": lambda v, t, T: v * (t == T),
    "{} left out at the first step": lambda v, t, T: v * (t > 1),
    "{} left out at the last step": lambda v, t, T: v * (t < T),
    "{} averaged over the batch": lambda v, t, T: v.mean(axis=-2, keepdims=True) + 0 * v,
    "tanh of {}": lambda v, t, T: np.tanh(v), "sigmoid of {}": lambda v, t, T: 0.5 + 0.5 * np.tanh(0.5 * v),
    **{f"{{}} within ±{c:g}": partial(lambda c, v, t, T: clamped(v, c), c) for c in CONSTANTS},
    **{f"{{}} rounded to {name}": partial(lambda name, v, t, T: rounded(v, name), name) for name in FORMATS},
}  # fmt: skip


def other_terms() -> Mistakes:
    """A term of an equation that is changed."""

    def altered(equation, k, change, n, w, p, t=0):
        def affine(products, *biases):
            terms = [A @ B for A, B in products]
            terms += [None if b is None else b[..., None, :] + 0 * terms[0] for b in biases]
            terms[k] = change(terms[k], t, len(w.x))
            return sum(term for term in terms if term is not None)

        other = copy(n)
        other.affine = affine
        return equation(other, w, p, *[t] * (t > 0))

    for field, (result, _, terms) in EQUATIONS.items():
        for (k, term), (text, change) in product(enumerate(terms), CHANGES.items()):
            function = partial(altered, getattr(right, field), k, change)
            words = f"{result} {'' if text.startswith('without') else 'with '}{text.format(term)}"
            if (field, k) == (
                "state_adjoint",
                1,
            ):  # the flow back to the initial state is altered too
                first = partial(altered, right.initial_state_adjoint, 0, change)
                yield from changed(words, field, function, initial_state_adjoint=first)
            yield from changed(words, field, function)


def other_results() -> Mistakes:
    """A result that is changed."""

    def altered(equation, change, n, w, p, t, *rest):
        return change(equation(n, w, p, t, *rest), t, len(w.x))

    for field in (*FORWARD, "pre_activation_adjoint", "state_adjoint"):
        for text, change in CHANGES.items():
            function = partial(altered, getattr(right, field), change)
            yield from changed(text.format(EQUATIONS[field][0]), field, function)


# -- operands ---------------------------------------------------------------------------------------------------------


def transposes() -> Mistakes:
    """W_hh transposed in an equation, or in all of them."""

    def transposed(equation, n, w, p, *rest):
        return equation(n, w, p._replace(W_hh=p.W_hh.mT), *rest)

    functions = {field: partial(transposed, getattr(right, field))
                 for field in ("pre_activation", "state_adjoint", "initial_state_adjoint")}  # fmt: skip
    for field, function in functions.items():
        yield from changed(f"{EQUATIONS[field][0]} with W_hh transposed", field, function)
    yield Mistake("W_hh transposed, but not its gradient", DEFINITION._replace(**functions))


def other_operands() -> Mistakes:
    """Every operand of every equation as another tensor, or at another step."""

    def at(name, step):
        return f"{name}_t" if step == 0 else f"{name}_{{t{step:+d}}}"

    def moved(equation, name, other, index, beyond, n, w, *rest):
        """Beyond the ends of a tensor there are zeros, the right values, or the last one."""
        own, steps, T = getattr(w, name), getattr(w, other), len(w.x)
        ends = {s: (0 * value, value, steps[max(steps)])[beyond] for s, value in own.items()}
        values = {s: steps.get(index(s, T), ends[s]) for s in own}
        return equation(n, replace(w, **{name: values}), *rest)

    for field, (result, operands, _) in EQUATIONS.items():
        for name, offset in operands.items():
            usual, moves = (
                at(name, offset),
                dict[str, tuple[str, Callable[[int, int], int | None]]](),
            )
            for other, d in product(next(group for group in ALIKE if name in group), (0, -1, 1)):
                moves[f"{at(other, offset + d)} for {usual}"] = (
                    other,
                    partial(lambda d, s, T: s + d, d),
                )
            moves[f"{name}_{{T+1-t}} for {usual}"] = (
                name,
                partial(lambda offset, s, T: T + 1 - (s - offset), offset),
            )
            if name == "h":
                moves[f"h_0 for {usual}"] = name, lambda s, T: 0
            if (name, offset) == ("h", -1):
                moves["h_T for h_0"] = name, lambda s, T: s or T
                moves["zeros for h_0"] = name, lambda s, T: s or None
            del moves[f"{usual} for {usual}"]
            for (text, move), beyond in product(moves.items(), range(3)):
                function = partial(moved, getattr(right, field), name, *move, beyond)
                yield from changed(f"{result} with {text}", field, function)


# -- functions --------------------------------------------------------------------------------------------------------

PHIS: Changes = {  # of a_t and φ
    "no nonlinearity": lambda a, phi: a, "φ applied twice": lambda a, phi: phi(phi(a)),
    **{f"leaky relu with {c:g} for φ": partial(lambda c, a, phi: np.where(a.real > 0, a, c * a), c)
       for c in (0.01, 0.1, 0.2)},
    **{f"a_t within ±{c:g} before φ": partial(lambda c, a, phi: phi(clamped(a, c)), c) for c in CONSTANTS},
}  # fmt: skip
SLOPES: Changes = {  # of a, h and φ'
    "φ′ squared": lambda a, h, s: s * s, "φ for φ′": lambda a, h, s: h, "φ′ missing": lambda a, h, s: 1.0,
    "1 − h² for φ′": lambda a, h, s: 1 - h * h, "1 − tanh(h)² for φ′": lambda a, h, s: 1 - np.tanh(h) ** 2,
    "h(1 − h) for φ′": lambda a, h, s: h * (1 - h), "a φ′ of 1 at a = 0": lambda a, h, s: a >= 0,
    "leaky φ′ of 0.01": lambda a, h, s: np.where(a > 0, 1.0, 0.01),
}  # fmt: skip


def other_functions() -> Mistakes:
    """Another nonlinearity or slope, a slope that a part of dh lacks, a flow that adds up, or one state for all."""

    def state(f, n, w, p, t, nonlinearity):
        return f(w.a[t], lambda a: n.phi(a, nonlinearity))

    def adjoint(f, n, w, p, t, nonlinearity):
        return w.dh[t] * f(w.a[t], w.h[t], n.by_slope(1.0, w.a[t], w.h[t], nonlinearity))

    def lacking(is_flow, n, w, p, t, nonlinearity):
        """φ' in one part of dh alone: that from the outputs, or that from the step after."""
        direct, slope = (
            n.affine([(w.dy[t], p.W_hy.mT)]),
            n.by_slope(1.0, w.a[t], w.h[t], nonlinearity),
        )
        return (
            direct + (w.dh[t] - direct) * slope if is_flow else direct * slope + (w.dh[t] - direct)
        )

    def added(n, w, p, t=0):
        flow = n.affine([(sum(w.da[s] for s in range(t + 1, len(w.x) + 2)), p.W_hh.mT)])
        return flow + n.affine([(w.dy[t], p.W_hy.mT)]) if t else flow

    yield from changed(
        "the flow back adds up from step to step",
        "state_adjoint",
        added,
        initial_state_adjoint=added,
    )
    for text, f in PHIS.items():
        yield from changed(text, "state", partial(state, f))
    for text, f in SLOPES.items():
        yield from changed(text, "pre_activation_adjoint", partial(adjoint, f))
    for text, is_flow in {"the part of the outputs": True, "the flow back": False}.items():
        yield from changed(
            f"φ′ left out of {text}", "pre_activation_adjoint", partial(lacking, is_flow)
        )


def truncations(steps: int) -> Mistakes:
    """(R1), (R2), and flows that end at every k-th step, for k below the number of steps."""

    def each_loss(k, n, w, p, nonlinearity, of):
        g = {t: n.affine([(w.dy[t], p.W_hy.mT)]) for t in w.steps}
        dh = dict(g)
        for _ in range(k - 1):
            g = {t: n.affine([(n.by_slope(g[t + 1], w.a[t + 1], w.h[t + 1], nonlinearity), p.W_hh.mT)])
                 for t in w.steps if t + 1 in g}  # fmt: skip
            dh |= {t: dh[t] + g[t] for t in g}
        return right.backward(
            n, w, p, nonlinearity, of._replace(state_adjoint=lambda n, w, p, t: dh[t])
        )

    def newest(equation, k, n, w, p, t, *rest):
        return equation(n, w, p, t, *rest) * (t > len(w.x) - k)

    def with_loss(n, w, p, t, nonlinearity):
        return right.pre_activation_adjoint(n, w, p, t, nonlinearity) * any(
            w.dy[s].any() for s in range(1, t + 1)
        )

    yield from changed(
        "the backward pass ends at the first step with a loss", "pre_activation_adjoint", with_loss
    )
    for k in range(1, steps):
        words = f"{k} step{'s' * (k > 1)}"
        text = f"each loss goes back over {words} (bptt_truncate = {k - 1})"
        yield from changed(text, "backward", partial(each_loss, k))
        for field in ("state_adjoint", "pre_activation_adjoint"):
            text = f"the backward pass ends after the newest {words}"
            yield from changed(text, field, partial(newest, getattr(right, field), k))
