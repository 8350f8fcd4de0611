"""The step from the gradient to the parameters, (U1) to (U6), by hand: what is checked, and its derived bound."""

from collections.abc import Iterator
from fractions import Fraction
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.bptt import bptt
from numpy_rnn.clipping import SMALL, global_norm
from numpy_rnn.common.records import Gradients, Parameters, SgdOptions
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.bounds.step import Near, Step
from numpy_rnn.conformance.case import Case
from numpy_rnn.elman import forward
from numpy_rnn.study.checks.equations import STEP, Values, present, problems
from numpy_rnn.study.checks.witnesses import (
    Check,
    Witnessed,
    check_torch,
    compared,
    evaluate,
    example,
    findings_of,
    of_fractions,
    whole,
)
from numpy_rnn.study.setting import Setting

MOMENTUM, DAMPENING, DECAY = 0.9, 0.5, 0.01  # of the demonstration
SHORTER = 0.5  # times the norm: so that clipping clips
UPDATES = 2  # the first, which has no velocity, and one that has


class Descent(NamedTuple):
    """One update with a set of options: its inputs, and every stage by hand, all parameters in one row."""

    name: str  # of the set
    number: int  # of the update, from 1
    case: Case  # its options, parameters and velocity
    gradients: Gradients
    hand: Values  # "norm", "clipped" where max_norm is given, "g", "v" where there is momentum, "delta", "theta"


def sets(options: SgdOptions, norm: float) -> dict[str, SgdOptions]:
    """The run's own options, and two sets in which all six equations have something to do.

    Two, because Nesterov's correction excludes dampening.
    """
    max_norm = SHORTER * norm if norm else 1.0
    return {
        "the run's own": options,
        "momentum with dampening": SgdOptions(MOMENTUM, DAMPENING, False, DECAY, max_norm),
        "Nesterov": SgdOptions(MOMENTUM, 0.0, True, DECAY, max_norm),
    }


def descents(case: Case, options: SgdOptions, rnn: Any = numpy_rnn) -> Iterator[Descent]:
    """Two updates in a row of every set, on the gradients of this window, by the functions of `rnn`."""
    norm = float(global_norm(gradients_of(case, case.params)))
    for name, of_set in sets(options, norm).items():
        params, velocity = case.params, None
        for number in range(1, UPDATES + 1):
            gradients = gradients_of(case, params)
            of_update = case._replace(params=params, sgd=of_set, velocity=velocity)
            hand, params, velocity = by_hand(of_update, gradients, rnn)
            yield Descent(name, number, of_update, gradients, hand)


def by_hand(case: Case, gradients: Gradients, rnn: Any = numpy_rnn) -> tuple[Values, Parameters, Gradients | None]:
    """Every stage as `rnn` computes it, and the parameters and the velocity after the update."""
    of_direction = case.sgd._asdict()
    max_norm = of_direction.pop("max_norm")
    del of_direction["max_value"], of_direction["adagrad"]  # which no study has
    hand = {"norm": np.asarray(global_norm(gradients))}
    if max_norm is not None:
        gradients = rnn.clip_by_global_norm(gradients, max_norm)
        hand["clipped"] = row(gradients)
    hand["g"] = row(rnn.direction(case.params, gradients, weight_decay=case.sgd.weight_decay)[0])
    delta, velocity = rnn.direction(case.params, gradients, case.velocity, **of_direction)
    if velocity is not None:
        hand["v"] = row(velocity)
    params = rnn.sgd(case.params, delta, case.learning_rate)
    return hand | {"delta": row(delta), "theta": row(params)}, params, velocity


def bounds(descent: Descent) -> Values:
    """E of every stage, by the equivalence suite's formulas of the step; the gradients are given, and exact."""
    case, rounding = descent.case, Rounding(np.float64)
    step = Step(case, rounding)
    plain = Step(case._replace(sgd=SgdOptions(weight_decay=case.sgd.weight_decay)), rounding)
    given = step.given(row(descent.gradients))
    clipped = step.clipped(given)
    delta, velocity = step.direction(clipped, _settled)
    E = {"norm": step.norm(given).E[0], "clipped": clipped.E, "delta": delta.E}
    E["g"] = plain.direction(clipped, _settled)[0].E
    if velocity is not None:
        E["v"] = velocity.E
    updated = step.updated(given, _settled)
    return E | {"theta": step.row(updated[name].E for name in step.names)}


def row(tensors: Parameters | Gradients) -> np.ndarray:
    """The tensors that are there, one after the other."""
    return np.concatenate([v.ravel() for v in present(tensors).values()])


