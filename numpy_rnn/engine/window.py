"""The memory of windows: what a window reads and writes, and where that is.

A `Tape` holds the inputs, the targets and the states of consecutive steps. A window runs over a part of them and writes
its states over those that an earlier window computed, so that the state at every step is always the latest one, (T3).
All else that a window computes is written over what the window before computed. The views of a window are made once and
used in every epoch: on small networks NumPy's time goes into making arrays and views, not into arithmetic.

Rows are steps times sequences, (T·B, n): time is folded into the batch. Small networks have the input, the state and a
one in one row, [x_t h_{t-1} 1], so that (F1) is one product. Large ones have inputs and states apart, in rows without
gaps, and multiply the inputs of all steps at once.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Array
from numpy_rnn.common.windows import Window
from numpy_rnn.engine.layout import Layout
from numpy_rnn.engine.objective import Objective

MAX_STACKED = 128  # hidden units of the largest network whose inputs and states are in one row
MAX_VIEWED = 4096  # steps of the windows whose views are kept: about a kilobyte each
MIN_TRANSPOSED = 16  # steps from which on a transpose of W_hh that is laid out anew pays


class Scratch(NamedTuple):
    """What windows are computed in: rows of the longest one, of which shorter ones use the first."""

    a: Array  # (T·B, H)
    h: Array | None  # (T·B, H + 1): [h_t 1] once more, without gaps; None where they are read from the tape
    y: Array  # (K·B, O)
    dy: Array | None  # (K·B, O); None where it is the error itself
    dh: Array  # (T·B, H)
    slope: Array  # (T·B, H)
    da: Array  # (T·B, H)

    def rows(self, T: int, K: int) -> "Scratch":
        """For T·B = `T` rows, of which `K` are of new steps."""
        lengths = Scratch(T, T, K, K, T, T, T)
        return Scratch(*(None if v is None else v[..., :n, :] for v, n in zip(self, lengths)))


class Loop(NamedTuple):
    """What the loop of `update.py` reads and writes in one window."""

    forward: list[tuple[Array, ...]]  # (the row that W, or W_hh, multiplies, a_t, h_t) of every step
    gaps: tuple[Array, Array] | None  # (h without gaps, the same on the tape), if they are two
    new: Array  # h_t of the new steps; on a stacked tape [h_t 1]
    new_T: Array
    h: Array  # h_t of all steps
    before_T: Array  # the rows that W, or W_hh, multiplies, of all steps, transposed
    target: Array
    error: Array  # y − target, undivided
    y: Array
    dy: Array
    dh_new: Array
    slope: Array
    da: Array
    last: tuple[Array, Array, Array]  # dh_T, φ'(a_T), da_T
    earlier: Any  # how to go back from there, `Earlier` or `Joint`; None for a window of one step
    inputs: Any  # (x, xᵀ, a) where the tape is not stacked, else None
    divisor: Array | None  # of the loss; None for 1
    first_state: Array | None  # the place of h_0, if the window starts at the beginning of the series
    weights: Array | None  # (K·B, 1), of the losses
    row_losses: Array | None  # (K·B, 1), of a cross-entropy


class OneStep(NamedTuple):
    """A window of one step of one sequence."""

    loop: tuple[Array, ...]  # (z_t, z_tᵀ, h_t, [h_t 1], [h_t 1]ᵀ, target_t, dy_t)
    key: tuple[int, int, int, bool]  # that of its `Views`
    errors: Array
    divisor: None = None


class Views(NamedTuple):
    """One window on a tape."""

    loop: Loop
    # For what is handed out.
    divisor: Array | None
    first_state: Array | None
    errors: Array | None  # `error` in one row; None where the loss is not half of its square
    loss_rows: slice  # the rows of the new steps on the tape
    states: Array  # h_0 to h_T, (T + 1, B, H) or (T + 1, N, B, H)
    x: Array
    a: Array
    dh: Array
    da_1: Array


class Earlier(NamedTuple):
    """The steps before the last, latest first: (da_{t+1}, dh_t, φ'(a_t), da_t)."""

    newer: list[tuple[Array, ...]]  # new steps
    older: list[tuple[Array, ...]]  # steps without a loss
    transposed: bool  # whether a transpose of W_hh is laid out anew
    is_joint: bool = False


class Joint(NamedTuple):
    """All steps, latest first, where dy_t and da_{t+1} lie side by side: ([dy_t da_{t+1}], dh_t, φ'(a_t), da_t)."""

    steps: list[tuple[Array, ...]]
    dy: Array  # the places of dy_t there
    da: Array  # and of da_t
    is_joint: bool = True


def by_step(rows: Array, B: int) -> list[Array]:
    """The rows of every step, (..., B, n) each, as views."""
    return [rows[..., begin : begin + B, :] for begin in range(0, rows.shape[-2], B)]


class Tape:
    """The inputs, states and targets of up to `steps` consecutive steps, from step `base` of the series on.

    k1, k2: the most new steps, and the most steps, of a window.
    """

    def __init__(self, layout: Layout, steps: int, k1: int, k2: int, objective: Objective):
        self.layout, self.steps, self.objective, self.base = layout, steps, objective, 0
        mean = self.mean = objective.mean
        self.half = layout.dtype.type(0.5)
        D, H, O, B, bias = layout[:5]
        self.stacked = layout.networks is not None or (B == 1 and H <= MAX_STACKED)
        if self.stacked:
            self.z = layout.empty((steps + 1) * B, D + H + bias)
            self.z[..., D + H :] = 1
            self.x, self.h, self.h_1 = self.z[..., :D], self.z[..., D : D + H], self.z[..., D:]
        else:
            self.x, self.h = layout.empty(steps * B, D), layout.empty((steps + 1) * B, H)
        self.one_step = self.stacked and B * k2 == 1 and objective.plain and not (mean or layout.learned)
        self.target, self.error = layout.empty(steps * B, O), layout.empty(steps * B, O)
        self.weights = layout.empty(steps * B, 1) if objective.weighted else None
        self.row_losses = layout.empty(steps * B, 1) if objective.cross_entropy else None
        gaps = self.stacked and layout.networks is None and k2 * B > 1
        a, dh, slope, da = (layout.empty(k2 * B, H) for _ in range(4))
        h = layout.empty(k2 * B, H + bias) if gaps else None
        y, dy = (layout.empty(k1 * B, O) for _ in range(2))
        self.scratch = Scratch(a, h, y, dy if mean or objective.weighted else None, dh, slope, da)
        self.flow = layout.empty((k2 + 1) * B, O + H) if self.stacked and k1 > 1 else None  # [dy_t da_{t+1}] from t = 0
        if self.flow is not None:
            self.flow[..., k2 * B :, O:] = 0  # no step after the last
        self.views: dict[tuple[int, int, int, bool], Views | OneStep] = {}
        self.viewed, self.most_viewed = 0, MAX_VIEWED  # steps of these windows

    def state(self, step: int) -> Array:
        """The place of h after this step of the series, (..., B, H), a view."""
        row = (step - self.base) * self.layout.B
        return self.h[..., row : row + self.layout.B, :]

    def load(self, base: int, x: Array, target: Array, weights: Array | None = None) -> None:
        """Move to the steps from `base` on, with these inputs, targets and weights, (n, B, ·) or (n, N, B, ·).

        The state at `base` is kept. Targets and weights may be those of the last steps only.
        """
        if base > self.base:
            state = self.state(base).copy()
            self.base = base
            self.state(base)[...] = state
        self.base = base
        B, steps = self.layout.B, len(x)
        for place, series in ((self.x, x), (self.target, target), (self.weights, weights)):
            if series is None or place is None:
                continue
            first = (steps - len(series)) * B
            if series.ndim == 4:
                series = np.moveaxis(series, 1, 0)
            rows = series.reshape(*series.shape[:-3], -1, series.shape[-1])
            place[..., first : steps * B, :] = rows

    def window(self, window: Window) -> Any:
        """The views of this window of the series."""
        begin, first_new, end = (step - self.base for step in window)
        key = begin, first_new, end, window.start == 0
        if (views := self.views.get(key)) is None:
            if self.viewed + end - begin > self.most_viewed:
                self.views, self.viewed = {}, 0
            views = self.views[key] = self._one_step(*key) if self.one_step else self.all_views(*key)
            self.viewed += end - begin
        return views

    def time_first(self, rows: Array) -> Array:
        """Rows (..., T·B, n) as (T, B, n) or (T, N, B, n), a view."""
        sequence = rows.reshape(*rows.shape[:-2], -1, self.layout.B, rows.shape[-1])
        return sequence if sequence.ndim == 3 else np.moveaxis(sequence, 0, 1)

    def losses(self, windows: list[Window], views: list[Any]) -> Any:
        """L of each of these consecutive windows, (n,) or (n, N)."""
        if len(windows) == 1 and self.layout.networks is None:
            return [self.loss(views[0])]
        k1, last = windows[0].loss_steps, windows[-1]
        whole = len(windows) - (last.loss_steps < k1)
        losses = [self._losses(windows[0].loss_start, whole, k1)]
        if whole < len(windows):
            losses.append(self._losses(last.loss_start, 1, last.loss_steps))
        return np.concatenate(losses) if losses[1:] else losses[0]

    def loss(self, views: Any) -> Array:
        """L of a window of a single network."""
        if views.errors is None:
            return self._losses_of(views.loss_rows, 1)[0]
        loss = self.half * views.errors.dot(views.errors)  # (L1)
        return loss if views.divisor is None else loss / views.divisor  # (L2)

    def _losses(self, begin: int, count: int, K: int) -> Array:
        B, O = self.layout.B, self.layout.O
        row, terms = (begin - self.base) * B, K * B * O
        if not self.objective.plain:
            return self._losses_of(slice(row, row + count * K * B), count)
        error = self.error[..., row : row + count * K * B, :]
        error = error.reshape(*error.shape[:-2], count, terms)
        if self.layout.networks is None:
            losses = np.vecdot(error, error)  # (L1), to the same bits as `loss`
        else:
            losses = np.multiply(error, error).sum(axis=-1)  # (L1)
        losses *= self.half  # (L1)
        if self.mean:
            losses /= losses.dtype.type(terms)  # (L2)
        return losses if losses.ndim == 1 else losses.T

    def _losses_of(self, rows: slice, count: int) -> Array:
        row_losses, weights = (None if v is None else v[..., rows, :] for v in (self.row_losses, self.weights))
        return self.objective.losses(self.error[..., rows, :], row_losses, weights, count)

    def _one_step(self, begin: int, first_new: int, end: int, is_first: bool) -> OneStep:
        z, h, new = self.z[..., begin:end, :], self.h[..., end : end + 1, :], self.h_1[..., end : end + 1, :]
        target, error = self.target[..., begin:end, :], self.error[..., begin:end, :]
        loop = z, z.mT, h, new, new.mT, target, error
        return OneStep(loop, (begin, first_new, end, is_first), error[..., 0, :])

    def all_views(self, begin: int, first_new: int, end: int, is_first: bool) -> Views:
        """The views of the steps [begin, end) of this tape, of which those from `first_new` on are new."""
        _, H, O, B, _ = self.layout[:5]
        T, K = end - begin, end - first_new
        s = self.scratch.rows(T * B, K * B)
        rows, after = slice(begin * B, end * B), slice((begin + 1) * B, (end + 1) * B)
        new, new_dh = slice(first_new * B, end * B), slice((T - K) * B, None)
        h_after, x, error = self.h[..., after, :], self.x[..., rows, :], self.error[..., new, :]
        before, with_one = self.h[..., rows, :], h_after
        if self.stacked:
            before, with_one = self.z[..., rows, :], self.h_1[..., after, :]
        gaps = None if s.h is None or T * B == 1 else (s.h, with_one)
        if gaps is not None:
            with_one = s.h
        with_one_new = with_one[..., new_dh, :]
        dh, slope, da = (by_step(v, B) for v in (s.dh, s.slope, s.da))
        earlier: Joint | Earlier | None = None
        if self.flow is not None and K == T > 1:  # all steps have a loss; they end where the memory ends
            flow = self.flow[..., self.flow.shape[-2] - (T + 1) * B :, :]
            of_step, places = by_step(flow, B), by_step(flow[..., O:], B)
            steps = list(zip(of_step[1:], dh, slope, places, strict=False))[::-1]
            earlier = Joint(steps, flow[..., B:, :O], flow[..., : T * B, O:])
        elif T > 1:
            steps = list(zip(da[1:], dh, slope, da, strict=False))[::-1]
            transposed = self.layout.networks is None and B > 1 and T >= MIN_TRANSPOSED
            earlier = Earlier(steps[: K - 1], steps[K - 1 :], transposed)
        loop = Loop(
            forward=list(zip(by_step(before, B), by_step(s.a, B), by_step(h_after, B), strict=True)),
            gaps=gaps,
            new=with_one_new,
            new_T=with_one_new.mT,
            h=with_one[..., :H],
            before_T=before.mT,
            target=self.target[..., new, :],
            error=error,
            y=s.y,
            dy=error if s.dy is None else s.dy,
            dh_new=s.dh[..., new_dh, :],
            slope=s.slope,
            da=s.da,
            last=(dh[-1], slope[-1], da[-1]),
            earlier=earlier,
            inputs=None if self.stacked else (x, x.mT, s.a),
            divisor=self.objective.divisor(K * B, O, self.layout.dtype),
            first_state=self.h[..., begin * B : (begin + 1) * B, :] if is_first else None,
            weights=None if self.weights is None else self.weights[..., new, :],
            row_losses=None if self.row_losses is None else self.row_losses[..., new, :],
        )
        return Views(
            loop,
            divisor=loop.divisor,
            first_state=loop.first_state,
            errors=error.reshape(*error.shape[:-2], -1) if self.objective.plain else None,
            loss_rows=new,
            states=self.time_first(self.h[..., begin * B : (end + 1) * B, :]),
            x=x,
            a=s.a,
            dh=s.dh,
            da_1=da[0],
        )
