"""Recurrent layers by hand in NumPy: a forward and a backward function each.

Time comes first, and the parameters have PyTorch's layout: W_ih (gates × H, D), W_hh
(gates × H, H), b_ih and b_hh. `reset` of a GRU says whether the reset gate is applied
"before" or "after" the product with its matrix.
"""

from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, Any]
GATES = {"elman": 1, "lstm": 4, "gru_after": 3, "gru_before": 3}


def sigmoid(a):
    """Compute the logistic function."""
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def slope(s):
    """Compute the slope of the logistic function from its value."""
    return s * (1 - s)


# One step of each cell: the new state and what its backward step needs.


def lstm_step(p, x, state):
    """Compute one step of an LSTM, gates i f g o."""
    h, c = state
    a = x @ p["W_ih"].T + p["b_ih"] + h @ p["W_hh"].T + p["b_hh"]
    i, f, g, o = np.split(a, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    new = f * c + i * g
    return (o * np.tanh(new), new), (x, h, c, i, f, g, o, new)


def lstm_back(p, cache, dh, carried):
    """Return the gradients of the pre-activations, and what goes to the step before."""
    x, h, c, i, f, g, o, new = cache
    dh = dh + carried[0]
    tanh_c = np.tanh(new)
    dc = carried[1] + dh * o * (1 - tanh_c**2)
    gates = [dc * g * slope(i), dc * c * slope(f), dc * i * (1 - g * g)]
    da = np.hstack([*gates, dh * tanh_c * slope(o)])
    d = {"W_ih": da.T @ x, "W_hh": da.T @ h, "b_ih": da.sum(0), "b_hh": da.sum(0)}
    return da @ p["W_ih"], (da @ p["W_hh"], dc * f), d


def elman_step(p, x, state):
    """Compute one step of an Elman network."""
    (h,) = state
    new = np.tanh(x @ p["W_ih"].T + p["b_ih"] + h @ p["W_hh"].T + p["b_hh"])
    return (new,), (x, h, new)


def elman_back(p, cache, dh, carried):
    """Return the gradients of the pre-activations, and what goes to the step before."""
    x, h, new = cache
    da = (dh + carried[0]) * (1 - new**2)
    d = {"W_ih": da.T @ x, "W_hh": da.T @ h, "b_ih": da.sum(0), "b_hh": da.sum(0)}
    return da @ p["W_ih"], (da @ p["W_hh"],), d


def gru_step(p, x, state, is_before):
    """Compute one step of a GRU, gates r z n."""
    (h,) = state
    H = h.shape[1]
    a = x @ p["W_ih"].T + p["b_ih"]
    U, b = p["W_hh"], p["b_hh"]
    gates = sigmoid(a[:, : 2 * H] + h @ U[: 2 * H].T + b[: 2 * H])
    r, z = gates[:, :H], gates[:, H:]
    if is_before:
        q = (r * h) @ U[2 * H :].T + b[2 * H :]
        n = np.tanh(a[:, 2 * H :] + q)
    else:
        q = h @ U[2 * H :].T + b[2 * H :]
        n = np.tanh(a[:, 2 * H :] + r * q)
    return ((1 - z) * n + z * h,), (x, h, r, z, n, q)


def gru_back(p, cache, dh, carried, is_before):
    """Return the gradients of the pre-activations, and what goes to the step before."""
    x, h, r, z, n, q = cache
    H = h.shape[1]
    U = p["W_hh"]
    dh = dh + carried[0]
    da_n = dh * (1 - z) * (1 - n * n)
    da_z = dh * (h - n) * slope(z)
    if is_before:
        d_rh = da_n @ U[2 * H :]
        dr, dq, d_previous = d_rh * h, da_n, d_rh * r
        dU_n = da_n.T @ (r * h)
    else:
        dr, dq = da_n * q, da_n * r
        d_previous = dq @ U[2 * H :]
        dU_n = dq.T @ h
    da_rz = np.hstack([dr * slope(r), da_z])
    da = np.hstack([da_rz, da_n])
    d = {
        "W_ih": da.T @ x,
        "W_hh": np.vstack([da_rz.T @ h, dU_n]),
        "b_ih": da.sum(0),
        "b_hh": np.hstack([da_rz.sum(0), dq.sum(0)]),
    }
    return da @ p["W_ih"], (dh * z + d_previous + da_rz @ U[: 2 * H],), d


def step_of(cell, p, x, state):
    """Compute one step of a cell."""
    if cell == "lstm":
        return lstm_step(p, x, state)
    if cell == "elman":
        return elman_step(p, x, state)
    return gru_step(p, x, state, cell == "gru_before")


def back_of(cell, p, cache, dh, carried):
    """Go back one step of a cell."""
    if cell == "lstm":
        return lstm_back(p, cache, dh, carried)
    if cell == "elman":
        return elman_back(p, cache, dh, carried)
    return gru_back(p, cache, dh, carried, cell == "gru_before")


class Layer(NamedTuple):
    """One direction of one layer."""

    cell: str
    p: Arrays
    is_reversed: bool = False

    def forward(self, x):
        """Return all states, and what the backward function needs."""
        zeros = np.zeros((x.shape[1], self.p["W_hh"].shape[1]), x.dtype)
        state = (zeros, zeros) if self.cell == "lstm" else (zeros,)
        states, caches = [], []
        for x_t in x[::-1] if self.is_reversed else x:
            state, cache = step_of(self.cell, self.p, x_t, state)
            states.append(state[0])
            caches.append(cache)
        h = np.stack(states)
        return h[::-1] if self.is_reversed else h, caches

    def backward(self, caches, dh):
        """Return the gradients of the inputs and of the parameters."""
        carried = (0 * dh[0],) * (2 if self.cell == "lstm" else 1)
        d = {name: np.zeros_like(array) for name, array in self.p.items()}
        steps = []
        for cache, dh_t in zip(caches[::-1], dh if self.is_reversed else dh[::-1]):
            dx_t, carried, step = back_of(self.cell, self.p, cache, dh_t, carried)
            steps.append(dx_t)
            d = {name: d[name] + step[name] for name in d}
        dx = np.stack(steps)
        return (dx if self.is_reversed else dx[::-1]), d


# Attention of every state over all states


def attend(h, A):
    """Return the contexts, and what the backward function needs."""
    q = h @ A
    scores = np.einsum("tbh,sbh->bts", q, h)
    e = np.exp(scores - scores.max(axis=2, keepdims=True))
    w = e / e.sum(axis=2, keepdims=True)
    return np.einsum("bts,sbh->tbh", w, h), (h, A, q, w)


def attend_back(cache, dy):
    """Return the gradients of the states and of A."""
    h, A, q, w = cache
    dw = np.einsum("tbh,sbh->bts", dy, h)
    ds = w * (dw - (w * dw).sum(axis=2, keepdims=True))
    dq = np.einsum("bts,sbh->tbh", ds, h)
    dh = np.einsum("bts,tbh->sbh", w, dy) + np.einsum("bts,tbh->sbh", ds, q)
    return dh + dq @ A.T, np.einsum("tbh,tbk->hk", h, dq)
