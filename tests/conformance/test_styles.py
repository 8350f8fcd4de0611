"""Right code in the styles of 14 practitioners passes at once, and adapters make ports of theirs.

Languages that are not installed everywhere are programs in Python that speak the protocol as these would.
"""

import importlib
import shlex
import sys
from importlib.util import find_spec

import numpy as np
import program_styles
import pytest
import styles
from hypothesis import Phase, settings
from public_rnns import MinCharRnn
from windows import window

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance import plain_rnn, properties
from numpy_rnn.conformance.adapters import function_port, jax_port, keras_port, torch_port
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.bounds.oracle import oracle
from numpy_rnn.conformance.case import RateInVelocity
from numpy_rnn.conformance.ports.port import abilities
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import Identity
from numpy_rnn.conformance.properties import Violation, check_port, profile
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.traces.drive import trace_port
from numpy_rnn.conformance.traces.judge import judge

FEW = settings(profile("repeatable"), max_examples=8, phases=[Phase.generate])
# Keras' backends read tensors in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


SLOW = (pytest.mark.slow, pytest.mark.needs_torch)


def with_torch(make):
    """A port that is made when torch may be imported."""
    return pytest.param(make, marks=pytest.mark.needs_torch)


def modules():
    return importlib.import_module("torch_styles")


def jax_style():
    jax = importlib.import_module("jax")

    def loss(p, x, target, h_0):
        def step(h, x_t):
            h = jax.numpy.tanh(x_t @ p["Wx"] + h @ p["Wh"] + p["bh"])
            return h, h @ p["Wy"] + p["by"]

        return jax.numpy.mean((jax.lax.scan(step, h_0, x)[1] - target) ** 2)

    names = {"W_xh": "Wx", "W_hh": "Wh", "W_hy": "Wy", "b_h": "bh", "b_y": "by"}

    def update(p, g, rate):
        return {name: theta - theta.dtype.type(rate) * g[name] for name, theta in p.items()}

    shape = {"T": 2, "B": 3, "D": 4, "H": 5, "O": 1}  # each is compiled
    return jax_port(loss, "mse", names=names, step=update, layout="rows TBN BH", sizes=shape)


def keras_style():
    keras = importlib.import_module("keras")
    rnn = keras.layers.SimpleRNN(4, return_sequences=True)
    return keras_port(keras.Sequential([keras.Input((None, 3)), rnn, keras.layers.Dense(2)]))


def columns_style():
    return function_port(styles.columns, "sum_of_squares")


def char_style():
    return function_port(styles.loss_fun, "cross_entropy", classes=True, dtypes=["float64"], lacks=["large outputs"])


STYLES = {
    "lists": styles.Lists, "einsum": styles.Einsum, "doubles": styles.Doubles, "Keras' step": styles.KerasStyle,
    "always Adagrad": styles.AlwaysAdagrad, "min-char-rnn": MinCharRnn, "loss_fun": char_style,
    "columns": columns_style,
    "nn.RNN": with_torch(lambda: torch_port(modules().Model())),
    "nn.RNN of any size": with_torch(lambda: torch_port(modules().Model)),
    "nn.RNNCell": with_torch(lambda: torch_port(modules().Cells, modules().cross_entropy(), optimizer=None)),
    "last output": with_torch(lambda: torch_port(modules().Last)),
}  # fmt: skip
STYLES |= {"JAX": jax_style} if find_spec("jax") else {}
STYLES |= {"Keras": pytest.param(keras_style, marks=SLOW)} if find_spec("keras") else {}


@pytest.mark.parametrize("make", STYLES.values(), ids=STYLES)
def test_right_code_passes_at_once(make, monkeypatch):
    """At every level that it reaches, and what it states is consistent."""
    monkeypatch.setattr(properties, "run_count", lambda windows: 3)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    port = make()
    stated = Identity(**{name: getattr(port, name) for name in Identity._fields if hasattr(port, name)})
    assert stated.fault() is None
    for level in ["L1", "L2", "L3"]["intermediates" not in abilities(port).capabilities :]:
        check_port(level, port, port.dtypes[-1], FEW)


@pytest.mark.slow
@pytest.mark.parametrize("style", program_styles.HELLOS)
def test_program_in_the_style_of_a_language_passes(style, monkeypatch):
    monkeypatch.setattr(properties, "run_count", lambda windows: 2)
    with ProgramPort(shlex.join([sys.executable, "-S", program_styles.__file__, style])) as port:
        for level in ["L1", "L2", "L3"]["intermediates" not in port.capabilities :]:
            check_port(level, port, "float64", FEW)


# -- what adapters find out, and refuse ------------------------------------------------------------------------------


