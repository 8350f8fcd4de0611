"""Deep Learning from Scratch 2, time_layers.py: an object per step, float32, mean cross-entropy of classes."""

import numpy as np

from public_rnns.adapter import Port


class RNN:
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
            layer = RNN(*self.params)
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
        zero = np.zeros_like(p["W_hh"][0])
        layer = TimeRNN(p["W_xh"], p["W_hh"], p.get("b_h", zero), h_0)
        a, h = layer.forward(x.transpose(1, 0, 2))
        y = h @ p["W_hy"] + p.get("b_y", np.float32(0))  # TimeAffine
        loss, dout = time_softmax_with_loss(y.transpose(1, 0, 2), target.T)
        dy = np.ascontiguousarray(dout.transpose(1, 0, 2))
        (dWx, dWh, db), dh, da = layer.backward(dout @ p["W_hy"].T)
        flat = h.reshape(-1, h.shape[-1]), dy.reshape(-1, dy.shape[-1])
        grads = {"W_xh": dWx, "W_hh": dWh, "W_hy": flat[0].T @ flat[1], "b_h": db, "b_y": flat[1].sum(axis=0)}
        new = {name: theta - np.float32(learning_rate) * grads[name] for name, theta in p.items()}
        report = {"loss": np.float32(loss), "a": a, "h": h, "y": y, "dy": dy, "dh": dh, "da": da}
        return report | {"d" + name: grads[name] for name in p} | new
