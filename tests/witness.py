"""One update and a run of TBPTT(k1, k2) from the definitions alone, with the rounding allowed to a correct computation.

Nothing of the packages under test is called but their records. test_witness.py compares the update with the
complex-step derivative of the loss, and the step with torch.optim.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
from cases import network, window_case
from comparing import assert_within, bits, each
from hypothesis import currently_in_test_context, reject

from numpy_rnn import Activations, Adjoints, Gradients, Parameters

# The error granted to an operation, relative to the size of the terms that it summed: 45 eps. Two correct
# computations of a sum of n terms differ by at most n·eps of that size (Higham, section 3.1), and n ≤ 42 in most cases;
# for larger matrices About grants n·eps.
UNIT = {"float64": 1e-14, "float32": 1e-14 * 2.0**29}
# Below the smallest normal number, numbers lie as far apart as the smallest of all: there a product is off by half of
# that in either of two computations, and so is the expected value when it is rounded to the dtype.
UNDERFLOW = {unit: 2 * float(np.finfo(dtype).smallest_subnormal) for dtype, unit in UNIT.items()}


def no_case(why):
    """Leave a case out of a property; elsewhere it is an error."""
    if currently_in_test_context():
        reject()
    raise AssertionError(f"{why}: choose another seed")


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
        if not np.isfinite(self.off).all():
            no_case("the rounding of a value has no bound")

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
        terms = self.value.shape[-1]
        rounding = max(1, terms / 42) * self.unit * self.most @ other.most + terms * UNDERFLOW[self.unit]
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

    def relu(self):
        if (np.abs(self.value) <= self.off).any():
            no_case("a pre-activation lies nearer to relu's kink than its rounding")
        return About(np.maximum(self.value, 0), self.unit, np.where(self.value > 0, self.off, 0))

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

    def __getitem__(self, index):
        return About(self.value[index], self.unit, self.off[index])

    @property
    def T(self):
        return About(self.value.T, self.unit, self.off.T)

    @staticmethod
    def stack(items):
        return About(np.stack([i.value for i in items]), items[0].unit, np.stack([i.off for i in items]))


def about(value, dtype):
    """A tuple of arrays as About; None stays None."""
    return each(lambda v: About(v, UNIT[str(dtype)]), value)


def total(terms):
    return reduce(About.__add__, terms)


class Expected(NamedTuple):
    """The results of one update, everything About; or the same in NumPy, of a package."""

    activations: Activations
    loss: About
    adjoints: Adjoints
    gradients: Gradients
    parameters: Parameters
    velocity: Gradients | None = None


def assert_right(found, expected, dtype):
    """Fail unless NumPy's arrays are those expected, in this dtype, up to the allowed rounding."""
    assert_within(found, each(lambda v: v.value.astype(dtype), expected), each(lambda v: v.off, expected))


def in_rows(array, size, dtype):
    """Classes as rows with a 1 at their place; rows as they are."""
    return np.eye(size, dtype=dtype)[array] if array.dtype.kind == "i" else array


def loss_rows(case):
    """The terms of the loss: (target in rows, weights (K, B, 1), N of (L2))."""
    dtype, O = case.params.W_hh.dtype, case.params.W_hy.shape[-1]
    rows = in_rows(case.target, O, dtype)
    w = np.ones(rows.shape[:-1], dtype) if case.weights is None else case.weights
    terms = float(w.sum()) * (O if case.objective.loss == "squared_error" else 1)
    return rows, w[..., None], {"sum": 1, "mean": terms or 1}[case.objective.reduction]


@np.errstate(over="ignore", invalid="ignore")  # of what a value may be off, which is refused
def expected_update(case) -> Expected:
    """One window and its step, written step by step for one network."""
    dtype, unit = case.params.W_hh.dtype, UNIT[str(case.params.W_hh.dtype)]
    target, weights, terms = loss_rows(case)
    x = in_rows(case.x, case.params.W_xh.shape[-2], dtype)
    h_0 = case.params.h_0 if case.h_0 is None else case.h_0
    params, x, target, weights, h_0, velocity = about((case.params, x, target, weights, h_0, case.velocity), dtype)
    W_xh, W_hh, W_hy, b_h, b_y, learned = params
    T, K, nonlinearity = len(case.x), len(case.target), case.objective.nonlinearity

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
        if case.objective.loss == "squared_error":
            e = y[t] - target_t
            losses.append((w_t * (e * e)).sum() / 2)
        else:
            log_p, sums = y[t].log_softmax(), About(target_t.value.sum(axis=-1, keepdims=True), unit)
            e = log_p.exp() * sums - target_t
            losses.append((w_t * (About(-target_t.value, unit) * log_p)).sum())
        dy[t] = w_t * e / terms

    dh, da = dict[int, About](), dict[int, About]()
    for t in range(T, 0, -1):
        dh[t] = dy[t] @ W_hy.T if t == T else dy[t] @ W_hy.T + da[t + 1] @ W_hh.T
        slopes = {"tanh": one - h[t] * h[t], "sigmoid": h[t] * (one - h[t]), "relu": About(a[t].value > 0, unit)}
        da[t] = dh[t] * slopes[nonlinearity]

    gradients = Gradients(
        total(x[t - 1].T @ da[t] for t in a),
        total(h[t - 1].T @ da[t] for t in a),
        total(h[t].T @ dy[t] for t in a),
        None if b_h is None else total(da[t].sum(0) for t in a),
        None if b_y is None else total(dy[t].sum(0) for t in a),
        None if learned is None else da[1] @ W_hh.T,
    )
    updated, velocity = expected_step(params, gradients, velocity, case.step, dtype)
    activations = Activations(x, *(About.stack(list(steps.values())) for steps in (a, h, y)))
    by_step = [[steps[t] for t in a] for steps in (dy, dh, da)]
    dys, dhs, das, dxs = map(About.stack, (*by_step, [da[t] @ W_xh.T for t in a]))
    adjoints = Adjoints(dys, dhs, das, dxs, da[1] @ W_hh.T)
    return Expected(activations, total(losses) / terms, adjoints, gradients, updated, velocity)


