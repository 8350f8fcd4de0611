"""The memory of windows: the arrays that a window reads and writes.

A window writes its states over those that an earlier window computed, so that the state
at every step is the latest one, (T3). The views of a window are made once and used in
every epoch: with small networks, NumPy spends its time on making arrays and views, not
on arithmetic.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cached_property
from typing import Any

import numpy as np

from numpy_rnn.common.axes import is_integer
from numpy_rnn.common.records import Objective, Window
from numpy_rnn.engine.memory import Layout
from numpy_rnn.engine.objective import LOSSES, NONLINEARITIES, REDUCTIONS
from numpy_rnn.parameters import Array

MAX_STACKED = (
    128  # hidden units of the largest network whose inputs and states are in one row
)
MAX_VIEWED = 4096  # steps of the windows whose views are kept: about a kilobyte each


class Workspace:
    """The inputs, states and targets of up to `steps` consecutive steps, from step
    `base` on.

    Rows are steps times sequences, (T·B, n). k1, k2: the most new steps, and steps, of
    a window.
    """

    def __init__(
        self, layout: Layout, steps: int, k1: int, k2: int, objective: Objective
    ):
        self.layout, self.steps, self.k1 = layout, steps, k1
        self.nonlinearity = NONLINEARITIES[objective.nonlinearity]
        self.loss = LOSSES[objective.loss]
        D, H, O, B, bias, *_ = layout
        self.terms = REDUCTIONS[objective.reduction](
            self.loss.terms(O)
        )  # of a row; None for 1
        self.base = self.stop = 0  # the steps that are loaded
        self.stacked = layout.networks is not None or (B == 1 and H <= MAX_STACKED)
        if self.stacked:
            self.z = layout.empty((steps + 1) * B, D + H + bias)  # [x_t h_{t-1} 1]
            self.z[..., D + H :] = 1
            self.x, self.h, self.h_1 = (
                self.z[..., :D],
                self.z[..., D : D + H],
                self.z[..., D:],
            )
        else:
            self.x, self.h = (
                layout.empty(steps * B, D),
                layout.empty((steps + 1) * B, H),
            )
        self.target, self.error = layout.empty(steps * B, O), layout.empty(steps * B, O)
        self.row_losses = layout.empty(steps * B, 1) if self.loss.by_row else None
        # Rows of the longest window, of which shorter ones use the first.
        self.a, self.dh, self.slope, self.da = (
            layout.empty(k2 * B, H) for _ in range(4)
        )
        self.y = layout.empty(k1 * B, O)
        self.dy = None if self.terms is None else layout.empty(k1 * B, O)
        self.flow = (
            layout.empty((k2 + 1) * B, O + H) if self.stacked and k1 > 1 else None
        )
        if self.flow is not None:  # [dy_t da_{t+1}]
            self.flow[..., k2 * B :, O:] = 0  # no step after the last
        is_simple = self.terms is None and not self.loss.by_row
        self.is_one_step = (
            self.stacked and k2 * B == 1 and is_simple
        )  # for `one_step_updates`
        self.record = False
        self.recorded: tuple[
            Any, ...
        ] = ()  # Activations and Adjoints of the latest update
        self.views: dict[tuple[int, ...], Any] = {}
        self.viewed = 0  # steps of these windows

    @cached_property
    def by_step(self) -> list[list[Array]]:
        """Views of every step, which windows share, of the arrays that `WindowViews`
        unpacks.
        """
        rows = [
            self.z if self.stacked else self.h,
            self.h,
            self.a,
            self.dh,
            self.slope,
            self.da,
        ]
        rows += (
            [] if self.flow is None else [self.flow, self.flow[..., self.layout.O :]]
        )
        return [list(time_first(v, self.layout.B)) for v in rows]

    def state(self, step: int) -> Array:
        """h after this step of the series, (..., B, H), a view."""
        row = (step - self.base) * self.layout.B
        return self.h[..., row : row + self.layout.B, :]

    def load(self, base: int, x: Array, target: Array) -> None:
        """Move to the steps from `base` on, and keep the state there; at 0 it is to be
        assigned.

        x, target: (n, B, ·) or (n, N, B, ·), classes (n, B, 1); the target may be of
        the last n.
        """
        B, steps, state = self.layout.B, len(x), self.state(max(base, self.base)).copy()
        self.base, self.stop = base, base + steps
        self.state(base)[...] = state
        for rows, series in ((self.x, x), (self.target, target)):
            new = time_first(rows, B)[steps - len(series) : steps]
            series = series if series.ndim == new.ndim else series[:, None]
            new[...] = (
                series == np.arange(new.shape[-1]) if is_integer(series) else series
            )  # (F4)

    def window(self, window: Window) -> Any:
        """The views of this window of the series, WindowViews or OneStepViews."""
        begin, _, end = key = tuple(step - self.base for step in window)
        if (views := self.views.get(key)) is None:
            if self.viewed + end - begin > MAX_VIEWED:
                self.views, self.viewed = {}, 0
            views = (
                one_step_views(self, begin)
                if self.is_one_step
                else WindowViews(self, *key)
            )
            self.views[key] = views
            self.viewed += end - begin
        return views

    def divisor(self, new_steps: int) -> Any:
        """C of (L2) for a window, in the dtype of the run; None for 1."""
        B, dtype = self.layout.B, self.layout.dtype
        return None if self.terms is None else dtype.type(new_steps * B * self.terms)


class WindowViews:
    """The rows [begin, end) of steps of a workspace, of which those from `first_new` on
    are new.

    Arrays are rows of all T steps or, where `new`, of the K new ones.
    """

    def __init__(self, work: Workspace, begin: int, first_new: int, end: int):
        (O, B), T, K = work.layout[2:4], end - begin, end - first_new
        rows, rows_after = (
            slice(begin * B, end * B),
            slice((begin + 1) * B, (end + 1) * B),
        )
        new_rows = slice(first_new * B, end * B)
        buffers = work.a, work.dh, work.slope, work.da
        a, dh, self.slope, self.da = (v[..., : T * B, :] for v in buffers)
        before_t, h_t, a_t, dh_t, slope_t, da_t, *flow_t = work.by_step
        x, after = work.x[..., rows, :], work.h[..., rows_after, :]
        before, with_one = (work.z, work.h_1) if work.stacked else (work.h, work.h)
        self.inputs, self.h, self.before_T = (
            (x, x.mT, a),
            after,
            before[..., rows, :].mT,
        )
        # (the row that W, or W_hh, multiplies, a_t, h_t) of every step
        self.forward = list(zip(before_t[begin:end], a_t, h_t[begin + 1 :]))
        self.new = with_one[
            ..., (end - K + 1) * B : (end + 1) * B, :
        ]  # h_t, or [h_t 1] if stacked
        self.new_T, self.dh_new = self.new.mT, dh[..., (T - K) * B : T * B, :]
        self.target, self.error = (
            work.target[..., new_rows, :],
            work.error[..., new_rows, :],
        )
        self.row_losses = (
            None if work.row_losses is None else work.row_losses[..., new_rows, :]
        )
        self.y, self.divisor = work.y[..., : K * B, :], work.divisor(K)
        self.dy = self.error if work.dy is None else work.dy[..., : K * B, :]
        self.errors = self.error.reshape(-1) if work.layout.networks is None else None
        self.last = dh_t[T - 1], slope_t[T - 1], da_t[T - 1]
        # (da_{t+1}, dh_t, φ'(a_t), da_t) of the others, latest first: new, and without
        # a loss
        earlier = list(zip(da_t[1:T], dh_t, slope_t, da_t))[::-1]
        self.newer, self.older = earlier[: K - 1], earlier[K - 1 :]
        # If all steps are new: ([dy_t da_{t+1}], dh_t, φ'(a_t), da_t), latest first,
        # and dy and da in `flow`. They end where `flow` ends, so that no step follows
        # the last one.
        self.joint: Any = None
        if work.flow is not None and K == T > 1:
            flow = work.flow[..., work.flow.shape[-2] - (T + 1) * B :, :]
            steps = list(zip(flow_t[0][-T:], dh_t, slope_t, flow_t[1][-T - 1 :]))[::-1]
            self.joint = steps, flow[..., B:, :O], flow[..., : T * B, O:]


# Of a window of one step of one sequence. new: [h_t 1]
OneStepViews = namedtuple(
    "OneStepViews", "z z_T h new new_T target error errors divisor"
)


def one_step_views(work: Workspace, t: int) -> OneStepViews:
    """The views of the step at index t of a stacked workspace."""
    step, after = slice(t, t + 1), slice(t + 1, t + 2)
    z, h, new = work.z[..., step, :], work.h[..., after, :], work.h_1[..., after, :]
    target, error = work.target[..., step, :], work.error[..., step, :]
    return OneStepViews(z, z.mT, h, new, new.mT, target, error, error[..., 0, :], None)


def time_first(rows: Array, B: int) -> Array:
    """Rows (..., T·B, n) as (T, B, n) or (T, N, B, n), a view."""
    sequence = rows.reshape(*rows.shape[:-2], -1, B, rows.shape[-1])
    return sequence if sequence.ndim == 3 else sequence.swapaxes(0, 1)
