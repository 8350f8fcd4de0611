"""Right code in many shapes passes at once, and wrong code of the same shape is
refused.

Partial ports, functions of every layout, modules of torch, a loss in JAX; what adapters
refuse.
"""

import importlib
import math
from contextlib import nullcontext
from importlib.util import find_spec

import numpy as np
import pytest

import numpy_rnn
from benchmarks.implementations.min_char_rnn import loss_and_gradients
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters import function_port, jax_port, torch_port
from numpy_rnn.conformance.case import FIELDS, LOSS_AXES
from numpy_rnn.conformance.ports.abilities import stated_by
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.suite import WrongPort, check_port
from tests.helpers.ports import Layer, Untransposed
from tests.helpers.windows import SEED

FEW = 10  # windows per check


def levels_of(port):
    return ["L1", "L2", "L3"]["intermediates" not in stated_by(port).capabilities :]


def check(port, dtype="float64", examples=FEW):
    for level in levels_of(port):
        check_port(port, level, dtype, examples=examples)


PARTS = [  # what a layer lacks, its capabilities and sizes
    (("step", "h_0", "bias"), (), ()),
    (("older steps",), ("intermediates",), ()),
    (("momentum",), ("sgd_options", "intermediates"), ()),
    (("many losses", "h_0"), (), ()),
    (("many losses",), (), {"T": 6}),
    (("batch",), ("intermediates",), "few"),
    ((), ("intermediates",), {"H": 4, "T": 9}),
]


@pytest.mark.parametrize(("lacks", "has", "sizes"), PARTS)
def test_partial_port_passes_unless_it_is_wrong(lacks, has, sizes):
    """At every level; also where all windows have T steps, of which only the last has a
    loss.
    """
    port, wrong = Layer(*lacks, has=has), Untransposed(*lacks, has=has)
    port.sizes = wrong.sizes = sizes
    check(port, "float32")
    with pytest.raises(WrongPort):
        check_port(wrong, levels_of(port)[0], "float32", examples=3 * FEW)


def test_absolute_error_of_tanh_can_be_declared():
    """That of (1 − e)/(1 + e), which is not small where |a| is; a larger one is not
    allowed.
    """
    for error, is_allowed in ((0.0, True), (100 * np.finfo("float32").eps, False)):

        def state(n, w, t, phi, error=error):
            e = np.exp(-2 * np.abs(w.a[t]))
            return np.sign(w.a[t]) * ((1 - e) / (1 + e)) + w.a[t].dtype.type(error)

        port = Layer(state=state)
        port.tanh_absolute_ulps = 4.0
        with (
            nullcontext()
            if is_allowed
            else pytest.raises(WrongPort, match=r"WRONG h \(F2\)")
        ):
            check_port(port, "L1", "float32")


# -- functions
# ------------------------------------------------------------


def forward(p, x, h_0):
    """Compute the states, with h_0, and the outputs."""
    h = [h_0]
    for x_t in x:
        h.append(np.tanh(x_t @ p["W_xh"] + h[-1] @ p["W_hh"] + p.get("b_h", 0)))
    h = np.stack(h)
    return h, h[1:] @ p["W_hy"] + p.get("b_y", 0)


def rows(p, x, target, h_0):
    """Σe²/2 and its gradients; x (T, B, D), target (T, B, O) or, for the last step, (B,
    O).
    """
    last = target.ndim == 2
    h, y = forward(p, x, h_0)
    dy = y - target
    if last:
        dy[:-1] = 0
    return (dy * dy).sum() / 2, gradients_of(p, x, h, dy)


def gradients_of(p, x, h, dy):
    """Compute gradients by name from the states, with h_0, and errors of outputs."""
    da, flow = np.zeros_like(h[1:]), 0
    for t in reversed(range(len(x))):
        da[t] = (dy[t] @ p["W_hy"].T + flow) * (1 - h[t + 1] ** 2)
        flow = da[t] @ p["W_hh"].T
    pairs = {"W_xh": (x, da), "W_hh": (h[:-1], da), "W_hy": (h[1:], dy)}
    d = {name: np.einsum("tbi,tbj->ij", *pair) for name, pair in pairs.items()}
    return d | {"b_h": da.sum((0, 1)), "b_y": dy.sum((0, 1))}


