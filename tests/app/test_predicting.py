"""Predictions over a series of any length: in parts they are those of one pass, and they continue where training ended.

The networks here compute without rounding, so that "the same" is the same to the bit: relu, whole numbers, and a W_hh
that hands on what it holds from unit to unit, so that the state remembers the last inputs.
"""

import numpy as np
import pytest
from comparing import bits

from numpy_rnn import Parameters
from numpy_rnn.app import results
from numpy_rnn.app.results import predict

MAX_PREDICTED, STEPS_PER_PASS = 1000, 100  # a tenth of what they are, so that a short series is a long one
DELAYS = (1, 2, 0, 3)  # what the output is: 1 × the input, 2 × the one before, and so on


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(results, "MAX_PREDICTED", MAX_PREDICTED)
    monkeypatch.setattr(results, "STEPS_PER_PASS", STEPS_PER_PASS)


def network(E=(), learned=None):
    H = len(DELAYS)
    W_xh, W_hh = np.zeros((1, H)), np.zeros((H, H))
    W_xh[0, 0] = 1
    for unit in range(H - 1):
        W_hh[unit, unit + 1] = 1
    params = Parameters(W_xh, W_hh, np.array(DELAYS, float)[:, None], None, None, learned)
    factors = np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)[..., None, None]
    ensemble = Parameters(*(None if theta is None else np.broadcast_to(theta, (*E, *theta.shape)) for theta in params))
    return ensemble._replace(W_hy=ensemble.W_hy * factors)


def series(T):
    return np.random.default_rng(T).integers(0, 9, (T, 1, 1)).astype(float)


def expected(x, h_0, E=()):
    """y_t = Σ_j w_j x_{t-j}, where the inputs before the first are those that the state holds, the newest first."""
    held = np.concatenate([h_0.ravel()[::-1], x.ravel()])
    H, T = len(DELAYS), len(x)
    y = sum(w * held[H - j : H - j + T] for j, w in enumerate(DELAYS))
    factors = np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)
    return y.reshape(T, *(1,) * len(E), 1, 1) * factors[..., None, None]


def predicted(rnn, params, x, h_0, **options):
    y, generated = predict(rnn, rnn.from_numpy(params), x, h_0, nonlinearity="relu", **{"generate": 0} | options)
    return np.ascontiguousarray(y), np.ascontiguousarray(generated)


ZERO = np.zeros((1, len(DELAYS)))


@pytest.mark.parametrize("T", [1, 2, STEPS_PER_PASS - 1, STEPS_PER_PASS, STEPS_PER_PASS + 1, 234])
@pytest.mark.parametrize("E", [(), (3,), (2, 2)], ids=str)
def test_the_predictions_in_parts_are_those_of_one_pass(rnn, T, E):
    x = series(T)
    y, _ = predicted(rnn, network(E), x, ZERO)
    assert bits(y) == bits(expected(x, ZERO, E))
    whole = rnn.forward(rnn.from_numpy(network(E)), rnn.from_numpy(x), rnn.from_numpy(ZERO), nonlinearity="relu")
    assert bits(y) == bits(np.ascontiguousarray(rnn.to_numpy(whole.y)))


@pytest.mark.parametrize("T", [MAX_PREDICTED - 1, MAX_PREDICTED, MAX_PREDICTED + 1, 1234, 2500])
@pytest.mark.parametrize("held_out", [0, 1, 90, 1111])
def test_of_a_long_series_the_last_predictions_are_kept(rnn, T, held_out):
    held_out = min(held_out, T - 1)
    x = series(T)
    y, following = predicted(rnn, network(), x, ZERO, held_out=held_out, generate=2)
    assert len(y) == min(T, MAX_PREDICTED)
    assert bits(y) == bits(expected(x, ZERO)[-MAX_PREDICTED:])
    assert bits(following) == bits(continued(x[: T - held_out], ZERO, 2))


def continued(x, h_0, steps):
    """Free-running from the definition: every value is the prediction after the series and all values before it."""
    values = []
    for _ in range(steps):
        fed = np.concatenate([x, np.reshape([expected(x, h_0)[-1], *values], (-1, 1, 1))])
        values.append(expected(fed, h_0)[-1])
    return np.reshape(values, (steps, 1, 1))


@pytest.mark.parametrize("held_out", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_the_continuation_begins_where_training_ended(rnn, held_out, steps):
    """With the prediction of the first step that is held out, and with the state at that border."""
    x = series(10)
    y, following = predicted(rnn, network(), x, ZERO, held_out=held_out, generate=steps)
    assert bits(y) == bits(expected(x, ZERO))
    assert bits(following) == bits(continued(x[: 10 - held_out], ZERO, steps))
    if steps and held_out < 9:
        assert bits(following) != bits(continued(x[: 9 - held_out], ZERO, steps))


@pytest.mark.parametrize("E", [(), (3,)], ids=str)
def test_the_state_that_a_pass_starts_from_is_the_given_or_the_learned_one(rnn, E):
    x, state = series(4), np.array([[1.0, 2.0, 3.0, 4.0]])
    given, _ = predicted(rnn, network(E), x, state)
    assert bits(given) == bits(expected(x, state, E))
    learned, _ = predicted(rnn, network(E, learned=state), x, ZERO)
    assert bits(learned) == bits(given)
    assert bits(learned) != bits(expected(x, ZERO, E))


def test_a_long_series_is_passed_through_in_parts(rnn, monkeypatch):
    """No forward pass is longer than it need be, so that the activations of a long series are never all in memory."""
    lengths = []

    def spy(rnn, params, x, *rest):
        lengths.append(len(x))
        return forward(rnn, params, x, *rest)

    forward = results._forward
    monkeypatch.setattr(results, "_forward", spy)
    predicted(rnn, network(), series(250), ZERO, held_out=70)
    assert lengths == [STEPS_PER_PASS, 80, 70]
