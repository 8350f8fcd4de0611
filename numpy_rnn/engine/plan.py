"""The plan of a run: its updates in order, and the parts of the series that they
read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from math import ceil
from types import EllipsisType
from typing import NamedTuple, TypeAlias

from numpy_rnn.arrays import Array
from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.checks import TrainingArguments
from numpy_rnn.common.records import Schedule, Window
from numpy_rnn.engine.losses import CollectedLosses
from numpy_rnn.engine.vectors import Sizes
from numpy_rnn.engine.views import MAX_VIEWED, KeptViews, Views
from numpy_rnn.engine.workspace import Workspace
from numpy_rnn.tbptt import compute_windows

# Bytes of the rows of a workspace; it is larger where one window needs more.
WORKSPACE_BYTES = 2**21
# Workspaces that may have WORKSPACE_BYTES, and MAX_VIEWED steps of views; in a run with
# more of them, each has less.
MAX_WORKSPACES = 32
# Steps of all windows of a part of the series. Every part uses the views of the first.
PART_STEPS = 256


# The index of the networks of a block, in arrays with their axis.
Members: TypeAlias = EllipsisType | int | slice


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
        sizes: Sizes,
        members: Members,
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
        k1, k2 = min(self.schedule.k1, T), min(self.schedule.k2, T)
        limited = self.schedule._replace(k1=k1, k2=k2)
        steps = part_steps(sizes, limited, T, blocks)
        self.is_whole = steps is None
        self.work = Workspace(sizes, steps or T, k1, k2, objective)
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
        if self.is_whole:  # loaded once, by the first epoch
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
        """Load the part of the series that begins with this window.

        Losses are collected before, since the part takes the place of the errors of
        which they are computed.
        """
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


def part_steps(sizes: Sizes, schedule: Schedule, T: int, blocks: int) -> int | None:
    """Return the steps of a workspace of a part of the series; None for the whole
    series, if it fits and its views pay.

    The views of all windows are made before the first update. They pay if they are
    used in enough epochs: the default experiment uses those of 20 steps 300 times.

    schedule: its k1 and k2 are at most T, the steps of the series. blocks: how many
    workspaces there are.
    """
    k1, k2, epochs = schedule
    sharing = ceil(blocks / MAX_WORKSPACES)
    numbers = sizes.B * (sizes.D + sizes.H + 2 * sizes.O) * (sizes.networks or 1)
    most_steps = WORKSPACE_BYTES // sharing // (numbers * sizes.dtype.itemsize)
    most_viewed = MAX_VIEWED // sharing
    viewed = ceil(T / k1) * k2
    fits = most_steps >= T and viewed <= most_viewed
    pays = viewed <= epochs * PART_STEPS
    if fits and pays:
        return None
    later_windows = windows_of_part(most_viewed, k2) - 1
    steps = min(most_steps, k2 + k1 * later_windows)
    return min(T, max(k2, steps))


def windows_of_part(most_viewed: int, k2: int) -> int:
    """Return the number of windows of a part, whose views are kept.

    Views of the first part, whose first windows are shorter, of the last one, and of
    all others: each has a third.
    """
    return max(1, min(PART_STEPS, most_viewed // 3) // k2)
