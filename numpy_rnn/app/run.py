"""One training run: its updates, its losses by epoch, and its predictions."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.common.errors import Diverged
from numpy_rnn.common.records import Objective, Parameters, Run, Update

STEPS_PER_PASS = 1_000  # of the forward passes of predictions
BAND = (10, 50, 90)  # percentiles of an ensemble
REMEDIES = "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"


class Result(NamedTuple):
    """The result of a run. E: the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E)
    predictions: np.ndarray  # (T, *E, D)  one step ahead, in units of the series
    generated: np.ndarray  # (G, *E, D)  free-running, in units of the series

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        finite = np.isfinite(self.predictions).all(axis=(0, -1))
        return np.asarray(np.isfinite(self.losses).all(axis=0) & finite)

    def band(self, values: np.ndarray) -> np.ndarray:
        """Percentiles BAND of values (N, *E, ...) over the networks that converged, (3, N, ...)."""
        return np.percentile(values[:, self.converged()], BAND, axis=1)

    def curves(self, experiment: Experiment) -> dict[str, tuple[int, np.ndarray]]:
        """First time and values by kind. The rows of the series have times from 1 on."""
        after = len(experiment.x) + 2 - experiment.held_out
        curves = {"actual": (2, experiment.series[1:]), "predicted": (2, self.predictions)}
        return curves | {"free-running": (after, self.generated)}


class Trainer:
    """A run in progress: an iterable of its updates. Subclasses print what it does.

    Networks of an ensemble whose loss is not finite are left out; the others continue.
    """

    result: Result | None = None  # of a series
    smoothed: float | None = None  # of a text

    def __init__(self, rnn: Any, experiment: Experiment, configuration: Configuration):
        """Raises InputError if options and data do not agree."""
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.run = experiment.run(configuration.run_options())
        self.per_epoch = -(-len(self.run.x) // configuration.k1)
        self.updates = 0
        self.latest: Update[Any] | None = None
        self.loss = np.zeros(experiment.networks)  # of the latest update
        self.losses: list[np.ndarray] = []  # of the finished epochs
        self._iterator = begin(rnn, self.run)

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates. Raises Diverged if no network has a finite loss."""
        is_sum, total = self.configuration.reduction == "sum", np.zeros_like(self.loss)
        for update in self._iterator:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            if not np.isfinite(loss).any():
                raise Diverged(f"the run diverged: {self._place(update)}; {REMEDIES}")
            total = total + loss * (1 if is_sum else update.window.loss_steps / len(self.run.x))
            self.latest, self.loss, self.updates = update, loss, self.updates + 1
            if update.number == self.per_epoch:
                self.losses.append(total)
                total = np.zeros_like(loss)
            yield update

    def _place(self, update: Update[Any]) -> str:
        """The first tensor that is not finite, of the latest update or of this one."""
        was_finite = np.isfinite(self.loss)
        for each in filter(None, (self.latest, update)):
            tensors = {"loss": each.loss}
            groups = ("d", each.gradients), ("v", each.velocity), ("", each.parameters)
            for prefix, group in groups:
                tensors |= {prefix + name: v for name, v in zip(Parameters._fields, group or ())}
            for name, v in tensors.items():
                if v is not None and not np.isfinite(self.rnn.to_numpy(v)[was_finite]).all():
                    return f"epoch {each.epoch}, update {each.number}: {name} is not finite"
        raise AssertionError("no loss was finite")

    def weights(self) -> tuple[Any, Any]:
        """The current parameters and velocity, as NumPy arrays."""
        if self.latest is None:
            return self.run.params, self.experiment.velocity
        return self.rnn.to_numpy(self.latest.parameters), self.rnn.to_numpy(self.latest.velocity)


def begin(rnn: Any, run: Run) -> Iterator[Update[Any]]:
    """The updates of a run by a package."""
    arrays = map(rnn.from_numpy, (run.params, run.x, run.target, run.h_0))
    updates: Iterator[Update[Any]] = rnn.train(*arrays, **run.options.keywords())  # SHIM
    return updates


def predict(
    rnn: Any, params: Parameters[Any], experiment: Experiment, objective: Objective, generate: int
) -> tuple[np.ndarray, np.ndarray]:
    """One-step-ahead predictions (T, *E, D), and `generate` free-running values (G, *E, D) after
    the last step that is not held out, each fed back as the next input; in units of the series.
    """
    theta = rnn.from_numpy(params)

    def forward(x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arrays = map(rnn.from_numpy, (x, h))
        made = rnn.forward(theta, *arrays, nonlinearity=objective.nonlinearity)
        return rnn.to_numpy(made.y), rnn.to_numpy(made.h[-1])

    T, border = len(experiment.x), len(experiment.x) - experiment.held_out
    one, free, h = [], [], experiment.h_0
    for start, stop in pairwise(sorted({*range(0, T, STEPS_PER_PASS), border, T})):
        y, h = forward(experiment.x[start:stop], h)
        one.append(y)
        if stop == border:
            fed, last = y[-1:], h
    for _ in range(generate):
        fed, last = forward(fed, last)
        free.append(fed)
    mean, deviation = experiment.mean, experiment.deviation
    parts = np.concatenate(one), np.concatenate([one[0][:0], *free])
    predictions, generated = (part[..., 0, :].astype("f8") * deviation + mean for part in parts)
    return predictions, generated
