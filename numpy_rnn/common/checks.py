"""Checks of the arguments of public functions, made before anything is computed: nothing broadcasts by accident.

Each public function of a package calls one `check_` function with the package's `Arrays`. Axes are written as in the
annotations of `records.py`. Values are read by methods that NumPy arrays and torch tensors both have. All raise
InputError.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from math import inf
from typing import Any, NamedTuple, get_args

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.check_options import check_objective, check_schedule, check_step
from numpy_rnn.common.errors import InputError, check_number, shown
from numpy_rnn.common.records import DTYPES, Activations, Array, Gradients, Objective, Parameters, Run, State

CHUNK = 4096  # steps of a series that are checked at a time, so that a mapped file may be larger than the memory
MAX_OFF = 1e-3  # how far the sum of a distribution may be from 1, so that rounded ones of any origin are accepted
INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
CLASSES = INTEGERS | {f"torch.{name}" for name in INTEGERS - {"uint16", "uint32", "uint64"}}  # which torch cannot index


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    expected: str  # in messages
    forward_dtypes: tuple[str, ...] = DTYPES  # of the forward pass and the loss

    def check(self, name: str, value: Any) -> None:
        """Raise InputError unless the value is an array of the package, without a mask."""
        masked = sys.modules.get("numpy.ma")  # it takes time to import, and without it no array has a mask
        if not isinstance(value, self.kind) or (masked is not None and isinstance(value, masked.MaskedArray)):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {self.expected}")


NUMPY_ARRAYS = Arrays(
    np.ndarray, "a NumPy array without a mask; torch_rnn takes tensors", forward_dtypes=(*DTYPES, "complex128")
)


dtype_name = cache(str)  # of NumPy or torch


def is_integer(array: Array) -> bool:
    """Whether the array holds classes: integers, each for the row that has a 1 at its place and 0 elsewhere.

    Classes have one axis less than the rows: (T, B) for (T, B, N), or (T, *E, B) with a series for every network.
    """
    return dtype_name(array.dtype) in CLASSES


def check_dtype(name: str, array: Array, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Raise InputError unless its dtype is one of these, in the byte order of this machine."""
    if dtype_name(array.dtype).removeprefix("torch.") not in dtypes:
        raise InputError(f"{name} is {array.dtype}: expected {' or '.join(DTYPES)}, in this machine's byte order")


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: a NumPy array or scalar of float32, float64, or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.check("the value", value)
    if not is_integer(value):
        check_dtype("the array", value)


def check_values(name: str, array: Array, *, least: float = -inf, distributions: bool = False) -> None:
    """Raise InputError unless all numbers are finite and `least` or more, and rows of distributions have the sum 1."""
    if least > -inf and "complex" in dtype_name(array.dtype):
        raise InputError(f"{name} is {array.dtype}: expected real numbers")
    for chunk in _chunks(array):
        if not (abs(chunk) < inf).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
        if least > -inf and (lowest := chunk.min().item()) < least:
            raise InputError(f"{name} holds {lowest}: expected numbers of {least:g} or more")
        sums = chunk.sum(-1) if distributions else None
        for extreme in () if sums is None else (sums.min().item(), sums.max().item()):
            if abs(extreme - 1) > MAX_OFF:
                raise InputError(f"{name} has a row whose sum is {extreme}: expected distributions, whose sum is 1")


def _chunks(array: Array) -> Iterator[Array]:
    return (array[first : first + CHUNK] for first in range(0, len(array), CHUNK))


