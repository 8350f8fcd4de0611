"""The memory of windows: the arrays that a window reads and writes, and views of them.

A window writes its states over those that an earlier window computed, so that the state
at every step is the latest one, (T3). The views of a window are made once and used in
every epoch: with small networks, NumPy spends its time on making arrays and views, not
on arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.records import Objective, Window
from numpy_rnn.engine.memory import Layout
from numpy_rnn.engine.objective import LOSSES, NONLINEARITIES, REDUCTIONS

# Hidden units of the largest network whose inputs and states are in one row.
MAX_STACKED = 128
MAX_VIEWED = 4096  # steps of the windows whose views are kept: about a kilobyte each


class Workspace:
    """The inputs, states and targets of up to `steps` consecutive steps.

    Rows are steps times sequences, (T·B, n).
    """

    def __init__(
        self, layout: Layout, steps: int, k1: int, k2: int, objective: Objective
    ):
        """k1, k2: the most new steps, and steps, of a window."""
        self.layout = layout
        self.steps = steps
        self.k1 = k1
        self.nonlinearity = NONLINEARITIES[objective.nonlinearity]
        self.loss = LOSSES[objective.loss]
        # Terms of a row of outputs that "mean" divides by; None for "sum".
        self.terms = REDUCTIONS[objective.reduction](self.loss.terms(layout.O))
        self.base = self.stop = 0  # the steps that are loaded
        is_small = layout.B == 1 and layout.H <= MAX_STACKED
        self.is_stacked = layout.networks is not None or is_small
        self._make_series()
        self._make_buffers(k1, k2)
        has_errors_alone = self.terms is None and not self.loss.by_row
        self.is_one_step = self.is_stacked and k2 * layout.B == 1 and has_errors_alone
        self.views: dict[tuple[int, ...], WindowViews | OneStepViews] = {}
        self.viewed = 0  # steps of these windows

    def _make_series(self) -> None:
        """Make the arrays of all steps.

        before: the rows that W, or W_hh, multiplies: [x_t h_{t-1} 1] if stacked, or
        h_{t-1}. after: the rows that U, or W_hy, multiplies: [h_t 1], or h_t.
        """
        layout, steps = self.layout, self.steps
        B, D, H = layout.B, layout.D, layout.H
        if self.is_stacked:
            z = layout.empty((steps + 1) * B, D + H + layout.bias)
            z[..., D + H :] = 1
            self.before = z
            self.x, self.h, self.after = z[..., :D], z[..., D : D + H], z[..., D:]
        else:
            self.x = layout.empty(steps * B, D)
            self.h = self.before = self.after = layout.empty((steps + 1) * B, H)
        self.target = layout.empty(steps * B, layout.O)
        self.error = layout.empty(steps * B, layout.O)
        self.row_losses = layout.empty(steps * B, 1) if self.loss.by_row else None

    def _make_buffers(self, k1: int, k2: int) -> None:
        """Make the arrays of the longest window; shorter ones use the first rows."""
        layout, B, H, O = self.layout, self.layout.B, self.layout.H, self.layout.O
        buffers = [layout.empty(k2 * B, H) for _ in range(4)]
        self.a, self.dh, self.slope, self.da = buffers
        self.y = layout.empty(k1 * B, O)
        self.dy = None if self.terms is None else layout.empty(k1 * B, O)
        self.adjoints: Array | None = None  # [dy_t da_{t+1}]
        if self.is_stacked and k1 > 1:
            self.adjoints = layout.empty((k2 + 1) * B, O + H)
            self.adjoints[..., k2 * B :, O:] = 0  # no step after the last

    @cached_property
    def by_step(self) -> StepViews:
        """Views of every step, which windows share."""
        arrays = [self.before, self.h, self.a, self.dh, self.slope, self.da]
        if self.adjoints is not None:
            arrays += [self.adjoints, self.adjoints[..., self.layout.O :]]
        return StepViews(*(list(time_first(v, self.layout.B)) for v in arrays))

    def state(self, step: int) -> Array:
        """Return h after this step of the series, (..., B, H), a view."""
        row = (step - self.base) * self.layout.B
        return self.h[rows(row, row + self.layout.B)]

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
            new = time_first(array, self.layout.B)[len(x) - len(series) : len(x)]
            if series.ndim < new.ndim:
                series = series[:, None]
            if is_integer(series):
                series = series == np.arange(new.shape[-1])  # (F4)
            new[...] = series

    def window(self, window: Window) -> WindowViews | OneStepViews:
        """Return the views of this window of the series."""
        begin = window.start - self.base
        first_new = window.loss_start - self.base
        end = window.stop - self.base
        views = self.views.get((begin, first_new, end))
        if views is not None:
            return views
        if self.viewed + window.steps > MAX_VIEWED:
            self.views.clear()
            self.viewed = 0
        self.viewed += window.steps
        if self.is_one_step:
            views = OneStepViews(self, begin)
        else:
            views = WindowViews(self, begin, first_new, end)
        self.views[begin, first_new, end] = views
        return views

    def divisor(self, new_steps: int) -> Any:
        """Return C of (L2) for a window, in the dtype of the run; None for 1."""
        if self.terms is None:
            return None
        return self.layout.dtype.type(new_steps * self.layout.B * self.terms)


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
    adjoints: Sequence[Array] = ()
    """[dy_t da_{t+1}], where rows are stacked."""
    da_next: Sequence[Array] = ()
    """da_{t+1} in these."""


class JointViews(NamedTuple):
    """Views of a window all of whose steps are new, for (B2) as one product a step."""

    steps: list[tuple[Array, Array, Array, Array]]
    """([dy_t da_{t+1}], dh_t, φ'(a_t), da_t) of every step, the latest first."""
    dy: Array
    """dy in these rows."""
    da: Array
    """da in these rows."""


class WindowViews:
    """The rows [begin, end) of steps of a workspace, of which those from `first_new` on
    are new.

    T is the number of steps, K that of the new ones.
    """

    def __init__(self, work: Workspace, begin: int, first_new: int, end: int):
        B, T, K = work.layout.B, end - begin, end - first_new
        window, new = rows(begin * B, end * B), rows(first_new * B, end * B)
        after_window = rows((begin + 1) * B, (end + 1) * B)
        after_new = rows((first_new + 1) * B, (end + 1) * B)
        first = rows(0, T * B)
        by_step = work.by_step

        # (T·B, ·)
        self.x = work.x[window]
        self.x_T = self.x.mT
        self.a = work.a[first]
        self.h = work.h[after_window]
        self.slope = work.slope[first]
        self.da = work.da[first]
        self.before_T = work.before[window].mT
        # (K·B, ·)
        self.new = work.after[after_new]  # h_t, or [h_t 1] if stacked
        self.new_T = self.new.mT
        self.target = work.target[new]
        self.error = work.error[new]
        self.row_losses = None if work.row_losses is None else work.row_losses[new]
        self.y = work.y[rows(0, K * B)]
        self.divisor = work.divisor(K)
        self.dy = self.error if work.dy is None else work.dy[rows(0, K * B)]
        self.dh_new = work.dh[rows((T - K) * B, T * B)]
        self.errors: Array | None = None  # as a vector
        if work.layout.networks is None:
            self.errors = self.error.reshape(-1)

        # (the row that W, or W_hh, multiplies, a_t, h_t) of every step
        before, after = by_step.before[begin:end], by_step.h[begin + 1 :]
        self.forward = list(zip(before, by_step.a, after))
        self.last = by_step.dh[T - 1], by_step.slope[T - 1], by_step.da[T - 1]
        # (da_{t+1}, dh_t, φ'(a_t), da_t) of the others, the latest first: new steps,
        # and older ones, without a loss
        da_next = by_step.da[1:T]
        earlier = list(zip(da_next, by_step.dh, by_step.slope, by_step.da))[::-1]
        self.newer, self.older = earlier[: K - 1], earlier[K - 1 :]
        self.joint: JointViews | None = None
        if work.adjoints is not None and K == T > 1:
            self.joint = joint_views(work, work.adjoints, T)


def joint_views(work: Workspace, adjoints: Array, T: int) -> JointViews:
    """Return the views of a window of T new steps.

    They end where the array of adjoints ends, so that no step follows the last one.
    """
    O, B, by_step = work.layout.O, work.layout.B, work.by_step
    adjoints = adjoints[..., -(T + 1) * B :, :]
    left, da = by_step.adjoints[-T:], by_step.da_next[-T - 1 :]
    steps = list(zip(left, by_step.dh, by_step.slope, da))[::-1]
    return JointViews(steps, adjoints[..., B:, :O], adjoints[..., : T * B, O:])


class OneStepViews:
    """Views for a window of one step and one sequence, whose loss has no divisor."""

    __slots__ = ("dy", "errors", "h", "new", "new_T", "target", "z", "z_T")

    def __init__(self, work: Workspace, t: int):
        step, after = rows(t, t + 1), rows(t + 1, t + 2)
        self.z = work.before[step]  # [x_t h_{t-1} 1]
        self.z_T = self.z.mT
        self.h = work.h[after]
        self.new = work.after[after]  # [h_t 1]
        self.new_T = self.new.mT
        self.target = work.target[step]
        self.dy = work.error[step]
        self.errors = self.dy[..., 0, :]


def rows(first: int, last: int) -> tuple[Any, slice, slice]:
    """Return the index of these rows of an array (..., T·B, n), without the last."""
    return ..., slice(first, last), slice(None)


def time_first(array: Array, B: int) -> Array:
    """Return an array (..., T·B, n) as (T, B, n) or (T, N, B, n), a view."""
    sequence = array.reshape(*array.shape[:-2], -1, B, array.shape[-1])
    return sequence if sequence.ndim == 3 else sequence.swapaxes(0, 1)
