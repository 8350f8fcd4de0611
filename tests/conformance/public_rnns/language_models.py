"""Language models of three authors with their own loss and, but for one, their own step."""

import numpy as np

from benchmarks.rows.min_char_rnn import loss_and_gradients
from public_rnns.adapter import NO_SGD, OF_CLASSES, LanguageModel, Port, named, reported, transposed


class MinCharRnn(Port):
    """min-char-rnn.py: one list of characters, columns, softmax without a shift, clipping by value.

    With its Adagrad; a case without it has a plain step.
    """

    capabilities = ("cross_entropy", "class_inputs", "clip_by_value", "adagrad")
    lacks = ("relu", "mean", "batch", "older steps", "large outputs", "max_norm", *NO_SGD, *OF_CLASSES)

    def window_update(self, p, x, target, h_0, *, learning_rate, max_value=None, adagrad=False, velocity=None, **_):
        model = [array.copy() for array in transposed(p)]
        loss, gradients, _ = loss_and_gradients(x[:, 0], target[:, 0], h_0.T, *model)
        report = {"loss": loss, **named(p, [g.copy() for g in gradients])}
        memory = {name: np.zeros_like(theta) for name, theta in p.items()} | (velocity or {})
        memory = [mem.copy() for mem in transposed(memory)]
        for param, dparam, mem in zip(model, gradients, memory):
            if max_value is not None:
                np.clip(dparam, -max_value, max_value, out=dparam)  # to mitigate exploding gradients
            mem += dparam * dparam
            scale = np.sqrt(mem + mem.dtype.type(1e-8)) if adagrad else 1
            param += -param.dtype.type(learning_rate) * dparam / scale
        report |= named(p, memory, "v") if adagrad else {}
        return report | named(p, model, "")


# dennybritz's rnnlm (RNNLM.ipynb): one sentence, every loss runs back over bptt_truncate + 1 steps, no biases.
def softmax(v):
    e = np.exp(v - np.max(v))
    return e / e.sum()


class RNNNumpy:
    def __init__(self, U, V, W, bptt_truncate=4):
        self.U, self.V, self.W, self.bptt_truncate = U, V, W, bptt_truncate

    def forward_propagation(self, x):
        T = len(x)
        s = np.zeros((T + 1, len(self.W)), self.W.dtype)  # s[-1] is the state before the first word
        o = np.zeros((T, len(self.V)), self.W.dtype)
        for t in np.arange(T):
            s[t] = np.tanh(self.U[:, x[t]] + self.W.dot(s[t - 1]))
            o[t] = softmax(self.V.dot(s[t]))
        return o, s

    def calculate_loss(self, x, y):
        o, _ = self.forward_propagation(x)
        return -np.sum(np.log(o[np.arange(len(y)), y]))

    def bptt(self, x, y):
        o, s = self.forward_propagation(x)
        dLdU, dLdV, dLdW = map(np.zeros_like, (self.U, self.V, self.W))
        delta_o = o
        delta_o[np.arange(len(y)), y] -= 1.0
        for t in np.arange(len(y))[::-1]:
            dLdV += np.outer(delta_o[t], s[t])
            delta_t = self.V.T.dot(delta_o[t]) * (1 - s[t] ** 2)
            for bptt_step in np.arange(max(0, t - self.bptt_truncate), t + 1)[::-1]:
                dLdW += np.outer(delta_t, s[bptt_step - 1])
                dLdU[:, x[bptt_step]] += delta_t
                delta_t = self.W.T.dot(delta_t) * (1 - s[bptt_step - 1] ** 2)
        return dLdU, dLdV, dLdW


class DennyBritz(LanguageModel):
    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        model = RNNNumpy(p["W_xh"].T, p["W_hy"].T, p["W_hh"].T)
        loss = model.calculate_loss(x[:, 0], target[:, 0])
        dLdU, dLdV, dLdW = model.bptt(x[:, 0], target[:, 0])
        return reported(p, {"W_xh": dLdU.T, "W_hy": dLdV.T, "W_hh": dLdW.T}, learning_rate, loss=loss)


# vzhou842, rnn-from-scratch: columns, one loss at the end of the sequence; Whh is not transposed on the way back.
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


class Vzhou842(Port):
    capabilities = ("cross_entropy", "class_inputs", "sgd_options", "clip_by_value")
    lacks = ("relu", "mean", "h_0", "batch", "many losses", "large outputs", "max_norm", *NO_SGD, *OF_CLASSES)
    transpose = False

    def window_update(self, p, x, target, h_0, *, learning_rate, max_value=None, **options):
        rnn = RNN(*transposed(p), max_value, self.transpose)
        inputs = [np.eye(len(p["W_xh"]), dtype=h_0.dtype)[:, [word]] for word in x[:, 0]]
        scores = np.exp(rnn.forward(inputs))
        probs = scores / sum(scores)
        loss = -np.log(probs[target[0, 0], 0])
        probs[target[0, 0]] -= 1
        gradients = rnn.backprop(probs, learning_rate)
        weights = rnn.Wxh, rnn.Whh, rnn.Why, rnn.bh, rnn.by
        return {"loss": loss} | named(p, gradients) | named(p, weights, "")
