"""The network, its gradient, its SGD step and its training loop: every equation once, one step of time after the other.

An equation is a function of the numbers `n` that it runs on, the tensors `w` of the window, the parameters `p`, and the
step t: w.h[t - 1] is h_{t-1} of DERIVATION.md. What the functions return depends on the arithmetic alone
(`arithmetics/`): values, derivatives by complex step, enclosures, rounding bounds, or random roundings. A `Definition`
holds the functions; a mutant is a Definition with other functions in place of some.

This module imports neither numpy_rnn's reference and engine nor torch, and shares no line with them. The backward
equations are checked against the complex-step derivative of the forward ones, and the step against torch.optim.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, overload

import numpy as np

from numpy_rnn.common.records import NumpyArray, Objective, Run, Step, Window, WindowCase
from numpy_rnn.conformance.arithmetics.arithmetic import Arithmetic, N
from numpy_rnn.conformance.arithmetics.floats import Floats
from numpy_rnn.conformance.case import (
    GIVEN_DY,
    RateInVelocity,
    TwoBiases,
    initial_state,
    parameters_from,
    present,
    with_rows,
)

Steps = dict[int, N]  # an array for each step t, from 1
Arrays = dict[str, NumpyArray]  # by the names of a report


@dataclass
class Tensors(Generic[N]):
    """The tensors of a window by their steps. h has h[0] too, and dh and da have zeros after the last step."""

    x: Steps[N]
    a: Steps[N] = field(default_factory=dict)
    h: Steps[N] = field(default_factory=dict)
    y: Steps[N] = field(default_factory=dict)
    dy: Steps[N] = field(default_factory=dict)
    dh: Steps[N] = field(default_factory=dict)
    da: Steps[N] = field(default_factory=dict)

    @property
    def steps(self) -> range:
        """1 to T."""
        return range(1, len(self.x) + 1)


# -- forward ----------------------------------------------------------------------------------------------------------


def pre_activation(n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], t: int) -> N:
    """a_t."""
    return n.affine([(w.x[t], p.W_xh), (w.h[t - 1], p.W_hh)], p.b_h, p.b_hh)  # (F1)


def state(n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], t: int, nonlinearity: str) -> N:
    """h_t."""
    return n.phi(w.a[t], nonlinearity)  # (F2)


def output(n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], t: int) -> N:
    """y_t."""
    return n.affine([(w.h[t], p.W_hy)], p.b_y)  # (F3)


def loss_and_error(
    n: Arithmetic[N], y: N, target: N, weights: N, objective: Objective
) -> tuple[N | None, N]:
    """L and dy of the steps with a loss, (K, ..., B, O); no loss where dy is given."""
    if objective.loss == GIVEN_DY:
        return None, target
    return n.loss_and_error(y, target, weights, objective)  # (L1) to (L4), (B1)


def adjoint_without_loss(n: Arithmetic[N], w: Tensors[N], t: int) -> N:
    """dy_t of an older step of the window."""
    return n.zeros(w.y[t])  # (B1)


# -- backward ---------------------------------------------------------------------------------------------------------


def state_adjoint(n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], t: int) -> N:
    """dh_t."""
    return n.affine([(w.dy[t], p.W_hy.mT), (w.da[t + 1], p.W_hh.mT)])  # (B2)


def pre_activation_adjoint(
    n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], t: int, nonlinearity: str
) -> N:
    """da_t."""
    return n.by_slope(w.dh[t], w.a[t], w.h[t], nonlinearity)  # (B3)


def input_weights_gradient(n: Arithmetic[N], w: Tensors[N]) -> N:
    """dW_xh."""
    return n.affine([(w.x[t].mT, w.da[t]) for t in w.steps])  # (B4)


def recurrent_weights_gradient(n: Arithmetic[N], w: Tensors[N]) -> N:
    """dW_hh."""
    return n.affine([(w.h[t - 1].mT, w.da[t]) for t in w.steps])  # (B5)


def output_weights_gradient(n: Arithmetic[N], w: Tensors[N]) -> N:
    """dW_hy."""
    return n.affine([(w.h[t].mT, w.dy[t]) for t in w.steps])  # (B6)


def hidden_bias_gradient(n: Arithmetic[N], w: Tensors[N]) -> N:
    """db_h, and that of a second hidden bias."""
    return n.total([w.da[t] for t in w.steps])  # (B7)


def output_bias_gradient(n: Arithmetic[N], w: Tensors[N]) -> N:
    """db_y."""
    return n.total([w.dy[t] for t in w.steps])  # (B8)


def initial_state_adjoint(n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N]) -> N:
    """dh_0."""
    return n.affine([(w.da[1], p.W_hh.mT)])  # (B9)


def input_adjoint(n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], t: int) -> N:
    """dx_t."""
    return n.affine([(w.da[t], p.W_xh.mT)])  # (B10)


# -- step -------------------------------------------------------------------------------------------------------------


def clipped(n: Arithmetic[N], d: dict[str, N], p: dict[str, N], step: Step) -> dict[str, N]:
    """The gradients after clipping."""
    if step.max_norm is not None:
        factor = n.factor(n.norm(list(d.values())), step.max_norm)  # (U2), (U3)
        return {name: n.expand(factor, g) * g for name, g in d.items()}  # (U3)
    if step.max_value is not None:
        return {name: n.clip(g, step.max_value) for name, g in d.items()}  # (U7)
    return d


def decayed(n: Arithmetic[N], name: str, g: N, theta: N, step: Step) -> N:
    """The gradient with weight decay."""
    return g + n.constant(step.weight_decay) * theta if step.weight_decay else g  # (U4)


def velocity(n: Arithmetic[N], g: N, before: N | None, step: Step) -> N:
    """v, or Adagrad's sum of squares; `before` is None at the first step."""
    if step.adagrad:
        return g * g if before is None else before + g * g  # (U8)
    if before is None:
        return g  # (U5)
    return (
        n.constant(step.momentum) * before + (n.constant(1.0) - n.constant(step.dampening)) * g
    )  # (U5)


