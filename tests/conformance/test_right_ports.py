"""Right code in many shapes passes at once: parts of a network, public code, and modules and functions by adapters.

Each is given what it has, its numbers are checked in windows and in runs, and a wrong one of the same shape is refused.
"""

import functools
import importlib
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import Phase, settings
from ports_for_tests import Layer, Untransposed
from public_rnns import DeepLearning4J, DennyBritz, MinCharRnn, loss_fun
from windows import window

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance import plain_rnn, properties
from numpy_rnn.conformance.adapters import function_port, jax_port, keras_port, torch_port
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import RateInVelocity
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.properties import Violation, WorstRatios, check_port, profile
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.traces.drive import trace_port
from numpy_rnn.conformance.traces.judge import judge

FEW = settings(profile("repeatable"), max_examples=8, phases=[Phase.generate])
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras and NumPy 2


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch):
    monkeypatch.setattr(properties, "run_count", lambda windows: 3)
    monkeypatch.setenv("KERAS_BACKEND", "torch")


def levels_of(port):
    return ["L1", "L2", "L3"]["intermediates" not in abilities(port).capabilities :]


# -- parts of a network ----------------------------------------------------------------------------------------------

PARTS = [  # what a layer lacks, and what it has
    ((), ("given_dy", "intermediates")),
    (("step", "h_0", "bias"), ("given_dy",)),
    (("older steps",), ("intermediates",)),
    (("momentum",), ("sgd_options", "intermediates")),
    ((), ("two_biases", "intermediates")),
]


@pytest.mark.parametrize("number", range(len(PARTS)))
def test_partial_port_passes_unless_it_is_wrong(number):
    """In both dtypes by turns, and wrong at all levels by turns: what a port is given does not depend on these."""
    (lacks, has), dtype = PARTS[number], Layer.dtypes[number % 2]
    port, worst = Layer(*lacks, has=has), WorstRatios()
    for level in levels_of(port):
        check_port(level, port, dtype, FEW, worst=worst)
    names = set(worst.worst["L2"][dtype])
    assert ("loss" in names) == ("given_dy" not in has)
    assert ("W_hh" in names) == ("step" not in lacks)
    assert {"dW_xh", "dW_hh", "dW_hy"} <= names
    with pytest.raises(Violation):
        check_port(levels_of(port)[number % len(levels_of(port))], Untransposed(*lacks, has=has), dtype, FEW)


def run_of(k1=5, k2=5, epochs=1, step=None, **changes):
    """A run of one sequence of 20 steps."""
    recipe = {"T": 20, "K": 20, "B": 1, "D": 1, "H": 4, "O": 3, "objective": Objective(), "bias": False, "gain": 0.5}
    recipe |= dict.fromkeys(("classes", "class_inputs", "weights", "learned", "velocity", "subnormal"), False)
    case = window(3, **recipe | {"step": step or Step(0.01), "no_h_0": False, "logits": 1.0} | changes)
    options = RunOptions(Schedule(k1, k2, epochs), case.objective, case.step)
    return Run(case.params, case.x, case.target, np.zeros((case.x.shape[1], 4)), case.weights, options)


def test_run_of_a_partial_port_is_judged():
    """The loss and the step that the port does not have are computed for it; one window starts from zero."""
    for port, right in ((Layer("step", has=("given_dy",)), True), (Untransposed("step", has=("given_dy",)), False)):
        judgement = judge(trace_port(port, run_of()))
        assert judgement.passed == right
        assert {"loss", "dW_hh", "W_hh"} <= set(judgement.worst)
    cross_entropy = run_of(objective=Objective("tanh", "cross_entropy", "mean"), classes=True, weights=True)
    for port, right in ((Layer(has=("given_dy",)), True), (Untransposed(has=("given_dy",)), False)):
        assert judge(trace_port(port, cross_entropy)).passed == right
    assert judge(trace_port(Layer("h_0"), run_of(k1=20, k2=20))).passed


