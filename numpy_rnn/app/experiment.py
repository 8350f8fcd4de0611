"""Experiments: the data and the run of a command, its training by a package, and
values of its networks by time.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.series import Series, make_data
from numpy_rnn.app.weights_file import load_run
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import Deviations, draw_parameters
from numpy_rnn.common.records import NumpyArray, Run, Update

TEXT_WEIGHTS = Deviations(0.01, 0.01, 0.01)  # as in min-char-rnn
REMEDIES = (
    "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"
)
BAND = (50, 10, 90)  # percentiles of an ensemble


class Experiment(NamedTuple):
    """The data of a command, and the run on the steps that are not held out."""

    data: Series
    run: Run


def prepare_experiment(options: CommandOptions) -> Experiment:
    """Read or create the series or the text of a run, and its initial weights.

    The run starts from the state zero, and from the saved velocity if its step has one
    of the same kind. Raises InputError if a file cannot be used, or if the weights do
    not fit the data.
    """
    run_options = options.run_options()
    velocity = None
    if options.weights is None:
        data = make_data(options, options.dtype)
        is_ensemble = options.seeds > 1 and options.command != "study"
        params = draw_parameters(
            (data.size, options.hidden_size, data.size),
            Deviations() if options.text is None else TEXT_WEIGHTS,
            options.dtype,
            options.seed,
            networks=options.seeds if is_ensemble else None,
            bias=options.bias,
        )
    else:
        saved = load_run(options.weights)
        params = saved.params
        data = make_data(options, params.W_hh.dtype, saved.alphabet)
        sizes = params.W_xh.shape[-2], params.W_hy.shape[-1]
        if sizes != (data.size, data.size):
            raise InputError(
                f"{options.weights} has {sizes} inputs and outputs: expected"
                f" {data.size} of both"
            )
        if data.alphabet and params.networks:
            raise InputError(
                f"{options.weights} has {params.networks} networks: expected one for a"
                " text"
            )
        step = run_options.step
        if step.has_velocity and saved.adagrad == step.adagrad:
            velocity = saved.velocity
    h_0 = np.zeros((1, params.W_hh.shape[-1]), params.W_hh.dtype)
    trained = data.sequence[: len(data.sequence) - data.held_out]
    run = Run(params, trained[:-1], trained[1:], h_0, run_options, velocity)
    return Experiment(data, run)


class Curve(NamedTuple):
    """Values of N networks at consecutive times."""

    first: int  # the time of the first values
    values: NumpyArray  # (n, N, D)


class Diverged(ArithmeticError):
    """A run diverged: a value overflowed or is NaN. The message is one line."""


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


class Training:
    """A run by a package: an iterable of its updates."""

    def __init__(self, rnn: ModuleType, run: Run):
        """Raise InputError if options and data do not agree."""
        self.rnn = rnn
        self.run = run
        self.updates_per_epoch = len(steps_of_updates(run))
        self.updates_made = 0
        self.epoch = 0
        self.losses: list[NumpyArray] = []  # of the finished epochs
        *arguments, self.velocity = rnn.from_numpy((*run[:4], run.velocity))
        self.params = arguments[0]  # the current ones, as the velocity
        self._updates: Iterator[Update[Any]] = rnn.train(
            *arguments, velocity=self.velocity, **run.options.keywords()
        )

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates. Raises Diverged if the loss of a network is not finite."""
        losses = []  # of the current epoch
        for update in self._updates:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            if not np.isfinite(loss).all():
                raise Diverged(
                    f"the run diverged: epoch {update.epoch}, update {update.number}:"
                    f" the loss of a network is not finite; {REMEDIES}"
                )
            self.updates_made += 1
            self.epoch = update.epoch
            self.params = update.parameters
            self.velocity = update.velocity
            losses.append(loss)
            if len(losses) == self.updates_per_epoch:
                self.losses.extend(epoch_losses(np.array(losses), self.run))
                losses = []
            yield update

    def forward(self, x: NumpyArray, h_0: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        """Return the outputs and the states of the current networks."""
        window = self.rnn.forward(
            self.params,
            *self.rnn.from_numpy((x, h_0)),
            nonlinearity=self.run.options.objective.nonlinearity,
        )
        y, h = self.rnn.to_numpy((window.y, window.h))
        return y, h
