"""Predictions of a trained network, and the result of a run."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.records import Objective, Parameters

GENERATED = 20  # free-running steps
STEPS_PER_PASS = 1_000  # of the forward passes
BAND = (10, 50, 90)  # percentiles of an ensemble


class Curve(NamedTuple):
    """Values of the series or of predictions from a time on; rows have times from 1."""

    begin: int
    values: np.ndarray


class Result(NamedTuple):
    """The result of a run. E: the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E)
    predictions: np.ndarray  # (T, *E, D)  one step ahead, in units of the series
    generated: np.ndarray  # (G, *E, D)  free-running, in units of the series

    def converged(self) -> np.ndarray:
        """Return shape E: True for networks whose losses and predictions are finite."""
        finite = np.isfinite(self.predictions).all(axis=(0, -1))
        return np.asarray(np.isfinite(self.losses).all(axis=0) & finite)

    def band(self, values: np.ndarray) -> np.ndarray:
        """Return percentiles BAND of values (N, *E, ...) over the networks that
        converged, (3, N, ...).
        """
        return np.percentile(values[:, self.converged()], BAND, axis=1)

    def curves(self, experiment: Experiment) -> dict[str, Curve]:
        """Return the curves by kind."""
        after = len(experiment.x) + 2 - experiment.held_out
        return {
            "actual": Curve(2, experiment.series[1:]),
            "predicted": Curve(2, self.predictions),
            "free-running": Curve(after, self.generated),
        }


def predict(
    rnn: Any, params: Parameters[Any], experiment: Experiment, objective: Objective
) -> tuple[np.ndarray, np.ndarray]:
    """Predict one step ahead, (T, *E, D), and freely, (G, *E, D), after the last step
    that is not held out, each value fed back as the next input; in units of the series.

    G is the number of steps held out, or else GENERATED.
    """
    theta = rnn.from_numpy(params)

    def forward(x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = rnn.forward(
            theta,
            rnn.from_numpy(x),
            rnn.from_numpy(h),
            nonlinearity=objective.nonlinearity,
        )
        return rnn.to_numpy(made.y), rnn.to_numpy(made.h[-1])

    def in_units(parts: list[np.ndarray]) -> np.ndarray:
        values = np.concatenate(parts)[..., 0, :].astype(np.float64)
        return np.asarray(values * experiment.deviation + experiment.mean)

    border = len(experiment.x) - experiment.held_out
    one, free, h = list[np.ndarray](), list[np.ndarray](), experiment.h_0
    for start, stop in _passes(len(experiment.x), border):
        y, h = forward(experiment.x[start:stop], h)
        one.append(y)
        if stop == border:
            fed, last = y[-1:], h
    for _ in range(experiment.held_out or GENERATED):
        fed, last = forward(fed, last)
        free.append(fed)
    return in_units(one), in_units(free)


def _passes(T: int, border: int) -> Iterator[tuple[int, int]]:
    """Return the first and last steps of forward passes, of which one ends at the
    border.
    """
    return pairwise(sorted({*range(0, T, STEPS_PER_PASS), border, T}))
