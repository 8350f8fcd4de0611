"""A run: its networks, in blocks that are computed one after the other, and what it
yields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numpy_rnn.arrays import Array
from numpy_rnn.common.checks import TrainingArguments
from numpy_rnn.common.records import (
    Activations,
    Adjoints,
    Parameters,
    Update,
)
from numpy_rnn.common.trees import tree_map
from numpy_rnn.engine.flat_update import flat_update
from numpy_rnn.engine.gradient import gradient_function, read_window
from numpy_rnn.engine.groups import MAX_GROUPED, group_slices
from numpy_rnn.engine.plan import Members, Plan, PlannedUpdate
from numpy_rnn.engine.sgd_step import ApplyStep, step_function
from numpy_rnn.engine.vectors import ParameterVectors, Sizes
from numpy_rnn.step import rounded_rate

# NumPy's smallest buffer, in numbers: with a larger one it copies broadcast rows.
BUFFER = 16


class Block:
    """A group of networks, or one: its parameters, its plan and its updates."""

    latest: PlannedUpdate
    recorded: tuple[Activations[Array], Adjoints[Array]]  # of the latest update

    def __init__(self, training: TrainingArguments, plan: Plan):
        """Take the networks of the plan from the arguments of all."""
        run = training.run
        step = run.options.step
        members = plan.members
        params, velocity = tree_map(
            lambda array: array[members], (run.params, run.velocity)
        )
        sizes = plan.work.sizes
        self.vectors = ParameterVectors(sizes, params, velocity, step.has_velocity)
        rate = rounded_rate(run.params, step.learning_rate)
        if rate.ndim:
            rate = rate[members][..., None]
        apply_step = step_function(
            self.vectors, step, rate, initialized=velocity is not None
        )
        self.plan = plan
        self.updates = self.make_updates(apply_step, training.record)

    def make_updates(
        self, apply_step: ApplyStep, record: bool
    ) -> Iterator[PlannedUpdate]:
        """Make all updates, and yield those that the run yields, after their step."""
        work = self.plan.work
        compute_gradient = gradient_function(self.vectors, work)
        for update in self.plan.updates():
            views, _, window, is_yielded = update
            compute_gradient(views)
            if record and is_yielded:
                self.recorded = read_window(self.vectors, work, window)
            apply_step(is_yielded)
            if is_yielded:
                yield update

    def advance(self) -> None:
        """Make the updates up to the next one that is yielded."""
        self.latest = next(self.updates)

    def take_losses(self) -> Array:
        """Return the losses of the updates since the previous call."""
        return self.plan.losses.take(self.latest.window.stop)


class TrainingRun:
    """All networks of a run, and what it yields."""

    def __init__(self, training: TrainingArguments):
        run = training.run
        self.training = training
        self.sizes = sizes_of(run.params, run.h_0.shape[-2])
        networks = run.params.networks
        self.is_ensemble = networks is not None
        # A block is a group of networks, or a single one.
        self.is_grouped = self.sizes.networks is not None
        members: Sequence[Members] = [...]
        if networks is not None and self.is_grouped:
            k2 = min(run.options.schedule.k2, len(run.x))
            members = group_slices(self.sizes, networks, k2)
        elif networks is not None:
            members = range(networks)
        self.blocks = [
            Block(training, Plan(training, self.sizes_of(index), index, len(members)))
            for index in members
        ]
        self.first_block = self.blocks[0]

    def sizes_of(self, members: Members) -> Sizes:
        """Return the sizes of a block."""
        if isinstance(members, slice):
            return self.sizes._replace(networks=members.stop - members.start)
        return self.sizes

    def updates(self) -> Iterator[Update[Array]]:
        """Return the updates that the run yields."""
        is_plain = not (self.training.by_epoch or self.training.record)
        has_squares = not self.first_block.plan.work.loss.by_row
        if is_plain and has_squares and not self.is_ensemble:
            return self._single_updates()
        return self._all_updates()

    def _all_updates(self) -> Iterator[Update[Array]]:
        """Yield the updates of any run."""
        run = self.training.run
        epoch = 1
        while epoch <= run.options.schedule.epochs:
            self.advance()
            yield self.update(epoch)
            if self.first_block.latest.window.stop == len(run.x):
                epoch += 1

    def _single_updates(self) -> Iterator[Update[Array]]:
        """Yield every update of one network, without records, whose loss is half the
        squared error, in few calls.
        """
        has_divisor = self.training.run.options.objective.reduction == "mean"
        vectors = self.first_block.vectors.array
        sizes = self.sizes
        half = sizes.dtype.type(0.5)
        epoch = 0
        views: Any
        for views, number, window, _ in self.first_block.updates:
            epoch += number == 1
            errors = views.errors
            # The loss of one window, as `CollectedLosses` computes it, written out: a
            # call takes a large part of the time of a small update.
            loss = half * errors.dot(errors)  # (L1)
            if has_divisor:
                loss = loss / views.divisor  # (L2)
            yield flat_update(epoch, number, window, loss, vectors.copy(), sizes)

    def advance(self) -> None:
        """Make the updates up to the next one that is yielded, block by block for the
        cache.
        """
        if not self.is_grouped:
            for block in self.blocks:
                block.advance()
            return
        size = np.setbufsize(BUFFER)
        try:
            for block in self.blocks:
                block.advance()
        finally:
            np.setbufsize(size)

    def update(self, epoch: int) -> Update[Array]:
        """Return the latest update of all networks."""
        latest = self.first_block.latest
        blocks = self.blocks
        vectors = self.joined([block.vectors.array for block in blocks], axis=-2)
        losses = self.joined([block.take_losses() for block in blocks], axis=-1)
        update = flat_update(
            epoch, latest.number, latest.window, losses[-1], vectors, self.sizes
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
        updates, and records (T, N, B, ·). Where each network is a block, its arrays
        have none, and the new axis is made there.
        """
        if self.is_ensemble and not self.is_grouped:
            return np.stack(arrays, axis)
        if not self.is_grouped:
            return arrays[0].copy()
        # The axis of networks is the last one in memory, as it is in the arrays.
        moved = [np.moveaxis(array, axis, -1) for array in arrays]
        return np.moveaxis(np.concatenate(moved, -1), -1, axis)


def sizes_of(params: Parameters[Array], B: int) -> Sizes:
    """Return the sizes of all networks as a group if they are small, or else those of
    each network.
    """
    D, H = params.W_xh.shape[-2:]
    O = params.W_hy.shape[-1]
    bias = params.b_h is not None
    networks = params.networks if B * H <= MAX_GROUPED else None
    return Sizes(D, H, O, B, bias, params.W_hh.dtype, networks)
