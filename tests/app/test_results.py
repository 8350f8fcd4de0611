"""Predictions one step ahead and free-running."""

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
H = len(DELAYS)


def network(E, learned):
    """Networks whose outputs are multiples: 1, 2, and so on."""
    weights = np.eye(1, H), np.eye(H, k=1), np.array(DELAYS, float)[:, None], None, None, learned
    params = Parameters(*(None if theta is None else np.broadcast_to(theta, (*E, *theta.shape)) for theta in weights))
    return params._replace(W_hy=params.W_hy * factors(E)[..., None])


def factors(E):
    return np.arange(1.0, 1 + np.prod(E, dtype=int)).reshape(E)[..., None]


def expected(x, h_0):
    """y_t = Σ_j w_j x_{t-j}, where the inputs before the first are those that the state holds, the newest first."""
    held = np.concatenate([h_0.ravel()[::-1], x])
    return sum(w * held[H - j : H - j + len(x)] for j, w in enumerate(DELAYS))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(
    ("T", "E", "held_out", "steps"),
    [(1, (), 0, 7), (4, (2, 2), 0, 0), (101, (1,), 90, 2), (2500, (), 90, 1), (2500, (3,), 1111, 0), (250, (), 70, 3)],
)
def test_predictions_in_parts_are_those_of_one_pass(rnn, monkeypatch, T, E, held_out, steps, learned):
    """The last ones of a long series are kept, and its activations are never all in memory."""
    passes, forward = [], results._forward
    monkeypatch.setattr(results, "MAX_PREDICTED", MAX_PREDICTED)
    monkeypatch.setattr(results, "STEPS_PER_PASS", STEPS_PER_PASS)
    monkeypatch.setattr(results, "_forward", lambda *args: passes.append(len(args[2])) or forward(*args))
    x, state = np.random.default_rng(T).integers(0, 9, T).astype(float), np.array([[1.0, 2.0, 3.0, 4.0]])
    series = x[:, None, None]
    experiment = Experiment("", series, series, state, network(E, state if learned else None), held_out=held_out)
    one, free = predict(rnn, experiment.params, experiment, Objective("relu"), steps)
    wanted = expected(x, state)[-MAX_PREDICTED:]
    assert bits(one) == bits(wanted.reshape(-1, *(1 for _ in E), 1) * factors(E))
    fed = x[: T - held_out]
    for _ in range(steps + 1):  # every value is the prediction after the series and all values before it
        fed = np.append(fed, expected(fed, state)[-1])
    assert bits(free) == bits(fed[T - held_out + 1 :].reshape(steps, *E, 1))
    assert max(passes) <= STEPS_PER_PASS
