"""Coursera, building a recurrent neural network step by step: columns, time last, caches; da is given."""

import numpy as np

from public_rnns.adapter import LAYER, Port, transposed


def rnn_cell_forward(xt, a_prev, Wax, Waa, ba):
    a_next = np.tanh(np.dot(Wax, xt) + np.dot(Waa, a_prev) + ba)
    return a_next, (a_next, a_prev, xt)


def rnn_cell_backward(da_next, cache, Wax, Waa):
    a_next, a_prev, xt = cache
    dtanh = (1 - a_next**2) * da_next
    return {
        "dxt": np.dot(Wax.T, dtanh),
        "dWax": np.dot(dtanh, xt.T),
        "da_prev": np.dot(Waa.T, dtanh),
        "dWaa": np.dot(dtanh, a_prev.T),
        "dba": np.sum(dtanh, axis=1, keepdims=True),
    }


class Coursera(Port):
    """copied: a0 at every step, as in a public copy."""

    capabilities = (*LAYER, "input_gradients")
    lacks = ("relu", "step")
    copied = False

    def window_update(self, p, x, dy, h_0, **options):
        Wax, Waa, Wya, ba, _ = transposed(p)
        x, dz, a0 = x.transpose(2, 1, 0), dy.transpose(2, 1, 0), h_0.T
        caches, a_next = [], a0
        for t in range(x.shape[2]):
            a_next, cache = rnn_cell_forward(x[:, :, t], a0 if self.copied else a_next, Wax, Waa, ba)
            caches.append(cache)
        dx, dWax, dWaa, dba = map(np.zeros_like, (x, Wax, Waa, ba))
        dWya, da_prevt = np.zeros_like(Wya), np.zeros_like(a0)
        for t in reversed(range(x.shape[2])):
            dWya += np.dot(dz[:, :, t], caches[t][0].T)
            gradients = rnn_cell_backward(np.dot(Wya.T, dz[:, :, t]) + da_prevt, caches[t], Wax, Waa)
            dx[:, :, t], da_prevt = gradients["dxt"], gradients["da_prev"]
            dWax += gradients["dWax"]
            dWaa += gradients["dWaa"]
            dba += gradients["dba"]
        report = {"dx": dx.transpose(2, 1, 0), "dh_0": da_prevt.T, "dW_xh": dWax.T, "dW_hh": dWaa.T, "dW_hy": dWya.T}
        return report | ({"db_h": dba[:, 0], "db_y": dz.sum(axis=(1, 2))} if "b_h" in p else {})
