"""min-char-rnn, reimplemented: Karpathy's program of 2015, with its column vectors.

The reading of a file, the smoothed loss, the printing and the sampling are left out.
"""

import numpy as np

from benchmarks.cases import Case
from benchmarks.implementations import Call, Unsupported

SEQUENCE = 25
CHUNK_RATE = 1e-1
LIMIT = 5


def loss_and_gradients(inputs, targets, hprev, weights):
    """Return the loss of a chunk, the gradients before clipping, and the states by
    step. weights: Wxh, Whh, Why, bh, by.
    """
    Wxh, Whh, Why, bh, by = weights
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
    return loss, (dWxh, dWhh, dWhy, dbh, dby), hs


def train_chunks(inputs, targets, weights):
    """Return the loss of every chunk of one pass. weights: Wxh, Whh, Why, bh, by,
    changed in place.
    """
    losses = []
    hprev = np.zeros((len(weights[1]), 1), weights[1].dtype)
    memory = [np.zeros_like(weight) for weight in weights]
    for p in range(0, len(inputs), SEQUENCE):
        chunk = slice(p, p + SEQUENCE)
        loss, gradients, hs = loss_and_gradients(
            inputs[chunk], targets[chunk], hprev, weights
        )
        hprev = hs[SEQUENCE - 1]
        for weight, gradient, mem in zip(weights, gradients, memory):
            dparam = np.clip(gradient, -LIMIT, LIMIT)
            mem += dparam * dparam
            weight += -CHUNK_RATE * dparam / np.sqrt(mem + 1e-8)
        losses.append(loss)
    return losses


def prepare(case: Case) -> Call:
    """Return a call that trains on chunks. Raises Unsupported on other runs."""
    if not case.is_text:
        raise Unsupported("a character model only")
    (W_xh, W_hh, W_hy, b_h, b_y), x, target, _ = case.arrays()
    assert b_h is not None
    assert b_y is not None
    columns = [W_xh.T, W_hh.T, W_hy.T, b_h[:, None], b_y[:, None]]

    def call():
        weights = [np.array(column) for column in columns]
        losses = train_chunks(x[:, 0].tolist(), target[:, 0].tolist(), weights)
        return losses, [weight.T for weight in weights[:3]]

    return call
