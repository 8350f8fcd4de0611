"""Right code in many shapes passes at once: parts of a network, public code, and modules and functions by adapters.

Each is given what it has, its numbers are checked in windows and in runs, and a wrong one of the same shape is refused.
"""

import functools
import importlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from ports_for_tests import PLAIN, Layer, Port, Untransposed, window

from benchmarks.rows.min_char_rnn import loss_and_gradients
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance import properties
from numpy_rnn.conformance.adapters import function_port, jax_port, keras_port, torch_port
from numpy_rnn.conformance.case import RateInVelocity
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.mutants.hints import hints_for_port
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.properties import Violation, WorstRatios, check_port, profile
from numpy_rnn.conformance.traces.drive import trace_port
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.window_checks import check_global, check_local

NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")
FEW = settings(profile("repeatable"), max_examples=8, phases=[Phase.generate])
pytestmark = [pytest.mark.usefixtures("quick"),  # and a warning of Keras and NumPy 2
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # fmt: skip


def levels_of(port):
    return ["L1", "L2", "L3"]["intermediates" not in abilities(port).capabilities :]


# -- parts of a network ----------------------------------------------------------------------------------------------

PARTS = [  # what a layer lacks, and what it has
    ((), ("given_dy", "intermediates")),
    (("step", "h_0", "bias"), ("given_dy",)),
    (("older steps",), ("intermediates",)),
    (("momentum",), ("sgd_options", "intermediates")),
    ((), ("two_biases", "intermediates")),
    (("many losses", "h_0"), ()),
]


@pytest.mark.parametrize("number", range(len(PARTS)))
def test_partial_port_passes_unless_it_is_wrong(number):
    """In both dtypes by turns, and wrong at all levels by turns: what a port is given does not depend on these."""
    (lacks, has), dtype = PARTS[number], Layer.dtypes[number % 2]
    port, worst = Layer(*lacks, has=has), WorstRatios()
    levels = levels_of(port)
    for level in levels:
        check_port(level, port, dtype, FEW, worst=worst)
    names = worst.worst["L2"][dtype].keys()
    assert ("loss" in names, "W_hh" in names, "dW_hh" in names) == (
        "given_dy" not in has,
        "step" not in lacks,
        True,
    )
    with pytest.raises(Violation):
        check_port(levels[number % len(levels)], Untransposed(*lacks, has=has), dtype, FEW)


def test_few_sizes_without_a_batch():
    port = Layer("batch")
    port.sizes = "few"
    for level in levels_of(port):
        check_port(level, port, "float64", FEW)


def run_of(k2=5, step=Step(0.01), **changes):  # noqa: B008
    """A run of one sequence of 20 steps, for a port with plain options."""
    case = window(
        3, **PLAIN | {"T": 20, "K": 20, "B": 1, "bias": False, "gain": 0.5, "step": step} | changes
    )
    options = RunOptions(Schedule(5, k2, 1), case.objective, step)
    return Run(
        case.params, case.x, case.target, np.zeros((case.x.shape[1], 3)), case.weights, options
    )


def test_cross_entropy_of_a_port_that_is_given_dy():
    """numpy_rnn computes the loss of the run that the port does not have."""
    run = run_of(
        objective=Objective("tanh", "cross_entropy", "mean"), O=4, classes=True, weights=True
    )
    for port, right in ((Layer(has=("given_dy",)), True), (Untransposed(has=("given_dy",)), False)):
        judgement = judge(trace_port(port, run))
        assert judgement.passed == right
        assert {"loss", "dW_hh", "W_hh"} <= set(judgement.worst)


@pytest.mark.parametrize(("name", "changes"), [  # what a port lacks or does not declare, and a run that needs it
    ("older steps", {"k2": 7}),
    ("learned_h_0", {"learned": True}),
])  # fmt: skip
def test_run_with_a_lacking_part_is_refused(name, changes):
    port, verb = Layer(name, has=("sgd_options",)), "lacks"
    if name in CAPABILITIES:
        port, verb = Layer(has=()), "does not declare"
    with pytest.raises(InputError, match=f"a layer {verb} '{name}': choose a run without "):
        trace_port(port, run_of(**changes))


# -- code of many shapes ---------------------------------------------------------------------------------------------


class MinCharRnn(Port):
    """The abilities of min-char-rnn.py: one list of characters, clipping by value, biases and Adagrad always."""

    lacks = ("relu", "mean", "batch", "older steps", "plain SGD", "no biases", "squared_error", "distributions",
             "vector_inputs", "large outputs")  # fmt: skip

    def __init__(self):
        super().__init__(capabilities=("cross_entropy", "class_inputs", "clip_by_value", "adagrad"))

    def window_update(
        self, p, x, target, h_0, *, nonlinearity, reduction, adagrad, max_norm, **options
    ):
        assert (nonlinearity, reduction, adagrad, max_norm) == ("tanh", "sum", True, None)
        assert x.dtype.kind == target.dtype.kind == "i"
        assert x.shape == target.shape == (len(x), 1)
        assert "b_h" in p
        return super().window_update(p, x=x, target=target, h_0=h_0, adagrad=True, **options)


def batch_first(p, x, target, h_0, rnn=Layer):
    """The loss, Σe² without the half, and its gradients."""
    x, target = x.swapaxes(0, 1), target.swapaxes(0, 1)
    report = rnn().window_update(p, x, h_0, target, learning_rate=0.0, reduction="sum")
    return 2 * report["loss"], {name: 2 * report["d" + name] for name in p}


def loss_fun(p, inputs, targets, hprev):
    """min-char-rnn's lossFun, with its parameters in a dict."""
    loss, gradients, h = loss_and_gradients(inputs, targets, hprev, *(p[name] for name in NAMES))
    return loss, *gradients, h


def torch_modules():
    """Ports of modules as PyTorch's users write them; the wrong one has a tanh that the definition does not have."""
    torch = importlib.import_module("torch")
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self, D=3, H=5, O=2, nonlinearity="tanh"):
            super().__init__()
            self.rnn, self.out = (
                nn.RNN(D, H, nonlinearity=nonlinearity, batch_first=True),
                nn.Linear(H, O),
            )

        def forward(self, x, h):
            states, h = self.rnn(x, h)
            return self.out(states), h

    class Cells(nn.Module):
        def __init__(self, D, H, O):
            super().__init__()
            self.cell, self.out = nn.RNNCell(D, H), nn.Linear(H, O)

        def forward(self, x, h):
            states = [h := self.cell(x_t, h) for x_t in x]
            return self.out(torch.stack(states))

    class Last(Model):
        def forward(self, x):
            return self.out(self.rnn(x)[0][:, -1])

    class Tanh(Model):
        def forward(self, x, h):
            return torch.tanh(super().forward(x, h)[0])

    return {
        "nn.RNN": lambda: torch_port(Model()),
        "nn.RNNCell": lambda: torch_port(
            Cells, nn.CrossEntropyLoss(reduction="sum"), optimizer=None
        ),
        "last output": lambda: torch_port(Last(nonlinearity="relu")),
        "wrong": lambda: torch_port(Tanh),
        "no RNN": lambda: torch_port(nn.Sequential(nn.Linear(2, 3))),
    }


