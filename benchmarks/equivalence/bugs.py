"""An LSTM and a GRU by hand, with mistakes to choose from.

`network(cell, bug)` returns f(params, x, h_0, c_0, target), with the loss and all
gradients. Without a bug it is right. EXPECTED has what a diagnosis must say of a bug,
"" where nothing is known that makes all agree.
"""

import functools
from typing import Any

import numpy as np

from benchmarks.equivalence.numpy_cells import GATES, sigmoid, slope

EXPECTED = {
    "lstm": {
        "gates in another order": "in the order",
        "gates of W_hh in another order": "params.W_hh in the order",
        "W_hh transposed": "transposed",
        "no second bias": "b_hh = 0|b_ih = 0",
        "bias twice": "2 × params.b",
        "h_0 of zeros": "data.1. = 0",
        "c_0 of zeros": "data.2. = 0",
        "both states of zeros": "data.1. and data.2. = 0",
        "reversed time": "reversed",
        "outputs in reversed order": "y with the steps reversed",
        "time and batch exchanged": "exchanged",
        "outputs batch first": "y with axes",
        "loss without 1/2": "× 2",
        "mean over the batch": "loss, d.* × 1/",
        "gradients without 1/B": ": d.* × 1/",
        "one gradient twice": "d.b_hh × 2",
        "no dc": "lack the path through the state",
        "no dh": "lack the path through the hidden state",
        "no earlier steps": "do not reach earlier steps",
        "gradient blocks": "blocks of axis 0",
        "slope of forget gate": "",
        "new c in df": "",
        "h of the same step": "",
        "no tanh of c": "",
        "hard sigmoid": "",
        "dc without f": "",
        "last step's loss alone": "",
        "one step by 1e-6": "",
        "a sum in float32": "",
        "forget bias of 1": "",
    },
    "gru_after": {
        "reset before the product": "reset of a GRU",
        "z and 1 - z exchanged": "",
        "gates in another order": "in the order",
        "W_hh transposed": "transposed",
        "no bias inside of the reset": "= 0",
        "no dh through z": "lack the path through the state",
        "no dh": "lack the path through the hidden state",
        "no earlier steps": "do not reach earlier steps",
        "dr without q": "",
        "h_0 of zeros": "data.1. = 0",
    },
}


def ordered(array: Any, order: Any) -> Any:
    """Return the blocks of the first axis in another order."""
    return np.concatenate([np.split(array, len(order))[i] for i in order])


def network(cell: str, bug: str = "") -> Any:
    """Return a network with a bug."""
    return functools.partial(run, cell, bug)


def arguments(cell: str, random: Any, T=6, B=3, D=4, H=5, O=2) -> Any:
    """Draw parameters and data."""
    rows = GATES[cell] * H
    shapes = {"W_ih": (rows, D), "W_hh": (rows, H), "b_ih": rows, "b_hh": rows}
    params = {name: random.normal(size=shape) / 2 for name, shape in shapes.items()}
    params["V"] = random.normal(size=(O, H))
    x, target = random.normal(size=(T, B, D)), random.normal(size=(T, B, O))
    return params, x, *random.normal(size=(2, B, H)), target


def run(cell: str, bug: str, params: Any, x: Any, h: Any, c: Any, target: Any) -> Any:
    """Return the outputs, the loss and the gradients."""
    p = changed_parameters(cell, bug, params)
    x, h, c, target = changed_data(bug, x, h, c, target)
    states, caches = forward(cell, bug, p, x, h, c)
    y = states @ p["V"].T
    error = y - target
    if bug == "last step's loss alone":
        error[:-1] = 0
    loss = (error * error).sum() / (1 if bug == "loss without 1/2" else 2)
    dy = error
    if bug in ("mean over the batch", "gradients without 1/B"):
        dy = error / x.shape[1]
    if bug == "mean over the batch":
        loss = loss / x.shape[1]
    d = backward(cell, bug, p, caches, dy)
    d["V"] = np.einsum("tbo,tbh->oh", dy, states)
    d = restored_gradients(cell, bug, d)
    if bug == "outputs in reversed order":
        y = y[::-1]
    if bug in ("time and batch exchanged", "outputs batch first"):
        y = y.swapaxes(0, 1)
    return {"y": y, "loss": loss, "d": d}


