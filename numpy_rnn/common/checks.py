"""Checks of the arguments of public functions, made before anything is computed: nothing broadcasts by accident.

Each public function of a package calls one function of this module, with the package's `Arrays`. Values are read by
methods that NumPy arrays and torch tensors both have. All raise InputError.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from math import inf
from sys import maxsize
from typing import Any, NamedTuple, get_args

import numpy as np

from numpy_rnn.common.errors import InputError, check_flag, check_number, check_whole, shown
from numpy_rnn.common.records import (
    DTYPES,
    Activations,
    Array,
    Gradients,
    LossName,
    Nonlinearity,
    Objective,
    Parameters,
    Reduction,
    Run,
    RunOptions,
    Schedule,
    State,
    Step,
    Window,
    YieldEvery,
)

CHUNK = 4096  # steps of a series that are checked at a time, so that a mapped file may be larger than the memory
MAX_OFF = 1e-3  # how far the sum of a distribution may be from 1, so that rounded ones of any origin are accepted
EPOCH = "epoch"
SQUARED_ERROR, CROSS_ENTROPY = "squared_error", "cross_entropy"
NAMES = {"nonlinearity": get_args(Nonlinearity), "loss": get_args(LossName), "reduction": get_args(Reduction)}
OPTIONAL = ("b_h", "b_y", "h_0")  # of the parameters


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    name: str
    package: str
    forward_dtypes: tuple[str, ...] = DTYPES  # of the forward pass and the loss

    def check(self, **arrays: Any) -> None:
        """Raise InputError unless these, by name, are arrays of the package; subclasses without a mask are too."""
        for name, value in arrays.items():
            if type(value) is self.kind:
                continue
            if isinstance(value, np.ma.MaskedArray):
                raise InputError(
                    f"{name} is a masked array: expected one without a mask; fill them, or leave out their steps"
                )
            if not isinstance(value, self.kind):
                raise InputError(f"{name} is {_what(value)}: expected {self.name}{self._hint(value)}")

    def check_record(self, name: str, value: Any, record: Any, optional: tuple[str, ...] = (), of: str = "") -> None:
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


# -- what arrays are ----------------------------------------------------------------------------------------------------


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


def fits(given: tuple[int, ...], shape: tuple[int, ...], E: tuple[int, ...]) -> bool:
    """Whether `given` is `shape`, or `shape` with the axes E of an ensemble before its last two, each of its size or 1.

    The networks along an axis of size 1 share the array.
    """
    axes = given[len(shape) - 2 : -2]
    shared_or_own = len(axes) == len(E) and all(axis in (1, size) for axis, size in zip(axes, E))
    return given == shape or (shared_or_own and given == (*shape[:-2], *axes, *shape[-2:]))


def check_finite(name: str, array: Array) -> None:
    """Raise InputError when the array contains NaN or infinity."""
    if not is_finite(array):
        raise InputError(f"{name} contains NaN or infinity: expected finite numbers")


def check_fits(name: str, array: Array, params: Parameters[Array], shape: tuple[int, ...]) -> None:
    """Raise InputError unless the array `fits` this shape and the parameters' ensemble, in the parameters' dtype."""
    E = tuple(params.W_hh.shape[:-2])
    if not fits(tuple(array.shape), shape, E):
        alternative = f" or {(*shape[:-2], *E, *shape[-2:])}" if E else ""
        raise InputError(f"{name} has shape {tuple(array.shape)}: expected {shape}{alternative}")
    if array.dtype != params.W_hh.dtype:
        raise InputError(
            f"{name} is {array.dtype} and the parameters are {params.W_hh.dtype}: expected one dtype; convert one"
        )


def check_dtype(name: str, array: Array, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Raise InputError unless its dtype is one of these, in the byte order of this machine."""
    if dtype_name(array.dtype) not in dtypes:
        raise InputError(
            f"{name} is {array.dtype}: expected {' or '.join(DTYPES)}, in the byte order of this machine; convert it"
        )


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: a NumPy array or scalar of float32, float64, or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.check(value=value)
    if not (value.dtype.isnative and (value.dtype.name in DTYPES or value.dtype.kind in "iu")):
        raise InputError(
            f"the array is {value.dtype}: expected {' or '.join(DTYPES)}, in the byte order of this machine; convert"
            " it by astype"
        )


