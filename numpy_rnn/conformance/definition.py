"""The network, its gradient, its SGD step and its training loop: every equation once.

An equation is a method of `Definition`: of the numbers `n` that it runs on, the tensors
`w` of the window, the parameters `p`, and the step t. w.h[t - 1] is h_{t-1} of
DERIVATION.md. The arithmetic (`arithmetics/`) gives values, derivatives by complex
step, rounding bounds, or random roundings.

n.pass_on("a", t, value) notes a tensor, and returns what the equations after it
continue from. That is the value at L2. At L1 it is the number that an implementation
reports in its place: so every equation starts anew, and a mistake shows once.

A mutant is a Definition with other equations, given as functions without `self` or in a
subclass:

    Definition(state_adjoint=lambda n, w, p, t: n.affine([(w.dy[t], p.W_hy.mT)]))

This module imports neither numpy_rnn's reference and engine nor torch, and shares no
line with them. The backward equations are checked against the complex-step derivative
of the forward ones, and the step against torch.optim.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import (
    NumpyArray,
    Objective,
    Parameters,
    Run,
    Step,
    Window,
)
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic, Operand
from numpy_rnn.conformance.case import (
    NamedArrays,
    WindowCase,
    initial_state_of,
    leading_axes,
    parameters_from,
    present,
    with_rows,
)

Steps = dict[int, Operand]  # an array for each step t, from 1
NamedOperands = dict[str, Operand]
OperandParameters = Parameters[Operand]
# The methods of the definition, by the parameters.
GRADIENTS = {
    "W_xh": "input_weights_gradient",
    "W_hh": "recurrent_weights_gradient",
    "W_hy": "output_weights_gradient",
    "b_h": "hidden_bias_gradient",
    "b_y": "output_bias_gradient",
}


class Tensors:
    """The tensors of a window by step. h has h[0] too; dh and da have zeros after the
    last step.
    """

    def __init__(self, x: Steps):
        """Begin with the inputs alone."""
        self.x = x
        self.steps = range(1, len(x) + 1)
        self.a = Steps()
        self.h = Steps()
        self.y = Steps()
        self.dy = Steps()
        self.dh = Steps()
        self.da = Steps()


class Definition:
    """The equations, and the loops over the steps of a window. `equations` replace its
    methods.
    """

    def __init__(self, **equations: Callable[..., Any]):
        """Replace equations by their names. Raises LookupError if there is none."""
        for name, equation in equations.items():
            if not hasattr(Definition, name):
                raise LookupError(f"{name!r} is no equation of the definition")
            setattr(self, name, equation)

    # -- forward

    def pre_activation(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters, t: int
    ) -> Operand:
        """Return a_t."""
        return n.affine([(w.x[t], p.W_xh), (w.h[t - 1], p.W_hh)], p.b_h)  # (F1) a_t

    def state(
        self, n: NumpyArithmetic, w: Tensors, t: int, nonlinearity: str
    ) -> Operand:
        """Return h_t."""
        return n.phi(w.a[t], nonlinearity)  # (F2) h_t

    def output(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters, t: int
    ) -> Operand:
        """Return y_t."""
        return n.affine([(w.h[t], p.W_hy)], p.b_y)  # (F3) y_t

    def loss_and_error(
        self, n: NumpyArithmetic, y: Operand, target: Operand, objective: Objective
    ) -> tuple[Operand, Operand]:
        """Return L, and dy of the steps with a loss, (K, ..., B, O)."""
        return n.loss_and_error(y, target, objective)  # (L1) to (L4), (B1)

    def adjoint_without_loss(self, n: NumpyArithmetic, w: Tensors, t: int) -> Operand:
        """Return dy_t of an older step of the window."""
        return n.zeros(w.y[t])  # (B1) dy_t of an older step of the window

    # -- backward

    def state_adjoint(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters, t: int
    ) -> Operand:
        """Return dh_t."""
        return n.affine([(w.dy[t], p.W_hy.mT), (w.da[t + 1], p.W_hh.mT)])  # (B2) dh_t

    def pre_activation_adjoint(
        self, n: NumpyArithmetic, w: Tensors, t: int, nonlinearity: str
    ) -> Operand:
        """Return da_t."""
        return n.by_slope(w.dh[t], w.a[t], w.h[t], nonlinearity)  # (B3) da_t

    def input_weights_gradient(self, n: NumpyArithmetic, w: Tensors) -> Operand:
        """Return dW_xh."""
        return n.affine([(w.x[t].mT, w.da[t]) for t in w.steps])  # (B4) dW_xh

    def recurrent_weights_gradient(self, n: NumpyArithmetic, w: Tensors) -> Operand:
        """Return dW_hh."""
        return n.affine([(w.h[t - 1].mT, w.da[t]) for t in w.steps])  # (B5) dW_hh

    def output_weights_gradient(self, n: NumpyArithmetic, w: Tensors) -> Operand:
        """Return dW_hy."""
        return n.affine([(w.h[t].mT, w.dy[t]) for t in w.steps])  # (B6) dW_hy

    def hidden_bias_gradient(self, n: NumpyArithmetic, w: Tensors) -> Operand:
        """Return db_h."""
        return n.total([w.da[t] for t in w.steps])  # (B7) db_h

    def output_bias_gradient(self, n: NumpyArithmetic, w: Tensors) -> Operand:
        """Return db_y."""
        return n.total([w.dy[t] for t in w.steps])  # (B8) db_y

    def initial_state_adjoint(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters
    ) -> Operand:
        """Return dh_0."""
        return n.affine([(w.da[1], p.W_hh.mT)])  # (B9) dh_0

    def input_adjoint(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters, t: int
    ) -> Operand:
        """Return dx_t."""
        return n.affine([(w.da[t], p.W_xh.mT)])  # (B10) dx_t

    # -- loops over the steps

    def forward(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
    ) -> None:
        """Compute a, h and y of all steps."""
        for t in w.steps:
            w.a[t] = n.pass_on("a", t, self.pre_activation(n, w, p, t))
            w.h[t] = n.pass_on("h", t, self.state(n, w, t, nonlinearity))
            w.y[t] = n.pass_on("y", t, self.output(n, w, p, t))

    def backward(
        self, n: NumpyArithmetic, w: Tensors, p: OperandParameters, nonlinearity: str
    ) -> NamedOperands:
        """Return dh and da of all steps, and the gradients of the parameters by their
        names.
        """
        after = len(w.x) + 1
        w.dh[after] = w.da[after] = n.zeros(w.a[after - 1])
        for t in reversed(w.steps):
            w.dh[t] = n.pass_on("dh", t, self.state_adjoint(n, w, p, t))
            w.da[t] = n.pass_on(
                "da", t, self.pre_activation_adjoint(n, w, t, nonlinearity)
            )
        for t in w.steps:
            n.pass_on("dx", t, self.input_adjoint(n, w, p, t))
        n.pass_on("dh_0", None, self.initial_state_adjoint(n, w, p))
        gradients = NamedOperands()
        for name in present(p):
            gradient = getattr(self, GRADIENTS[name])
            gradients[name] = n.pass_on("d" + name, None, gradient(n, w))
        return gradients

    # -- step

    def apply_step(
        self,
        n: NumpyArithmetic,
        p: NamedOperands,
        d: NamedOperands,
        velocities: NamedOperands,
        step: Step,
    ) -> NamedOperands:
        """Return the parameters after the step, by name.

        p, d, velocities: parameters, gradients, and velocities or sums of squares
        before it.
        """
        after = NamedOperands()
        for name, g in self.step_gradients(n, p, d, step):
            v = None
            if step.has_velocity:
                v = self.velocity(n, g, velocities.get(name), step)
                v = n.pass_on("v" + name, None, v)
            delta = self.direction(n, g, v, step)
            updated = self.updated(n, name, p[name], delta, step)
            after[name] = n.pass_on(name, None, updated)
        return after

    def step_gradients(
        self, n: NumpyArithmetic, p: NamedOperands, d: NamedOperands, step: Step
    ) -> Iterator[tuple[str, Operand]]:
        """Yield what goes into the velocity of every parameter, or into its change."""
        clipped = self.clipped(n, d, step)
        for name, theta in p.items():
            yield name, self.decayed(n, clipped[name], theta, step)

    def clipped(
        self, n: NumpyArithmetic, d: NamedOperands, step: Step
    ) -> NamedOperands:
        """Return the gradients after clipping."""
        if step.max_norm is not None:
            factor = n.factor(n.norm(list(d.values())), step.max_norm)  # (U2), (U3)
            return {name: n.expand(factor, g) * g for name, g in d.items()}  # (U3)
        if step.max_value is not None:
            return {name: n.clip(g, step.max_value) for name, g in d.items()}  # (U7)
        return d

    def decayed(
        self, n: NumpyArithmetic, g: Operand, theta: Operand, step: Step
    ) -> Operand:
        """Return the gradient with weight decay."""
        if not step.weight_decay:
            return g
        return g + n.constant(step.weight_decay) * theta  # (U4)

    def velocity(
        self, n: NumpyArithmetic, g: Operand, before: Operand | None, step: Step
    ) -> Operand:
        """Return v, or Adagrad's sum of squares; `before` is None at the first step."""
        if step.adagrad:
            return g * g if before is None else before + g * g  # (U8)
        if before is None:
            return g  # (U5)
        share = n.constant(1.0) - n.constant(step.dampening)
        return n.constant(step.momentum) * before + share * g  # (U5)

    def direction(
        self, n: NumpyArithmetic, g: Operand, v: Operand | None, step: Step
    ) -> Operand:
        """Return Δ, which the rate multiplies. v is None in plain SGD."""
        if v is None:
            return g
        if step.adagrad:
            return n.by_root(g, v)  # (U9)
        return g + n.constant(step.momentum) * v if step.nesterov else v  # (U6)

    def updated(
        self, n: NumpyArithmetic, name: str, theta: Operand, delta: Operand, step: Step
    ) -> Operand:
        """Return the parameter after the step."""
        return theta - n.rate(step, theta) * delta  # (U1)

    # -- training loop

    def window(self, T: int, new: int, k1: int, k2: int) -> Window:
        """Return the window whose new steps follow step `new` of the series."""
        stop = min(new + k1, T)  # (T1)
        older = min(k2 - k1, new)  # steps of the window before its new ones
        return Window(new - older, new, stop)  # (T2)

    def windows(self, run: Run) -> list[Window]:
        """Return the windows of an epoch."""
        k1, k2, _ = run.options.schedule
        T = len(run.x)
        new = 0
        windows = list[Window]()
        while new < T:
            windows.append(self.window(T, new, k1, k2))
            new = windows[-1].stop
        return windows

    def carried_state(
        self, states: Mapping[int, NumpyArray], window: Window
    ) -> NumpyArray:
        """Return the initial state of a window, from the latest states by step of the
        series; h_0 at 0.
        """
        return states[window.start]  # (T3)


