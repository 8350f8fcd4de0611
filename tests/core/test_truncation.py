"""TBPTT(k, k) is the loop that everybody writes: over `x.split(k)`, with a detached
state, also where k does not divide the length of the series.
"""

import numpy as np
import pytest

from numpy_rnn import Parameters

T, K, RATE, EPOCHS = 23, 5, 0.02, 3  # 5 does not divide 23: the last chunk has 3 steps
SIZES = {"W_xh": (3, 4), "W_hh": (4, 4), "W_hy": (4, 2)}
OPTIONS = {"k1": K, "k2": K, "learning_rate": RATE, "epochs": EPOCHS}


@pytest.fixture
def problem():
    """Return the weights by name, and a series of 23 steps of two sequences."""
    draw = np.random.default_rng(7).normal
    weights = {name: draw(0, 0.5, size) for name, size in SIZES.items()}
    return weights, draw(size=(T, 2, 3)), draw(size=(T, 2, 2))


def torch_loop(weights, x, target):
    """Train torch.nn.RNN over chunks of 5 steps, and yield (loss, weights)."""
    torch = pytest.importorskip("torch")
    x, target = torch.tensor(x), torch.tensor(target)
    rnn = torch.nn.RNN(3, 4, bias=False, dtype=torch.float64)
    linear = torch.nn.Linear(4, 2, bias=False, dtype=torch.float64)
    layers = [rnn.weight_ih_l0, rnn.weight_hh_l0, linear.weight]
    with torch.no_grad():
        for layer, W in zip(layers, weights.values()):
            layer.copy_(torch.tensor(W.T))
    optimizer = torch.optim.SGD(layers, lr=RATE)
    for _ in range(EPOCHS):
        state = torch.zeros(1, 2, 4, dtype=torch.float64)
        for x_n, target_n in zip(x.split(K), target.split(K)):
            out, state = rnn(x_n, state.detach())
            loss = 0.5 * ((linear(out) - target_n) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item(), [layer.detach().numpy().T.copy() for layer in layers]


@pytest.mark.needs_torch
@pytest.mark.with_reference
def test_chunks_are_those_of_split(rnn, problem):
    """Losses and weights are the same in every update.

    They may differ by rounding, here by 1e-10. One older step in each window, which
    is another run, changes the weights by more than 1e-4.
    """
    weights, x, target = problem
    values = Parameters(**weights), x, target, np.zeros((2, 4))
    arrays = [*map(rnn.from_numpy, values)]
    updates = list(rnn.train(*arrays, **OPTIONS))
    assert [u.window.loss_steps for u in updates] == [5, 5, 5, 5, 3] * EPOCHS
    pairs = zip(updates, torch_loop(*problem), strict=True)
    for update, (loss, weights) in pairs:
        np.testing.assert_allclose(rnn.to_numpy(update.loss), loss, rtol=1e-10)
        for theta, W in zip(rnn.to_numpy(update.parameters), weights):
            np.testing.assert_allclose(theta, W, rtol=0, atol=1e-10)
    *_, other = rnn.train(*arrays, **OPTIONS | {"k2": K + 1})
    changes = np.abs(rnn.to_numpy(other.parameters).W_hh - weights[1])
    assert changes.max() > 1e-4
