"""Checks of the arguments of public functions, made before anything is computed: nothing broadcasts by accident.

Each public function of a package calls one function of this module, with the package's `Arrays`. Values are read by
methods that NumPy arrays and torch tensors both have. All raise InputError.
"""

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from math import inf
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.check_options import check_objective, check_schedule, check_step
from numpy_rnn.common.errors import InputError, check_number, check_whole, shown
from numpy_rnn.common.records import DTYPES, Activations, Array, Gradients, Objective, Parameters, Run, Schedule, Step

CHUNK = 4096  # steps of a series that are checked at a time, so that a mapped file may be larger than the memory
MAX_OFF = 1e-3  # how far the sum of a distribution may be from 1, so that rounded ones of any origin are accepted
SQUARED_ERROR, CROSS_ENTROPY = "squared_error", "cross_entropy"
OPTIONAL = ("b_h", "b_y", "h_0")  # of the parameters
Shape = tuple[int, ...]


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    name: str
    package: str
    forward_dtypes: tuple[str, ...] = DTYPES  # of the forward pass and the loss
    unsupported: tuple[str, ...] = ()  # dtypes that exist and with which nothing can be computed

    def check(self, **arrays: Any) -> None:
        """Raise InputError unless these, by name, are arrays of the package; subclasses without a mask are too."""
        masked = sys.modules.get("numpy.ma")  # it takes time to import, and without it there is no masked array
        for name, value in arrays.items():
            if masked is not None and isinstance(value, masked.MaskedArray):
                raise InputError(
                    f"{name} is a masked array: expected one without a mask; fill them, or leave out their steps"
                )
            if not isinstance(value, self.kind):
                raise InputError(f"{name} is {_what(value)}: expected {self.name}{self._hint(value)}")
            if self.unsupported and dtype_name(dtype := getattr(value, "dtype", None)) in self.unsupported:
                raise InputError(f"{name} is {dtype}: expected int64; from_numpy converts a NumPy array")

    def check_record(self, name: str, value: Any, record: Any, optional: Iterable[str] = (), of: str = "") -> None:
        """Raise InputError unless this is such a record of arrays, of which the optional ones may be None."""
        if not isinstance(value, record):
            raise InputError(f"{name} is {_what(value)}: expected {record.__name__}")
        for field, array in zip(record._fields, value):
            if not (array is None and field in optional):
                self.check(**{of + field: array})

    def _hint(self, value: object) -> str:
        is_tensor = any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(value).__mro__)
        if isinstance(value, np.ndarray) or is_tensor:
            other = "torch_rnn takes tensors" if is_tensor else "numpy_rnn takes NumPy arrays"
            return f"; this is {self.package}, {other}"
        return "; from_numpy converts a NumPy array"


NUMPY_ARRAYS = Arrays(np.ndarray, "a NumPy array", "numpy_rnn", (*DTYPES, "complex128"))


def _what(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value)
    module = "torch." if kind.__module__.split(".")[0] == "torch" else ""
    return f"a {module}{'NumPy array' if kind is np.ndarray else kind.__name__}"


# -- arrays -----------------------------------------------------------------------------------------------------------


@cache
def dtype_name(dtype: object) -> str:
    """The name of a dtype of NumPy or torch."""
    return str(dtype).removeprefix("torch.")


def is_integer(array: Array) -> bool:
    """Whether the array holds classes: integers, each for the row that has a 1 at its place and 0 elsewhere.

    Classes have one axis less than the rows: (T, B) for (T, B, N), or (T, *E, B) with a series for every network.
    """
    return "int" in dtype_name(array.dtype)


def is_finite(array: Array) -> bool:
    """Whether all values are finite."""
    if array.ndim > 2 and len(array) > CHUNK:
        return all(is_finite(array[first : first + CHUNK]) for first in range(0, len(array), CHUNK))
    return bool((abs(array) < inf).all())


