"""ML-From-Scratch, layers.py: every loss runs back on its own, over bptt_trunc + 1 steps; dx sees its own loss only."""

import numpy as np

from public_rnns.adapter import LAYER, Port


class RNN:
    def __init__(self, U, V, W, bptt_trunc=5):
        self.U, self.V, self.W, self.bptt_trunc = U, V, W, bptt_trunc

    def forward_pass(self, X):
        batch_size, timesteps, _ = X.shape
        self.layer_input = X
        self.state_input = np.zeros((batch_size, timesteps, len(self.W)), X.dtype)
        self.states = np.zeros(
            (batch_size, timesteps + 1, len(self.W)), X.dtype
        )  # the last one is that before the first
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


class MlFromScratch(Port):
    capabilities = LAYER
    lacks = ("relu", "bias", "h_0", "step")
    truncation = "band:6"
    bptt_trunc = 5

    def window_update(self, p, x, dy, h_0, **options):
        layer = RNN(p["W_xh"].T, p["W_hy"].T, p["W_hh"].T, self.bptt_trunc)
        layer.forward_pass(x.transpose(1, 0, 2))
        dx, dU, dV, dW = layer.backward_pass(dy.transpose(1, 0, 2))
        report = {"dW_xh": dU.T, "dW_hh": dW.T, "dW_hy": dV.T}
        if "input_gradients" in self.capabilities:
            report["dx"] = dx.transpose(1, 0, 2)
        return report
