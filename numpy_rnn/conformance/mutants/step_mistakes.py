"""Mistakes of the loss, of the case, of truncation, and of the step, for hints."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from numpy_rnn.common.records import Step, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY, Floats
from numpy_rnn.conformance.arithmetics.nonlinearities import NONLINEARITIES
from numpy_rnn.conformance.case import initial_state, parameters_from, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, by_factor
from numpy_rnn.conformance.mutants.mistakes import FORMATS, Mistake, changed, rounded

# -- the loss ---------------------------------------------------------------------------------------------------------

COUNTS: dict[str, Any] = {  # of the weights of the losses, the steps from 0, and K
    "loss weights left out": lambda w, k, K: 0 * w + 1, "loss weights squared": lambda w, k, K: w * w,
    "the loss weight of the last step left out": lambda w, k, K: np.where(k == K - 1, 1.0, w),
    "the loss weight of the first step left out": lambda w, k, K: np.where(k == 0, 1.0, w),
    "loss weights one step late": lambda w, k, K: np.roll(w, 1, 0),
    "loss weights one step early": lambda w, k, K: np.roll(w, -1, 0),
    "the loss of the last step alone": lambda w, k, K: w * (k == K - 1),
    "the loss of the first step alone": lambda w, k, K: w * (k == 0),
    "the loss of the last step left out": lambda w, k, K: w * (k < K - 1),
    "the loss of the first step left out": lambda w, k, K: w * (k > 0),
    "the loss of the last step counted twice": lambda w, k, K: w * (1 + (k == K - 1)),
    "the loss of the first step counted twice": lambda w, k, K: w * (1 + (k == 0)),
}  # fmt: skip


def _softmax(y: Any) -> Any:
    e = np.exp(y - y.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _through_softmax(p: Any, slope: Any) -> Any:
    return p * (slope - (p * slope).sum(axis=-1, keepdims=True))


def _logistic(n: Any, y: Any, z: Any) -> tuple[Any, Any]:
    s = NONLINEARITIES["sigmoid"].phi(y)
    return -(z * np.log(s) + (1 - z) * np.log1p(-s)), s - z


def _smoothed(n: Any, y: Any, z: Any) -> tuple[Any, Any]:
    log_p, z = n.log_softmax(y), 0.9 * z + 0.1 / y.shape[-1]
    return -(z * log_p), np.exp(log_p) - z


def _with_epsilon(c: float, n: Any, y: Any, z: Any) -> tuple[Any, Any]:
    p = _softmax(y)
    return -z * np.log(p + c), _through_softmax(p, -z / (p + c))


TERMS: dict[str, dict[str, Any]] = {  # of the loss and of dy
    "squared_error": {
        "|e| for the squared error": lambda n, y, z: (np.abs(y - z), np.sign(y - z)),
        "y for y − target": lambda n, y, z: (y * y / 2, y),
        "the squared error of softmax": lambda n, y, z: (
            (_softmax(y) - z) ** 2 / 2, _through_softmax(_softmax(y), _softmax(y) - z)),
        "e² without its sign": lambda n, y, z: ((y - z) ** 2 / 2, np.abs(y - z)),
        "e (1 − y²) for e": lambda n, y, z: ((y - z) ** 2 / 2, (y - z) * (1 - y * y)),
        "e y (1 − y) for e": lambda n, y, z: ((y - z) ** 2 / 2, (y - z) * y * (1 - y)),
    },
    "cross_entropy": {
        "the target not subtracted from p": lambda n, y, z: (-z * n.log_softmax(y), _softmax(y)),
        "the squared error of p": lambda n, y, z: (
            (_softmax(y) - z) ** 2 / 2, _through_softmax(_softmax(y), _softmax(y) - z)),
        "the squared error of y": lambda n, y, z: ((y - z) ** 2 / 2, y - z),
        "(p − target) p (1 − p)": lambda n, y, z: (
            -z * n.log_softmax(y), (_softmax(y) - z) * _softmax(y) * (1 - _softmax(y))),
        "p of a softmax over the batch": lambda n, y, z: (-z * n.log_softmax(y), _softmax(y.mT).mT - z),
        "logistic outputs for softmax": _logistic, "smoothed targets": _smoothed,
        "exp y for p": lambda n, y, z: (-z * y, np.exp(y) - z),
        "the largest target alone": lambda n, y, z: (-_top(z) * n.log_softmax(y), _softmax(y) - _top(z)),
        **{f"log(p + {c:g})": partial(_with_epsilon, c) for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)},
    },
}  # fmt: skip


def _top(z: Any) -> Any:
    return np.eye(z.shape[-1])[z.argmax(axis=-1)]


def other_losses() -> Iterator[Mistake]:
    """Other weights, terms or reductions of the loss, of its gradient, or of both."""

    def counted(change, own_divisor, n, y, target, weights, objective):
        weights = weights * np.ones((*y.shape[:-1], 1))
        k = np.arange(len(y)).reshape(-1, *(1,) * (y.ndim - 1))
        others = change(weights, k, len(y))
        if own_divisor or objective.reduction == "sum":
            return right.loss_and_error(n, y, target, others, objective)
        L, dy = right.loss_and_error(n, y, target, others, objective._replace(reduction="sum"))
        N = n.divisor(y, weights, objective)
        return L / np.ravel(N)[0], dy / N

    def with_terms(table, text, n, y, target, weights, objective):
        N = n.divisor(y, weights, objective)
        losses, errors = TERMS[objective.loss][text](n, y, target)
        return (weights * losses).sum() / np.ravel(N)[0], weights * errors / N

    def rooted(n, y, target, weights, objective):
        L, dy = right.loss_and_error(n, y, target, weights, objective)
        return np.sqrt(L), dy / (2 * np.sqrt(L))

    def unequal(loss, error, n, y, target, weights, objective):
        return loss(n, y, target, weights, objective)[0], error(n, y, target, weights, objective)[1]

    found: dict[str, Any] = {"the root of the loss": rooted}
    for text, change in COUNTS.items():
        found[text] = partial(counted, change, True)
        found[f"{text}, in the divisor of the mean not"] = partial(counted, change, False)
    found |= {m.name: m.functions["loss_and_error"] for m in MUTANTS if [*m.functions] == ["loss_and_error"]}
    for loss, table in TERMS.items():
        found |= {text: partial(with_terms, loss, text) for text in table}
    for text, function in found.items():
        yield from changed(text, "loss_and_error", function)
        yield from changed(f"in dy alone: {text}", "loss_and_error", partial(unequal, right.loss_and_error, function))
        alone = partial(unequal, function, right.loss_and_error)
        yield from changed(f"in the loss alone: {text}", "loss_and_error", alone)


# -- the case ---------------------------------------------------------------------------------------------------------


def _reshaped(array: Any) -> Any:
    """What is meant for (B, T, N) read as (T, B, N)."""
    return np.ascontiguousarray(np.moveaxis(array, 0, 1)).reshape(array.shape)


CASES: dict[str, Any] = {
    "inputs in reversed order": lambda c: c._replace(x=c.x[::-1]),
    "inputs one step late": lambda c: c._replace(x=np.roll(c.x, 1, 0)),
    "inputs one step late, zeros at first": lambda c: c._replace(x=np.concatenate((0 * c.x[:1], c.x[:-1]))),
    "inputs one step early": lambda c: c._replace(x=np.roll(c.x, -1, 0)),
    "targets one step late": lambda c: c._replace(target=np.roll(c.target, 1, 0)),
    "targets one step early": lambda c: c._replace(target=np.roll(c.target, -1, 0)),
    "targets in reversed order": lambda c: c._replace(target=c.target[::-1]),
    "the series in reversed order": lambda c: c._replace(x=c.x[::-1], target=c.target[::-1]),
    "inputs reshaped for transposed": lambda c: c._replace(x=_reshaped(c.x)),
    "targets reshaped for transposed": lambda c: c._replace(target=_reshaped(c.target)),
    "inputs and targets reshaped for transposed": lambda c: c._replace(x=_reshaped(c.x), target=_reshaped(c.target)),
    "the first sequence for all": lambda c: c._replace(x=0 * c.x + c.x[:, :1], target=0 * c.target + c.target[:, :1]),
    "inputs of the first sequence for all": lambda c: c._replace(x=0 * c.x + c.x[:, :1]),
    "the state of the first sequence for all": lambda c: c._replace(h_0=0 * c.h_0 + c.h_0[:1]),
    "the losses of the first K steps of the window": lambda c: c._replace(
        target=np.concatenate((c.target, np.zeros((len(c.x) - len(c.target), *c.target.shape[1:])))),
        weights=np.concatenate((np.ones(c.target.shape[:2]) if c.weights is None else c.weights,
                                np.zeros((len(c.x) - len(c.target), c.x.shape[1]))))),
    "the last target for all steps": lambda c: c._replace(target=0 * c.target + c.target[-1:]),
}  # fmt: skip


def other_cases() -> Iterator[Mistake]:
    """The values of another case: a part of it is exchanged, or shifted in time."""

    def of_phi(name, case):
        return case._replace(objective=case.objective._replace(nonlinearity=name))

    for text, change in chain(
        CASES.items(), ((f"{name} for the nonlinearity", partial(of_phi, name)) for name in NONLINEARITIES)
    ):
        yield Mistake(text, "loss_and_error", change=change)


# -- truncations ------------------------------------------------------------------------------------------------------


def truncations(steps: int) -> Iterator[Mistake]:
    """(R1), (R2), and flows that end at every k-th step, for k below the number of steps."""

    def each_loss(k, n, w, p, nonlinearity, of):
        g = {t: n.affine([(w.dy[t], p.W_hy.mT)]) for t in w.steps}
        dh = dict(g)
        for _ in range(k - 1):
            g = {t: n.affine([(n.by_slope(g[t + 1], w.a[t + 1], w.h[t + 1], nonlinearity), p.W_hh.mT)])
                 for t in w.steps if t + 1 in g}  # fmt: skip
            dh |= {t: dh[t] + g[t] for t in g}
        return right.backward(n, w, p, nonlinearity, of._replace(state_adjoint=lambda n, w, p, t: dh[t]))

    def newest(k, n, w, p, t):
        return right.state_adjoint(n, w, p, t) * (t > len(w.x) - k)

    def newest_slopes(k, n, w, p, t, nonlinearity):
        return right.pre_activation_adjoint(n, w, p, t, nonlinearity) * (t > len(w.x) - k)

    def with_loss(n, w, p, t, nonlinearity):
        has_loss = any(w.dy[s].any() for s in range(1, t + 1))
        return right.pre_activation_adjoint(n, w, p, t, nonlinearity) * has_loss

    yield from changed("the backward pass ends at the first step with a loss", "pre_activation_adjoint", with_loss)

    def cut(k, from_end, n, w, p, t):
        is_cut = (len(w.x) - t if from_end else t) % k == 0
        return n.affine([(w.dy[t], p.W_hy.mT)]) if is_cut else right.state_adjoint(n, w, p, t)

    for k in range(1, steps):
        words = f"{k} step{'s' * (k > 1)}"
        name = f"each loss goes back over {words} (bptt_truncate = {k - 1})"
        yield from changed(name, "backward", partial(each_loss, k))
        text = f"the backward pass ends after the newest {words}"
        yield from changed(text, "state_adjoint", partial(newest, k))
        yield from changed(text, "pre_activation_adjoint", partial(newest_slopes, k))
        for from_end, where in ((False, ""), (True, ", from the last")):
            text = f"the flow back ends after every {words}{where}"
            yield from changed(text, "state_adjoint", partial(cut, k, from_end))


# -- the step ---------------------------------------------------------------------------------------------------------


def stepped(case: WindowCase, gradients: Arrays, of: Definition = DEFINITION) -> Arrays:
    """The velocities and parameters after the step with these gradients, dW_xh and so on."""
    n, p = Floats(np.float64), present(case.params)
    update(n, p, {name: gradients["d" + name] for name in p}, present(case.velocity), case.step, of)
    return n.report()


def _all(d: Arrays, *left_out: str) -> Any:
    return np.concatenate([g.ravel() for name, g in d.items() if name not in left_out])


NORMS: dict[str, Any] = {  # of the gradients by name
    "the biases left out of the norm": lambda d: np.linalg.norm(_all(d, "b_h", "b_y", "b_hh")),
    "h_0 left out of the norm": lambda d: np.linalg.norm(_all(d, "h_0")),
    "the sum of the tensors' norms": lambda d: sum(np.linalg.norm(g) for g in d.values()),
    "the largest number for the norm": lambda d: np.abs(_all(d)).max(),
    "the sum of absolute values for the norm": lambda d: np.abs(_all(d)).sum(),
    "the root mean square for the norm": lambda d: np.sqrt(np.mean(_all(d) ** 2)),
}
FACTORS: dict[str, Any] = {  # of the norm, and max_norm
    "a norm without its root": lambda norm, limit: np.minimum(1, limit / (norm**2 + SMALL)),
    "gradients divided by their norm, without max_norm": lambda norm, limit: np.where(norm > limit, 1 / norm, 1.0),
    "gradients always divided by their norm": lambda norm, limit: 1 / norm,
    "gradients set to 0 above max_norm": lambda norm, limit: np.where(norm > limit, 0.0, 1.0),
}
CLIPS: dict[str, Any] = {  # of a gradient, and max_value or max_norm
    "each number clipped for the norm": lambda g, c: np.clip(g, -c, c),
    "the norm of each tensor clipped for each number": lambda g, c: g * np.minimum(1, c / np.linalg.norm(g)),
    "clipped from above alone": np.minimum,
    "clipped from below alone": lambda g, c: np.maximum(g, -c),
    "numbers above max_value set to 0": lambda g, c: np.where(np.abs(g) > c, 0, g),
}
DECAYS: dict[str, Any] = {  # of the name, θ, and the step: what is added to the gradient
    "weight decay of the other sign": lambda name, theta, s: -s.weight_decay * theta,
    "twice the weight decay": lambda name, theta, s: 2 * s.weight_decay * theta,
    "half of the weight decay": lambda name, theta, s: s.weight_decay / 2 * theta,
    "weight decay of the biases alone": lambda name, theta, s: s.weight_decay * theta * name.startswith("b"),
    "no weight decay of h_0": lambda name, theta, s: s.weight_decay * theta * (name != "h_0"),
    "weight decay by the sign of the weights": lambda name, theta, s: s.weight_decay * np.sign(theta),
    "weight decay multiplied by the rate once more": lambda name, theta, s: s.learning_rate * s.weight_decay * theta,
}
VELOCITIES: dict[str, Any] = {  # of g, v (None at first), μ and τ
    "v = μ v + (1 − μ) g": lambda g, v, mu, tau: mu * _or_zero(v) + (1 - mu) * g,
    "v = μ v + (1 − μ) g, but g at first": lambda g, v, mu, tau: g if v is None else mu * v + (1 - mu) * g,
    "v = μ v + (1 − μ)(1 − τ) g, but g at first": lambda g, v, mu, tau: (
        g if v is None else mu * v + (1 - mu) * (1 - tau) * g),
    "v = (1 − μ) v + μ g": lambda g, v, mu, tau: (1 - mu) * _or_zero(v) + mu * g,
    "v = v + g, without μ": lambda g, v, mu, tau: _or_zero(v) + g,
    "v = μ (v + g)": lambda g, v, mu, tau: mu * (_or_zero(v) + g),
    "v = μ v − g": lambda g, v, mu, tau: mu * _or_zero(v) - g,
    "v = g − μ v": lambda g, v, mu, tau: g - mu * _or_zero(v),
    "τ g for (1 − τ) g": lambda g, v, mu, tau: g if v is None else mu * v + tau * g,
    "dampening of v, not of g": lambda g, v, mu, tau: g if v is None else (1 - tau) * mu * v + g,
    "the velocity of before left out": lambda g, v, mu, tau: g,
}  # fmt: skip
SQUARES: dict[str, Any] = {  # of g, and the sum of before
    "the sum of squares without that of before": lambda g, v: g * g,
    "|g| for g² in the sum of squares": lambda g, v: v + np.abs(g),
} | {f"RMSprop's mean of squares with {rho:g}": partial(lambda rho, g, v: rho * v + (1 - rho) * g * g, rho)
     for rho in (0.9, 0.95, 0.99, 0.999)}  # fmt: skip
DIRECTIONS: dict[str, Any] = {  # of g, v, the v before, μ, and v of the definition
    "the direction is the gradient, not the velocity": lambda g, v, before, mu, usual: g,
    "the step uses the velocity of before": lambda g, v, before, mu, usual: before + 0 * g,
    "μ times the direction": lambda g, v, before, mu, usual: mu * usual,
    "Nesterov's momentum, though it is not asked for": lambda g, v, before, mu, usual: g + mu * v,
}
NESTEROV: dict[str, Any] = {  # the same, for Nesterov's g + μ v alone
    "Nesterov's g + v for g + μ v": lambda g, v, before, mu, usual: g + v,
    "Nesterov's v + μ g for g + μ v": lambda g, v, before, mu, usual: v + mu * g,
    "Nesterov's μ v for g + μ v": lambda g, v, before, mu, usual: mu * v,
    "Nesterov's g + μ v with the v of before": lambda g, v, before, mu, usual: g + mu * before,
    "Nesterov's (1 + μ) v for g + μ v": lambda g, v, before, mu, usual: v + mu * v,
    "Nesterov's g − μ v for g + μ v": lambda g, v, before, mu, usual: g - mu * v,
    "Nesterov's v − μ times the v of before": lambda g, v, before, mu, usual: (1 + mu) * v - mu * before,
}
ROOTS: dict[str, Any] = {  # of g, the sum of squares, and that of before
    "g divided by the sum of squares, without the root": lambda g, v, before: g / (v + TINY),
    "no 10⁻⁸ under the root": lambda g, v, before: g / np.sqrt(v),
    "the root of the sum of squares of before": lambda g, v, before: g / np.sqrt(before + TINY),
    "no division by the root": lambda g, v, before: g,
} | {f"{c:g} for 10⁻⁸ under the root": partial(lambda c, g, v, before: g / np.sqrt(v + c), c)
     for c in (1e-10, 1e-7, 1e-6, 1e-5)} | {
     f"{c:g} outside the root": partial(lambda c, g, v, before: g / (np.sqrt(v) + c), c)
     for c in (1e-10, 1e-7, 1e-6, 1e-5)}  # fmt: skip
LAST: dict[str, Any] = {  # of θ, η, the direction, and the step
    "weight decay both in the gradient and of the weights": lambda theta, rate, delta, s: (
        theta - rate * (delta + s.weight_decay * theta)),
    "the step multiplied by the rate once more": lambda theta, rate, delta, s: theta - rate**2 * delta,
    "the rate left out": lambda theta, rate, delta, s: theta - delta,
    "the rate rounded to float32": lambda theta, rate, delta, s: theta - np.float64(np.float32(rate)) * delta,
    "the step with the sign of the gradient": lambda theta, rate, delta, s: theta - rate * np.sign(delta),
    "Adagrad without the squares of before, for plain descent": lambda theta, rate, delta, s: (
        theta - rate * delta / np.sqrt(delta * delta + TINY)),
} | {f"new parameters rounded to {name}": partial(
    lambda name, theta, rate, delta, s: rounded(theta - rate * delta, name), name) for name in FORMATS}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "the gradient of each tensor divided by its norm": {
        "clipped": lambda n, d, p, step: {name: g / np.linalg.norm(g) for name, g in d.items()}},
    "clipping by value once more after weight decay": {"decayed": lambda n, name, g, theta, step: np.clip(
        right.decayed(n, name, g, theta, step), -step.max_value, step.max_value)},
    "the new parameters clipped by value": {
        "clipped": lambda n, d, p, step: d,
        "updated": lambda n, name, theta, delta, step: np.clip(
            theta - n.rate(step, theta) * delta, -step.max_value, step.max_value)},
    "weight decay without the rate": {
        "decayed": lambda n, name, g, theta, step: g,
        "updated": lambda n, name, theta, delta, step: theta * (1 - step.weight_decay) - n.rate(step, theta) * delta},
}  # fmt: skip


def _or_zero(v: Any) -> Any:
    return 0.0 if v is None else v


def _functions(step: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mistakes of the tables that apply to this step, as functions of the definition."""

    def clipped(change, n, d, p, step):
        limit = step.max_norm if step.max_value is None else step.max_value
        return {name: change(g, limit) for name, g in d.items()}

    def by_norm(norm, n, d, p, step):
        return {name: n.factor(norm(d), step.max_norm) * g for name, g in d.items()}

    def decayed(added, n, name, g, theta, step):
        return g + added(name, theta, step)

    def velocity(change, n, g, before, step):
        return change(g, before, step.momentum, step.dampening)

    def squares(change, n, g, before, step):
        return change(g, _or_zero(before))

    def direction(change, n, g, v, before, step):
        return change(g, v, _or_zero(before), step.momentum, right.direction(n, g, v, before, step))

    def root(change, n, g, v, before, step):
        return change(g, v, _or_zero(before))

    def updated(change, n, name, theta, delta, step):
        return change(theta, n.rate(step, theta), delta, step)

    clips = step.max_norm is not None or step.max_value is not None
    for applies, table, field, function in (
        (step.max_norm is not None, NORMS, "clipped", by_norm),
        (clips, CLIPS, "clipped", clipped),
        (bool(step.weight_decay), DECAYS, "decayed", decayed),
        (step.momentum > 0, VELOCITIES, "velocity", velocity),
        (step.adagrad, SQUARES, "velocity", squares),
        (step.momentum > 0, DIRECTIONS, "direction", direction),
        (step.nesterov, NESTEROV, "direction", direction),
        (step.adagrad, ROOTS, "direction", root),
        (True, LAST, "updated", updated),
    ):
        if applies:
            yield from ((text, {field: partial(function, change)}) for text, change in table.items())
    if step.max_norm is not None:
        yield from ((text, {"clipped": by_factor(factor)}) for text, factor in FACTORS.items())
    yield from OTHERS.items()


