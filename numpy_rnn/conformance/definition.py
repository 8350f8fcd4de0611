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
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Objective, Run, Step, Window, WindowCase
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

Steps = dict[int, Any]  # an array for each step t, from 1
Arrays = dict[str, Any]  # by the names of a report


@dataclass
class Tensors:
    """The tensors of a window by their steps. h has h[0] too, and dh and da have zeros after the last step."""

    x: Steps
    a: Steps = field(default_factory=dict)
    h: Steps = field(default_factory=dict)
    y: Steps = field(default_factory=dict)
    dy: Steps = field(default_factory=dict)
    dh: Steps = field(default_factory=dict)
    da: Steps = field(default_factory=dict)

    @property
    def steps(self) -> range:
        """1 to T."""
        return range(1, len(self.x) + 1)


# -- forward ----------------------------------------------------------------------------------------------------------


def pre_activation(n: Floats, w: Tensors, p: TwoBiases, t: int) -> Any:
    """a_t."""
    return n.affine([(w.x[t], p.W_xh), (w.h[t - 1], p.W_hh)], p.b_h, p.b_hh)  # (F1)


def state(n: Floats, w: Tensors, p: TwoBiases, t: int, nonlinearity: str) -> Any:
    """h_t."""
    return n.phi(w.a[t], nonlinearity)  # (F2)


def output(n: Floats, w: Tensors, p: TwoBiases, t: int) -> Any:
    """y_t."""
    return n.affine([(w.h[t], p.W_hy)], p.b_y)  # (F3)


def loss_and_error(n: Floats, y: Any, target: Any, weights: Any, objective: Objective) -> tuple[Any, Any]:
    """L and dy of the steps with a loss, (K, ..., B, O); no loss where dy is given."""
    if objective.loss == GIVEN_DY:
        return None, target
    return n.loss_and_error(y, target, weights, objective)  # (L1) to (L4), (B1)


def adjoint_without_loss(n: Floats, w: Tensors, t: int) -> Any:
    """dy_t of an older step of the window."""
    return n.zeros(w.y[t])  # (B1)


# -- backward ---------------------------------------------------------------------------------------------------------


def state_adjoint(n: Floats, w: Tensors, p: TwoBiases, t: int) -> Any:
    """dh_t."""
    return n.affine([(w.dy[t], p.W_hy.mT), (w.da[t + 1], p.W_hh.mT)])  # (B2)


def pre_activation_adjoint(n: Floats, w: Tensors, p: TwoBiases, t: int, nonlinearity: str) -> Any:
    """da_t."""
    return n.by_slope(w.dh[t], w.a[t], w.h[t], nonlinearity)  # (B3)


def input_weights_gradient(n: Floats, w: Tensors) -> Any:
    """dW_xh."""
    return n.affine([(w.x[t].mT, w.da[t]) for t in w.steps])  # (B4)


def recurrent_weights_gradient(n: Floats, w: Tensors) -> Any:
    """dW_hh."""
    return n.affine([(w.h[t - 1].mT, w.da[t]) for t in w.steps])  # (B5)


def output_weights_gradient(n: Floats, w: Tensors) -> Any:
    """dW_hy."""
    return n.affine([(w.h[t].mT, w.dy[t]) for t in w.steps])  # (B6)


def hidden_bias_gradient(n: Floats, w: Tensors) -> Any:
    """db_h, and that of a second hidden bias."""
    return n.total([w.da[t] for t in w.steps])  # (B7)


def output_bias_gradient(n: Floats, w: Tensors) -> Any:
    """db_y."""
    return n.total([w.dy[t] for t in w.steps])  # (B8)


def initial_state_adjoint(n: Floats, w: Tensors, p: TwoBiases) -> Any:
    """dh_0."""
    return n.affine([(w.da[1], p.W_hh.mT)])  # (B9)


def input_adjoint(n: Floats, w: Tensors, p: TwoBiases, t: int) -> Any:
    """dx_t."""
    return n.affine([(w.da[t], p.W_xh.mT)])  # (B10)


# -- step -------------------------------------------------------------------------------------------------------------


def clipped(n: Floats, d: Arrays, p: Arrays, step: Step) -> Arrays:
    """The gradients after clipping."""
    if step.max_norm is not None:
        factor = n.factor(n.norm(list(d.values())), step.max_norm)  # (U2), (U3)
        return {name: n.expand(factor, g) * g for name, g in d.items()}  # (U3)
    if step.max_value is not None:
        return {name: n.clip(g, step.max_value) for name, g in d.items()}  # (U7)
    return d


def decayed(n: Floats, name: str, g: Any, theta: Any, step: Step) -> Any:
    """The gradient with weight decay."""
    return g + n.constant(step.weight_decay) * theta if step.weight_decay else g  # (U4)


def velocity(n: Floats, g: Any, before: Any, step: Step) -> Any:
    """v, or Adagrad's sum of squares; `before` is None at the first step."""
    if step.adagrad:
        return g * g if before is None else before + g * g  # (U8)
    if before is None:
        return g  # (U5)
    return n.constant(step.momentum) * before + (n.constant(1.0) - n.constant(step.dampening)) * g  # (U5)


