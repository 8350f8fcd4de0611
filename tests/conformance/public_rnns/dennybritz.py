"""dennybritz's rnnlm (RNNLM.ipynb): one sentence, every loss runs back over bptt_truncate + 1 steps, no biases."""

import numpy as np

from public_rnns.adapter import OF_CLASSES, Port


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


class DennyBritz(Port):
    capabilities = ("cross_entropy", "class_inputs")
    lacks = ("relu", "mean", "bias", "h_0", "batch", "older steps", "large outputs", *OF_CLASSES)
    truncation = "band:5"

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        model = RNNNumpy(p["W_xh"].T, p["W_hy"].T, p["W_hh"].T)
        loss = model.calculate_loss(x[:, 0], target[:, 0])
        gradients = dict(zip(("W_xh", "W_hy", "W_hh"), (g.T for g in model.bptt(x[:, 0], target[:, 0]))))
        new = {name: p[name] - p[name].dtype.type(learning_rate) * g for name, g in gradients.items()}
        return {"loss": loss} | {"d" + name: g for name, g in gradients.items()} | new
