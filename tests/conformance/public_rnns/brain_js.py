"""brain.js, recurrent/rnn.ts with one hidden layer: an equation per step, which keeps deltas; the loss is in bits."""

import numpy as np

from public_rnns.adapter import OF_CLASSES, Port, named, transposed


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
