"""Checks of the arguments of public functions, made before anything is computed: nothing broadcasts by accident.

Each public function of a package calls one `check_` function with the package's `Arrays`. Axes are written as in the
annotations of `records.py`. All raise InputError.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain
from math import inf, ulp
from typing import Any, NamedTuple, get_args

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
    State,
    Step,
)

EPOCH = "epoch"
NAMES = {
    "nonlinearity": records.Nonlinearity,
    "loss": records.LossName,
    "reduction": records.Reduction,
}
CHUNK = 4096  # steps of a series that are checked at a time, so that a mapped file may be larger than the memory
MAX_OFF = 1e-3  # how far the sum of a distribution may be from 1, so that rounded ones of any origin are accepted


# -- options ----------------------------------------------------------------------------------------------------------


def check_objective(objective: Objective) -> Objective:
    """The objective. Raises InputError on a name that is unknown."""
    for option, name in objective._asdict().items():
        known = get_args(NAMES[option])
        if not (isinstance(name, str) and name in known):
            raise InputError(
                f"unknown {option} {short_repr(name, repr)}: expected {' or '.join(known)}"
            )
    return objective


def check_schedule(schedule: records.Schedule) -> records.Schedule:
    """The schedule in plain integers. Raises InputError unless 1 ≤ k1 ≤ k2 and epochs is 0 or more."""
    k1, k2 = check_integer("k1", schedule.k1, 1), check_integer("k2", schedule.k2, 1)
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must contain the k1 new steps of its"
            f" update; choose k2 ≥ {k1}"
        )
    return records.Schedule(k1, k2, check_integer("epochs", schedule.epochs, 0))


def check_step(step: Step) -> Step:
    """The step in plain numbers, but for its learning rate. Raises InputError on options that no step can have."""
    rate, momentum, dampening, nesterov, weight_decay, adagrad, max_norm, max_value = step
    momentum, weight_decay = (
        check_number("momentum", momentum),
        check_number("weight decay", weight_decay),
    )
    dampening = check_number("dampening", dampening, -inf, "a finite number, usually from 0 to 1")
    nesterov, adagrad = check_flag("nesterov", nesterov), check_flag("adagrad", adagrad)
    given = f"they are {momentum}, {dampening} and {nesterov}"
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(f"adagrad needs momentum 0, dampening 0 and nesterov False: {given}")
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(f"nesterov needs momentum above 0 and dampening 0: {given}")
    max_norm = None if max_norm is None else check_limit("max norm", max_norm)
    max_value = None if max_value is None else check_limit("max value", max_value)
    if max_norm is not None and max_value is not None:
        raise InputError(
            f"max norm is {max_norm} and max value is {max_value}: expected one of the two limits"
        )
    return Step(rate, momentum, dampening, nesterov, weight_decay, adagrad, max_norm, max_value)


def check_limit(name: str, limit: Any) -> float:
    """The limit of clipping. Raises InputError unless it is a finite number above 0."""
    return check_number(name, limit, ulp(0.0), "a finite number above 0")


def check_yield_every(yield_every: Any, is_stream: bool) -> Any:
    """The number of updates or, on a series, "epoch". Raises InputError on anything else."""
    if not is_stream and isinstance(yield_every, str) and yield_every == EPOCH:
        return EPOCH
    kind = "a whole number of updates" if is_stream else "'epoch', or a whole number of updates"
    return check_integer("yield_every", yield_every, 1, kind)


# -- arrays -----------------------------------------------------------------------------------------------------------


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    expected: str  # in messages
    forward_dtypes: tuple[str, ...] = DTYPES  # of the forward pass and the loss

    def values(self, name: str, value: Any) -> Any:
        """The value as a NumPy array. Raises InputError unless the value is an array of the package, without a mask."""
        if not isinstance(value, self.kind) or hasattr(value, "mask"):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {self.expected}")
        return numpy_view(name, value)


NUMPY_ARRAYS = Arrays(
    np.ndarray, "a NumPy array without a mask; torch_rnn takes tensors", (*DTYPES, "complex128")
)


def numpy_view(name: str, value: Any) -> Any:
    """A tensor as a NumPy array, in the same memory if that is the CPU's; other values as they are."""
    try:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else value
    except (
        TypeError,
        RuntimeError,
    ):  # bfloat16, sparse and quantized ones; those on the device meta have no numbers
        found = f"its layout is {value.layout}, its device {value.device}"
        raise InputError(
            f"{name} is {value.dtype}: expected {' or '.join(DTYPES)} in a dense tensor; {found}"
        ) from None


