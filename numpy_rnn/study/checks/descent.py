"""The step from the gradient to the parameters, (U1) to (U6), by hand: what is checked, and its derived bound."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.bptt import bptt
from numpy_rnn.clipping import global_norm
from numpy_rnn.common.records import Gradients, Parameters, SgdOptions
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.bounds.step import Near, Step
from numpy_rnn.conformance.case import Case
from numpy_rnn.elman import forward
from numpy_rnn.study.checks.problem import Values, present

MOMENTUM, DAMPENING, DECAY = 0.9, 0.5, 0.01  # of the demonstration
SHORTER = 0.5  # times the norm: so that clipping clips
UPDATES = 2  # the first, which has no velocity, and one that has


class Descent(NamedTuple):
    """One update of a set: what enters it, and every stage by hand, the tensors of all parameters in one row."""

    name: str  # of the set
    number: int  # of the update, from 1
    case: Case  # its options, parameters and velocity
    gradients: Gradients
    hand: Values  # "n", "clipped" where max_norm is given, "d", "v" where there is momentum, "s", "theta"


def sets(options: SgdOptions, norm: float) -> dict[str, SgdOptions]:
    """The run's own options, and two sets in which all six equations have something to do.

    Two, because Nesterov's correction is refused beside dampening.
    """
    max_norm = SHORTER * norm if norm else 1.0
    return {
        "the run's own": options,
        "momentum with dampening": SgdOptions(MOMENTUM, DAMPENING, False, DECAY, max_norm),
        "Nesterov": SgdOptions(MOMENTUM, 0.0, True, DECAY, max_norm),
    }


def descents(case: Case, options: SgdOptions, rnn: Any = numpy_rnn) -> Iterator[Descent]:
    """Two updates in a row of every set, on the gradients of this window, by the functions of `rnn`."""
    norm = float(global_norm(_gradients(case, case.params)))
    for name, of_set in sets(options, norm).items():
        params, velocity = case.params, None
        for number in range(1, UPDATES + 1):
            gradients = _gradients(case, params)
            of_update = case._replace(params=params, sgd=of_set, velocity=velocity)
            hand, params, velocity = by_hand(of_update, gradients, rnn)
            yield Descent(name, number, of_update, gradients, hand)


def by_hand(case: Case, gradients: Gradients, rnn: Any = numpy_rnn) -> tuple[Values, Parameters, Gradients | None]:
    """Every stage as `rnn` computes it, and the parameters and the velocity after the update."""
    of_direction = case.sgd._asdict()
    max_norm = of_direction.pop("max_norm")
    hand = {"n": np.asarray(global_norm(gradients))}
    if max_norm is not None:
        gradients = rnn.clip_by_global_norm(gradients, max_norm)
        hand["clipped"] = row(gradients)
    hand["d"] = row(rnn.direction(case.params, gradients, weight_decay=case.sgd.weight_decay)[0])
    s, velocity = rnn.direction(case.params, gradients, case.velocity, **of_direction)
    if velocity is not None:
        hand["v"] = row(velocity)
    params = rnn.sgd(case.params, s, case.learning_rate)
    return hand | {"s": row(s), "theta": row(params)}, params, velocity


def bounds(descent: Descent) -> Values:
    """E of every stage, by the equivalence suite's formulas of the step; the gradients are given, and exact."""
    case, rounding = descent.case, Rounding(np.float64)
    step = Step(case, rounding)
    plain = Step(case._replace(sgd=SgdOptions(weight_decay=case.sgd.weight_decay)), rounding)
    given = {name: step.given(v) for name, v in present(descent.gradients).items()}
    E = {"n": step.norm(list(given.values())).E}
    near = step.clipped(given)
    E["clipped"] = _row_of_bounds(near)
    E["d"] = _row_of_bounds({name: plain.direction(name, v, _settled)[0] for name, v in near.items()})
    pairs = {name: step.direction(name, v, _settled) for name, v in near.items()}
    E["s"] = _row_of_bounds({name: s for name, (s, _) in pairs.items()})
    if case.sgd.momentum:
        E["v"] = _row_of_bounds({name: v for name, (_, v) in pairs.items()})
    updated = step.updated(given, _settled)
    return E | {"theta": _row_of_bounds({name: updated[name] for name in near})}


def row(tensors: Parameters | Gradients) -> np.ndarray:
    """The tensors that are there, one after the other."""
    return np.concatenate([v.ravel() for v in present(tensors).values()])


def _settled(name: str, near: Near) -> Near:
    return near


def _row_of_bounds(near):
    return np.concatenate([np.broadcast_to(v.E, v.value.shape).ravel() for v in near.values()])


def _gradients(case, params):
    initial = case.h_0 if params.h_0 is None else params.h_0
    activations = forward(params, case.x, initial, nonlinearity=case.nonlinearity)
    return bptt(params, activations, case.target, nonlinearity=case.nonlinearity, reduction=case.reduction)