def _settled(velocity: Near) -> Near:
    return velocity


def gradients_of(case: Case, params: Parameters) -> Gradients:
    """The gradient of the case's window at these parameters."""
    options: dict[str, Any] = {"nonlinearity": case.nonlinearity}
    activations = forward(params, case.x, case.h_0 if params.h_0 is None else params.h_0, **options)
    options["reduction"] = case.reduction
    return bptt(params, activations, case.target, **options)


BITS = 300  # of a root, after its first


def exact(descent: Descent) -> dict[str, Witnessed]:
    """(U1) to (U6) on the numbers that enter the update, number by number.

    The learning rate and the options are the float64 that they are.
    """
    case = descent.case
    mu, tau, decay = map(Fraction, (*case.sgd[:2], case.sgd.weight_decay))
    result, gradients = {}, fractions(row(descent.gradients))
    theta = fractions(row(case.params))
    norm = root(sum((g * g for g in gradients), Fraction()))
    result["norm"] = [norm]
    if case.sgd.max_norm is not None:
        factor = min(Fraction(1), Fraction(case.sgd.max_norm) / (norm + Fraction(SMALL)))
        gradients = result["clipped"] = [factor * g for g in gradients]
    g = result["g"] = [dtheta + decay * p for dtheta, p in zip(gradients, theta)]
    delta = g
    if mu:
        v = result["v"] = g if case.velocity is None else velocity(fractions(row(case.velocity)), g, mu, tau)
        delta = [one + mu * other for one, other in zip(g, v)] if case.sgd.nesterov else v
    rate = Fraction(float(case.learning_rate))
    result["delta"], result["theta"] = delta, [p - rate * one for p, one in zip(theta, delta)]
    return {name: of_fractions(numbers) for name, numbers in result.items()}


def velocity(before: list[Fraction], g: list[Fraction], mu: Fraction, tau: Fraction) -> list[Fraction]:
    """(U5), after a parameter's first time."""
    return [mu * v + (1 - tau) * one for v, one in zip(before, g)]


def fractions(array) -> list[Fraction]:
    """Exactly these numbers."""
    return [Fraction(number) for number in array.tolist()]


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

    options = descent.case.sgd._asdict()
    max_norm = options.pop("max_norm")
    del options["max_value"], options["adagrad"]
    params = {name: torch.tensor(v).requires_grad_() for name, v in present(descent.case.params).items()}
    for name, gradient in present(descent.gradients).items():
        params[name].grad = torch.tensor(gradient)
    limit = np.inf if max_norm is None else max_norm  # no gradient is longer than infinity
    result = {"norm": torch.nn.utils.clip_grad_norm_(params.values(), limit)}
    if max_norm is not None:
        result["clipped"] = _row(theta.grad for theta in params.values())
    sgd = torch.optim.SGD(params.values(), lr=float(descent.case.learning_rate), **options)
    if descent.case.velocity is not None:
        for name, v in present(descent.case.velocity).items():
            sgd.state[params[name]]["momentum_buffer"] = torch.tensor(v)
    sgd.step()
    if options["momentum"]:
        result["v"] = _row(sgd.state[theta]["momentum_buffer"] for theta in params.values())
        if descent.case.velocity is None:
            result["g"] = result["v"]
    result["theta"] = _row(theta.detach() for theta in params.values())
    return {name: whole(v.numpy()) for name, v in result.items()}


def _row(tensors):
    import torch

    return torch.cat([v.ravel() for v in tensors])


WITNESSES = {"exact fractions": exact, "torch.optim": optimizer}


def check_steps(setting: Setting, absent: dict[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(U1) to (U6) by two updates of each set of options, on the gradients at the start of training."""
    case = next(problems(setting)).case
    checks: dict[str, list[Check]] = {id: [] for id in STEP}
    examples, options = {}, {}
    for descent in descents(case, setting.configuration.sgd_options()):
        options[descent.name] = descent.case.sgd._asdict()
        E, where = bounds(descent), f"{descent.name}, update {descent.number}"
        results = evaluate(WITNESSES, descent, absent)
        for id, equation in STEP.items():
            if equation.name in descent.hand:
                hand = descent.hand[equation.name]
                of_row = {name: values[equation.name] for name, values in results.items() if equation.name in values}
                checks[id] += compared(where, hand, E[equation.name], of_row)
                examples[id] = example(equation, hand, of_row)
    return findings_of(STEP, checks, examples), [{"name": name, **of_set} for name, of_set in options.items()]
