"""The step of each package against torch.optim.SGD and torch's own clipping."""

import numpy as np
import pytest

from numpy_rnn.common.records import DTYPES, Direction
from tests.helpers.random_runs import Kind, Sizes, random_run

pytestmark = pytest.mark.needs_torch
torch = pytest.importorskip("torch")

DIRECTIONS = [
    Direction(),
    Direction(weight_decay=0.01),
    Direction(momentum=0.9, dampening=0.5),
    Direction(momentum=0.9, nesterov=True, weight_decay=0.01),
]
CLIPPINGS = [(None, None), (0.5, None), (None, 0.2), (100.0, None)]
UPDATES = 4


def drawn(dtype):
    """Yield parameters, and the gradients of each update."""
    for seed in range(1 + UPDATES):
        yield random_run(Sizes(1, 1, 2, 4, 3), Kind(dtype), seed=seed).params


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", DIRECTIONS)
@pytest.mark.parametrize("limits", CLIPPINGS)
def test_steps_are_those_of_torch(rnn, rule, limits, dtype):
    """Four updates with other gradients each.

    An element of an update is computed by fewer than ten roundings of numbers that are
    no larger than the largest sum of terms; 100 units in the last place are allowed.
    """
    start, *all_gradients = drawn(dtype)
    theirs = [torch.tensor(W, requires_grad=True) for W in start]
    options = rule._asdict()
    del options["adagrad"]
    optimizer = torch.optim.SGD(theirs, lr=0.1, **options)
    params = rnn.from_numpy(start)
    max_norm, max_value = limits
    velocity = None
    for gradients in all_gradients:
        for W, g in zip(theirs, gradients):
            W.grad = torch.tensor(g)
        gradients = rnn.from_numpy(gradients)
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(theirs, max_norm)
            gradients = rnn.clip_by_global_norm(gradients, max_norm)
        if max_value is not None:
            torch.nn.utils.clip_grad_value_(theirs, max_value)
            gradients = rnn.clip_by_value(gradients, max_value)
        optimizer.step()
        delta, velocity = rnn.direction(params, gradients, velocity, **rule._asdict())
        params = rnn.sgd(params, delta, 0.1)
    allowed = 100 * np.finfo(dtype).eps
    for ours, W in zip(rnn.to_numpy(params), theirs):
        expected = W.detach().numpy()
        largest = np.abs(expected).max() + UPDATES
        assert (np.abs(ours - expected) <= allowed * largest).all()