def direction(n: Arithmetic[N], g: N, v: N | None, before: N | None, step: Step) -> N:
    """What the rate multiplies; v is None without momentum and Adagrad."""
    if v is None:
        return g
    if step.adagrad:
        return n.by_root(g, v)  # (U9)
    return g + n.constant(step.momentum) * v if step.nesterov else v  # (U6)


def updated(n: Arithmetic[N], name: str, theta: N, delta: N, step: Step) -> N:
    """θ after the step."""
    return theta - n.rate(step, theta) * delta  # (U1)


def updated_by_velocity(n: Arithmetic[N], theta: N, g: N, v: N | None, step: Step) -> N:
    """θ after a step whose velocity has the factor −η already, as g has."""
    if v is None:
        return theta + g
    return n.add(theta, g, n.constant(step.momentum) * v) if step.nesterov else theta + v


# -- training loop ----------------------------------------------------------------------------------------------------


def window(T: int, new: int, k1: int, k2: int) -> Window:
    """The window whose new steps follow step `new` of the series."""
    stop = min(new + k1, T)  # (T1)
    return Window(max(0, stop - k2), new, stop)  # (T2)


def carried_state(states: Steps[NumpyArray], window: Window, epoch: int) -> NumpyArray:
    """The initial state of a window, from the latest states by their step of the series, h_0 at 0."""
    return states[window.start]  # (T3)


# -- one window and its step ------------------------------------------------------------------------------------------


