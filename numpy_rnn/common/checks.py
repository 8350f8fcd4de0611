"""Checks of the arguments of public functions, made before anything is computed.

Nothing broadcasts by accident. Each public function of a package calls one `check_` function with
the package's `Arrays`. Axes are written as in the annotations of `records.py`. All raise InputError.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import inf, ulp
from typing import Any, NamedTuple, Unpack, get_args

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.errors import InputError, check_flag, check_integer, check_number, short_repr
from numpy_rnn.common.records import (
    DTYPES,
    Array,
    Gradients,
    NumpyArray,
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    Step,
)

CHUNK = 4096  # steps that are checked at a time: a mapped file may be larger than the memory
CHOICES = {
    "nonlinearity": records.NONLINEARITY_NAMES,
    "loss": records.LOSS_NAMES,
    "reduction": records.REDUCTION_NAMES,
}
CLASS_TARGETS = {"squared_error": False, "cross_entropy": True}  # whether targets are classes


# -- options ---------------------------------------------------------------------------------------


def check_choice(what: str, name: Any, known: Sequence[str]) -> None:
    """Raise InputError unless the name is one of the known ones."""
    if not (isinstance(name, str) and name in known):
        raise InputError(f"unknown {what} {short_repr(name, repr)}: expected {' or '.join(known)}")


def check_objective(objective: Objective) -> Objective:
    """The objective. Raises InputError on an unknown name."""
    for option, name in objective._asdict().items():
        check_choice(option, name, CHOICES[option])
    return objective


def check_schedule(schedule: Schedule) -> Schedule:
    """The schedule in plain integers. Raises InputError unless 1 ≤ k1 ≤ k2 and epochs ≥ 0."""
    k1, k2 = check_integer("k1", schedule.k1, 1), check_integer("k2", schedule.k2, 1)
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must contain the k1"
            f" new steps of its update; choose k2 ≥ {k1}"
        )
    return Schedule(k1, k2, check_integer("epochs", schedule.epochs, 0))


def check_step(step: Step) -> Step:
    """The step in plain numbers, but for its learning rate. Raises InputError on invalid options."""
    momentum = check_number("momentum", step.momentum)
    dampening = check_number("dampening", step.dampening, -inf, "a finite number, usually 0 to 1")
    nesterov, adagrad = check_flag("nesterov", step.nesterov), check_flag("adagrad", step.adagrad)
    given = f"they are {momentum}, {dampening} and {nesterov}"
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(f"adagrad needs momentum 0, dampening 0 and nesterov False: {given}")
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {given}")
    limits = {"max norm": step.max_norm, "max value": step.max_value}
    max_norm, max_value = (v if v is None else check_limit(k, v) for k, v in limits.items())
    if max_norm is not None and max_value is not None:
        raise InputError(
            f"max norm is {max_norm} and max value is {max_value}: expected one of the two limits"
        )
    decay = check_number("weight decay", step.weight_decay)
    rate = step.learning_rate
    return Step(rate, momentum, dampening, nesterov, decay, adagrad, max_norm, max_value)


def check_limit(name: str, limit: Any) -> float:
    """The limit of clipping. Raises InputError unless it is a finite number above 0."""
    return check_number(name, limit, ulp(0.0), "a finite number above 0")


def check_yield_every(yield_every: Any) -> bool:
    """Whether one update per epoch is yielded. Raises InputError unless it is 1 or "epoch"."""
    if isinstance(yield_every, str) and yield_every == "epoch":
        return True
    what = "1, for every update, or 'epoch', for the last update of each epoch"
    return check_integer("yield_every", yield_every, 1, what, most=1) != 1


# -- arrays ----------------------------------------------------------------------------------------


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    expected: str  # in messages

    def values(self, name: str, value: Any) -> Any:
        """The value as a NumPy array. Raises InputError unless it is an array without a mask."""
        if not isinstance(value, self.kind) or hasattr(value, "mask"):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {self.expected}")
        return numpy_view(name, value)


NUMPY_ARRAYS = Arrays(np.ndarray, "a NumPy array without a mask; torch_rnn takes tensors")


def numpy_view(name: str, value: Any) -> Any:
    """A tensor as a NumPy array, in the same memory if that is the CPU's; others as they are."""
    try:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else value
    except (TypeError, RuntimeError):  # bfloat16, sparse or quantized, or without numbers (meta)
        raise InputError(
            f"{name} is {value.dtype}: expected {' or '.join(DTYPES)} in a dense tensor; its"
            f" layout is {value.layout}, its device {value.device}"
        ) from None


