"""How far two correct runs of many updates may drift apart. That is measured and not guessed.

Correct programs sum in other orders, so at every update each of them rounds each weight in its own way, by half an ulp
for the subtraction and a little more for the gradient, which is small beside the weight; and their tanh may be off by
as much as the equivalence suite allows. So a plain program is run again with every weight moved by one ulp an update,
and every state by that error of tanh, up or down at random: that shows how far such roundings push losses and weights
as training amplifies them. The loss itself is rounded too, by an ulp of each of its terms at most. Two programs may
each be that far from exact arithmetic, hence twice the drift and the ulps are the bound.
"""

from functools import lru_cache

import numpy as np

from benchmarks import plain
from benchmarks.cases import Case
from numpy_rnn.conformance.bounds.local_bounds import TAU

RUNS = 5  # with moves
PROGRAMS = 2  # each may be off by the drift
WEIGHTS = ("W_xh", "W_hh", "W_hy")

RunBounds = dict[str, tuple[np.ndarray, np.ndarray]]


@lru_cache(maxsize=1)
def run_bounds(case: Case) -> RunBounds:
    """The losses of the epochs and the last weights of a plain run, and how far from each a row's may be.

    The drift of the losses never falls, because an epoch in which it happens to cancel says nothing about the next
    program; that of a tensor of weights is the largest of its numbers, in each network by itself.
    """
    losses = np.zeros((RUNS + 1, case.epochs, *((case.networks,) if case.networks > 1 else ())))
    terms = np.zeros(losses.shape[1:])
    weights: list[np.ndarray] = []
    for epoch, loss, after in plain.run(case, moves(case), RUNS + 1):
        losses[:, epoch] += loss
        terms[epoch] += np.spacing(loss[0])
        weights = after
    drift = np.maximum.accumulate(np.abs(losses[1:] - losses[0]).max(axis=0), axis=0)
    bounds = {"losses": (losses[0], PROGRAMS * (drift + terms))}
    for name, W in zip(WEIGHTS, weights):
        drift = np.abs(W[1:] - W[0]).astype(np.float64).max(axis=(0, -2, -1), keepdims=True)[0]
        ulp = np.spacing(np.abs(W[0]).max(axis=(-2, -1), keepdims=True)).astype(np.float64)
        bounds[name] = W[0], np.broadcast_to(PROGRAMS * (drift + ulp), W[0].shape)
    return bounds


def moves(case: Case, seed: int = 0) -> plain.Moved:
    """Moves every copy but the first."""
    generator, u = np.random.default_rng(seed), np.finfo(case.dtype).eps / 2

    def moved(name, t, value):
        if name not in ("h", *WEIGHTS):
            return value
        signs = generator.integers(0, 2, value.shape, np.int8) * 2 - 1
        signs[0] = 0
        size = np.spacing(np.abs(value)) if name in WEIGHTS else (TAU * u * np.abs(value)).astype(case.dtype)
        return value + size * signs.astype(case.dtype)

    return moved
