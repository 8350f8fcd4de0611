"""Random cases of recurrent networks, and their implementations."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.equivalence.numpy_cells import GATES, Layer, attend, attend_back

STRUCTURES = ("plain", "stacked", "both directions", "attention")


class Case(NamedTuple):
    """A network, its sizes, and the scales of its numbers."""

    cell: str
    structure: str
    T: int
    B: int
    D: int
    H: int
    O: int
    gain: float  # of the weights
    scale: float  # of the inputs
    dtype: str
    is_mean: bool
    seed: int

    @property
    def layers(self) -> list[tuple[str, int]]:
        """The suffixes of the layers as PyTorch writes them, and their input sizes."""
        if self.structure == "stacked":
            return [("_l0", self.D), ("_l1", self.H)]
        if self.structure == "both directions":
            return [("_l0", self.D), ("_l0_reverse", self.D)]
        return [("_l0", self.D)]

    @property
    def width(self) -> int:
        """The size of what the readout takes."""
        return self.H * (2 if self.structure == "both directions" else 1)

    def arguments(self):
        """Draw parameters, inputs and targets."""
        random = np.random.default_rng(self.seed)

        def draw(*shape, scale=1.0):
            return (scale * random.normal(size=shape)).astype(self.dtype)

        rows = GATES[self.cell] * self.H
        params = {}
        for suffix, D in self.layers:
            params[f"W_ih{suffix}"] = draw(rows, D, scale=self.gain / D**0.5)
            params[f"W_hh{suffix}"] = draw(rows, self.H, scale=self.gain / self.H**0.5)
            params[f"b_ih{suffix}"] = draw(rows, scale=self.gain)
            params[f"b_hh{suffix}"] = draw(rows, scale=self.gain)
        if self.structure == "attention":
            params["A"] = draw(self.H, self.H, scale=self.gain / self.H)
        params["V"] = draw(self.O, self.width, scale=self.gain / self.width**0.5)
        x = draw(self.T, self.B, self.D, scale=self.scale)
        return params, x, draw(self.T, self.B, self.O)


def random_case(random: Any, **fixed: Any) -> Case:
    """Draw a case: small ones mostly, the largest T or H sometimes."""
    kind = random.integers(10)
    T = int(random.integers(1, 40) if kind < 7 else random.integers(40, 201))
    H = int(random.integers(1, 40) if kind < 8 else random.integers(40, 257))
    if kind == 8:
        T = int(random.integers(1, 40))
    values: dict[str, Any] = {
        "cell": str(random.choice([*GATES])),
        "structure": str(random.choice(STRUCTURES, p=(0.55, 0.15, 0.15, 0.15))),
        "T": T,
        "B": int(random.integers(1, 33 if T * H < 2000 else 5)),
        "D": int(random.integers(1, 20)),
        "H": H,
        "O": int(random.integers(1, 10)),
        "gain": float(random.choice([0.1, 0.3, 1.0, 1.0, 2.0])),
        "scale": float(10 ** random.uniform(-3, 2)),
        "dtype": str(random.choice(["float64", "float64", "float32"])),
        "is_mean": bool(random.integers(2)),
        "seed": int(random.integers(2**31)),
    }
    return Case(**(values | fixed))


# Implementations: each makes a function of the parameters, the inputs and the targets.


def layer_params(params, suffix):
    """Return the parameters of one direction of one layer."""
    return {name: params[name + suffix] for name in ("W_ih", "W_hh", "b_ih", "b_hh")}


def by_hand(case: Case):
    """Return the network by hand in NumPy."""
    return partial(run_by_hand, case)


def run_by_hand(case, params, x, target):
    """Return outputs, loss and gradients, by the backward functions."""
    layers = []
    for suffix, _ in case.layers:
        is_reversed = suffix.endswith("reverse")
        layers.append(Layer(case.cell, layer_params(params, suffix), is_reversed))
    h, caches = x, []
    if case.structure == "both directions":
        parts = [layer.forward(x) for layer in layers]
        h = np.concatenate([part[0] for part in parts], axis=2)
        caches = [part[1] for part in parts]
    else:
        for layer in layers:
            h, cache = layer.forward(h)
            caches.append(cache)
    top = h
    if case.structure == "attention":
        top, attention = attend(h, params["A"])
    y = top @ params["V"].T
    error = y - target
    count = error.size if case.is_mean else 1
    dy = error / error.dtype.type(count)
    d = {"V": np.einsum("tbo,tbh->oh", dy, top)}
    dh = dy @ params["V"]
    if case.structure == "attention":
        dh, d["A"] = attend_back(attention, dh)
    dx, parts = back_by_hand(case, layers, caches, dh)
    d |= parts
    loss = (error * error).sum() / 2 / error.dtype.type(count)
    return {"y": y, "loss": loss, "d": {name: d[name] for name in params}, "dx": dx}


def back_by_hand(case, layers, caches, dh):
    """Return the gradients of the inputs and of the layers' parameters."""
    d: dict[str, Any] = {}
    if case.structure == "both directions":
        dx = 0
        halves = np.split(dh, 2, axis=2)
        for (suffix, _), layer, cache, half in zip(case.layers, layers, caches, halves):
            part, parts = layer.backward(cache, half)
            dx = dx + part
            d |= {name + suffix: array for name, array in parts.items()}
        return dx, d
    steps = zip(case.layers[::-1], layers[::-1], caches[::-1])
    for (suffix, _), layer, cache in steps:
        dh, parts = layer.backward(cache, dh)
        d |= {name + suffix: array for name, array in parts.items()}
    return dh, d


