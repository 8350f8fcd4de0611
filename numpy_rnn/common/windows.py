"""The window schedule of TBPTT(k1, k2) (DERIVATION.md, section 5)."""

from collections.abc import Iterator
from typing import NamedTuple

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.scalars import check_whole


class Window(NamedTuple):
    """The steps (start, stop] of a series, of which (counted_from, stop] carry a loss.

    Steps are numbered from 1, so as Python slices the inputs of the window are x[start:stop], its counted targets
    target[counted_from:stop], and the state that enters it is h[start].
    """

    start: int  # s_n
    counted_from: int  # e_{n-1}
    stop: int  # e_n

    @property
    def steps(self) -> int:
        """T of the window: how many steps it runs over, at most k2."""
        return self.stop - self.start

    @property
    def counted(self) -> int:
        """K of the window: how many of its steps are new, and so carry a loss; at most k1."""
        return self.stop - self.counted_from


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, in order.

    Update n ends at e_n = min(n·k1, T)  (T1)  and starts at s_n = max(0, e_n − k2)  (T2); its new steps, the ones whose
    loss is counted, are (e_{n-1}, e_n].

    Raises InputError, at once, unless 1 ≤ k1 ≤ k2, and steps is a whole number, 0 or more.
    Source: Williams and Peng 1990, BPTT(h; h'); Sutskever 2013, section 2.8.6.
    """
    check_whole("steps", steps, 0)
    check_truncation(k1, k2)
    return _schedule(steps, k1, k2)


def check_truncation(k1: int, k2: int) -> None:
    """Raise InputError unless 1 ≤ k1 ≤ k2, whole numbers both."""
    for name, k in (("k1", k1), ("k2", k2)):
        check_whole(name, k, 1, "a whole number of steps")
    if k2 < k1:
        raise InputError(
            f"k2 = {k2} is smaller than k1 = {k1}: an update brings k1 new steps, and its window of k2 steps must hold"
            f" them all, or some losses would have no gradient; choose k2 ≥ {k1}"
        )


def next_start(window: Window, steps: int | None, k1: int, k2: int) -> int:
    """Where the window after this one starts; its stop at the end of the series, and on a stream, where steps is None."""
    if steps is None or window.stop == steps:
        return window.stop
    return max(0, min(window.stop + k1, steps) - k2)  # (T1), (T2)


def _schedule(steps, k1, k2):
    for before in range(0, steps, k1):
        stop = before + k1 if before + k1 < steps else steps  # (T1)
        start = stop - k2 if stop > k2 else 0  # (T2)
        yield Window(start, before, stop)