def is_integer(array: NumpyArray) -> bool:
    """Whether the array holds classes: integers, each for the row that has a 1 at its place.

    Classes have one axis less than the rows: (T, B) for (T, B, D), (T, N, B) for (T, N, B, D).
    """
    return array.dtype.kind in "iu"


dtype_name = cache(str)


def check_dtype(name: str, values: NumpyArray) -> None:
    """Raise InputError unless the dtype is one of DTYPES, in the byte order of this machine."""
    if dtype_name(values.dtype) not in DTYPES:
        raise InputError(
            f"{name} is {values.dtype}: expected {' or '.join(DTYPES)}, in this machine's byte order"
        )


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: an array of float32, float64 or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.values("the value", value)
    if not (is_integer(value) and value.dtype.isnative):
        check_dtype("the array", value)
    elif value.dtype.kind == "u" and value.size and value.max() > np.iinfo(np.int64).max:
        raise InputError(
            f"the array holds {value.max()}: expected integers of at most 64 bits signed"
        )


def check_values(name: str, values: NumpyArray, least: float = -inf, most: float = inf) -> None:
    """Raise InputError unless all numbers, or classes, are finite and from `least` to `most`."""
    for first in range(0, len(values), CHUNK):
        chunk = values[first : first + CHUNK]
        if not np.isfinite(chunk).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
        if least > -inf and ((low := chunk.min()) < least or chunk.max() > most):
            kind, one = ("classes", "the class ") if is_integer(values) else ("numbers", "")
            limits = f"of {least:g} or more" if most == inf else f"from {least} to {most}"
            found = low if low < least else chunk.max()
            raise InputError(f"{name} holds {one}{found}: expected {kind} {limits}")


@cache
def _fields(record: Any) -> list[tuple[str, str, bool]]:
    """(name, axes, whether it may be None) of the fields of a record, from their annotations."""
    described = []
    for name, hint in record.__annotations__.items():
        optional = type(None) in get_args(hint)
        annotated = get_args(hint)[0] if optional else hint
        described.append((name, annotated.__metadata__[0], optional))
    return described


class Arguments:
    """The arrays of one call: axes of the same letter have the same size, and all have one dtype.

    The first array with a letter decides on its size, and the first one with the axis N whether
    there is an ensemble. finite: whether NaN and infinity are refused.
    """

    def __init__(self, arrays: Arrays, *, finite: bool = False):
        self.arrays, self.finite = arrays, finite
        self.sizes: dict[str, int] = {}
        self.is_ensemble: bool | None = None  # unknown before the first array with the axis N
        self.dtype: Any = None

    def array(
        self, name: str, value: Any, axes: str, *, shared: bool = False, classes: bool = False
    ) -> None:
        """Raise InputError unless the value is an array with these axes, none of them empty.

        shared: whether the axis N may be absent, as all networks share the array. classes: whether
        it may hold classes, without the last axis, instead of rows.
        """
        values = self.arrays.values(name, value)
        letters, holds_classes = axes.split(), classes and is_integer(values)
        row = letters.pop() if holds_classes else ""
        single = [letter for letter in letters if letter != "N"]
        if self.is_ensemble is None:
            self.is_ensemble = values.ndim == len(letters) > len(single)
        allowed = [letters] if self.is_ensemble else [single]
        if self.is_ensemble and shared:
            allowed.append(single)
        if not any(self._fits(values.shape, candidate) for candidate in allowed):
            given, kind = (f"is {values.dtype} of", "classes ") if holds_classes else ("has", "")
            hint = ", time first" if letters[0] in {"T", "K"} - self.sizes.keys() else ""
            hint += ", with no empty axis" if 0 in values.shape else ""
            sizes = (
                ", ".join(str(self.sizes.get(letter, letter)) for letter in candidate)
                for candidate in allowed
            )
            expected = " or ".join(f"({axes})" for axes in sizes)
            raise InputError(
                f"{name} {given} shape {values.shape}: expected {kind}{expected}{hint}"
            )
        if holds_classes:
            check_values(name, values, 0, self.sizes[row] - 1)
            return
        check_dtype(name, values)
        self.dtype = values.dtype if self.dtype is None else self.dtype
        if values.dtype != self.dtype:
            raise InputError(
                f"{name} is {values.dtype} and the parameters are {self.dtype}: expected one dtype"
            )
        if self.finite:
            check_values(name, values)

    def _fits(self, shape: tuple[int, ...], letters: list[str]) -> bool:
        """Whether a shape fits the sizes so far, which then include its own."""
        if len(shape) != len(letters) or 0 in shape:
            return False
        if "T+1" in letters:
            self.sizes["T+1"] = self.sizes["T"] + 1
        return all(self.sizes.setdefault(axis, size) == size for axis, size in zip(letters, shape))

    def record(
        self, name: str, value: Any, kind: Any, field_name: str = "{}", like: Any = None
    ) -> None:
        """Raise InputError unless this is such a record, whose arrays fit and are not missing.

        like: parameters to whose arrays those of the record belong; then each of them may be None.
        """
        if not isinstance(value, kind):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {kind.__name__}")
        for array, theta, (field, axes, optional) in zip(value, like or value, _fields(kind)):
            if array is not None and theta is None:
                raise InputError(
                    f"there is a {name} of {field}: expected none, as the parameters have no {field}"
                )
            if array is not None or not (optional or like):
                self.array(field_name.format(field), array, axes)

    def like_parameters(self, name: str, value: Any, params: Any) -> None:
        """Raise InputError unless each array of a gradient or velocity is None or fits its own."""
        self.record(name, value, Gradients, f"the {name} of {{}}", params)

    def target(self, target: Any, axes: str, loss: str) -> None:
        """Raise InputError unless this is a target of the loss, with axes such as "K N B O"."""
        values, classes = self.arrays.values("target", target), CLASS_TARGETS[loss]
        if classes and not is_integer(values):
            raise InputError(
                f"target is {values.dtype}: expected classes, which are integers, as the loss is"
                f" {loss}; for other numbers choose squared_error"
            )
        self.array("target", target, axes, shared=True, classes=classes)


