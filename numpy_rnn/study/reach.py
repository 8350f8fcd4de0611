"""The experiment of the lesson: which terms of the gradient does a memory need?

The task is to repeat the input of d steps ago. Networks learn it by TBPTT(k1, k2), and
each matrix has a reach of its own: of the terms of (B4) those of the newest k_x steps
of a window are summed, and of the terms of (B5) those of the newest k_h steps. A matrix
with a reach of 0 is not trained.

`python -m numpy_rnn.study.reach` writes reach.json in a few minutes.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Gradients, Parameters
from numpy_rnn.study.subject import NumpyParameters

REACH_RESULTS = Path(__file__).with_name("reach.json")
SEEDS = (1, 2, 3)  # of weights and series
NETWORKS = 64  # for each seed

LAGS = range(1, 7)
DEVIATIONS = (0.1, 0.5)  # of W_xh at the start; those of W_hh and W_hy:
DEVIATION_HH, DEVIATION_HY = 0.2, 0.3
SEQUENCES, HIDDEN_UNITS = 4, 8
LEARNING_RATE = 0.2
MAX_UPDATES = 800
LAST = 25  # updates whose error counts
LEARNED = 0.5  # mean squared error; an output of 0 has 1


class LagTraining(NamedTuple):
    """One way to train on the task of lag d."""

    d: int
    k1: int  # new steps of an update, all with a loss
    k_x: int  # newest steps of the window whose terms are in the gradient of W_xh
    k_h: int  # the same for W_hh
    deviation: float = DEVIATIONS[0]  # of W_xh at the start
    updates: int = MAX_UPDATES

    @property
    def k2(self) -> int:
        """The steps of a window."""
        return max(self.k1, self.k_x, self.k_h)


def masked_gradients(
    params: NumpyParameters,
    activations: Activations[np.ndarray],
    target: np.ndarray,
    training: LagTraining,
) -> Gradients[np.ndarray]:
    """Compute the gradients of the mean loss of one window, of the terms that the
    masks of the training keep.

    target: of the newest k1 steps, which have a loss.
    """
    x, _, h, _ = activations
    derivatives = numpy_rnn.adjoints(params, activations, target, reduction="mean")
    dy, da = derivatives.dy, derivatives.da
    return Gradients(
        W_xh=sum_of_newest(x, da, training.k_x),  # (B4)
        W_hh=sum_of_newest(h[:-1], da, training.k_h),  # (B5)
        W_hy=sum_of_newest(h[1:], dy, len(target)),  # (B6)
    )


def sum_of_newest(left: np.ndarray, right: np.ndarray, k: int) -> np.ndarray:
    """Return Σ_t left_tᵀ right_t of the newest k steps; zeros if k is 0."""
    terms = left.mT @ right
    total: np.ndarray = np.zeros_like(terms[0])
    # The latest first: in another order the sum is rounded otherwise, and reach.json
    # has other shares of networks that barely learn.
    for term in terms[::-1][:k]:
        total += term
    return total


def train_on_lag(
    training: LagTraining, seed: int, networks: int = NETWORKS
) -> tuple[np.ndarray, NumpyParameters]:
    """Train networks without biases, all at once.

    Returns
    -------
    errors : ndarray, (k1, networks)
        Mean squared errors by position among the new steps of an update: means over
        the last 25 updates, each of which is measured before its step.
    params : Parameters
        After the last update.
    """
    draw = np.random.default_rng(seed)
    params: NumpyParameters = Parameters(
        draw.normal(0, training.deviation, (networks, 1, HIDDEN_UNITS)),
        draw.normal(0, DEVIATION_HH, (networks, HIDDEN_UNITS, HIDDEN_UNITS)),
        draw.normal(0, DEVIATION_HY, (networks, HIDDEN_UNITS, 1)),
    )
    T = training.updates * training.k1
    signs = draw.choice([-1.0, 1.0], (T + training.d, networks, SEQUENCES, 1))
    x = signs[training.d :]
    target = signs[:T]
    # By step, as the latest window computed them.
    states = {0: np.zeros((networks, SEQUENCES, HIDDEN_UNITS))}
    total = np.zeros((training.k1, networks))
    windows = numpy_rnn.windows(T, training.k1, training.k2)
    for n, (start, loss_start, stop) in enumerate(windows):
        activations = numpy_rnn.forward(params, x[start:stop], states[start])
        new_target = target[loss_start:stop]
        gradients = masked_gradients(params, activations, new_target, training)
        params = numpy_rnn.sgd(params, gradients, LEARNING_RATE)
        states = dict(enumerate(activations.h, start=start))
        if n >= training.updates - LAST:
            errors = activations.y[-training.k1 :] - new_target
            total += (errors**2).mean(axis=(2, 3))
    return total / LAST, params


def sliding_ways(d: int, deviation: float) -> dict[str, LagTraining]:
    """Return the sliding windows of the tables by "k_x, k_h", for one lag."""
    reaches = [(0, 0), (1, 1)]
    for k in (d, d + 1):
        reaches += [(0, k), (k, 0), (k, k)]
    reaches += [(d + 1, d), (d, d + 1), (d + 1, 1)]
    result = {}
    for k_x, k_h in reaches:
        result[f"{k_x}, {k_h}"] = LagTraining(d, 1, k_x, k_h, deviation)
    return result


def chunk_ways(d: int) -> dict[str, LagTraining]:
    """Return the chunks of the tables by "equal amount, k", for one lag."""
    result = {}
    for k in (d, d + 1, 2 * d):
        result[f"updates, {k}"] = LagTraining(d, k, k, k)
        result[f"steps, {k}"] = LagTraining(d, k, k, k, updates=MAX_UPDATES // k)
    return result


def shares(training: LagTraining) -> list[float]:
    """Return the share of networks that learn, for each seed."""
    result = []
    for seed in SEEDS:
        errors, _ = train_on_lag(training, seed)
        result.append(float((errors.mean(axis=0) < LEARNED).mean()))
    return result


def median_norm_of_W_xh(training: LagTraining) -> list[float]:
    """Return the median norm of W_xh after training, for each seed."""
    result = []
    for seed in SEEDS:
        _, params = train_on_lag(training, seed)
        result.append(float(np.median(np.linalg.norm(params.W_xh, axis=(1, 2)))))
    return result


def main() -> None:
    """Run the whole experiment and write its results, by table, lag and way."""
    result: dict[str, dict[str, dict[str, list[float]]]] = {}
    for d in LAGS:
        tables = {f"{size}": sliding_ways(d, size) for size in DEVIATIONS}
        tables["chunks"] = chunk_ways(d)
        for table, ways in tables.items():
            row = {way: shares(training) for way, training in ways.items()}
            result.setdefault(table, {})[f"{d}"] = row
            print(table, d, row, flush=True)
    # Two sentences of the lesson: on the error at each step of a chunk,
    errors, _ = train_on_lag(LagTraining(d=5, k1=6, k_x=6, k_h=6), SEEDS[0])
    result["positions"] = {"5": {"updates, 6": np.median(errors, axis=1).tolist()}}
    # and on the length of W_xh, which grows with the term of lag 3 alone.
    norms = {}
    for k_x in (0, 3, 4):
        training = LagTraining(d=3, k1=1, k_x=k_x, k_h=3, deviation=DEVIATIONS[1])
        norms[f"{k_x}, 3"] = median_norm_of_W_xh(training)
    result["lengths"] = {"3": norms}
    REACH_RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
