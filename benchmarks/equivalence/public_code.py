"""Right pairs with code of others, run as it is: numpy-ml, and two public repositories
of an LSTM from scratch. None of it is part of this project.

    pip install numpy-ml
    git clone https://github.com/oreilly-japan/deep-learning-from-scratch-2 A
    git clone https://github.com/nicodjimenez/lstm B
    python -m benchmarks.equivalence --path A --path B

Each pair is a port of theirs, and an LSTM or a GRU by hand in their layout.
"""

import collections.abc
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.equivalence.numpy_cells import sigmoid


class PublicPair(NamedTuple):
    """Their function, one of ours, and arguments."""

    name: str
    f: Any
    g: Any
    arguments: tuple[Any, ...]


def lstm_states(gates: Any, x: Any, H: int, squash: Any = np.tanh) -> Any:
    """Return the states of an LSTM. gates(x_t, h): the pre-activations i f o g."""
    h = c = np.zeros((x.shape[1], H))
    states = []
    for x_t in x:
        i, f, o, g = gates(x_t, h)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * squash(c)
        states.append(h)
    return np.stack(states)


def numpy_ml_pairs(random: Any, sizes: Any) -> Iterator[PublicPair]:
    """Yield the LSTM cell of numpy-ml 0.1.2, its outputs and its gradients of a sum."""
    # Its imports are those of Python before 3.10.
    collections.Hashable = collections.abc.Hashable  # type: ignore[attr-defined]
    layers = importlib.import_module("numpy_ml.neural_nets.layers")
    T, B, D, H = sizes
    names = [kind + gate for kind in ("W", "b") for gate in "fuco"]

    def theirs(params: Any, x: Any, dy: Any) -> Any:
        # The cell: the layer around it cannot be made (its gradients have no setter).
        cell = layers.LSTMCell(n_out=H)
        cell.n_in = D
        cell._init_params()
        for name in names:
            cell.parameters[name] = params[name]
        y = [cell.forward(x[:, :, t])[0] for t in range(T)]
        dx = [cell.backward(dy[:, :, t]) for t in reversed(range(T))][::-1]
        d = {name: cell.gradients[name] for name in names}
        return {"y": np.dstack(y), "dx": np.dstack(dx), "d": d}

    def ours(params: Any, x: Any, dy: Any) -> Any:
        import torch

        p = {n: torch.tensor(a, requires_grad=True) for n, a in params.items()}
        x_ = torch.tensor(x, requires_grad=True)
        h = c = torch.zeros(B, H, dtype=torch.float64)
        states = []
        for t in range(T):
            z = torch.cat([h, x_[:, :, t]], dim=1)
            f, u, g, o = (z @ p["W" + k] + p["b" + k] for k in "fuco")
            c = torch.sigmoid(f) * c + torch.sigmoid(u) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        y = torch.stack(states, dim=2)
        (y * torch.tensor(dy)).sum().backward()
        return {"y": y, "dx": x_.grad, "d": {n: p[n].grad for n in names}}

    params = {n: random.normal(size=(D + H, H)) / 3 for n in names[:4]}
    params |= {n: random.normal(size=(1, H)) / 3 for n in names[4:]}
    x, dy = random.normal(size=(B, D, T)), random.normal(size=(B, H, T))
    yield PublicPair("numpy-ml LSTM cell", theirs, ours, (params, x, dy))


