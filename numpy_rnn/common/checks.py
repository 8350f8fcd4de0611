"""Checks of the arrays of public functions and of whole runs, made before anything is
computed.

Each public function calls one with the `ArrayKind` of its package. All raise
InputError. `option_checks.py` has the checks of options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy_rnn.common.array_kinds import (
    ArrayKind,
    check_values,
    is_integer,
    numpy_view,
)
from numpy_rnn.common.axes import ArrayChecks
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import checked_flag, is_whole
from numpy_rnn.common.option_checks import (
    check_keywords,
    check_objective,
    checked_learning_rate,
    checked_schedule,
    checked_step,
)
from numpy_rnn.common.records import (
    Activations,
    Objective,
    Parameters,
    Run,
    RunOptions,
    TrainKeywords,
)
from numpy_rnn.common.texts import short_repr

# The axes of each parameter, in the order in which they are checked.
CHECKED_AXES = {"W_xh": "NDH", "W_hh": "NHH", "W_hy": "NHO", "b_h": "NH", "b_y": "NO"}

# Windows


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
        checks.check(f"{field} of the activations", getattr(activations, field), axes)
    check_target(checks, target, "KNBO", objective)
    T, K = checks.sizes["T"], checks.sizes["K"]
    if K > T:
        raise InputError(
            f"target has {K} steps and x has {T}: expected between 1 and {T}"
        )


def check_target(
    checks: ArrayChecks, target: Any, axes: str, objective: Objective
) -> None:
    """Check targets: classes if the loss is one of them, or else numbers."""
    if not objective.has_classes:
        checks.check("target", target, axes, shared=True)
        return
    values = checks.kind.as_numpy("target", target)
    if not is_integer(values):
        raise InputError(
            f"target is {values.dtype}, and the loss is one of classes: expected "
            "integers; for other numbers choose squared_error"
        )
    checks.check_rows("target", target, axes)


# Parameters and updates


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
    """Check that parameters, and a velocity if there is one, are complete and finite.

    It returns the checks, with which further arrays must fit.
    """
    checks = ArrayChecks(kind, finite=True)
    check_parameters(checks, params)
    if velocity is not None:
        check_like_parameters(checks, "velocity", velocity, params)
    return checks


# Runs


class TrainingArguments(NamedTuple):
    """The arguments of `train`."""

    run: Run
    record: bool
    by_epoch: bool
    """Whether only the last update of each epoch is yielded."""


def checked_run_arguments(kind: ArrayKind, run: Run) -> Run:
    """Return the run in plain numbers."""
    schedule, objective, step = run.options
    schedule = checked_schedule(schedule)
    step = checked_step(step)
    check_objective(objective)
    if run.velocity is not None and not step.has_velocity:
        raise InputError(
            "velocity is given without momentum or adagrad: expected one of them"
        )
    checks = check_finite_parameters(kind, run.params, run.velocity)
    checks.check_rows("x", run.x, "TNBD")
    checks.check("h_0", run.h_0, "NBH", shared=True)
    check_target(checks, run.target, "TNBO", objective)
    rate = checked_learning_rate(run.params, step.learning_rate)
    if step.adagrad and run.velocity is not None:
        for name, v in run.velocity._asdict().items():
            if v is not None:
                subject = f"{name} of the velocity, a sum of squares,"
                check_values(subject, numpy_view(subject, v), 0)
    options = RunOptions(schedule, objective, step._replace(learning_rate=rate))
    return run._replace(options=options)


def checked_training(
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
    run = checked_run_arguments(kind, run)
    by_epoch = isinstance(yield_every, str) and yield_every == "epoch"
    if not (by_epoch or (is_whole(yield_every) and yield_every == 1)):
        raise InputError(
            f"yield_every is {short_repr(yield_every, repr)}: expected 1, for every"
            " update, or 'epoch', for the last update of each epoch"
        )
    return TrainingArguments(run, checked_flag("record", record), by_epoch)
