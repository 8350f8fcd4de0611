"""Modules of PyTorch and losses in JAX as ports; what they are made of is found."""

import importlib
from importlib.util import find_spec

import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters import jax_port, torch_port
from numpy_rnn.conformance.adapters.functions import NAMED_LOSSES
from numpy_rnn.conformance.suite import WrongPort, check_port
from tests.helpers.ports import check_levels


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_loss_in_jax_passes():
    jax = importlib.import_module("jax")

    def loss(p, x, target, h_0):
        def step(h, x_t):
            h = jax.numpy.tanh(x_t @ p["Wx"] + h @ p["Wh"] + p["bh"])
            return h, h @ p["Wy"] + p["by"]

        y = jax.lax.scan(step, h_0, x)[1]
        return jax.numpy.mean((y - target) ** 2)

    def update(p, g, rate):
        def updated(theta, gradient):
            return theta - theta.dtype.type(rate) * gradient

        return jax.tree.map(updated, p, g)

    port = jax_port(
        loss,
        "mse",
        names={"W_xh": "Wx", "W_hh": "Wh", "W_hy": "Wy", "b_h": "bh", "b_y": "by"},
        step=update,
        sizes={"T": 5, "B": 2, "D": 3, "H": 4, "O": 6},  # each shape is compiled
    )
    check_levels(port, port.dtypes[-1])


def torch_model(
    *between,
    loss=None,
    optimizer="SGD",
    after=lambda y: y,
    RNN=None,
    state=lambda h: h,
    **options,
):
    """Return the port of nn.RNN, some modules between, and nn.Linear.

    after and state: functions of the outputs and of the initial state. options: those
    of nn.RNN.
    """
    nn = importlib.import_module("torch.nn")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = (RNN or nn.RNN)(3, 5, batch_first=True, **options)
            self.between = nn.Sequential(*between)
            self.out = nn.Linear(5, 2)

        def forward(self, x, h=None):
            states, _ = self.rnn(x, state(h))
            return after(self.out(self.between(states)))

    model = Model().eval()  # which is tested as in training
    return torch_port(model, loss, optimizer=optimizer)


def torch_cells(D, H, O):
    """Return a module of cells; the class or function lets the sizes vary."""
    torch = importlib.import_module("torch")

    class Cells(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = torch.nn.RNNCell(D, H), torch.nn.Linear(H, O)

        def forward(self, x, h):
            states = []
            for x_t in x:
                h = self.cell(x_t, h)
                states.append(h)
            return self.out(torch.stack(states))

    return Cells()


def torch_last():
    """Return the port of a module with relu that has no biases and one output."""
    nn = importlib.import_module("torch.nn")

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 4, nonlinearity="relu", batch_first=True, bias=False)
            self.out = nn.Linear(4, 2, bias=False)

        def forward(self, x, all_steps=False):
            states = self.rnn(x)[0]
            return self.out(states if all_steps else states[:, -1])

    return torch_port(Last())


def right_model(nn):
    return torch_model(nn.Dropout(0.0), nn.Identity())


def right_unrolled(nn):
    return torch_port(torch_cells, nn.CrossEntropyLoss(reduction="sum"), optimizer=None)


def log_probabilities(nn):
    return torch_model(loss=nn.NLLLoss, after=lambda y: y.log_softmax(-1))


MODULES = [  # a port, its layout, whether its loss is halved, some of what it lacks
    (right_model, "(B, T, D) batches", True, {"relu", "sum", "no biases"}),
    (right_unrolled, "(T, B, D) batches", False, {"relu", "mean", "step"}),
    (
        lambda nn: torch_last(),
        "(B, T, D) batches, with one target",
        True,
        {"h_0", "tanh", "bias"},
    ),
    (log_probabilities, "(B, T, D) batches", False, {"squared_error"}),
]


@pytest.mark.needs_torch
@pytest.mark.parametrize(("make", "layout", "is_halved", "lacks"), MODULES)
def test_right_module_is_described_and_passes(make, layout, is_halved, lacks):
    port = make(importlib.import_module("torch.nn"))
    assert port.layout_text == layout
    assert port.name.endswith(", halved") == is_halved
    assert lacks <= {*port.lacks}
    check_levels(port, "float64")


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", NAMED_LOSSES)
def test_losses_of_torch_are_named(name):
    row = NAMED_LOSSES[name]
    for kind in row.torch_classes[:1]:
        nn = importlib.import_module("torch.nn")
        port = torch_model(loss=getattr(nn, kind)(reduction=row.reduction))
        assert "assumed" not in port.layout_text


@pytest.mark.needs_torch
def test_optimizer_of_ones_own_has_the_options_of_its_signature():
    torch = importlib.import_module("torch")

    class Plain(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad

    port = torch_model(optimizer=Plain)
    assert {"momentum", "dampening", "nesterov", "weight_decay"} <= {*port.lacks}
    check_levels(port, "float64")


@pytest.mark.needs_torch
def test_state_that_a_module_ignores_is_wrong():
    with pytest.raises(WrongPort, match=r"^WRONG loss .*: zeros for h_0"):
        check_port(torch_model(state=lambda h: None), "L2", "float64")


UNKNOWN_PARTS = {
    "nn.Dropout": lambda nn: torch_model(nn.Dropout(0.3)),
    "nn.LSTM, nn.Softmax": lambda nn: torch_model(nn.Softmax(-1), RNN=nn.LSTM),
    "label_smoothing": lambda nn: torch_model(
        loss=nn.CrossEntropyLoss(label_smoothing=0.1)
    ),
    "weight": lambda nn: torch_model(
        loss=nn.CrossEntropyLoss(importlib.import_module("torch").ones(2))
    ),
    "ignore_index": lambda nn: torch_model(loss=nn.NLLLoss(ignore_index=1)),
    "optim.Adam": lambda nn: torch_model(
        optimizer=importlib.import_module("torch.optim").Adam
    ),
}


@pytest.mark.needs_torch
@pytest.mark.parametrize("part", UNKNOWN_PARTS)
def test_part_of_a_module_is_refused_by_name(part):
    with pytest.raises(InputError, match=f"^Model[^\n]*{part}[^\n]*$"):
        UNKNOWN_PARTS[part](importlib.import_module("torch.nn"))
