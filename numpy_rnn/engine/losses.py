"""The losses of an epoch, computed for many windows at once."""

from __future__ import annotations

from math import ceil

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.engine.objective import window_losses
from numpy_rnn.engine.workspace import Workspace, rows


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
        losses, self.losses = self.losses, []
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
        work, B, steps = self.work, self.work.layout.B, end - self.stop
        index = rows((self.stop - work.base) * B, (end - work.base) * B)
        row_losses = work.row_losses
        if row_losses is not None:
            row_losses = row_losses[index]
        windows = ceil(steps / work.k1)
        divisor = work.divisor(steps // windows)
        return window_losses(work.error[index], row_losses, windows, divisor)
