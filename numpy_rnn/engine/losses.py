"""The losses of updates, computed for many windows at once: those of small networks
take less time than a call of NumPy.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy import square

from numpy_rnn.arrays import Array
from numpy_rnn.engine.workspace import Workspace, rows


class CollectedLosses:
    """The losses of the updates since they were taken last, from a workspace.

    Call `collect` before the workspace loads another part of the series, and `take`
    once for each Update that is yielded.
    """

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
        B = work.sizes.B
        new = rows((self.stop - work.base) * B, (end - work.base) * B)
        steps = end - self.stop
        windows = ceil(steps / work.k1)
        by_window = *work.error.shape[:-2], windows, -1
        losses: Array
        if work.row_losses is not None:
            row_losses = work.row_losses[new].reshape(by_window)
            losses = row_losses.sum(axis=-1)  # (L4)
        else:
            losses = 0.5 * sums_of_squares(work.error[new].reshape(by_window))  # (L1)
        divisor = work.divisor(steps // windows)
        if divisor is not None:
            losses /= divisor  # (L2)
        return losses.T


def sums_of_squares(errors: Array) -> Array:
    """Return Σ e² along the last axis, in the way that is the fastest."""
    squares: Array
    if errors.shape[-1] == 1:
        squares = square(errors[..., 0])
    elif errors.ndim > 2:  # of a group of networks
        squares = square(errors).sum(axis=-1)
    else:
        squares = np.vecdot(errors, errors)
    return squares
