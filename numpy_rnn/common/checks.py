"""Checks of the arguments of public functions, made before anything is computed.

Each public function of a package calls one `check_` function with the package's `Arrays`. All raise
InputError.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, ulp
from typing import Any, Unpack

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.arrays import NUMPY_ARRAYS as NUMPY_ARRAYS
from numpy_rnn.common.arrays import Arguments, Arrays, check_dtype, check_values, numpy_view
from numpy_rnn.common.arrays import is_integer as is_integer
from numpy_rnn.common.errors import InputError, check_flag, check_integer, check_number, short_repr
from numpy_rnn.common.records import Objective, Parameters, Run, Step

CHOICES: dict[str, Sequence[str]] = {"reduction": records.REDUCTION_NAMES}
CHOICES |= {"loss": records.LOSS_NAMES, "nonlinearity": records.NONLINEARITY_NAMES}


def check_choice(what: str, name: Any, known: Sequence[str]) -> None:
    """Raise InputError unless the name is one of the known ones."""
    if not (isinstance(name, str) and name in known):
        raise InputError(f"unknown {what} {short_repr(name, repr)}: expected {' or '.join(known)}")


def check_objective(objective: Objective) -> Objective:
    """The objective. Raises InputError on an unknown name."""
    for option, name in objective._asdict().items():
        check_choice(option, name, CHOICES[option])
    return objective


def check_schedule(schedule: records.Schedule) -> records.Schedule:
    """The schedule in plain integers. Raises InputError unless 1 ≤ k1 ≤ k2 and epochs ≥ 0."""
    k1, k2 = check_integer("k1", schedule.k1, 1), check_integer("k2", schedule.k2, 1)
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must contain the k1"
            f" new steps of its update; choose k2 ≥ {k1}"
        )
    return records.Schedule(k1, k2, check_integer("epochs", schedule.epochs, 0))


def check_step(step: Step) -> Step:
    """The step in plain numbers, but for its learning rate. Raises InputError on other options."""
    momentum = check_number("momentum", step.momentum)
    dampening = check_number("dampening", step.dampening, -inf, "a finite number, usually 0 to 1")
    nesterov, adagrad = check_flag("nesterov", step.nesterov), check_flag("adagrad", step.adagrad)
    given = f"they are {momentum}, {dampening} and {nesterov}"
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(f"adagrad needs momentum 0, dampening 0 and nesterov False: {given}")
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {given}")
    norm, value = step.max_norm, step.max_value
    norm = None if norm is None else check_limit("max norm", norm)
    value = None if value is None else check_limit("max value", value)
    if norm is not None and value is not None:
        raise InputError(f"max norm is {norm} and max value is {value}: expected one of the two")
    decay = check_number("weight decay", step.weight_decay)
    return Step(step.learning_rate, momentum, dampening, nesterov, decay, adagrad, norm, value)


def check_limit(name: str, limit: Any) -> float:
    """The limit of clipping. Raises InputError unless it is a finite number above 0."""
    return check_number(name, limit, ulp(0.0), "a finite number above 0")


def check_yield_every(yield_every: Any) -> bool:
    """Whether one update per epoch is yielded. Raises InputError unless it is 1 or "epoch"."""
    if isinstance(yield_every, str) and yield_every == "epoch":
        return True
    what = "1, for every update, or 'epoch', for the last update of each epoch"
    return check_integer("yield_every", yield_every, 1, what, most=1) != 1


def check_parameters(arrays: Arrays, params: Any, *, finite: bool = False) -> Arguments:
    """The sizes of the networks. Raises InputError unless all fits, with both biases or neither."""
    arguments = Arguments(arrays, finite=finite)
    arguments.record("params", params, Parameters)
    if (params.b_h is None) != (params.b_y is None):
        given, absent = ("b_y", "b_h") if params.b_h is None else ("b_h", "b_y")
        raise InputError(f"{given} is given without {absent}: expected both biases or neither")
    return arguments


def check_gradients(arrays: Arrays, gradients: Any) -> None:
    """Raise InputError unless these are gradients; all but that of W_hh may be None."""
    Arguments(arrays).like_parameters("gradient", gradients, gradients)
    arrays.values("the gradient of W_hh", gradients.W_hh)


def check_direction(arrays: Arrays, params: Any, gradients: Any, velocity: Any = None) -> None:
    """Raise InputError on gradients, a direction or a velocity that do not fit the parameters."""
    arguments = Arguments(arrays)
    arguments.record("params", params, Parameters)
    arguments.like_parameters("gradient", gradients, params)
    if velocity is not None:
        arguments.like_parameters("velocity", velocity, params)


def check_forward(arrays: Arrays, params: Any, x: Any, h_0: Any) -> None:
    """Raise InputError on arguments that `forward` refuses."""
    arguments = check_parameters(arrays, params)
    arguments.array("x", x, "T N B D", shared=True, classes=True)
    arguments.array("h_0", h_0, "N B H", shared=True)


def check_loss(arrays: Arrays, y: Any, target: Any, objective: Objective) -> None:
    """Raise InputError on arguments that a loss refuses: y is (K, N, B, O)."""
    check_objective(objective)
    arguments = Arguments(arrays)
    arguments.array("y", y, "K N B O")
    arguments.target(target, "K N B O", objective.loss)


def check_window(
    arrays: Arrays, params: Any, activations: Any, target: Any, objective: Objective
) -> None:
    """Raise InputError on arguments that `bptt` and `adjoints` refuse."""
    check_objective(objective)
    arguments = check_parameters(arrays, params)
    arguments.record("activations", activations, records.Activations, "{} of the activations")
    arguments.target(target, "K N B O", objective.loss)
    K, T = len(target), len(activations.x)
    if K > T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")


def check_learning_rate(params: Parameters[Any], learning_rate: Any) -> Any:
    """The learning rate, a number, or a copy of an array (N,) with one per network."""
    name, networks = "the learning rate", tuple(params.W_hh.shape[:-2])
    rates = numpy_view(name, learning_rate)
    shape = getattr(rates, "shape", ())
    if not shape:
        return check_number(name, rates[()] if isinstance(rates, np.ndarray) else rates)
    if shape != networks:
        allowed = f", or one per network, of shape {networks}" if networks else ""
        raise InputError(f"{name} has shape {shape}: expected a number{allowed}")
    check_dtype(name, rates)
    check_values(name, rates, 0)
    return rates.copy()


def check_run(arrays: Arrays, run: Run) -> Run:
    """The run in plain numbers. Raises InputError on arguments that `train` refuses."""
    schedule, objective, step = run.options
    arguments = check_parameters(arrays, run.params, finite=True)
    rate = check_learning_rate(run.params, step.learning_rate)
    step = check_step(step._replace(learning_rate=rate))
    schedule, objective = check_schedule(schedule), check_objective(objective)
    arguments.array("x", run.x, "T N B D", shared=True, classes=True)
    arguments.array("h_0", run.h_0, "N B H", shared=True)
    arguments.target(run.target, "T N B O", objective.loss)
    if run.velocity is not None:
        _check_velocity(arguments, run, step)
    return run._replace(options=records.RunOptions(schedule, objective, step))


def _check_velocity(arguments: Arguments, run: Run, step: Step) -> None:
    """Raise InputError unless the velocity is that of these parameters and of the step."""
    if not step.has_velocity:
        raise InputError(
            "a velocity is given without momentum or adagrad: expected None; pass the momentum or"
            " adagrad=True of the run that the velocity is from"
        )
    arguments.like_parameters("velocity", run.velocity, run.params)
    velocity: Any = run.velocity
    for name, v in velocity._asdict().items():
        if v is None and getattr(run.params, name) is not None:
            raise InputError(f"there is no velocity of {name}: expected one for each parameter")
        if v is not None and step.adagrad:
            check_values(f"the velocity of {name}, a sum of squares,", numpy_view(name, v), 0)


def check_training(
    arrays: Arrays,
    series: tuple[Any, Any, Any, Any],
    *,
    k1: int,
    k2: int,
    learning_rate: Any,
    epochs: int,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
    velocity: Any = None,
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    **sgd: Unpack[records.SgdKeywords],
) -> tuple[Run, bool, bool]:
    """(the checked run, `record`, whether by epoch) of the arguments of `train`.

    series: params, x, target, h_0.
    """
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    options = records.RunOptions(records.Schedule(k1, k2, epochs), objective, step)
    params, x, target, h_0 = series
    run = check_run(arrays, Run(params, x, target, h_0, options, velocity))
    return run, check_flag("record", record), check_yield_every(yield_every)
