"""Checks of the options of windows, steps and runs, made before anything is computed.

All raise InputError, but for a keyword argument that a function does not have: a
TypeError, as Python's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, get_args

import numpy as np

from numpy_rnn.common.array_kinds import (
    NUMPY_KIND,
    check_dtype,
    check_values,
    numpy_view,
)
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import (
    check_choice,
    checked_flag,
    checked_integer,
    checked_number,
    checked_positive,
)
from numpy_rnn.common.records import Objective, Parameters, Schedule, Step


def check_objective(objective: Objective) -> None:
    """Check the names of an objective."""
    for option, choice in objective._asdict().items():
        check_choice(option, choice, get_args(Objective.__annotations__[option]))


def checked_schedule(schedule: Schedule) -> Schedule:
    """Return the schedule in plain integers, 1 ≤ k1 ≤ k2 and epochs ≥ 0."""
    k1 = checked_integer("k1", schedule.k1, 1)
    k2 = checked_integer("k2", schedule.k2, 1)
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must "
            f"contain the k1 new steps of its update; choose k2 ≥ {k1}"
        )
    return Schedule(k1, k2, checked_integer("epochs", schedule.epochs, 0))


def checked_step(step: Step) -> Step:
    """Return the step in plain numbers and flags, except for its learning rate."""
    flags = dict[str, Any]()
    for name, default in Step._field_defaults.items():
        if isinstance(default, bool):
            flags[name] = checked_flag(name, getattr(step, name))
    checked = step._replace(
        momentum=checked_number("momentum", step.momentum),
        dampening=checked_number(
            "dampening", step.dampening, -inf, "a finite number, usually 0 to 1"
        ),
        weight_decay=checked_number("weight decay", step.weight_decay),
        **flags,
    )
    mu, tau, nesterov = checked.momentum, checked.dampening, checked.nesterov
    values = f"they are {mu}, {tau} and {nesterov}"
    if checked.adagrad and (mu != 0 or tau != 0 or nesterov):
        raise InputError(
            f"adagrad needs momentum 0, dampening 0 and nesterov False: {values}"
        )
    if nesterov and (mu == 0 or tau != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {values}")
    return checked_limits(checked)


def checked_limits(step: Step) -> Step:
    """Return the step with the limits of its gradient in plain numbers, or None."""
    norm, value = step.max_norm, step.max_value
    if norm is not None:
        norm = checked_positive("max norm", norm)
    if value is not None:
        value = checked_positive("max value", value)
    if norm is not None and value is not None:
        raise InputError(
            f"max norm is {norm} and max value is {value}: expected one of the two"
        )
    return step._replace(max_norm=norm, max_value=value)


def checked_learning_rate(params: Parameters[Any], learning_rate: Any) -> Any:
    """Return the learning rate, a number, or a copy of an array with one per
    network.
    """
    name = "the learning rate"
    networks = tuple(params.W_hh.shape[:-2])
    rates = numpy_view(name, learning_rate)
    if not isinstance(rates, np.ndarray):
        return checked_number(name, rates)
    NUMPY_KIND.as_numpy(name, rates)
    if not rates.ndim:
        return checked_number(name, rates.item())
    if rates.shape != networks:
        expected = "a number"
        if networks:
            expected += f", or one per network, of shape {networks}"
        raise InputError(f"{name} has shape {rates.shape}: expected {expected}")
    check_dtype(name, rates)
    check_values(name, rates, 0)
    return rates.copy()


def check_keywords(function: str, options: Mapping[str, Any], keywords: Any) -> None:
    """Check that the options of a function are keywords of its TypedDict.

    Raises TypeError otherwise, as Python does, and if a required one is missing.
    """
    known = keywords.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}: expected "
                f"some of {', '.join(known)}"
            )
    if missing := sorted(keywords.__required_keys__ - options.keys()):
        raise TypeError(f"{function}() misses the keyword argument {missing[0]!r}")
