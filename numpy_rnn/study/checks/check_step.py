"""The step from the gradient to the parameters, (U1) to (U9): two updates by hand, and their witnesses."""

from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.clipping import global_norm
from numpy_rnn.common.records import Gradients, Parameters, Step, WindowCase
from numpy_rnn.study.checks.comparison import Comparison, Witnessed, evaluate, from_exact, whole
from numpy_rnn.study.checks.equations import OF_GRADIENTS, STEP, row
from numpy_rnn.study.checks.witnesses import check_torch
from numpy_rnn.study.suite_parts import (
    Fractions,
    Values,
    initial_state,
    present,
    rounding,
    stages_of_step,
)

MOMENTUM, DAMPENING, DECAY = 0.9, 0.5, 0.01  # of the demonstration
SHORTER = 0.5  # times the norm, or the largest number: so that clipping clips
DEMONSTRATION = (
    f"in a second update with momentum {MOMENTUM}, Nesterov, weight decay {DECAY} and clipping"
)
GRADIENT = "in a second update with Adagrad and clipping by value"
UPDATES = 2  # the first, which has no velocity, and one that has


class Descent(NamedTuple):
    """One update: its inputs, and every stage by hand, all parameters in one row."""

    case: WindowCase  # its step, parameters and velocity
    gradients: Gradients
    hand: Values  # as `stages_of_step` names them


def descents(case: WindowCase) -> Iterator[Descent]:
    """Two updates in a row, on the gradients of this window, with the run's own step, with two steps with which (U1) to
    (U6) have something to do, as Nesterov's correction excludes dampening, and with one for (U7) to (U9).
    """
    first = gradients_of(case)
    max_norm = SHORTER * float(global_norm(first)) or 1.0
    max_value = SHORTER * float(np.abs(row(first)).max()) or 1.0
    adagrad = Step(case.step.learning_rate, max_value=max_value, adagrad=True)
    shared = Step(case.step.learning_rate, momentum=MOMENTUM, weight_decay=DECAY, max_norm=max_norm)
    for step in (
        case.step,
        shared._replace(dampening=DAMPENING),
        shared._replace(nesterov=True),
        adagrad,
    ):
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
    if step.max_value is not None:
        gradients = numpy_rnn.clip_by_value(gradients, step.max_value)
    hand["clipped" if step.max_value is None else "by value"] = row(gradients)
    hand["g"] = row(numpy_rnn.direction(case.params, gradients, weight_decay=step.weight_decay)[0])
    options = {
        name: getattr(step, name)
        for name in ("momentum", "dampening", "nesterov", "weight_decay", "adagrad")
    }
    delta, velocity = numpy_rnn.direction(case.params, gradients, case.velocity, **options)
    if velocity is not None:
        hand["v"] = row(velocity)
    params = numpy_rnn.sgd(case.params, delta, step.learning_rate)
    return hand | {"delta": row(delta), "theta": row(params)}, params, velocity


def gradients_of(case: WindowCase) -> Gradients:
    """The gradient of a window."""
    options: dict[str, Any] = {"nonlinearity": case.objective.nonlinearity}
    activations = numpy_rnn.forward(case.params, case.x, initial_state(case), **options)
    return numpy_rnn.bptt(
        case.params, activations, case.target, reduction=case.objective.reduction, **options
    )


def exact(descent: Descent) -> dict[str, Witnessed]:
    """Every stage in fractions of the numbers that enter the update.

    The learning rate and the options are the float64 that they are.
    """
    stages = stages_of_step(Fractions(), descent.case, descent.gradients)
    return {
        name: from_exact([v for part in parts for v in np.ravel(part)])
        for name, parts in stages.items()
    }


def bounds(descent: Descent) -> Values:
    """The rounding error of every stage, given the gradients."""
    stages = stages_of_step(rounding(), descent.case, descent.gradients)
    return {
        name: np.concatenate([np.ravel(part.E) for part in parts]) for name, parts in stages.items()
    }


def optimizer(descent: Descent) -> dict[str, Witnessed]:
    """The stages that PyTorch shows: the norm, clipped gradients, the velocity, and the new parameters.

    g shows in the velocity of the first update, which is g; Δ only in what the parameters become. Raises InputError
    where PyTorch is not installed.
    """
    check_torch()
    import torch
    from torch.optim.sgd import sgd

    def joined(tensors):
        return torch.cat([v.ravel() for v in tensors])

    step = descent.case.step
    params = {name: torch.tensor(v) for name, v in present(descent.case.params).items()}
    for name, gradient in present(descent.gradients).items():
        params[name].grad = torch.tensor(gradient)
    limit = inf if step.max_norm is None else step.max_norm  # no gradient is longer than infinity
    result = {"norm": torch.nn.utils.clip_grad_norm_(params.values(), limit)}
    gradients: Any = [theta.grad for theta in params.values()]
    result["clipped"] = joined(gradients)
    before: Any = present(descent.case.velocity) if descent.case.velocity else dict.fromkeys(params)
    velocity = [None if before[name] is None else torch.tensor(before[name]) for name in params]
    # The function of torch.optim.SGD: the class would import torch._dynamo, which takes a second.
    sgd(list(params.values()), gradients, velocity, lr=float(step.learning_rate), momentum=step.momentum,
        dampening=step.dampening, nesterov=step.nesterov, weight_decay=step.weight_decay, maximize=False)  # fmt: skip
    if step.momentum:
        result["v"] = joined(velocity)
        if descent.case.velocity is None:
            result["g"] = result["v"]
    result["theta"] = joined(params.values())
    return {name: whole(v.numpy()) for name, v in result.items()}


WITNESSES = {"exact fractions": exact, "torch.optim": optimizer}


def compare_steps(case: WindowCase, absent: dict[str, str]) -> Iterator[Comparison]:
    """(U1) to (U6) by two updates with each step, on the gradients of a window; (U7) to (U9) in exact fractions."""
    for one in descents(case):
        equations, where, witnesses = STEP, DEMONSTRATION, WITNESSES
        if one.case.step.adagrad:  # PyTorch adds its 10⁻⁸ to the root
            equations, where, witnesses = OF_GRADIENTS, GRADIENT, {"exact fractions": exact}
        results = evaluate(witnesses, one, absent)
        yield Comparison(equations, one.hand, bounds(one), results, where, params=one.case.params)
