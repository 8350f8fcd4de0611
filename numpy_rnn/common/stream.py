"""The windows of a stream: steps that come one by one, and that are kept no longer than a window needs them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from numpy_rnn.common.arrays import Arrays
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Array, Parameters
from numpy_rnn.common.shapes import check_fits, is_finite
from numpy_rnn.common.windows import Window, check_truncation


def stream_windows(
    arrays: Arrays,
    params: Parameters,
    B: int,
    steps: Iterable[tuple[Array, Array]],
    k1: int,
    k2: int,
    stack: Callable[[list[Array]], Array],
    copy_of: Callable[[Array], Array],
) -> Iterator[tuple[Window, Array, Array]]:
    """(window, x of its steps, target of its new steps), as the steps (x_t, target_t) come; the schedule of `windows`.

    x_t: (B, D), target_t: (B, O); arrays: the kind of the backend; stack: from a list of such rows to (T, B, N). Copies
    of at most k2 steps are held at a time, so the stream may be endless, and may fill one array again and again.

    Raises InputError, at once, unless 1 ≤ k1 ≤ k2; and on a step that does not fit the parameters or is not finite,
    when it comes.
    """
    check_truncation(k1, k2)
    try:
        steps = iter(steps)
    except TypeError:
        kind = type(steps).__name__
        raise InputError(f"the stream is a {kind}: expected an iterable of pairs (x_t, target_t)") from None
    return _windows(arrays, params, B, steps, k1, k2, stack, copy_of)


def _windows(arrays, params, B, steps, k1, k2, stack, copy_of):
    inputs: deque[Array] = deque(maxlen=k2)
    stop = 0
    while True:
        before, targets = stop, []
        for step in islice(steps, k1):
            stop += 1  # (T1)
            x_t, target_t = map(copy_of, _checked(arrays, params, B, step, stop))
            inputs.append(x_t)  # at once, so that the oldest is let go before the next one comes
            targets.append(target_t)
            del step
        if not targets:
            return
        start = stop - k2 if stop > k2 else 0  # (T2)
        yield Window(start, before, stop), stack(list(inputs)), stack(targets)


def _checked(arrays, params, B, step, number):
    try:
        x_t, target_t = step
        arrays.check(x=x_t, target=target_t)
        for name, array, size in (("x", x_t, params.W_xh.shape[-2]), ("target", target_t, params.W_hy.shape[-1])):
            if tuple(array.shape) != (B, size):
                raise InputError(f"{name} has shape {tuple(array.shape)}: expected {(B, size)}")
            check_fits(name, array, params, (B, size))
    except InputError as error:
        raise InputError(f"step {number} of the stream: {error}") from None
    except (TypeError, ValueError, AttributeError):
        raise InputError(f"step {number} of the stream is {type(step).__name__}: expected a pair of arrays") from None
    if not (is_finite(x_t) and is_finite(target_t)):
        raise InputError(f"step {number} of the stream holds NaN or infinity: expected finite numbers")
    return x_t, target_t
