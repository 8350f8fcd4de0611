"""Checks of the arguments of public functions, made before anything is computed.

Each public function calls one with the `ArrayKind` of its package. All raise
InputError, but for a keyword argument that a function does not have: a TypeError, as
Python's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple, get_args

import numpy as np

from numpy_rnn.common.array_kinds import (
    NUMPY_KIND,
    ArrayKind,
    check_dtype,
    check_values,
    is_integer,
    numpy_view,
)
from numpy_rnn.common.axes import ArrayChecks
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_positive,
)
from numpy_rnn.common.records import (
    Activations,
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
    TrainKeywords,
)
from numpy_rnn.common.texts import nearest_name

# The axes of each parameter, in the order in which they are checked.
CHECKED_AXES = {"W_xh": "NDH", "W_hh": "NHH", "W_hy": "NHO", "b_h": "NH", "b_y": "NO"}

# -- windows


def check_forward(
    kind: ArrayKind, params: Any, x: Any, h_0: Any, objective: Objective
) -> None:
    """Check the parameters, inputs and initial state of a window."""
    check_objective(objective)
    checks = ArrayChecks(kind)
    check_parameters(checks, params)
    checks.check_rows("x", x, "TNBD")
    checks.check("h_0", h_0, "NBH", shared=True)


def check_loss(kind: ArrayKind, y: Any, target: Any, objective: Objective) -> None:
    """Check the outputs of steps with a loss, and their targets."""
    check_objective(objective)
    checks = ArrayChecks(kind)
    checks.check("y", y, "KNBO")
    check_target(checks, target, "KNBO", objective)


def check_backward(
    kind: ArrayKind, params: Any, activations: Any, target: Any, objective: Objective
) -> None:
    """Check a window of T steps, the last K ≤ T of which have a target."""
    check_objective(objective)
    checks = ArrayChecks(kind)
    check_parameters(checks, params)
    check_record("activations", activations, Activations)
    for field, axes in zip(Activations._fields, ("TNBD", "TNBH", "SNBH", "TNBO")):
        name = f"{field} of the activations"
        checks.check(name, getattr(activations, field), axes)
        T = checks.sizes["T"]
        checks.sizes["S"] = T + 1
    check_target(checks, target, "KNBO", objective)
    K = checks.sizes["K"]
    if K > T:
        raise InputError(
            f"target has {K} steps and x has {T}: expected between 1 and {T}"
        )


def check_target(
    checks: ArrayChecks, target: Any, axes: str, objective: Objective
) -> None:
    """Check targets: classes if the loss is one of them, or else numbers."""
    if objective.loss != "cross_entropy":
        checks.check("target", target, axes, shared=True)
        return
    values = checks.kind.as_numpy("target", target)
    if not is_integer(values):
        raise InputError(
            f"target is {values.dtype}, and the loss is one of classes: expected "
            "integers; for other numbers choose squared_error"
        )
    checks.check_rows("target", target, axes)


def check_objective(objective: Objective) -> None:
    """Check the names of an objective."""
    for option, choice in objective._asdict().items():
        check_choice(option, choice, get_args(Objective.__annotations__[option]))


# -- parameters and updates


def check_record(name: str, record: Any, record_type: type) -> None:
    """Check that a record is of this type."""
    if not isinstance(record, record_type):
        expected = record_type.__name__
        raise InputError(
            f"{name} is of type {type(record).__name__}: expected {expected}"
        )


def check_parameters(checks: ArrayChecks, params: Any) -> None:
    """Check the weights, and both biases or neither."""
    check_record("params", params, Parameters)
    for name, axes in CHECKED_AXES.items():
        array = getattr(params, name)
        if array is not None or name not in Parameters._field_defaults:
            checks.check(name, array, axes)
    if (params.b_h is None) != (params.b_y is None):
        raise InputError("one of b_h and b_y is None: expected both biases or neither")


def check_like_parameters(
    checks: ArrayChecks, name: str, record: Any, params: Any, *, partial: bool = False
) -> None:
    """Check a gradient or a velocity: an array of each parameter's shape.

    partial: whether any of them may be None.
    """
    check_record(name, record, Parameters)
    for field, axes in CHECKED_AXES.items():
        array = getattr(record, field)
        theta = getattr(params, field)
        if array is None and (partial or theta is None):
            continue
        if theta is None:
            raise InputError(
                f"there is a {name} of {field}: expected none, as params has none"
            )
        checks.check(f"{field} of the {name}", array, axes)


def check_update(
    kind: ArrayKind, params: Any, gradients: Any, velocity: Any = None
) -> None:
    """Check parameters, and the gradient and velocity of any of them."""
    checks = ArrayChecks(kind)
    check_parameters(checks, params)
    check_like_parameters(checks, "gradient", gradients, params, partial=True)
    if velocity is not None:
        check_like_parameters(checks, "velocity", velocity, params, partial=True)


def check_gradients_alone(kind: ArrayKind, gradients: Any) -> None:
    """Check gradients without their parameters. That of W_hh must be there."""
    checks = ArrayChecks(kind)
    check_like_parameters(checks, "gradient", gradients, gradients, partial=True)
    kind.as_numpy("W_hh of the gradient", gradients.W_hh)


def check_finite_parameters(
    kind: ArrayKind, params: Any, velocity: Any = None
) -> ArrayChecks:
    """Check that parameters, and a velocity if there is one, are whole and finite.

    It returns the checks, with which further arrays must fit.
    """
    checks = ArrayChecks(kind, finite=True)
    check_parameters(checks, params)
    if velocity is not None:
        check_like_parameters(checks, "velocity", velocity, params)
    return checks


# -- options


def check_schedule(schedule: Schedule) -> Schedule:
    """Return the schedule in plain integers, 1 ≤ k1 ≤ k2 and epochs ≥ 0."""
    k1 = check_integer("k1", schedule.k1, 1)
    k2 = check_integer("k2", schedule.k2, 1)
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must "
            f"contain the k1 new steps of its update; choose k2 ≥ {k1}"
        )
    return Schedule(k1, k2, check_integer("epochs", schedule.epochs, 0))


def check_step(step: Step) -> Step:
    """Return the step in plain numbers and flags, except for its learning rate."""
    checked = step._replace(
        momentum=check_number("momentum", step.momentum),
        dampening=check_number(
            "dampening", step.dampening, -inf, "a finite number, usually 0 to 1"
        ),
        nesterov=check_flag("nesterov", step.nesterov),
        weight_decay=check_number("weight decay", step.weight_decay),
        adagrad=check_flag("adagrad", step.adagrad),
    )
    mu, tau, nesterov = checked.momentum, checked.dampening, checked.nesterov
    values = f"they are {mu}, {tau} and {nesterov}"
    if checked.adagrad and (mu != 0 or tau != 0 or nesterov):
        raise InputError(
            f"adagrad needs momentum 0, dampening 0 and nesterov False: {values}"
        )
    if nesterov and (mu == 0 or tau != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {values}")
    return check_limits(checked)


def check_limits(step: Step) -> Step:
    """Return the step with the limits of its gradient in plain numbers, or None."""
    norm, value = step.max_norm, step.max_value
    if norm is not None:
        norm = check_positive("max norm", norm)
    if value is not None:
        value = check_positive("max value", value)
    if norm is not None and value is not None:
        raise InputError(
            f"max norm is {norm} and max value is {value}: expected one of the two"
        )
    return step._replace(max_norm=norm, max_value=value)


def check_learning_rate(params: Parameters[Any], learning_rate: Any) -> Any:
    """Return the learning rate, a number, or a copy of an array with one per
    network.
    """
    name = "the learning rate"
    networks = tuple(params.W_hh.shape[:-2])
    rates = numpy_view(name, learning_rate)
    shape = getattr(rates, "shape", ())
    if not shape:
        number = rates.item() if isinstance(rates, np.ndarray) else rates
        return check_number(name, number)
    if shape != networks:
        expected = "a number"
        if networks:
            expected += f", or one per network, of shape {networks}"
        raise InputError(f"{name} has shape {shape}: expected {expected}")
    check_dtype(name, NUMPY_KIND.as_numpy(name, rates))
    check_values(name, rates, 0)
    return rates.copy()


def check_keywords(function: str, options: Mapping[str, Any], keywords: type) -> None:
    """Check that the options of a function are the keywords of its TypedDict.

    Raises TypeError otherwise, with the name that was perhaps meant.
    """
    known = keywords.__annotations__
    for name in options:
        if name not in known:
            hint = f"expected some of {', '.join(known)}"
            if nearest := nearest_name(name, known):
                hint = f"did you mean {nearest!r}?"
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}: {hint}"
            )
    required: frozenset[str] = keywords.__required_keys__  # type: ignore[attr-defined]
    missing = [repr(name) for name in known if name in required - options.keys()]
    if missing:
        raise TypeError(f"{function}() needs the arguments {', '.join(missing)}")


# -- runs


class TrainingArguments(NamedTuple):
    """The arguments of `train`."""

    run: Run
    record: bool
    by_epoch: bool
    """Whether only the last update of each epoch is yielded."""


def check_run_arguments(kind: ArrayKind, run: Run) -> Run:
    """Return the run in plain numbers."""
    schedule, objective, step = run.options
    schedule = check_schedule(schedule)
    step = check_step(step)
    check_objective(objective)
    if run.velocity is not None and not step.has_velocity:
        raise InputError(
            "velocity is given without momentum or adagrad: expected one of them"
        )
    checks = check_finite_parameters(kind, run.params, run.velocity)
    checks.check_rows("x", run.x, "TNBD")
    checks.check("h_0", run.h_0, "NBH", shared=True)
    check_target(checks, run.target, "TNBO", objective)
    rate = check_learning_rate(run.params, step.learning_rate)
    if step.adagrad and run.velocity is not None:
        for name, v in run.velocity._asdict().items():
            if v is not None:
                subject = f"{name} of the velocity, a sum of squares,"
                check_values(subject, numpy_view(name, v), 0)
    options = RunOptions(schedule, objective, step._replace(learning_rate=rate))
    return run._replace(options=options)


def check_training(
    kind: ArrayKind,
    params: Any,
    x: Any,
    target: Any,
    h_0: Any,
    keywords: Mapping[str, Any],
) -> TrainingArguments:
    """Return the arguments of `train`; `keywords` are its keyword arguments."""
    check_keywords("train", keywords, TrainKeywords)
    options = dict(keywords)
    velocity = options.pop("velocity", None)
    record = options.pop("record", False)
    yield_every = options.pop("yield_every", 1)
    run = Run(params, x, target, h_0, RunOptions.from_keywords(**options), velocity)
    run = check_run_arguments(kind, run)
    by_epoch = isinstance(yield_every, str) and yield_every == "epoch"
    if not by_epoch:
        expected = "1, for every update, or 'epoch', for the last update of each epoch"
        check_integer("yield_every", yield_every, 1, expected, most=1)
    return TrainingArguments(run, check_flag("record", record), by_epoch)
