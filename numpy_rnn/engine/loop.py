"""Training on a series, by the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Unpack

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.checks import NUMPY_ARRAYS as ARRAYS
from numpy_rnn.common.checks import check_training, is_integer
from numpy_rnn.common.records import Gradients, Parameters, Run, Update, tree_map
from numpy_rnn.engine.gradient import PlannedUpdate, one_step_updates, window_updates
from numpy_rnn.engine.memory import WIDE, FlatUpdate, Layout, ParameterVectors, group
from numpy_rnn.engine.objective import window_losses
from numpy_rnn.engine.sgd_step import SgdStep
from numpy_rnn.engine.workspace import MAX_VIEWED, Workspace
from numpy_rnn.parameters import Array, InitialState, Inputs, LearningRate, Targets
from numpy_rnn.step import as_learning_rate
from numpy_rnn.tbptt import series_windows

WORKSPACE_BYTES = 2**21  # of the rows of a workspace, unless one window needs more
MAX_WORKSPACES = (
    32  # of that size, or with as many views as `MAX_VIEWED` allows, in one run
)
PART_STEPS = (
    256  # of the windows of a part of the series, whose views the next part uses again
)
# numbers, the least: NumPy copies arrays that it broadcasts to buffers that are larger
BUFFER = 16


def train(
    params: Parameters[Array],
    x: Inputs,
    target: Targets,
    h_0: InitialState,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    epochs: int,
    nonlinearity: records.Nonlinearity = "tanh",
    loss: records.LossName = "squared_error",
    reduction: records.Reduction = "sum",
    velocity: Gradients[Array] | None = None,
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    max_norm: float | None = None,
    max_value: float | None = None,
    **momentum: Unpack[records.MomentumKeywords],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2) and SGD, one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the
    forward pass over its window, the steps (s_n, e_n], with the current parameters,
    takes the gradient of the loss of its new steps (e_{n-1}, e_n], and makes one SGD
    step, where

        e_n = min(n·k1, T)                 (T1)
        s_n = max(0, e_{n-1} − (k2 − k1))  (T2)
        initial state of the window: h at s_n as update n−1 computed it, a constant;
        h_0 if s_n = 0  (T3)

    The step is `clip_by_global_norm` or `clip_by_value`, if one has a limit,
    `direction` and `sgd`.

    Arguments, with T steps, B sequences, D inputs, H hidden units and O outputs:

        params         the initial Parameters; N networks: each array has a first axis N
        x              (T, B, D), or classes, integers (T, B) from 0 to D − 1
        target         (T, B, O), or for "cross_entropy" classes (T, B) from 0 to O − 1
        h_0            (B, H), the state at the start of every epoch
        k1, k2         new steps per update, and steps of its window, 1 ≤ k1 ≤ k2
        learning_rate  η, a number, or an array (N,) with one per network
        epochs         passes through the series, 0 or more
        nonlinearity   φ: "tanh", "relu" or "sigmoid", as in `forward`
        loss           "squared_error" (`half_squared_error`) or "cross_entropy"
        reduction      "sum", or "mean": L divided by the number of terms of the window
        velocity       that of an earlier run's Update, to continue it; None: from rest
        record         whether each Update has its activations and adjoints
        yield_every    1 yields every update, "epoch" the last one of each epoch
        momentum, dampening, nesterov, weight_decay
                       as in torch.optim.SGD; 0, 0, False and 0 by default
        adagrad        False; True divides each number of the gradient as in `direction`
        max_norm       None, or the limit of the gradient's norm, as in clip_grad_norm_
        max_value      None, or the limit of each of its numbers, as in clip_grad_value_

    x, target and h_0 have the dtype of params, float32 or float64. With N networks they
    are shared, or have an axis N before B, one for each network. A series that is
    mapped from a file is read window by window.

    Returns an iterator of Updates, which describes their attributes. With
    yield_every="epoch" the `losses` of an Update are those of all updates of its epoch,
    (n,) or (n, N). The run of

        train(update.parameters, x, target, h_0, velocity=update.velocity, ...)

    continues after the last update of an epoch, bit for bit. The arguments are checked,
    and but for x and target copied, when `train` is called, and are never changed.
    Arrays are not changed after they were yielded; parameters and velocity are
    read-only.

    Raises InputError on values that are not NumPy arrays, on masks and matrices, on
    shapes and dtypes that do not fit, on numbers that are not finite, on k2 < k1, on
    options that torch.optim.SGD refuses, on adagrad with momentum, on both max_norm and
    max_value, on a velocity that does not fit, and on an unknown nonlinearity, loss or
    reduction. Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    options: Any = {
        "k1": k1,
        "k2": k2,
        "learning_rate": learning_rate,
        "epochs": epochs,
    }
    options |= {"nonlinearity": nonlinearity, "loss": loss, "reduction": reduction}
    options |= {"velocity": velocity, "record": record, "yield_every": yield_every}
    options |= {"max_norm": max_norm, "max_value": max_value, **momentum}
    run, record, by_epoch = check_training(ARRAYS, (params, x, target, h_0), **options)
    ensemble, (k1, _, epochs) = Ensemble(run, record, by_epoch), run.options.schedule
    if ensemble.is_simple:
        return ensemble.simple_updates()
    return ensemble.updates(epochs, 1 if by_epoch else -(-len(x) // k1))


class Ensemble:
    """All networks of a run, in blocks that are computed one after the other."""

    def __init__(self, run: Run, record: bool, by_epoch: bool):
        """by_epoch: whether only the last update of each epoch is yielded."""
        self.N, self.by_epoch = run.params.networks, by_epoch
        parts = group(run.params, run.h_0.shape[-2])
        self.blocks = [Block(run, part, len(parts), record, by_epoch) for part in parts]
        self.lead = self.blocks[0]
        self.layout = self.lead.vectors.layout
        self.places = self.layout.places(() if self.N is None else (self.N,))
        self.is_simple = not (
            by_epoch or record or self.N or self.lead.work.loss.by_row
        )

    def updates(self, epochs: int, per_epoch: int) -> Iterator[Update[Array]]:
        """Generate the updates that are yielded, so many per epoch."""
        for epoch in range(1, epochs + 1):
            for _ in range(per_epoch):
                self.advance()
                yield self.update(epoch)

    def simple_updates(self) -> Iterator[Update[Array]]:
        """Generate every update of one network with half the squared error, in few
        calls.
        """
        vectors, places, epoch = self.lead.vectors.array, self.places, 0
        half = self.layout.dtype.type(0.5)
        for views, number, window, _ in self.lead.made:
            epoch += number == 1
            errors, divisor = views.errors, views.divisor
            loss = half * errors.dot(errors)  # (L1)
            if divisor is not None:
                loss = loss / divisor  # (L2)
            arrays = None, None, None, vectors.copy()
            yield FlatUpdate(epoch, number, window, loss, *arrays, places)

    def advance(self) -> None:
        """Make the updates up to the next one that is yielded, block by block for the
        cache.
        """
        size = np.setbufsize(BUFFER) if (self.layout.networks or 0) >= WIDE else None
        try:
            for block in self.blocks:
                block.latest = next(block.made)
        finally:
            if size is not None:
                np.setbufsize(size)

    def update(self, epoch: int) -> Update[Array]:
        """The latest update of all networks."""
        _, number, window, _ = self.lead.latest
        vectors = self.together([block.vectors.array for block in self.blocks], -2)
        losses = self.together([block.take_losses() for block in self.blocks], -1)
        recorded = zip(*(block.work.recorded for block in self.blocks))
        kept = [
            tree_map(lambda *v: self.together(v, -3), *records) for records in recorded
        ]
        arrays = (
            losses[-1],
            losses if self.by_epoch else None,
            *(kept or (None, None)),
            vectors,
        )
        return FlatUpdate(epoch, number, window, *arrays, self.places)

    def together(self, arrays: Sequence[Array], axis: int) -> Array:
        """A copy of the arrays of every block as one, with all N networks
        at this axis.
        """
        if self.N is None:
            return arrays[0].copy()
        join = np.stack if self.layout.networks is None else np.concatenate
        joined: Array = np.moveaxis(join(arrays, axis), axis, 0)[: self.N]
        return np.moveaxis(joined, 0, axis)


class Block:
    """A group of networks, or one: its parameters, its workspace and its updates in
    order.
    """

    latest: PlannedUpdate

    def __init__(
        self,
        run: Run,
        part: tuple[Any, Layout],
        blocks: int,
        record: bool,
        by_epoch: bool,
    ):
        """part: the index of the networks and their layout."""
        (self.schedule, objective, step), (self.index, layout) = run.options, part
        self.x, self.target, self.by_epoch = run.x, run.target, by_epoch
        params, velocity = self.networks(run.params), self.networks(run.velocity)
        rate = as_learning_rate(params, step.learning_rate)
        rate = rate[self.index][..., None] if rate.ndim else rate
        self.vectors = ParameterVectors(layout, params, velocity, step.has_velocity)
        sgd_step = SgdStep(self.vectors, step, rate, velocity is not None)
        self.work = self.workspace(layout, objective, min(1, MAX_WORKSPACES / blocks))
        self.work.record = record
        self.h_0 = self.series(run.h_0[None])[0].copy()
        self.losses, self.first = (
            list[Array](),
            0,
        )  # those of the epoch up to step `first`
        make_updates = one_step_updates if self.work.is_one_step else window_updates
        self.made = make_updates(sgd_step, self.work, self.planned())

    def workspace(
        self, layout: Layout, objective: records.Objective, share: float
    ) -> Workspace:
        """A workspace of the whole series if that is short and its views pay, or else
        of a part.

        share: the part of the memory of a workspace that this one may take.
        """
        T, (D, H, O, B, *_) = len(self.x), layout
        k1, k2 = min(self.schedule.k1, T), min(self.schedule.k2, T)
        step_bytes = (
            B * (D + H + 2 * O) * layout.dtype.itemsize * (layout.networks or 1)
        )
        most_steps = int(WORKSPACE_BYTES * share) // step_bytes
        most_viewed = int(MAX_VIEWED * share)
        pays = -(-T // k1) * k2 <= min(self.schedule.epochs * PART_STEPS, most_viewed)
        most_windows = max(1, min(PART_STEPS, most_viewed // 3) // k2)
        part_steps = max(k2, min(most_steps, k2 + k1 * (most_windows - 1)))
        self.is_whole = pays and most_steps >= T
        return Workspace(
            layout, T if self.is_whole else min(T, part_steps), k1, k2, objective
        )

    def networks(self, params: Any) -> Any:
        """The parameters or the velocity of this block."""
        return params and tree_map(lambda array: array[self.index], params)

    def series(self, rows: Array) -> Array:
        """The series of this block: (n, B, ·) or (n, N, B, ·), also of classes."""
        if is_integer(rows):
            rows = rows[..., None]
        return rows if rows.ndim == 3 else rows[:, self.index]

    def planned(self) -> Iterator[PlannedUpdate]:
        """The updates of all epochs."""
        epochs = self.schedule.epochs
        if self.is_whole:
            return chain.from_iterable(repeat(list(self.epoch()), epochs))
        return chain.from_iterable(self.epoch() for _ in range(epochs))

    def epoch(self) -> Iterator[PlannedUpdate]:
        """Generate the updates of one epoch, and load parts of the series as they are
        needed.
        """
        work, T, k1 = self.work, len(self.x), self.schedule.k1
        for number, window in enumerate(series_windows(T, self.schedule), start=1):
            start, loss_start, stop = window
            if number == 1 or stop > work.stop:
                if self.by_epoch:
                    self.collect_losses(loss_start)
                room = work.steps - (loss_start - start)
                end = T if T - loss_start <= room else loss_start + room // k1 * k1
                x, target = (
                    self.series(self.x[start:end]),
                    self.series(self.target[loss_start:end]),
                )
                work.load(start, x, target)
                if start == 0:
                    work.state(0)[...] = self.h_0  # (T3)
            is_yielded = stop == T or not self.by_epoch
            yield PlannedUpdate(work.window(window), number, window, is_yielded)

    def take_losses(self) -> Array:
        """The losses of all updates since the one yielded before, (n,) or (n,
        networks).
        """
        self.collect_losses(self.latest.window.stop)
        losses, self.losses = self.losses, []
        return losses[0] if len(losses) == 1 else np.concatenate(losses)

    def collect_losses(self, stop: int) -> None:
        """Compute the losses of the updates up to step `stop`, while the workspace has
        them.
        """
        work, k1, B = self.work, self.work.k1, self.work.layout.B
        last = (
            self.first + (stop - self.first) // k1 * k1
        )  # a shorter window may follow
        for end in (last, stop):
            if end > self.first:
                rows = slice((self.first - work.base) * B, (end - work.base) * B)
                row_losses = (
                    None if work.row_losses is None else work.row_losses[..., rows, :]
                )
                windows = -(-(end - self.first) // k1)
                divisor = work.divisor((end - self.first) // windows)
                error = work.error[..., rows, :]
                self.losses.append(window_losses(error, row_losses, windows, divisor))
                self.first = end
        self.first %= len(self.x)