def _check_classes(name: str, classes: Array, shape: tuple[int, ...], E: tuple[int, ...], size: int) -> None:
    """Raise InputError unless these are classes from 0 to `size` − 1, of this shape, (T, B), or with the axes E."""
    if not fits((*classes.shape, 1), (*shape, 1), E):
        alternative = f" or {(*shape[:-1], *E, *shape[-1:])}" if E else ""
        raise InputError(
            f"{name} is {classes.dtype} of shape {tuple(classes.shape)}: expected classes of shape"
            f" {shape}{alternative}, or rows of floating-point numbers"
        )
    for first in range(0, len(classes), CHUNK):
        chunk = classes[first : first + CHUNK]
        for extreme in (int(chunk.min()), int(chunk.max())):
            if not 0 <= extreme < size:
                raise InputError(f"{name} holds the class {extreme}: expected classes from 0 to {size - 1}")


def check_distributions(name: str, rows: Array) -> None:
    """Raise InputError unless every row is a distribution: finite numbers of 0 or more, whose sum is 1."""
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        check_finite(name, chunk)
        if float(chunk.min()) < 0:
            raise InputError(f"{name} holds {float(chunk.min())}: expected distributions, of numbers of 0 or more")
        sums = chunk.sum(-1)
        for extreme in (float(sums.min()), float(sums.max())):
            if abs(extreme - 1) > MAX_OFF:
                raise InputError(f"{name} has a row whose sum is {extreme}: expected distributions, whose sum is 1")


def _check_weights(arrays: Arrays, weights: Array | None, shape: tuple[int, int], dtype: object) -> None:
    """Raise InputError unless these are weights (K, B), finite numbers of 0 or more in this dtype, or None."""
    if weights is None:
        return
    arrays.check(weights=weights)
    if tuple(weights.shape) != shape:
        raise InputError(f"weights has shape {tuple(weights.shape)}: expected {shape}, one per step and sequence")
    if weights.dtype != dtype and "complex" not in str(dtype):
        raise InputError(f"weights is {weights.dtype}: expected {dtype}; convert it")
    check_finite("weights", weights)
    if float(weights.min()) < 0:
        raise InputError(f"weights holds {float(weights.min())}: expected numbers of 0 or more")


# -- records of arrays --------------------------------------------------------------------------------------------------


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
    expected = Parameters((*E, D, H), (*E, H, H), (*E, H, O), (*E, H), (*E, O), (*E, B, H))
    for name, theta, shape in zip(Parameters._fields, params, expected, strict=True):
        if theta is not None and tuple(theta.shape) != shape:
            raise InputError(
                f"{of}{name} has shape {tuple(theta.shape)}: expected {shape}, to fit W_hh and the other parameters"
            )
        if theta is not None and theta.dtype != W_hh.dtype:
            raise InputError(
                f"{of}{name} is {theta.dtype} and W_hh is {W_hh.dtype}: expected one dtype for all parameters"
            )


def _check_like(arrays: Arrays, params: Parameters[Array], what: str, value: Any) -> None:
    """Raise InputError unless each array of the value, a `what`, is None or has its parameter's shape and dtype."""
    arrays.check_record(what, value, Gradients, Gradients._fields, f"the {what} of ")
    for name, array, theta in zip(Parameters._fields, value, params, strict=True):
        if array is None:
            continue
        if theta is None:
            raise InputError(f"there is a {what} of {name}: expected none, as the parameters have no {name}")
        if array.shape != theta.shape or array.dtype != theta.dtype:
            raise InputError(
                f"the {what} of {name} is {array.dtype} of shape {tuple(array.shape)}: expected {theta.dtype} of shape"
                f" {tuple(theta.shape)}"
            )


def check_direction(
    arrays: Arrays, params: Any, gradients: Any, velocity: Any = None, *, step: Step | None = None
) -> None:
    """Raise InputError on gradients, a direction or a velocity that do not fit the parameters.

    step: in a function with a velocity, the step that it is of.
    """
    check_parameters(arrays, params, both_biases=False)
    _check_like(arrays, params, "gradient", gradients)
    if velocity is not None:
        arrays.check_record("velocity", velocity, Gradients, Gradients._fields, "the velocity of ")
        used = velocity if params.h_0 is not None else velocity._replace(h_0=None)  # that of h_0 does not change
        _check_like(arrays, params, "velocity", used)


