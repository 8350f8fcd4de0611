"""Adapters: functions in many shapes, of which wrong ones are refused; models with parts that they refuse by name."""

import importlib
import itertools
import re
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import Phase, settings
from inline_snapshot import snapshot

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters import (
    function_port,
    keras_adapter,
    keras_port,
    torch_adapter,
    torch_port,
)
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import Violation, check_port, profile

NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")
pytestmark = pytest.mark.usefixtures("quick")
FEW = settings(profile("repeatable"), max_examples=8, phases=[Phase.generate])


# -- functions ---------------------------------------------------------------------------------------------------------


def rows(p, x, target, h_0):
    """Σe²/2 and its gradients, by name; x (T, B, D), and target (T, B, O) or, for the last step alone, (B, O)."""
    last, h = target.ndim == 2, [h_0]
    for x_t in x:
        h.append(np.tanh(x_t @ p["W_xh"] + h[-1] @ p["W_hh"] + p.get("b_h", 0)))
    h = np.stack(h)
    dy = h[1:] @ p["W_hy"] + p.get("b_y", 0) - target
    if last:
        dy[:-1] = 0
    da, flow = np.zeros_like(h[1:]), 0
    for t in reversed(range(len(x))):
        da[t] = (dy[t] @ p["W_hy"].T + flow) * (1 - h[t + 1] ** 2)
        flow = da[t] @ p["W_hh"].T
    pairs = {"W_xh": (x, da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
    d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
    return (dy * dy).sum() / 2, d | {"b_h": da.sum((0, 1)), "b_y": dy.sum((0, 1))}


def steps_last(p, x, target, h_0):
    """Batch first and the steps last, (B, D, T), with a tuple of gradients."""
    loss, d = rows(p, x.transpose(2, 0, 1), target.transpose(2, 0, 1), h_0)
    return loss, *(d[name] for name in NAMES)


def many_to_one(p, x, target, h_0):
    """One target, (B, O), with the gradients in a list."""
    assert target.shape == (x.shape[1], p["W_hy"].shape[1])
    loss, d = rows(p, x, target, h_0)
    return loss, [d[name] for name in NAMES]


def as_torch(p, x, target):
    """Weights (H, D) as in nn.Linear, rows, no biases, a zero state, and gradients whose names have a d."""
    assert set(p) == {"W_xh", "W_hh", "W_hy"}
    loss, d = rows(
        {name: W.T for name, W in p.items()},
        x,
        target,
        np.zeros((x.shape[1], len(p["W_hh"])), x.dtype),
    )
    return loss, {f"d{name}": d[name].T for name in p}


def with_biases(p, x, target, h_0):
    return p["b_h"].sum() * 0 + rows(p, x, target, h_0)[0], rows(p, x, target, h_0)[1]


def descent(p, d, rate):
    """A step that makes new parameters, of a dict or a tuple of gradients."""
    d = d if isinstance(d, dict) else dict(zip(NAMES, d))
    return {
        name: theta - theta.dtype.type(rate) * d.get(name, d.get("d" + name))
        for name, theta in p.items()
    }


def in_place(p, d, rate):
    for name, theta in descent(p, d, rate).items():
        p[name][...] = theta


FUNCTIONS = [  # a function, a step, the layout that is found, and some of what it lacks
    (rows, descent, "rows TBN BH", {"older steps"}),
    (steps_last, descent, "rows BNT BH", {"older steps"}),
    (many_to_one, in_place, "rows TBN BH last", {"many losses"}),
    (as_torch, in_place, "columns TBN BH", {"bias", "h_0"}),
    (with_biases, None, "rows TBN BH", {"no biases", "step"}),
]


@pytest.mark.parametrize(("function", "step", "layout", "lacks"), FUNCTIONS)
def test_function_of_any_shape_is_checked(function, step, layout, lacks):
    """In the layout that is found, with its step; twice the rate is refused, and so is a wrong gradient."""
    port = function_port(function, step=step, dtypes=["float64"])
    assert port.way == layout
    found = {"older steps", "many losses", "bias", "no biases", "h_0", "step", "batch"} & set(
        port.lacks
    )
    assert found == lacks | ({"older steps"} if "many losses" not in lacks else set())
    for level in ("L2", "L3"):
        check_port(level, port, "float64", FEW)
    if step is not None:
        twice = function_port(
            function, step=lambda p, d, rate: step(p, d, 2 * rate), dtypes=["float64"]
        )
        with pytest.raises(Violation, match=r"W_hy \(U1\)|W_xh \(U1\)|W_hh \(U1\)"):
            check_port("L2", twice, "float64", FEW)
    port.function = lambda *arguments: (lambda loss, *d: (loss + 1e-9, *d))(*function(*arguments))
    with pytest.raises(Violation, match="loss"):
        check_port("L2", port, "float64", FEW)


@pytest.mark.needs_torch
def test_cell_by_hand_in_torch_is_a_function():
    """Its loss is a number of Python, and its gradients are tensors."""
    torch = importlib.import_module("torch")

    def mean_error(p, x, target, h_0):
        p = {name: torch.tensor(theta, requires_grad=True) for name, theta in p.items()}
        x, target, h = map(torch.tensor, (x, target, h_0))
        h = [h := torch.tanh(x_t @ p["W_xh"] + h @ p["W_hh"] + p["b_h"]) for x_t in x]
        loss = torch.nn.functional.mse_loss(torch.stack(h) @ p["W_hy"] + p["b_y"], target)
        return loss.item(), torch.autograd.grad(loss, list(p.values()))

    port = function_port(mean_error, "mse")
    for dtype in port.dtypes:
        check_port("L2", port, dtype, FEW)
    assert "no biases" in port.lacks


def lossy(p, x, target, h_0):
    h = h_0 @ p["W_hh"] + p["b_h"]
    return h.nothing, p


def forgetful(p, x, target, h_0):
    loss, d = rows(p, x, target, h_0)
    return loss, {name: d[name] for name in NAMES[1:]}


FACTORS = itertools.count(2)  # no chance makes one of them right


def noisy(p, x, target, h_0):
    loss, d = rows(p, x, target, h_0)
    return loss * next(FACTORS), d


@pytest.mark.parametrize(("function", "said"), [
    (lossy, r"^lossy cannot .*: AttributeError: 'numpy.ndarray' object has no attribute 'nothing' \(test_adapters.py"),
    (forgetful, r"^forgetful cannot .*W_xh is not among the results W_hh, W_hy, b_h, b_y"),
    (noisy, "^noisy gives two losses for one window: leave dropout and other noise out"),
])  # fmt: skip
def test_error_of_a_function_is_its_own(function, said):
    """It is not that of the trials without biases, or of other layouts."""
    with pytest.raises(InputError, match=said):
        function_port(function)


def test_error_in_a_step_is_the_step_s():
    def step(p, d, rate):
        return p["W_xh"].nothing

    with pytest.raises(
        PortFault, match=r"has no attribute 'nothing' \(test_adapters.py line \d+: return p\["
    ):
        check_port("L2", function_port(rows, step=step), "float64", FEW)


# -- models ------------------------------------------------------------------------------------------------------------


def torch_model(*between, loss=None, optimizer="SGD", after=None, RNN=None, **options):
    nn = importlib.import_module("torch.nn")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = (RNN or nn.RNN)(3, 5, batch_first=True, **options)
            self.between = nn.Sequential(*between)
            self.out = nn.Linear(5 * (1 + options.get("bidirectional", False)), 2)

        def forward(self, x, h):
            y = self.out(self.between(self.rnn(x, h)[0]))
            return after(y, self.training) if after else y

    return torch_port(Model().eval(), loss, optimizer=optimizer)  # which is tested as in training


def torch_of_parameters():
    """A cell written by hand, and nn.Linear."""
    torch = importlib.import_module("torch")
    model = torch.nn.Module()
    model.U, model.out = torch.nn.Parameter(torch.zeros(3, 5)), torch.nn.Linear(5, 2)
    return torch_port(model)


def torch_dropout(rate):
    functional = importlib.import_module("torch.nn.functional")
    return torch_model(after=lambda y, training: functional.dropout(y, rate, training))


TORCH = {
    "num_layers=2": lambda nn: torch_model(num_layers=2),
    "bidirectional=True": lambda nn: torch_model(bidirectional=True),
    "nn.Dropout": lambda nn: torch_model(nn.Dropout(0.3)),
    "nn.LayerNorm": lambda nn: torch_model(nn.LayerNorm(5)),
    "nn.Embedding": lambda nn: torch_model(nn.Embedding(9, 3)),
    "nn.LSTM": lambda nn: torch_model(RNN=nn.LSTM),
    "2 nn.Linear": lambda nn: torch_model(nn.Linear(5, 5)),
    "the parameter U": lambda nn: torch_of_parameters(),
    "gives two losses": lambda nn: torch_dropout(0.5),
    "a Softmax before the loss": lambda nn: torch_model(
        loss=nn.CrossEntropyLoss, after=lambda y, _: y.softmax(-1)
    ),
    "does not return log_softmax": lambda nn: torch_model(loss=nn.NLLLoss),
    "CrossEntropyLoss has label_smoothing": lambda nn: torch_model(
        loss=nn.CrossEntropyLoss(label_smoothing=0.1)
    ),
    "nn.LSTM, nn.Dropout": lambda nn: torch_model(nn.Dropout(0.3), RNN=nn.LSTM),
    "bias=False in its RNN alone": lambda nn: torch_model(bias=False),
    "the loss HuberLoss": lambda nn: torch_model(loss=nn.HuberLoss()),
    "optim.Adam": lambda nn: torch_model(optimizer=importlib.import_module("torch.optim").Adam),
}


def refusal(make):
    with pytest.raises(InputError) as error:
        make()
    message = re.sub(r"(sequential|functional)_?\d*", "model", str(error.value))
    return message.replace(torch_adapter.EXPECTED, "...").replace(keras_adapter.EXPECTED, "...")


@pytest.mark.needs_torch
def test_part_of_a_module_is_refused_by_name():
    """With what to do about it."""
    nn = importlib.import_module("torch.nn")
    messages = {part: refusal(lambda part=part: TORCH[part](nn)) for part in TORCH}
    assert all(part in message for part, message in messages.items())
    assert "\n".join(messages.values()) == snapshot("""\
Model has num_layers=2: expected ...; check each layer alone, as the README of the suite says under 'A stack of layers'
Model has bidirectional=True: expected ...; check each direction alone
Model has nn.Dropout: expected ...; leave dropout out
Model has nn.LayerNorm: expected ...; leave the normalisation out
Model has nn.Embedding: expected ...; leave the Embedding out, and let x be its output
Model has nn.LSTM: expected ...; no adapter checks gates
Model has 2 nn.Linear: expected ...
Module has no nn.RNN or nn.RNNCell, the parameter U: expected ...; a cell written by hand is checked by function_port, as a function that returns a loss and its gradients
Model gives two losses for one window: leave dropout and other noise out
Model has a Softmax before the loss: expected the outputs of nn.Linear; leave the softmax out: the suite's cross-entropy has one of its own
Model does not return log_softmax of its outputs, which nn.NLLLoss takes
Model: CrossEntropyLoss has label_smoothing: expected a mean or a sum, without options
Model has nn.LSTM, nn.Dropout: expected ...; no adapter checks gates; leave dropout out
Model has bias=False in its RNN alone: expected ...
Model: the loss HuberLoss is not known: expected an nn.MSELoss, nn.CrossEntropyLoss, nn.NLLLoss, or a function with its loss_name
Model has optim.Adam: expected torch.optim.SGD without options, which the suite chooses; use SGD for the check\
""")


@pytest.mark.needs_torch
def test_harmless_parts_of_a_module_pass():
    nn = importlib.import_module("torch.nn")
    for port in (torch_model(nn.Dropout(0.0), nn.Identity()), torch_dropout(0.0),
                 torch_model(loss=nn.NLLLoss, after=lambda y, _: y.log_softmax(-1))):  # fmt: skip
        check_port("L2", port, "float64", FEW)


def keras_model(
    *between, activation=None, compiled=None, regularizer=None, layer="Dense", **options
):
    keras = importlib.import_module("keras")
    between = [getattr(keras.layers, kind)(*arguments) for kind, *arguments in between]
    rnn = keras.layers.SimpleRNN(4, **{"return_sequences": True} | options)
    out = keras.layers.Dense(2, activation, kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((None, 3)), rnn, *between, out])
    if compiled:
        model.compile(*compiled)
    return model


def keras_call():
    """A model whose call does more."""
    keras = importlib.import_module("keras")
    x = keras.Input((None, 3))
    return keras.Model(
        x,
        keras.ops.tanh(keras.layers.Dense(2)(keras.layers.SimpleRNN(4, return_sequences=True)(x))),
    )


KERAS = {
    "dropout": {"dropout": 0.3, "recurrent_dropout": 0.2},
    "regularizer of the RNN": {"kernel_regularizer": "l2"},
    "regularizer": {"regularizer": "l2", "kernel_constraint": "non_neg"},
    "biases": {"use_bias": False},
    "activation": {"activation": "selu"},
    "backwards": {"go_backwards": True},
    "softmax": {"activation": "softmax"},
    "optimizer": {"compiled": ("adam", "mse")},
    "loss": {"compiled": ("sgd", "mae")},
}
LAYERS = {"Dropout": 0.2, "LayerNormalization": -1, "Dense": 4}


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
@pytest.mark.needs_torch
def test_part_of_a_keras_model_is_refused_by_name():
    makers = {
        part: lambda options=options: keras_model(**options) for part, options in KERAS.items()
    }
    makers |= {kind: lambda kind=kind: keras_model((kind, LAYERS[kind])) for kind in LAYERS}
    makers |= {"call": keras_call, "sizes": importlib.import_module("keras").Sequential}
    assert "\n".join(
        refusal(lambda make=make: keras_port(make())) for make in makers.values()
    ) == snapshot("""\
model has SimpleRNN(dropout=0.3), SimpleRNN(recurrent_dropout=0.2): expected ...; leave dropout out
model has SimpleRNN(kernel_regularizer): expected ...; leave regularizers out: their loss is no part of the definition
model has SimpleRNN(kernel_constraint), Dense(kernel_regularizer): expected ...; leave constraints out: they change the step; leave regularizers out: their loss is no part of the definition
model has use_bias in one layer alone: expected ...
model has Selu in its Dense: expected ...
model has SimpleRNN(go_backwards=True): expected ...
model has Softmax in its Dense: expected ...; leave the softmax out: the suite's cross-entropy has one of its own
model has optimizers.Adam: expected ...; use SGD for the check
model has the loss mean_absolute_error: expected ...
model has Dropout: expected ...; leave dropout out
model has LayerNormalization: expected ...; leave the normalisation out
model has 2 Dense: expected ...
model does more in its call than its SimpleRNN and its Dense: take the rest out
model has no sizes yet: begin it with keras.Input((None, D)), or call it once\
""")
    many_to_one = keras_port(keras_model(return_sequences=False, compiled=("sgd", "mse")))
    bare = keras_model(use_bias=False)
    bare.layers[-1].use_bias = False
    assert [*keras_port(bare).variables] == ["W_xh", "W_hh", "W_hy"]
    for level in ("L2", "L3"):
        check_port(level, many_to_one, "float32", FEW)
