"""One update written from the definitions alone, with the rounding that is allowed to a correct computation.

It calls nothing of the packages under test but their named tuples. `reference_update` computes one update step by step.
It has tests of its own, in test_window.py for a window and in test_sgd.py for the step.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
from comparing import UNDERFLOW, UNIT, each
from hypothesis import currently_in_test_context, reject

from numpy_rnn import Activations, Adjoints, Gradients, Parameters


class About:
    """A float64 value, and `off`: how far from it a correct computation may lie.

    Every operation passes on what its operands are off, to the full, and adds `unit` times the size of the terms
    that it sums, and what underflow may add; so the allowed difference follows the sums that were made, not the
    result, which may cancel.
    """

    def __init__(self, value, unit, off=0.0):
        self.value = np.asarray(value, dtype=np.float64)
        self.unit = unit
        self.off = off + np.zeros(self.value.shape)

    @property
    def most(self):
        return np.abs(self.value) + self.off

    def __add__(self, other):
        off = self.off + other.off + self.unit * (self.most + other.most)
        return About(self.value + other.value, self.unit, off)

    def __sub__(self, other):
        return self + About(-other.value, self.unit, other.off)

    def __mul__(self, other):
        inherited = self.off * np.abs(other.value) + np.abs(self.value) * other.off + self.off * other.off
        rounding = self.unit * self.most * other.most + UNDERFLOW[self.unit]
        return About(self.value * other.value, self.unit, inherited + rounding)

    def __matmul__(self, other):
        inherited = self.off @ np.abs(other.value) + np.abs(self.value) @ other.off + self.off @ other.off
        rounding = self.unit * self.most @ other.most + self.value.shape[-1] * UNDERFLOW[self.unit]
        return About(self.value @ other.value, self.unit, inherited + rounding)

    def __truediv__(self, number):
        rounding = self.unit * self.most / number + UNDERFLOW[self.unit]
        return About(self.value / number, self.unit, self.off / number + rounding)

    def over(self, other, most):
        """A quotient of size `most` at most, by positive numbers that may be anywhere near 0 as far as is known."""
        ratio, least = np.abs(self.value / other.value), other.value - other.off
        off = (self.off + ratio * other.off) / np.where(least > 0, least, 1)
        off = np.minimum(np.where(least > 0, off, np.inf), ratio + most)
        return About(self.value / other.value, self.unit, off + self.unit * (ratio + off) + UNDERFLOW[self.unit])

    def sqrt(self):
        root = np.sqrt(self.value)
        least, most = np.sqrt(np.maximum(self.value - self.off, 0)), np.sqrt(self.value + self.off)
        return About(root, self.unit, np.maximum(root - least, most - root) + self.unit * most)

    def clip_factor(self, max_norm):
        """min(1, max_norm / (norm + 10⁻⁶)) of a norm, at the ends of where it may lie: at 1 nothing is off."""
        norms = (self.value, 0), (self.value + self.off, -self.unit), (self.value - self.off, self.unit)
        value, least, most = (
            np.minimum(1, max_norm / (np.maximum(norm, 0) + 1e-6) * (1 + rounding)) for norm, rounding in norms
        )
        return About(value, self.unit, np.maximum(value - least, most - value))

    def sum(self, axis=None):
        return About(self.value.sum(axis), self.unit, self.off.sum(axis) + self.unit * self.most.sum(axis))

    def tanh(self):
        h = np.tanh(self.value)
        steepest = np.cosh(np.maximum(np.abs(self.value) - self.off, 0)) ** -2.0
        return About(h, self.unit, steepest * self.off + self.unit * np.abs(h))

    def sigmoid(self):
        """In the form ½ (1 + tanh(a/2)), whose sum rounds at 1; no slope is above ¼."""
        return About(0.5 * (1 + np.tanh(0.5 * self.value)), self.unit, 0.25 * self.off + self.unit)

    def log_softmax(self):
        """No number changes by more than twice the largest change of its row."""
        shifted = self.value - self.value.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        rounding = self.unit * (1 + np.abs(shifted).max(axis=-1, keepdims=True) + np.abs(log_p))
        return About(log_p, self.unit, 2 * self.off.max(axis=-1, keepdims=True) + rounding)

    def exp(self):
        p = np.exp(self.value)
        return About(p, self.unit, p * (np.expm1(self.off) + self.unit) + UNDERFLOW[self.unit])

    def clip(self, limit):
        return About(np.clip(self.value, -limit, limit), self.unit, self.off + self.unit * np.abs(self.value))

    def relu(self):
        if (np.abs(self.value) <= self.off).any():  # no case for a property, an error elsewhere
            if currently_in_test_context():
                reject()
            raise AssertionError("a pre-activation lies nearer to relu's kink than its rounding: choose another seed")
        return About(np.maximum(self.value, 0), self.unit, np.where(self.value > 0, self.off, 0))

    def __getitem__(self, index):
        return About(self.value[index], self.unit, self.off[index])

    @property
    def T(self):
        return About(self.value.T, self.unit, self.off.T)

    @staticmethod
    def stack(items):
        return About(np.stack([i.value for i in items]), items[0].unit, np.stack([i.off for i in items]))


class Expected(NamedTuple):
    """What one update computes, everything About."""

    activations: Activations
    loss: About
    adjoints: Adjoints
    gradients: Gradients
    parameters: Parameters
    velocity: Gradients | None = None


def values(expected, dtype):
    """The values of a tuple of About, rounded to a dtype."""
    return each(lambda about: about.value.astype(dtype), expected)


def allowed(expected):
    """How far from those values a correct computation may lie, in tuples of the same form."""
    return each(lambda about: about.off, expected)


def about(value, dtype):
    """A tuple of arrays as About; None stays None."""
    return each(lambda v: About(v, UNIT[str(dtype)]), value)


def reference_update(case, learning_rate=0.0, velocity=None, **options) -> Expected:
    """One update, written step by step for one network; options: of the step, as in `reference_step`."""
    dtype, unit = case.dtype, UNIT[str(case.dtype)]
    target, weights, terms = case.loss_rows
    x = in_rows(case.x, case.params.W_xh.shape[-2], dtype)
    params, x, target, weights, h_0, velocity = about((case.params, x, target, weights, case.initial, velocity), dtype)
    W_xh, W_hh, W_hy, b_h, b_y, learned = params
    T, K, nonlinearity = len(case.x), len(case.target), case.options["nonlinearity"]

    a, h, y = {}, {0: h_0}, {}
    for t in range(1, T + 1):
        a[t] = x[t - 1] @ W_xh + h[t - 1] @ W_hh
        a[t] = a[t] if b_h is None else a[t] + b_h
        h[t] = getattr(a[t], nonlinearity)()
        y[t] = h[t] @ W_hy
        y[t] = y[t] if b_y is None else y[t] + b_y

    one, nothing = About(1.0, unit), About(np.zeros(y[1].value.shape), unit)
    losses, dy = [], dict.fromkeys(y, nothing)
    for t in range(T - K + 1, T + 1):
        target_t, w_t = target[t - (T - K) - 1], weights[t - (T - K) - 1]
        if case.options["loss"] == "squared_error":
            e = y[t] - target_t
            losses.append((w_t * (e * e)).sum() / 2)
        else:
            log_p, sums = y[t].log_softmax(), About(target_t.value.sum(axis=-1, keepdims=True), unit)
            e = log_p.exp() * sums - target_t
            losses.append((w_t * (About(-target_t.value, unit) * log_p)).sum())
        dy[t] = w_t * e / terms
    loss = reduce(About.__add__, losses) / terms

    dh: dict[int, About] = {}
    da: dict[int, About] = {}
    for t in range(T, 0, -1):
        dh[t] = dy[t] @ W_hy.T if t == T else dy[t] @ W_hy.T + da[t + 1] @ W_hh.T
        slopes = {"tanh": one - h[t] * h[t], "sigmoid": h[t] * (one - h[t]), "relu": About(a[t].value > 0, unit)}
        da[t] = dh[t] * slopes[nonlinearity]

    def over_time(term):
        return reduce(About.__add__, [term(t) for t in range(1, T + 1)])

    gradients = Gradients(
        over_time(lambda t: x[t - 1].T @ da[t]),
        over_time(lambda t: h[t - 1].T @ da[t]),
        over_time(lambda t: h[t].T @ dy[t]),
        None if b_h is None else over_time(lambda t: da[t].sum(0)),
        None if b_y is None else over_time(lambda t: dy[t].sum(0)),
        None if learned is None else da[1] @ W_hh.T,
    )
    updated, velocity = reference_step(params, gradients, velocity, dtype, learning_rate, **options)
    dx = {t: da[t] @ W_xh.T for t in da}
    stacked = [About.stack(list(steps.values())) for steps in (a, h, y)]
    dys, dhs, das, dxs = (About.stack([steps[t] for t in range(1, T + 1)]) for steps in (dy, dh, da, dx))
    adjoints = Adjoints(dys, dhs, das, dxs, da[1] @ W_hh.T)
    return Expected(Activations(x, *stacked), loss, adjoints, gradients, updated, velocity)


def reference_step(
    params, gradients, velocity, dtype, learning_rate, *,
    momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0, max_norm=None, max_value=None, adagrad=False,
):  # fmt: skip
    """(parameters, velocity) after one step, everything About: clipping, weight decay, momentum and step, parameter by
    parameter, as the documentation of torch.optim.SGD and clip_grad_norm_ states them, or Adagrad.
    """
    unit = UNIT[str(dtype)]
    eta, mu, rest, decay = (About(dtype.type(v), unit) for v in (learning_rate, momentum, 1 - dampening, weight_decay))
    if max_norm is not None:
        norm = reduce(About.__add__, [(g * g).sum() for g in gradients if g is not None]).sqrt()
        gradients = each(lambda g: norm.clip_factor(max_norm) * g, gradients)  # as one vector
    if max_value is not None:
        gradients = each(lambda g: g.clip(max_value), gradients)
    new, moving = params._asdict(), velocity._asdict() if velocity is not None else {}
    for name, step in gradients._asdict().items():
        if step is None:
            continue
        theta = new[name]
        if weight_decay:
            step = step + decay * theta
        if adagrad:
            before, square = moving.get(name), step * step
            moving[name] = square if before is None else before + square
            step = step.over((moving[name] + About(1e-8, unit)).sqrt(), most=1)  # |g| ≤ √(v + 10⁻⁸)
        if momentum:
            before = moving.get(name)
            moving[name] = step if before is None else mu * before + rest * step
            step = step + mu * moving[name] if nesterov else moving[name]
        new[name] = theta - eta * step
    return Parameters(**new), Gradients(**dict.fromkeys(Gradients._fields) | moving) if momentum or adagrad else None


def in_rows(array, size, dtype):
    """Classes as rows with a 1 at their place; rows as they are."""
    return np.eye(size, dtype=dtype)[array] if array.dtype.kind == "i" else array