def torch_style(name):
    return pytest.param(lambda: torch_modules()[name](), marks=pytest.mark.needs_torch, id=name)


def jax_style():
    jax = importlib.import_module("jax")

    def loss(p, x, target, h_0):
        def step(h, x_t):
            h = jax.numpy.tanh(x_t @ p["Wx"] + h @ p["Wh"] + p["bh"])
            return h, h @ p["Wy"] + p["by"]

        return jax.numpy.mean((jax.lax.scan(step, h_0, x)[1] - target) ** 2)

    def update(p, g, rate):
        return {name: theta - theta.dtype.type(rate) * g[name] for name, theta in p.items()}

    names = {"W_xh": "Wx", "W_hh": "Wh", "W_hy": "Wy", "b_h": "bh", "b_y": "by"}
    shape = {
        "T": 5,
        "B": 2,
        "D": 3,
        "H": 4,
        "O": 6,
    }  # that of the adapter's own trial: each is compiled
    return jax_port(loss, "mse", names=names, step=update, layout="rows TBN BH", sizes=shape)


def keras_style():
    keras = importlib.import_module("keras")
    rnn = keras.layers.SimpleRNN(4, return_sequences=True)
    return keras_port(keras.Sequential([keras.Input((None, 3)), rnn, keras.layers.Dense(2)]))