def from_scratch_2_pairs(random: Any, sizes: Any) -> Iterator[PublicPair]:
    """Yield the LSTM and the GRU of "deep learning from scratch 2". They keep states in
    buffers of float32, so they are compared in float32.
    """
    layers = importlib.import_module("common.time_layers")
    T, B, D, H = sizes
    x = random.normal(size=(B, T, D)).astype("float32")
    for kind, count in (("LSTM", 4), ("GRU", 3)):
        shapes = (D, count * H), (H, count * H), (count * H,)
        params = [random.normal(size=s).astype("float32") / 3 for s in shapes]

        def theirs(params: Any, x: Any, kind: str = kind) -> Any:
            return getattr(layers, f"Time{kind}")(*params).forward(x)

        def ours(params: Any, x: Any, kind: str = kind) -> Any:
            W, U, b = params
            steps = x.swapaxes(0, 1)
            h = c = 0 * (steps[0] @ W)[:, :H]
            states = []
            for x_t in steps:
                if kind == "LSTM":
                    f, g, i, o = np.split(x_t @ W + h @ U + b, 4, axis=1)
                    c = sigmoid(f) * c + np.tanh(g) * sigmoid(i)
                    h = sigmoid(o) * np.tanh(c)
                else:
                    a = x_t @ W + b
                    rows = a[:, : 2 * H] + h @ U[:, : 2 * H]
                    z, r = np.split(sigmoid(rows), 2, axis=1)
                    n = np.tanh(a[:, 2 * H :] + (r * h) @ U[:, 2 * H :])
                    h = (1 - z) * h + z * n
                states.append(h)
            return np.stack(states, axis=1)

        yield PublicPair(f"from scratch 2, {kind}", theirs, ours, (params, x))


def nicodjimenez_pairs(random: Any, sizes: Any) -> Iterator[PublicPair]:
    """Yield the LSTM of nicodjimenez, without a tanh of c, with its loss."""
    code = importlib.import_module("lstm")
    T, _, D, H = sizes
    names = [kind + gate for kind in "wb" for gate in "giof"]

    class Loss:
        """Half the square of the first state's error, in the shape that it takes."""

        @staticmethod
        def loss(state: Any, label: Any) -> Any:
            return (state[0] - label) ** 2

        @staticmethod
        def bottom_diff(state: Any, label: Any) -> Any:
            diff = np.zeros_like(state)
            diff[0] = 2 * (state[0] - label)
            return diff

    def theirs(params: Any, x: Any, target: Any) -> Any:
        own = code.LstmParam(H, D)
        for name in names:
            setattr(own, name, params[name])
        network = code.LstmNetwork(own)
        for x_t in x:
            network.x_list_add(x_t)
        loss = network.y_list_is(target, Loss)
        y = [node.state.h for node in network.lstm_node_list[:T]]
        return {
            "y": y,
            "loss": loss,
            "d": {n: getattr(own, n + "_diff") for n in names},
        }

    def ours(params: Any, x: Any, target: Any) -> Any:
        import torch

        p = {n: torch.tensor(a, requires_grad=True) for n, a in params.items()}
        h = c = torch.zeros(H, dtype=torch.float64)
        states = []
        for x_t in torch.tensor(x):
            z = torch.cat([x_t, h])
            g, i, o, f = (p["w" + k] @ z + p["b" + k] for k in "giof")
            c = torch.tanh(g) * torch.sigmoid(i) + c * torch.sigmoid(f)
            h = c * torch.sigmoid(o)
            states.append(h)
        y = torch.stack(states)
        loss = ((y[:, 0] - torch.tensor(target)) ** 2).sum()
        loss.backward()
        return {"y": y, "loss": loss, "d": {n: p[n].grad for n in names}}

    params = {n: random.normal(size=(H, D + H)) / 3 for n in names[:4]}
    params |= {n: random.normal(size=H) / 3 for n in names[4:]}
    x, target = random.normal(size=(T, D)), random.normal(size=T)
    yield PublicPair("nicodjimenez LSTM", theirs, ours, (params, x, target))


MAKERS = {
    "numpy_ml": numpy_ml_pairs,
    "common.time_layers": from_scratch_2_pairs,
    "lstm": nicodjimenez_pairs,
}


def public_pairs(random: Any) -> Iterator[PublicPair]:
    """Yield the pairs of all code that can be imported."""
    for module, make in MAKERS.items():
        package = module.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            print(f"not tested: {package} is not installed")
            continue
        for _ in range(4):
            sizes = [int(random.integers(1, high)) for high in (40, 8, 12, 30)]
            yield from make(random, sizes)