def torch_network(case: Case, make_states):
    """Return a function with PyTorch's autograd. make_states(case, params, x): the
    states of the top layer.
    """
    import torch

    def run(params, x, target):
        p = {
            name: torch.tensor(array, requires_grad=True)
            for name, array in params.items()
        }
        x_ = torch.tensor(x, requires_grad=True)
        h = make_states(case, p, x_)
        if case.structure == "attention":
            scores = torch.einsum("tbh,sbh->bts", h @ p["A"], h)
            h = torch.einsum("bts,sbh->tbh", scores.softmax(dim=2), h)
        y = h @ p["V"].T
        reduction = "mean" if case.is_mean else "sum"
        mse = torch.nn.functional.mse_loss
        loss = mse(y, torch.tensor(target), reduction=reduction) / 2
        loss.backward()
        d = {name: tensor.grad for name, tensor in p.items()}
        return {"y": y, "loss": loss, "d": d, "dx": x_.grad}

    return run


def module_states(case, p, x):
    """Return the states of torch.nn.LSTM, GRU or RNN."""
    import torch

    kind = {"lstm": "LSTM", "gru_after": "GRU", "elman": "RNN"}[case.cell]
    bidirectional = case.structure == "both directions"
    count = 2 if case.structure == "stacked" else 1
    module = getattr(torch.nn, kind)(
        case.D, case.H, num_layers=count, bidirectional=bidirectional, dtype=x.dtype
    )
    names = {}
    for name, tensor in p.items():
        if name not in ("A", "V"):
            kind, _, rest = name.partition("_")
            names[f"{'weight' if kind == 'W' else 'bias'}_{rest}"] = tensor
    return torch.func.functional_call(module, names, (x,))[0]


def cell_states(case, p, x):
    """Return the states of cells in a loop of Python."""
    import torch

    outputs: list[Any] = []
    for suffix, _ in case.layers:
        q = layer_params(p, suffix)
        is_reversed = suffix.endswith("reverse")
        steps = x if case.structure == "both directions" or not outputs else outputs[-1]
        h = c = x.new_zeros(x.shape[1], case.H)
        states = []
        for x_t in reversed(steps) if is_reversed else steps:
            h, c = torch_cell(case.cell, q, x_t, h, c)
            states.append(h)
        outputs.append(torch.stack(states[::-1] if is_reversed else states))
    return torch.cat(outputs, 2) if case.structure == "both directions" else outputs[-1]


