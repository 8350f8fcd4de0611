"""DL4J, SimpleRnn.java: the backward pass repeats the forward pass from a null state, and goes over the last steps."""

import numpy as np

from public_rnns.adapter import LAYER, Port


def activate_helper(x, w, rw, b, prev_step_out):
    z, out = [], []
    for current in x:
        z.append(b + current @ w + (0 if prev_step_out is None else prev_step_out @ rw))
        prev_step_out = np.tanh(z[-1])
        out.append(prev_step_out)
    return z, out


def tbptt_backprop_gradient(x, w, rw, b, epsilon, tbptt_back_length, with_first):
    z, out = activate_helper(x, w, rw, b, None)
    wg, rwg, bg = np.zeros_like(w), np.zeros_like(rw), np.zeros_like(rw[0])
    dldz_next, end = None, max(0, len(x) - tbptt_back_length) if tbptt_back_length > 0 else 0
    for i in range(len(x) - 1, end - 1, -1):
        dlda = epsilon[i] if dldz_next is None else epsilon[i] + dldz_next @ rw.T
        dldz = dlda * (1 - np.tanh(z[i]) ** 2)
        wg += x[i].T @ dldz
        if dldz_next is not None:
            rwg += out[i].T @ dldz_next
        bg += dldz.sum(axis=0)
        dldz_next = dldz
    if with_first and end > 0:
        rwg += out[end - 1].T @ dldz_next
    return wg, rwg, bg


class DeepLearning4J(Port):
    """Its state starts from zero. Its dW_hh lacks the first step of the backward pass, unless with_first."""

    capabilities = LAYER
    lacks = ("relu", "h_0", "step")
    truncation = "back:3"
    with_first = False

    def window_update(self, p, x, dy, h_0, **options):
        w, rw, b = p["W_xh"], p["W_hh"], p.get("b_h", 0)
        _, h = activate_helper(x, w, rw, b, h_0)
        length = int(self.truncation.partition(":")[2] or 0)
        wg, rwg, bg = tbptt_backprop_gradient(x, w, rw, b, [e @ p["W_hy"].T for e in dy], length, self.with_first)
        dW_hy = sum(h_t.T @ e for h_t, e in zip(h, dy))
        report = {"dW_xh": wg, "dW_hh": rwg, "dW_hy": dW_hy}
        return report | ({"db_h": bg, "db_y": dy.sum(axis=(0, 1))} if "b_h" in p else {})
