"""Checks of shapes, dtypes and finite values, made before anything is computed: nothing broadcasts by accident.

Only methods that NumPy arrays and torch tensors both have are used.
"""

from functools import cache
from math import inf, isfinite
from typing import Any

from numpy_rnn.common.errors import InputError, check_whole, shown
from numpy_rnn.common.records import DTYPES, Activations, Array, Gradients, Parameters

CHUNK = 4096  # steps of a series that are checked at a time


def with_ensemble_axes(sequence: Array, ndim: int) -> Array:
    """(T, B, N) → (T, 1, ..., B, N) with `ndim` axes, so that the networks of an ensemble share the series."""
    missing = ndim - sequence.ndim
    return sequence.reshape(sequence.shape[0], *(1,) * missing, *sequence.shape[1:]) if missing > 0 else sequence


def is_integer(array: Array) -> bool:
    """Whether the array holds classes: integers, each for the row that has a 1 at its place and 0 elsewhere.

    Classes have one axis less than the rows: (T, B) for (T, B, N), or (T, *E, B) with a series for every network.
    """
    return "int" in str(array.dtype)  # of NumPy or of torch


def series_axes(series: Array, ndim: int) -> Array:
    """The series with the axes of an ensemble: `ndim` axes, classes one less."""
    return with_ensemble_axes(series, ndim - is_integer(series))


def fits(given: tuple[int, ...], shape: tuple[int, ...], E: tuple[int, ...]) -> bool:
    """Whether `given` is `shape`, or `shape` with the axes E of an ensemble before its last two, each of its size or 1.

    The networks along an axis of size 1 share the array.
    """
    axes = given[len(shape) - 2 : -2]
    shared_or_own = len(axes) == len(E) and all(axis in (1, size) for axis, size in zip(axes, E))
    return given == shape or (shared_or_own and given == (*shape[:-2], *axes, *shape[-2:]))


def target_for(y: Array, target: Array) -> Array:
    """The target (K, B, O) or (K, *E, B, O), with the number of axes that y (K, *E, B, O) has.

    Raises InputError where their shapes differ: a target that broadcasts would silently compute another loss.
    """
    if y.ndim < 3 or 0 in y.shape:
        raise InputError(f"y has shape {tuple(y.shape)}: expected (K, B, O), time first, with no empty axis")
    K, *E, B, O = y.shape
    if not fits(tuple(target.shape), (K, B, O), tuple(E)):
        raise InputError(f"target has shape {tuple(target.shape)}: expected {tuple(y.shape)}, the shape of y")
    if target.dtype != y.dtype and "complex" not in str(y.dtype):
        raise InputError(f"target is {target.dtype} and y is {y.dtype}: expected one dtype; convert one")
    return with_ensemble_axes(target, y.ndim)


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


def check_classes(name: str, classes: Array, shape: tuple[int, ...], E: tuple[int, ...], size: int) -> None:
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


def check_inputs(params: Parameters[Array], x: Array, h_0: Array) -> None:
    """Raise InputError unless inputs x (T, B, D), or classes (T, B), and the state h_0 (B, H) fit the parameters."""
    *E, D, H = params.W_xh.shape
    if is_integer(x) and x.ndim > 1 and 0 not in x.shape:
        check_classes("x", x, (x.shape[0], x.shape[-1]), tuple(E), D)
        check_fits("h_0", h_0, params, (x.shape[-1], H))
        return
    if x.ndim not in (3, params.W_hh.ndim + 1) or 0 in x.shape:
        raise InputError(f"x has shape {tuple(x.shape)}: expected (T, B, D), time first, with no empty axis")
    check_fits("x", x, params, (x.shape[0], x.shape[-2], D))
    check_fits("h_0", h_0, params, (x.shape[-2], H))


def check_activations(params: Parameters[Array], activations: Activations[Array]) -> None:
    """Raise InputError unless the activations are those of a window, in the parameters' shapes and dtype."""
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


def expand_to(value: Array, theta: Array) -> Array:
    """A value of shape E, or (), with trailing axes added so that it broadcasts with an array (*E, ...)."""
    return value.reshape(*value.shape, *(1,) * (theta.ndim - value.ndim)) if value.ndim else value


