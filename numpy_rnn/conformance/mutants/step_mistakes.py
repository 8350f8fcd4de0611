"""Mistakes of the loss, of the case, of truncation, and of the step, for hints."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args

import numpy as np

from numpy_rnn.common.records import Nonlinearity, Reduction, Step, WindowCase
from numpy_rnn.conformance import definition as right
from numpy_rnn.conformance.arithmetics.floats import PHI, SMALL, TINY, Floats
from numpy_rnn.conformance.case import initial_state, parameters_from, present
from numpy_rnn.conformance.definition import DEFINITION, Arrays, Definition, update
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, by_factor
from numpy_rnn.conformance.mutants.mistakes import FORMATS, Mistake, changed, rounded

# -- the loss ---------------------------------------------------------------------------------------------------------

COUNTS: dict[str, Callable[[Any, Any, int], Any]] = {  # of the weights of the losses, the steps from 0, and K
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
    s = PHI["sigmoid"](y)
    return -(z * np.log(s) + (1 - z) * np.log1p(-s)), s - z


def _smoothed(n: Any, y: Any, z: Any) -> tuple[Any, Any]:
    log_p, z = n.log_softmax(y), 0.9 * z + 0.1 / y.shape[-1]
    return -(z * log_p), np.exp(log_p) - z


TERMS: dict[str, dict[str, Callable[[Any, Any, Any], tuple[Any, Any]]]] = {  # of the loss and of dy
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
        **{f"log(p + {c:g})": lambda n, y, z, c=c: (
            -z * np.log(_softmax(y) + c), _through_softmax(_softmax(y), -z / (_softmax(y) + c)))
           for c in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5)},
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

    def in_mean(n, y, target, weights, objective):
        return right.loss_and_error(n, y, target, weights, objective._replace(reduction="mean"))

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
        yield from changed(f"in the loss alone: {text}", "loss_and_error", partial(unequal, function, right.loss_and_error))
    yield from changed("gradient of the mean of the losses, and their sum", "loss_and_error",
                       partial(unequal, right.loss_and_error, in_mean))  # fmt: skip


# -- the case ---------------------------------------------------------------------------------------------------------


def _reshaped(array: Any) -> Any:
    """What is meant for (B, T, N) read as (T, B, N)."""
    return np.ascontiguousarray(np.moveaxis(array, 0, 1)).reshape(array.shape)


CASES: dict[str, Callable[[WindowCase], WindowCase]] = {
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
    **{f"{name} for the nonlinearity": lambda c, name=name: c._replace(objective=c.objective._replace(nonlinearity=name))
       for name in get_args(Nonlinearity)},
}  # fmt: skip


def other_cases() -> Iterator[Mistake]:
    """The values of another case: a part of it is exchanged, or shifted in time."""
    for text, change in CASES.items():
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


def _norm(of: Callable[[Any], Any]) -> Any:
    """Clipping by another norm, a function of the gradients by name."""

    def clipped(n, d, p, step):
        if step.max_norm is None:
            return right.clipped(n, d, p, step)
        return {name: n.factor(of(d), step.max_norm) * g for name, g in d.items()}

    return clipped


def _by_value(change: Callable[[Any, float], Any]) -> Any:
    def clipped(n, d, p, step):
        limit = step.max_value if step.max_value is not None else step.max_norm
        return d if limit is None else {name: change(g, limit) for name, g in d.items()}

    return clipped


def _all(d: Arrays) -> Any:
    return np.concatenate([g.ravel() for g in d.values()])


def _velocity(change: Callable[[Any, Any, float, float], Any]) -> dict[str, Any]:
    """Another velocity, of g, the one before (or 0), μ and τ."""

    def velocity(n, g, before, step):
        return right.velocity(n, g, before, step) if step.adagrad else change(
            g, 0 if before is None else before, step.momentum, step.dampening)  # fmt: skip

    return {"velocity": velocity}


def _squares(change: Callable[[Any, Any], Any]) -> dict[str, Any]:
    def velocity(n, g, before, step):
        return change(g, 0 if before is None else before) if step.adagrad else right.velocity(n, g, before, step)

    return {"velocity": velocity}


def _direction(change: Callable[[Any, Any, Any, Any], Any]) -> dict[str, Any]:
    """Another direction with momentum, of g, v, the v before, and the step."""

    def direction(n, g, v, before, step):
        if v is None or step.adagrad:
            return right.direction(n, g, v, before, step)
        return change(g, v, 0 if before is None else before, step)

    return {"direction": direction}


def _root(change: Callable[[Any, Any], Any]) -> dict[str, Any]:
    return {"direction": lambda n, g, v, before, step: change(g, v) if step.adagrad
            else right.direction(n, g, v, before, step)}  # fmt: skip


def _decay(change: Callable[[str, Any, Any, Step], Any]) -> dict[str, Any]:
    return {"decayed": lambda n, name, g, theta, step: change(name, g, theta, step)}


def _after(change: Callable[[Any, Any, Any, Step], Any]) -> dict[str, Any]:
    """Another last line, of θ, the rate, the direction and the step, without weight decay before."""
    return {"decayed": lambda n, name, g, theta, step: g,
            "updated": lambda n, name, theta, delta, step: change(theta, n.rate(step, theta), delta, step)}  # fmt: skip


STEPS: dict[str, dict[str, Any]] = {
    "a norm without its root": {"clipped": by_factor(lambda norm, limit: np.minimum(1, limit / (norm**2 + SMALL)))},
    "the root taken of the norm": {"clipped": by_factor(lambda norm, limit: np.minimum(1, limit / (norm**0.5 + SMALL)))},
    "the biases left out of the norm": {"clipped": _norm(lambda d: np.linalg.norm(
        _all({name: g for name, g in d.items() if not name.startswith("b")})))},
    "h_0 left out of the norm": {"clipped": _norm(lambda d: np.linalg.norm(
        _all({name: g for name, g in d.items() if name != "h_0"})))},
    "W_hy and b_y left out of the norm": {"clipped": _norm(lambda d: np.linalg.norm(
        _all({name: g for name, g in d.items() if not name.endswith("y")})))},
    "W_hh alone in the norm": {"clipped": _norm(lambda d: np.linalg.norm(d["W_hh"]))},
    "the sum of the tensors' norms": {"clipped": _norm(lambda d: sum(np.linalg.norm(g) for g in d.values()))},
    "the largest of the tensors' norms": {"clipped": _norm(lambda d: max(np.linalg.norm(g) for g in d.values()))},
    "the largest number for the norm": {"clipped": _norm(lambda d: np.abs(_all(d)).max())},
    "the sum of absolute values for the norm": {"clipped": _norm(lambda d: np.abs(_all(d)).sum())},
    "the root mean square for the norm": {"clipped": _norm(lambda d: np.sqrt(np.mean(_all(d) ** 2)))},
    "gradients divided by their norm, without max_norm": {"clipped": by_factor(
        lambda norm, limit: np.where(norm > limit, 1 / norm, 1.0))},
    "gradients always divided by their norm": {"clipped": by_factor(lambda norm, limit: 1 / norm)},
    "the gradient of each tensor divided by its norm": {
        "clipped": lambda n, d, p, step: {name: g / np.linalg.norm(g) for name, g in d.items()}},
    "gradients set to 0 above max_norm": {"clipped": by_factor(lambda norm, limit: np.where(norm > limit, 0.0, 1.0))},
    "clipping twice as strong": {"clipped": by_factor(lambda norm, limit: np.minimum(1, limit / norm) ** 2)},
    "each number clipped for the norm": {"clipped": _by_value(lambda g, c: np.clip(g, -c, c))},
    "the norm of each tensor clipped for each number": {"clipped": _by_value(
        lambda g, c: g * np.minimum(1, c / (np.linalg.norm(g) + SMALL)))},
    "clipped from above alone": {"clipped": _by_value(lambda g, c: np.minimum(g, c))},
    "clipped from below alone": {"clipped": _by_value(lambda g, c: np.maximum(g, -c))},
    "numbers above max_value set to 0": {"clipped": _by_value(lambda g, c: np.where(np.abs(g) > c, 0, g))},
    "weight decay of the other sign": _decay(lambda name, g, theta, s: g - s.weight_decay * theta),
    "twice the weight decay": _decay(lambda name, g, theta, s: g + 2 * s.weight_decay * theta),
    "half of the weight decay": _decay(lambda name, g, theta, s: g + s.weight_decay / 2 * theta),
    "weight decay of the biases alone": _decay(
        lambda name, g, theta, s: g + s.weight_decay * theta * (not name.startswith("W"))),
    "no weight decay of h_0": _decay(lambda name, g, theta, s: g + s.weight_decay * theta * (name != "h_0")),
    "weight decay by the sign of the weights": _decay(lambda name, g, theta, s: g + s.weight_decay * np.sign(theta)),
    "clipping by value once more after weight decay": {"decayed": lambda n, name, g, theta, step: np.clip(
        right.decayed(n, name, g, theta, step), -(step.max_value or np.inf), step.max_value or np.inf)},
    "weight decay squared": _decay(lambda name, g, theta, s: g + s.weight_decay**2 * theta),
    "weight decay multiplied by the rate once more": _decay(
        lambda name, g, theta, s: g + s.learning_rate * s.weight_decay * theta),
    "weight decay without the rate": _after(lambda theta, rate, delta, s: theta * (1 - s.weight_decay) - rate * delta),
    "decoupled weight decay of the new weights": _after(
        lambda theta, rate, delta, s: (theta - rate * delta) * (1 - rate * s.weight_decay)),
    "v = μ v + (1 − μ) g": _velocity(lambda g, v, mu, tau: mu * v + (1 - mu) * g),
    "v = μ v + (1 − μ) g, but g at first": {"velocity": lambda n, g, before, step: g if before is None else
        step.momentum * before + (1 - step.momentum) * g if not step.adagrad else right.velocity(n, g, before, step)},
    "v = (1 − μ) v + μ g": _velocity(lambda g, v, mu, tau: (1 - mu) * v + mu * g),
    "v = v + g, without μ": _velocity(lambda g, v, mu, tau: v + g),
    "v = μ (v + g)": _velocity(lambda g, v, mu, tau: mu * (v + g)),
    "v = μ v − g": _velocity(lambda g, v, mu, tau: mu * v - g),
    "v = g − μ v": _velocity(lambda g, v, mu, tau: g - mu * v),
    "dampening left out": _velocity(lambda g, v, mu, tau: mu * v + g),
    "τ g for (1 − τ) g": {"velocity": lambda n, g, before, step: right.velocity(n, g, before, step)
        if step.adagrad or before is None else step.momentum * before + step.dampening * g},
    "dampening of v, not of g": {"velocity": lambda n, g, before, step: right.velocity(n, g, before, step)
        if step.adagrad or before is None else (1 - step.dampening) * step.momentum * before + g},
    "the velocity of before left out": {"velocity": lambda n, g, before, step: right.velocity(n, g, None, step)},
    "the direction is the gradient, not the velocity": _direction(lambda g, v, before, s: g),
    "the step uses the velocity of before": _direction(lambda g, v, before, s: before + 0 * g),
    "Nesterov's g + v for g + μ v": _direction(lambda g, v, before, s: g + v if s.nesterov else v),
    "Nesterov's v + μ g for g + μ v": _direction(lambda g, v, before, s: v + s.momentum * g if s.nesterov else v),
    "Nesterov's μ v for g + μ v": _direction(lambda g, v, before, s: s.momentum * v if s.nesterov else v),
    "Nesterov's g + μ v with the v of before": _direction(lambda g, v, before, s: g + s.momentum * before if s.nesterov else v),
    "Nesterov's (1 + μ) v for g + μ v": _direction(lambda g, v, before, s: v + s.momentum * v if s.nesterov else v),
    "Nesterov's g − μ v for g + μ v": _direction(lambda g, v, before, s: g - s.momentum * v if s.nesterov else v),
    "Nesterov's v − μ times the v of before": _direction(
        lambda g, v, before, s: (1 + s.momentum) * v - s.momentum * before if s.nesterov else v),
    "Nesterov's momentum, though it is not asked for": _direction(lambda g, v, before, s: g + s.momentum * v),
    "μ v for v": _direction(lambda g, v, before, s: g + s.momentum * v if s.nesterov else s.momentum * v),
    "the sum of squares without that of before": _squares(lambda g, v: g * g),
    **{f"RMSprop's mean of squares with {rho:g}": _squares(lambda g, v, rho=rho: rho * v + (1 - rho) * g * g)
       for rho in (0.9, 0.99, 0.999, 0.95)},
    "|g| for g² in the sum of squares": _squares(lambda g, v: v + np.abs(g)),
    "g divided by the sum of squares, without the root": _root(lambda g, v: g / (v + TINY)),
    "no 10⁻⁸ under the root": _root(lambda g, v: g / np.sqrt(v)),
    **{f"{c:g} for 10⁻⁸ under the root": _root(lambda g, v, c=c: g / np.sqrt(v + c)) for c in (1e-10, 1e-7, 1e-6, 1e-5)},
    **{f"{c:g} outside the root": _root(lambda g, v, c=c: g / (np.sqrt(v) + c)) for c in (1e-10, 1e-7, 1e-6, 1e-5)},
    "the root of the sum of squares of before": {"direction": lambda n, g, v, before, step: n.by_root(g, 0 * g if before is None
        else before) if step.adagrad else right.direction(n, g, v, before, step)},
    "no root of the sum of squares, nor division": _root(lambda g, v: g),
    "the step multiplied by the rate once more": {
        "updated": lambda n, name, theta, delta, step: theta - n.rate(step, theta) ** 2 * delta},
    "the rate left out": {"updated": lambda n, name, theta, delta, step: theta - delta},
    "the step in float32": {"updated": lambda n, name, theta, delta, step: theta
        - float(np.float32(step.learning_rate)) * delta},
    "the new parameters clipped by value": {"clipped": lambda n, d, p, step: d,
        "updated": lambda n, name, theta, delta, step: np.clip(theta - n.rate(step, theta) * delta, -step.max_value, step.max_value)},
    **{f"new parameters rounded to {name}": {"updated": lambda n, _, theta, delta, step, name=name: rounded(
        theta - n.rate(step, theta) * delta, name)} for name in FORMATS},
    "Adagrad without the squares of before, for plain descent": {"updated": lambda n, name, theta, delta, step:
        theta - n.rate(step, theta) * n.by_root(delta, delta * delta)},
    "weight decay both in the gradient and of the weights": {"updated": lambda n, name, theta, delta, step:
        theta - n.rate(step, theta) * (delta + step.weight_decay * theta)},
    "the step with the sign of the gradient": {
        "updated": lambda n, name, theta, delta, step: theta - n.rate(step, theta) * np.sign(delta)},
}  # fmt: skip


StepMistake = tuple[str, Callable[[WindowCase, Arrays], Arrays]]  # words; velocities and parameters from the gradients


def other_steps(step: Step) -> Iterator[StepMistake]:
    """Mistakes of the step: options that are left out, other functions, and other orders."""
    for name, default in Step._field_defaults.items():
        if getattr(step, name) != default:
            yield f"{name} left out", partial(_other_options, {name: default})
    if step.nesterov:
        yield "Nesterov's momentum left out", partial(_other_options, {"nesterov": False})
    for text, functions in STEPS.items():
        yield text, partial(stepped, of=DEFINITION._replace(**functions))
    yield "clipping of the velocity, not of the gradient", partial(_clipped_late, True)
    yield "clipping of the direction, after momentum", partial(_clipped_late, False)
    yield "the step made twice", _twice
    if not step.weight_decay:
        for decay in (1e-4, 1e-5, 5e-4, 1e-3, 5e-3, 0.01, 0.1):
            yield f"a weight decay of {decay:g}, though it is not asked for", partial(_other_options, {"weight_decay": decay})


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


# -- gradients that are other sums, or that are reported otherwise ------------------------------------------------------


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
    for text, change in {
        "whose rows are one row, in which all add up": lambda g: 0 * g + g.sum(axis=0, keepdims=True),
        "divided by the norm of each": lambda g: g / np.linalg.norm(g),
        **{f"rounded to {name}": partial(rounded, name=name) for name in FORMATS},
    }.items():  # fmt: skip
        others[text] = {name: change(g) for name, g in own.items()}
    if step is not None:
        limits = step._replace(learning_rate=1.0, momentum=0.0, dampening=0.0, nesterov=False, adagrad=False)
        for text, part in {"after clipping": limits._replace(weight_decay=0.0), "after clipping and weight decay": limits,
                           "with weight decay": limits._replace(max_norm=None, max_value=None)}.items():  # fmt: skip
            moved = stepped(case._replace(step=part, velocity=None), values)
            others[text] = {"d" + name: theta - moved[name] for name, theta in p.items()}
        moved = stepped(case, values)
        others["after momentum"] = {"d" + name: moved["v" + name] for name in p if "v" + name in moved}
        others["multiplied by the rate"] = {name: step.learning_rate * g for name, g in own.items()}
    return others