def check_activations(arrays: Arrays, params: Parameters[Array], activations: Any) -> None:
    """Raise InputError unless the activations are those of a window, in the parameters' shapes and dtype."""
    arrays.check_record("activations", activations, Activations)
    dtype, h = params.W_hh.dtype, activations.h
    *E, H, O = params.W_hy.shape
    T, B = len(activations.x) if activations.x.ndim else 0, h.shape[-2] if h.ndim > 1 else 0
    sizes = ((T, params.W_xh.shape[-2]), (T, H), (T + 1, H), (T, O))
    for name, array, (steps, size) in zip(Activations._fields, activations, sizes, strict=True):
        if array.dtype != dtype:
            raise InputError(
                f"the activations are {array.dtype} and the parameters {dtype}: expected one dtype; run forward on"
                " these"
            )
        if tuple(array.shape) != (steps, *E, B, size) or 0 in array.shape:
            raise InputError(
                f"{name} of the activations has shape {tuple(array.shape)}: expected {(steps, *E, B, size)}; run"
                " forward with these parameters"
            )
    if params.h_0 is not None and tuple(params.h_0.shape) != tuple(h.shape[1:]):
        raise InputError(
            f"the learned h_0 has shape {tuple(params.h_0.shape)} and the initial state of the window has"
            f" {tuple(h.shape[1:])}: expected one shape; run forward from h_0, or leave it out of params"
        )


# -- windows ------------------------------------------------------------------------------------------------------------


def check_forward(arrays: Arrays, params: Any, x: Any, h_0: Any) -> None:
    """Raise InputError on arguments that `forward` refuses."""
    check_parameters(arrays, params, dtypes=arrays.forward_dtypes)
    arrays.check(x=x, h_0=h_0)
    _check_inputs(params, x, h_0)


def _check_inputs(params: Parameters[Array], x: Array, h_0: Array) -> None:
    """Raise InputError unless inputs x (T, B, D), or classes (T, B), and the state h_0 (B, H) fit the parameters."""
    *E, D, H = params.W_xh.shape
    if is_integer(x) and x.ndim > 1 and 0 not in x.shape:
        _check_classes("x", x, (x.shape[0], x.shape[-1]), tuple(E), D)
        check_fits("h_0", h_0, params, (x.shape[-1], H))
        return
    if x.ndim not in (3, params.W_hh.ndim + 1) or 0 in x.shape:
        raise InputError(f"x has shape {tuple(x.shape)}: expected (T, B, D), time first, with no empty axis")
    check_fits("x", x, params, (x.shape[0], x.shape[-2], D))
    check_fits("h_0", h_0, params, (x.shape[-2], H))


def check_loss(arrays: Arrays, y: Any, target: Any, weights: Any, loss: str) -> None:
    """Raise InputError unless the target, rows or classes, and the weights fit the outputs y (K, *E, B, O)."""
    arrays.check(y=y, target=target)
    check_dtype("y", y, arrays.forward_dtypes)
    if y.ndim < 3 or 0 in y.shape:
        raise InputError(f"y has shape {tuple(y.shape)}: expected (K, B, O), time first, with no empty axis")
    K, *E, B, O = y.shape
    if loss == CROSS_ENTROPY and is_integer(target):
        _check_classes("target", target, (K, B), tuple(E), O)
    else:
        if not fits(tuple(target.shape), (K, B, O), tuple(E)):
            raise InputError(f"target has shape {tuple(target.shape)}: expected {tuple(y.shape)}, the shape of y")
        if target.dtype != y.dtype and "complex" not in str(y.dtype):
            raise InputError(f"target is {target.dtype} and y is {y.dtype}: expected one dtype; convert one")
        if loss == CROSS_ENTROPY:
            check_distributions("target", target)
    _check_weights(arrays, weights, (K, B), y.dtype)


def check_window(
    arrays: Arrays, params: Any, activations: Any, target: Any, weights: Any, objective: Objective
) -> None:
    """Raise InputError on arguments that `bptt` and `adjoints` refuse."""
    check_objective(objective)
    check_parameters(arrays, params)
    check_activations(arrays, params, activations)
    _check_target(arrays, params, activations.x, target, weights, objective.loss)


def _check_target(arrays: Arrays, params: Parameters[Array], x: Array, target: Any, weights: Any, loss: str) -> None:
    """Raise InputError unless a target (K, B, O), or classes (K, B), and weights (K, B) fit the window of x, K ≤ T."""
    arrays.check(target=target)
    T, B, E, O = x.shape[0], x.shape[-1 if is_integer(x) else -2], params.W_hy.shape[:-2], params.W_hy.shape[-1]
    K = target.shape[0] if target.ndim else T
    if not 1 <= K <= T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")
    if loss == CROSS_ENTROPY and is_integer(target):
        _check_classes("target", target, (K, B), tuple(E), O)
    else:
        check_fits("target", target, params, (K, B, O))
        if loss == CROSS_ENTROPY:
            check_distributions("target", target)
    _check_weights(arrays, weights, (K, B), params.W_hh.dtype)