def forward(cell: str, bug: str, p: Any, x: Any, h: Any, c: Any) -> Any:
    """Return the states, and what every step back needs."""
    step = lstm if cell == "lstm" else gru
    states, caches = [], []
    for x_t in x:
        h, c, cache = step(bug, p, x_t, h, c)
        caches.append(cache)
        states.append(h)
    return np.stack(states), caches


def backward(cell: str, bug: str, p: Any, caches: Any, dy: Any) -> Any:
    """Return the gradients of the cell."""
    back = lstm_back if cell == "lstm" else gru_back
    d = {name: np.zeros_like(array) for name, array in p.items()}
    dh = dc = np.zeros_like(caches[0][1])
    for t in reversed(range(len(caches))):
        da, db, products, dh, dc = back(bug, p, caches[t], dh + dy[t] @ p["V"], dc)
        if bug == "no earlier steps":
            dh, dc = 0 * dh, 0 * dc
        if bug == "one step by 1e-6" and t == len(caches) // 2:
            db = db * (1 + 1e-6)
        d["W_ih"] += da.T @ caches[t][0]
        for b, h, rows in products:
            if bug == "h of the same step":
                h = caches[min(t + 1, len(caches) - 1)][1]
            d["W_hh"][rows] += b.T @ h
        d["b_ih"] += da.sum(0)
        d["b_hh"] += db.sum(0)
    if bug == "a sum in float32":
        d["b_ih"] = d["b_ih"].astype(np.float32).astype(float)
    return d


def changed_data(bug: str, x: Any, h: Any, c: Any, target: Any) -> Any:
    """Return the data as a wrong network reads them."""
    if bug in ("h_0 of zeros", "both states of zeros"):
        h = 0 * h
    if bug in ("c_0 of zeros", "both states of zeros"):
        c = 0 * c
    if bug == "reversed time":
        x = x[::-1]
    if bug == "time and batch exchanged":
        x, target = x.swapaxes(0, 1), target.swapaxes(0, 1)
        shape = (x.shape[1], h.shape[1])
        h, c = np.resize(h, shape), np.resize(c, shape)
    return x, h, c, target


def changed_parameters(cell: str, bug: str, params: Any) -> Any:
    """Return the parameters as a wrong network reads them."""
    p = dict(params)
    order = (0, 1, 3, 2) if cell == "lstm" else (1, 0, 2)
    names = {
        "gates in another order": ["W_ih", "W_hh", "b_ih", "b_hh"],
        "gates of W_hh in another order": ["W_hh"],
    }
    for name in names.get(bug, []):
        p[name] = ordered(p[name], order)
    if bug == "W_hh transposed":
        H = p["W_hh"].shape[1]
        p["W_hh"] = np.concatenate(
            [p["W_hh"][i : i + H].T for i in range(0, len(p["W_hh"]), H)]
        )
    if bug == "no second bias":
        p["b_hh"] = 0 * p["b_hh"]
    if bug == "bias twice":
        p["b_ih"] = 2 * p["b_ih"]
    if bug == "forget bias of 1":
        H = p["W_hh"].shape[1]
        p["b_ih"] = p["b_ih"] + np.repeat([0.0, 1.0, 0.0, 0.0], H)
    return p


def restored_gradients(cell: str, bug: str, d: Any) -> Any:
    """Return the gradients as a wrong network returns them."""
    order = (0, 1, 3, 2) if cell == "lstm" else (1, 0, 2)
    if bug == "gates in another order":
        for name in ("W_ih", "W_hh", "b_ih", "b_hh"):
            d[name] = ordered(d[name], np.argsort(order))
    if bug == "gates of W_hh in another order":
        d["W_hh"] = ordered(d["W_hh"], np.argsort(order))
    if bug == "W_hh transposed":
        H = d["W_hh"].shape[1]
        d["W_hh"] = np.concatenate(
            [d["W_hh"][i : i + H].T for i in range(0, len(d["W_hh"]), H)]
        )
    if bug == "no second bias":
        d["b_hh"] = 0 * d["b_hh"]
    if bug == "bias twice":
        d["b_ih"] = 2 * d["b_ih"]
    if bug == "one gradient twice":
        d["b_hh"] = 2 * d["b_hh"]
    if bug == "gradient blocks":
        d["W_ih"] = ordered(d["W_ih"], order)
    return d


