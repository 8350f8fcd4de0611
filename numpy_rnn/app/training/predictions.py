"""Predictions of a trained network."""

from types import ModuleType
from typing import Any

import numpy as np

from numpy_rnn.app.curves import Curve
from numpy_rnn.app.data import Series
from numpy_rnn.common.records import NumpyArray, Objective, Parameters

GENERATED = 20  # free-running steps


def predict(
    rnn: ModuleType,
    params: Parameters[Any],
    series: Series,
    h_0: NumpyArray,
    objective: Objective,
) -> dict[str, Curve]:
    """Predict a series one step ahead, and freely, each value being the next input.

    Parameters
    ----------
    rnn : module
        The package that computes the forward pass.
    params : Parameters
        Of N networks, or of one, as arrays of the package.
    series : Series
        The series.
    h_0 : ndarray, (1, H)
        The initial state.
    objective : Objective
        Its nonlinearity is used.

    Returns
    -------
    dict of str to Curve
        In units of the series: "predicted", one step ahead; "free-running", after the
        last step that is not held out, as many steps as are held out, or else 20.
    """

    def forward(x: NumpyArray, h: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        activations = rnn.forward(
            params,
            rnn.from_numpy(x),
            rnn.from_numpy(h),
            nonlinearity=objective.nonlinearity,
        )
        return rnn.to_numpy(activations.y), rnn.to_numpy(activations.h)

    def curve(first: int, y: NumpyArray) -> Curve:
        values = y.astype(np.float64) * series.deviation + series.mean
        return Curve(first, values.reshape(len(y), -1, values.shape[-1]))

    predicted, states = forward(series.x, h_0)
    border = len(predicted) - series.held_out
    y = predicted[border - 1 : border]
    h = states[border]
    continuation = []
    for _ in range(series.held_out or GENERATED):
        y, states = forward(y, h)
        h = states[-1]
        continuation.append(y)
    return {
        "predicted": curve(2, predicted),
        "free-running": curve(border + 2, np.concatenate(continuation)),
    }