StepMistake = tuple[str, Callable[[WindowCase, Arrays], Arrays]]  # words; the step from the gradients


def other_steps(step: Step) -> Iterator[StepMistake]:
    """Mistakes of the step: options that are left out, other functions, and other orders."""
    for name, default in Step._field_defaults.items():
        if getattr(step, name) != default:
            yield f"{name} left out", partial(_other_options, {name: default})
    if step.nesterov:
        yield "Nesterov's momentum left out", partial(_other_options, {"nesterov": False})
    for text, functions in _functions(step):
        yield text, partial(stepped, of=DEFINITION._replace(**functions))
    yield "clipping of the velocity, not of the gradient", partial(_clipped_late, True)
    yield "clipping of the direction, after momentum", partial(_clipped_late, False)
    yield "the step made twice", _twice
    if not step.weight_decay:
        for decay in (1e-4, 1e-5, 5e-4, 1e-3, 5e-3, 0.01, 0.1):
            text = f"a weight decay of {decay:g}, though it is not asked for"
            yield text, partial(_other_options, {"weight_decay": decay})


def _other_options(options: Any, case: WindowCase, gradients: Arrays) -> Arrays:
    return stepped(case._replace(step=case.step._replace(**options)), gradients)


def _clipped_late(of_velocity: bool, case: WindowCase, gradients: Arrays) -> Arrays:
    n, p, step, before = Floats(np.float64), present(case.params), case.step, present(case.velocity)
    g = {name: right.decayed(n, name, gradients["d" + name], theta, step) for name, theta in p.items()}
    v = {name: right.velocity(n, g[name], before.get(name), step) for name in p} if step.has_velocity else {}
    shown = {"v" + name: v[name] for name in v}
    if of_velocity and v and not step.adagrad:
        v = right.clipped(n, v, p, step)
        shown = {"v" + name: v[name] for name in v}
    delta = {name: right.direction(n, g[name], v.get(name), before.get(name), step) for name in p}
    delta = delta if of_velocity else right.clipped(n, delta, p, step)
    return shown | {name: theta - step.learning_rate * delta[name] for name, theta in p.items()}