@cache
def _axes(text: str) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The letters of the axes before and after those of an ensemble, and whether there are such: "T *E B D"."""
    before, has_E, after = text.rpartition("*E")
    return tuple(before.split()), tuple(after.split()), bool(has_E)


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
    """The arrays of one call: axes of the same letter have the same size, and all arrays have one dtype.

    The first array with a letter, and the first one with the axes E of an ensemble, decides on their sizes.
    """

    def __init__(self, arrays: Arrays, dtypes: tuple[str, ...] = DTYPES, *, finite: bool = False):
        """dtypes: those that the first array may have; finite: whether NaN and infinity are refused."""
        self.arrays, self.dtypes, self.finite = arrays, dtypes, finite
        self.mixed = {*dtypes} - {*DTYPES}  # complex numbers mix with real ones
        self.sizes, self.dtype = dict[str, Any](), None

    def array(self, name: str, value: Any, axes: str, *, shared: bool = False, classes: bool = False) -> None:
        """Raise InputError unless the value is an array with these axes, none of them empty.

        shared: whether the axes of an ensemble may be absent or 1, as networks share the array. classes: whether it may
        hold classes, without the last axis, instead of rows.
        """
        self.arrays.check(name, value)
        before, after, has_E = _axes(axes)
        holds_classes = classes and is_integer(value)
        row = after[-1]
        if holds_classes:
            after = after[:-1]
        if not self._fits(tuple(value.shape), before, after, has_E, shared):
            E = self.sizes.get("*E", ()) if has_E else ()
            forms = [before + after] * (shared or not E) + [before + E + after] * bool(E)
            expected = " or ".join(str(tuple(self.sizes.get(axis, axis) for axis in form)) for form in forms)
            given, kind = (f"is {value.dtype} of", "classes ") if holds_classes else ("has", "")
            hint = ", time first, with no empty axis" if before and before[0] in expected else ""
            expected = kind + expected.replace("'", "") + hint
            raise InputError(f"{name} {given} shape {tuple(value.shape)}: expected {expected}")
        if holds_classes:
            self._check_classes(name, value, self.sizes[row])
        elif self.dtype is None:
            check_dtype(name, value, self.dtypes)
            self.dtype = value.dtype
        elif value.dtype != self.dtype and not {dtype_name(value.dtype), dtype_name(self.dtype)} & self.mixed:
            raise InputError(f"{name} is {value.dtype} and the parameters are {self.dtype}: expected one dtype")
        if self.finite and not holds_classes:
            check_values(name, value)

    def _fits(
        self, shape: tuple[int, ...], before: tuple[str, ...], after: tuple[str, ...], has_E: bool, shared: bool
    ) -> bool:
        """Whether a shape fits the sizes so far, which then include its own."""
        end = len(shape) - len(after)
        if end < len(before) or 0 in shape:
            return False
        E = shape[len(before) : end]
        known = self.sizes.setdefault("*E", E) if has_E else ()
        if known != E and not (shared and (not E or len(E) == len(known))):
            return False
        if known != E and not all(axis in (1, size) for axis, size in zip(E, known)):
            return False
        sizes = zip(before + after, shape[: len(before)] + shape[end:])
        return all(self.sizes.setdefault(letter, size) == size for letter, size in sizes)

    def _check_classes(self, name: str, classes: Array, size: int) -> None:
        for chunk in _chunks(classes):
            for extreme in (int(chunk.min()), int(chunk.max())):
                if not 0 <= extreme < size:
                    raise InputError(f"{name} holds the class {extreme}: expected classes from 0 to {size - 1}")

    def record(self, name: str, value: Any, kind: Any, field_name: str = "{}") -> None:
        """Raise InputError unless this is such a record, whose arrays fit, and are there unless they may be None."""
        if not isinstance(value, kind):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {kind.__name__}")
        for array, (field, axes, optional) in zip(value, _fields(kind)):
            if not (optional and array is None):
                self.array(field_name.format(field), array, axes)

    def like_parameters(self, what: str, value: Any, params: Parameters[Array]) -> None:
        """Raise InputError unless each array of the value, a `what`, is None or fits its parameter."""
        if not isinstance(value, Gradients):
            raise InputError(f"{what} is of type {type(value).__name__}: expected {Gradients.__name__}")
        for array, theta, (field, axes, _) in zip(value, params, _fields(Parameters)):
            if array is not None and theta is None:
                raise InputError(f"there is a {what} of {field}: expected none, as the parameters have no {field}")
            if array is not None:
                self.array(f"the {what} of {field}", array, axes)

    def target(self, target: Any, weights: Any, axes: str, loss: str) -> None:
        """Raise InputError unless these are targets of the loss, with axes such as "K *E B O", and weights, or None."""
        is_distribution = loss == "cross_entropy"
        self.array("target", target, axes, shared=True, classes=is_distribution)
        if is_distribution and not is_integer(target):
            check_values("target", target, least=0, distributions=True)
        if weights is not None:
            self.array("weights", weights, axes.replace("*E", "").removesuffix("O"))
            check_values("weights", weights, least=0)


def check_parameters(
    arrays: Arrays, params: Any, dtypes: tuple[str, ...] = DTYPES, *, finite: bool = False
) -> Arguments:
    """The sizes of a network or an ensemble. Raises InputError unless its arrays fit, with both biases or neither."""
    arguments = Arguments(arrays, dtypes, finite=finite)
    arguments.record("params", params, Parameters)
    if (params.b_h is None) != (params.b_y is None):
        given, absent = ("b_y", "b_h") if params.b_h is None else ("b_h", "b_y")
        raise InputError(f"{given} is given without {absent}: expected both biases or neither")
    return arguments


def check_gradients(arrays: Arrays, gradients: Any) -> None:
    """Raise InputError unless these are gradients of a network or an ensemble; all but that of W_hh may be None."""
    Arguments(arrays).like_parameters("gradient", gradients, gradients)
    arrays.check("the gradient of W_hh", gradients.W_hh)


def check_direction(arrays: Arrays, params: Any, gradients: Any, velocity: Any = None) -> None:
    """Raise InputError on gradients, a direction or a velocity that do not fit the parameters."""
    arguments = Arguments(arrays)
    arguments.record("params", params, Parameters)
    arguments.like_parameters("gradient", gradients, params)
    if velocity is not None:
        if isinstance(velocity, Gradients) and params.h_0 is None:
            velocity = velocity._replace(h_0=None)  # it does not change
        arguments.like_parameters("velocity", velocity, params)


def check_window(
    arrays: Arrays, params: Any, activations: Any, target: Any, weights: Any, objective: Objective
) -> None:
    """Raise InputError on arguments that `bptt` and `adjoints` refuse."""
    check_objective(objective)
    arguments = check_parameters(arrays, params)
    if isinstance(activations, Activations) and hasattr(activations.x, "shape") and activations.x.shape:
        arguments.sizes["T+1"] = len(activations.x) + 1
    arguments.record("activations", activations, Activations, "{} of the activations")
    arguments.target(target, weights, "K *E B O", objective.loss)
    K, T = len(target), len(activations.x)
    if K > T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")


def check_forward(arrays: Arrays, params: Any, x: Any, h_0: Any) -> None:
    """Raise InputError on arguments that `forward` refuses."""
    arguments = check_parameters(arrays, params, arrays.forward_dtypes)
    arguments.sizes.pop("B", None)  # h_0 is an argument, which may have other sequences than a learned one
    arguments.array("x", x, "T *E B D", shared=True, classes=True)
    arguments.array("h_0", h_0, "*E B H", shared=True)


def check_loss(arrays: Arrays, y: Any, target: Any, weights: Any, objective: Objective) -> None:
    """Raise InputError on arguments that a loss refuses: y is (K, *E, B, O)."""
    check_objective(objective)
    arguments = Arguments(arrays, arrays.forward_dtypes)
    arguments.array("y", y, "K *E B O")
    arguments.target(target, weights, "K *E B O", objective.loss)


# -- runs -------------------------------------------------------------------------------------------------------------


def check_learning_rate(params: Parameters[Array], learning_rate: Any) -> Any:
    """The learning rate, a number, or a copy of an array with one for every network, of the ensemble's shape E.

    Raises InputError unless all are finite and 0 or more.
    """
    E, shape = tuple(params.W_hh.shape[:-2]), tuple(getattr(learning_rate, "shape", ()))
    if not shape:
        is_array = hasattr(learning_rate, "item") and not isinstance(learning_rate, np.generic)
        number = learning_rate.item() if is_array else learning_rate
        check_number("the learning rate", number, 0, "a finite number, 0 or more")
        return float(number)
    if len(shape) != len(E) or any(axis not in (1, size) for axis, size in zip(shape, E)):
        raise InputError(f"the learning rate has shape {shape}: expected a number, or one per network, of shape {E}")
    check_dtype("the learning rate", learning_rate)
    check_values("the learning rate", learning_rate, least=0)
    return learning_rate.copy() if isinstance(learning_rate, np.ndarray) else learning_rate.detach().clone()


def check_run(arrays: Arrays, run: Run, resume: Any = None) -> Run:
    """The run with plain numbers, and with the parameters of the state to resume from.

    Raises InputError on arguments that `train` refuses.
    """
    if resume is not None:
        if not isinstance(resume, State):
            raise InputError(f"resume is of type {type(resume).__name__}: expected State")
        run = run._replace(params=resume.parameters)
    arguments, run = _check_options(arrays, run)
    arguments.array("x", run.x, "T *E B D", shared=True, classes=True)
    if run.h_0 is not None:
        arguments.array("h_0", run.h_0, "*E B H", shared=True)
    arguments.target(run.target, run.weights, "T *E B O", run.options.objective.loss)
    if resume is not None:
        arguments.array("h of the state to resume from", resume.h, "*E B H")
        _check_velocity(arguments, run, resume.velocity)
        _check_place(resume, len(run.x), run.options.schedule)
    return run


def _check_options(arrays: Arrays, run: Run) -> tuple[Arguments, Run]:
    """The run with plain numbers. Raises InputError on options or parameters that do not fit, and without a state."""
    arguments, (schedule, objective, step) = check_parameters(arrays, run.params, finite=True), run.options
    step = check_step(step._replace(learning_rate=check_learning_rate(run.params, step.learning_rate)))
    if (run.params.h_0 is None) == (run.h_0 is None):
        raise InputError(
            "no initial state: expected h_0, or parameters with a learned one"
            if run.h_0 is None
            else "h_0 is given and the parameters have a learned one: expected None for h_0, or parameters without"
        )
    return arguments, run._replace(
        options=records.RunOptions(check_schedule(schedule), check_objective(objective), step)
    )


def _check_velocity(arguments: Arguments, run: Run, velocity: Any) -> None:
    """Raise InputError unless the velocity is None, or that of these parameters: complete, finite, and of the step."""
    if velocity is None:
        return
    arguments.like_parameters("velocity", velocity, run.params)
    for name, v, theta in zip(Parameters._fields, velocity, run.params):
        if v is None and theta is not None and name != "h_0":  # which has a velocity from its first gradient on
            raise InputError(f"there is no velocity of {name}: expected one, as other parameters have one")
        if v is not None and run.options.step.adagrad and bool((v < 0).any()):
            raise InputError(f"the velocity of {name} has numbers below 0: expected sums of squares, those of Adagrad")


def _check_place(state: State[Array], T: int, schedule: records.Schedule) -> None:
    """Raise InputError unless the state is one of TBPTT(k1, k2) over T steps, with plain integers."""
    k1, k2, _ = schedule
    place = [state.epoch, state.number, *(state.window if isinstance(state.window, tuple) else [None])]
    if any(type(value) is not int or value < 0 for value in place) or state.epoch < 1:
        raise InputError(
            f"epoch, number and window of the state to resume from are {shown(place)}: expected those of a State, in"
            " plain integers"
        )
    stop = min(state.number * k1, T)
    expected = (max(0, stop - k2), (state.number - 1) * k1, stop)
    if state.window != expected or stop == 0:
        raise InputError(
            f"the state to resume from is that after update {state.number}, window {tuple(state.window)}: expected"
            f" {expected} for k1 = {k1}, k2 = {k2} and {T} steps; resume with the arguments of that run"
        )


def check_stream(arrays: Arrays, run: Run, velocity: Any) -> Run:
    """The run on a stream, whose x is an iterable of steps, with plain numbers, and an iterator of checked steps as x.

    Raises InputError on arguments that `train_stream` refuses; its steps are checked when they are read.
    """
    arguments, run = _check_options(arrays, run)
    if run.h_0 is not None:
        arguments.array("h_0", run.h_0, "*E B H", shared=True)
    _check_velocity(arguments, run, velocity)
    try:
        steps = iter(run.x)
    except TypeError:
        kind = type(run.x).__name__
        raise InputError(f"the stream is a {kind}: expected an iterable of pairs (x_t, target_t)") from None
    return run._replace(x=_checked_steps(arguments, run.options.objective.loss, steps))


def _checked_steps(arguments: Arguments, loss: str, steps: Iterator[Any]) -> Iterator[tuple[Array, ...]]:
    """The steps of a stream, (x_t, target_t) or (x_t, target_t, weights_t). Raises InputError on one that is none."""
    form, number = None, 0
    for step in steps:
        number += 1  # noqa: SIM113  (enumerate would keep the step before while the next one is made)
        try:
            if not isinstance(step, tuple | list) or len(step) not in (2, 3):
                raise InputError(f"of type {type(step).__name__}: expected a pair of arrays, or three with weights")
            x_t, target_t, *weights_t = step
            for weights in weights_t:
                arguments.arrays.check("weights", weights)
            arguments.array("x", x_t, "B D", classes=True)
            arguments.target(target_t, weights_t[0] if weights_t else None, "B O", loss)
            form, before = (step[0].ndim, step[1].ndim, len(step)), form
            if before not in (None, form):
                raise InputError("expected classes, rows and weights in the same places as in the steps before")
        except InputError as error:
            raise InputError(f"step {number} of the stream: {error}") from None
        yield tuple(step)
        del step, x_t, target_t, weights_t