def steps_last(p, x, target, h_0):
    """Batch first, steps last, (B, D, T); a tuple of gradients."""
    loss, d = rows(p, x.transpose(2, 0, 1), target.transpose(2, 0, 1), h_0)
    return np.float64(loss), *(d[name] for name in FIELDS)


def many_to_one(p, x, target, h_0):
    """One target, (B, O), with the gradients in a list."""
    assert target.shape == (x.shape[1], p["W_hy"].shape[1])
    loss, d = rows(p, x, target, h_0)
    return loss, [d[name] for name in FIELDS]


def as_torch(p, x, target):
    """Weights (H, D) as in nn.Linear, no biases, a zero state, and
    gradients with a d.
    """
    assert set(p) == {"W_xh", "W_hh", "W_hy"}
    weights, h_0 = (
        {name: W.T for name, W in p.items()},
        np.zeros((x.shape[1], len(p["W_hh"]))),
    )
    loss, d = rows(weights, x, target, h_0.astype(x.dtype))
    return loss, {f"d{name}": d[name].T for name in p}


def descent(p, d, rate):
    """Return new parameters, by a dict or a tuple of gradients."""
    d = named(d)
    own = {name: d.get(name, d.get("d" + name)) for name in p}
    return {
        name: theta - theta.dtype.type(rate) * own[name] for name, theta in p.items()
    }


def in_place(p, d, rate):
    for name, theta in descent(p, d, rate).items():
        p[name][...] = theta


FUNCTIONS = [  # a function, a step, the layout that is found, and some of what it lacks
    (rows, descent, "rows TBN BH", {"older steps"}),
    (steps_last, descent, "rows BNT BH", {"older steps"}),
    (many_to_one, in_place, "rows TBN BH last", {"many losses"}),
    (as_torch, in_place, "columns TBN BH", {"older steps", "bias", "h_0"}),
    (rows, None, "rows TBN BH", {"older steps", "step"}),
]


@pytest.mark.parametrize(("function", "step", "layout", "lacks"), FUNCTIONS)
def test_function_of_any_shape_is_checked(function, step, layout, lacks):
    """In the layout that is found, with its step; twice the rate is refused, and a
    wrong loss.
    """
    port = function_port(function, step=step)
    assert port.way == layout
    assert {"older steps", "many losses", "bias", "h_0", "step", "batch"} & {
        *port.lacks
    } == lacks
    for dtype, sizes in zip(port.dtypes, ("few", ())):
        port.sizes = sizes
        check(port, dtype)
    if step is not None:
        twice = function_port(function, step=lambda p, d, rate: step(p, d, 2 * rate))
        with pytest.raises(WrongPort, match=r"W_\w\w \(U1\): step × 2"):
            check_port(twice, "L2", "float64")
    port.function = lambda *given: (lambda loss, *d: (loss + 1e-9, *d))(
        *function(*given)
    )
    with pytest.raises(WrongPort, match=r"WRONG loss"):
        check_port(port, "L2", "float64")


def char_rnn(p, inputs, targets, hprev):
    """min-char-rnn's lossFun, with its parameters in a dict; it has a loss per sequence
    of two.
    """
    params = (
        p[name].reshape(-1, 1) if name in ("b_h", "b_y") else p[name] for name in FIELDS
    )
    loss, gradients, _ = loss_and_gradients(
        inputs, targets, hprev.reshape(-1, 1), params
    )
    return loss, {name: d.reshape(p[name].shape) for name, d in zip(FIELDS, gradients)}


