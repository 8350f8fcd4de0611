"""RNNs of two authors as layers, which are given the gradient of their outputs."""

import numpy as np

from public_rnns.adapter import Layer, reported, transposed


# Coursera, building a recurrent neural network step by step: columns, time last, caches; da is given.
def rnn_cell_forward(xt, a_prev, Wax, Waa, ba):
    a_next = np.tanh(np.dot(Wax, xt) + np.dot(Waa, a_prev) + ba)
    return a_next, (a_next, a_prev, xt)


def rnn_cell_backward(da_next, cache, Wax, Waa):
    a_next, a_prev, xt = cache
    dtanh = (1 - a_next**2) * da_next
    dxt, dWax = np.dot(Wax.T, dtanh), np.dot(dtanh, xt.T)
    da_prev, dWaa = np.dot(Waa.T, dtanh), np.dot(dtanh, a_prev.T)
    return {"dxt": dxt, "dWax": dWax, "da_prev": da_prev, "dWaa": dWaa, "dba": np.sum(dtanh, axis=1, keepdims=True)}


class Coursera(Layer):
    """copied: a0 at every step, as in a public copy."""

    capabilities = ("given_dy", "input_gradients")
    copied = False

    def window_update(self, p, x, dy, h_0, **options):
        Wax, Waa, Wya, ba, _ = transposed(p)
        x, dz, a0 = x.transpose(2, 1, 0), dy.transpose(2, 1, 0), h_0.T
        caches, a_next = [], a0
        for t in range(x.shape[2]):
            a_next, cache = rnn_cell_forward(x[:, :, t], a0 if self.copied else a_next, Wax, Waa, ba)
            caches.append(cache)
        dx, dWax, dWaa, dba, dWya, da_prevt = map(np.zeros_like, (x, Wax, Waa, ba, Wya, a0))
        for t in reversed(range(x.shape[2])):
            dWya += np.dot(dz[:, :, t], caches[t][0].T)
            gradients = rnn_cell_backward(np.dot(Wya.T, dz[:, :, t]) + da_prevt, caches[t], Wax, Waa)
            dx[:, :, t], da_prevt = gradients["dxt"], gradients["da_prev"]
            dWax += gradients["dWax"]
            dWaa += gradients["dWaa"]
            dba += gradients["dba"]
        d = {"W_xh": dWax.T, "W_hh": dWaa.T, "W_hy": dWya.T, "b_h": dba[:, 0], "b_y": dz.sum(axis=(1, 2))}
        return reported(p, d, dx=dx.transpose(2, 1, 0), dh_0=da_prevt.T)


# iamtrask, anyone can code: binary addition, sigmoid in the hidden layer and at the output, updates that are added.
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_output_to_derivative(output):
    return output * (1 - output)


class Iamtrask(Layer):
    """The sigmoid of the output and its ½e² are in the given dy. copied: h_t for h_{t-1}, as in a public copy."""

    capabilities = ("given_dy", "sigmoid")
    lacks = ("tanh", "relu", "bias", "h_0", "batch")
    copied = False

    def window_update(self, p, x, dy, h_0, *, learning_rate, **options):
        synapse_0, synapse_1, synapse_h = (p[name].copy() for name in ("W_xh", "W_hy", "W_hh"))
        synapse_0_update, synapse_1_update, synapse_h_update = map(np.zeros_like, (synapse_0, synapse_1, synapse_h))
        layer_1_values = [np.zeros_like(h_0)]
        for X in x:
            layer_1_values.append(sigmoid(np.dot(X, synapse_0) + np.dot(layer_1_values[-1], synapse_h)))
        future_layer_1_delta = np.zeros_like(h_0)
        for position in range(len(x)):
            X, layer_2_delta = x[-position - 1], -dy[-position - 1]
            layer_1 = layer_1_values[-position - 1]
            prev_layer_1 = layer_1 if self.copied else layer_1_values[-position - 2]
            layer_1_delta = future_layer_1_delta.dot(synapse_h.T) + layer_2_delta.dot(synapse_1.T)
            layer_1_delta = layer_1_delta * sigmoid_output_to_derivative(layer_1)
            synapse_1_update += np.atleast_2d(layer_1).T.dot(layer_2_delta)
            synapse_h_update += np.atleast_2d(prev_layer_1).T.dot(layer_1_delta)
            synapse_0_update += X.T.dot(layer_1_delta)
            future_layer_1_delta = layer_1_delta
        alpha = h_0.dtype.type(learning_rate)
        new = {"W_xh": synapse_0 + synapse_0_update * alpha, "W_hy": synapse_1 + synapse_1_update * alpha}
        new["W_hh"] = synapse_h + synapse_h_update * alpha
        return reported(p, {"W_xh": -synapse_0_update, "W_hy": -synapse_1_update, "W_hh": -synapse_h_update}, **new)
