"""gy910210, rnn-from-scratch: an object per layer, a band of 4 + 1 steps; the loss is a mean, its gradient not."""

import numpy as np

from public_rnns.adapter import OF_CLASSES, Port


class RNNLayer:
    def forward(self, x, prev_s, U, W, V):
        self.s = np.tanh(np.dot(U, x) + np.dot(W, prev_s))
        self.mulv = np.dot(V, self.s)

    def backward(self, x, prev_s, U, W, V, diff_s, dmulv):
        dV, dsv = np.outer(dmulv, self.s), np.dot(V.T, dmulv)
        dadd = (1.0 - np.square(self.s)) * (dsv + diff_s)
        return np.dot(W.T, dadd), np.outer(dadd, x), np.outer(dadd, prev_s), dV


def predict(mulv):
    exp_scores = np.exp(mulv)
    return exp_scores / np.sum(exp_scores)


class Model:
    def __init__(self, U, W, V, bptt_truncate=4):
        self.U, self.W, self.V, self.bptt_truncate = U, W, V, bptt_truncate

    def forward_propagation(self, x):
        layers, prev_s = [], np.zeros(len(self.W), self.W.dtype)
        for x_t in x:
            layer = RNNLayer()
            layer.forward(x_t, prev_s, self.U, self.W, self.V)
            prev_s = layer.s
            layers.append(layer)
        return layers

    def bptt(self, x, y):
        layers, zero = self.forward_propagation(x), np.zeros(len(self.W), self.W.dtype)
        loss, (dU, dW, dV) = 0.0, map(np.zeros_like, (self.U, self.W, self.V))
        for t, layer in enumerate(layers):
            dmulv = predict(layer.mulv)
            loss -= np.log(dmulv[y[t]])
            dmulv[y[t]] -= 1
            prev = zero if t == 0 else layers[t - 1].s
            diff_s, dU_t, dW_t, dV_t = layer.backward(x[t], prev, self.U, self.W, self.V, zero, dmulv)
            dV += dV_t
            for i in range(t - 1, max(-1, t - self.bptt_truncate - 1), -1):
                prev = zero if i == 0 else layers[i - 1].s
                none = np.zeros_like(dmulv)
                diff_s, dU_i, dW_i, _ = layers[i].backward(x[i], prev, self.U, self.W, self.V, diff_s, none)
                dU_t, dW_t = dU_t + dU_i, dW_t + dW_i
            dU, dW = dU + dU_t, dW + dW_t
        return loss / float(len(y)), dU, dW, dV


class Gy910210(Port):
    capabilities = ("cross_entropy", "class_inputs")
    lacks = ("relu", "mean", "bias", "h_0", "batch", "older steps", "large outputs", *OF_CLASSES)
    truncation = "band:5"
    of_sum = False  # as the author has it

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        x = np.eye(len(p["W_xh"]), dtype=h_0.dtype)[x[:, 0]]
        loss, *gradients = Model(p["W_xh"].T, p["W_hh"].T, p["W_hy"].T).bptt(x, target[:, 0])
        loss = h_0.dtype.type(loss * len(x) if self.of_sum else loss)
        d = {name: gradient.T for name, gradient in zip(("W_xh", "W_hh", "W_hy"), gradients)}
        new = {name: p[name] - p[name].dtype.type(learning_rate) * g for name, g in d.items()}
        return {"loss": loss} | {"d" + name: g for name, g in d.items()} | new