DEFINITION = Definition()


def window_update(
    case: WindowCase,
    n: NumpyArithmetic | None = None,
    definition: Definition = DEFINITION,
) -> dict[str, Any]:
    """Return the report of a case with all intermediate values, as numbers of this
    arithmetic.

    Arrays have the axis of time first, and the leading axes of networks or updates
    after it.
    """
    case = with_rows(case)
    if n is None:
        n = NumpyArithmetic(case.dtype)
    n.axes = leading_axes(case.params)
    p = tree_map(n.from_input, case.params)
    w = Tensors({t: n.from_input(n.with_axes(x_t)) for t, x_t in enumerate(case.x, 1)})
    w.h[0] = n.from_input(n.with_axes(initial_state_of(case)))
    definition.forward(n, w, p, case.objective.nonlinearity)
    older = len(case.x) - len(case.target)
    target = n.from_input(np.stack([n.with_axes(row) for row in case.target]))
    y = n.stack([w.y[t] for t in w.steps[older:]])
    loss, dy = definition.loss_and_error(n, y, target, case.objective)
    n.pass_on("loss", None, loss)
    for t in w.steps:
        if t <= older:
            dy_t = definition.adjoint_without_loss(n, w, t)
        else:
            dy_t = dy[t - 1 - older]
        w.dy[t] = n.pass_on("dy", t, dy_t)
    d = definition.backward(n, w, p, case.objective.nonlinearity)
    if case.step is not None:
        velocities = NamedOperands()
        errors = present(case.velocity_error)
        for name, v in present(case.velocity).items():
            velocities[name] = n.from_input(v, errors.get(name, 0.0))
        definition.apply_step(n, present(p), d, velocities, case.step)
    return n.report()


