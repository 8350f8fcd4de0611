"""RNNs of six authors as layers, which are given the gradient of their outputs."""

import numpy as np

from public_rnns.adapter import Layer, filled, reported, transposed


# CS231n, assignment 3, rnn_layers.py: batches first, a cache for every step, dx and dh0.
def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    dz = dnext_h * (1 - next_h**2)
    return dz.dot(Wx.T), dz.dot(Wh.T), x.T.dot(dz), prev_h.T.dot(dz), dz.sum(axis=0)


def rnn_forward(x, h0, Wx, Wh, b):
    N, T, _ = x.shape
    h, caches, prev_h = np.zeros((N, T, len(Wh)), x.dtype), [], h0
    for t in range(T):
        h[:, t] = np.tanh(x[:, t].dot(Wx) + prev_h.dot(Wh) + b)
        caches.append((x[:, t], prev_h, Wx, Wh, h[:, t]))
        prev_h = h[:, t]
    return h, caches


def rnn_backward(dh, caches):
    N, T, _ = dh.shape
    _, prev_h, Wx, Wh, _ = caches[0]
    dx, dWx, dWh = np.zeros((N, T, len(Wx)), dh.dtype), np.zeros_like(Wx), np.zeros_like(Wh)
    db, dprev_h = np.zeros(len(Wh), dh.dtype), np.zeros_like(prev_h)
    for t in reversed(range(T)):
        dx[:, t], dprev_h, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t] + dprev_h, caches[t])
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dx, dprev_h, dWx, dWh, db


def temporal_affine_backward(dout, h, W):
    flat, dflat = h.reshape(-1, h.shape[-1]), dout.reshape(-1, dout.shape[-1])
    return dout.dot(W.T), flat.T.dot(dflat), dflat.sum(axis=0)


class Cs231n(Layer):
    capabilities = ("given_dy", "input_gradients")

    def window_update(self, p, x, dy, h_0, **options):
        h, caches = rnn_forward(x.transpose(1, 0, 2), h_0, p["W_xh"], p["W_hh"], p.get("b_h", 0))
        dh, dW_hy, db_y = temporal_affine_backward(dy.transpose(1, 0, 2), h, p["W_hy"])
        dx, dh0, dWx, dWh, db = rnn_backward(dh, caches)
        gradients = {"W_xh": dWx, "W_hh": dWh, "W_hy": dW_hy, "b_h": db, "b_y": db_y}
        return reported(p, gradients, dx=dx.transpose(1, 0, 2), dh_0=dh0)


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


# peterroelants.github.io, RNN implementation part 2: tensordot layers, a bias in both of them, a learned state S0.
class TensorLinear:
    def __init__(self, W, b, axes):
        self.W, self.b, self.bpAxes = W, b, axes

    def forward(self, X):
        return np.tensordot(X, self.W, axes=((-1), (0))) + self.b

    def backward(self, X, gY):
        gW = np.tensordot(X, gY, axes=(self.bpAxes, self.bpAxes))
        return np.tensordot(gY, self.W.T, axes=((-1), (0))), gW, np.sum(gY, axis=self.bpAxes)


class RecurrentStateUnfold:
    def __init__(self, W, b, S0):
        self.S0, self.linear = S0, TensorLinear(W, b, (0,))

    def forward(self, X):
        S = np.zeros((X.shape[0], X.shape[1] + 1, X.shape[2]), X.dtype)
        S[:, 0, :] = self.S0
        for k in range(X.shape[1]):
            S[:, k + 1, :] = np.tanh(X[:, k, :] + self.linear.forward(S[:, k, :]))
        return S

    def backward(self, X, S, gY):
        gSk, gZ = np.zeros_like(gY[:, 0, :]), np.zeros_like(X)
        gWSum, gBSum = np.zeros_like(self.linear.W), np.zeros_like(self.linear.b)
        for k in range(X.shape[1] - 1, -1, -1):
            gSk += gY[:, k, :]
            gZ[:, k, :] = (1.0 - S[:, k + 1, :] ** 2) * gSk
            gSk, gW, gB = self.linear.backward(S[:, k, :], gZ[:, k, :])
            gWSum += gW
            gBSum += gB
        return gZ, gWSum, gBSum, np.sum(gSk, axis=0)


class Roelants(Layer):
    """Its RMSProp with Nesterov momentum is left out; S0 is one row, so the batch is one sequence."""

    capabilities = ("given_dy", "two_biases", "learned_h_0")
    lacks = ("relu", "step", "batch")

    def window_update(self, p, x, dy, h_0, **options):
        P, X, gY = filled(p), x.transpose(1, 0, 2), dy.transpose(1, 0, 2)
        tensorInput = TensorLinear(P["W_xh"], P["b_h"], (0, 1))
        tensorOutput = TensorLinear(P["W_hy"], P["b_y"], (0, 1))
        rnnUnfold = RecurrentStateUnfold(P["W_hh"], P["b_hh"], h_0[0])
        recIn = tensorInput.forward(X)
        S = rnnUnfold.forward(recIn)
        gRnnOut, gWout, gBout = tensorOutput.backward(S[:, 1:, :], gY)
        gRnnIn, gWrec, gBrec, gS0 = rnnUnfold.backward(recIn, S, gRnnOut)
        _, gWin, gBin = tensorInput.backward(X, gRnnIn)
        of_biases = {"b_h": gBin, "b_hh": gBrec, "b_y": gBout, "h_0": gS0[None]}
        return reported(p, {"W_xh": gWin, "W_hh": gWrec, "W_hy": gWout} | of_biases)


