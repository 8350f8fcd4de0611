"""RNNs of two authors in Java and JavaScript, as Python: the same loops over the same arrays."""

import numpy as np

from public_rnns.adapter import OF_CLASSES, Layer, Port, named, reported, transposed


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


class DeepLearning4J(Layer):
    """Its state starts from zero. Its dW_hh lacks the first step of the backward pass, unless with_first."""

    lacks = ("relu", "h_0", "step")
    with_first = False

    def window_update(self, p, x, dy, h_0, **options):
        w, rw, b = p["W_xh"], p["W_hh"], p.get("b_h", 0)
        _, h = activate_helper(x, w, rw, b, h_0)
        wg, rwg, bg = tbptt_backprop_gradient(x, w, rw, b, [e @ p["W_hy"].T for e in dy], 3, self.with_first)
        dW_hy = sum(h_t.T @ e for h_t, e in zip(h, dy))
        return reported(p, {"W_xh": wg, "W_hh": rwg, "W_hy": dW_hy, "b_h": bg, "b_y": dy.sum(axis=(0, 1))})


# brain.js, recurrent/rnn.ts with one hidden layer: an equation per step, which keeps deltas; the loss is in bits.
class Matrix:
    def __init__(self, weights):
        self.weights, self.deltas = weights, np.zeros_like(weights)


class Equation:
    def __init__(self):
        self.states = []

    def push(self, result, backward):
        product = Matrix(result)
        self.states.append((product, backward))
        return product

    def multiply(self, left, right):
        def backward(deltas):
            left.deltas += deltas @ right.weights.T
            right.deltas += left.weights.T @ deltas

        return self.push(left.weights @ right.weights, backward)

    def add(self, left, right):
        def backward(deltas):
            left.deltas += deltas
            right.deltas += deltas

        return self.push(left.weights + right.weights, backward)

    def relu(self, m):
        def backward(deltas):
            m.deltas += np.where(m.weights > 0, deltas, 0)

        return self.push(np.maximum(m.weights, 0), backward)

    def backpropagate(self):
        for product, backward in reversed(self.states):
            backward(product.deltas)


class BrainJs(Port):
    """Its RMSProp is left out. A row of its input matrix times its weight is a row of W_xh. in_bits: as it prints."""

    capabilities = ("cross_entropy", "class_inputs")
    lacks = ("tanh", "mean", "h_0", "batch", "older steps", "large outputs", "step", *OF_CLASSES)
    in_bits = True

    def window_update(self, p, x, target, h_0, **options):
        weight, transition, output, bias, by = map(Matrix, transposed(p))
        state, equations, loss = Matrix(h_0.T), [], 0
        for source, wanted in zip(x[:, 0], target[:, 0]):
            equation = Equation()
            one = Matrix(np.eye(len(p["W_xh"]), dtype=h_0.dtype)[:, [source]])
            sums = equation.add(equation.multiply(weight, one), equation.multiply(transition, state))
            state = equation.relu(equation.add(sums, bias))
            out = equation.add(equation.multiply(output, state), by)
            probs = np.exp(out.weights - out.weights.max())
            probs /= probs.sum()
            loss += -np.log2(probs[wanted, 0]) if self.in_bits else -np.log(probs[wanted, 0])
            probs[wanted] -= 1
            out.deltas += probs
            equations.append(equation)
        for equation in reversed(equations):
            equation.backpropagate()
        deltas = [m.deltas for m in (weight, transition, output, bias, by)]
        return {"loss": h_0.dtype.type(loss)} | named(p, deltas)