def test_code_of_min_char_rnn_passes():
    """Its −log p is infinite where outputs are large, and the message says what to
    state.
    """
    port = function_port(char_rnn, "cross_entropy", classes=True)
    said = r"up to 30, but .*log-sum-exp, or state lacks=\(\"large outputs\",\)"
    with np.errstate(all="ignore"):
        check(port)
        with pytest.raises(PortFault, match=said):
            check_port(port, "large outputs", "float64", examples=100)
    check(
        function_port(char_rnn, "cross_entropy", classes=True, lacks=["large outputs"])
    )


def wrong_layer(p, x, target, h_0):
    report = Untransposed().window_update(p, x, target, h_0, learning_rate=0.0)
    return report["loss"], {name: report["d" + name] for name in p}


def test_wrong_function_is_refused_with_what_it_looks_like():
    with pytest.raises(
        WrongPort, match=r"WRONG dW_xh .*: W_hh used without its transpose"
    ):
        check_port(function_port(wrong_layer), "L2", "float64")
    port = function_port(divided(("batch",)), layout="rows TBN BH")
    said = "(rows TBN BH assumed, as no layout gives the right loss)"
    assert port.name.endswith(said)
    with pytest.raises(WrongPort, match=r"WRONG loss .*: consistent: × 1/B of this lo"):
        check_port(port, "L2", "float64")


def lossy(p, x, target, h_0):
    return (h_0 @ p["W_hh"] + p["b_h"]).nothing, p


def test_error_of_a_function_is_its_own():
    """Not that of trials without biases or of other layouts; nor a line of NumPy, or of
    ours.
    """
    with pytest.raises(
        InputError, match=r"^lossy cannot .* has no attribute 'nothing' .test_adap"
    ):
        function_port(lossy)
    for step in (
        lambda p, *_: np.linalg.inv(0 * p["W_hh"]),
        lambda p, *_: numpy_rnn.sgd(p, p, 1),
    ):
        with pytest.raises(PortFault, match=r"raises .* .test_adapters.py line "):
            check_port(function_port(rows, step=step), "L2", "float64")


@pytest.mark.parametrize(
    "given", [{"layout": "rows XYZ BH"}, {"lack": ["step"]}, {"loss": "abs"}]
)
def test_unknown_name_is_refused(given):
    name = next(iter(given))
    with pytest.raises(
        InputError, match=rf"^rows: [^\n]*{name}[^\n]*: expected [^\n]+$"
    ):
        function_port(rows, **given)


# -- JAX and torch
# ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_loss_in_jax_passes():
    jax = importlib.import_module("jax")

    def loss(p, x, target, h_0):
        def step(h, x_t):
            h = jax.numpy.tanh(x_t @ p["Wx"] + h @ p["Wh"] + p["bh"])
            return h, h @ p["Wy"] + p["by"]

        return jax.numpy.mean((jax.lax.scan(step, h_0, x)[1] - target) ** 2)

    def update(p, g, rate):
        return {
            name: theta - theta.dtype.type(rate) * g[name] for name, theta in p.items()
        }

    names = {"W_xh": "Wx", "W_hh": "Wh", "W_hy": "Wy", "b_h": "bh", "b_y": "by"}
    sizes = {
        "T": 5,
        "B": 2,
        "D": 3,
        "H": 4,
        "O": 6,
    }  # those of the trial: each is compiled
    options = {"names": names, "step": update, "layout": "rows TBN BH", "sizes": sizes}
    port = jax_port(loss, "mse", **options)
    check(port, port.dtypes[-1])


def torch_model(
    *between,
    loss=None,
    optimizer="SGD",
    after=None,
    RNN=None,
    state=lambda h: h,
    **options,
):
    nn = importlib.import_module("torch.nn")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = (RNN or nn.RNN)(3, 5, batch_first=True, **options)
            self.between = nn.Sequential(*between)
            self.out = nn.Linear(5 * (1 + options.get("bidirectional", False)), 2)

        def forward(self, x, h=None):
            y = self.out(self.between(self.rnn(x, state(h))[0]))
            return after(y, self.training) if after else y

    return torch_port(
        Model().eval(), loss, optimizer=optimizer
    )  # which is tested as in training


