"""The networks of a run, in blocks that are computed one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.checks import TrainingArguments
from numpy_rnn.common.records import Activations, Adjoints, Update
from numpy_rnn.common.trees import tree_map
from numpy_rnn.engine.flat_update import flat_update
from numpy_rnn.engine.gradient import gradient_function, recorded
from numpy_rnn.engine.grouping import WIDE_ENSEMBLE, Group, make_groups
from numpy_rnn.engine.memory import ParameterVectors
from numpy_rnn.engine.plan import Plan, PlannedUpdate
from numpy_rnn.engine.sgd_step import step_function
from numpy_rnn.step import rounded_rate

# NumPy's smallest buffer, in numbers: with a larger one it copies broadcast rows.
BUFFER = 16


class Block:
    """A group of networks, or one: its parameters, its plan and its updates."""

    latest: PlannedUpdate
    recorded: tuple[Activations[Array], Adjoints[Array]]  # of the latest update

    def __init__(self, training: TrainingArguments, group: Group, blocks: int):
        """blocks: how many there are."""
        run = training.run
        step = run.options.step
        members = group.members
        params, velocity = tree_map(
            lambda array: array[members], (run.params, run.velocity)
        )
        self.vectors = ParameterVectors(
            group.layout, params, velocity, step.has_velocity
        )
        rate = rounded_rate(run.params, step.learning_rate)
        if rate.ndim:
            rate = rate[members][..., None]
        self.apply_step = step_function(
            self.vectors, step, rate, initialized=velocity is not None
        )
        self.plan = Plan(training, group, blocks)
        self.record = training.record
        self.updates = self.make_updates()

    def make_updates(self) -> Iterator[PlannedUpdate]:
        """Make all updates, and yield those that the run yields, after their step."""
        plan = self.plan
        vectors = self.vectors
        record = self.record
        compute_gradient = gradient_function(vectors, plan.work)
        apply_step = self.apply_step
        for update in plan.updates():
            views, _, window, is_yielded = update
            compute_gradient(views)
            if record and is_yielded:
                self.recorded = recorded(vectors, plan.work, window)
            apply_step(is_yielded)
            if is_yielded:
                yield update

    def advance(self) -> None:
        """Make the updates up to the next one that is yielded."""
        self.latest = next(self.updates)

    def take_losses(self) -> Array:
        """Return the losses of the updates since the previous call."""
        return self.plan.losses.take(self.latest.window.stop)


class Ensemble:
    """All networks of a run, and what it yields."""

    def __init__(self, training: TrainingArguments):
        run = training.run
        self.training = training
        self.networks = run.params.networks
        groups = make_groups(run.params, run.h_0.shape[-2])
        self.blocks = [Block(training, group, len(groups)) for group in groups]
        self.first_block = self.blocks[0]
        self.layout = self.first_block.vectors.layout
        is_grouped = self.layout.networks is not None
        self.is_wide = is_grouped and (self.networks or 0) >= WIDE_ENSEMBLE

    @property
    def has_direct_loss(self) -> bool:
        """Whether `single_updates` may yield the run: every update of one network,
        without records, whose loss is half the squared error.
        """
        is_plain = not (self.training.by_epoch or self.training.record)
        has_errors_alone = not self.first_block.plan.work.loss.by_row
        return is_plain and self.networks is None and has_errors_alone

    def updates(self) -> Iterator[Update[Array]]:
        """Yield the updates that the run yields."""
        run = self.training.run
        epoch = 1
        while epoch <= run.options.schedule.epochs:
            self.advance()
            yield self.update(epoch)
            if self.first_block.latest.window.stop == len(run.x):
                epoch += 1

    def single_updates(self) -> Iterator[Update[Array]]:
        """Yield every update of such a run of one network, in few calls."""
        has_divisor = self.first_block.plan.work.terms is not None
        vectors = self.first_block.vectors.array
        layout = self.layout
        half = layout.dtype.type(0.5)
        epoch = 0
        views: Any
        for views, number, window, _ in self.first_block.updates:
            epoch += number == 1
            errors = views.errors
            # `window_losses` of one window, written out: a call of it takes a
            # large part of the time of a small update.
            loss = half * errors.dot(errors)  # (L1)
            if has_divisor:
                loss = loss / views.divisor  # (L2)
            yield flat_update(epoch, number, window, loss, vectors.copy(), layout)

    def advance(self) -> None:
        """Make the updates up to the next one that is yielded, block by block for the
        cache.
        """
        size = np.setbufsize(BUFFER) if self.is_wide else None
        try:
            for block in self.blocks:
                block.advance()
        finally:
            if size is not None:
                np.setbufsize(size)

    def update(self, epoch: int) -> Update[Array]:
        """Return the latest update of all networks."""
        latest = self.first_block.latest
        blocks = self.blocks
        vectors = self.joined([block.vectors.array for block in blocks], axis=-2)
        losses = self.joined([block.take_losses() for block in blocks], axis=-1)
        update = flat_update(
            epoch, latest.number, latest.window, losses[-1], vectors, self.layout
        )
        if self.training.by_epoch:
            update.add(losses=losses)
        if self.training.record:
            records = [block.recorded for block in blocks]
            activations, derivatives = tree_map(
                lambda *arrays: self.joined(arrays, axis=-3), *records
            )
            update.add(activations=activations, adjoints=derivatives)
        return update

    def joined(self, arrays: Sequence[Array], axis: int) -> Array:
        """Return a copy of the arrays of every block as one, with all networks at this
        axis.

        It is the axis N of what a group has: vectors (N, P), losses (n, N) of n
        updates, and records (T, N, B, ·). An array of a single network has none, and
        the new axis is made there.
        """
        if self.networks is None:
            return arrays[0].copy()
        if self.layout.networks is None:
            return np.stack(arrays, axis)
        with_padding: Array = np.concatenate(arrays, axis)
        # The last group of a wide ensemble may repeat its last network.
        first, _ = np.split(with_padding, [self.networks], axis)
        return first