def lstm(bug: str, p: Any, x: Any, h: Any, c: Any) -> Any:
    """Compute one step of an LSTM, gates i f g o."""
    a = x @ p["W_ih"].T + p["b_ih"] + h @ p["W_hh"].T + p["b_hh"]
    i, f, g, o = np.split(a, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    if bug == "hard sigmoid":
        o = np.clip(0.2 * np.split(a, 4, axis=1)[3] + 0.5, 0, 1)
    new = f * c + i * g
    h_new = o * (new if bug == "no tanh of c" else np.tanh(new))
    return h_new, new, (x, h, c, i, f, g, o, new)


def lstm_back(bug: str, p: Any, cache: Any, dh: Any, dc: Any) -> Any:
    """Go back one step of an LSTM."""
    _, _, c, i, f, g, o, new = cache
    tanh_c = np.tanh(new)
    if bug == "no dc":
        dc = 0 * dc
    dc = dc + dh * o * (1 - tanh_c**2)
    slope_f = f if bug == "slope of forget gate" else slope(f)
    df = dc * (new if bug == "new c in df" else c)
    da = np.hstack(
        [dc * g * slope(i), df * slope_f, dc * i * (1 - g * g), dh * tanh_c * slope(o)]
    )
    dh = 0 * dh if bug == "no dh" else da @ p["W_hh"]
    dc = dc if bug == "dc without f" else dc * f
    return da, da, [(da, cache[1], slice(None))], dh, dc


def gru(bug: str, p: Any, x: Any, h: Any, c: Any) -> Any:
    """Compute one step of a GRU, gates r z n, with the reset after the product."""
    H = h.shape[1]
    a, U, b = x @ p["W_ih"].T + p["b_ih"], p["W_hh"], p["b_hh"]
    r, z = np.split(sigmoid(a[:, : 2 * H] + h @ U[: 2 * H].T + b[: 2 * H]), 2, axis=1)
    if bug == "reset before the product":
        q = (r * h) @ U[2 * H :].T + b[2 * H :]
        n = np.tanh(a[:, 2 * H :] + q)
    else:
        q = h @ U[2 * H :].T
        if bug != "no bias inside of the reset":
            q = q + b[2 * H :]
        n = np.tanh(a[:, 2 * H :] + r * q)
    new = z * n + (1 - z) * h if bug == "z and 1 - z exchanged" else (1 - z) * n + z * h
    return new, c, (x, h, r, z, n, q)


def gru_back(bug: str, p: Any, cache: Any, dh: Any, dc: Any) -> Any:
    """Go back one step of a GRU."""
    _, h, r, z, n, q = cache
    H = h.shape[1]
    U = p["W_hh"]
    weight, sign = (z, -1) if bug == "z and 1 - z exchanged" else (1 - z, 1)
    da_n = dh * weight * (1 - n * n)
    da_z = sign * dh * (h - n) * slope(z)
    if bug == "reset before the product":
        d_rh = da_n @ U[2 * H :]
        dr, dq, product, h_n = d_rh * h, da_n, d_rh * r, r * h
    else:
        dq = da_n * r
        dr, product, h_n = (
            da_n * (1 if bug == "dr without q" else q),
            dq @ U[2 * H :],
            h,
        )
    da_rz = np.hstack([dr * slope(r), da_z])
    product = product + da_rz @ U[: 2 * H]
    direct = dh * (1 - weight)
    if bug == "no dh":
        product = 0 * product
    if bug == "no dh through z":
        direct = 0 * direct
    h_in = [(da_rz, h, slice(0, 2 * H)), (dq, h_n, slice(2 * H, 3 * H))]
    db_n = 0 * dq if bug == "no bias inside of the reset" else dq
    return (
        np.hstack([da_rz, da_n]),
        np.hstack([da_rz, db_n]),
        h_in,
        product + direct,
        dc,
    )
