"""iamtrask, anyone can code: binary addition, sigmoid in the hidden layer and at the output, updates that are added."""

import numpy as np

from public_rnns.adapter import LAYER, Port


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_output_to_derivative(output):
    return output * (1 - output)


class Iamtrask(Port):
    """The sigmoid of the output and its ½e² are in the given dy. copied: h_t for h_{t-1}, as in a public copy."""

    capabilities = (*LAYER, "sigmoid")
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
        updates, alpha = (synapse_0_update, synapse_1_update, synapse_h_update), h_0.dtype.type(learning_rate)
        names = ("W_xh", "W_hy", "W_hh")
        report = {"d" + name: -update for name, update in zip(names, updates)}
        return report | {name: p[name] + update * alpha for name, update in zip(names, updates)}
