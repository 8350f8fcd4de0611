"""The memory of windows: the arrays that a window reads and writes.

A window writes its states over those that an earlier window computed, so that the state
at every step is the latest one, (T3).
"""

from __future__ import annotations

from functools import cached_property
from types import EllipsisType
from typing import NamedTuple

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import Objective
from numpy_rnn.engine.objective import LOSSES, NONLINEARITIES, Divisor
from numpy_rnn.engine.vectors import Sizes

# Hidden units of the largest network whose inputs and states are in one row.
MAX_STACKED = 128


class Workspace:
    """The inputs, states and targets of up to `steps` consecutive steps.

    Rows are steps times sequences, (T·B, n).
    """

    before: Array
    """The rows that W, or W_hh, multiplies: [x_t h_{t-1} 1] if stacked, or h_{t-1}."""
    after: Array
    """The rows that U, or W_hy, multiplies: [h_t 1] if stacked, or h_t."""

    def __init__(
        self, sizes: Sizes, steps: int, k1: int, k2: int, objective: Objective
    ):
        """k1, k2: the most new steps, and steps, of a window."""
        self.sizes = sizes
        self.steps = steps
        self.k1 = k1
        self.nonlinearity = NONLINEARITIES[objective.nonlinearity]
        self.loss = LOSSES[objective.loss]
        # Terms of a row of outputs, by which "mean" divides.
        self.terms: int | None = None
        if objective.reduction == "mean":
            self.terms = 1 if objective.has_classes else sizes.O
        self.base = self.stop = 0  # the steps that are loaded
        is_small = sizes.B == 1 and sizes.H <= MAX_STACKED
        self.is_stacked = sizes.networks is not None or is_small
        self._make_series()
        self._make_buffers(k1, k2)
        dy_is_error = self.terms is None and not self.loss.by_row
        self.is_one_step = self.is_stacked and k2 * sizes.B == 1 and dy_is_error

    def _make_series(self) -> None:
        """Make the arrays of all steps."""
        steps = self.steps
        sizes = self.sizes
        B, D, H = sizes.B, sizes.D, sizes.H
        if self.is_stacked:
            z = sizes.empty((steps + 1) * B, D + H + sizes.bias)
            z[..., D + H :] = 1
            self.before = z
            self.x = z[..., :D]
            self.h = z[..., D : D + H]
            self.after = z[..., D:]
        else:
            self.x = sizes.empty(steps * B, D)
            self.h = self.before = self.after = sizes.empty((steps + 1) * B, H)
        self.target = sizes.empty(steps * B, sizes.O)
        self.error = sizes.empty(steps * B, sizes.O)
        self.row_losses = sizes.empty(steps * B, 1) if self.loss.by_row else None

    def _make_buffers(self, k1: int, k2: int) -> None:
        """Make the arrays of the longest window; shorter ones use the first rows."""
        sizes = self.sizes
        B, H, O = sizes.B, sizes.H, sizes.O
        buffers = [sizes.empty(k2 * B, H) for _ in range(4)]
        self.a, self.dh, self.slope, self.da = buffers
        self.y = sizes.empty(k1 * B, O)
        self.dy = None if self.terms is None else sizes.empty(k1 * B, O)

    @cached_property
    def by_step(self) -> StepViews:
        """Views of every step, which windows share."""
        arrays = self.before, self.h, self.a, self.dh, self.slope, self.da
        return StepViews(*(list(time_first(v, self.sizes.B)) for v in arrays))

    def state(self, step: int) -> Array:
        """Return h after this step of the series, (..., B, H), a view."""
        row = (step - self.base) * self.sizes.B
        return self.h[rows(row, row + self.sizes.B)]

    def load(self, base: int, x: Array, target: Array) -> None:
        """Move to the steps from `base` on, and keep the state there; at 0 it is to be
        assigned.

        x, target: (n, B, ·) or (n, N, B, ·), classes (n, B, 1); the target may be of
        the last n.
        """
        state = self.state(max(base, self.base)).copy()
        self.base, self.stop = base, base + len(x)
        self.state(base)[...] = state
        for array, series in ((self.x, x), (self.target, target)):
            new = time_first(array, self.sizes.B)[len(x) - len(series) : len(x)]
            if series.ndim < new.ndim:
                series = series[:, None]
            if is_integer(series):
                series = series == np.arange(new.shape[-1])  # (F4)
            new[...] = series

    def divisor(self, new_steps: int) -> Divisor | None:
        """Return C of (L2) for a window; None for 1."""
        if self.terms is None:
            return None
        C: Divisor = self.sizes.dtype.type(new_steps * self.sizes.B * self.terms)
        return C


class StepViews(NamedTuple):
    """Arrays of a workspace, each as the views of its steps."""

    before: list[Array]
    """The rows [x_t h_{t-1} 1], or h_{t-1}, by the step of the workspace."""
    h: list[Array]
    """The states, by the step of the workspace."""
    a: list[Array]
    """a, by the step of the window, and so are the others."""
    dh: list[Array]
    slope: list[Array]
    da: list[Array]


def rows(first: int, last: int) -> tuple[EllipsisType, slice, slice]:
    """Return the index of these rows of an array (..., T·B, n), without the last."""
    return ..., slice(first, last), slice(None)


def time_first(array: Array, B: int) -> Array:
    """Return an array (..., T·B, n) as (T, B, n) or (T, N, B, n), a view."""
    sequence = array.reshape(*array.shape[:-2], -1, B, array.shape[-1])
    return sequence if sequence.ndim == 3 else sequence.swapaxes(0, 1)