def torch_cell(cell, q, x, h, c):
    """Compute one step by PyTorch's cells; of a GRU with reset "before" by hand."""
    import torch

    weights = q["W_ih"], q["W_hh"], q["b_ih"], q["b_hh"]
    if cell == "lstm":
        return torch._VF.lstm_cell(x, (h, c), *weights)
    if cell == "elman":
        return torch._VF.rnn_tanh_cell(x, h, *weights), c
    if cell == "gru_after":
        return torch._VF.gru_cell(x, h, *weights), c
    a = (x @ q["W_ih"].T + q["b_ih"]).chunk(3, dim=1)
    W_r, W_z, W_n = q["W_hh"].chunk(3)
    b_r, b_z, b_n = q["b_hh"].chunk(3)
    r = torch.sigmoid(a[0] + h @ W_r.T + b_r)
    z = torch.sigmoid(a[1] + h @ W_z.T + b_z)
    n = torch.tanh(a[2] + (r * h) @ W_n.T + b_n)
    return n + z * (h - n), c


def jax_cell(case, q, state, x):
    """Compute one step of a cell with JAX."""
    import jax
    import jax.numpy as jnp

    h, c = state
    a = x @ q["W_ih"].T + q["b_ih"]
    b = h @ q["W_hh"].T + q["b_hh"]
    if case.cell == "elman":
        h = jnp.tanh(a + b)
    elif case.cell == "lstm":
        i, f, g, o = jnp.split(a + b, 4, axis=1)
        sigmoid = jax.nn.sigmoid
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
    else:
        a_r, a_z, a_n = jnp.split(a, 3, axis=1)
        b_r, b_z, b_n = jnp.split(b, 3, axis=1)
        r, z = jax.nn.sigmoid(a_r + b_r), jax.nn.sigmoid(a_z + b_z)
        if case.cell == "gru_before":
            b_n = (r * h) @ q["W_hh"][2 * case.H :].T + q["b_hh"][2 * case.H :]
        else:
            b_n = r * b_n
        h = (1 - z) * jnp.tanh(a_n + b_n) + z * h
    return (h, c), h


def jax_network(case: Case):
    """Return a function with JAX' scan and gradients."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def loss_of(params, x, target):
        h, outputs = x, []
        for suffix, _ in case.layers:
            zeros = jnp.zeros((x.shape[1], case.H), x.dtype)
            start = x if case.structure == "both directions" else h
            step = partial(jax_cell, case, layer_params(params, suffix))
            reverse = suffix.endswith("reverse")
            _, h = jax.lax.scan(step, (zeros, zeros), start, reverse=reverse)
            outputs.append(h)
        if case.structure == "both directions":
            h = jnp.concatenate(outputs, axis=2)
        if case.structure == "attention":
            scores = jnp.einsum("tbh,sbh->bts", h @ params["A"], h)
            h = jnp.einsum("bts,sbh->tbh", jax.nn.softmax(scores, axis=2), h)
        y = h @ params["V"].T
        squares = (y - target) ** 2
        return (squares.mean() if case.is_mean else squares.sum()) / 2, y

    gradient = jax.jit(jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True))

    def run(params, x, target):
        (loss, y), (d, dx) = gradient(params, x, target)
        return {"y": y, "loss": loss, "d": d, "dx": dx}

    return run


IMPLEMENTATIONS = {
    "NumPy": by_hand,
    "torch module": partial(torch_network, make_states=module_states),
    "torch cells": partial(torch_network, make_states=cell_states),
    "JAX scan": jax_network,
}


def implementations_of(case: Case) -> list[str]:
    """Return the implementations that compute a case."""
    return [
        n for n in IMPLEMENTATIONS if n != "torch module" or case.cell != "gru_before"
    ]
