"""Predictions, their errors beside those of simple ones, and the verdicts on them:
made-up numbers, which can be checked by eye.
"""

import re

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import InputError, Parameters
from numpy_rnn.app.forecast import (
    Errors,
    autoregression,
    check_forecast,
    errors_of,
    predict,
    usable_lags,
)
from numpy_rnn.app.networks import Networks
from numpy_rnn.app.series import Scaling, Series
from numpy_rnn.app.times import steps_as_times
from numpy_rnn.app.train_report import error_table, forecast_lines, verdicts


def made_series(rows, held_out=0, targets=None, names="ab"):
    """Return a series of these rows, (T+1, D), which predicts itself by default."""
    rows = np.asarray(rows, float)
    targets = rows if targets is None else np.asarray(targets, float)
    columns = list(names[: rows.shape[1]])
    target_columns = columns if targets is rows else ["target"]
    times = steps_as_times(len(rows))
    return Series("s", rows, targets, columns, target_columns, times, held_out)


def unscaled(columns):
    return Scaling(*np.array([[0], [1], [0], [1]]).repeat(columns, axis=1))


@pytest.mark.parametrize("networks", [(), (3,)])
@pytest.mark.parametrize("held_out", [0, 30])
def test_free_running_network_is_fed_its_own_outputs(rnn, networks, held_out):
    """The output of the network is x_t + 2 x_{t-1}, without rounding. Predictions of
    one step ahead are fed the series.
    """
    weights = np.eye(1, 2), np.eye(2, k=1), np.array([[1.0], [2.0]])
    params = Parameters(*(np.broadcast_to(W, (*networks, *W.shape)) for W in weights))
    params = Parameters(*map(np.array, params[:3]))
    x = np.random.default_rng(3).integers(0, 9, (51, 1)).astype(float)
    model = Networks.from_arrays(rnn, params, "relu")
    state = np.array([[3.0, 0.0]])  # the input before the first is 3
    predictions = predict(
        model.forward, state, made_series(x, held_out), unscaled(1), steps=7
    )
    before = np.append(3, x)
    expected = before[1:] + 2 * before[:-1]
    assert (expected[:-1] == predictions.one_step[..., 0].T).all()

    def fed(row, steps):
        """Return predictions from the row on, each of which is the next input."""
        values = [before[row], before[row + 1]]
        for _ in range(steps):
            values.append(values[-1] + 2 * values[-2])
        return np.array(values[2:])

    free, forecast = predictions.free_running, predictions.forecast
    assert (fed(50 - held_out, held_out) == free[..., 0].T).all()
    assert (fed(50, 7) == forecast[..., 0].T).all()
    assert len(free) == held_out


def test_outputs_are_fed_to_the_inputs_with_their_names():
    """Targets may be in another order, and have a scaling of their own."""
    swap = Parameters(np.eye(2), np.zeros((2, 2)), np.eye(2))
    model = Networks.from_arrays(numpy_rnn, swap, "relu")
    rows = np.array([[1.0, 10], [2, 20], [3, 30]])
    times = steps_as_times(3)
    series = Series("s", rows, rows[:, ::-1], ["a", "b"], ["b", "a"], times)
    state = np.zeros((1, 2))
    predictions = predict(model.forward, state, series, unscaled(2), steps=3)
    # y = x, so that b is predicted to be a, and a to be b: they take turns.
    np.testing.assert_array_equal(
        predictions.forecast[:, 0], [[3, 30], [30, 3], [3, 30]]
    )


def test_forecast_needs_inputs_that_are_predicted():
    series = made_series(np.ones((4, 2)), targets=np.ones((4, 1)))
    check_forecast(series, 1)
    with pytest.raises(InputError, match="--forecast is 2, and a, b is no target"):
        check_forecast(series, 2)


