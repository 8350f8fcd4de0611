"""Predictions of a trained network, and the result of a run."""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.records import NumpyArray, Objective, Parameters

GENERATED = 20  # free-running steps
BAND = (10, 50, 90)  # percentiles of an ensemble


class Result(NamedTuple):
    """The result of a run of N networks, in units of the series."""

    losses: NumpyArray  # (epochs, N)
    predictions: NumpyArray  # (T, N, D)  one step ahead
    generated: NumpyArray  # (G, N, D)  free-running

    def converged(self) -> NumpyArray:
        """Return shape (N,): True where losses and predictions are finite."""
        finite = np.isfinite(self.predictions).all(axis=(0, 2))
        return np.asarray(np.isfinite(self.losses).all(axis=0) & finite)

    def band(self, values: NumpyArray) -> NumpyArray:
        """Return percentiles BAND of values (n, N, ...) over the networks that
        converged, (3, n, ...).
        """
        return np.percentile(values[:, self.converged()], BAND, axis=1)

    def curves(self, experiment: Experiment) -> dict[str, tuple[int, NumpyArray]]:
        """Return the time of the first value of each curve, from 1, and its values,
        (n, N, D); N is 1 for those of the series.
        """
        after = len(experiment.x) + 2 - experiment.held_out
        return {
            "actual": (2, experiment.series[1:, None]),
            "predicted": (2, self.predictions),
            "free-running": (after, self.generated),
        }


def predict(
    rnn: Any, params: Parameters[Any], experiment: Experiment, objective: Objective
) -> tuple[NumpyArray, NumpyArray]:
    """Predict a series one step ahead, and freely, each value being the next input.

    Parameters
    ----------
    rnn : module
        The package that computes the forward pass.
    params : Parameters
        Of N networks, or of one, as NumPy arrays.
    experiment : Experiment
        The series.
    objective : Objective
        Its nonlinearity is used.

    Returns
    -------
    predictions : ndarray, (T, N, D)
        One step ahead, in units of the series.
    generated : ndarray, (G, N, D)
        After the last step that is not held out: G is the number of steps that are
        held out, or else 20.
    """
    theta = rnn.from_numpy(params)

    def forward(x: NumpyArray, h: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        x, h = rnn.from_numpy(x), rnn.from_numpy(h)
        made = rnn.forward(theta, x, h, nonlinearity=objective.nonlinearity)
        return rnn.to_numpy(made.y), rnn.to_numpy(made.h[-1])

    def in_units(parts: list[NumpyArray]) -> NumpyArray:
        values = np.concatenate(parts).astype(np.float64)
        units = values * experiment.deviation + experiment.mean
        return np.asarray(units.reshape(len(units), -1, units.shape[-1]))

    border = len(experiment.x) - experiment.held_out
    y, h = forward(experiment.x[:border], experiment.h_0)
    one, free, fed, last = [y], list[NumpyArray](), y[-1:], h
    if experiment.held_out:
        one.append(forward(experiment.x[border:], h)[0])
    for _ in range(experiment.held_out or GENERATED):
        fed, last = forward(fed, last)
        free.append(fed)
    return in_units(one), in_units(free)