def direction(n: Floats, g: Any, v: Any, before: Any, step: Step) -> Any:
    """What the rate multiplies; v is None without momentum and Adagrad."""
    if step.adagrad:
        return n.by_root(g, v)  # (U9)
    if v is None:
        return g
    return g + n.constant(step.momentum) * v if step.nesterov else v  # (U6)


def updated(n: Floats, name: str, theta: Any, delta: Any, step: Step) -> Any:
    """θ after the step."""
    return theta - n.rate(step, theta) * delta  # (U1)


def updated_by_velocity(n: Floats, theta: Any, g: Any, v: Any, step: Step) -> Any:
    """θ after a step whose velocity has the factor −η already, as g has."""
    if v is None:
        return theta + g
    return n.add(theta, g, n.constant(step.momentum) * v) if step.nesterov else theta + v


# -- training loop ----------------------------------------------------------------------------------------------------


def window(T: int, new: int, k1: int, k2: int) -> Window:
    """The window whose new steps follow step `new` of the series."""
    stop = min(new + k1, T)  # (T1)
    return Window(max(0, stop - k2), new, stop)  # (T2)


def carried_state(states: Steps, window: Window, epoch: int) -> Any:
    """The initial state of a window, from the latest states by their step of the series, h_0 at 0."""
    return states[window.start]  # (T3)


# -- one window and its step ------------------------------------------------------------------------------------------


def window_update(case: WindowCase, n: Floats | None = None, of: "Definition | None" = None) -> Arrays:
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
    weights = 1.0 if case.weights is None else np.stack([n.with_axes(row[..., None]) for row in case.weights])
    y = n.stack([w.y[t] for t in w.steps[older:]])
    loss, errors = of.loss_and_error(n, y, target, n.given(weights), case.objective)
    if loss is not None:
        n.see("loss", None, loss)
    for t in w.steps:
        w.dy[t] = n.see("dy", t, of.adjoint_without_loss(n, w, t) if t <= older else errors[t - 1 - older])
    d = of.backward(n, w, p, case.objective.nonlinearity, of)
    if case.step is not None:
        update(n, present(p), d, present(case.velocity), case.step, of)
    return n.report()


def forward(n: Floats, w: Tensors, p: TwoBiases, nonlinearity: str, of: "Definition") -> None:
    """a, h and y of all steps."""
    for t in w.steps:
        w.a[t] = n.see("a", t, of.pre_activation(n, w, p, t))
        w.h[t] = n.see("h", t, of.state(n, w, p, t, nonlinearity))
        w.y[t] = n.see("y", t, of.output(n, w, p, t))


def backward(n: Floats, w: Tensors, p: TwoBiases, nonlinearity: str, of: "Definition") -> Arrays:
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


def update(n: Floats, p: Arrays, d: Arrays, before: Arrays, step: Step, of: "Definition | None" = None) -> Arrays:
    """The parameters after the step, by name; `before`: the velocities, or sums of squares, before it."""
    of = of or DEFINITION
    after, gradients = Arrays(), of.clipped(n, d, p, step)
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


class Definition(NamedTuple):
    """The functions of the equations."""

    pre_activation: Callable[..., Any] = pre_activation
    state: Callable[..., Any] = state
    output: Callable[..., Any] = output
    loss_and_error: Callable[..., tuple[Any, Any]] = loss_and_error
    adjoint_without_loss: Callable[..., Any] = adjoint_without_loss
    state_adjoint: Callable[..., Any] = state_adjoint
    pre_activation_adjoint: Callable[..., Any] = pre_activation_adjoint
    input_weights_gradient: Callable[..., Any] = input_weights_gradient
    recurrent_weights_gradient: Callable[..., Any] = recurrent_weights_gradient
    output_weights_gradient: Callable[..., Any] = output_weights_gradient
    hidden_bias_gradient: Callable[..., Any] = hidden_bias_gradient
    output_bias_gradient: Callable[..., Any] = output_bias_gradient
    initial_state_adjoint: Callable[..., Any] = initial_state_adjoint
    input_adjoint: Callable[..., Any] = input_adjoint
    clipped: Callable[..., Arrays] = clipped
    decayed: Callable[..., Any] = decayed
    velocity: Callable[..., Any] = velocity
    direction: Callable[..., Any] = direction
    updated: Callable[..., Any] = updated
    window: Callable[..., Window] = window
    carried_state: Callable[..., Any] = carried_state
    forward: Callable[..., None] = forward  # the loops over the steps
    backward: Callable[..., Arrays] = backward


DEFINITION = Definition()


# -- a run ------------------------------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """One update of a run: its place, the initial state of its window, and its report."""

    epoch: int
    number: int
    window: Window
    initial: Any
    report: Arrays


def train(
    run: Run, compute: Callable[[WindowCase], tuple[Arrays, Any]], of: Definition = DEFINITION
) -> Iterator[Recorded]:
    """The updates of a run of TBPTT(k1, k2). compute(case): the report, and the states h_1 to h_T of the window."""
    (k1, k2, epochs), objective, step = run.options
    T, params, states = len(run.x), run.params, dict[int, Any]()
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
            x, target = run.x[window.start : window.stop], run.target[window.loss_start : window.stop]
            case = WindowCase(params, x, target, h_0, weights, objective, step, velocity)
            if learns and window.start > 0:  # the learned state is not a parameter of this window
                case = case._replace(
                    params=params._replace(h_0=None), velocity=velocity and velocity._replace(h_0=None)
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