# -- functions -------------------------------------------------------------------------------------


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


def check_learning_rate(params: Parameters[Array], learning_rate: Any) -> Any:
    """The learning rate, a number, or a copy of an array (N,) with one per network.

    Raises InputError unless all are finite and 0 or more.
    """
    networks, rates = tuple(params.W_hh.shape[:-2]), numpy_view("the learning rate", learning_rate)
    shape = getattr(rates, "shape", ())
    if not shape:
        number = rates[()] if isinstance(rates, np.ndarray) else rates
        return check_number("the learning rate", number)
    if shape != networks:
        allowed = f", or one per network, of shape {networks}" if networks else ""
        raise InputError(f"the learning rate has shape {shape}: expected a number{allowed}")
    check_dtype("the learning rate", rates)
    check_values("the learning rate", rates, 0)
    return rates.copy()


def check_run(arrays: Arrays, run: Run) -> Run:
    """The run in plain numbers. Raises InputError on arguments that `train` refuses."""
    arguments, options = check_parameters(arrays, run.params, finite=True), run.options
    rate = check_learning_rate(run.params, options.step.learning_rate)
    step = check_step(options.step._replace(learning_rate=rate))
    schedule, objective = check_schedule(options.schedule), check_objective(options.objective)
    arguments.array("x", run.x, "T N B D", shared=True, classes=True)
    arguments.array("h_0", run.h_0, "N B H", shared=True)
    arguments.target(run.target, "T N B O", objective.loss)
    if run.velocity is not None:
        _check_velocity(arguments, run, step)
    return run._replace(options=RunOptions(schedule, objective, step))


def _check_velocity(arguments: Arguments, run: Run, step: Step) -> None:
    """Raise InputError unless the velocity is that of these parameters and of the step."""
    if not step.has_velocity:
        raise InputError(
            "a velocity is given without momentum or adagrad: expected None; pass the momentum or"
            " adagrad=True of the run that the velocity is from"
        )
    arguments.like_parameters("velocity", run.velocity, run.params)
    for name, v, theta in zip(Parameters._fields, run.velocity, run.params):
        if v is None and theta is not None:
            raise InputError(f"there is no velocity of {name}: expected one for each parameter")
        if v is not None and step.adagrad:
            what = f"the velocity of {name}, the sums of squares of Adagrad,"
            check_values(what, numpy_view(name, v), 0)


def check_training(
    arrays: Arrays,
    series: tuple[Any, ...],
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
    run = Run(*series, RunOptions(Schedule(k1, k2, epochs), objective, step), velocity)
    return check_run(arrays, run), check_flag("record", record), check_yield_every(yield_every)