@overload
def window_update(case: WindowCase, n: None = None, of: "Definition | None" = None) -> Arrays: ...
@overload
def window_update(
    case: WindowCase, n: Arithmetic[N], of: "Definition | None" = None
) -> dict[str, N]: ...
def window_update(
    case: WindowCase, n: Arithmetic[Any] | None = None, of: "Definition | None" = None
) -> dict[str, Any]:
    """The report of a case with all intermediate values, as numbers of this arithmetic.

    Arrays have the axis of time first, and the leading axes of networks or updates after it.
    """
    n, of, case = n or Floats(case.params.W_hh.dtype), of or DEFINITION, with_rows(case)
    n.axes = case.params.W_hh.ndim - 2
    p = TwoBiases(**{name: n.given(theta) for name, theta in present(case.params).items()})
    w = Tensors({t: n.given(n.with_axes(x_t)) for t, x_t in enumerate(case.x, 1)})
    w.h[0] = n.given(n.with_axes(initial_state(case))) if p.h_0 is None else p.h_0
    of.forward(n, w, p, case.objective.nonlinearity, of)
    older = len(case.x) - len(case.target)
    target = n.given(np.stack([n.with_axes(row) for row in case.target]))
    weights = np.ones((), case.params.W_hh.dtype)
    if case.weights is not None:
        weights = np.stack([n.with_axes(row[..., None]) for row in case.weights])
    y = n.stack([w.y[t] for t in w.steps[older:]])
    loss, errors = of.loss_and_error(n, y, target, n.given(weights), case.objective)
    if loss is not None:
        n.see("loss", None, loss)
    for t in w.steps:
        w.dy[t] = n.see(
            "dy", t, of.adjoint_without_loss(n, w, t) if t <= older else errors[t - 1 - older]
        )
    d = of.backward(n, w, p, case.objective.nonlinearity, of)
    if case.step is not None:
        update(n, present(p), d, present(case.velocity), case.step, of)
    return n.report()


def forward(
    n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], nonlinearity: str, of: "Definition"
) -> None:
    """a, h and y of all steps."""
    for t in w.steps:
        w.a[t] = n.see("a", t, of.pre_activation(n, w, p, t))
        w.h[t] = n.see("h", t, of.state(n, w, p, t, nonlinearity))
        w.y[t] = n.see("y", t, of.output(n, w, p, t))


def backward(
    n: Arithmetic[N], w: Tensors[N], p: TwoBiases[N], nonlinearity: str, of: "Definition"
) -> dict[str, N]:
    """dh and da of all steps, and the gradients of the parameters by their names."""
    after = len(w.x) + 1
    w.dh[after] = w.da[after] = n.zeros(w.a[after - 1])
    for t in reversed(w.steps):
        w.dh[t] = n.see("dh", t, of.state_adjoint(n, w, p, t))
        w.da[t] = n.see("da", t, of.pre_activation_adjoint(n, w, p, t, nonlinearity))
    for t in w.steps:
        n.see("dx", t, of.input_adjoint(n, w, p, t))
    d = {"h_0": n.see("dh_0", None, of.initial_state_adjoint(n, w, p))}
    d["W_xh"] = n.see("dW_xh", None, of.input_weights_gradient(n, w))
    d["W_hh"] = n.see("dW_hh", None, of.recurrent_weights_gradient(n, w))
    d["W_hy"] = n.see("dW_hy", None, of.output_weights_gradient(n, w))
    for name, gradient in (
        ("b_h", of.hidden_bias_gradient), ("b_y", of.output_bias_gradient), ("b_hh", of.hidden_bias_gradient)
    ):  # fmt: skip
        if getattr(p, name) is not None:
            d[name] = n.see("d" + name, None, gradient(n, w))
    return {name: d[name] for name in present(p)}