def char_style():
    return function_port(
        loss_fun, "cross_entropy", classes=True, dtypes=["float64"], lacks=["large outputs"]
    )


RIGHT_CODE: list[Any] = [
    MinCharRnn,
    char_style,
    lambda: function_port(batch_first, "sum_of_squares"),
]
RIGHT_CODE += map(torch_style, ("nn.RNN", "nn.RNNCell", "last output"))
RIGHT_CODE += [pytest.param(jax_style, marks=pytest.mark.slow)] if find_spec("jax") else []
RIGHT_CODE += (
    [pytest.param(keras_style, marks=[pytest.mark.slow, pytest.mark.needs_torch])]
    if find_spec("keras")
    else []
)


@pytest.mark.parametrize("make", RIGHT_CODE)
def test_right_code_passes_at_once(make):
    port = make()
    for level in levels_of(port):
        check_port(level, port, port.dtypes[-1], FEW)


@pytest.mark.parametrize("make", [
    lambda: function_port(batch_first, "half_sum_of_squares"),  # which it is twice
    lambda: function_port(functools.partial(batch_first, rnn=Untransposed), "sum_of_squares"),
    torch_style("wrong"),
])  # fmt: skip
def test_wrong_code_is_refused_through_an_adapter(make):
    port = make()
    with pytest.raises(Violation):
        check_port("L2", port, port.dtypes[-1], FEW)


@pytest.mark.needs_torch
def test_module_is_described():
    found = {
        name: make() for name, make in torch_modules().items() if name not in ("wrong", "no RNN")
    }
    names = ["Model (x BTD, state 1BH)", "Cells (x TBD, state BH)", "Last (x BTD, state none)"]
    assert [port.name for port in found.values()] == names
    assert set(found["nn.RNN"].lacks) == {"relu", "sum", "no biases"}
    assert {"h_0", "many losses", "tanh"} <= set(found["last output"].lacks)
    assert abilities(found["nn.RNN"]).sizes == ({"D": 3, "H": 5, "O": 2},)
    with pytest.raises(InputError, match=r"Sequential has no nn.RNN or nn.RNNCell: expected one"):
        torch_modules()["no RNN"]()
    with pytest.raises(InputError, match="'huber' is not known: expected half_sum_of_squares"):
        function_port(batch_first, "huber")


# -- other truncations -----------------------------------------------------------------------------------------------


class EachLoss(Layer):
    """Each loss goes back over k steps, as in rnnlm.py of Britz."""

    def backward(self, p, h, dh):
        total, slope = np.zeros_like(dh), 1 - h[1:] ** 2
        for t in range(len(dh)):
            flow = dh[t]
            for s in range(t, max(t - 5, -1), -1):
                total[s] += flow
                flow = self.carried(p, flow * slope[s])
        return total, total * slope


class Newest(Layer):
    """The backward pass ends after the newest steps, as that of Deeplearning4j."""

    def backward(self, p, h, dh):
        dh, da = super().backward(p, h, dh)
        dh[:-3] = da[:-3] = 0
        return dh, da


@pytest.mark.parametrize(("port", "hint"), [
    (EachLoss(has=()), "each loss goes back over 5 steps (bptt_truncate = 4)"),
    (Newest(has=()), "the backward pass ends after the newest 3 steps"),
])  # fmt: skip
def test_truncation_is_named(port, hint, monkeypatch):
    monkeypatch.setattr(properties, "hints_for_port", hints_for_port)
    with pytest.raises(Violation) as error:
        check_port("L2", port, "float64", FEW)
    assert (
        str(error.value).partition("; looks like: ")[2].partition("; the largest error")[0] == hint
    )


# -- an inexact tanh, two hidden biases, and steps that round otherwise ----------------------------------------------


