"""Checks of targets and loss weights. As in `shapes`, only methods that NumPy and torch both have are used."""

from numpy_rnn.common.arrays import Arrays
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Array, Parameters
from numpy_rnn.common.shapes import (
    check_classes,
    check_fits,
    is_finite,
    is_integer,
    target_for,
    with_ensemble_axes,
)

CHUNK = 4096  # steps of a series that are checked at a time
MAX_OFF = 1e-3  # how far the sum of a distribution may be from 1, so that rounded ones of any origin are accepted

SQUARED_ERROR, CROSS_ENTROPY = "squared_error", "cross_entropy"


def check_distributions(name: str, rows: Array) -> None:
    """Raise InputError unless every row is a distribution: finite numbers of 0 or more, whose sum is 1."""
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        if not is_finite(chunk):
            raise InputError(f"{name} holds NaN or infinity: expected finite numbers")
        if float(chunk.min()) < 0:
            raise InputError(f"{name} holds {float(chunk.min())}: expected distributions, of numbers of 0 or more")
        sums = chunk.sum(-1)
        for extreme in (float(sums.min()), float(sums.max())):
            if abs(extreme - 1) > MAX_OFF:
                raise InputError(f"{name} has a row whose sum is {extreme}: expected distributions, whose sum is 1")


def check_loss(arrays: Arrays, y: Array, target: Array, weights: Array | None, loss: str) -> None:
    """Raise InputError unless the target, rows or classes, and the weights fit the outputs y (K, *E, B, O)."""
    arrays.outputs(y, target)
    if _are_classes(target, loss) and y.ndim > 2:
        K, *E, B, O = y.shape
        check_classes("target", target, (K, B), tuple(E), O)
    else:
        target_for(y, target)
        if loss == CROSS_ENTROPY:
            check_distributions("target", target)
    check_weights(arrays, weights, (y.shape[0], y.shape[-2]), y.dtype)


def check_window_loss(
    arrays: Arrays, params: Parameters[Array], target: Array, weights: Array | None, x: Array, loss: str
) -> None:
    """Raise InputError unless a target (K, B, O), or classes (K, B), and weights (K, B) fit a window, with 1 ≤ K ≤ T.

    x: the inputs of its T steps, rows or classes.
    """
    arrays.check(target=target)
    T, B, E, O = x.shape[0], x.shape[-1 if is_integer(x) else -2], params.W_hy.shape[:-2], params.W_hy.shape[-1]
    K = target.shape[0] if target.ndim else T
    if not 1 <= K <= T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")
    if _are_classes(target, loss):
        check_classes("target", target, (K, B), tuple(E), O)
    else:
        check_fits("target", target, params, (K, B, O))
        if loss == CROSS_ENTROPY:
            check_distributions("target", target)
    check_weights(arrays, weights, (K, B), params.W_hh.dtype)


def _are_classes(target: Array, loss: str) -> bool:
    return loss == CROSS_ENTROPY and is_integer(target)


def check_weights(arrays: Arrays, weights: Array | None, shape: tuple[int, int], dtype: object) -> None:
    """Raise InputError unless these are weights (K, B), finite numbers of 0 or more in this dtype, or None."""
    if weights is None:
        return
    arrays.check(weights=weights)
    if tuple(weights.shape) != shape:
        raise InputError(f"weights has shape {tuple(weights.shape)}: expected {shape}, one per step and sequence")
    if weights.dtype != dtype and "complex" not in str(dtype):
        raise InputError(f"weights is {weights.dtype}: expected {dtype}; convert it")
    if not is_finite(weights):
        raise InputError("weights holds NaN or infinity: expected finite numbers")
    if float(weights.min()) < 0:
        raise InputError(f"weights holds {float(weights.min())}: expected numbers of 0 or more")


def weights_with_axes(weights: Array | None, ndim: int) -> Array | None:
    """Weights (K, B) as (K, 1, ..., B, 1) of `ndim` axes, so that they multiply rows; None as it is."""
    return None if weights is None else with_ensemble_axes(weights, ndim - 1)[..., None]
