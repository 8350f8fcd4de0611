"""The plan of a run: its updates in order, the parts of the series that they read, and
their losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from math import ceil
from types import EllipsisType
from typing import NamedTuple

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.checks import TrainingArguments
from numpy_rnn.common.records import Schedule, Window
from numpy_rnn.engine.memory import Layout
from numpy_rnn.engine.objective import window_losses
from numpy_rnn.engine.views import MAX_VIEWED, KeptViews, Views
from numpy_rnn.engine.workspace import Workspace, rows
from numpy_rnn.tbptt import compute_windows

# Bytes of the rows of a workspace; it is larger where one window needs more.
WORKSPACE_BYTES = 2**21
# Workspaces that may have WORKSPACE_BYTES, and MAX_VIEWED steps of views; in a run with
# more of them, each has less.
MAX_WORKSPACES = 32
# Steps of all windows of a part of the series. Every part uses the views of the first.
PART_STEPS = 256


class PlannedUpdate(NamedTuple):
    """An update of an epoch, and its window."""

    views: Views
    number: int
    """From 1."""
    window: Window
    is_yielded: bool


class Plan:
    """The updates of some networks of a run, and their workspace."""

    def __init__(
        self,
        training: TrainingArguments,
        layout: Layout,
        members: EllipsisType | int,
        blocks: int,
    ):
        """members: the index of its networks. blocks: how many plans the run has, which
        share the memory.
        """
        run = training.run
        self.schedule, objective, _ = run.options
        self.by_epoch = training.by_epoch
        self.members = members
        self.x = run.x
        self.target = run.target
        self.h_0 = self.series(run.h_0[None])[0].copy()
        T = len(run.x)
        steps = workspace_steps(layout, self.schedule, T, blocks)
        self.is_whole = steps is None
        k1, k2 = min(self.schedule.k1, T), min(self.schedule.k2, T)
        self.work = Workspace(layout, steps or T, k1, k2, objective)
        self.views = KeptViews(self.work)
        self.losses = CollectedLosses(self.work, T)

    def series(self, values: Array) -> Array:
        """Return the series of these networks: (n, B, ·) or (n, N, B, ·), also of
        classes.
        """
        if is_integer(values):
            values = values[..., None]
        return values if values.ndim == 3 else values[:, self.members]

    def updates(self) -> Iterator[PlannedUpdate]:
        """Return the updates of all epochs."""
        epochs = self.schedule.epochs
        if self.is_whole:
            return chain.from_iterable(repeat(list(self.epoch()), epochs))
        return chain.from_iterable(self.epoch() for _ in range(epochs))

    def epoch(self) -> Iterator[PlannedUpdate]:
        """Yield the updates of one epoch, and load parts of the series as they are
        needed.
        """
        work = self.work
        T = len(self.x)
        for number, window in enumerate(compute_windows(T, self.schedule), start=1):
            if number == 1 or window.stop > work.stop:
                self.load(window)
            is_yielded = window.stop == T or not self.by_epoch
            yield PlannedUpdate(self.views.get(window), number, window, is_yielded)

    def load(self, window: Window) -> None:
        """Load the part of the series that begins with this window."""
        work = self.work
        T = len(self.x)
        k1 = self.schedule.k1
        if self.by_epoch:
            self.losses.collect(window.loss_start)
        room = work.steps - (window.loss_start - window.start)
        end = min(T, window.loss_start + room)
        if end < T:
            end = window.loss_start + room // k1 * k1
        x = self.series(self.x[window.start : end])
        work.load(window.start, x, self.series(self.target[window.loss_start : end]))
        if window.start == 0:
            work.state(0)[...] = self.h_0  # (T3)


def workspace_steps(
    layout: Layout, schedule: Schedule, T: int, blocks: int
) -> int | None:
    """Return the steps of a workspace of a part of the series; None if it has the whole
    series, which is short, and whose views pay.

    T: the steps of the series. blocks: how many workspaces there are.
    """
    k1, k2 = min(schedule.k1, T), min(schedule.k2, T)
    sharing = ceil(blocks / MAX_WORKSPACES)
    numbers = layout.B * (layout.D + layout.H + 2 * layout.O)
    step_bytes = numbers * layout.dtype.itemsize * (layout.networks or 1)
    most_steps = WORKSPACE_BYTES // sharing // step_bytes
    most_viewed = MAX_VIEWED // sharing
    viewed = ceil(T / k1) * k2
    pays = viewed <= min(schedule.epochs * PART_STEPS, most_viewed)
    if pays and most_steps >= T:
        return None
    most_windows = max(1, min(PART_STEPS, most_viewed // 3) // k2)
    part_steps = max(k2, min(most_steps, k2 + k1 * (most_windows - 1)))
    return min(T, part_steps)


class CollectedLosses:
    """The losses of the updates since they were taken last, from a workspace."""

    def __init__(self, work: Workspace, T: int):
        """T: the steps of the series."""
        self.work = work
        self.T = T
        self.losses: list[Array] = []
        self.stop = 0  # the step up to which they are collected

    def take(self, stop: int) -> Array:
        """Return the losses of all updates up to step `stop` since the previous call,
        (n,) or (n, networks).
        """
        self.collect(stop)
        losses = self.losses
        self.losses = []
        return losses[0] if len(losses) == 1 else np.concatenate(losses)

    def collect(self, stop: int) -> None:
        """Compute the losses of the updates up to step `stop`, while the workspace has
        them.
        """
        k1 = self.work.k1
        whole = (stop - self.stop) // k1 * k1  # a shorter window may follow
        for end in (self.stop + whole, stop):
            if end > self.stop:
                self.losses.append(self._until(end))
                self.stop = end
        self.stop %= self.T

    def _until(self, end: int) -> Array:
        """Return the losses of updates with equally many new steps."""
        work = self.work
        B = work.layout.B
        steps = end - self.stop
        index = rows((self.stop - work.base) * B, (end - work.base) * B)
        row_losses = work.row_losses
        if row_losses is not None:
            row_losses = row_losses[index]
        windows = ceil(steps / work.k1)
        divisor = work.divisor(steps // windows)
        return window_losses(work.error[index], row_losses, windows, divisor)
