"""The windows of TBPTT(k1, k2), on a series and on a stream (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from numpy_rnn.common.checks import check_schedule, is_integer
from numpy_rnn.common.errors import check_integer
from numpy_rnn.common.records import Run, Schedule, Window
from numpy_rnn.parameters import Array, Inputs, Targets, Weights, series_axes, weights_with_axes


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, in order.

    Update n ends at e_n = min(n·k1, T)  (T1)  and its window starts at s_n = max(0, e_n − k2)  (T2). The window is
    (s_n, e_n]; its new steps, those with a loss, are (e_{n-1}, e_n].

    Raises InputError, at once, unless 1 ≤ k1 ≤ k2, and steps is an integer, 0 or more.
    Source: Williams and Peng 1990, BPTT(h; h'); Sutskever 2013, section 2.8.6.
    """
    steps = check_integer("steps", steps, 0)
    schedule = check_schedule(Schedule(k1, k2))
    return (window_before(before, steps, schedule) for before in range(0, steps, schedule.k1))


def window_before(before: int, steps: int, schedule: Schedule) -> Window:
    """The window whose new steps follow step `before`."""
    stop = min(before + schedule.k1, steps)  # (T1)
    start = max(0, stop - schedule.k2)  # (T2)
    return Window(start, before, stop)


class WindowData(NamedTuple):
    """A window with its part of the series or stream, which has the axes of an ensemble or axes of 1 for them."""

    window: Window
    x: Inputs  # of its steps
    target: Targets  # of its new steps
    weights: Weights | None  # (K, 1, .., B, 1), of their losses


class SeriesWindows:
    """The windows of a series: those of every epoch, and where the next one starts."""

    def __init__(self, run: Run):
        ndim = run.params.W_hh.ndim + 1
        self.schedule, self.T = run.options.schedule, len(run.x)
        self.per_epoch = -(-self.T // self.schedule.k1)
        self.x, self.target = series_axes(run.x, ndim), series_axes(run.target, ndim)
        self.weights = weights_with_axes(run.weights, ndim)

    def epoch(self, done: int) -> Iterator[WindowData]:
        """The windows after the first `done` of an epoch."""
        return map(self.part, islice(windows(self.T, *self.schedule[:2]), done, None))

    def part(self, window: Window) -> WindowData:
        """The part of the series that a window takes."""
        start, loss_start, stop = window
        weights = None if self.weights is None else self.weights[loss_start:stop]
        return WindowData(window, self.x[start:stop], self.target[loss_start:stop], weights)

    def next_start(self, window: Window) -> int:
        """The start of the next window; at the end of the series, the end."""
        stop = window.stop
        return stop if stop in (0, self.T) else window_before(stop, self.T, self.schedule).start


def kept(array: Array) -> Array:
    """A copy; classes as int64, since NumPy stacks int64 and uint64 to float64."""
    return array.astype(np.int64) if is_integer(array) else array.copy()


class StreamWindows:
    """The windows of a stream of checked steps, which is read once. The k2 latest steps are kept, as copies."""

    per_epoch = None  # unknown

    def __init__(self, run: Run):
        self.steps, self.schedule, self.ndim = run.x, run.options.schedule, run.params.W_hh.ndim + 1

    def epoch(self, done: int) -> Iterator[WindowData]:
        """The windows of the rest of the stream."""
        k1, k2, _ = self.schedule
        inputs: deque[Array] = deque(maxlen=k2)
        before = 0
        while True:
            rest: list[Any] = []  # targets and weights of the new steps
            for x_t, *rest_t in islice(self.steps, k1):
                inputs.append(
                    kept(x_t)
                )  # now, so that the oldest is freed before the next one is read
                rest.append(tuple(map(kept, rest_t)))
                del x_t, rest_t
            if not rest:
                return
            window = window_before(before, before + len(rest), self.schedule)
            before = window.stop
            x, (target, *weights) = np.stack(list(inputs)), map(np.stack, zip(*rest))
            weighted = weights_with_axes(weights[0] if weights else None, self.ndim)
            yield WindowData(
                window, series_axes(x, self.ndim), series_axes(target, self.ndim), weighted
            )

    def next_start(self, window: Window) -> int:
        """The latest step."""
        return window.stop


Windows: TypeAlias = SeriesWindows | StreamWindows
