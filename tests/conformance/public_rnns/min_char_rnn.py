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
    """Its Adagrad is left out: the step is the plain one, after its clipping."""

    capabilities = ("cross_entropy", "class_inputs", "sgd_options", "clip_by_value")
    lacks = ("relu", "mean", "batch", "older steps", "large outputs", "max_norm", *NO_SGD, *OF_CLASSES)

    def window_update(self, p, x, target, h_0, *, learning_rate, max_value=None, **options):
        model = [array.copy() for array in transposed(p, *NAMES)]
        loss, gradients = loss_fun(model, x[:, 0], target[:, 0], h_0.T)
        report = {"loss": loss, **named(p, NAMES, [g.copy() for g in gradients])}
        for param, dparam in zip(model, gradients):
            if max_value is not None:
                np.clip(dparam, -max_value, max_value, out=dparam)  # to mitigate exploding gradients
            param += -param.dtype.type(learning_rate) * dparam
        return report | named(p, NAMES, model, "")
