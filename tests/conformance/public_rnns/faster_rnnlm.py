"""faster-rnnlm, simple_layer.cc: rows of a buffer in place; the update divides the gradients by the number of steps."""

import numpy as np

from public_rnns.adapter import LAYER, Port

FORWARD = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0), "sigmoid": lambda a: 1 / (1 + np.exp(-a))}
BACKWARD = {"tanh": lambda h: 1 - h * h, "relu": lambda h: (h > 0).astype(h.dtype), "sigmoid": lambda h: h * (1 - h)}


def forward_sub_sequence(input_, syn_in, syn_rec, activation):
    output = input_ @ syn_in.T
    for step in range(len(output)):
        if step != 0:
            output[step] += output[step - 1] @ syn_rec.T
        output[step] = FORWARD[activation](output[step])
    return output


def backward_sequence(input_, output, output_g, syn_rec, activation):
    for step in range(len(output) - 1, 0, -1):
        output_g[step] *= BACKWARD[activation](output[step])
        output_g[step - 1] += output_g[step] @ syn_rec
    output_g[0] *= BACKWARD[activation](output[0])
    return output_g.T @ input_, output_g[1:].T @ output[:-1]  # the first line is that of the state before


class FasterRnnlm(Port):
    """Its losses (NCE, hierarchical softmax) and RMSProp are left out. divides: with what its update divides by."""

    capabilities = (*LAYER, "sigmoid")
    lacks = ("bias", "h_0", "batch", "step")
    divides = False

    def window_update(self, p, x, dy, h_0, nonlinearity, **options):
        x, dy, n = x[:, 0], dy[:, 0], len(x)
        output = forward_sub_sequence(x, p["W_xh"].T, p["W_hh"].T, nonlinearity)
        g_in, g_rec = backward_sequence(x, output, dy @ p["W_hy"].T, p["W_hh"].T, nonlinearity)
        g_out = output.T @ dy
        if self.divides:
            g_in, g_rec = g_in / h_0.dtype.type(n + 1), g_rec / h_0.dtype.type(n)
        return {"dW_xh": g_in.T, "dW_hh": g_rec.T, "dW_hy": g_out}
