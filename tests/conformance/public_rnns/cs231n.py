"""CS231n, assignment 3, rnn_layers.py: batches first, a cache for every step, dx and dh0."""

import numpy as np

from public_rnns.adapter import LAYER, Port


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    dz = dnext_h * (1 - next_h**2)
    return dz.dot(Wx.T), dz.dot(Wh.T), x.T.dot(dz), prev_h.T.dot(dz), dz.sum(axis=0)


def rnn_forward(x, h0, Wx, Wh, b):
    N, T, _ = x.shape
    h, caches, prev_h = np.zeros((N, T, len(Wh)), x.dtype), [], h0
    for t in range(T):
        h[:, t] = np.tanh(x[:, t].dot(Wx) + prev_h.dot(Wh) + b)
        caches.append((x[:, t], prev_h, Wx, Wh, h[:, t]))
        prev_h = h[:, t]
    return h, caches


def rnn_backward(dh, caches):
    N, T, _ = dh.shape
    _, prev_h, Wx, Wh, _ = caches[0]
    dx, dWx, dWh = np.zeros((N, T, len(Wx)), dh.dtype), np.zeros_like(Wx), np.zeros_like(Wh)
    db, dprev_h = np.zeros(len(Wh), dh.dtype), np.zeros_like(prev_h)
    for t in reversed(range(T)):
        dx[:, t], dprev_h, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t] + dprev_h, caches[t])
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dx, dprev_h, dWx, dWh, db


def temporal_affine_backward(dout, h, W):
    flat, dflat = h.reshape(-1, h.shape[-1]), dout.reshape(-1, dout.shape[-1])
    return dout.dot(W.T), flat.T.dot(dflat), dflat.sum(axis=0)


class Cs231n(Port):
    capabilities = (*LAYER, "input_gradients")
    lacks = ("relu", "step")

    def window_update(self, p, x, dy, h_0, **options):
        h, caches = rnn_forward(x.transpose(1, 0, 2), h_0, p["W_xh"], p["W_hh"], p.get("b_h", 0))
        dh, dW_hy, db_y = temporal_affine_backward(dy.transpose(1, 0, 2), h, p["W_hy"])
        dx, dh0, dWx, dWh, db = rnn_backward(dh, caches)
        report = {"dx": dx.transpose(1, 0, 2), "dh_0": dh0, "dW_xh": dWx, "dW_hh": dWh, "dW_hy": dW_hy}
        return report | ({"db_h": db, "db_y": db_y} if "b_h" in p else {})