def _twice(case: WindowCase, gradients: Arrays) -> Arrays:
    once = stepped(case, gradients)
    velocity = parameters_from(once, "v") if case.step.has_velocity else None
    return stepped(case._replace(params=parameters_from(once), velocity=velocity), gradients)


# -- other gradients --------------------------------------------------------------------------------------------------


def other_gradients(case: WindowCase, values: Arrays) -> dict[str, Arrays]:
    """Gradients from the right values that are other sums, or are reported otherwise than the step uses them."""
    p, step, h = present(case.params), case.step, np.concatenate((initial_state(case)[None], values["h"]))
    own = {"d" + name: values["d" + name] for name in p}
    (T, B, _), K = case.x.shape, len(case.target)
    t, b = np.arange(T)[:, None, None], np.arange(B)[:, None]
    counted = {
        "without the first step": t > 0, "without the last step": t < T - 1, "of the first step alone": t == 0,
        "of the last step alone": t == T - 1, "without the steps that have no loss": t >= T - K,
        "with the last step counted twice": 1 + (t == T - 1), "with the first step counted twice": 1 + (t == 0),
        "of the first sequence alone": b == 0, "of the last sequence alone": b == B - 1,
        "without the first sequence": b > 0, "without the last sequence": b < B - 1,
    }  # fmt: skip
    others: dict[str, Arrays] = {"transposed": {"dW_hh": own["dW_hh"].T}}
    for text, counts in counted.items():
        dy, da = counts * values["dy"], counts * values["da"]
        pairs = {"dW_xh": (case.x, da), "dW_hh": (h[:-1], da), "dW_hy": (h[1:], dy)}
        d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
        others[text] = own | d | {"db_y": dy.sum((0, 1))} | dict.fromkeys(("db_h", "db_hh"), da.sum((0, 1)))
    changes: dict[str, Any] = {
        "whose rows are one row, in which all add up": lambda g: 0 * g + g.sum(axis=0, keepdims=True),
        "divided by the norm of each": lambda g: g / np.linalg.norm(g),
    } | {f"rounded to {name}": partial(rounded, name=name) for name in FORMATS}
    for text, change in changes.items():
        others[text] = {name: change(g) for name, g in own.items()}
    if step is not None:
        limits = step._replace(learning_rate=1.0, momentum=0.0, dampening=0.0, nesterov=False, adagrad=False)
        parts = {"after clipping": limits._replace(weight_decay=0.0), "after clipping and weight decay": limits,
                 "with weight decay": limits._replace(max_norm=None, max_value=None)}  # fmt: skip
        for text, part in parts.items():
            moved = stepped(case._replace(step=part, velocity=None), values)
            others[text] = {"d" + name: theta - moved[name] for name, theta in p.items()}
        moved = stepped(case, values)
        others["after momentum"] = {"d" + name: moved["v" + name] for name in p if "v" + name in moved}
        others["multiplied by the rate"] = {name: step.learning_rate * g for name, g in own.items()}
    return others
