"""How many updates a run makes at once, and how many views of windows the engine keeps: bounds on time and memory."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from cases import bits

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.run import FLOPS, MAX_UPDATES, SECONDS, updates_per_yield
from numpy_rnn.engine import loop


def shaped(E, D, H, O):
    """Parameters of these sizes, which take no memory."""
    return Parameters(*(np.broadcast_to(np.float32(0), (*E, *shape)) for shape in ((D, H), (H, H), (H, O))))


def test_the_more_an_update_computes_the_fewer_are_made_at_once():
    assert updates_per_yield(shaped((), 1, 6, 1), 1) == MAX_UPDATES
    for E, D, H, k2 in product([(), (7,), (3, 5)], [1, 300], [6, 600, 6000], [1, 20, 1000]):
        count = updates_per_yield(shaped(E, D, H, D), k2)
        flops = 6 * np.prod(E) * (2 * D * H + H * H) * k2  # of one update
        assert 1 <= count <= MAX_UPDATES
        assert count == 1 or count * flops <= SECONDS * FLOPS
        assert count >= updates_per_yield(shaped((2, *E), D, H, D), k2)


NETWORKS, STEPS, YIELD_EVERY = (None, 2, 7), ((1, 40), (5, 12), (3, 3)), (1, 7, "epoch")


@pytest.mark.parametrize(  # every pair of values once
    ("networks", "k1", "k2", "yield_every"),
    [(NETWORKS[i], *STEPS[j], YIELD_EVERY[(i + j) % 3]) for i, j in product(range(3), repeat=2)],
)
def test_a_run_with_few_views_and_short_tapes_is_the_same_and_takes_less_memory(
    monkeypatch, networks, k1, k2, yield_every
):
    params = numpy_rnn.initial_parameters(2, 6, 2, networks=networks, bias=True)
    series = np.random.default_rng(k1).normal(size=(80, 1, 2)).astype(np.float32)
    options = {"k1": k1, "k2": k2, "learning_rate": 0.01, "epochs": 2, "yield_every": yield_every}

    def run():
        tracemalloc.start()
        made = [hash(bits(u)) for u in numpy_rnn.train(params, series, -series, np.zeros((1, 6), "f4"), **options)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return made, peak

    run()  # what is made once
    at_large, most = run()
    monkeypatch.setattr(loop, "MAX_VIEWED", 2 * k2)
    few_views, less = run()
    assert few_views == at_large
    assert less < most
    if k1 == 1:  # as many views as windows would be 2400 steps, and those of the first 40 windows alone 800
        assert less < most / 3
    monkeypatch.setattr(loop, "TAPE_BYTES", 1)
    assert run()[0] == at_large
