"""Training by a package: its updates, the losses of its epochs, and the networks of an
ensemble that diverge.
"""

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Gradients, NumpyArray, Parameters, Run, Update
from numpy_rnn.common.trees import tree_map

REMEDIES = (
    "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"
)
BAND = (50, 10, 90)  # percentiles of an ensemble


class Diverged(ArithmeticError):
    """A run diverged: a value overflowed or is NaN. The message is one line."""


class Snapshot(NamedTuple):
    """Parameters and velocity, as arrays of a package, after so many updates."""

    params: Parameters[Any]
    velocity: Gradients[Any] | None
    updates: int
    epoch: int


def steps_of_updates(run: Run) -> NumpyArray:
    """Return the number of new steps of each update of an epoch, (T1)."""
    T = len(run.x)
    return np.diff([*range(0, T, run.options.schedule.k1), T])


def epoch_losses(losses: NumpyArray, run: Run) -> NumpyArray:
    """Compute the loss of every whole epoch.

    Parameters
    ----------
    losses : ndarray, (n,) or (n, N)
        The losses of the updates, in order.
    run : Run
        The run that made them, with N networks, or one.

    Returns
    -------
    ndarray, (epochs, N)
        The sum of the losses of the updates of an epoch; for the reduction "mean", the
        mean over its points.
    """
    steps = steps_of_updates(run)
    updates = len(steps)
    whole = losses[: len(losses) // updates * updates]
    epochs = whole.reshape(-1, updates, run.params.networks or 1)
    if run.options.objective.reduction == "mean":
        return np.asarray(np.average(epochs, 1, steps))
    return np.asarray(epochs.sum(axis=1))


def band_of(values: NumpyArray) -> NumpyArray:
    """Return the median, and the 10th and 90th percentile, over the last axis but one,
    which is that of networks: (3, ..., O) of (..., N, O).
    """
    return np.asarray(np.percentile(values, BAND, axis=-2))


class Training:
    """A run by a package: an iterable of its updates.

    Networks of an ensemble that diverge are left out: `is_alive` says which are not.
    """

    def __init__(
        self,
        rnn: ModuleType,
        run: Run,
        seeds: Sequence[int] = (),
        held_out_loss: Callable[["Training"], NumpyArray] | None = None,
    ):
        """Raise InputError if options and data do not agree.

        seeds: those of the networks, which name them. held_out_loss: computes the loss,
        (N,), of what is held out, at the end of each epoch.
        """
        self.rnn = rnn
        self.run = run
        self.seeds = seeds
        self.updates_per_epoch = len(steps_of_updates(run))
        self.updates_made = 0
        self.epoch = 0
        self.losses: list[NumpyArray] = []  # of the finished epochs, (N,)
        self.held_out_losses: list[NumpyArray] = []  # of the finished epochs, (N,)
        self.is_alive = np.ones(run.params.networks or 1, bool)
        self.diverged: list[str] = []  # a line for each network that is left out
        self._held_out_loss = held_out_loss
        *arguments, self.velocity = rnn.from_numpy((*run[:4], run.velocity))
        self.params = arguments[0]  # the current ones, as the velocity
        self.finished: Snapshot | None = None  # at the end of the last whole epoch
        self._updates: Iterator[Update[Any]] = rnn.train(
            *arguments, velocity=self.velocity, **run.options.keywords()
        )

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates. Raises Diverged if the loss of all networks is not
        finite.
        """
        losses = []  # of the current epoch
        for update in self._updates:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            self.leave_out(~np.isfinite(loss).reshape(-1), update)
            self.updates_made += 1
            self.epoch = update.epoch
            self.params = update.parameters
            self.velocity = update.velocity
            losses.append(loss)
            if len(losses) == self.updates_per_epoch:
                self.losses.extend(epoch_losses(np.array(losses), self.run))
                if self._held_out_loss is not None:
                    self.held_out_losses.append(self._held_out_loss(self))
                self.finished = self.snapshot()
                losses = []
            yield update

    def leave_out(self, is_bad: NumpyArray, update: Update[Any]) -> None:
        """Leave out networks that diverge in an update, and raise Diverged if none is
        left.
        """
        where = f"epoch {update.epoch}, update {update.number}"
        for n in np.flatnonzero(is_bad & self.is_alive).tolist():
            self.is_alive[n] = False
            self.diverged.append(
                f"network {n + 1}{self.seed_words(n)} diverged in {where}: left out"
            )
        if self.is_alive.any():
            return
        whose = "the loss is not finite"
        if len(self.is_alive) > 1:
            whose = f"the losses of all {len(self.is_alive)} networks are not finite"
        raise Diverged(f"the run diverged: {where}: {whose}; {REMEDIES}")

    def seed_words(self, n: int) -> str:
        """Return the seed of a network in brackets, if it is known."""
        return f" (seed {self.seeds[n]})" if len(self.seeds) > n else ""

    def snapshot(self) -> Snapshot:
        """Return the current parameters and velocity."""
        return Snapshot(self.params, self.velocity, self.updates_made, self.epoch)

    def kept(self) -> Snapshot:
        """Return the parameters at the end of the last whole epoch; the current ones if
        there is none.
        """
        return self.finished or self.snapshot()

    def survivors(self, arrays: Any) -> Any:
        """Return parameters, or a velocity, of the networks that did not diverge, as
        NumPy arrays.
        """
        arrays = self.rnn.to_numpy(arrays)
        if self.is_alive.all():
            return arrays
        return tree_map(lambda theta: theta[self.is_alive], arrays)

    def leave_out_unusable(self) -> None:
        """Leave out networks whose parameters are not finite. Raises Diverged if none
        is left.
        """
        is_finite = np.ones(len(self.is_alive), bool)
        for theta in self.rnn.to_numpy(self.params):
            if theta is not None:
                flat = theta.reshape(len(is_finite), -1)
                is_finite &= np.isfinite(flat).all(axis=1)
        for n in np.flatnonzero(~is_finite & self.is_alive).tolist():
            self.is_alive[n] = False
            self.diverged.append(
                f"network {n + 1}{self.seed_words(n)} diverged in the last update:"
                " left out"
            )
        if not self.is_alive.any():
            raise Diverged(f"the run diverged in its last update; {REMEDIES}")

    def alive_losses(self, losses: Sequence[NumpyArray]) -> NumpyArray:
        """Return losses of epochs, (epochs, N), of the networks that did not
        diverge.
        """
        values = np.reshape(losses, (-1, len(self.is_alive)))
        return np.asarray(values[:, self.is_alive], np.float64)

    def forward(self, x: NumpyArray, h_0: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """Return the outputs and the states of the current networks."""
        window = self.rnn.forward(
            self.params,
            *self.rnn.from_numpy((x, h_0)),
            nonlinearity=self.run.options.objective.nonlinearity,
        )
        y, h = self.rnn.to_numpy((window.y, window.h))
        return y, h
