"""vzhou842, rnn-from-scratch: columns, one loss at the end of the sequence; Whh is not transposed on the way back."""

import numpy as np

from public_rnns.adapter import NO_SGD, OF_CLASSES, Port, named, transposed


class RNN:
    def __init__(self, Wxh, Whh, Why, bh, by, limit, transpose):
        self.Wxh, self.Whh, self.Why, self.bh, self.by = (array.copy() for array in (Wxh, Whh, Why, bh, by))
        self.limit, self.transpose = limit, transpose

    def forward(self, inputs):
        h = np.zeros((len(self.Whh), 1), self.Whh.dtype)
        self.last_inputs, self.last_hs = inputs, {-1: h}
        for i, x in enumerate(inputs):
            h = np.tanh(self.Wxh @ x + self.Whh @ h + self.bh)
            self.last_hs[i] = h
        return self.Why @ h + self.by

    def backprop(self, d_y, learn_rate):
        n = len(self.last_inputs)
        d_Why, d_by, d_h = d_y @ self.last_hs[n - 1].T, d_y, self.Why.T @ d_y
        d_Whh, d_Wxh, d_bh = map(np.zeros_like, (self.Whh, self.Wxh, self.bh))
        for t in reversed(range(n)):
            temp = (1 - self.last_hs[t] ** 2) * d_h
            d_bh += temp
            d_Whh += temp @ self.last_hs[t - 1].T
            d_Wxh += temp @ self.last_inputs[t].T
            d_h = (self.Whh.T if self.transpose else self.Whh) @ temp
        gradients = d_Wxh, d_Whh, d_Why, d_bh, d_by
        limit = np.inf if self.limit is None else self.limit
        for W, d in zip((self.Wxh, self.Whh, self.Why, self.bh, self.by), gradients):
            W -= W.dtype.type(learn_rate) * np.clip(d, -limit, limit)
        return gradients


def softmax(xs):
    return np.exp(xs) / sum(np.exp(xs))


class Vzhou842(Port):
    capabilities = ("cross_entropy", "class_inputs", "sgd_options", "clip_by_value")
    lacks = ("relu", "mean", "h_0", "batch", "many losses", "large outputs", "max_norm", *NO_SGD, *OF_CLASSES)
    transpose = False

    def window_update(self, p, x, target, h_0, *, learning_rate, max_value=None, **options):
        rnn = RNN(*transposed(p), max_value, self.transpose)
        inputs = [np.eye(len(p["W_xh"]), dtype=h_0.dtype)[:, [word]] for word in x[:, 0]]
        probs = softmax(rnn.forward(inputs))
        loss = -np.log(probs[target[0, 0], 0])
        probs[target[0, 0]] -= 1
        gradients = rnn.backprop(probs, learning_rate)
        weights = rnn.Wxh, rnn.Whh, rnn.Why, rnn.bh, rnn.by
        return {"loss": loss} | named(p, gradients) | named(p, weights, "")