@pytest.mark.parametrize("lags", [1, 2, 3])
def test_autoregression_is_that_of_least_squares(lags):
    """Its coefficients are those of the normal equations, in the units of the data, on
    the steps that are trained on alone.
    """
    rows = np.random.default_rng(5).normal(1e3, 20, (60, 2))
    predicted = autoregression(made_series(rows, held_out=20), lags)
    first = range(lags - 1, 59)
    design = [np.append(rows[t - lags + 1 : t + 1].ravel(), 1e3) for t in first]
    design = np.array(design)
    fitted = slice(40 - lags)
    A, b = design[fitted], rows[lags:][fitted]
    coefficients = np.linalg.solve(A.T @ A, A.T @ b)
    np.testing.assert_allclose(predicted[lags - 1 :], design @ coefficients, rtol=1e-6)
    assert np.isnan(predicted[: lags - 1]).all()


def test_lags_that_the_rows_determine():
    """There are twice as many equations as coefficients."""
    rows = np.ones((24, 1))
    assert [usable_lags(made_series(rows, n), 10) for n in (0, 1, 2, 15)] == [
        7,
        7,
        6,
        2,
    ]
    assert usable_lags(made_series(np.ones((3, 2))), 10) == 0


def test_errors_are_those_of_the_same_steps():
    """The median of three networks; what the series does is doubling."""
    rows = 2.0 ** np.arange(8)[:, None]
    factors = np.array([1.0, 0.5, 7.0])[:, None]
    predicted = rows[1:, None] + factors
    trained, held_out = errors_of(made_series(rows, 2), predicted, lags=1)
    assert trained[:5] == ("trained on", "a", 5, 1.0, np.sqrt(341 / 5))
    assert held_out[:4] == ("held out", "a", 2, 1.0)
    assert held_out.persistence == np.sqrt((32**2 + 64**2) / 2)
    assert held_out.autoregression < 1e-9
    trained, _ = errors_of(made_series(rows, 2), predicted, lags=9)
    assert (trained.steps, trained.autoregression < 1e-9) == (5, True)


TABLE = """
one step ahead, root mean square error   network   persistence   linear autoregression
trained on, 3 steps: a                   0.5       1.41421       0.25
trained on, 3 steps: b                   2         1             3
held out, 1 step: a                      157.4     153.1         160
held out, 1 step: b                      1         1             0.5
held out, a: worse than repeating the last value (157.4, 153.1), and better than linear autoregression (157.4, 160)
held out, b: as good as repeating the last value (1, 1), and worse than linear autoregression (1, 0.5)
"""  # noqa: E501


def test_table_and_verdicts():
    """The verdict is on what is held out, if anything is."""
    errors = [
        Errors("trained on", "a", 3, 0.5, 2**0.5, 0.25),
        Errors("trained on", "b", 3, 2, 1, 3),
        Errors("held out", "a", 1, 157.4, 153.1, 160),
        Errors("held out", "b", 1, 1, 1, 0.5),
    ]
    assert [*error_table(errors), *verdicts(errors)] == TABLE.strip().splitlines()
    [line] = verdicts([errors[0]._replace(autoregression=None)])
    assert line == "trained on, a: better than repeating the last value (0.5, 1.414)"


def test_forecast_on_the_screen():
    """The first five steps, of an ensemble with percentiles: of 11 networks they are
    numbers of these.
    """
    series = made_series(np.ones((3, 2)))
    one = np.arange(14.0).reshape(7, 1, 2)
    lines = forecast_lines(series, one)
    assert lines[:3] == ["forecast   a   b", "4          0   1", "5          2   3"]
    assert lines[6:] == ["... 2 more in --predictions FILE"]
    many = one[:1] + np.arange(11.0)[:, None]
    heading, row = forecast_lines(series, many)
    names = ["a", "10 %", "90 %", "b", "10 %", "90 %"]
    assert re.split("  +", heading) == ["forecast", *names]
    assert row.split() == ["4", "5", "1", "9", "6", "2", "10"]
    assert forecast_lines(series, one[:0]) == []
