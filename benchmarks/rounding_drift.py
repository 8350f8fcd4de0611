"""The network once more, with a place for roundings: every number passes through `moved` as soon as it is computed.

The reference cannot be used for this: its states and adjoints follow from each other inside `forward` and `bptt`, where
no rounding can be added. It is also timed itself, and what judges it must not call it. Sequences are lists, one item
per step; leading axes of the weights are networks, as everywhere.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.workloads import Case
from numpy_rnn.conformance.bounds.local_bounds import TAU

Moved = Callable[[str, int, np.ndarray], np.ndarray]  # (name, step from 0, value) → the value, with roundings in it


def unmoved(name, t, value):
    return value


def window(weights, x, target, h_0, moved: Moved = unmoved) -> dict:
    """All of one window by its name in a trace; the loss is that of the newest steps, as many as `target` has.

    weights: (W_xh, W_hh, W_hy), (*E, D, H) and so on; x: (T, B, D); target: (K, B, O); h_0: (*E, B, H) or (B, H).
    """
    (W_xh, W_hh, W_hy), T = weights, len(x)
    h, y = [h_0], []
    for t in range(T):
        a_t = moved("a", t, x[t] @ W_xh + h[t] @ W_hh)
        h.append(moved("h", t, np.tanh(a_t)))
        y.append(moved("y", t, h[t + 1] @ W_hy))

    first = T - len(target)  # counted step
    after: Any = np.zeros_like(h_0)  # da_{t+1} W_hhᵀ
    loss: Any = 0.0  # and of the right shape with the first step
    dW_xh: Any = 0.0
    dW_hh: Any = 0.0
    dW_hy: Any = 0.0
    for t in reversed(range(T)):
        dh_t = after
        if t >= first:
            dy_t = moved("dy", t, y[t] - target[t - first])
            loss = loss + 0.5 * np.square(dy_t).sum(axis=(-2, -1))
            dW_hy = dW_hy + h[t + 1].mT @ dy_t
            dh_t = dh_t + dy_t @ W_hy.mT
        da_t = moved("da", t, moved("dh", t, dh_t) * (1 - np.square(h[t + 1])))
        dW_xh = dW_xh + x[t].mT @ da_t
        dW_hh = dW_hh + h[t].mT @ da_t
        after = da_t @ W_hh.mT
    gradients = {"dW_xh": dW_xh, "dW_hh": dW_hh, "dW_hy": dW_hy}
    return {"h": h, "y": y, "loss": loss, **{name: moved(name, 0, dW) for name, dW in gradients.items()}}


def updated(weights, found, learning_rate, moved: Moved = unmoved) -> list[np.ndarray]:
    """The weights after an SGD step along the gradient of a `window`."""
    rate = weights[1].dtype.type(learning_rate)
    pairs = zip(("W_xh", "W_hh", "W_hy"), weights)
    return [moved(name, 0, W - rate * found["d" + name]) for name, W in pairs]


def run(case, moved: Moved = unmoved, copies: int = 1) -> Iterator[tuple[int, np.ndarray, list[np.ndarray]]]:
    """Every update of a run of the case: epoch from 0, loss and weights after it, each with an axis of `copies` first.

    The copies are trained side by side, and differ by what `moved` makes of them.
    """
    params, x, target, h_0 = case.arrays()
    weights = [np.broadcast_to(W, (copies, *W.shape)) for W in params[:3]]
    T = case.T
    k1, k2 = (T, T) if case.k2 is None else (1, case.k2)
    for epoch in range(case.epochs):
        states, first = [h_0], 0
        for before in range(0, T, k1):
            stop = min(before + k1, T)
            start = max(0, stop - k2)
            found = window(weights, x[start:stop], target[before:stop], states[start - first], moved)
            states, first = found["h"], start
            weights = updated(weights, found, case.learning_rate, moved)
            yield epoch, found["loss"], weights


PERTURBED_RUNS = 5  # with moves
PROGRAMS = 2  # each may be off by the drift
WEIGHTS = ("W_xh", "W_hh", "W_hy")

RunBounds = dict[str, tuple[np.ndarray, np.ndarray]]


@lru_cache(maxsize=1)
def run_bounds(case: Case) -> RunBounds:
    """The losses of the epochs and the last weights of a plain run, and how far from each a row's may be.

    The drift of the losses never falls, because an epoch in which it happens to cancel says nothing about the next
    program; that of a tensor of weights is the largest of its numbers, in each network by itself.
    """
    losses = np.zeros((PERTURBED_RUNS + 1, case.epochs, *((case.networks,) if case.networks > 1 else ())))
    terms = np.zeros(losses.shape[1:])
    weights: list[np.ndarray] = []
    for epoch, loss, after in run(case, moves(case), PERTURBED_RUNS + 1):
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


def moves(case: Case, seed: int = 0) -> Moved:
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