def fits(given: Shape, shape: Shape, E: Shape) -> bool:
    """Whether `given` is `shape`, or `shape` with the axes E of an ensemble before its last two, each of its size or 1.

    The networks along an axis of size 1 share the array.
    """
    axes = given[len(shape) - 2 : -2]
    shared_or_own = len(axes) == len(E) and all(axis in (1, size) for axis, size in zip(axes, E))
    return given == shape or (shared_or_own and given == (*shape[:-2], *axes, *shape[-2:]))


def check_finite(**arrays: Array | None) -> None:
    """Raise InputError when one of the arrays, by name, contains NaN or infinity."""
    for name, array in arrays.items():
        if array is not None and not is_finite(array):
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")


def check_at_least_0(name: str, array: Array) -> None:
    """Raise InputError unless the array holds finite numbers of 0 or more."""
    check_finite(**{name: array})
    if (least := array.min().item()) < 0:
        raise InputError(f"{name} holds {least}: expected numbers of 0 or more")


def check_dtype(name: str, array: Array, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Raise InputError unless its dtype is one of these, in the byte order of this machine."""
    if dtype_name(array.dtype) not in dtypes:
        raise InputError(
            f"{name} is {array.dtype}: expected {' or '.join(DTYPES)}, in the byte order of this machine; convert it by"
            " astype"
        )


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: a NumPy array or scalar of float32, float64, or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.check(value=value)
    if not (value.dtype.kind in "iu" and value.dtype.isnative):
        check_dtype("the array", value)


def _check_shape(name: str, array: Array, *shapes: Shape) -> None:
    if tuple(array.shape) not in shapes:
        raise InputError(f"{name} has shape {tuple(array.shape)}: expected {' or '.join(map(str, shapes))}")


def _check_same_dtype(name: str, array: Array, dtype: object) -> None:
    if array.dtype != dtype and "complex" not in str(dtype):
        raise InputError(f"{name} is {array.dtype} and the parameters are {dtype}: expected one dtype; convert one")


def _check_series(name: str, series: Array, shape: Shape, like: Array, classes: bool = False) -> None:
    """Raise InputError unless this is a series (K, B, N), or with the axes of an ensemble, in the dtype of `like`.

    like: an array (*E, ·, ·). classes: whether the series may hold classes (K, B) from 0 to N − 1 instead.
    """
    E, size = tuple(like.shape[:-2]), shape[-1]
    holds_classes = classes and is_integer(series)
    given, wanted = tuple(series.shape), shape[: len(shape) - holds_classes]
    if not fits((*given, size)[: len(given) + holds_classes], shape, E):
        end = len(shape) - 2
        alternative = f" or {(*shape[:end], *E, *wanted[end:])}" if E else ""
        rows = ", or rows of floating-point numbers" if holds_classes else ""
        raise InputError(f"{name} has shape {given}: expected {wanted}{alternative}{rows}")
    if not holds_classes:
        _check_same_dtype(name, series, like.dtype)
        return
    for first in range(0, len(series), CHUNK):
        chunk = series[first : first + CHUNK]
        for extreme in (int(chunk.min()), int(chunk.max())):
            if not 0 <= extreme < size:
                raise InputError(f"{name} holds the class {extreme}: expected classes from 0 to {size - 1}")


def _check_target(target: Array, shape: Shape, like: Array, loss: str, weights: Array | None = None) -> None:
    """Raise InputError unless these are the targets (K, B, O) of a loss, and the weights (K, B) of its terms."""
    _check_series("target", target, shape, like, classes=loss == CROSS_ENTROPY)
    if loss == CROSS_ENTROPY and not is_integer(target):
        check_distributions("target", target)
    if weights is not None:
        _check_shape("weights", weights, shape[:-1])
        _check_same_dtype("weights", weights, like.dtype)
        check_at_least_0("weights", weights)


def check_distributions(name: str, rows: Array) -> None:
    """Raise InputError unless every row is a distribution: finite numbers of 0 or more, whose sum is 1."""
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        check_at_least_0(name, chunk)
        sums = chunk.sum(-1)
        for extreme in (sums.min().item(), sums.max().item()):
            if abs(extreme - 1) > MAX_OFF:
                raise InputError(f"{name} has a row whose sum is {extreme}: expected distributions, whose sum is 1")


# -- records ----------------------------------------------------------------------------------------------------------


def check_parameters(
    arrays: Arrays, params: Any, *, both_biases: bool = True, dtypes: tuple[str, ...] = DTYPES
) -> None:
    """Raise InputError unless these are the parameters of a network or an ensemble, in one of these dtypes.

    both_biases: whether to refuse one bias without the other.
    """
    arrays.check_record("params", params, Parameters, OPTIONAL)
    if both_biases and (params.b_h is None) != (params.b_y is None):
        given, absent = ("b_y", "b_h") if params.b_h is None else ("b_h", "b_y")
        raise InputError(f"{given} is given without {absent}: expected both biases or neither")
    _check_network(params, "", dtypes)


def check_gradients(arrays: Arrays, gradients: Any) -> None:
    """Raise InputError unless these are gradients of a network or an ensemble; all but that of W_hh may be None."""
    of = "the gradient of "
    arrays.check_record("gradients", gradients, Gradients, (*OPTIONAL, "W_xh", "W_hy"), of)
    _check_network(gradients, of, DTYPES)


def _check_network(params: Parameters[Array], of: str, dtypes: tuple[str, ...]) -> None:
    """Raise InputError unless the arrays, some of which may be None, fit each other and have one of the dtypes."""
    W_xh, W_hh, W_hy, _, b_y, h_0 = params
    for name, theta in zip(Parameters._fields, params):
        axes = 1 if name.startswith("b") else 2
        if theta is not None and (theta.ndim < axes or 0 in theta.shape):
            expected = "no empty axis" if 0 in theta.shape else f"{axes} axes, after those of an ensemble"
            raise InputError(f"{of}{name} has shape {tuple(theta.shape)}: expected {expected}")
    if W_hh.shape[-1] != W_hh.shape[-2]:
        raise InputError(f"{of}W_hh has shape {tuple(W_hh.shape)}: expected a square matrix (H, H)")
    check_dtype(of + "W_hh", W_hh, dtypes)
    *E, H = W_hh.shape[:-1]
    D = 0 if W_xh is None else W_xh.shape[-2]
    O = W_hy.shape[-1] if W_hy is not None else 0 if b_y is None else b_y.shape[-1]
    B = 0 if h_0 is None else h_0.shape[-2]
    shapes = (*E, D, H), (*E, H, H), (*E, H, O), (*E, H), (*E, O), (*E, B, H)
    for name, theta, shape in zip(Parameters._fields, params, shapes, strict=True):
        if theta is not None:
            _check_shape(of + name, theta, shape)
            _check_same_dtype(of + name, theta, W_hh.dtype)


def check_direction(
    arrays: Arrays, params: Any, gradients: Any, velocity: Any = None, step: Step | None = None
) -> None:
    """Raise InputError on gradients, a direction or a velocity that do not fit the parameters or the step."""
    check_parameters(arrays, params, both_biases=False)
    _check_like(arrays, params, "gradient", gradients)
    if isinstance(velocity, Gradients) and params.h_0 is None:
        velocity = velocity._replace(h_0=None)  # it does not change
    if velocity is not None:
        _check_like(arrays, params, "velocity", velocity)
        _check_squares(velocity, step)


def check_velocity(arrays: Arrays, params: Parameters[Array], velocity: Any, step: Step | None = None) -> None:
    """Raise InputError unless the velocity is None, or that of these parameters: complete, finite, and of the step."""
    if velocity is None:
        return
    _check_like(arrays, params, "velocity", velocity)
    for name, v, theta in zip(Parameters._fields, velocity, params, strict=True):
        if v is None and theta is not None and name != "h_0":  # which has a velocity from its first gradient on
            raise InputError(f"the state has no velocity of {name}: expected one, as other parameters have one")
        check_finite(**{f"the velocity of {name}": v})
    _check_squares(velocity, step)


def _check_squares(velocity: Gradients[Array], step: Step | None) -> None:
    """Raise InputError on a velocity with numbers below 0 if the step is by Adagrad."""
    for name, v in zip(Gradients._fields, velocity):
        if v is not None and step is not None and step.adagrad and bool((v < 0).any()):
            raise InputError(
                f"the velocity of {name} has numbers below 0: expected the sums of squares of Adagrad; do not continue"
                " a run with momentum by Adagrad"
            )


def _check_like(arrays: Arrays, params: Parameters[Array], what: str, value: Any) -> None:
    """Raise InputError unless each array of the value, a `what`, is None or has its parameter's shape and dtype."""
    arrays.check_record(what, value, Gradients, Gradients._fields, f"the {what} of ")
    for name, array, theta in zip(Parameters._fields, value, params, strict=True):
        if array is not None and theta is None:
            raise InputError(f"there is a {what} of {name}: expected none, as the parameters have no {name}")
        if array is not None:
            _check_shape(f"the {what} of {name}", array, tuple(theta.shape))
            _check_same_dtype(f"the {what} of {name}", array, theta.dtype)


def check_window(
    arrays: Arrays, params: Any, activations: Any, target: Any, weights: Any, objective: Objective
) -> None:
    """Raise InputError on arguments that `bptt` and `adjoints` refuse."""
    check_objective(objective)
    check_parameters(arrays, params)
    arrays.check_record("activations", activations, Activations)
    arrays.check(target=target, **({} if weights is None else {"weights": weights}))
    *E, H, O = params.W_hy.shape
    x, _, h, _ = activations
    T, B = len(x) if x.ndim else 0, h.shape[-2] if h.ndim > 1 else 0
    sizes = ((T, params.W_xh.shape[-2]), (T, H), (T + 1, H), (T, O))
    for name, array, (steps, size) in zip(Activations._fields, activations, sizes, strict=True):
        _check_shape(f"{name} of the activations", array, (max(steps, 1), *E, max(B, 1), size))
        _check_same_dtype(f"{name} of the activations", array, params.W_hh.dtype)
    if params.h_0 is not None:
        _check_shape("the learned h_0", params.h_0, tuple(h.shape[1:]))
    K = target.shape[0] if target.ndim else 0
    if not 1 <= K <= T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")
    _check_target(target, (K, B, O), params.W_hh, objective.loss, weights)


def check_forward(arrays: Arrays, params: Any, x: Any, h_0: Any) -> None:
    """Raise InputError on arguments that `forward` refuses."""
    check_parameters(arrays, params, dtypes=arrays.forward_dtypes)
    arrays.check(x=x, h_0=h_0)
    _check_inputs(params, x, h_0)


def _check_inputs(params: Parameters[Array], x: Array, h_0: Array) -> None:
    """Raise InputError unless inputs x (T, B, D), or classes (T, B), and the state h_0 (B, H) fit the parameters."""
    axes = 3 - is_integer(x)
    if x.ndim not in (axes, params.W_hh.ndim - 2 + axes) or 0 in x.shape:
        expected = "floating-point (T, B, D), or classes (T, B)" if is_integer(x) else "(T, B, D)"
        given = f"is {x.dtype} of shape" if is_integer(x) else "has shape"
        raise InputError(f"x {given} {tuple(x.shape)}: expected {expected}, time first, with no empty axis")
    B = x.shape[1 - axes]
    _check_series("x", x, (x.shape[0], B, params.W_xh.shape[-2]), params.W_hh, classes=True)
    _check_series("h_0", h_0, (B, params.W_hh.shape[-1]), params.W_hh)


def check_loss(arrays: Arrays, y: Any, target: Any, weights: Any, objective: Objective) -> None:
    """Raise InputError on arguments that a loss refuses: y is (K, *E, B, O)."""
    check_objective(objective)
    arrays.check(y=y, target=target, **({} if weights is None else {"weights": weights}))
    check_dtype("y", y, arrays.forward_dtypes)
    if y.ndim < 3 or 0 in y.shape:
        raise InputError(f"y has shape {tuple(y.shape)}: expected (K, B, O), time first, with no empty axis")
    _check_target(target, (y.shape[0], *y.shape[-2:]), y[0], objective.loss, weights)


# -- the learning rate -------------------------------------------------------------------------------------------------


def check_learning_rate(params: Parameters[Array], learning_rate: Any) -> Any:
    """The learning rate, a number, or a copy of an array with one for every network, of the ensemble's shape E.

    Raises InputError unless all are finite and 0 or more.
    """
    E, shape = tuple(params.W_hh.shape[:-2]), tuple(getattr(learning_rate, "shape", ()))
    if shape and (len(shape) != len(E) or any(axis not in (1, size) for axis, size in zip(shape, E))):
        raise InputError(f"the learning rate has shape {shape}: expected a number, or one per network, of shape {E}")
    if hasattr(learning_rate, "dtype"):
        if not dtype_name(learning_rate.dtype).startswith(("float", "int", "uint")):
            raise InputError(f"the learning rate is {learning_rate.dtype}: expected floating-point numbers")
        learning_rate = learning_rate if shape else float(learning_rate)
    if shape:
        check_at_least_0("the learning rate", learning_rate)
        return learning_rate.copy() if isinstance(learning_rate, np.ndarray) else learning_rate.detach().clone()
    check_number("the learning rate", learning_rate, 0, "a finite number, 0 or more")
    return float(learning_rate)


# -- runs -------------------------------------------------------------------------------------------------------------


def check_run(arrays: Arrays, run: Run, resume: Any = None) -> Run:
    """The run with plain numbers, and with the parameters of the state to resume from.

    Raises InputError on arguments that `train` refuses.
    """
    if resume is not None:
        check_state(arrays, resume)
        run = run._replace(params=resume.parameters)
    run = _check_network_of_run(arrays, run)
    params, x, target, h_0, weights, (schedule, objective, step) = run
    arrays.check(x=x, target=target, **({} if weights is None else {"weights": weights}))
    _check_inputs(params, x, params.h_0 if h_0 is None else h_0)
    if target.ndim and target.shape[0] != x.shape[0]:
        raise InputError(f"target has {target.shape[0]} steps: expected {x.shape[0]}, one for every step of x")
    B = x.shape[-1 if is_integer(x) else -2]
    _check_target(target, (x.shape[0], B, params.W_hy.shape[-1]), params.W_hh, objective.loss, weights)
    check_finite(x=x, target=target)
    if resume is not None:
        check_velocity(arrays, params, resume.velocity, step)
        check_place(resume, len(x), schedule)
        _check_shape("h of the state to resume from", resume.h, (*params.W_hh.shape[:-2], B, params.W_hh.shape[-1]))
    return run


def _check_network_of_run(arrays: Arrays, run: Run) -> Run:
    """The run with plain numbers. Raises InputError on options, parameters or an initial state that do not fit."""
    params, _, _, h_0, _, (schedule, objective, step) = run
    check_parameters(arrays, params)
    step = check_step(step._replace(learning_rate=check_learning_rate(params, step.learning_rate)))
    options = records.RunOptions(check_schedule(schedule), check_objective(objective), step)
    if (params.h_0 is None) == (h_0 is None):
        raise InputError(
            "no initial state: expected h_0, or parameters with a learned one"
            if h_0 is None
            else "h_0 is given and the parameters have a learned one: expected None for h_0, or parameters without"
        )
    if h_0 is not None:
        arrays.check(h_0=h_0)
        if h_0.ndim < 2:
            raise InputError(f"h_0 has shape {tuple(h_0.shape)}: expected (B, H)")
        _check_series("h_0", h_0, (h_0.shape[-2], params.W_hh.shape[-1]), params.W_hh)
    check_finite(**params._replace(h_0=params.h_0 if h_0 is None else h_0)._asdict())
    return run._replace(options=options)


def check_state(arrays: Arrays, state: Any) -> None:
    """Raise InputError unless this is a State whose h and velocity fit its parameters and are finite."""
    if not isinstance(state, records.State):
        raise InputError(f"resume is {_what(state)}: expected State")
    check_parameters(arrays, state.parameters)
    arrays.check(h=state.h)
    W_hh, B = state.parameters.W_hh, state.h.shape[-2] if state.h.ndim > 1 else 1
    _check_shape("h", state.h, (*W_hh.shape[:-2], B, W_hh.shape[-1]))
    _check_same_dtype("h", state.h, W_hh.dtype)
    check_finite(h=state.h)
    check_velocity(arrays, state.parameters, state.velocity)


def check_place(state: records.State[Array], T: int, schedule: Schedule) -> None:
    """Raise InputError unless the state is one of TBPTT(k1, k2) over T steps."""
    k1, k2, _ = schedule
    check_whole("the epoch of the state to resume from", state.epoch, 1)
    number = check_whole("the number of the state to resume from", state.number, 1)
    stop = min(number * k1, T)
    expected = (max(0, stop - k2), (number - 1) * k1, stop)
    if not isinstance(state.window, tuple):
        raise InputError(f"the window of the state to resume from is {_what(state.window)}: expected Window")
    if tuple(state.window) != expected:
        raise InputError(
            f"the state to resume from is that after update {number}, window {shown(tuple(state.window))}: expected"
            f" {expected} for k1 = {k1}, k2 = {k2} and {T} steps; resume with the arguments of that run"
        )


def check_stream(arrays: Arrays, run: Run, velocity: Any) -> Run:
    """The run on a stream, whose x is an iterable of steps, with plain numbers, and an iterator of checked steps as x.

    Raises InputError on arguments that `train_stream` refuses; its steps are checked when they are read.
    """
    run = _check_network_of_run(arrays, run)
    check_velocity(arrays, run.params, velocity, run.options.step)
    try:
        steps = iter(run.x)
    except TypeError:
        kind = type(run.x).__name__
        raise InputError(f"the stream is a {kind}: expected an iterable of pairs (x_t, target_t)") from None
    return run._replace(x=_checked_steps(arrays, run, steps))


def _checked_steps(arrays: Arrays, run: Run, steps: Iterator[Any]) -> Iterator[tuple[Array, ...]]:
    """The steps of a stream, (x_t, target_t) or (x_t, target_t, weights_t). Raises InputError on one that is none."""
    form, number = None, 0
    for step in steps:
        number += 1  # noqa: SIM113  (enumerate would keep the step before while the next one is made)
        if not isinstance(step, tuple | list) or len(step) not in (2, 3):
            kind = type(step).__name__
            raise InputError(f"step {number} of the stream is {kind}: expected a pair of arrays, or three with weights")
        try:
            _check_stream_step(arrays, run, *step)
        except InputError as error:
            raise InputError(f"step {number} of the stream: {error}") from None
        if form not in (None, (step[0].ndim, step[1].ndim, len(step))):
            raise InputError(
                f"step {number} of the stream has another form than those before it: expected classes, rows and"
                " weights in the same places"
            )
        form = step[0].ndim, step[1].ndim, len(step)
        yield tuple(step)
        del step


def _check_stream_step(arrays: Arrays, run: Run, x_t: Any, target_t: Any, *weights_t: Any) -> None:
    params, loss, initial = run.params, run.options.objective.loss, run.params.h_0 if run.h_0 is None else run.h_0
    B = 1 if initial is None else initial.shape[-2]
    arrays.check(x=x_t, target=target_t, **dict(zip(["weights"], weights_t)))
    like = params.W_hh.reshape(-1, *params.W_hh.shape[-2:])[0]  # the networks of an ensemble share the stream
    _check_series("x", x_t, (B, params.W_xh.shape[-2]), like, classes=True)
    _check_target(target_t, (B, params.W_hy.shape[-1]), like, loss, *weights_t)
    check_finite(x=x_t, target=target_t)