class FromExponential(Layer):
    """tanh as (1 − e)/(1 + e), whose absolute error is small and whose relative error is not, where |a| is small."""

    def __init__(self, absolute_ulps, error=0.0):
        super().__init__()
        self.tanh_absolute_ulps, self.error = absolute_ulps, error

    def phi(self, a):
        e = np.exp(-2 * np.abs(a))
        return np.sign(a) * ((1 - e) / (1 + e)) + a.dtype.type(self.error)


def test_absolute_error_of_tanh_can_be_declared():
    """Then it is allowed, and a larger one is not."""
    for level in ("L1", "L2"):
        check_port(level, FromExponential(4.0), "float32", FEW)
    for port in (FromExponential(None), FromExponential(4.0, error=100 * np.finfo("float32").eps)):
        with pytest.raises(Violation, match="h \\(F2\\)"):
            check_port("L1", port, "float32", FEW)


class FrozenBias(Layer):
    def window_update(self, p, x, h_0, **options):
        report = super().window_update(p, x, h_0, **options)
        return report | ({"b_hh": p["b_hh"]} if "b_hh" in p else {})


def test_mistake_in_the_second_bias_is_found():
    with pytest.raises(Violation, match="b_hh"):
        check_port(
            "L3",
            FrozenBias(has=("intermediates", "two_biases")),
            "float64",
            settings(FEW, max_examples=300),
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_velocity_with_the_rate_in_it(dtype):
    """It is −η times that of torch, which the bounds tell apart."""
    for seed, step in enumerate(
        (Step(0.01, 0.5, nesterov=True), Step(0.3, 0.9, weight_decay=0.1, max_norm=0.5))
    ):
        case = window(seed, dtype, step=RateInVelocity(*step), velocity=True, learned=False)
        for check in (check_local, check_global):
            right, wrong = (window_update(case._replace(step=each)) for each in (case.step, step))
            assert max(ratio.max() for ratio in check(case, right).values()) <= 1
            assert max(ratio.max() for ratio in check(case, wrong).values()) > 1


def ratio_of_step(step, ratio, update):
    """The largest ratio at L1 of θ after an update from θ, the gradient ratio · θ, and the velocity ratio · θ."""
    case = window(
        3, "float32", step=step, H=8, O=8, learned=False, velocity=True, objective=Objective()
    )
    report, theta = window_update(case), case.params.W_hy
    g = v = (theta * np.float32(ratio)).astype(np.float32)
    new = {"dW_hy": g, "W_hy": update(theta, g, v)} | ({"vW_hy": v} if step.momentum else {})
    return check_local(case, report | new)["W_hy"].max()


def test_step_of_right_code_may_round_otherwise():
    """Keras on torch adds −ηg to θ before μv, which rounds twice; a rate in double is an ulp of float32 off."""
    step, rate, mu = Step(0.5, 0.9, nesterov=True), np.float32(0.5), np.float32(0.9)
    found = ratio_of_step(
        RateInVelocity(*step), 0.01, lambda theta, g, v: (theta - rate * g) + mu * v
    )
    assert 0.5 < found <= 1
    assert ratio_of_step(step, 0.01, lambda theta, g, v: (theta - rate * g) - rate * mu * v) > 1
    rate, wrong = 0.5 * (1 + 0.99 * 2.0**-24), np.float32(0.5 * (1 + 8 * 2.0**-24))
    assert (
        ratio_of_step(
            Step(rate), 2.0, lambda theta, g, v: theta - (rate * g.astype(float)).astype(g.dtype)
        )
        <= 1
    )
    assert ratio_of_step(Step(rate), 2.0, lambda theta, g, v: theta - wrong * g) > 1


def test_rate_in_double_is_not_rounded_to_float32():
    case = window(
        3,
        "float64",
        step=Step(0.5 * (1 + 2.0**-25)),
        learned=False,
        objective=Objective(),
        bias=False,
    )
    report = window_update(case._replace(step=Step(0.5)))
    assert max(check_local(case, report)[name].max() for name in ("W_xh", "W_hh", "W_hy")) > 1e5
