"""Public RNNs that people wrote by hand, in the style of each author, as ports; test_partial_ports.py judges them."""

import numpy as np

from benchmarks.rows.min_char_rnn import loss_and_gradients

OF_CLASSES = ("squared_error", "distributions", "vector_inputs")  # what a language model lacks
NO_SGD = ("momentum", "dampening", "nesterov", "weight_decay")
NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


class Port:
    """The defaults of all ports. changes: attributes that are different."""

    dtypes: tuple[str, ...] = ("float32", "float64")
    capabilities: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    tanh_ulps = None

    def __init__(self, **changes):
        self.name = type(self).__name__
        vars(self).update(changes)


def filled(p):
    """The parameters, with zeros for the biases that the case does not have."""
    H, O = p["W_hy"].shape
    return {name: np.zeros(n, p["W_hh"].dtype) for name, n in (("b_h", H), ("b_y", O))} | p


def transposed(p):
    """The weights as columns are multiplied by them, and the biases as columns."""
    return [array.T if array.ndim == 2 else array.reshape(-1, 1) for array in map(filled(p).get, NAMES)]


def named(p, arrays, prefix="d"):
    """The author's arrays, in the order of NAMES, under the names of a report and in the shapes of the parameters."""
    arrays = {name: g.T if name.startswith("W") else g for name, g in zip(NAMES, arrays) if name in p}
    return {prefix + name: np.ascontiguousarray(g).reshape(p[name].shape) for name, g in arrays.items()}


def reported(p, gradients, learning_rate=None, **others):
    """Others, the gradients of the parameters that the case has, and at a rate these after plain gradient descent."""
    new = {}
    if learning_rate is not None:
        new = {name: theta - theta.dtype.type(learning_rate) * gradients[name] for name, theta in p.items()}
    return others | {"d" + name: gradients[name] for name in p} | new


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


class DennyBritz(Port):
    capabilities = ("cross_entropy", "class_inputs")
    lacks = ("relu", "mean", "bias", "h_0", "batch", "older steps", "large outputs", *OF_CLASSES)

    def window_update(self, p, x, target, h_0, *, learning_rate, **options):
        model = RNNNumpy(p["W_xh"].T, p["W_hy"].T, p["W_hh"].T)
        loss = model.calculate_loss(x[:, 0], target[:, 0])
        dLdU, dLdV, dLdW = model.bptt(x[:, 0], target[:, 0])
        return reported(p, {"W_xh": dLdU.T, "W_hy": dLdV.T, "W_hh": dLdW.T}, learning_rate, loss=loss)


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

    capabilities, lacks = ("given_dy",), ("relu", "h_0", "step")
    with_first = False

    def window_update(self, p, x, dy, h_0, **options):
        w, rw, b = p["W_xh"], p["W_hh"], p.get("b_h", 0)
        _, h = activate_helper(x, w, rw, b, h_0)
        wg, rwg, bg = tbptt_backprop_gradient(x, w, rw, b, [e @ p["W_hy"].T for e in dy], 3, self.with_first)
        dW_hy = sum(h_t.T @ e for h_t, e in zip(h, dy))
        return reported(p, {"W_xh": wg, "W_hh": rwg, "W_hy": dW_hy, "b_h": bg, "b_y": dy.sum(axis=(0, 1))})
