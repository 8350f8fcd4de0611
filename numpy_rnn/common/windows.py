"""The window schedule of TBPTT(k1, k2) (DERIVATION.md, section 5)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from numpy_rnn.common.arrays import CROSS_ENTROPY, Arrays, check_distributions, check_weights
from numpy_rnn.common.errors import InputError, check_whole
from numpy_rnn.common.records import Array, Parameters
from numpy_rnn.common.records import Window as Window
from numpy_rnn.common.shapes import check_classes, check_fits, is_finite, is_integer


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, in order.

    Update n ends at e_n = min(n·k1, T)  (T1)  and its window starts at s_n = max(0, e_n − k2)  (T2). The window is
    (s_n, e_n]; its new steps, those with a loss, are (e_{n-1}, e_n].

    Raises InputError, at once, unless 1 ≤ k1 ≤ k2, and steps is an integer, 0 or more.
    Source: Williams and Peng 1990, BPTT(h; h'); Sutskever 2013, section 2.8.6.
    """
    check_whole("steps", steps, 0)
    check_truncation(k1, k2)
    return _schedule(steps, k1, k2)


def check_truncation(k1: int, k2: int) -> None:
    """Raise InputError unless k1 and k2 are integers with 1 ≤ k1 ≤ k2."""
    for name, k in (("k1", k1), ("k2", k2)):
        check_whole(name, k, 1, "a whole number of steps")
    if k2 < k1:
        raise InputError(
            f"k2 is {k2} and k1 is {k1}: expected k2 ≥ k1, because the window must contain the k1 new steps of its"
            f" update; choose k2 ≥ {k1}"
        )


def next_start(window: Window, steps: int | None, k1: int, k2: int) -> int:
    """The start of the next window; the stop of this one at the end of the series, and where steps is None."""
    if steps is None or window.stop == steps:
        return window.stop
    return max(0, min(window.stop + k1, steps) - k2)  # (T1), (T2)


def _schedule(steps: int, k1: int, k2: int) -> Iterator[Window]:
    for before in range(0, steps, k1):
        stop = before + k1 if before + k1 < steps else steps  # (T1)
        start = stop - k2 if stop > k2 else 0  # (T2)
        yield Window(start, before, stop)


def stream_windows(
    arrays: Arrays,
    params: Parameters[Array],
    B: int,
    steps: Iterable[tuple[Array, ...]],
    k1: int,
    k2: int,
    loss: str,
    stack: Callable[[list[Array]], Array],
    copy_of: Callable[[Array], Array],
) -> Iterator[tuple[Window, Array, Array, Array | None]]:
    """Yields (window, x of its steps, target of its new steps, their weights or None) by the schedule of `windows`.

    steps: of (x_t, target_t), or (x_t, target_t, weights_t) with weights (B,); x_t: (B, D), or classes (B,); target_t:
    (B, O), under the loss "cross_entropy" or classes (B,); arrays: those of the backend; stack: makes (T, B, N) of a
    list of such rows. At most k2 steps are kept, as copies, so the stream may be infinite, and may reuse its arrays.

    Raises InputError unless 1 ≤ k1 ≤ k2, and, when it is read, on a step that does not fit the parameters or is not
    finite.
    """
    check_truncation(k1, k2)
    try:
        iterator = iter(steps)
    except TypeError:
        kind = type(steps).__name__
        raise InputError(f"the stream is a {kind}: expected an iterable of pairs (x_t, target_t)") from None
    return _windows(arrays, params, B, iterator, k1, k2, loss, stack, copy_of)


def _windows(
    arrays: Arrays,
    params: Parameters[Array],
    B: int,
    steps: Iterator[tuple[Array, Array]],
    k1: int,
    k2: int,
    loss: str,
    stack: Callable[[list[Array]], Array],
    copy_of: Callable[[Array], Array],
) -> Iterator[tuple[Window, Array, Array, Array | None]]:
    inputs: deque[Array] = deque(maxlen=k2)
    stop, form = 0, None
    while True:
        before = stop
        targets: list[Array] = []
        weights: list[Array] = []
        for step in islice(steps, k1):
            stop += 1  # (T1)
            x_t, target_t, *weights_t = map(copy_of, _checked(arrays, params, B, step, stop, loss))
            if form not in (None, (x_t.ndim, target_t.ndim, len(weights_t))):
                raise InputError(
                    f"step {stop} of the stream has another form than those before it: expected classes, rows and"
                    " weights in the same places"
                )
            form = x_t.ndim, target_t.ndim, len(weights_t)
            inputs.append(x_t)  # now, so that the oldest is freed before the next one is read
            targets.append(target_t)
            weights += weights_t
            del step
        if not targets:
            return
        start = stop - k2 if stop > k2 else 0  # (T2)
        yield Window(start, before, stop), stack(list(inputs)), stack(targets), stack(weights) if weights else None


def _checked(
    arrays: Arrays, params: Parameters[Array], B: int, step: tuple[Array, ...], number: int, loss: str
) -> tuple[Array, ...]:
    try:
        x_t, target_t, *weights_t = step
        if len(weights_t) > isinstance(step, tuple | list):  # an array is no triple
            raise ValueError
        arrays.check(x=x_t, target=target_t)
        for name, array, size in (("x", x_t, params.W_xh.shape[-2]), ("target", target_t, params.W_hy.shape[-1])):
            if is_integer(array) and (name == "x" or loss == CROSS_ENTROPY):
                check_classes(name, array[None], (1, B), (), size)
                continue
            if tuple(array.shape) != (B, size):
                raise InputError(f"{name} has shape {tuple(array.shape)}: expected {(B, size)}")
            check_fits(name, array, params, (B, size))
        for weights in weights_t:
            arrays.check(weights=weights)
            check_weights(arrays, weights[None], (1, B), params.W_hh.dtype)
    except InputError as error:
        raise InputError(f"step {number} of the stream: {error}") from None
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"step {number} of the stream is {type(step).__name__}: expected a pair of arrays, or three with weights"
        ) from None
    if not (is_finite(x_t) and is_finite(target_t)):
        raise InputError(f"step {number} of the stream contains NaN or infinity: expected finite numbers")
    if loss == CROSS_ENTROPY and not is_integer(target_t):
        check_distributions(f"step {number} of the stream: target", target_t[None])
    return x_t, target_t, *weights_t
