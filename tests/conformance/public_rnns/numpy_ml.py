"""numpy-ml, RNNCell: an object that keeps its derivatives, two hidden biases, zeros for the first state."""

import numpy as np

from public_rnns.adapter import LAYER, Port


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


class NumpyMl(Port):
    capabilities = (*LAYER, "two_biases", "input_gradients")
    lacks = ("step", "h_0")

    def window_update(self, p, x, dy, h_0, nonlinearity, **options):
        zero = np.zeros_like(p["W_hh"][0])
        cell = RNNCell(p["W_hh"], p["W_xh"], p.get("b_hh", zero), p.get("b_h", zero), nonlinearity == "relu")
        h = [cell.forward(x_t) for x_t in x]
        dx = [cell.backward(dy_t @ p["W_hy"].T) for dy_t in dy[::-1]][::-1]
        G = cell.gradients
        dW_hy = sum(h_t.T @ dy_t for h_t, dy_t in zip(h, dy))
        report = {"dW_hh": G["Waa"], "dW_xh": G["Wax"], "dW_hy": dW_hy, "dx": np.stack(dx)}
        return report | ({"db_h": G["bx"], "db_hh": G["ba"], "db_y": dy.sum(axis=(0, 1))} if "b_h" in p else {})
