"""Predictions one step ahead and free-running."""

from unittest.mock import Mock

import numpy as np
import pytest
from comparing import bits

from numpy_rnn import Parameters
from numpy_rnn.app import results
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.results import predict
from numpy_rnn.common.records import Objective

# The networks here compute without rounding, so that "the same" is the same to the bit: relu, whole numbers, and a W_hh
# that hands on what it holds from unit to unit, so that the state remembers the last inputs.

MAX_PREDICTED, STEPS_PER_PASS = 1000, 100  # a tenth of what they are, so that a short series is a long one
DELAYS = (1, 2, 0, 3)  # what the output is: 1 × the input, 2 × the one before, and so on
ZERO = np.zeros((1, len(DELAYS)))


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(results, "MAX_PREDICTED", MAX_PREDICTED)
    monkeypatch.setattr(results, "STEPS_PER_PASS", STEPS_PER_PASS)


def factors(E):
    """Of the outputs of the networks: 1, 2, and so on."""
    return np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)[..., None, None]


def network(E=(), learned=None):
    H = len(DELAYS)
    weights = np.eye(1, H), np.eye(H, k=1), np.array(DELAYS, float)[:, None], None, None, learned
    params = Parameters(*(None if theta is None else np.broadcast_to(theta, (*E, *theta.shape)) for theta in weights))
    return params._replace(W_hy=params.W_hy * factors(E))


def series(T):
    return np.random.default_rng(T).integers(0, 9, (T, 1, 1)).astype(float)


def expected(x, h_0, E=()):
    """y_t = Σ_j w_j x_{t-j}, where the inputs before the first are those that the state holds, the newest first."""
    held = np.concatenate([h_0.ravel()[::-1], x.ravel()])
    H, T = len(DELAYS), len(x)
    y = sum(w * held[H - j : H - j + T] for j, w in enumerate(DELAYS))
    return y.reshape(T, *(1,) * len(E), 1) * factors(E)[..., 0]


def continued(x, steps):
    """Free-running from the definition: every value is the prediction after the series and all values before it."""
    values = []
    for _ in range(steps):
        fed = np.concatenate([x, np.reshape([expected(x, ZERO)[-1], *values], (-1, 1, 1))])
        values.append(expected(fed, ZERO)[-1])
    return np.reshape(values, (steps, 1))


def predicted(rnn, params, x, h_0=ZERO, generate=0, held_out=0):
    experiment = Experiment("", x, x, h_0, params, held_out=held_out)
    return predict(rnn, params, experiment, Objective("relu"), generate)


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("T", [1, 101, 2500])
def test_predictions_in_parts_are_those_of_one_pass(rnn, T):
    """Of a long series the last ones are kept."""
    x = series(T)
    for E in ((), (3,), (2, 2)):
        assert bits(predicted(rnn, network(E), x)[0]) == bits(expected(x, ZERO, E)[-MAX_PREDICTED:])
    for held_out, steps in ((0, 7), (min(5, T - 1), 0), (min(90, T - 1), 1), (min(1111, T - 1), 2)):
        wanted = expected(x, ZERO)[-MAX_PREDICTED:], continued(x[: T - held_out], steps)
        assert bits(predicted(rnn, network(), x, held_out=held_out, generate=steps)) == bits(wanted)


@pytest.mark.parametrize("E", [(), (3,)], ids=str)
def test_initial_state_is_given_or_learned(rnn, E):
    x, state = series(4), np.array([[1.0, 2.0, 3.0, 4.0]])
    for found in (predicted(rnn, network(E), x, state), predicted(rnn, network(E, learned=state), x)):
        assert bits(found[0]) == bits(expected(x, state, E)) != bits(expected(x, ZERO, E))


@pytest.mark.usefixtures("_short")
def test_long_series_is_passed_in_parts(rnn, monkeypatch):
    """The activations of a long series are never all in memory."""
    spy = Mock(wraps=results._forward)
    monkeypatch.setattr(results, "_forward", spy)
    predicted(rnn, network(), series(250), held_out=70)
    assert [len(call.args[2]) for call in spy.call_args_list] == [STEPS_PER_PASS, 80, 70]
