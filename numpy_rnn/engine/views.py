"""The views of windows: the parts of a workspace that each window reads and writes.

They are made once and used in every epoch: with small networks, NumPy spends its time
on making arrays and views, not on arithmetic.
"""

from typing import TypeAlias

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Window
from numpy_rnn.engine.objective import Divisor
from numpy_rnn.engine.workspace import Workspace, rows

MAX_VIEWED = 4096  # steps of the windows whose views are kept: about a kilobyte each


# The views of one step, which `gradient.py` unpacks in this order. They are plain
# tuples, since those of a class of its own take more time to unpack.

# (the row that W, or W_hh, multiplies, a_t, h_t)
ForwardStep: TypeAlias = tuple[Array, Array, Array]
# (dh_t, φ'(a_t), da_t) of the last step of a window, which no step follows
LastStep: TypeAlias = tuple[Array, Array, Array]
# (da_{t+1}, dh_t, φ'(a_t), da_t) of a step that another one follows
EarlierStep: TypeAlias = tuple[Array, Array, Array, Array]


class WindowViews:
    """The rows [begin, end) of steps of a workspace, of which those from `first_new` on
    are new.

    T is the number of steps, K that of the new ones.
    """

    # Views of all steps of the window together, of shape (T·B, ·).
    x: Array
    x_T: Array
    """The transpose of x."""
    a: Array
    h: Array
    slope: Array
    """φ'(a)."""
    da: Array
    before_T: Array
    """The transpose of the rows that W, or W_hh, multiplies."""

    # Views of its new steps together, of shape (K·B, ·).
    new_states: Array
    """h_t, or [h_t 1] if rows are stacked."""
    new_states_T: Array
    """The transpose of these."""
    target: Array
    error: Array
    """∂ℓ/∂y, before the division by C of (L2)."""
    errors: Array | None
    """The errors as one vector; None for a group of networks."""
    row_losses: Array | None
    """ℓ of every row; None if it is computed from the errors."""
    divisor: Divisor | None
    """C of (L2); None for 1."""
    y: Array
    dy: Array
    dh_new: Array
    """dh of the new steps."""

    # Views of single steps.
    forward: list[ForwardStep]
    """All steps, in order."""
    last_step: LastStep
    newer_steps: list[EarlierStep]
    """The other new steps, the latest first."""
    older_steps: list[EarlierStep]
    """The steps without a loss, the latest first."""

    def __init__(self, work: Workspace, begin: int, first_new: int, end: int):
        T = end - begin
        K = end - first_new
        self._view_all_steps(work, begin, end)
        self._view_new_steps(work, first_new, end, T)
        self._view_single_steps(work, begin, T, K)

    def _view_all_steps(self, work: Workspace, begin: int, end: int) -> None:
        """Make the views of all steps together."""
        B = work.sizes.B
        window = rows(begin * B, end * B)
        # Rows of h have one step more: h_t follows the row of x_t.
        after_window = rows((begin + 1) * B, (end + 1) * B)
        buffer = rows(0, (end - begin) * B)
        self.x = work.x[window]
        self.x_T = self.x.mT
        self.a = work.a[buffer]
        self.h = work.h[after_window]
        self.slope = work.slope[buffer]
        self.da = work.da[buffer]
        self.before_T = work.before[window].mT

    def _view_new_steps(
        self, work: Workspace, first_new: int, end: int, T: int
    ) -> None:
        """Make the views of the new steps together, the last ones of T."""
        B = work.sizes.B
        K = end - first_new
        new = rows(first_new * B, end * B)
        after_new = rows((first_new + 1) * B, (end + 1) * B)
        buffer = rows(0, K * B)
        self.new_states = work.after[after_new]
        self.new_states_T = self.new_states.mT
        self.target = work.target[new]
        self.error = work.error[new]
        self.errors = None
        if work.sizes.networks is None:
            self.errors = self.error.reshape(-1)
        self.row_losses = None if work.row_losses is None else work.row_losses[new]
        self.divisor = work.divisor(K)
        self.y = work.y[buffer]
        self.dy = self.error if work.dy is None else work.dy[buffer]
        self.dh_new = work.dh[rows((T - K) * B, T * B)]

    def _view_single_steps(self, work: Workspace, begin: int, T: int, K: int) -> None:
        """Make the lists of the views of each step."""
        by_step = work.by_step
        before = by_step.before[begin : begin + T]
        after = by_step.h[begin + 1 :]
        self.forward = list(zip(before, by_step.a, after))
        self.last_step = by_step.dh[T - 1], by_step.slope[T - 1], by_step.da[T - 1]
        da_next = by_step.da[1:T]
        earlier = list(zip(da_next, by_step.dh, by_step.slope, by_step.da))[::-1]
        self.newer_steps = earlier[: K - 1]
        self.older_steps = earlier[K - 1 :]


class OneStepViews:
    """Views for a window of one step and one sequence, whose loss has no divisor."""

    __slots__ = (
        "before",
        "before_T",
        "dy",
        "errors",
        "h",
        "new_states",
        "new_states_T",
        "target",
    )

    def __init__(self, work: Workspace, t: int):
        step = rows(t, t + 1)
        after = rows(t + 1, t + 2)
        self.before = work.before[step]  # [x_t h_{t-1} 1]
        self.before_T = self.before.mT
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
        key = begin, first_new, end
        if key in self.views:
            return self.views[key]
        if self.viewed + window.steps > MAX_VIEWED:
            self.views.clear()
            self.viewed = 0
        self.viewed += window.steps
        if work.is_one_step:
            self.views[key] = OneStepViews(work, begin)
        else:
            self.views[key] = WindowViews(work, begin, first_new, end)
        return self.views[key]
