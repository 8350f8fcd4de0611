"""Predictions of networks: one step ahead, free-running, and beyond the last row; and
their errors beside those of simple predictions.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.series import Scaling, Series
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import some_of

GENERATED = 20  # free-running steps, if nothing is held out
# Equations for each number of a linear autoregression that least squares determine.
EQUATIONS_PER_COEFFICIENT = 2

# Inputs (T, B, D) and the state before to outputs and states, of N networks.
Forward = Callable[[NumpyArray, NumpyArray], tuple[NumpyArray, NumpyArray]]


class Predictions(NamedTuple):
    """Predictions of N networks in units of the data."""

    one_step: NumpyArray  # of rows 2 to T + 1, (T, N, O)
    free_running: NumpyArray  # from the first row that is held out on, (n, N, O)
    forecast: NumpyArray  # of the rows after the last one, (F, N, O)


class Errors(NamedTuple):
    """Root mean square errors of one target on some steps."""

    part: str  # "trained on" or "held out"
    target: str
    steps: int
    network: float  # the median of the networks
    persistence: float
    autoregression: float | None  # None if there are too few rows


def predict(
    forward: Forward, h_0: NumpyArray, series: Series, scaling: Scaling, steps: int
) -> Predictions:
    """Predict a series one step ahead, and freely, each prediction the next input.

    Parameters
    ----------
    forward : callable
        Computes the outputs and the states of the networks.
    h_0 : ndarray
        The initial state; its dtype is that of the inputs.
    series : Series
        The series.
    scaling : Scaling
        That of the networks.
    steps : int
        Steps of the forecast after the last row.

    Returns
    -------
    Predictions
        Those of all rows but the first; from the border of what is held out on as many
        steps as are held out, or else none; and the forecast.
    """
    x = scaling.scaled_inputs(series, h_0.dtype)
    # The last row is an input too: it predicts the first step of the forecast.
    y, states = forward(x, h_0)
    border = series.border
    held_out = series.held_out if series.feedback() is not None else 0
    free = run_freely(forward, y[border:], states[border + 1], series, held_out)
    forecast = run_freely(forward, y[-1:], states[-1], series, steps)
    return Predictions(
        scaling.unscaled(y[:-1]), scaling.unscaled(free), scaling.unscaled(forecast)
    )


def run_freely(
    forward: Forward, y: NumpyArray, h: NumpyArray, series: Series, steps: int
) -> NumpyArray:
    """Return so many outputs: the first of `y`, after which the state is h, and those
    whose inputs are the outputs before.
    """
    y = y[:1]
    outputs = [y[:0]]
    feedback = series.feedback()
    for n in range(steps):
        if n:
            y, states = forward(y[..., feedback], h)
            h = states[-1]
        outputs.append(y)
    return np.concatenate(outputs)


def check_forecast(series: Series, steps: int) -> None:
    """Raise InputError if a forecast needs inputs that are not predicted, or times that
    there are not.
    """
    series.times.followed_by(steps)
    if steps > 1 and series.feedback() is None:
        unknown = [name for name in series.columns if name not in series.target_columns]
        raise InputError(
            f"--forecast is {steps}, and {some_of(unknown)} is no target: expected 1,"
            " or every input among the targets, since predictions are the next inputs"
        )


# Errors


def errors_of(series: Series, predicted: NumpyArray, lags: int) -> list[Errors]:
    """Return the errors of predictions, and of simple ones on the same steps.

    Parameters
    ----------
    series : Series
        The series.
    predicted : ndarray, (T, N, O)
        The predictions one step ahead, in units of the data.
    lags : int
        Rows that the linear autoregression has, as many as the network's window. With
        few rows it has fewer.

    Returns
    -------
    list of Errors
        One of each part and target. Steps with fewer rows before them than the
        autoregression has are left out.
    """
    lags = usable_lags(series, lags)
    first = max(lags - 1, 0)
    actual = series.targets[1:]
    persistence = series.targets[:-1]
    linear = autoregression(series, lags) if lags else None
    parts = {"trained on": slice(first, series.border)}
    if series.held_out:
        parts["held out"] = slice(series.border, None)
    result = []
    for part, steps in parts.items():
        network = root_mean_square(predicted[steps] - actual[steps, None])
        median = np.median(network, axis=0)
        repeated = root_mean_square(persistence[steps] - actual[steps])
        fitted = None
        if linear is not None:
            fitted = root_mean_square(linear[steps] - actual[steps])
        for index, target in enumerate(series.target_columns):
            result.append(
                Errors(
                    part,
                    target,
                    len(actual[steps]),
                    float(median[index]),
                    float(repeated[index]),
                    None if fitted is None else float(fitted[index]),
                )
            )
    return result


def root_mean_square(errors: NumpyArray) -> NumpyArray:
    """Return the root mean square over time."""
    return np.asarray(np.sqrt((errors**2).mean(axis=0)))


def usable_lags(series: Series, lags: int) -> int:
    """Return the most lags, at most `lags`, that the rows determine; 0 if there are too
    few rows.
    """
    while lags > 0:
        equations = series.border - lags + 1
        coefficients = lags * len(series.columns) + 1
        if equations >= EQUATIONS_PER_COEFFICIENT * coefficients:
            return lags
        lags -= 1
    return 0


def autoregression(series: Series, lags: int) -> NumpyArray:
    """Predict each row from the `lags` rows before by a linear function, which has the
    least squares of errors on the steps that are trained on.

    Returns (T, O), in which the first lags - 1 rows are NaN.
    """
    inputs = series.inputs[:-1]
    steps = len(inputs) - lags + 1
    # Least squares are ill-conditioned on values that are far from zero.
    trained = inputs[: series.border]
    scale = np.ptp(trained, axis=0)
    inputs = (inputs - trained.mean(axis=0)) / np.where(scale > 0, scale, 1)
    windows = [inputs[lag : lag + steps] for lag in range(lags)]
    design = np.hstack([*windows, np.ones((steps, 1))])
    fitted = slice(series.border - lags + 1)
    targets = series.targets[lags:]
    coefficients, *_ = np.linalg.lstsq(design[fitted], targets[fitted], rcond=None)
    predicted = np.full((series.steps, targets.shape[1]), np.nan)
    predicted[lags - 1 :] = design @ coefficients
    return predicted
