"""Does a row compute what the tutorial program computes? Asked before anything is timed.

How far two correct programs may drift apart is measured and not guessed. Correct programs sum in other orders, so at
every update each of them rounds each weight in its own way, by half an ulp for the subtraction and a little more for
the gradient, which is small beside the weight. So the tutorial program is run again with every weight moved by one ulp
an update, up or down at random (the moves of an epoch made together, at its start): that shows how far such roundings
push the losses as training amplifies them. The loss itself is rounded too, by an ulp at most. Two programs may each be
that far from exact arithmetic, hence twice the drift and the ulp are the bound.
"""

from typing import NamedTuple

import numpy as np

from benchmarks import tutorial
from benchmarks.rows import Case

RUNS = 5  # of the tutorial program with moved weights
PROGRAMS = 2  # each may be off by the drift


class Agreement(NamedTuple):
    """Where a row's loss curve is furthest from the tutorial's, measured by what rounding explains."""

    epoch: int  # from 1
    difference: float  # of the epoch's losses
    share: float  # difference / bound

    @property
    def holds(self) -> bool:
        return self.share <= 1


def agreement(losses, reference, bound) -> Agreement:
    """The worst epoch of the curve `losses` against `reference`; what is missing or not finite disagrees."""
    if len(losses) != len(reference):
        return Agreement(min(len(losses), len(reference)) + 1, np.inf, np.inf)
    difference = np.abs(np.asarray(losses) - np.asarray(reference))
    share = difference / bound
    worst = int(share.argmax())  # the first NaN, if there is one, and NaN does not hold
    return Agreement(worst + 1, float(difference[worst]), float(share[worst]))


def rounding_bound(case: Case, reference, generator: np.random.Generator) -> np.ndarray:
    """How far each epoch's loss may be from `reference`, the tutorial program's: (epochs,).

    The drift never falls, because an epoch in which it happens to cancel says nothing about the next program.
    """
    curves = np.array([_moved_losses(case, generator) for _ in range(RUNS)])
    drift = np.abs(curves - np.asarray(reference)).max(axis=0)
    ulp = np.spacing(np.asarray(reference, case.series.dtype))
    return PROGRAMS * (np.maximum.accumulate(drift) + ulp)


def moved(weights, updates: int, generator: np.random.Generator) -> list[np.ndarray]:
    """The weights, every entry moved by one ulp `updates` times, up or down at random."""
    return [W + np.spacing(np.abs(W)) * _random_walk(W, updates, generator) for W in weights]


def _random_walk(W, updates, generator):
    return generator.choice((-1, 1), (updates, *W.shape)).sum(axis=0).astype(W.dtype)


def _moved_losses(case, generator):
    weights, curve = case.weights[:3], []
    for _ in range(case.epochs):
        weights = moved(weights, len(case.series) - 1, generator)
        W_xh, W_hh, W_hy = weights
        losses, weights = tutorial.train(W_xh, W_hh, W_hy, case.series, 1, case.learning_rate)
        curve += losses
    return curve