@pytest.mark.needs_torch
def test_module_is_described():
    found = {name: torch_port(getattr(modules(), name)) for name in ("Model", "Cells", "Last")}
    assert {port.name for port in found.values()} == {
        "Model (x BTD, state 1BH)", "Cells (x TBD, state BH)", "Last (x BTD, state none)"
    }  # fmt: skip
    assert set(found["Model"].lacks) == {"relu", "sum", "squared_error", "no biases"} - {"squared_error"}
    assert {"h_0", "many losses", "tanh"} <= set(found["Last"].lacks)
    assert abilities(torch_port(modules().Model())).sizes == ({"D": 3, "H": 5, "O": 2},)
    with pytest.raises(InputError, match=r"Sequential: expected one nn.RNN or nn.RNNCell and one nn.Linear"):
        torch_port(modules().nothing())
    with pytest.raises(InputError, match="'huber' is not known: expected half_sum_of_squares"):
        torch_port(modules().Model, lambda y, target: 0, "huber")


def test_layout_of_a_function_is_found():
    assert columns_style().name == "columns (columns TNB HB)"
    assert char_style().name == "loss_fun (columns TN HB)"
    assert {"batch", "no biases", "vector_inputs", "step"} <= set(char_style().lacks)
    for layout in ("rows TBN BH", "rows BTN BH"):
        axes = (1, 0, 2) if "BTN" in layout else (0, 1, 2)

        def rows(p, x, target, h_0, axes=axes):
            report = styles.Layer().window_update(
                p, x.transpose(axes), h_0, target.transpose(axes), learning_rate=0, reduction="sum"
            )
            return report["loss"], {name: report["d" + name] for name in p}

        assert function_port(rows).name == f"rows ({layout})"
    with pytest.raises(InputError, match="broken cannot be called in any known way: rows TBN BH: KeyError: 'U'"):
        function_port(lambda p, x, target, h_0: p["U"], name="broken")


WRONG = {
    "loss without the half": lambda: function_port(styles.columns, "half_sum_of_squares"),
    "a wrong gradient": lambda: function_port(styles.untransposed, "sum_of_squares"),
    "tanh of the outputs": with_torch(lambda: torch_port(modules().Tanh)),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_wrong_code_is_refused_through_an_adapter(make):
    port = make()
    with pytest.raises(Violation):
        check_port("L2", port, port.dtypes[-1], FEW)


# -- right code that was refused -------------------------------------------------------------------------------------

STEPS = (Step(0.1, 0.9), Step(0.01, 0.5, nesterov=True), Step(0.3, 0.9, weight_decay=0.1, max_norm=0.5), Step(0.0, 0.9))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_velocity_with_the_rate_in_it(dtype):
    """It is −η times that of torch. The bounds hold, and the oracle's parameters are those of the other form."""
    for seed, step in enumerate(STEPS):
        case = window(seed, dtype, step=RateInVelocity(*step), velocity=True, learned=False)
        report = plain_rnn.window_update(case)
        for check in (check_local, check_global):
            assert max(ratio.max() for ratio in check(case, report).values()) <= 1
            wrong = plain_rnn.window_update(case._replace(step=step))
            assert max(ratio.max() for ratio in check(case, wrong).values()) > 1
        if rate := float(np.dtype(dtype).type(step.learning_rate)):
            velocity = type(case.velocity)(*(None if v is None else v / -rate for v in map(_float64, case.velocity)))
            other = oracle(case._replace(step=step, velocity=velocity))
            for name, value in oracle(case).items():
                expected = other[name].high * (-rate if name.startswith("v") else 1)
                np.testing.assert_allclose(value.high, expected, 1e-12, 1e-14)


def _float64(array):
    return None if array is None else array.astype(np.float64)


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rate_may_be_kept_in_double(dtype):
    """Then η is off by an ulp of float32, where θ and the step cancel; in float64 it may not be rounded to float32."""
    rate = 0.5 * (1 + 0.99 * 2.0**-24)
    if dtype == "float32":
        found = ratio_of_step(Step(rate), 2.0, lambda theta, g, v: theta - (rate * g.astype(float)).astype(np.float32))
        assert found <= 1
        wrong = 0.5 * (1 + 8 * 2.0**-24)
        assert ratio_of_step(Step(rate), 2.0, lambda theta, g, v: theta - np.float32(wrong) * g) > 1
    else:
        case = window(3, "float64", step=Step(rate), learned=False, objective=Objective(), bias=False)
        report = plain_rnn.window_update(case._replace(step=Step(0.5)))
        assert max(check_local(case, report)[name].max() for name in ("W_xh", "W_hh", "W_hy")) > 1e5


def test_run_of_a_port_with_the_rate_in_the_velocity_is_judged():
    port = styles.KerasStyle()
    for seed in range(3):
        run = random_run(RandomDraw(seed), "float32", abilities(port))
        assert judge(trace_port(port, run)).passed
