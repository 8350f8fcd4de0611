"""darknet, rnn_layer.c: the state is the sum of two activated layers, h = f(x W + b) + g(h W_hh): another cell."""

import numpy as np

from public_rnns.adapter import LAYER, Port


class Darknet(Port):
    """It is refused at the first stage in which it is not the network of the suite."""

    capabilities = (*LAYER, "intermediates")
    lacks = ("relu", "bias", "step")

    def window_update(self, p, x, dy, h_0, **options):
        state, a, h, inputs, selves = h_0, [], [], [], []
        for x_t in x:
            inputs.append(np.tanh(x_t @ p["W_xh"]))
            selves.append(np.tanh(state @ p["W_hh"]))
            a.append(x_t @ p["W_xh"] + state @ p["W_hh"])
            state = inputs[-1] + selves[-1]
            h.append(state)
        before, delta = [h_0, *h[:-1]], np.zeros_like(h_0)
        d = {name: np.zeros_like(theta) for name, theta in p.items()}
        dh, da = np.zeros_like(np.stack(h)), np.zeros_like(np.stack(h))
        for i in reversed(range(len(x))):
            dh[i] = dy[i] @ p["W_hy"].T + delta
            self_delta = dh[i] * (1 - selves[i] ** 2)
            da[i] = dh[i] * (1 - inputs[i] ** 2)
            d["W_hh"] += before[i].T @ self_delta
            d["W_xh"] += x[i].T @ da[i]
            d["W_hy"] += h[i].T @ dy[i]
            delta = self_delta @ p["W_hh"].T
        stacked = {"a": np.stack(a), "h": np.stack(h), "y": np.stack(h) @ p["W_hy"], "dh": dh, "da": da}
        return stacked | {"d" + name: gradient for name, gradient in d.items()}
