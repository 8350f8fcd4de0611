"""The views of windows: the parts of a workspace that each window reads and writes.

They are made once and used in every epoch: with small networks, NumPy spends its time
on making arrays and views, not on arithmetic.
"""

from typing import NamedTuple

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Window
from numpy_rnn.engine.workspace import Workspace, rows

MAX_VIEWED = 4096  # steps of the windows whose views are kept: about a kilobyte each


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
        B = work.layout.B
        T = end - begin
        K = end - first_new
        window = rows(begin * B, end * B)
        new = rows(first_new * B, end * B)
        # Rows of h have one step more: h_t follows the row of x_t.
        after_window = rows((begin + 1) * B, (end + 1) * B)
        after_new = rows((first_new + 1) * B, (end + 1) * B)
        buffer = rows(0, T * B)
        by_step = work.by_step

        # (T·B, ·)
        self.x = work.x[window]
        self.x_T = self.x.mT
        self.a = work.a[buffer]
        self.h = work.h[after_window]
        self.slope = work.slope[buffer]
        self.da = work.da[buffer]
        self.before_T = work.before[window].mT
        # (K·B, ·)
        self.new_states = work.after[after_new]  # h_t, or [h_t 1] if stacked
        self.new_states_T = self.new_states.mT
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
        before = by_step.before[begin:end]
        after = by_step.h[begin + 1 :]
        self.forward = list(zip(before, by_step.a, after))
        self.last_step = by_step.dh[T - 1], by_step.slope[T - 1], by_step.da[T - 1]
        # (da_{t+1}, dh_t, φ'(a_t), da_t) of the others, the latest first: new steps,
        # and older ones, without a loss
        da_next = by_step.da[1:T]
        earlier = list(zip(da_next, by_step.dh, by_step.slope, by_step.da))[::-1]
        self.newer_steps = earlier[: K - 1]
        self.older_steps = earlier[K - 1 :]
        self.joint: JointViews | None = None
        if work.dy_da is not None and K == T > 1:
            self.joint = joint_views(work, work.dy_da, T)


def joint_views(work: Workspace, dy_da: Array, T: int) -> JointViews:
    """Return the views of a window of T new steps.

    They end where the array dy_da ends, so that no step follows the last one.
    """
    O, B = work.layout.O, work.layout.B
    by_step = work.by_step
    dy_da = dy_da[..., -(T + 1) * B :, :]
    left, da = by_step.dy_da[-T:], by_step.da_next[-T - 1 :]
    steps = list(zip(left, by_step.dh, by_step.slope, da))[::-1]
    return JointViews(steps, dy_da[..., B:, :O], dy_da[..., : T * B, O:])


class OneStepViews:
    """Views for a window of one step and one sequence, whose loss has no divisor."""

    __slots__ = (
        "dy",
        "errors",
        "h",
        "new_states",
        "new_states_T",
        "target",
        "z",
        "z_T",
    )

    def __init__(self, work: Workspace, t: int):
        step = rows(t, t + 1)
        after = rows(t + 1, t + 2)
        self.z = work.before[step]  # [x_t h_{t-1} 1]
        self.z_T = self.z.mT
        self.h = work.h[after]
        self.new_states = work.after[after]  # [h_t 1]
        self.new_states_T = self.new_states.mT
        self.target = work.target[step]
        self.dy = work.error[step]
        self.errors = self.dy[..., 0, :]


Views = WindowViews | OneStepViews


class KeptViews:
    """The views of the windows of a workspace."""

    def __init__(self, work: Workspace):
        self.work = work
        self.views: dict[tuple[int, ...], Views] = {}
        self.viewed = 0  # steps of these windows

    def get(self, window: Window) -> Views:
        """Return the views of this window of the series."""
        work = self.work
        begin = window.start - work.base
        first_new = window.loss_start - work.base
        end = window.stop - work.base
        views = self.views.get((begin, first_new, end))
        if views is not None:
            return views
        if self.viewed + window.steps > MAX_VIEWED:
            self.views.clear()
            self.viewed = 0
        self.viewed += window.steps
        if work.is_one_step:
            views = OneStepViews(work, begin)
        else:
            views = WindowViews(work, begin, first_new, end)
        self.views[begin, first_new, end] = views
        return views
