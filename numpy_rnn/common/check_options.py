"""Checks of the options of a run: objective, schedule, step, and which updates are yielded. All raise InputError."""

from math import inf
from sys import maxsize
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
            given = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise InputError(f"unknown {option} {given}: expected {' or '.join(known)}")
    return objective


def check_schedule(schedule: Schedule) -> Schedule:
    """The schedule in plain integers. Raises InputError unless 1 ≤ k1 ≤ k2 and epochs is 0 or more."""
    kinds = zip(("k1", "k2", "epochs"), schedule, (1, 1, 0))
    k1, k2, epochs = (check_whole(name, value, least) for name, value, least in kinds)
    if k2 < k1:
        raise InputError(
            f"k2 is {shown(k2)} and k1 is {shown(k1)}: expected k2 ≥ k1, because the window must contain the k1 new"
            f" steps of its update; choose k2 ≥ {shown(k1)}"
        )
    for name, value in (("k2", k2), ("epochs", epochs)):
        if value > maxsize:
            raise InputError(f"{name} is {shown(value)}: expected at most {maxsize}")
    return Schedule(k1, k2, epochs)


def check_step(step: Step) -> Step:
    """The step in plain numbers, but for its learning rate. Raises InputError on options that no step can have."""
    rate, momentum, dampening, nesterov, weight_decay, adagrad, *limits = step
    for name, value in (("momentum", momentum), ("weight decay", weight_decay)):
        check_number(name, value, 0, "a finite number, 0 or more")
    check_number("dampening", dampening, -inf, "a finite number, usually from 0 to 1")
    max_norm, max_value = (
        None if limit is None else check_limit(name, limit) for name, limit in zip(("max norm", "max value"), limits)
    )
    if None not in limits:
        raise InputError(
            f"max norm is {limits[0]} and max value is {limits[1]}: expected one of the two limits; leave the other out"
        )
    check_flag("nesterov", nesterov)
    check_flag("adagrad", adagrad)
    given = f"they are {shown(momentum)}, {shown(dampening)} and {bool(nesterov)}"
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(f"adagrad needs momentum 0, dampening 0 and nesterov False: {given}; leave them out")
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {given}")
    numbers = float(momentum), float(dampening), bool(nesterov), float(weight_decay), bool(adagrad)
    return Step(rate, *numbers, max_norm, max_value)


def check_limit(name: str, limit: Any) -> float:
    """The limit of clipping. Raises InputError unless it is a finite number above 0."""
    expected = "a finite number above 0"
    check_number(name, limit, 0, expected)
    if limit == 0:
        raise InputError(f"{name} is {limit}: expected {expected}")
    return float(limit)


def check_yield_every(yield_every: Any, is_stream: bool) -> Any:
    """The number of updates or, on a series, "epoch". Raises InputError on anything else."""
    if not is_stream and isinstance(yield_every, str) and yield_every == EPOCH:
        return EPOCH
    return check_whole(
        "yield_every",
        yield_every,
        1,
        "a whole number of updates" if is_stream else "'epoch', or a whole number of updates",
    )
