"""Language models of five authors with their own loss and, but for one, their own step."""

import numpy as np

from benchmarks.rows.min_char_rnn import loss_and_gradients
from public_rnns.adapter import NO_SGD, OF_CLASSES, LanguageModel, Port, filled, named, reported, transposed


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


# gy910210, rnn-from-scratch: an object per layer, a band of 4 + 1 steps; the loss is a mean, its gradient not.
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


class Gy910210(LanguageModel):
    of_sum = False  # as the author has it

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        x = np.eye(len(p["W_xh"]), dtype=h_0.dtype)[x[:, 0]]
        loss, dU, dW, dV = Model(p["W_xh"].T, p["W_hh"].T, p["W_hy"].T).bptt(x, target[:, 0])
        loss = h_0.dtype.type(loss * len(x) if self.of_sum else loss)
        return reported(p, {"W_xh": dU.T, "W_hh": dW.T, "W_hy": dV.T}, learning_rate, loss=loss)


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


# Deep Learning from Scratch 2, time_layers.py: an object per step, float32, mean cross-entropy of classes.
class RNNStep:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]

    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        t = np.dot(h_prev, Wh) + np.dot(x, Wx) + b
        h_next = np.tanh(t)
        self.cache = x, h_prev, h_next
        return t, h_next

    def backward(self, dh_next):
        Wx, Wh, _ = self.params
        x, h_prev, h_next = self.cache
        dt = dh_next * (1 - h_next**2)
        self.grads = np.dot(x.T, dt), np.dot(h_prev.T, dt), np.sum(dt, axis=0)
        return dt, np.dot(dt, Wx.T), np.dot(dt, Wh.T)


class TimeRNN:
    def __init__(self, Wx, Wh, b, h):
        self.params, self.h = [Wx, Wh, b], h

    def forward(self, xs):
        self.layers, ts, hs = [], [], []
        for t in range(xs.shape[1]):
            layer = RNNStep(*self.params)
            a, self.h = layer.forward(xs[:, t, :], self.h)
            self.layers.append(layer)
            ts.append(a)
            hs.append(self.h)
        return np.stack(ts), np.stack(hs)

    def backward(self, dhs):
        dh, grads, all_dh, dts = 0, [0, 0, 0], [], []
        for t in reversed(range(dhs.shape[1])):
            layer = self.layers[t]
            all_dh.append(dhs[:, t, :] + dh)
            dt, _, dh = layer.backward(all_dh[-1])
            dts.append(dt)
            grads = [total + grad for total, grad in zip(grads, layer.grads)]
        return grads, np.stack(all_dh[::-1]), np.stack(dts[::-1])


def time_softmax_with_loss(xs, ts):
    N, T, V = xs.shape
    xs, ts = xs.reshape(N * T, V), ts.reshape(N * T)
    ys = np.exp(xs - xs.max(axis=1, keepdims=True))
    ys /= ys.sum(axis=1, keepdims=True)
    loss = -np.sum(np.log(ys[np.arange(N * T), ts])) / (N * T)
    dx = ys.copy()
    dx[np.arange(N * T), ts] -= 1
    return loss, (dx / (N * T)).reshape(N, T, V)


class DeepLearningFromScratch2(Port):
    """The embedding is a layer before the RNN. The values within the layers are reported too."""

    dtypes = ("float32",)
    capabilities = ("cross_entropy", "intermediates")
    lacks = ("relu", "sum", "older steps", "squared_error", "distributions", "large outputs")

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        P = filled(p)
        layer = TimeRNN(P["W_xh"], P["W_hh"], P["b_h"], h_0)
        a, h = layer.forward(x.transpose(1, 0, 2))
        y = h @ P["W_hy"] + P["b_y"]  # TimeAffine
        loss, dout = time_softmax_with_loss(y.transpose(1, 0, 2), target.T)
        dy = np.ascontiguousarray(dout.transpose(1, 0, 2))
        (dWx, dWh, db), dh, da = layer.backward(dout @ p["W_hy"].T)
        flat_h, flat_dy = h.reshape(-1, h.shape[-1]), dy.reshape(-1, dy.shape[-1])
        grads = {"W_xh": dWx, "W_hh": dWh, "W_hy": flat_h.T @ flat_dy, "b_h": db, "b_y": flat_dy.sum(axis=0)}
        return reported(p, grads, learning_rate, loss=np.float32(loss), a=a, h=h, y=y, dy=dy, dh=dh, da=da)
