"""min-char-rnn, reimplemented: the loop of Karpathy's program of 2015, with its column vectors and one-hot inputs.

`loss_and_gradients` and `train` use nothing of this project. Their numbers are those of the program, from given weights
and on given characters, in float64 or float32; what is left out is the reading of a file, the smoothed loss, the
printing and the sampling.
"""

import numpy as np

from benchmarks.prepared import Prepared, Tasks
from benchmarks.tasks import CHARACTERS
from benchmarks.workloads import Case

SEQUENCE, RATE, LIMIT = 25, 1e-1, 5


def loss_and_gradients(inputs, targets, hprev, Wxh, Whh, Why, bh, by):
    """The loss of a chunk, the gradients before clipping, and the states, outputs and derivatives on the way."""
    xs, hs, ys, ps, loss = {}, {-1: np.copy(hprev)}, {}, {}, 0.0
    for t in range(len(inputs)):
        xs[t] = np.zeros((Wxh.shape[1], 1), Wxh.dtype)
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby, dhnext = np.zeros_like(bh), np.zeros_like(by), np.zeros_like(hs[0])
    dys, dhs, das = {}, {}, {}
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
        dys[t], dhs[t], das[t] = dy, dh, dhraw
    return loss, (dWxh, dWhh, dWhy, dbh, dby), {"h": hs, "y": ys, "dy": dys, "dh": dhs, "da": das}


def train(data, weights, updates):
    """Yields the loss of every chunk, after the update.

    data: integers; weights: Wxh, Whh, Why, bh, by, which are changed in place.
    """
    n, p = 0, 0
    mem = [np.zeros_like(w) for w in weights]
    while n < updates:
        if p + SEQUENCE + 1 >= len(data) or n == 0:
            hprev, p = np.zeros((len(weights[1]), 1), weights[1].dtype), 0
        loss, gradients, on_the_way = loss_and_gradients(
            data[p : p + SEQUENCE], data[p + 1 : p + SEQUENCE + 1], hprev, *weights
        )
        hprev = on_the_way["h"][SEQUENCE - 1]
        for param, gradient, m in zip(weights, gradients, mem):
            dparam = np.clip(gradient, -LIMIT, LIMIT)
            m += dparam * dparam
            param += -RATE * dparam / np.sqrt(m + 1e-8)
        yield loss
        p += SEQUENCE
        n += 1


# -- the row ---------------------------------------------------------------------------------------------------------


def characters(case: Case) -> Prepared:
    params, x, target, _ = case.arrays()
    data = [
        *x[:, 0].tolist(),
        int(target[-1, 0]),
        0,
    ]  # it leaves out a chunk unless two characters follow it

    def call():
        weights = [np.array(W.T if W.ndim == 2 else W[:, None]) for W in params if W is not None]
        return [*train(data, weights, case.updates)]

    return Prepared(call, lambda: {"losses": np.array(call())})


def tasks(row: str) -> Tasks:
    return {CHARACTERS: characters}