def torch_cells(D, H, O):
    """Return a module of cells; the class or function lets the sizes vary."""
    torch = importlib.import_module("torch")

    class Cells(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = torch.nn.RNNCell(D, H), torch.nn.Linear(H, O)

        def forward(self, x, h):
            return self.out(torch.stack([h := self.cell(x_t, h) for x_t in x]))

    return Cells()


def torch_last(**stated):
    nn = importlib.import_module("torch.nn")

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(3, 4, nonlinearity="relu", batch_first=True, bias=False)
            self.out = nn.Linear(4, 2, bias=False)

        def forward(self, x):
            return self.out(self.rnn(x)[0][:, -1])

    return torch_port(Last(), **stated)


@pytest.mark.needs_torch
def test_module_is_described_and_passes():
    nn = importlib.import_module("torch.nn")
    ports = [
        torch_model(nn.Dropout(0.0), nn.Identity()),
        torch_port(torch_cells, nn.CrossEntropyLoss(reduction="sum"), optimizer=None),
        torch_last(),
        torch_model(loss=nn.NLLLoss, after=lambda y, _: y.log_softmax(-1)),
    ]
    for port in ports:
        check(port)
    found = [port.name.partition(" ")[2] for port in ports[:3]]
    assert found == [
        "halved (x BTD, state 1BH)",
        "(x TBD, state BH)",
        "halved (x BTD, state none)",
    ]
    assert {*ports[0].lacks} == {"relu", "sum", "no biases"}
    assert {"h_0", "many losses", "tanh", "bias"} <= {*ports[2].lacks}
    assert stated_by(ports[0]).sizes == ({"D": 3, "H": 5, "O": 2},)
    assert stated_by(torch_last(sizes={"T": 4})).sizes == (
        {"T": 4, "D": 3, "H": 4, "O": 2},
    )


@pytest.mark.needs_torch
def test_state_that_a_module_ignores_is_wrong():
    with pytest.raises(WrongPort, match=r"^WRONG loss .*: zeros for h_0"):
        check_port(torch_model(state=lambda h: None), "L2", "float64")


TORCH = {
    "nn.Dropout": lambda nn: torch_model(nn.Dropout(0.3)),
    "nn.Embedding": lambda nn: torch_model(nn.Embedding(9, 3)),
    "no nn.RNN": lambda nn: torch_port(nn.Sequential(nn.Linear(2, 3))),
    "nn.LSTM, nn.Softmax": lambda nn: torch_model(nn.Softmax(-1), RNN=nn.LSTM),
    "the loss HuberLoss": lambda nn: torch_model(loss=nn.HuberLoss()),
    "label_smoothing": lambda nn: torch_model(
        loss=nn.CrossEntropyLoss(label_smoothing=0.1)
    ),
    "biases in one of the layers": lambda nn: torch_model(bias=False),
    "optim.Adam": lambda nn: torch_model(
        optimizer=importlib.import_module("torch.optim").Adam
    ),
}


@pytest.mark.needs_torch
@pytest.mark.parametrize("part", TORCH)
def test_part_of_a_module_is_refused_by_name(part):
    with pytest.raises(InputError, match=f"^(Model|Sequential)[^\n]*{part}[^\n]*$"):
        TORCH[part](importlib.import_module("torch.nn"))


# -- reductions by parts, and batches
# ------------------------------------------------------------


def divided(axes):
    """`rows`, with a loss that is a mean over these axes of outputs."""

    def loss_and_gradients(p, x, target, h_0):
        loss, gradients = rows(p, x, target, h_0)
        sizes = dict(zip(LOSS_AXES, target.shape))
        n = math.prod(sizes[axis] for axis in axes)
        return loss / n, {name: g / n for name, g in named(gradients).items()}

    return loss_and_gradients


def named(gradients):
    if isinstance(gradients, dict):
        return gradients
    return dict(zip(FIELDS, gradients))


@pytest.mark.parametrize("axes", [("batch",), ("steps", "outputs"), ("outputs",)])
def test_reduction_by_its_parts(axes):
    """For functions, whose other name is wrong by a factor that is told, and runs."""
    port = function_port(divided(axes), mean_over=axes)
    assert "assumed" not in port.name
    check(port)
    check(port, "float32")
    with pytest.raises(InputError, match="half_mse is a mean, and mean_over is given"):
        function_port(divided(axes), "half_mse", mean_over=axes)
    with pytest.raises(InputError, match="axis of mean_over 'time'"):
        function_port(divided(axes), mean_over=["time"])


def of_any_size(function):
    """Code of a batch or of one sequence, as it comes."""

    def loss_and_gradients(p, x, target, h_0):
        if x.ndim == 2:
            x, target, h_0 = x[:, None], target[:, None], h_0[None]
        return function(p, x, target, h_0)

    return loss_and_gradients


WRONG_BATCHES = {
    "1/B": of_any_size(divided(("batch",))),
    "B": of_any_size(
        lambda p, x, target, h_0: scaled(rows(p, x, target, h_0), len(h_0))
    ),
}


def scaled(result, factor):
    loss, gradients = result
    return loss * factor, {n: g * factor for n, g in named(gradients).items()}


@pytest.mark.parametrize("factor", WRONG_BATCHES)
def test_code_that_is_right_for_one_sequence_alone_is_refused(factor):
    said = rf"right for one sequence; for a batch the loss is × {factor}: state lacks="
    with pytest.raises(InputError, match=said):
        function_port(WRONG_BATCHES[factor])
    port = function_port(WRONG_BATCHES[factor], lacks=("batch",))
    assert port.layout == "(T, 1, D) sequences"
    check(port)


def one_sequence(p, x, target, h_0):
    """Code of one sequence, which fails with a batch."""
    assert x.ndim == 2
    loss, gradients = rows(p, x[:, None], target[:, None], h_0[None])
    return loss, gradients


def test_code_of_one_sequence_is_taken():
    port = function_port(one_sequence)
    assert port.layout == "(T, D) sequences"
    check(port)


def test_a_dict_of_results_is_told_what_to_return():
    said = (
        r"it returns a dict with the keys loss, grads: expected the loss and the grad"
    )
    with pytest.raises(InputError, match=said):
        function_port(lambda p, x, target, h_0: {"loss": 1.0, "grads": p})


def classifier(change):
    """`rows` of a softmax cross-entropy, whose probabilities of the targets are changed
    in the loss.
    """

    def loss_and_gradients(p, x, target, h_0):
        one_hot = np.eye(p["W_hy"].shape[1], dtype=x.dtype)[target]
        h, y = forward(p, x, h_0)
        z = y - y.max(axis=-1, keepdims=True)
        q = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        loss = -np.log(change((q * one_hot).sum(axis=-1))).sum()
        return loss, gradients_of(p, x, h, q - one_hot)

    lacks = ("large outputs", "no biases")
    return function_port(loss_and_gradients, "cross_entropy", lacks=lacks)


def test_probabilities_that_are_not_zero_are_seen():
    """Right code, and that with ε = 1e-7 in the logarithm, or clipped at 1e-7."""
    check(classifier(lambda q: q), examples=60)
    for change in (lambda q: q + 1e-7, lambda q: np.clip(q, 1e-7, 1)):
        with pytest.raises(WrongPort, match=r"^WRONG loss"):
            check_port(classifier(change), "L2", "float64", SEED)


def test_layouts_are_tried_with_the_sizes_of_the_code():
    """A function of arrays that were made before takes no others."""

    def fixed(p, x, target, h_0):
        assert p["W_hy"].shape == (8, 2)
        return rows(p, x, target, h_0)

    sizes = {"D": 3, "H": 8, "O": 2}
    check(function_port(fixed, sizes=sizes))
    with pytest.raises(InputError, match="cannot be called in any known way"):
        function_port(fixed)
    assert function_port(rows, sizes="few").way == "rows TBN BH"
