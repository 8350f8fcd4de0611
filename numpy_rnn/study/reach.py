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


class Weights(NamedTuple):
    """The weights of all networks, or their gradients: (N, 1, H), (N, H, H), (N, H, 1).

    N networks are trained at once; none has a bias.
    """

    W_xh: np.ndarray
    W_hh: np.ndarray
    W_hy: np.ndarray


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


def gradients(
    w: Weights,
    x: np.ndarray,
    target: np.ndarray,
    h_0: np.ndarray,
    training: LagTraining,
) -> tuple[Weights, np.ndarray, np.ndarray]:
    """Compute the masked gradients of the mean loss of one window.

    Parameters
    ----------
    w : Weights
        Current weights.
    x : ndarray, (T, N, B, 1)
        Inputs of the window.
    target : ndarray, (K, N, B, 1)
        Targets of its newest K steps, which have a loss.
    h_0 : ndarray, (N, B, H)
        Initial state, a constant.
    training : LagTraining
        Its k_x and k_h are the masks.

    Returns
    -------
    gradients : Weights
    errors : ndarray, (K, N, B, 1)
        Output less target.
    h : ndarray, (T + 1, N, B, H)
        States; h[0] is h_0.
    """
    T = len(x)
    K = len(target)
    h = np.zeros((T + 1, *h_0.shape))
    h[0] = h_0
    for t in range(1, T + 1):
        h[t] = np.tanh(x[t - 1] @ w.W_xh + h[t - 1] @ w.W_hh)  # (F1), (F2)
    errors = h[T - K + 1 :] @ w.W_hy - target  # (F3)

    result = Weights(*(np.zeros_like(theta) for theta in w))
    da = np.zeros_like(h_0)  # of step T + 1
    for t in range(T, 0, -1):
        dh = da @ w.W_hh.mT  # (B2), the part of later losses
        if t > T - K:
            dy = errors[t - 1 - (T - K)] / (K * SEQUENCES)  # (B1)
            dh += dy @ w.W_hy.mT  # (B2), the part of this one
            result.W_hy[:] += h[t].mT @ dy  # (B6)
        da = dh * (1 - h[t] ** 2)  # (B3)
        if T - t < training.k_x:
            result.W_xh[:] += x[t - 1].mT @ da  # (B4)
        if T - t < training.k_h:
            result.W_hh[:] += h[t - 1].mT @ da  # (B5)
    return result, errors, h


def train_on_lag(
    training: LagTraining, seed: int, networks: int = NETWORKS
) -> tuple[np.ndarray, Weights]:
    """Train networks.

    Returns
    -------
    errors : ndarray, (k1, networks)
        Mean squared errors by position among the new steps of an update: means over
        the last 25 updates, each of which is measured before its step.
    weights : Weights
        After the last update.
    """
    draw = np.random.default_rng(seed)
    w = Weights(
        draw.normal(0, training.deviation, (networks, 1, HIDDEN_UNITS)),
        draw.normal(0, DEVIATION_HH, (networks, HIDDEN_UNITS, HIDDEN_UNITS)),
        draw.normal(0, DEVIATION_HY, (networks, HIDDEN_UNITS, 1)),
    )
    T = training.updates * training.k1
    signs = draw.choice([-1.0, 1.0], (T + training.d, networks, SEQUENCES, 1))
    x = signs[training.d :]
    target = signs[:T]
    # By step, as last computed.
    states = {0: np.zeros((networks, SEQUENCES, HIDDEN_UNITS))}
    total = np.zeros((training.k1, networks))
    for n in range(training.updates):
        first = n * training.k1
        stop = first + training.k1
        start = max(0, first - (training.k2 - training.k1))  # (T2)
        window = x[start:stop], target[first:stop], states.pop(start)
        gradient, errors, h = gradients(w, *window, training)
        for step in range(start + 1, stop + 1):
            states[step] = h[step - start]
        states[start] = h[0]
        for theta, theta_gradient in zip(w, gradient, strict=True):
            theta -= LEARNING_RATE * theta_gradient  # (U1)
        if n >= training.updates - LAST:
            total += (errors**2).mean(axis=(2, 3))
        states.pop(start - 1, None)
    return total / LAST, w


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
        _, w = train_on_lag(training, seed)
        result.append(float(np.median(np.linalg.norm(w.W_xh, axis=(1, 2)))))
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