def update(
    n: Arithmetic[N],
    p: dict[str, N],
    d: dict[str, N],
    before: Arrays,
    step: Step,
    of: "Definition | None" = None,
) -> dict[str, N]:
    """The parameters after the step, by name; `before`: the velocities, or sums of squares, before it."""
    of = of or DEFINITION
    after, gradients = dict[str, N](), of.clipped(n, d, p, step)
    for name, theta in p.items():
        g = of.decayed(n, name, gradients[name], theta, step)
        g = -n.rate(step, theta) * g if isinstance(step, RateInVelocity) else g
        v, former = None, n.given(before[name]) if name in before else None
        if step.has_velocity:
            v = n.see("v" + name, None, of.velocity(n, g, former, step))
        if isinstance(step, RateInVelocity):
            after[name] = n.see(name, None, updated_by_velocity(n, theta, g, v, step))
        else:
            delta = of.direction(n, g, v, former, step)
            after[name] = n.see(name, None, of.updated(n, name, theta, delta, step))
    return after


Equation = Callable[..., Any]  # of any numbers


class Definition(NamedTuple):
    """The functions of the equations."""

    pre_activation: Equation = pre_activation
    state: Equation = state
    output: Equation = output
    loss_and_error: Equation = loss_and_error
    adjoint_without_loss: Equation = adjoint_without_loss
    state_adjoint: Equation = state_adjoint
    pre_activation_adjoint: Equation = pre_activation_adjoint
    input_weights_gradient: Equation = input_weights_gradient
    recurrent_weights_gradient: Equation = recurrent_weights_gradient
    output_weights_gradient: Equation = output_weights_gradient
    hidden_bias_gradient: Equation = hidden_bias_gradient
    output_bias_gradient: Equation = output_bias_gradient
    initial_state_adjoint: Equation = initial_state_adjoint
    input_adjoint: Equation = input_adjoint
    clipped: Equation = clipped
    decayed: Equation = decayed
    velocity: Equation = velocity
    direction: Equation = direction
    updated: Equation = updated
    window: Equation = window
    carried_state: Equation = carried_state
    forward: Equation = forward  # the loops over the steps
    backward: Equation = backward


DEFINITION = Definition()


# -- a run ------------------------------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """One update of a run: its place, the initial state of its window, and its report."""

    epoch: int
    number: int
    window: Window
    initial: NumpyArray
    report: Arrays


def train(
    run: Run,
    compute: Callable[[WindowCase], tuple[Arrays, NumpyArray]],
    of: Definition = DEFINITION,
) -> Iterator[Recorded]:
    """The updates of a run of TBPTT(k1, k2). compute(case): the report, and the states h_1 to h_T of the window."""
    (k1, k2, epochs), objective, step = run.options
    T, params, states = len(run.x), run.params, Steps[NumpyArray]()
    velocity: Any = None
    for epoch in range(1, epochs + 1):
        number, new = 0, 0
        while new < T:
            number, window = number + 1, of.window(T, new, k1, k2)
            learns = params.h_0 is not None
            if window.start == 0:
                first: Any = params.h_0 if learns else run.h_0
                states[0] = np.broadcast_to(first, (*params.W_hh.shape[:-2], *first.shape[-2:]))
            h_0 = of.carried_state(states, window, epoch)
            weights = None if run.weights is None else run.weights[window.loss_start : window.stop]
            x, target = (
                run.x[window.start : window.stop],
                run.target[window.loss_start : window.stop],
            )
            case = WindowCase(params, x, target, h_0, weights, objective, step, velocity)
            if learns and window.start > 0:  # the learned state is not a parameter of this window
                case = case._replace(
                    params=params._replace(h_0=None),
                    velocity=velocity and velocity._replace(h_0=None),
                )
            report, later = compute(case)
            if learns and window.start > 0:
                kept = {"h_0": params.h_0} | ({"vh_0": velocity.h_0} if step.has_velocity else {})
                report = {"dh_0": np.zeros_like(h_0)} | report | kept
            states |= dict(enumerate(later, window.start + 1))
            params = parameters_from(report)
            velocity = parameters_from(report, "v") if step.has_velocity else None
            yield Recorded(epoch, number, window, h_0, report)
            new = window.stop