# -- options ------------------------------------------------------------------------------------------------------------


def check_objective(objective: Objective) -> Objective:
    """The objective. Raises InputError on a name that is unknown."""
    for option, name in objective._asdict().items():
        if not (isinstance(name, str) and name in NAMES[option]):
            given = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise InputError(f"unknown {option} {given}: expected {' or '.join(NAMES[option])}")
    return objective


def check_schedule(schedule: Schedule) -> Schedule:
    """The schedule in plain integers. Raises InputError unless 1 ≤ k1 ≤ k2 and epochs is 0 or more."""
    k1, k2 = (_check_size(name, k, 1, "a whole number of steps") for name, k in zip(("k1", "k2"), schedule[:2]))
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must contain the k1 new steps of its"
            f" update; choose k2 ≥ {k1}"
        )
    return Schedule(k1, k2, _check_size("epochs", schedule.epochs, 0))


def _check_size(name: str, value: Any, least: int, what: str = "a whole number") -> int:
    size = check_whole(name, value, least, what)
    if size > maxsize:
        raise InputError(f"{name} is {shown(size)}: expected {what}, at most {maxsize}")
    return size


def check_step(step: Step) -> Step:
    """The step in plain numbers, but for its learning rate. Raises InputError on options that no step can have."""
    rate, momentum, dampening, nesterov, weight_decay, adagrad, *limits = step
    for name, value in (("momentum", momentum), ("weight decay", weight_decay)):
        check_number(name, value, 0, "a finite number, 0 or more")
    check_number("dampening", dampening, -inf, "a finite number, usually from 0 to 1")
    for name, limit in zip(("max norm", "max value"), limits):
        if limit is not None:
            check_limit(name, limit)
    if None not in limits:
        raise InputError(
            f"max norm is {limits[0]} and max value is {limits[1]}: expected one of the two limits; leave the other out"
        )
    check_flag("nesterov", nesterov)
    check_flag("adagrad", adagrad)
    if adagrad and (momentum != 0 or dampening != 0 or nesterov):
        raise InputError(
            f"adagrad is given with momentum {shown(momentum)}, dampening {shown(dampening)} and nesterov {nesterov}:"
            " expected no momentum; leave adagrad or the others out"
        )
    if nesterov and (momentum == 0 or dampening != 0):
        raise InputError(
            f"nesterov needs momentum above 0 and dampening 0: they are {shown(momentum)} and {shown(dampening)}"
        )
    max_norm, max_value = (limit and float(limit) for limit in limits)
    numbers = float(momentum), float(dampening), bool(nesterov), float(weight_decay), bool(adagrad)
    return Step(rate, *numbers, max_norm, max_value)


def check_limit(name: str, limit: Any) -> float:
    """The limit of clipping. Raises InputError unless it is a finite number above 0."""
    expected = "a finite number above 0"
    check_number(name, limit, 0, expected)
    if limit == 0:
        raise InputError(f"{name} is {limit}: expected {expected}")
    return float(limit)


def check_learning_rate(params: Parameters[Array], learning_rate: Any) -> None:
    """Raise InputError unless it is a finite number, 0 or more, or one for every network, of the ensemble's shape E."""
    E, shape = tuple(params.W_hh.shape[:-2]), tuple(getattr(learning_rate, "shape", ()))
    if shape and (len(shape) != len(E) or any(axis not in (1, size) for axis, size in zip(shape, E))):
        raise InputError(f"the learning rate has shape {shape}: expected a number, or one per network, of shape {E}")
    if hasattr(learning_rate, "dtype"):
        if not dtype_name(learning_rate.dtype).startswith(("float", "int", "uint")):
            raise InputError(f"the learning rate is {learning_rate.dtype}: expected floating-point numbers")
        learning_rate = learning_rate if shape else float(learning_rate)
    if not shape:
        check_number("the learning rate", learning_rate, 0, "a finite number, 0 or more")
    elif not (is_finite(learning_rate) and float(learning_rate.min()) >= 0):
        raise InputError(f"the learning rate is {shown(learning_rate)}: expected finite numbers, 0 or more")


