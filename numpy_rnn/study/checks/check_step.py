"""The step from the gradient to the parameters, (U1) to (U6): two updates by hand, and their witnesses."""

from collections.abc import Iterator
from fractions import Fraction
from math import inf, isqrt
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.clipping import SMALL, global_norm
from numpy_rnn.common.records import Gradients, Parameters, Step, WindowCase
from numpy_rnn.study.checks.comparison import Comparison, Witnessed, evaluate, fractions, from_exact, whole
from numpy_rnn.study.checks.equations import STEP, row
from numpy_rnn.study.checks.witnesses import check_torch
from numpy_rnn.study.suite_parts import Values, initial_state, present, step_bounds

MOMENTUM, DAMPENING, DECAY = 0.9, 0.5, 0.01  # of the demonstration
SHORTER = 0.5  # times the norm: so that clipping clips
DEMONSTRATION = f"in a second update with momentum {MOMENTUM}, Nesterov, weight decay {DECAY} and clipping"
UPDATES = 2  # the first, which has no velocity, and one that has
BITS = 300  # of a root, after its first


class Descent(NamedTuple):
    """One update: its inputs, and every stage by hand, all parameters in one row."""

    case: WindowCase  # its step, parameters and velocity
    gradients: Gradients
    hand: Values  # "norm", "clipped" where max_norm is given, "g", "v" where there is momentum, "delta", "theta"


def descents(case: WindowCase) -> Iterator[Descent]:
    """Two updates in a row, on the gradients of this window, with the run's own step, and with two steps with which all
    six equations have something to do: two, because Nesterov's correction excludes dampening.
    """
    max_norm = SHORTER * float(global_norm(gradients_of(case))) or 1.0
    shared = Step(case.step.learning_rate, momentum=MOMENTUM, weight_decay=DECAY, max_norm=max_norm)
    for step in (case.step, shared._replace(dampening=DAMPENING), shared._replace(nesterov=True)):
        current = case._replace(step=step)
        for _ in range(UPDATES):
            gradients = gradients_of(current)
            hand, params, velocity = by_hand(current, gradients)
            yield Descent(current, gradients, hand)
            current = current._replace(params=params, velocity=velocity)


def by_hand(case: WindowCase, gradients: Gradients) -> tuple[Values, Parameters, Gradients | None]:
    """Every stage as numpy_rnn computes it, and the parameters and the velocity after the update."""
    step = case.step
    hand = {"norm": np.asarray(global_norm(gradients))}
    if step.max_norm is not None:
        gradients = numpy_rnn.clip_by_global_norm(gradients, step.max_norm)
        hand["clipped"] = row(gradients)
    hand["g"] = row(numpy_rnn.direction(case.params, gradients, weight_decay=step.weight_decay)[0])
    options = {name: getattr(step, name) for name in ("momentum", "dampening", "nesterov", "weight_decay")}
    delta, velocity = numpy_rnn.direction(case.params, gradients, case.velocity, **options)
    if velocity is not None:
        hand["v"] = row(velocity)
    params = numpy_rnn.sgd(case.params, delta, step.learning_rate)
    return hand | {"delta": row(delta), "theta": row(params)}, params, velocity


def gradients_of(case: WindowCase) -> Gradients:
    """The gradient of a window."""
    options: dict[str, Any] = {"nonlinearity": case.objective.nonlinearity}
    activations = numpy_rnn.forward(case.params, case.x, initial_state(case), **options)
    return numpy_rnn.bptt(case.params, activations, case.target, reduction=case.objective.reduction, **options)


def exact(descent: Descent) -> dict[str, Witnessed]:
    """(U1) to (U6) on the numbers that enter the update, number by number.

    The learning rate and the options are the float64 that they are.
    """
    case, step = descent.case, descent.case.step
    mu, tau, decay = map(Fraction, (step.momentum, step.dampening, step.weight_decay))
    result, gradients, theta = {}, fractions(row(descent.gradients)), fractions(row(case.params))
    norm = root(sum((g * g for g in gradients), Fraction()))
    result["norm"] = [norm]
    if step.max_norm is not None:
        factor = min(Fraction(1), Fraction(step.max_norm) / (norm + Fraction(SMALL)))
        gradients = result["clipped"] = [factor * g for g in gradients]
    g = delta = result["g"] = [dtheta + decay * p for dtheta, p in zip(gradients, theta)]
    if mu:
        v = g  # (U5), a parameter's first time
        if case.velocity is not None:
            v = [mu * old + (1 - tau) * one for old, one in zip(fractions(row(case.velocity)), g)]
        result["v"] = v
        delta = [one + mu * other for one, other in zip(g, v)] if step.nesterov else v
    rate = Fraction(float(step.learning_rate))
    result["delta"], result["theta"] = delta, [p - rate * one for p, one in zip(theta, delta)]
    return {name: from_exact(numbers) for name, numbers in result.items()}


def root(number: Fraction) -> Fraction:
    """√number from below, to a relative 2⁻³⁰⁰."""
    if not number:
        return number
    shift = max(0, BITS + (number.denominator.bit_length() - number.numerator.bit_length()) // 2 + 1)
    return Fraction(isqrt((number.numerator << 2 * shift) // number.denominator), 1 << shift)


def optimizer(descent: Descent) -> dict[str, Witnessed]:
    """The stages that PyTorch shows: the norm, clipped gradients, the velocity, and the new parameters.

    g shows in the velocity of the first update, which is g; Δ only in what the parameters become. Raises InputError
    where PyTorch is not installed.
    """
    check_torch()
    import torch

    def joined(tensors):
        return torch.cat([v.ravel() for v in tensors])

    step = descent.case.step
    params = {name: torch.tensor(v).requires_grad_() for name, v in present(descent.case.params).items()}
    for name, gradient in present(descent.gradients).items():
        params[name].grad = torch.tensor(gradient)
    limit = inf if step.max_norm is None else step.max_norm  # no gradient is longer than infinity
    result = {"norm": torch.nn.utils.clip_grad_norm_(params.values(), limit)}
    if step.max_norm is not None:
        result["clipped"] = joined(theta.grad for theta in params.values())
    sgd = torch.optim.SGD(params.values(), lr=float(step.learning_rate), momentum=step.momentum,
                          dampening=step.dampening, nesterov=step.nesterov, weight_decay=step.weight_decay)  # fmt: skip
    if descent.case.velocity is not None:
        for name, v in present(descent.case.velocity).items():
            sgd.state[params[name]]["momentum_buffer"] = torch.tensor(v)
    sgd.step()
    if step.momentum:
        result["v"] = joined(sgd.state[theta]["momentum_buffer"] for theta in params.values())
        if descent.case.velocity is None:
            result["g"] = result["v"]
    result["theta"] = joined(theta.detach() for theta in params.values())
    return {name: whole(v.numpy()) for name, v in result.items()}


WITNESSES = {"exact fractions": exact, "torch.optim": optimizer}


def compare_steps(case: WindowCase, absent: dict[str, str]) -> Iterator[Comparison]:
    """(U1) to (U6) by two updates with each step, on the gradients of a window."""
    for one in descents(case):
        E, results = step_bounds(one.case, row(one.gradients)), evaluate(WITNESSES, one, absent)
        yield Comparison(STEP, one.hand, E, results, DEMONSTRATION, params=one.case.params)