REFUSED = {  # what a port lacks or does not declare, and a run that needs it
    "h_0": {},
    "older steps": {"k2": 7},
    "many losses": {},
    "batch": {"B": 2},
    "bias": {"bias": True},
    "sum": {},
    "tanh": {},
    "momentum": {"step": Step(0.1, 0.5)},
    "nesterov": {"step": Step(0.1, 0.5, nesterov=True)},
    "weight_decay": {"step": Step(0.1, weight_decay=0.1)},
    "sgd_options": {"step": Step(0.1, weight_decay=0.1)},
    "learned_h_0": {"learned": True},
    "sigmoid": {"objective": Objective("sigmoid")},
    "clip_by_value": {"step": Step(0.1, max_value=1.0)},
    "adagrad": {"step": Step(0.1, adagrad=True)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_run_with_a_lacking_part_is_refused(name):
    declared = name in CAPABILITIES
    port = Layer(has=()) if declared else Layer(name, has=("sgd_options",))
    message = f"a layer {'does not declare' if declared else 'lacks'} '{name}': choose a run without "
    with pytest.raises(InputError, match=message):
        trace_port(port, run_of(**REFUSED[name]))


# -- code of many shapes ---------------------------------------------------------------------------------------------


class KerasStyle:
    """Always biases, the mean of squares without the half, and a velocity with the rate in it, as Keras has it."""

    name, dtypes, capabilities = "Keras", ("float32",), ("sgd_options", "rate_in_velocity")
    lacks = ("relu", "sum", "no biases", "dampening", "weight_decay", "max_norm")

    def window_update(self, p, x, target, h_0, *, learning_rate, momentum=0.0, nesterov=False, velocity=None, **_):
        inner = Layer().window_update(p, x, h_0, target, learning_rate=0.0, reduction="sum")
        half_mse = x.dtype.type(1 / target.size)
        report = {"loss": inner["loss"] * half_mse}
        for name, theta in p.items():
            g = inner["d" + name] * half_mse
            m = -(theta.dtype.type(learning_rate) * g)
            v = m if velocity is None else velocity[name] * theta.dtype.type(momentum) + m
            step = theta.dtype.type(momentum) * v + m if nesterov else v
            report |= {"d" + name: g, name: theta + step} | ({"v" + name: v} if momentum else {})
        return report


def columns(p, inputs, targets, hprev, rnn=Layer):
    """The loss of columns, (T, N, B), and its gradients in a tuple: Σe², without the half."""
    rows = {name: theta.T if name.startswith("W") else theta[:, 0] for name, theta in p.items()}
    series = inputs.swapaxes(1, 2), hprev.T, targets.swapaxes(1, 2)
    report = rnn().window_update(rows, *series, learning_rate=0.0, reduction="sum")
    gradients = [report["d" + name] for name in p]
    return 2 * report["loss"], *(2 * (g.T if g.ndim == 2 else g[:, None]) for g in gradients), hprev


def torch_modules():
    """Modules as PyTorch's users write them; the last one has a tanh that the definition does not have."""
    torch = importlib.import_module("torch")
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self, D=3, H=5, O=2):
            super().__init__()
            self.rnn, self.out = nn.RNN(D, H, batch_first=True), nn.Linear(H, O)

        def forward(self, x, h):
            states, h = self.rnn(x, h)
            return self.out(states), h

    class Cells(nn.Module):
        def __init__(self, D, H, O):
            super().__init__()
            self.cell, self.out = nn.RNNCell(D, H), nn.Linear(H, O)

        def forward(self, x, h):
            outputs = []
            for x_t in x:
                h = self.cell(x_t, h)
                outputs.append(self.out(h))
            return torch.stack(outputs)

    class Last(nn.Module):
        def __init__(self, D, H, O):
            super().__init__()
            self.rnn, self.out = nn.RNN(D, H, batch_first=True, nonlinearity="relu"), nn.Linear(H, O)

        def forward(self, x):
            return self.out(self.rnn(x)[0][:, -1])

    class Tanh(Model):
        def forward(self, x, h):
            y, h = super().forward(x, h)
            return torch.tanh(y), h

    return {
        "nn.RNN": lambda: torch_port(Model()),
        "nn.RNN of any size": lambda: torch_port(Model),
        "nn.RNNCell": lambda: torch_port(Cells, nn.CrossEntropyLoss(reduction="sum"), optimizer=None),
        "last output": lambda: torch_port(Last),
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
    shape = {"T": 2, "B": 3, "D": 4, "H": 5, "O": 1}  # each is compiled
    return jax_port(loss, "mse", names=names, step=update, layout="rows TBN BH", sizes=shape)


def keras_style():
    keras = importlib.import_module("keras")
    rnn = keras.layers.SimpleRNN(4, return_sequences=True)
    return keras_port(keras.Sequential([keras.Input((None, 3)), rnn, keras.layers.Dense(2)]))


def columns_style():
    return function_port(columns, "sum_of_squares")


def char_style():
    return function_port(loss_fun, "cross_entropy", classes=True, dtypes=["float64"], lacks=["large outputs"])


RIGHT_CODE = [KerasStyle, MinCharRnn, char_style, columns_style]
RIGHT_CODE += map(torch_style, ("nn.RNN", "nn.RNN of any size", "nn.RNNCell", "last output"))
RIGHT_CODE += [jax_style] if find_spec("jax") else []
RIGHT_CODE += (
    [pytest.param(keras_style, marks=[pytest.mark.slow, pytest.mark.needs_torch])] if find_spec("keras") else []
)


@pytest.mark.parametrize("make", RIGHT_CODE)
def test_right_code_passes_at_once(make):
    port = make()
    for level in levels_of(port):
        check_port(level, port, port.dtypes[-1], FEW)


@pytest.mark.parametrize("make", [
    lambda: function_port(columns, "half_sum_of_squares"),  # which it is twice
    lambda: function_port(functools.partial(columns, rnn=Untransposed), "sum_of_squares"),
    torch_style("wrong"),
])  # fmt: skip
def test_wrong_code_is_refused_through_an_adapter(make):
    port = make()
    with pytest.raises(Violation):
        check_port("L2", port, port.dtypes[-1], FEW)


@pytest.mark.needs_torch
def test_module_is_described():
    found = {name: make() for name, make in torch_modules().items() if name not in ("wrong", "no RNN")}
    assert [port.name for port in found.values()] == [
        "Model (x BTD, state 1BH)", "Model (x BTD, state 1BH)", "Cells (x TBD, state BH)", "Last (x BTD, state none)"
    ]  # fmt: skip
    assert set(found["nn.RNN of any size"].lacks) == {"relu", "sum", "no biases"}
    assert {"h_0", "many losses", "tanh"} <= set(found["last output"].lacks)
    assert abilities(found["nn.RNN"]).sizes == ({"D": 3, "H": 5, "O": 2},)
    with pytest.raises(InputError, match=r"Sequential: expected one nn.RNN or nn.RNNCell and one nn.Linear"):
        torch_modules()["no RNN"]()
    with pytest.raises(InputError, match="'huber' is not known: expected half_sum_of_squares"):
        function_port(columns, "huber")


def test_layout_of_a_function_is_found():
    assert columns_style().name == "columns (columns TNB HB)"
    assert char_style().name == "loss_fun (columns TN HB)"
    assert {"batch", "no biases", "vector_inputs", "step"} <= set(char_style().lacks)

    def batch_first(p, x, target, h_0):
        report = Layer().window_update(p, x.swapaxes(0, 1), h_0, target.swapaxes(0, 1), learning_rate=0, reduction="")
        return report["loss"], {name: report["d" + name] for name in p}

    assert function_port(batch_first).name == "batch_first (rows BTN BH)"
    with pytest.raises(InputError, match="broken cannot be called in any known way: rows TBN BH: KeyError: 'U'"):
        function_port(lambda p, x, target, h_0: p["U"], name="broken")


BACK, NEWEST = "each loss goes back over 5 steps (bptt_truncate = 4)", "the backward pass ends after the newest 3 steps"


@pytest.mark.parametrize(("port", "hint"), [
    (DennyBritz(), BACK), (DeepLearning4J(), ""), (DeepLearning4J(with_first=True), NEWEST)
])  # fmt: skip
def test_truncation_of_public_rnn_is_named(port, hint):
    with pytest.raises(Violation) as error:
        check_port("L2", port, port.dtypes[-1], FEW)
    message = str(error.value).partition("; the largest error")[0]
    assert ": dW_xh (B4) at [" in message
    assert message.partition("; looks like: ")[2] == hint


# -- an inexact tanh, two hidden biases, and steps that round otherwise ----------------------------------------------


class FromExponential(Layer):
    """tanh as (1 − e)/(1 + e), whose absolute error is small and whose relative error is not, where |a| is small."""

    def __init__(self, absolute_ulps, error=0.0, has=("intermediates",)):
        super().__init__(has=has)
        self.tanh_absolute_ulps, self.error = absolute_ulps, error

    def phi(self, a):
        e = np.exp(-2 * np.abs(a))
        return np.sign(a) * ((1 - e) / (1 + e)) + a.dtype.type(self.error)


def test_absolute_error_of_tanh_can_be_declared():
    """Then it is allowed, and a larger one is not."""
    for level in ("L1", "L2", "L3"):
        check_port(level, FromExponential(4.0), "float32", FEW)
    check_port("L2", FromExponential(4.0, has=()), "float64", FEW)
    for port in (FromExponential(None), FromExponential(4.0, error=100 * np.finfo("float32").eps)):
        with pytest.raises(Violation, match="h \\(F2\\)"):
            check_port("L1", port, "float32", FEW)


class WrongBias(Layer):
    """A second bias that is not added, has no gradient or is not trained."""

    def __init__(self, mistake):
        super().__init__(has=("intermediates", "two_biases"))
        self.mistake = mistake

    def window_update(self, p, x, h_0, **options):
        if "b_hh" not in p:
            return super().window_update(p, x, h_0, **options)
        given = p | {"b_hh": 0 * p["b_hh"]} if self.mistake == "added" else p
        report = super().window_update(given, x, h_0, **options)
        wrong = {"gradient": {"db_hh": 0 * report["db_hh"]}, "trained": {"b_hh": p["b_hh"]}}
        return report | wrong.get(self.mistake, {})


@pytest.mark.parametrize(("mistake", "tensor"), [("added", "a"), ("gradient", "db_hh"), ("trained", "b_hh")])
def test_mistake_in_the_second_bias_is_found(mistake, tensor):
    for level in ("L1", "L2", "L3"):
        with pytest.raises(Violation, match=None if level == "L2" else tensor):
            check_port(level, WrongBias(mistake), "float64", FEW)


def test_each_bias_has_its_own_step():
    """With clipping, weight decay and momentum, whose norm includes both gradients; a run starts with b_hh = 0."""
    for seed in range(20):
        case = window(seed, bias=True, two_biases=True)
        ratios = check_global(case, plain_rnn.window_update(case))
        assert {"db_hh", "b_hh"} <= ratios.keys()
        assert all(ratio.max() <= 1 for ratio in ratios.values())
    recorded = trace_port(Layer(has=("intermediates", "two_biases")), run_of(epochs=2, bias=True))
    assert not recorded.run.params.b_hh.any()
    assert judge(recorded).passed
    assert not judge(recorded.replace({"b_hh": recorded.updates["b_hh"] + 1e-9})).passed


STEPS = (Step(0.1, 0.9), Step(0.01, 0.5, nesterov=True), Step(0.3, 0.9, weight_decay=0.1, max_norm=0.5), Step(0.0, 0.9))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_velocity_with_the_rate_in_it(dtype):
    """It is −η times that of torch, which the bounds tell apart."""
    for seed, step in enumerate(STEPS):
        case = window(seed, dtype, step=RateInVelocity(*step), velocity=True, learned=False)
        for check in (check_local, check_global):
            right, wrong = (plain_rnn.window_update(case._replace(step=each)) for each in (case.step, step))
            assert max(ratio.max() for ratio in check(case, right).values()) <= 1
            assert max(ratio.max() for ratio in check(case, wrong).values()) > 1
    for seed in range(3):
        run = random_run(RandomDraw(seed), "float32", abilities(KerasStyle()))
        assert judge(trace_port(KerasStyle(), run)).passed


def ratio_of_step(step, ratio, update):
    """The largest ratio at L1 of θ after an update from θ, the gradient ratio · θ, and the velocity ratio · θ."""
    case = window(3, "float32", step=step, H=8, O=8, learned=False, velocity=True, objective=Objective())
    report, theta = plain_rnn.window_update(case), case.params.W_hy
    g = v = (theta * np.float32(ratio)).astype(np.float32)
    new = {"dW_hy": g, "W_hy": update(theta, g, v)} | ({"vW_hy": v} if step.momentum else {})
    return check_local(case, report | new)["W_hy"].max()


def test_sum_of_three_terms_has_any_order():
    """Keras on torch adds −ηg to θ before μv; θ rounds twice then, which is allowed for that form alone."""
    step, rate, mu = Step(0.5, 0.9, nesterov=True), np.float32(0.5), np.float32(0.9)
    found = ratio_of_step(RateInVelocity(*step), 0.01, lambda theta, g, v: (theta - rate * g) + mu * v)
    assert 0.5 < found <= 1
    assert ratio_of_step(step, 0.01, lambda theta, g, v: (theta - rate * g) - rate * mu * v) > 1


def test_rate_may_be_kept_in_double():
    """Then η is off by an ulp of float32, where θ and the step cancel; in float64 it may not be rounded to float32."""
    rate, wrong = 0.5 * (1 + 0.99 * 2.0**-24), np.float32(0.5 * (1 + 8 * 2.0**-24))
    step = Step(rate)
    assert ratio_of_step(step, 2.0, lambda theta, g, v: theta - (rate * g.astype(float)).astype(np.float32)) <= 1
    assert ratio_of_step(step, 2.0, lambda theta, g, v: theta - wrong * g) > 1
    case = window(3, "float64", step=step, learned=False, objective=Objective(), bias=False)
    report = plain_rnn.window_update(case._replace(step=Step(0.5)))
    assert max(check_local(case, report)[name].max() for name in ("W_xh", "W_hh", "W_hy")) > 1e5