# numpy-ml, RNNCell: an object that keeps its derivatives, two hidden biases, zeros for the first state.
class RNNCell:
    def __init__(self, Waa, Wax, ba, bx, relu):
        self.parameters = {"Waa": Waa, "Wax": Wax, "ba": ba, "bx": bx}
        self.gradients = {name: np.zeros_like(v) for name, v in self.parameters.items()}
        self.derived = {"A": [], "Z": [], "dLdA_accumulator": None}
        self.X, self.relu = [], relu

    def act(self, Z):
        return np.maximum(Z, 0) if self.relu else np.tanh(Z)

    def grad(self, Z):
        return (Z > 0).astype(Z.dtype) if self.relu else 1 - np.tanh(Z) ** 2

    def forward(self, Xt):
        P, D = self.parameters, self.derived
        if not D["A"]:
            D["A"].append(np.zeros((len(Xt), len(P["Waa"])), Xt.dtype))
        Zt = D["A"][-1] @ P["Waa"] + P["ba"] + Xt @ P["Wax"] + P["bx"]
        D["Z"].append(Zt)
        D["A"].append(self.act(Zt))
        self.X.append(Xt)
        return D["A"][-1]

    def backward(self, dLdAt):
        P, D, G = self.parameters, self.derived, self.gradients
        t = len(self.X) - 1
        dA = dLdAt if D["dLdA_accumulator"] is None else D["dLdA_accumulator"] + dLdAt
        dZ = self.grad(D["Z"][t]) * dA
        G["Waa"] += D["A"][t].T @ dZ
        G["Wax"] += self.X[t].T @ dZ
        G["ba"] += dZ.sum(axis=0)
        G["bx"] += dZ.sum(axis=0)
        D["dLdA_accumulator"] = dZ @ P["Waa"].T
        self.X.pop()
        return dZ @ P["Wax"].T


class NumpyMl(Layer):
    capabilities = ("given_dy", "two_biases", "input_gradients")
    lacks = ("step", "h_0")

    def window_update(self, p, x, dy, h_0, nonlinearity, **options):
        P = filled(p)
        cell = RNNCell(P["W_hh"], P["W_xh"], P["b_hh"], P["b_h"], nonlinearity == "relu")
        h = [cell.forward(x_t) for x_t in x]
        dx = [cell.backward(dy_t @ p["W_hy"].T) for dy_t in dy[::-1]][::-1]
        gradients = dict(zip(("W_hh", "W_xh", "b_hh", "b_h"), cell.gradients.values()))
        gradients |= {"W_hy": sum(h_t.T @ dy_t for h_t, dy_t in zip(h, dy)), "b_y": dy.sum(axis=(0, 1))}
        return reported(p, gradients, dx=np.stack(dx))


# ML-From-Scratch, layers.py: every loss runs back on its own, over bptt_trunc + 1 steps; dx sees its own loss only.
class RNN:
    def __init__(self, U, V, W, bptt_trunc=5):
        self.U, self.V, self.W, self.bptt_trunc = U, V, W, bptt_trunc

    def forward_pass(self, X):
        batch_size, timesteps, _ = X.shape
        self.layer_input = X
        self.state_input = np.zeros((batch_size, timesteps, len(self.W)), X.dtype)
        self.states = np.zeros((batch_size, timesteps + 1, len(self.W)), X.dtype)  # the last: before the first step
        for t in range(timesteps):
            self.state_input[:, t] = X[:, t].dot(self.U.T) + self.states[:, t - 1].dot(self.W.T)
            self.states[:, t] = np.tanh(self.state_input[:, t])
        return self.states[:, :-1].dot(self.V.T)

    def slope(self, t):
        return 1 - np.tanh(self.state_input[:, t]) ** 2

    def backward_pass(self, accum_grad):
        grad_U, grad_V, grad_W = map(np.zeros_like, (self.U, self.V, self.W))
        accum_grad_next = np.zeros_like(self.layer_input)
        for t in reversed(range(accum_grad.shape[1])):
            grad_V += accum_grad[:, t].T.dot(self.states[:, t])
            grad_wrt_state = accum_grad[:, t].dot(self.V) * self.slope(t)
            accum_grad_next[:, t] = grad_wrt_state.dot(self.U)
            for t_ in reversed(range(max(0, t - self.bptt_trunc), t + 1)):
                grad_U += grad_wrt_state.T.dot(self.layer_input[:, t_])
                grad_W += grad_wrt_state.T.dot(self.states[:, t_ - 1])
                grad_wrt_state = grad_wrt_state.dot(self.W) * self.slope(t_ - 1)
        return accum_grad_next, grad_U, grad_V, grad_W


class MlFromScratch(Layer):
    lacks = ("relu", "bias", "h_0", "step")

    def window_update(self, p, x, dy, h_0, **options):
        layer = RNN(p["W_xh"].T, p["W_hy"].T, p["W_hh"].T)
        layer.forward_pass(x.transpose(1, 0, 2))
        dx, dU, dV, dW = layer.backward_pass(dy.transpose(1, 0, 2))
        others = {"dx": dx.transpose(1, 0, 2)} if "input_gradients" in self.capabilities else {}
        return reported(p, {"W_xh": dU.T, "W_hh": dW.T, "W_hy": dV.T}, **others)


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