class RecordedUpdate(NamedTuple):
    """One update of a run: its position, the initial state of its window, and
    its report.
    """

    epoch: int
    number: int
    window: Window
    initial: NumpyArray
    report: NamedArrays


def train(
    run: Run,
    compute: Callable[[WindowCase], NamedArrays] | None = None,
    definition: Definition = DEFINITION,
) -> Iterator[RecordedUpdate]:
    """Yield the updates of a run of TBPTT(k1, k2).

    compute(case): the report, by default that of the definition. Where it has no h,
    the states are those that the case gives.
    """
    if compute is None:
        compute = partial(window_update, definition=definition)
    schedule, objective, step = run.options
    params = run.params
    velocity = run.velocity
    networks = params.W_hh.shape[: leading_axes(params)]
    states = {0: np.broadcast_to(run.h_0, (*networks, *run.h_0.shape[-2:]))}
    for epoch in range(1, schedule.epochs + 1):
        for number, window in enumerate(definition.windows(run), 1):
            h_0 = definition.carried_state(states, window)
            x = run.x[window.start : window.stop]
            target = run.target[window.loss_start : window.stop]
            case = WindowCase(params, x, target, h_0, objective, step, velocity)
            report = compute(case)
            h = report["h"] if "h" in report else window_update(case)["h"]
            states.update(enumerate(h, window.start + 1))
            params = parameters_from(report)
            if step.has_velocity:
                velocity = parameters_from(report, "v")  # type: ignore[assignment]
            yield RecordedUpdate(epoch, number, window, h_0, report)
