"""peterroelants.github.io, RNN implementation part 2: tensordot layers, a bias in both of them, a learned state S0."""

import numpy as np

from public_rnns.adapter import LAYER, Port


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


class Roelants(Port):
    """Its RMSProp with Nesterov momentum is left out; S0 is one row, so the batch is one sequence."""

    capabilities = (*LAYER, "two_biases", "learned_h_0")
    lacks = ("relu", "step", "batch")

    def window_update(self, p, x, dy, h_0, **options):
        H, O = p["W_hy"].shape
        b_h, b_hh, b_y = (p.get(name, np.zeros(n, x.dtype)) for name, n in (("b_h", H), ("b_hh", H), ("b_y", O)))
        tensorInput, tensorOutput = TensorLinear(p["W_xh"], b_h, (0, 1)), TensorLinear(p["W_hy"], b_y, (0, 1))
        rnnUnfold, X, gY = RecurrentStateUnfold(p["W_hh"], b_hh, h_0[0]), x.transpose(1, 0, 2), dy.transpose(1, 0, 2)
        recIn = tensorInput.forward(X)
        S = rnnUnfold.forward(recIn)
        gRnnOut, gWout, gBout = tensorOutput.backward(S[:, 1:, :], gY)
        gRnnIn, gWrec, gBrec, gS0 = rnnUnfold.backward(recIn, S, gRnnOut)
        _, gWin, gBin = tensorInput.backward(X, gRnnIn)
        report = {"dW_xh": gWin, "dW_hh": gWrec, "dW_hy": gWout}
        report |= {"db_h": gBin, "db_hh": gBrec, "db_y": gBout} if "b_h" in p else {}
        return report | ({"dh_0": gS0[None]} if "h_0" in p else {})