def expected_step(params, gradients, velocity, step, dtype):
    """(parameters, velocity) after one step, everything About: clipping, weight decay, momentum and step, parameter by
    parameter, as the documentation of torch.optim.SGD and clip_grad_norm_ states them, or Adagrad.
    """
    unit = UNIT[str(dtype)]
    numbers = step.learning_rate, step.momentum, 1 - step.dampening, step.weight_decay
    eta, mu, rest, decay = (About(dtype.type(v), unit) for v in numbers)
    if step.max_norm is not None:
        norm = total((g * g).sum() for g in gradients if g is not None).sqrt()
        gradients = each(lambda g: norm.clip_factor(step.max_norm) * g, gradients)  # as one vector
    if step.max_value is not None:
        gradients = each(lambda g: g.clip(step.max_value), gradients)
    new, moving = params._asdict(), velocity._asdict() if velocity is not None else {}
    for name, g in gradients._asdict().items():
        if g is None:
            continue
        theta, before = new[name], moving.get(name)
        g = g + decay * theta if step.weight_decay else g
        if step.adagrad:
            moving[name] = g * g if before is None else before + g * g
            g = g.over((moving[name] + About(1e-8, unit)).sqrt(), most=1)  # |g| ≤ √(v + 10⁻⁸)
        if step.momentum:
            moving[name] = g if before is None else mu * before + rest * g
            g = g + mu * moving[name] if step.nesterov else moving[name]
        new[name] = theta - eta * g
    kept = Gradients(**dict.fromkeys(Gradients._fields) | moving)
    return Parameters(**new), kept if step.has_velocity else None


def definition(T, k1, k2):
    """DERIVATION.md, section 5, with steps numbered from 1: (steps of the window, new steps) of every update."""
    e, n = {0: 0}, 0
    while e[n] < T:
        n += 1
        e[n] = min(n * k1, T)
        s_n = max(0, e[n] - k2)
        yield [t for t in range(1, T + 1) if s_n < t <= e[n]], [t for t in range(1, T + 1) if e[n - 1] < t <= e[n]]


def assert_right_run(rnn, run, updates, velocity=None):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2), each network by itself.

    The windows are those of the definition. The initial state of a window is the latest one computed for its step, to
    the bit. Each update is that of the witness, from the parameters, the velocity and the state that the run reports.
    A learned initial state moves in the windows that begin with the series, and in no other.
    """
    (k1, k2, epochs), _, _ = run.options
    steps = list(range(1, len(run.x) + 1))
    found = [(u.epoch, u.number, steps[u.window.start : u.window.stop], steps[u.window.loss_start : u.window.stop])
             for u in updates]  # fmt: skip
    windows = list(enumerate(definition(len(run.x), k1, k2), start=1))
    assert found == [(epoch, n, *pair) for epoch in range(1, epochs + 1) for n, pair in windows]
    everything = [(update.window, reported(rnn, update)) for update in updates]
    networks = list(np.ndindex(run.params.W_hh.shape[:-2]))
    for n in networks if len(networks) < 5 else (networks[0], networks[len(networks) // 2], networks[-1]):
        alone = network(run, n)
        before, moving, latest = alone.params, velocity and each(lambda v, n=n: v[n], velocity), {}
        for window, update in everything:
            result = part_of_network(update, n)
            if window.start == 0:
                latest[0] = before.h_0 if run.h_0 is None else alone.h_0
            initial = latest[window.start]
            assert bits(result.activations.h[0]) == bits(initial)
            latest |= dict(zip(range(window.start, window.stop + 1), result.activations.h, strict=True))
            learned = run.h_0 is None and window.start == 0
            case = window_case(alone, window, before, None if learned else initial, moving)
            right = expected_update(case)
            assert_right(without_h_0(result, learned), without_h_0(right, learned), case.params.W_hh.dtype)
            if not learned:
                state = result.parameters.h_0, result.velocity and result.velocity.h_0
                assert bits(state) == bits((before.h_0, moving and moving.h_0))
            before, moving = result.parameters, result.velocity


def reported(rnn, update) -> Expected:
    """The same from an Update that `train` recorded."""
    parts = update.activations, update.loss, update.adjoints, update.gradients, update.parameters, update.velocity
    return rnn.to_numpy(Expected(*parts))


def part_of_network(result: Expected, n) -> Expected:
    """Network n's part of the arrays of an ensemble."""

    def by_step(value):
        return each(lambda sequence: sequence[(slice(None), *n)], value)

    adjoints = by_step(result.adjoints._replace(dh_0=None))._replace(dh_0=result.adjoints.dh_0[n])
    gradients, parameters, velocity = each(lambda theta: theta[n], result[3:])
    return Expected(by_step(result.activations), result.loss[n], adjoints, gradients, parameters, velocity)


def without_h_0(result: Expected, learned) -> Expected:
    """The same without a learned initial state, unless it is that of the window."""
    if learned:
        return result
    velocity = None if result.velocity is None else result.velocity._replace(h_0=None)
    return result._replace(parameters=result.parameters._replace(h_0=None), velocity=velocity)