def check_yield_every(yield_every: Any) -> YieldEvery:
    """The number of updates, or "epoch". Raises InputError on anything else."""
    if isinstance(yield_every, str) and yield_every == EPOCH:
        return "epoch"
    return check_whole("yield_every", yield_every, 1, "'epoch', or a whole number of updates")


# -- runs ---------------------------------------------------------------------------------------------------------------


def check_run(arrays: Arrays, run: Run, resume: Any = None) -> Run:
    """The run with plain numbers, and with the parameters of the state to resume from.

    Raises InputError on arguments that `train` refuses.
    """
    params, x, target, h_0, weights, options = run
    schedule, objective = check_schedule(options.schedule), check_objective(options.objective)
    step = check_step(options.step)
    if resume is not None:
        check_state(arrays, resume)
        params = resume.parameters
    check_parameters(arrays, params)
    arrays.check(x=x, target=target)
    _check_inputs(params, x, check_initial_state(arrays, params, h_0))
    if target.ndim and target.shape[0] != x.shape[0]:
        raise InputError(f"target has {target.shape[0]} steps: expected {x.shape[0]}, one for every step of x")
    check_learning_rate(params, step.learning_rate)
    _check_target(arrays, params, x, target, weights, objective.loss)
    for name, array in {"x": x, "h_0": h_0, "target": target, **params._asdict()}.items():
        if array is not None:
            check_finite(name, array)
    if resume is not None:
        _check_resume(resume, x, schedule)
        check_squares(resume.velocity, step)
    return run._replace(params=params, options=RunOptions(schedule, objective, step))


def check_initial_state(arrays: Arrays, params: Parameters[Array], h_0: Any) -> Array:
    """The state that a series starts from: the parameters' own, if they have one, or else h_0.

    Raises InputError unless there is exactly one of the two.
    """
    if h_0 is not None:
        arrays.check(h_0=h_0)
    if (params.h_0 is None) == (h_0 is None):
        raise InputError(
            "no initial state: expected h_0, or parameters with a learned one"
            if h_0 is None
            else "h_0 is given and the parameters have a learned one: expected None for h_0, or parameters without"
        )
    return params.h_0 if h_0 is None else h_0


def check_state(arrays: Arrays, state: Any) -> None:
    """Raise InputError unless this is a State whose h and velocity fit its parameters and are finite."""
    if not isinstance(state, State):
        raise InputError(f"resume is {_what(state)}: expected State")
    _, _, _, h, params, velocity = state
    arrays.check(h=h)
    arrays.check_record("the parameters of resume", params, Parameters, OPTIONAL)
    check_parameters(arrays, params)
    B, dtype = h.shape[-2] if h.ndim > 1 else 1, params.W_hh.dtype
    shape = (*params.W_hh.shape[:-2], B, params.W_hh.shape[-1])
    if tuple(h.shape) != shape or h.dtype != dtype:
        raise InputError(f"h is {h.dtype} of shape {tuple(h.shape)}: expected {dtype} of shape {shape}")
    check_finite("h", h)
    check_velocity(arrays, params, velocity)


def check_velocity(arrays: Arrays, params: Parameters[Array], velocity: Any) -> None:
    """Raise InputError unless the velocity is None, or fits the parameters, is complete and is finite."""
    if velocity is None:
        return
    _check_like(arrays, params, "velocity", velocity)
    for name, v, theta in zip(Parameters._fields, velocity, params, strict=True):
        if v is not None:
            check_finite(f"the velocity of {name}", v)
        elif theta is not None and name != "h_0":  # which has a velocity from its first gradient on
            raise InputError(f"the state has no velocity of {name}: expected one, as other parameters have one")


def check_squares(velocity: Gradients[Array] | None, step: Step) -> None:
    """Raise InputError if Adagrad is to continue from a velocity that is not a sum of squares."""
    for name, v in zip(Parameters._fields, velocity or ()):
        if step.adagrad and v is not None and bool((v < 0).any()):
            raise InputError(
                f"the velocity of {name} has numbers below 0: expected the sums of squares of Adagrad; do not continue"
                " a run with momentum by Adagrad"
            )


