"""Public RNNs that people wrote by hand, in the style of each author, as ports."""

import numpy as np

from benchmarks.rows.min_char_rnn import loss_and_gradients

LANGUAGE_MODEL = ("squared_error", "distributions", "vector_inputs", "large outputs")  # what it lacks
NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


def stepped(p, gradients, learning_rate):
    """The gradients of the parameters that the case has, and these after plain gradient descent."""
    new = {name: theta - theta.dtype.type(learning_rate) * gradients[name] for name, theta in p.items()}
    return {"d" + name: np.ascontiguousarray(gradients[name]) for name in p} | new


def loss_fun(p, inputs, targets, hprev):
    """min-char-rnn's lossFun, with its parameters in a dict."""
    loss, gradients, h = loss_and_gradients(inputs, targets, hprev, *(p[name] for name in NAMES))
    return loss, *gradients, h


class MinCharRnn:
    """min-char-rnn.py: one list of characters, columns, softmax without a shift, clipping by value, Adagrad always."""

    name, dtypes = "min-char-rnn", ("float32", "float64")
    capabilities = ("cross_entropy", "class_inputs", "clip_by_value", "adagrad")
    lacks = ("relu", "mean", "batch", "older steps", "plain SGD", "no biases", *LANGUAGE_MODEL)

    def window_update(self, p, x, target, h_0, *, learning_rate, adagrad, max_value=None, velocity=None, **_):
        assert adagrad
        model = {name: p[name].T if p[name].ndim == 2 else p[name][:, None] for name in NAMES}
        loss, gradients, _ = loss_and_gradients(x[:, 0], target[:, 0], h_0.T, *(model[name] for name in NAMES))
        report = {"loss": loss}
        for name, gradient in zip(NAMES, gradients):
            dparam = gradient.T.reshape(p[name].shape)
            mem = 0 if velocity is None else velocity[name]
            report["d" + name] = dparam.copy()
            if max_value is not None:
                dparam = np.clip(dparam, -max_value, max_value)  # to mitigate exploding gradients
            report["v" + name] = mem = mem + dparam * dparam
            report[name] = p[name] + -mem.dtype.type(learning_rate) * dparam / np.sqrt(mem + mem.dtype.type(1e-8))
        return report


# dennybritz's rnnlm (RNNLM.ipynb): one sentence, every loss runs back over bptt_truncate + 1 steps, no biases.
class RNNNumpy:
    def __init__(self, U, V, W, bptt_truncate=4):
        self.U, self.V, self.W, self.bptt_truncate = U, V, W, bptt_truncate

    def forward_propagation(self, x):
        T = len(x)
        s = np.zeros((T + 1, len(self.W)), self.W.dtype)  # s[-1] is the state before the first word
        o = np.zeros((T, len(self.V)), self.W.dtype)
        for t in np.arange(T):
            s[t] = np.tanh(self.U[:, x[t]] + self.W.dot(s[t - 1]))
            e = np.exp(self.V.dot(s[t]) - np.max(self.V.dot(s[t])))
            o[t] = e / e.sum()
        return o, s

    def bptt(self, x, y):
        o, s = self.forward_propagation(x)
        loss = -np.sum(np.log(o[np.arange(len(y)), y]))
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
        return loss, dLdU, dLdV, dLdW


class DennyBritz:
    name, dtypes, capabilities = "rnnlm", ("float64",), ("cross_entropy", "class_inputs")
    lacks = ("relu", "mean", "bias", "h_0", "batch", "older steps", *LANGUAGE_MODEL)

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        model = RNNNumpy(p["W_xh"].T, p["W_hy"].T, p["W_hh"].T)
        loss, dLdU, dLdV, dLdW = model.bptt(x[:, 0], target[:, 0])
        return {"loss": loss} | stepped(p, {"W_xh": dLdU.T, "W_hy": dLdV.T, "W_hh": dLdW.T}, learning_rate)


# DL4J, SimpleRnn.java: the backward pass repeats the forward pass from a null state, and goes over the last steps.
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
    dldz_next, end = None, max(0, len(x) - tbptt_back_length)
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


class DeepLearning4J:
    """Its state starts from zero. Its dW_hh lacks the first step of the backward pass, unless with_first."""

    name, dtypes, capabilities, lacks = "DL4J", ("float64",), ("given_dy",), ("relu", "h_0", "step")

    def __init__(self, with_first=False):
        self.with_first = with_first

    def window_update(self, p, x, dy, h_0, **options):
        w, rw, b = p["W_xh"], p["W_hh"], p.get("b_h", 0)
        _, h = activate_helper(x, w, rw, b, h_0)
        wg, rwg, bg = tbptt_backprop_gradient(x, w, rw, b, [e @ p["W_hy"].T for e in dy], 3, self.with_first)
        dW_hy = sum(h_t.T @ e for h_t, e in zip(h, dy))
        gradients = {"W_xh": wg, "W_hh": rwg, "W_hy": dW_hy, "b_h": bg, "b_y": dy.sum(axis=(0, 1))}
        return {"d" + name: gradients[name] for name in p}
