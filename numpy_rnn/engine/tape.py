"""The memory of windows: what a window reads and writes, and where that is.

A `Tape` holds the inputs, the targets and the states of consecutive steps. A window runs over a part of them and writes
its states over those that an earlier window computed, so that the state at every step is always the latest one, (T3).
All else that a window computes is written over what the window before computed. The views of a window are made once and
used in every epoch: on small networks NumPy's time goes into making arrays and views, not into arithmetic.

Rows are steps times sequences, (T·B, n): time is folded into the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.checks import is_integer
from numpy_rnn.common.records import Schedule, Window
from numpy_rnn.engine.losses import LossKind
from numpy_rnn.engine.memory import Layout
from numpy_rnn.parameters import Array

MAX_STACKED = 128  # hidden units of the largest network whose inputs and states are in one row
MAX_VIEWED = 4096  # steps of the windows whose views are kept: about a kilobyte each

Steps = Sequence[tuple[Array, ...]]


class Views:
    """One window: the steps [begin, end) of a tape, of which those from `first_new` on are new.

    Arrays are rows of all T steps or, from `new` on, of the K new ones. is_first: whether the series begins with it.
    """

    def __init__(self, tape: Tape, begin: int, first_new: int, end: int, is_first: bool):
        layout, (H, O, B), T, K = tape.layout, tape.layout[1:4], end - begin, end - first_new
        rows, after = slice(begin * B, end * B), slice((begin + 1) * B, (end + 1) * B)
        on_tape, of_window, first = (
            slice(first_new * B, end * B),
            slice((T - K) * B, T * B),
            slice(K * B),
        )
        a, dh, self.slope, self.da = (
            v[..., : T * B, :] for v in (tape.a, tape.dh, tape.slope, tape.da)
        )
        before_t, h_t, a_t, dh_t, slope_t, da_t, *flow_t = tape.by_step
        before, h_after = tape.h[..., rows, :], tape.h[..., after, :]
        packed, self.gaps, self.inputs = (
            h_after,
            None,
            (tape.x[..., rows, :], tape.x[..., rows, :].mT, a),
        )
        if tape.stacked:
            before, packed = tape.z[..., rows, :], tape.h_1[..., after, :]
        if tape.h_packed is not None and T * B > 1:
            self.gaps = tape.h_packed[: T * B], packed  # (h without gaps, the same on the tape)
            packed = self.gaps[0]
        self.initial = (
            tape.h[..., begin * B : (begin + 1) * B, :] if is_first else None
        )  # the place of h_0
        # (the row that W, or W_hh, multiplies, a_t, h_t) of every step; these rows transposed; h_t
        self.forward = list(zip(before_t[begin:end], a_t, h_t[begin + 1 :]))
        self.before_T, self.h = before.mT, packed[..., :H]
        self.new = packed[..., of_window, :]  # h_t; on a stacked tape [h_t 1]
        self.new_T, self.dh_new = self.new.mT, dh[..., of_window, :]
        self.target, self.error = (
            tape.target[..., on_tape, :],
            tape.error[..., on_tape, :],
        )  # y − target, undivided
        self.y, self.dy = (
            tape.y[..., first, :],
            self.error if tape.dy is None else tape.dy[..., first, :],
        )
        self.weights = None if tape.weights is None else tape.weights[..., on_tape, :]
        self.row_losses = None if tape.row_losses is None else tape.row_losses[..., on_tape, :]
        self.divisor = tape.kind.divisor(K * B, O, layout.dtype)
        # `error` in one row, of a plain loss and one network
        self.errors = (
            self.error.reshape(-1) if tape.kind.plain and layout.networks is None else None
        )
        self.last = dh_t[T - 1], slope_t[T - 1], da_t[T - 1]
        # (da_{t+1}, dh_t, φ'(a_t), da_t) of the other steps, latest first: new ones, and those without a loss
        earlier = list(zip(da_t[1:T], dh_t, slope_t, da_t))[::-1]
        self.newer, self.older = earlier[: K - 1], earlier[K - 1 :]
        # If all steps have a loss: ([dy_t da_{t+1}], dh_t, φ'(a_t), da_t) of each, latest first, and the places of dy_t
        # and da_t there. They end where the memory ends, so that no step follows the last one.
        self.joint: tuple[Steps, Array, Array] | None = None
        if tape.flow is not None and K == T > 1:
            flow = tape.flow[..., tape.flow.shape[-2] - (T + 1) * B :, :]
            steps = list(zip(flow_t[0][-T:], dh_t, slope_t, flow_t[1][-T - 1 :]))[::-1]
            self.joint = steps, flow[..., B:, :O], flow[..., : T * B, O:]


class OneStep(NamedTuple):
    """A window of one step of one sequence: the arrays of `gradient.py`."""

    z: Array
    z_T: Array
    h: Array
    new: Array
    new_T: Array
    target: Array
    dy: Array
    errors: Array
    divisor: None = None


class Tape:
    """The inputs, states and targets of up to `steps` consecutive steps, from step `base` of the series on.

    schedule: whose k1 and k2 are the most new steps, and the most steps, of a window.
    """

    def __init__(self, layout: Layout, steps: int, schedule: Schedule, kind: LossKind):
        self.layout, self.steps, self.schedule, self.kind = layout, steps, schedule, kind
        self.base = self.stop = 0  # the steps that are on it
        D, H, O, B, bias = layout[:5]
        k1, k2 = (
            min(schedule.k1, steps) * B,
            min(schedule.k2, steps) * B,
        )  # on a stream there may be less than k2
        self.stacked = layout.networks is not None or (B == 1 and H <= MAX_STACKED)
        if self.stacked:
            self.z = layout.empty((steps + 1) * B, D + H + bias)
            self.z[..., D + H :] = 1
            self.x, self.h, self.h_1 = self.z[..., :D], self.z[..., D : D + H], self.z[..., D:]
        else:
            self.x, self.h = layout.empty(steps * B, D), layout.empty((steps + 1) * B, H)
        self.one_step = (
            self.stacked
            and schedule.k2 * B == 1
            and kind.plain
            and not (kind.mean or layout.learned)
        )
        self.target, self.error = layout.empty(steps * B, O), layout.empty(steps * B, O)
        self.weights = layout.empty(steps * B, 1) if kind.weighted else None
        self.row_losses = layout.empty(steps * B, 1) if kind.cross_entropy else None
        # What windows are computed in: rows of the longest one, of which shorter ones use the first.
        self.a, self.dh, self.slope, self.da = (layout.empty(k2, H) for _ in range(4))
        self.y, self.dy = (
            layout.empty(k1, O),
            layout.empty(k1, O) if kind.mean or kind.weighted else None,
        )
        self.h_packed = (
            layout.empty(k2, H + bias)
            if self.stacked and layout.networks is None and k2 > 1
            else None
        )
        self.flow = (
            layout.empty(k2 + B, O + H) if self.stacked and schedule.k1 > 1 else None
        )  # [dy_t da_{t+1}]
        if self.flow is not None:
            self.flow[..., k2:, O:] = 0  # no step after the last
        self.views: dict[tuple[int, int, int, bool], Any] = {}
        self.viewed = 0  # steps of these windows

    @cached_property
    def by_step(self) -> list[list[Array]]:
        """Views of every step that windows share: of what W, or W_hh, multiplies, h, a, dh, φ'(a), da, and of flow."""
        rows = [self.z if self.stacked else self.h, self.h, self.a, self.dh, self.slope, self.da]
        rows += [] if self.flow is None else [self.flow, self.flow[..., self.layout.O :]]
        return [list(time_first(v, self.layout.B)) for v in rows]

    def state(self, step: int) -> Array:
        """The place of h after this step of the series, (..., B, H), a view."""
        row = (step - self.base) * self.layout.B
        return self.h[..., row : row + self.layout.B, :]

    def load(self, base: int, x: Array, target: Array, weights: Array | None = None) -> None:
        """Move to the steps from `base` on, with these inputs, targets and weights, (n, B, ·) or (n, N, B, ·).

        The state at `base` is kept. Classes are integers (n, B, 1). Targets and weights may be of the last steps only.
        """
        if base > self.base:
            state = self.state(base).copy()
            self.base = base
            self.state(base)[...] = state
        B, steps = self.layout.B, len(x)
        self.base, self.stop = base, base + steps
        for place, series in ((self.x, x), (self.target, target), (self.weights, weights)):
            if series is not None and place is not None:
                series = np.moveaxis(series, 1, 0) if series.ndim == 4 else series
                rows = series.reshape(*series.shape[:-3], -1, series.shape[-1])
                new = place[..., steps * B - rows.shape[-2] : steps * B, :]
                new[...] = rows == np.arange(new.shape[-1]) if is_integer(rows) else rows  # (F4)

    def window(self, window: Window) -> Any:
        """The views of this window of the series."""
        begin, first_new, end = (step - self.base for step in window)
        key = begin, first_new, end, window.start == 0
        if (views := self.views.get(key)) is None:
            if self.viewed + end - begin > MAX_VIEWED:
                self.views, self.viewed = {}, 0
            views = self.views[key] = self._one_step(begin) if self.one_step else Views(self, *key)
            self.viewed += end - begin
        return views

    def losses(self, begin: int, stop: int) -> list[Array]:
        """L of the consecutive windows whose new steps are (begin, stop], in arrays (n,) or (n, N)."""
        whole, rest = divmod(stop - begin, self.schedule.k1)
        found = []
        for first, end, count in ((begin, stop - rest, whole), (stop - rest, stop, 1)):
            if end > first:
                rows = (
                    ...,
                    slice((first - self.base) * self.layout.B, (end - self.base) * self.layout.B),
                    slice(None),
                )
                row_losses, weights = [
                    None if v is None else v[rows] for v in (self.row_losses, self.weights)
                ]
                found.append(self.kind.losses(self.error[rows], row_losses, weights, count))
        return found

    def _one_step(self, t: int) -> OneStep:
        step, after = slice(t, t + 1), slice(t + 1, t + 2)
        z, h, new = self.z[..., step, :], self.h[..., after, :], self.h_1[..., after, :]
        target, error = self.target[..., step, :], self.error[..., step, :]
        return OneStep(z, z.mT, h, new, new.mT, target, error, error[..., 0, :])


def time_first(rows: Array, B: int) -> Array:
    """Rows (..., T·B, n) as (T, B, n) or (T, N, B, n), a view."""
    sequence = rows.reshape(*rows.shape[:-2], -1, B, rows.shape[-1])
    return sequence if sequence.ndim == 3 else sequence.swapaxes(0, 1)