dtype_name = cache(str)


def is_integer(array: NumpyArray) -> bool:
    """Whether the array holds classes: integers, each for the row that has a 1 at its place and 0 elsewhere.

    Classes have one axis less than the rows: (T, B) for (T, B, N), or (T, *E, B) with a series for every network.
    """
    return array.dtype.kind in "iu"


def check_dtype(name: str, values: NumpyArray, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Raise InputError unless the dtype is one of these, in the byte order of this machine."""
    if dtype_name(values.dtype) not in dtypes:
        raise InputError(
            f"{name} is {values.dtype}: expected {' or '.join(DTYPES)}, in this machine's byte order"
        )


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: a NumPy array or scalar of float32, float64, or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.values("the value", value)
    if not is_integer(value):
        check_dtype("the array", value)


def check_values(name: str, values: NumpyArray, least: float = -inf, most: float = inf) -> None:
    """Raise InputError unless all numbers, or classes, are finite and from `least` to `most`."""
    for chunk in _chunks(values):
        if not np.isfinite(chunk).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
        if least > -inf and ((low := chunk.min()) < least or chunk.max() > most):
            kind, one = ("classes", "the class ") if is_integer(values) else ("numbers", "")
            limits = f"of {least:g} or more" if most == inf else f"from {least} to {most}"
            raise InputError(
                f"{name} holds {one}{low if low < least else chunk.max()}: expected {kind} {limits}"
            )


def _chunks(values: NumpyArray) -> Iterator[NumpyArray]:
    return (values[first : first + CHUNK] for first in range(0, len(values), CHUNK))


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

    The first array with a letter, and the first one with the axes E of an ensemble, decides on their sizes. dtypes:
    those that an array may have; complex numbers mix with real ones. finite: whether NaN and infinity are refused.
    """

    def __init__(self, arrays: Arrays, dtypes: tuple[str, ...] = DTYPES, *, finite: bool = False):
        self.arrays, self.dtypes, self.finite = arrays, dtypes, finite
        self.sizes: dict[str, Any] = {}
        self.dtype: Any = None

    def array(
        self, name: str, value: Any, axes: str, *, shared: bool = False, classes: bool = False
    ) -> None:
        """Raise InputError unless the value is an array with these axes, none of them empty.

        shared: whether the axes of an ensemble may be absent or 1, as networks share the array. classes: whether it may
        hold classes, without the last axis, instead of rows.
        """
        values = self.arrays.values(name, value)
        letters, holds_classes = axes.split(), classes and is_integer(values)
        row = letters.pop() if holds_classes else ""
        if 0 in values.shape or not self._fits(values.shape, letters, shared):
            given, kind = (f"is {values.dtype} of", "classes ") if holds_classes else ("has", "")
            hint = (
                ", time first, with no empty axis"
                if letters[0] in {"T", "K"} - self.sizes.keys()
                else ""
            )
            E = self.sizes.get("*E", ())
            sizes = chain(
                *(E if letter == "*E" else [self.sizes.get(letter, letter)] for letter in letters)
            )
            either = f", or without the axes {E} of the ensemble" if shared and E else ""
            raise InputError(
                f"{name} {given} shape {values.shape}: expected {kind}({', '.join(map(str, sizes))}){either}{hint}"
            )
        if holds_classes:
            check_values(name, values, 0, self.sizes[row] - 1)
            return
        check_dtype(name, values, self.dtypes)
        self.dtype = values.dtype if self.dtype is None else self.dtype
        if values.dtype != self.dtype and "complex128" not in (values.dtype, self.dtype):
            raise InputError(
                f"{name} is {values.dtype} and the parameters are {self.dtype}: expected one dtype"
            )
        if self.finite:
            check_values(name, values)

    def _fits(self, shape: tuple[int, ...], letters: list[str], shared: bool) -> bool:
        """Whether a shape fits the sizes so far, which then include its own."""
        if "*E" in letters:
            begin = letters.index("*E")
            end = len(shape) - len(letters) + begin + 1
            E = shape[begin:end]
            known = self.sizes.setdefault("*E", E) if end >= begin else ()
            is_part = len(E) in (0, len(known)) and all(
                axis in (1, size) for axis, size in zip(E, known)
            )
            if known != E and not (shared and is_part):
                return False
            letters, shape = (
                letters[:begin] + letters[begin + 1 :],
                shape[:begin] + shape[max(begin, end) :],
            )
        if "T+1" in letters:
            self.sizes["T+1"] = self.sizes["T"] + 1
        fitting = (
            self.sizes.setdefault(letter, size) == size for letter, size in zip(letters, shape)
        )
        return len(shape) == len(letters) and all(fitting)

    def record(
        self,
        name: str,
        value: Any,
        kind: Any,
        field_name: str = "{}",
        like: Parameters[Array] | None = None,
    ) -> None:
        """Raise InputError unless this is such a record, whose arrays fit, and are there unless they may be None.

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

    def like_parameters(self, name: str, value: Any, params: Parameters[Array]) -> None:
        """Raise InputError unless each array of the value, a gradient or velocity, is None or fits its parameter."""
        self.record(name, value, Gradients, f"the {name} of {{}}", params)

    def target(self, target: Any, weights: Any, axes: str, loss: str) -> None:
        """Raise InputError unless these are targets of the loss, with axes such as "K *E B O", and weights, or None."""
        self.array("target", target, axes, shared=True, classes=loss == "cross_entropy")
        if loss == "cross_entropy" and not is_integer(values := numpy_view("target", target)):
            check_values("target", values, 0)
            for chunk in _chunks(values):
                check_values("the sum of a row of target", chunk.sum(-1), 1 - MAX_OFF, 1 + MAX_OFF)
        if weights is not None:
            self.array("weights", weights, axes.replace("*E", "").removesuffix("O"))
            check_values("weights", numpy_view("weights", weights), 0)


# -- functions --------------------------------------------------------------------------------------------------------


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
    arrays.values("the gradient of W_hh", gradients.W_hh)


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
    arguments.record("activations", activations, records.Activations, "{} of the activations")
    arguments.target(target, weights, "K *E B O", objective.loss)
    K, T = len(target), len(activations.x)
    if K > T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")


def check_forward(arrays: Arrays, params: Any, x: Any, h_0: Any) -> None:
    """Raise InputError on arguments that `forward` refuses."""
    arguments = check_parameters(arrays, params, arrays.forward_dtypes)
    arguments.sizes.pop(
        "B", None
    )  # h_0 is an argument, which may have other sequences than a learned one
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
    E, rates = tuple(params.W_hh.shape[:-2]), numpy_view("the learning rate", learning_rate)
    shape = getattr(rates, "shape", ())
    if not shape:
        return check_number(
            "the learning rate", rates[()] if isinstance(rates, np.ndarray) else rates
        )
    if len(shape) != len(E) or any(axis not in (1, size) for axis, size in zip(shape, E)):
        raise InputError(
            f"the learning rate has shape {shape}: expected a number, or one per network, of shape {E}"
        )
    check_dtype("the learning rate", rates)
    check_values("the learning rate", rates, 0)
    return rates.copy()


def check_run(arrays: Arrays, run: Run, resume: Any = None) -> tuple[Run, State[Array] | None]:
    """The run, and the state to resume from or None, in plain numbers. The run has the parameters of the state.

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
        resume = _check_place(resume, len(run.x), run.options.schedule)
    return run, resume


def _check_options(arrays: Arrays, run: Run) -> tuple[Arguments, Run]:
    """The run with plain numbers. Raises InputError on options or parameters that do not fit, and without a state."""
    arguments, (schedule, objective, step) = (
        check_parameters(arrays, run.params, finite=True),
        run.options,
    )
    step = check_step(
        step._replace(learning_rate=check_learning_rate(run.params, step.learning_rate))
    )
    if (run.params.h_0 is None) == (run.h_0 is None):
        what = (
            "no h_0" if run.h_0 is None else "h_0 is given, and the parameters have a learned one"
        )
        raise InputError(f"{what}: expected either h_0 or parameters with a learned one")
    return arguments, run._replace(
        options=records.RunOptions(check_schedule(schedule), check_objective(objective), step)
    )


def _check_velocity(arguments: Arguments, run: Run, velocity: Any) -> None:
    """Raise InputError unless the velocity is None, or that of these parameters: complete, finite, and of the step."""
    if velocity is None:
        return
    arguments.like_parameters("velocity", velocity, run.params)
    for name, v, theta in zip(Parameters._fields, velocity, run.params):
        if (
            v is None and theta is not None and name != "h_0"
        ):  # which has a velocity from its first gradient on
            raise InputError(
                f"there is no velocity of {name}: expected one, as other parameters have one"
            )
        if v is not None and run.options.step.adagrad:
            check_values(
                f"the velocity of {name}, the sums of squares of Adagrad,", numpy_view(name, v), 0
            )


def _check_place(state: State[Array], T: int, schedule: records.Schedule) -> State[Array]:
    """The state in plain numbers. Raises InputError unless it is one of TBPTT(k1, k2) over T steps."""
    k1, k2, _ = schedule
    number = check_integer("the number of the state to resume from", state.number, 1)
    epoch = check_integer("the epoch of the state to resume from", state.epoch, 1)
    stop = min(number * k1, T)
    window = records.Window(max(0, stop - k2), (number - 1) * k1, stop)
    if not isinstance(state.window, records.Window) or state.window != window:
        raise InputError(
            f"the state to resume from is that after update {number}, {short_repr(state.window)}: expected {window} for"
            f" k1 = {k1}, k2 = {k2} and {T} steps; resume with the arguments of that run"
        )
    return state._replace(epoch=epoch, number=number, window=window)


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
        raise InputError(
            f"the stream is a {kind}: expected an iterable of pairs (x_t, target_t)"
        ) from None
    return run._replace(x=_checked_steps(arguments, run.options.objective.loss, steps))


def _checked_steps(
    arguments: Arguments, loss: str, steps: Iterator[Any]
) -> Iterator[tuple[Array, ...]]:
    """The steps of a stream, (x_t, target_t) or (x_t, target_t, weights_t). Raises InputError on one that is none."""
    form, number = None, 0
    for step in steps:
        number += 1  # noqa: SIM113  (enumerate would keep the step before while the next one is made)
        try:
            if (
                not isinstance(step, tuple | list)
                or len(step) not in (2, 3)
                or any(v is None for v in step)
            ):
                raise InputError(
                    f"of type {type(step).__name__}: expected a pair of arrays, or three with weights"
                )
            x_t, target_t, *weights_t = step
            arguments.array("x", x_t, "B D", classes=True)
            arguments.target(target_t, weights_t[0] if weights_t else None, "B O", loss)
            form, before = (x_t.ndim, target_t.ndim, len(step)), form
            if before not in (None, form):
                raise InputError(
                    "expected classes, rows and weights in the same places as in the steps before"
                )
        except InputError as error:
            raise InputError(f"step {number} of the stream: {error}") from None
        yield tuple(step)
        del step, x_t, target_t, weights_t
