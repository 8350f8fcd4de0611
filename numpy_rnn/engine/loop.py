"""Training on a series, by the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Unpack

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.axes import NUMPY_ARRAYS as ARRAYS
from numpy_rnn.common.axes import is_integer
from numpy_rnn.common.checks import check_training
from numpy_rnn.common.records import Parameters, Run, TrainKeywords, Update, tree_map
from numpy_rnn.engine.gradient import PlannedUpdate, one_step_updates, window_updates
from numpy_rnn.engine.memory import WIDE, Layout, ParameterVectors, flat_update, group
from numpy_rnn.engine.objective import window_losses
from numpy_rnn.engine.sgd_step import SgdStep
from numpy_rnn.engine.workspace import MAX_VIEWED, Workspace
from numpy_rnn.parameters import Array
from numpy_rnn.step import rounded_rate
from numpy_rnn.tbptt import compute_windows

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
    x: Array,
    target: Array,
    h_0: Array,
    **options: Unpack[TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2), one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the
    forward pass over its window, the steps (s_n, e_n], with the current parameters,
    takes the gradient of the loss of its new steps (e_{n-1}, e_n], and makes one step:
    `clip_by_global_norm` or `clip_by_value`, if one has a limit, `direction` and `sgd`.

        e_n = min(n·k1, T)                 (T1)
        s_n = max(0, e_{n-1} − (k2 − k1))  (T2)
        initial state of the window: h at s_n as update n−1 computed it, a constant;
        h_0 if s_n = 0  (T3)

    Parameters
    ----------
    params : Parameters
        The initial parameters, of one network or of an ensemble of N.
    x : ndarray
        Inputs, of shape (T, B, D), or (T, N, B, D) with a series per network. Integers
        are classes from 0 to D − 1, of shape (T, B) or (T, N, B). A series that is
        mapped from a file is read window by window.
    target : ndarray
        Targets, of shape (T, B, O) or (T, N, B, O); classes from 0 to O − 1, of shape
        (T, B) or (T, N, B), for the cross-entropy.
    h_0 : ndarray
        The state at the start of every epoch, of shape (B, H) or (N, B, H).
    k1, k2 : int
        Steps from one update to the next, and steps of its window, 1 ≤ k1 ≤ k2.
    learning_rate : float or ndarray
        η, a number, or one per network, of shape (N,).
    epochs : int
        Passes through the series, 0 or more.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        φ, as in `forward`; "tanh" by default.
    loss : {"squared_error", "cross_entropy"}
        `half_squared_error`, by default, or `cross_entropy`.
    reduction : {"sum", "mean"}
        Whether L is the sum, by default, or the mean of the terms of a window.
    max_norm : float, optional
        Limit of the gradient's norm, as in torch.nn.utils.clip_grad_norm_.
    max_value : float, optional
        Limit of each element of the gradient, as in torch.nn.utils.clip_grad_value_.
    momentum, dampening, weight_decay : float
        0 by default; as in torch.optim.SGD.
    nesterov : bool
        False by default; as in torch.optim.SGD.
    adagrad : bool
        False by default; True divides each element of the gradient as in `direction`.
    velocity : Gradients, optional
        That of an Update of an earlier run, to continue it; from rest by default.
    record : bool
        Whether each Update has its activations and adjoints; False by default.
    yield_every : {1, "epoch"}
        1, by default, yields every update; "epoch" the last one of each epoch, with the
        losses of all.

    Returns
    -------
    iterator of Update
        The arrays of an Update do not change after it is yielded, and its parameters
        and velocity are read-only. The run of

            train(update.parameters, x, target, h_0, velocity=update.velocity, ...)

        continues after the last update of an epoch, bit for bit.

    Raises
    ------
    InputError
        When `train` is called: if an array is no NumPy array, or a mask or a matrix,
        if a shape or dtype does not fit the parameters, a number is not finite,
        k2 < k1, torch.optim.SGD would refuse the options, adagrad comes with momentum,
        or both limits are given.
    TypeError
        If a keyword argument is missing or unknown.

    Notes
    -----
    Arguments are validated when `train` is called. All except x and target are copied;
    none is modified.

    References
    ----------
    Williams and Peng 1990. Sutskever 2013, section 2.8.6.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> series = np.sin(np.linspace(2, 10, 21), dtype="float32").reshape(-1, 1, 1)
    >>> x, target, h_0 = series[:-1], series[1:], np.zeros((1, 6), "float32")
    >>> options = {"k1": 5, "k2": 10, "learning_rate": 0.05, "epochs": 100}
    >>> updates = list(rnn.train(rnn.initial_parameters(), x, target, h_0, **options))
    >>> len(updates), updates[2].window
    (400, Window(start=5, loss_start=10, stop=15))
    >>> bool(updates[-1].loss < updates[3].loss)
    True
    """
    run, record, by_epoch = check_training(
        ARRAYS, params, x, target, h_0, dict(options)
    )
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
            yield flat_update(
                vectors.copy(),
                places,
                epoch=epoch,
                number=number,
                window=window,
                loss=loss,
            )

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
        activations, adjoints = kept or (None, None)
        return flat_update(
            vectors,
            self.places,
            epoch=epoch,
            number=number,
            window=window,
            loss=losses[-1],
            activations=activations,
            adjoints=adjoints,
            losses=losses if self.by_epoch else None,
        )

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
        rate = rounded_rate(params, step.learning_rate)
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
        for number, window in enumerate(compute_windows(T, self.schedule), start=1):
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
