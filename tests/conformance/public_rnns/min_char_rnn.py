"""min-char-rnn.py: one list of characters, columns, softmax without a shift, clipping by value."""

import numpy as np

from public_rnns.adapter import NO_SGD, OF_CLASSES, Port, named, transposed

NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


def loss_fun(model, inputs, targets, hprev):
    Wxh, Whh, Why, bh, by = model
    xs, hs, ps, loss = {}, {-1: np.copy(hprev)}, {}, 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((Wxh.shape[1], 1), Wxh.dtype)
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        y = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(y) / np.sum(np.exp(y))
        loss += -np.log(ps[t][targets[t], 0])
    dWxh, dWhh, dWhy, dbh, dby = map(np.zeros_like, model)
    dhnext = np.zeros_like(hs[0])
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
    return loss, (dWxh, dWhh, dWhy, dbh, dby)


class MinCharRnn(Port):
    """With its Adagrad; a case without it has a plain step."""

    capabilities = ("cross_entropy", "class_inputs", "clip_by_value", "adagrad")
    lacks = ("relu", "mean", "batch", "older steps", "large outputs", "max_norm", *NO_SGD, *OF_CLASSES)

    def window_update(
        self, p, x, target, h_0, *, learning_rate, max_value=None, adagrad=False, velocity=None, **options
    ):
        model = [array.copy() for array in transposed(p, *NAMES)]
        loss, gradients = loss_fun(model, x[:, 0], target[:, 0], h_0.T)
        report = {"loss": loss, **named(p, NAMES, [g.copy() for g in gradients])}
        memory = {name: np.zeros_like(theta) for name, theta in p.items()} | (velocity or {})
        memory = [mem.copy() for mem in transposed(memory, *NAMES)]
        for param, dparam, mem in zip(model, gradients, memory):
            if max_value is not None:
                np.clip(dparam, -max_value, max_value, out=dparam)  # to mitigate exploding gradients
            mem += dparam * dparam
            scale = np.sqrt(mem + mem.dtype.type(1e-8)) if adagrad else 1
            param += -param.dtype.type(learning_rate) * dparam / scale
        report |= named(p, NAMES, memory, "v") if adagrad else {}
        return report | named(p, NAMES, model, "")
