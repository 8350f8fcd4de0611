"""Do these arrays fit together? Asked before anything is computed, so that nothing broadcasts by accident.

Only `.shape`, `.ndim`, `.dtype` and `.reshape` are used, so NumPy arrays and torch tensors are served alike.
"""

from math import inf, isfinite
from numbers import Integral

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Array, Parameters


def with_ensemble_axes(sequence: Array, ndim: int) -> Array:
    """(T, B, N) → (T, 1.., B, N) of `ndim` axes, so that one series serves all networks."""
    missing = ndim - sequence.ndim
    return sequence.reshape(sequence.shape[0], *(1,) * missing, *sequence.shape[1:]) if missing > 0 else sequence


def fits(given: tuple[int, ...], shape: tuple[int, ...], E: tuple[int, ...]) -> bool:
    """Whether `given` is `shape`, or `shape` with the axes E of an ensemble before its last two, each of its size or 1.

    An axis of 1 is shared by the networks along it.
    """
    axes = given[len(shape) - 2 : -2]
    shared_or_own = len(axes) == len(E) and all(axis in (1, size) for axis, size in zip(axes, E))
    return given == shape or (shared_or_own and given == (*shape[:-2], *axes, *shape[-2:]))


def target_for(y: Array, target: Array) -> Array:
    """The target (K, B, O) or (K, *E, B, O), with the number of axes that y (K, *E, B, O) has.

    Raises InputError where their shapes differ: a target that broadcasts would make another loss, silently.
    """
    if y.ndim < 3:
        raise InputError(f"y has shape {tuple(y.shape)}: expected (K, B, O), time first")
    K, *E, B, O = y.shape
    if not fits(tuple(target.shape), (K, B, O), tuple(E)):
        raise InputError(f"target has shape {tuple(target.shape)}: expected {tuple(y.shape)}, the shape of y")
    return with_ensemble_axes(target, y.ndim)


def check_fits(name: str, array: Array, params: Parameters, shape: tuple[int, ...]) -> None:
    """Raise InputError unless the array `fits` this shape and the parameters' ensemble, in the parameters' dtype."""
    E = tuple(params.W_hh.shape[:-2])
    if not fits(tuple(array.shape), shape, E):
        alternative = f" or {(*shape[:-2], *E, *shape[-2:])}" if E else ""
        raise InputError(f"{name} has shape {tuple(array.shape)}: expected {shape}{alternative}")
    if array.dtype != params.W_hh.dtype:
        raise InputError(
            f"{name} is {array.dtype} and the parameters are {params.W_hh.dtype}: expected one dtype; convert one"
        )


def check_inputs(params: Parameters, x: Array, h_0: Array) -> None:
    """Raise InputError unless inputs x (T, B, D) and the entering state h_0 (B, H) fit the parameters."""
    *_, D, H = params.W_xh.shape
    if x.ndim not in (3, params.W_hh.ndim + 1) or 0 in x.shape:
        raise InputError(f"x has shape {tuple(x.shape)}: expected (T, B, D), time first, with no axis empty")
    check_fits("x", x, params, (x.shape[0], x.shape[-2], D))
    check_fits("h_0", h_0, params, (x.shape[-2], H))


def check_target(params: Parameters, target: Array, x: Array) -> None:
    """Raise InputError unless the target is (K, B, O) with 1 ≤ K ≤ T, for inputs x of T steps."""
    if not 1 <= target.shape[0] <= x.shape[0]:
        raise InputError(
            f"target has {target.shape[0]} steps and x has {x.shape[0]}: expected between 1 and {x.shape[0]}"
        )
    check_fits("target", target, params, (target.shape[0], x.shape[-2], params.W_hy.shape[-1]))


def check_parameters(params: Parameters) -> None:
    """Raise InputError unless the parameters are one network's, or one ensemble's, in one dtype."""
    W_xh, W_hh, W_hy, b_h, b_y = params
    for name, theta in params._asdict().items():
        axes = 2 if name.startswith("W") else 1
        if theta is not None and theta.ndim < axes:
            raise InputError(f"{name} has shape {tuple(theta.shape)}: expected {axes} axes, after those of an ensemble")
    if (b_h is None) != (b_y is None):
        given, absent = ("b_y", "b_h") if b_h is None else ("b_h", "b_y")
        raise InputError(f"{given} is there and {absent} is not: expected both biases or neither")
    if W_hh.shape[-1] != W_hh.shape[-2]:
        raise InputError(f"W_hh has shape {tuple(W_hh.shape)}: expected as many rows as columns, hidden to hidden")
    *E, H = W_hh.shape[:-1]
    D, O = W_xh.shape[-2], W_hy.shape[-1]
    expected = Parameters((*E, D, H), (*E, H, H), (*E, H, O), (*E, H), (*E, O))
    for name, theta, shape in zip(Parameters._fields, params, expected, strict=True):
        if theta is not None and tuple(theta.shape) != shape:
            raise InputError(f"{name} has shape {tuple(theta.shape)}: expected {shape}, to fit W_hh and its neighbours")
        if theta is not None and theta.dtype != W_hh.dtype:
            raise InputError(f"{name} is {theta.dtype} and W_hh is {W_hh.dtype}: expected one dtype for all parameters")


def check_run(params: Parameters, x: Array, target: Array, h_0: Array, epochs: int, learning_rate: float) -> None:
    """Raise InputError unless a training run can start from these."""
    check_parameters(params)
    check_inputs(params, x, h_0)
    if target.shape[0] != x.shape[0]:
        raise InputError(f"target has {target.shape[0]} steps: expected {x.shape[0]}, one for every step of x")
    check_target(params, target, x)
    for name, array in {"x": x, "target": target, "h_0": h_0, **params._asdict()}.items():
        if array is not None and not bool((abs(array) < inf).all()):
            raise InputError(f"{name} holds NaN or infinity: expected finite numbers")
    if not isinstance(epochs, Integral) or epochs < 0:
        raise InputError(f"epochs is {epochs!r}: expected a whole number, 0 or more")
    if not isfinite(learning_rate):
        raise InputError(f"the learning rate is {learning_rate}: expected a finite number")
