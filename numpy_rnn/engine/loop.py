"""Training on a series, by the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from math import ceil
from typing import Any, NamedTuple, Unpack

import numpy as np

from numpy_rnn.arrays import ARRAYS, Array
from numpy_rnn.common.axes import is_integer
from numpy_rnn.common.checks import TrainingArguments, check_training
from numpy_rnn.common.records import (
    Objective,
    Parameters,
    TrainKeywords,
    Update,
    Window,
    tree_map,
)
from numpy_rnn.engine.flat_update import flat_update
from numpy_rnn.engine.gradient import gradient_function, recorded
from numpy_rnn.engine.memory import WIDE_ENSEMBLE, Layout, ParameterVectors, Part, group
from numpy_rnn.engine.objective import window_losses
from numpy_rnn.engine.sgd_step import step_function
from numpy_rnn.engine.workspace import (
    MAX_VIEWED,
    OneStepViews,
    WindowViews,
    Workspace,
    rows,
)
from numpy_rnn.step import rounded_rate
from numpy_rnn.tbptt import compute_windows

WORKSPACE_BYTES = 2**21  # of the rows of a workspace, unless one window needs more
# Workspaces of that size, or with as many views as MAX_VIEWED allows, in one run.
MAX_WORKSPACES = 32
# Steps of the windows of a part of the series, whose views the next part uses again.
PART_STEPS = 256
# Numbers, the least: NumPy copies arrays that it broadcasts to buffers that are larger.
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
    nonlinearity : str
        φ, one of those of `forward`; "tanh" by default.
    loss : str
        One of those of `adjoints`; "squared_error" by default.
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
    training = check_training(ARRAYS, params, x, target, h_0, dict(options))
    ensemble = Ensemble(training)
    if ensemble.is_single:
        return ensemble.single_updates()
    return ensemble.updates()


class PlannedUpdate(NamedTuple):
    """An update of an epoch, and its window."""

    views: WindowViews | OneStepViews
    number: int
    """From 1."""
    window: Window
    is_yielded: bool


class Ensemble:
    """All networks of a run, in blocks that are computed one after the other."""

    def __init__(self, training: TrainingArguments):
        run = training.run
        self.networks = run.params.networks
        parts = group(run.params, run.h_0.shape[-2])
        self.blocks = [Block(training, part, len(parts)) for part in parts]
        self.first_block = self.blocks[0]
        self.layout = self.first_block.vectors.layout
        self.locations = self.layout.locations(run.params.W_hh.shape[:-2])
        is_grouped = self.layout.networks is not None
        self.is_wide = is_grouped and (self.networks or 0) >= WIDE_ENSEMBLE

    @property
    def is_single(self) -> bool:
        """Whether every update of one network, without records, is yielded, and its
        loss is half the squared error.
        """
        block = self.first_block
        is_plain = not (block.by_epoch or block.record)
        return is_plain and self.networks is None and not block.work.loss.by_row

    def updates(self) -> Iterator[Update[Array]]:
        """Yield the updates that the run yields."""
        epoch, block = 1, self.first_block
        while epoch <= block.schedule.epochs:
            self.advance()
            yield self.update(epoch)
            epoch += block.latest.window.stop == len(block.x)

    def single_updates(self) -> Iterator[Update[Array]]:
        """Yield every update of such a run of one network, in few calls."""
        has_divisor = self.first_block.work.terms is not None
        vectors, locations = self.first_block.vectors.array, self.locations
        half = self.layout.dtype.type(0.5)
        epoch = 0
        views: Any
        for views, number, window, _ in self.first_block.updates:
            epoch += number == 1
            errors = views.errors
            loss = half * errors.dot(errors)  # (L1)
            if has_divisor:
                loss = loss / views.divisor  # (L2)
            yield flat_update(epoch, number, window, loss, vectors.copy(), locations)

    def advance(self) -> None:
        """Make the updates up to the next one that is yielded, block by block for the
        cache.
        """
        size = np.setbufsize(BUFFER) if self.is_wide else None
        try:
            for block in self.blocks:
                block.latest = next(block.updates)
        finally:
            if size is not None:
                np.setbufsize(size)

    def update(self, epoch: int) -> Update[Array]:
        """Return the latest update of all networks."""
        latest, blocks = self.first_block.latest, self.blocks
        vectors = self.joined([block.vectors.array for block in blocks], axis=-2)
        losses = self.joined([block.take_losses() for block in blocks], axis=-1)
        update = flat_update(
            epoch, latest.number, latest.window, losses[-1], vectors, self.locations
        )
        if self.first_block.by_epoch:
            update.add(losses=losses)
        if self.first_block.record:
            records = [block.recorded for block in blocks]
            activations, derivatives = tree_map(
                lambda *arrays: self.joined(arrays, axis=-3), *records
            )
            update.add(activations=activations, adjoints=derivatives)
        return update

    def joined(self, arrays: Sequence[Array], axis: int) -> Array:
        """Return a copy of the arrays of every block as one, with all networks at this
        axis.
        """
        if self.networks is None:
            return arrays[0].copy()
        join = np.stack if self.layout.networks is None else np.concatenate
        first: Array = np.moveaxis(join(arrays, axis), axis, 0)[: self.networks]
        return np.moveaxis(first, 0, axis)


class Block:
    """A group of networks, or one: its parameters, its workspace and its updates."""

    latest: PlannedUpdate

    def __init__(self, training: TrainingArguments, part: Part, blocks: int):
        """blocks: how many there are."""
        run = training.run
        self.schedule, objective, step = run.options
        self.index = part.index
        self.record = training.record
        self.by_epoch = training.by_epoch
        self.x, self.target = run.x, run.target
        self.h_0 = self.series(run.h_0[None])[0].copy()
        params, velocity = tree_map(
            lambda array: array[self.index], (run.params, run.velocity)
        )
        self.vectors = ParameterVectors(
            part.layout, params, velocity, step.has_velocity
        )
        rate = rounded_rate(run.params, step.learning_rate)
        if rate.ndim:
            rate = rate[self.index][..., None]
        self.step = step_function(
            self.vectors, step, rate, initialized=velocity is not None
        )
        sharing = ceil(blocks / MAX_WORKSPACES)
        self.work = self.workspace(part.layout, objective, sharing)
        self.recorded: Any = None  # activations and adjoints of the latest update
        self.losses: list[Array] = []  # of the epoch up to step `losses_stop`
        self.losses_stop = 0
        self.updates = self.make_updates()

    def workspace(
        self, layout: Layout, objective: Objective, sharing: int
    ) -> Workspace:
        """Return a workspace of the whole series, if that is short and its views pay,
        or else of a part.

        sharing: how many blocks share the memory of a workspace.
        """
        T = len(self.x)
        k1, k2 = min(self.schedule.k1, T), min(self.schedule.k2, T)
        numbers = layout.B * (layout.D + layout.H + 2 * layout.O)
        step_bytes = numbers * layout.dtype.itemsize * (layout.networks or 1)
        most_steps = WORKSPACE_BYTES // sharing // step_bytes
        most_viewed = MAX_VIEWED // sharing
        viewed = ceil(T / k1) * k2
        pays = viewed <= min(self.schedule.epochs * PART_STEPS, most_viewed)
        self.is_whole = pays and most_steps >= T
        if not self.is_whole:
            most_windows = max(1, min(PART_STEPS, most_viewed // 3) // k2)
            part_steps = max(k2, min(most_steps, k2 + k1 * (most_windows - 1)))
            T = min(T, part_steps)
        return Workspace(layout, T, k1, k2, objective)

    def series(self, values: Array) -> Array:
        """Return the series of this block: (n, B, ·) or (n, N, B, ·), also of
        classes.
        """
        if is_integer(values):
            values = values[..., None]
        return values if values.ndim == 3 else values[:, self.index]

    def make_updates(self) -> Iterator[PlannedUpdate]:
        """Make all updates, and yield those that the run yields, after their step."""
        compute_gradient = gradient_function(self.vectors, self.work)
        apply_step, record = self.step, self.record
        for update in self.planned():
            views, _, window, is_yielded = update
            compute_gradient(views)
            if record and is_yielded:
                self.recorded = recorded(self.vectors, self.work, window)
            apply_step(is_yielded)
            if is_yielded:
                yield update

    def planned(self) -> Iterator[PlannedUpdate]:
        """Return the updates of all epochs."""
        epochs = self.schedule.epochs
        if self.is_whole:
            return chain.from_iterable(repeat(list(self.epoch()), epochs))
        return chain.from_iterable(self.epoch() for _ in range(epochs))

    def epoch(self) -> Iterator[PlannedUpdate]:
        """Yield the updates of one epoch, and load parts of the series as they are
        needed.
        """
        work, T = self.work, len(self.x)
        for number, window in enumerate(compute_windows(T, self.schedule), start=1):
            if number == 1 or window.stop > work.stop:
                self.load(window)
            is_yielded = window.stop == T or not self.by_epoch
            yield PlannedUpdate(work.window(window), number, window, is_yielded)

    def load(self, window: Window) -> None:
        """Load the part of the series that begins with this window."""
        work, T, k1 = self.work, len(self.x), self.schedule.k1
        if self.by_epoch:
            self.collect_losses(window.loss_start)
        room = work.steps - (window.loss_start - window.start)
        end = min(T, window.loss_start + room)
        if end < T:
            end = window.loss_start + room // k1 * k1
        x = self.series(self.x[window.start : end])
        work.load(window.start, x, self.series(self.target[window.loss_start : end]))
        if window.start == 0:
            work.state(0)[...] = self.h_0  # (T3)

    def take_losses(self) -> Array:
        """Return the losses of all updates since the previous call, (n,) or
        (n, networks).
        """
        self.collect_losses(self.latest.window.stop)
        losses, self.losses = self.losses, []
        return losses[0] if len(losses) == 1 else np.concatenate(losses)

    def collect_losses(self, stop: int) -> None:
        """Compute the losses of the updates up to step `stop`, while the workspace has
        them.
        """
        k1 = self.work.k1
        whole = (stop - self.losses_stop) // k1 * k1  # a shorter window may follow
        for end in (self.losses_stop + whole, stop):
            if end > self.losses_stop:
                self.losses.append(self.losses_until(end))
                self.losses_stop = end
        self.losses_stop %= len(self.x)

    def losses_until(self, end: int) -> Array:
        """Return the losses of updates with equally many new steps."""
        work, B, steps = self.work, self.work.layout.B, end - self.losses_stop
        index = rows((self.losses_stop - work.base) * B, (end - work.base) * B)
        row_losses = work.row_losses
        if row_losses is not None:
            row_losses = row_losses[index]
        windows = ceil(steps / work.k1)
        divisor = work.divisor(steps // windows)
        return window_losses(work.error[index], row_losses, windows, divisor)