def _check_resume(state: State[Array], x: Array, schedule: Schedule) -> None:
    """Raise InputError unless the state is one of TBPTT(k1, k2) over x."""
    k1, k2, _ = schedule
    epoch = check_whole("the epoch of the state to resume from", state.epoch, 0)
    number = check_whole("the number of the state to resume from", state.number, 0)
    if not isinstance(state.window, tuple):
        raise InputError(
            f"the window of the state to resume from is a {type(state.window).__name__}: expected a Window"
        )
    stop = min(number * k1, len(x))
    expected = Window(max(0, stop - k2), (number - 1) * k1, stop)
    if epoch < 1 or number < 1 or tuple(state.window) != expected:
        raise InputError(
            f"the state to resume from is that after update {number}, window {tuple(state.window)}: expected"
            f" {tuple(expected)} for k1 = {k1}, k2 = {k2} and {len(x)} steps; resume with the arguments of that run"
        )
    *E, H, _ = state.parameters.W_hh.shape
    shape = (*E, x.shape[-1 if is_integer(x) else -2], H)
    if tuple(state.h.shape) != shape:
        raise InputError(f"the state to resume from has h of shape {tuple(state.h.shape)}: expected {shape}")


def check_stream(arrays: Arrays, run: Run, velocity: Any) -> Run:
    """The run on a stream, whose x is an iterable of steps, with plain numbers, and an iterator of checked steps as x.

    Raises InputError on arguments that `train_stream` refuses; its steps are checked when they are read.
    """
    params, steps, _, h_0, _, options = run
    options = RunOptions(check_schedule(options.schedule), check_objective(options.objective), check_step(options.step))
    check_parameters(arrays, params)
    state = check_initial_state(arrays, params, h_0)
    if state.ndim < 2:
        raise InputError(f"h_0 has shape {tuple(state.shape)}: expected (B, H)")
    check_fits("h_0", state, params, (state.shape[-2], params.W_hh.shape[-1]))
    check_learning_rate(params, options.step.learning_rate)
    for name, array in {"h_0": h_0, **params._asdict()}.items():
        if array is not None:
            check_finite(name, array)
    check_velocity(arrays, params, velocity)
    check_squares(velocity, options.step)
    try:
        iterator = iter(steps)
    except TypeError:
        kind = type(steps).__name__
        raise InputError(f"the stream is a {kind}: expected an iterable of pairs (x_t, target_t)") from None
    return run._replace(
        x=_checked_steps(arrays, params, state.shape[-2], iterator, options.objective.loss), options=options
    )


def _checked_steps(
    arrays: Arrays, params: Parameters[Array], B: int, steps: Iterable[Any], loss: str
) -> Iterator[tuple[Array, ...]]:
    """The steps of a stream, (x_t, target_t) or (x_t, target_t, weights_t). Raises InputError on one that is none."""
    form, number = None, 0  # enumerate would keep the step before while the next one is made
    for step in steps:
        number += 1
        try:
            _check_stream_step(arrays, params, B, step, loss)
        except InputError as error:
            raise InputError(f"step {number} of the stream: {error}") from None
        except (TypeError, ValueError, AttributeError):
            raise InputError(
                f"step {number} of the stream is {type(step).__name__}: expected a pair of arrays, or three with"
                " weights"
            ) from None
        if form not in (None, (step[0].ndim, step[1].ndim, len(step))):
            raise InputError(
                f"step {number} of the stream has another form than those before it: expected classes, rows and"
                " weights in the same places"
            )
        form = step[0].ndim, step[1].ndim, len(step)
        yield tuple(step)
        del step


def _check_stream_step(arrays: Arrays, params: Parameters[Array], B: int, step: Any, loss: str) -> None:
    x_t, target_t, *weights_t = step
    if len(weights_t) > isinstance(step, tuple | list):  # an array is no triple
        raise ValueError
    arrays.check(x=x_t, target=target_t)
    for name, array, size in (("x", x_t, params.W_xh.shape[-2]), ("target", target_t, params.W_hy.shape[-1])):
        if is_integer(array) and (name == "x" or loss == CROSS_ENTROPY):
            _check_classes(name, array[None], (1, B), (), size)
            continue
        if tuple(array.shape) != (B, size):
            raise InputError(f"{name} has shape {tuple(array.shape)}: expected {(B, size)}")
        check_fits(name, array, params, (B, size))
        check_finite(name, array)
    if loss == CROSS_ENTROPY and not is_integer(target_t):
        check_distributions("target", target_t[None])
    for weights in weights_t:
        arrays.check(weights=weights)
        _check_weights(arrays, weights[None], (1, B), params.W_hh.dtype)