def check_parameters(params: Parameters[Array], *, both_biases: bool = True, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Raise InputError unless the parameters are those of a network or an ensemble, in one of these dtypes.

    both_biases: whether to refuse one bias without the other.
    """
    _, _, _, b_h, b_y, _ = params
    if both_biases and (b_h is None) != (b_y is None):
        given, absent = ("b_y", "b_h") if b_h is None else ("b_h", "b_y")
        raise InputError(f"{given} is given without {absent}: expected both biases or neither")
    _check_network(params, "", dtypes)


def check_gradients(gradients: Gradients[Array]) -> None:
    """Raise InputError unless the gradients, some of which may be None, are those of a network, or of an ensemble."""
    _check_network(gradients, "the gradient of ", DTYPES)


def check_like(params: Parameters[Array], what: str, value: Gradients[Array]) -> None:
    """Raise InputError unless each array of the value, a `what`, is None or has its parameter's shape and dtype."""
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


def _check_network(params: Parameters[Array], of: str, dtypes: tuple[str, ...]) -> None:
    W_xh, W_hh, W_hy, _, b_y, h_0 = params
    for name, theta in zip(Parameters._fields, params):
        axes = 1 if name.startswith("b") else 2
        if theta is not None and theta.ndim < axes:
            raise InputError(
                f"{of}{name} has shape {tuple(theta.shape)}: expected {axes} axes, after those of an ensemble"
            )
        if theta is not None and 0 in theta.shape:
            raise InputError(f"{of}{name} has shape {tuple(theta.shape)}: expected no empty axis")
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


def check_dtype(name: str, array: Array, dtypes: tuple[str, ...]) -> None:
    """Raise InputError unless its dtype is one of these, in the byte order of this machine."""
    if _name_of(array.dtype) not in dtypes:
        raise InputError(
            f"{name} is {array.dtype}: expected {' or '.join(DTYPES)}, in the byte order of this machine; convert it"
        )


@cache
def _name_of(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def check_initial_state(params: Parameters[Array], h_0: Array | None) -> Array:
    """The state that a series starts from: the parameters' own, if they have one, or else h_0.

    Raises InputError unless there is exactly one of the two.
    """
    if (params.h_0 is None) == (h_0 is None):
        raise InputError(
            "no initial state: expected h_0, or parameters with a learned one"
            if h_0 is None
            else "h_0 is given and the parameters have a learned one: expected None for h_0, or parameters without"
        )
    return params.h_0 if h_0 is None else h_0


def check_run(params: Parameters[Array], x: Array, target: Array, h_0: Array | None, learning_rate: Any) -> None:
    """Raise InputError unless a training run can start from these."""
    check_parameters(params)
    check_inputs(params, x, check_initial_state(params, h_0))
    if target.ndim and target.shape[0] != x.shape[0]:
        raise InputError(f"target has {target.shape[0]} steps: expected {x.shape[0]}, one for every step of x")
    check_learning_rate(params, learning_rate)
    for name, array in {"x": x, "h_0": h_0}.items():
        if array is not None:
            check_finite(name, array)
    check_finite_parameters(params)


def check_stream(params: Parameters[Array], h_0: Array | None, learning_rate: Any) -> Array:
    """The state that the stream starts from. Raises InputError unless training on one can start from these."""
    check_parameters(params)
    state = check_initial_state(params, h_0)
    if state.ndim < 2:
        raise InputError(f"h_0 has shape {tuple(state.shape)}: expected (B, H)")
    check_fits("h_0", state, params, (state.shape[-2], params.W_hh.shape[-1]))
    check_learning_rate(params, learning_rate)
    check_finite("h_0", state)
    check_finite_parameters(params)
    return state


def check_learning_rate(params: Parameters[Array], learning_rate: Any) -> None:
    """Raise InputError unless it is a finite number, 0 or more, or one for every network, of the ensemble's shape E."""
    E = tuple(params.W_hh.shape[:-2])
    shape = tuple(getattr(learning_rate, "shape", ()))
    if shape and (len(shape) != len(E) or any(axis not in (1, size) for axis, size in zip(shape, E))):
        raise InputError(f"the learning rate has shape {shape}: expected a number, or one per network, of shape {E}")
    try:
        usable = not isinstance(learning_rate, bool) and _minimum(learning_rate, shape) >= 0
        usable = usable and (is_finite(learning_rate) if shape else isfinite(learning_rate))
    except OverflowError:
        usable = False
    except TypeError:
        kind = type(learning_rate).__name__
        raise InputError(f"the learning rate is a {kind}: expected a number, or an array of shape {E}") from None
    if not usable:
        raise InputError(f"the learning rate is {shown(learning_rate)}: expected finite numbers, 0 or more")


def _minimum(learning_rate: Any, shape: tuple[int, ...]) -> Any:
    return learning_rate.min() if shape else learning_rate


def check_finite_parameters(params: Parameters[Array]) -> None:
    """Raise InputError when a parameter is NaN or infinite."""
    for name, theta in params._asdict().items():
        if theta is not None:
            check_finite(name, theta)


def check_finite(name: str, array: Array) -> None:
    """Raise InputError when the array contains NaN or infinity."""
    if not is_finite(array):
        raise InputError(f"{name} contains NaN or infinity: expected finite numbers")


def is_finite(array: Array) -> bool:
    """Whether all values are finite; a long series is checked in chunks, so that it may be larger than the memory."""
    if array.ndim > 2 and len(array) > CHUNK:
        return all(is_finite(array[first : first + CHUNK]) for first in range(0, len(array), CHUNK))
    return bool((abs(array) < inf).all())


def check_epochs(epochs: int) -> None:
    """Raise InputError unless it is an integer, 0 or more."""
    check_whole("epochs", epochs, 0)
