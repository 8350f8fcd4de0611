"""The network and its training loop as most people write them: one step of time after the other.

The mutants are this file with a line or two changed, and the driver of ports is its loop. It computes DERIVATION.md for
one network or an ensemble, with every option that a case or a run can have.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Objective, Run, Step, Window, WindowCase
from numpy_rnn.conformance.case import GIVEN_DY, RateInVelocity, initial_state, parameters_from, present, with_rows

Arrays = dict[str, Any]
PHI: dict[str, Any] = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: 0.5 + 0.5 * np.tanh(0.5 * a),
}


def tanh_slope(h, a):
    return 1 - h * h


def relu_slope(h, a):
    return (h > 0).astype(h.dtype)


def sigmoid_slope(h, a):
    return h * (1 - h)


SLOPES = {"tanh": tanh_slope, "relu": relu_slope, "sigmoid": sigmoid_slope}


def window_update(case: WindowCase) -> Arrays:
    """The report of a case, with all intermediate values."""
    case = with_rows(case)
    p, x, target, h_0 = present(case.params), case.x, case.target, initial_state(case)
    K = len(target)
    a, h, y = forward(p, x, h_0, case.objective.nonlinearity)
    loss, error = loss_and_error(y[-K:], target, case.weights, case.objective)
    dy = np.concatenate((0 * y[:-K], error))
    dh, da, dh_0 = backward(p, a, h, dy, case.objective.nonlinearity)
    d = gradients(p, x, h, dy, da)
    dx = np.stack([da_t @ p["W_xh"].mT for da_t in da])  # (B10)
    d = d | ({"h_0": dh_0} if "h_0" in p else {})
    report = {"a": a, "h": h[1:], "y": y, "dy": dy, "dh": dh, "da": da, "dx": dx, "dh_0": dh_0}
    report |= {"loss": loss} if case.objective.loss != GIVEN_DY else {}
    stepped = {} if case.step is None else update(p, d, present(case.velocity), case.step)
    return report | {"d" + name: g for name, g in d.items()} | stepped


def forward(p: Arrays, x: Any, h_0: Any, nonlinearity: str) -> tuple[Any, Any, Any]:
    """a and y of the steps 1 to T, and h of 0 to T."""
    a: list[Any] = []
    h: list[Any] = [state_of_each(p["W_hh"], h_0)]
    y: list[Any] = []
    for x_t in x:
        a_t = x_t @ p["W_xh"] + h[-1] @ p["W_hh"]  # (F1)
        for name in ("b_h", "b_hh"):
            a_t = a_t + p[name][..., None, :] if name in p else a_t  # (F1)
        h_t = PHI[nonlinearity](a_t)  # (F2)
        y_t = h_t @ p["W_hy"]  # (F3)
        y_t = y_t + p["b_y"][..., None, :] if "b_y" in p else y_t  # (F3)
        a, h, y = [*a, a_t], [*h, h_t], [*y, y_t]
    return np.stack(a), np.stack(h), np.stack(y)


def loss_and_error(y: Any, target: Any, weights: Any, objective: Objective) -> tuple[Any, Any]:
    """The loss of the window, and dy of its steps with a loss."""
    axes = (1,) * (y.ndim - 3)
    K, B, O = target.shape[0], target.shape[-2], target.shape[-1]
    target = target if target.ndim == y.ndim else target.reshape(K, *axes, B, O)
    w = 1 if weights is None else weights.reshape(K, *axes, B, 1)
    N = K * B if weights is None else weights.sum() or 1
    if objective.loss == GIVEN_DY:
        return None, target
    if objective.loss == "cross_entropy":
        z = y - y.max(axis=-1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))  # (L3)
        losses = -(target * log_p)  # (L4)
        error = np.exp(log_p) * target.sum(axis=-1, keepdims=True) - target  # (B1)
    else:
        N = N * O
        losses = 0.5 * (y - target) * (y - target)  # (L1)
        error = y - target  # (B1)
    N = N if objective.reduction == "mean" else 1  # (L2)
    return (w * losses).sum(axis=(0, -2, -1)) / N, w * error / N  # (L2), (B1)


def backward(p: Arrays, a: Any, h: Any, dy: Any, nonlinearity: str) -> tuple[Any, Any, Any]:
    """dh and da of all steps, and dh_0."""
    T = len(a)
    dh, da, flow = [dy] * T, [dy] * T, 0 * h[0]
    for t in reversed(range(T)):
        dh[t] = dy[t] @ p["W_hy"].mT + flow  # (B2)
        da[t] = dh[t] * SLOPES[nonlinearity](h[t + 1], a[t])  # (B3)
        flow = da[t] @ p["W_hh"].mT  # (B2), (B9)
    return np.stack(dh), np.stack(da), flow


def gradients(p: Arrays, x: Any, h: Any, dy: Any, da: Any) -> Arrays:
    """The gradients of weights and biases."""
    T, d = range(len(x)), {}
    d["W_xh"] = sum(x[t].mT @ da[t] for t in T)  # (B4)
    d["W_hh"] = sum(h[t].mT @ da[t] for t in T)  # (B5)
    d["W_hy"] = sum(h[t + 1].mT @ dy[t] for t in T)  # (B6)
    db_h = sum(da[t].sum(axis=-2) for t in T)  # (B7)
    db_y = sum(dy[t].sum(axis=-2) for t in T)  # (B8)
    return d | {name: db for name, db in (("b_h", db_h), ("b_y", db_y), ("b_hh", db_h)) if name in p}


def update(p: Arrays, d: Arrays, velocity: Arrays, step: Step) -> Arrays:
    """The velocities and the new parameters."""
    E = p["W_hh"].ndim - 2
    rate, clipped, report = np.asarray(step.learning_rate, p["W_hh"].dtype), d, {}
    if step.max_norm is not None:
        squares = sum((g * g).sum(axis=tuple(range(E, g.ndim))) for g in d.values())
        norm = np.sqrt(squares)  # (U2)
        factor = np.minimum(1, step.max_norm / (norm + 1e-6))  # (U3)
        clipped = {name: expand(factor, g) * g for name, g in d.items()}  # (U3)
    if step.max_value is not None:
        clipped = {name: np.clip(g, -step.max_value, step.max_value) for name, g in d.items()}  # (U7)
    mu, tau, decay = step.momentum, step.dampening, step.weight_decay
    for name, theta in p.items():
        g = clipped[name]
        g = g + decay * theta if decay else g  # (U4)
        if isinstance(step, RateInVelocity):
            g = -expand(rate, theta) * g
        v, before = None, velocity.get(name)
        delta = g
        if step.adagrad:
            v = g * g if before is None else before + g * g  # (U8)
            delta = g / np.sqrt(v + 1e-8)  # (U9)
        elif mu:
            v = g if before is None else mu * before + (1 - tau) * g  # (U5)
            delta = g + mu * v if step.nesterov else v  # (U6)
        report[name] = theta - expand(rate, theta) * delta  # (U1)
        if isinstance(step, RateInVelocity):
            report[name] = theta + delta
        report |= {} if v is None else {"v" + name: v}
    return report


def state_of_each(W_hh: Any, h_0: Any) -> Any:
    """The initial state with the axes of an ensemble."""
    return np.broadcast_to(h_0, (*W_hh.shape[:-2], *h_0.shape[-2:]))


def expand(per_network: Any, array: Any) -> Any:
    """One number per network, with the axes of an array of all networks."""
    return per_network if np.ndim(per_network) == 0 else per_network.reshape(
        *per_network.shape, *(1,) * (array.ndim - per_network.ndim))  # fmt: skip


class Recorded(NamedTuple):
    """One update of a run: its place, the initial state of its window, and its report."""

    epoch: int
    number: int
    window: Window
    initial: Any
    report: Arrays


def train(run: Run, compute: Callable[[WindowCase], tuple[Arrays, Any]]) -> Iterator[Recorded]:
    """The updates of a run of TBPTT(k1, k2). compute(case): the report, and the states h_1 to h_T of the window."""
    (k1, k2, epochs), objective, step = run.options
    T, params = len(run.x), run.params
    velocity: Any = None
    for epoch in range(1, epochs + 1):
        states: list[Any] = []
        first = 0
        for number, new in enumerate(range(0, T, k1), start=1):
            stop = min(new + k1, T)  # (T1)
            start = max(0, stop - k2)  # (T2)
            learns = params.h_0 is not None
            if start == 0:
                h_0 = params.h_0 if learns else run.h_0
                states, first = [state_of_each(params.W_hh, h_0)], 0
            h_0 = states[start - first]  # (T3)
            weights = None if run.weights is None else run.weights[new:stop]
            case = WindowCase(params, run.x[start:stop], run.target[new:stop], h_0, weights, objective, step, velocity)
            if learns and start > 0:  # the learned state is not a parameter of this window
                case = case._replace(
                    params=params._replace(h_0=None), velocity=velocity and velocity._replace(h_0=None)
                )
            report, later = compute(case)
            if learns and start > 0:
                kept = {"h_0": params.h_0} | ({"vh_0": velocity.h_0} if step.has_velocity else {})
                report = {"dh_0": np.zeros_like(h_0)} | report | kept
            states, first = [h_0, *later], start
            params = parameters_from(report)
            velocity = parameters_from(report, "v") if step.has_velocity else None
            yield Recorded(epoch, number, Window(start, new, stop), h_0, report)
