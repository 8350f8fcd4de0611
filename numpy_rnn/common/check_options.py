"""Checks of the options of a run: objective, schedule, step, and which updates are yielded. All raise InputError."""

from __future__ import annotations

from math import inf
from typing import Any, get_args

from numpy_rnn.common import records
from numpy_rnn.common.errors import InputError, check_flag, check_number, check_whole, shown
from numpy_rnn.common.records import Objective, Schedule, Step

EPOCH = "epoch"
NAMES = {"nonlinearity": records.Nonlinearity, "loss": records.LossName, "reduction": records.Reduction}


def check_objective(objective: Objective) -> Objective:
    """The objective. Raises InputError on a name that is unknown."""
    for option, name in objective._asdict().items():
        known = get_args(NAMES[option])
        if not (isinstance(name, str) and name in known):
            raise InputError(f"unknown {option} {shown(name, repr)}: expected {' or '.join(known)}")
    return objective


def check_schedule(schedule: Schedule) -> Schedule:
    """The schedule in plain integers. Raises InputError unless 1 ≤ k1 ≤ k2 and epochs is 0 or more."""
    k1, k2 = check_whole("k1", schedule.k1, 1), check_whole("k2", schedule.k2, 1)
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must contain the k1 new steps of its"
            f" update; choose k2 ≥ {k1}"
        )
    return Schedule(k1, k2, check_whole("epochs", schedule.epochs, 0))


def check_step(step: Step) -> Step:
    """The step in plain numbers, but for its learning rate. Raises InputError on options that no step can have."""
    rate, momentum, dampening, nesterov, weight_decay, adagrad, max_norm, max_value = step
    check_number("momentum", momentum, 0, "a finite number, 0 or more")
    check_number("weight decay", weight_decay, 0, "a finite number, 0 or more")
    check_number("dampening", dampening, -inf, "a finite number, usually from 0 to 1")
    nesterov, adagrad = check_flag("nesterov", nesterov), check_flag("adagrad", adagrad)
    given = f"they are {momentum}, {dampening} and {nesterov}"
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(f"adagrad needs momentum 0, dampening 0 and nesterov False: {given}")
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {given}")
    numbers = float(momentum), float(dampening), nesterov, float(weight_decay), adagrad
    max_norm = None if max_norm is None else check_limit("max norm", max_norm)
    max_value = None if max_value is None else check_limit("max value", max_value)
    if max_norm is not None and max_value is not None:
        raise InputError(f"max norm is {max_norm} and max value is {max_value}: expected one of the two limits")
    return Step(rate, *numbers, max_norm, max_value)


def check_limit(name: str, limit: Any) -> float:
    """The limit of clipping. Raises InputError unless it is a finite number above 0."""
    check_number(name, limit, 0, "a finite number above 0")
    if limit == 0:
        raise InputError(f"{name} is {limit}: expected a finite number above 0")
    return float(limit)


def check_yield_every(yield_every: Any, is_stream: bool) -> Any:
    """The number of updates or, on a series, "epoch". Raises InputError on anything else."""
    if not is_stream and isinstance(yield_every, str) and yield_every == EPOCH:
        return EPOCH
    kind = "a whole number of updates" if is_stream else "'epoch', or a whole number of updates"
    return check_whole("yield_every", yield_every, 1, kind)
