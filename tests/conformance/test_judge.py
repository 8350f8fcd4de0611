"""Whole traces: right ones pass, and a fault planted anywhere is named where it is."""

import json
from functools import cache

import numpy as np
import pytest
from port_cases import TENSORS

import numpy_rnn.reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.trace import BY_STEP, ROWS
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.drive import trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, judge
from numpy_rnn.conformance.traces.trace_format import start_of, trace_errors

pytestmark = pytest.mark.with_reference
CONFIGURATION = Configuration(k1=2, k2=5, epochs=2, bias=True, dtype="float64", hidden_size=4)
OPTIONS = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "max_norm": 0.5, "learn_initial_state": True}
EVERYTHING = CONFIGURATION.changed(**OPTIONS)


@cache
def made(configuration, rnn):
    return trace_of(rnn, prepare(configuration), configuration)


def trace(configuration=CONFIGURATION, rnn=numpy_rnn):
    return dict(made(configuration, rnn))


def black_box(arrays):
    return {name: array for name, array in arrays.items() if name not in BY_STEP}


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_runs_pass_at_every_level(rnn, dtype):
    generator = np.random.default_rng(21)
    for number in range(12):
        arrays = trace_of(rnn, *random_run(generator, dtype, has=CAPABILITIES if number % 5 else ()))
        assert trace_errors(arrays) == []
        for judged in (arrays, black_box(arrays)) if number % 4 == 0 else (arrays,):
            judgement = judge(judged)
            assert judgement.passed, judgement.first


@pytest.mark.parametrize("changes", [{}, OPTIONS], ids=["plain", "everything"])
def test_every_option_is_judged_right(rnn, changes):
    """Of one network and of ensembles, with stages and by the oracle."""
    short = Configuration(k1=7, k2=9, epochs=2, hidden_size=3, **changes)
    for configuration in (
        CONFIGURATION.changed(**changes),
        short.changed(k1=4, networks=2),
        short.changed(learning_rate=(0.1, 0.02)),
        short.changed(learning_rate=(0.1, 0.02), networks=3),
    ):
        arrays = trace(configuration, rnn)
        assert trace_errors(arrays) == []
        for judgement in (judge(arrays), judge(black_box(arrays))):
            assert judgement.passed, judgement.first
        checked = set(judge(arrays).worst)
        assert {"dx", "dh_0"} <= checked
        assert ("vW_hh" in checked) == ("h_0" in checked) == bool(changes)


@pytest.mark.parametrize("seed", range(12))
def test_a_run_can_be_repeated_from_its_trace_and_by_a_driven_port(seed):
    """To the last bit: by the package, and by its port, which is called once per update."""
    run = random_run(np.random.default_rng(seed), has=CAPABILITIES)
    arrays = trace_of(numpy_rnn.reference, *run)
    again = trace_of(numpy_rnn.reference, *start_of(arrays))
    driven = trace_of_port(PackagePort(numpy_rnn.reference), *run)
    assert driven.keys() == again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(driven[name], array), name
        assert name == "configuration" or np.array_equal(again[name], array), name


@pytest.mark.parametrize("changes", [{"networks": 2}, {"learning_rate": (0.1, 0.3), "networks": 3}])
def test_a_run_of_an_ensemble_can_be_repeated_from_its_trace(changes):
    arrays = trace(EVERYTHING.changed(**changes))
    again = trace_of(numpy_rnn, *start_of(arrays))
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays if name != "configuration")


class Bare(PackagePort):
    """A right port with some of the capabilities, which is given and reports nothing beyond them."""

    def __init__(self, *capabilities):
        super().__init__(numpy_rnn)
        self.capabilities = capabilities

    def window_update(self, params, *arrays, **options):
        assert "sgd_options" in self.capabilities or not set(options) & {*SgdOptions._fields, "velocity"}
        assert "learned_h_0" in self.capabilities or "h_0" not in params
        report = super().window_update(params, *arrays, **options)
        left_out = {*(() if "intermediates" in self.capabilities else BY_STEP)}
        if "input_gradients" not in self.capabilities:
            left_out |= {"dx"} | ({"dh_0"} if "h_0" not in params else set())
        return {name: array for name, array in report.items() if name not in left_out}


@pytest.mark.parametrize("capabilities", [(), *((name,) for name in CAPABILITIES), CAPABILITIES[1:], CAPABILITIES[2:]])
def test_ports_of_every_capability_are_driven_and_judged_right(capabilities):
    changes = OPTIONS if "sgd_options" in capabilities else {}
    learns = "learned_h_0" in capabilities
    configuration = CONFIGURATION.changed(**changes | {"learn_initial_state": learns})
    arrays = trace_of_port(Bare(*capabilities), prepare(configuration), configuration)
    assert trace_errors(arrays) == []
    assert ("dx" in arrays) == ("input_gradients" in capabilities)
    assert ("h_0" in arrays) == learns
    assert ("dh_0" in arrays) == (learns or "dx" in arrays)
    judgement = judge(arrays)
    assert judgement.passed, judgement.first
    assert set(judgement.worst) == {"window", "initial"} | set(arrays) & set(CAUSAL_ORDER)


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"weight_decay": 0.1}, "'sgd_options': choose a run without momentum, weight decay and clipping"),
     ({"learn_initial_state": True}, "'learned_h_0': choose a run without a learned initial state")],
)  # fmt: skip
def test_a_port_is_not_asked_for_what_it_does_not_have(changes, what):
    configuration = CONFIGURATION.changed(**changes)
    with pytest.raises(InputError, match=f"numpy_rnn does not declare {what}"):
        trace_of_port(Bare(), prepare(configuration), configuration)


def test_what_a_port_reports_unasked_is_left_out_of_its_trace():
    """So that a trace has the same keys in all updates, whatever a port adds to some of them."""

    class Fickle(Bare):
        def window_update(self, params, *arrays, **options):
            self.calls = getattr(self, "calls", 0) + 1
            report = PackagePort.window_update(self, params, *arrays, **options)
            return report if self.calls % 2 else {n: a for n, a in report.items() if n not in (*BY_STEP, "dx", "dh_0")}

    arrays = trace_of_port(Fickle(), prepare(CONFIGURATION), CONFIGURATION)
    assert not set(ROWS) & set(arrays)
    assert judge(arrays).passed


UPDATES = [0, 1, 7, 10, 19]  # of these, the windows of 0, 1 and 10 start from the learned state


def moved(arrays, tensor, update, step=-1):
    """The trace with the last element of one tensor moved in this update, in this step of the window; its place."""
    wrong = np.array(arrays[tensor])
    element = (update, *(size - 1 for size in wrong.shape[1:]))
    if tensor in ROWS:
        ends = np.cumsum(arrays["stop"] - arrays["start"])
        steps = arrays["stop"][update] - arrays["start"][update]
        element = (ends[update] - steps + step % steps, *element[1:])
    wrong[element] += 1e-6
    return arrays | {tensor: wrong}, element


@pytest.mark.parametrize("tensor", TENSORS)
def test_a_planted_fault_is_named(tensor):
    """One element moved in one update: that update, tensor, step and element, and nothing before it."""
    arrays = trace(EVERYTHING)
    assert [index for index in UPDATES if arrays["start"][index] == 0] == [0, 1, 10]
    for update in UPDATES:
        for step in (-1, -2) if tensor in ROWS else (None,):
            wrong, element = moved(arrays, tensor, update, step)
            first = judge(wrong).first
            place = arrays["epoch"][update], arrays["number"][update]
            assert (first.tensor, first.epoch, first.number) == (tensor, *place), (update, step)
            assert first.reported == wrong[tensor][element]
            assert abs(first.reported - first.expected - 1e-6) < 1e-12
            assert first.ratio > 1e3
            steps = arrays["stop"][update] - arrays["start"][update]
            assert (first.step, first.element) == (None if step is None else steps + step + 1, element[1:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("h", 0), ("a", 1)),
        (("a", 1), ("h", 1)),
        (("da", 4), ("dh", 3)),
        (("dh", 3), ("da", 3)),
        (("dh", 4), ("dW_xh", 0)),
    ],
)
def test_of_two_faults_in_an_update_the_one_that_is_computed_first_is_named(one, other):
    """The backward pass runs from the last step to the first."""
    (one, step), (other, other_step) = one, other
    arrays, _ = moved(trace(EVERYTHING), other, 7, other_step)
    first = judge(moved(arrays, one, 7, step)[0]).first
    assert (first.tensor, first.number, first.step) == (one, 8, step + 1)


def test_black_box_faults_are_named():
    arrays = black_box(trace(EVERYTHING))
    for tensor in ("loss", "dx", "dh_0", "dW_hh", "vW_hh", "vb_h", "b_y"):
        wrong = np.array(arrays[tensor])
        row = int((arrays["stop"] - arrays["start"])[:3].sum()) if tensor == "dx" else 3
        wrong[(row, *(0,) * (wrong.ndim - 1))] += 1e-6
        first = judge(arrays | {tensor: wrong}).first
        assert (first.tensor, first.number) == (tensor, 4)


def test_a_fault_of_one_network_of_an_ensemble_is_named_by_the_oracle():
    arrays = black_box(trace(CONFIGURATION.changed(networks=3, epochs=1)))
    wrong = np.array(arrays["dW_hh"])
    wrong[4, 2, 1, 0] += 1e-6
    first = judge(arrays | {"dW_hh": wrong}).first
    assert (first.tensor, first.number, first.element) == ("dW_hh", 5, (2, 1, 0))


# What each wrong setting is first seen in: the trace is right, and judged as the run that it says it was.
UNTRUE = {
    "momentum": ({"nesterov": False}, {"momentum": 0.8}, "vW_xh", 2),
    "dampening": ({"nesterov": False}, {"dampening": 0.1}, "vW_xh", 2),
    "nesterov": ({}, {"nesterov": False}, "W_xh", 1),
    "weight decay": ({}, {"weight_decay": 0.02}, "vW_xh", 1),
    "clipping": ({}, {"max_norm": None}, "vW_xh", None),
    "learning rate": ({}, {"learning_rate": 0.2}, "W_xh", 1),
}


@pytest.mark.parametrize(("really", "changes", "tensor", "number"), UNTRUE.values(), ids=UNTRUE)
def test_the_options_are_those_of_the_configuration(really, changes, tensor, number):
    """And a parameter's first update has no velocity: there momentum and dampening do not show."""
    arrays = trace(EVERYTHING.changed(**really))
    renamed = json.loads(arrays["configuration"].tobytes()) | changes
    first = judge(arrays | {"configuration": np.bytes_(json.dumps(renamed))}).first
    assert first.tensor == tensor
    assert number in (None, first.number)


def test_learning_rates_are_those_of_their_networks():
    configuration = CONFIGURATION.changed(learning_rate=(0.1, 0.2), networks=3, epochs=1)
    arrays = trace(configuration)
    assert arrays["W_hh"].shape[1:3] == (2, 3)

    def first(rates):
        renamed = json.loads(arrays["configuration"].tobytes()) | {"learning_rate": rates}
        return judge(arrays | {"configuration": np.bytes_(json.dumps(renamed))}).first

    assert first([0.1, 0.2]) is None
    assert first([[0.1], [0.2]]) is None
    assert first([[0.1] * 3, [0.2] * 3]) is None
    assert (first([0.2, 0.2]).tensor, first([0.2, 0.2]).element[0]) == ("W_xh", 0)
    assert (first([0.1, 0.1]).tensor, first([0.1, 0.1]).element[0]) == ("W_xh", 1)


def test_the_learned_state_enters_as_it_stands():
    """A window that begins with the series is entered by the latest value, to the last bit; others leave it alone."""
    arrays = trace(EVERYTHING)
    late = np.array(arrays["initial"])
    late[10] = arrays["initial_h_0"]
    first = judge(arrays | {"initial": late}).first
    assert (first.tensor, first.epoch, first.number) == ("initial", 2, 1)
    for name in ("h_0", "vh_0"):
        moved = np.array(arrays[name])
        moved[5:, 0, 1] = np.nextafter(moved[5:, 0, 1], 1)
        first = judge(arrays | {name: moved}).first
        assert (first.tensor, first.number, first.element) == (name, 6, (0, 1))
        assert first.reported == moved[5, 0, 1]
        assert first.expected == arrays[name][4, 0, 1]


def test_without_input_gradients_the_learned_states_gradient_counts_where_it_enters():
    arrays = trace(EVERYTHING)
    del arrays["dx"]
    silent = np.array(arrays["dh_0"])
    silent[arrays["start"] > 0] = 0
    assert judge(arrays | {"dh_0": silent}).passed
    silent[10] = 0
    first = judge(arrays | {"dh_0": silent}).first
    assert (first.tensor, first.epoch, first.number) == ("dh_0", 2, 1)


def test_a_wrong_state_is_exactly_wrong():
    """The state that enters is not rounded: one unit in the last place is a fault."""
    arrays = trace()
    wrong = np.array(arrays["initial"])
    wrong[5, 0, 2] = np.nextafter(wrong[5, 0, 2], 1)
    first = judge(arrays | {"initial": wrong}).first
    assert (first.tensor, first.number, first.element) == ("initial", 6, (0, 2))


def test_a_wrong_schedule_is_named():
    arrays = trace()
    start = ("format", "configuration", "x", "target")
    given = {name: array for name, array in arrays.items() if name in start or name.startswith("initial_")}
    short = given | {name: array[:-3] for name, array in black_box(arrays).items() if name not in given}
    first = judge(short).first
    assert (first.tensor, first.epoch, first.number, first.expected) == ("window", 2, 8, 16)
    renamed = json.loads(arrays["configuration"].tobytes()) | {"k2": 4}
    first = judge(arrays | {"configuration": np.bytes_(json.dumps(renamed))}).first
    assert (first.tensor, first.number, first.element, first.expected) == ("window", 3, (0,), 2)


def test_trace_faults_name_what_is_wrong():
    right = trace()

    def faults(**changes):
        return trace_errors({name: array for name, array in (right | changes).items() if array is not None})

    assert faults() == []
    assert trace_errors(black_box(right)) == []
    assert faults(x=None) == ["x is missing"]
    assert faults(dW_hh=None) == ["dW_hh is missing"]
    assert faults(a=None) == ["a is missing"]
    assert faults(configuration=np.bytes_(b"no")) == ["configuration is not JSON text"]
    assert faults(configuration=np.bytes_(b"[" * 100_000)) == ["configuration is not JSON text"]
    assert faults(configuration=np.bytes_(b'["k1"]'))[0].startswith("configuration is not a JSON object: expected")
    for name in ("initial_W_xh", "initial_W_hh", "initial_W_hy", "x", "target", "initial_h_0"):
        for value in (np.array(1.0), np.array("text"), np.array(["a", "b"]), np.zeros((0, 1, 1))):
            assert faults(**{name: value})[0].startswith(f"{name} has shape {value.shape}: expected ")
    for name in ("epoch", "number"):
        for value in (-1, 0, 21):
            wrong = right[name].copy()
            wrong[1] = value
            assert faults(**{name: wrong}) == [f"{name}[1] is {value}: expected 1 to 20, one per update"]
    assert faults(configuration=np.bytes_(b"{}"))[0] == "configuration has no k1"
    assert faults(h=right["h"][:-1])[0].startswith("h has shape (")
    assert faults(y=right["y"].astype(np.float32)) == ["y is float32: expected float32 or float64, the same everywhere"]
    bad = right["da"].copy()
    bad[4, 0, 1] = np.nan
    assert faults(da=bad) == ["da[4, 0, 1] is nan: expected a finite number"]
    assert "integers" in faults(epoch=right["epoch"].astype(float))[0]
    assert faults(start=right["start"] + 50) == ["a window has no steps, or reaches beyond the series"]
    assert "has no step with a loss" in faults(loss_start=right["stop"])[0]
    assert "do not fit" in faults(target=right["target"][:-1])[0]
    assert faults(x=right["x"][:, 0, 0]) == [f"x has shape {(20,)}: expected two axes or more"]
    assert faults(dh_0=None) == ["dh_0 is missing"]
    assert faults(dx=None) == []
    assert faults(dx=None, dh_0=None) == []
    for weights in (np.full((20, 1), -1.0), np.ones((19, 1))):
        assert faults(weights=weights)[0].startswith(f"weights has shape {weights.shape}: expected (20, 1), numbers of")
    assert faults(vW_xh=right["dW_xh"]) == ["vW_xh is present, but the configuration excludes it"]


def test_trace_faults_of_a_run_with_every_option():
    right = trace(EVERYTHING)

    def faults(**changes):
        return trace_errors({name: array for name, array in (right | changes).items() if array is not None})

    assert faults() == []
    for name in ("vW_xh", "vb_h", "vh_0", "h_0", "dh_0", "initial_h_0"):
        assert faults(**{name: None}) == [f"{name} is missing"]
    assert faults(dx=None) == []
    assert faults(h_0=right["h_0"][:-1])[0].startswith("h_0 has shape (19, 1, 4): expected (20, 1, 4)")
    assert faults(vh_0=right["vh_0"] * np.nan)[0] == "vh_0[0, 0, 0] is nan: expected a finite number"
    known = json.loads(right["configuration"].tobytes())
    for changes, message in (
        ({"learn_initial_state": False}, "h_0 is present, but the configuration excludes it"),
        ({"momentum": 0.0, "nesterov": False}, "vW_xh is present, but the configuration excludes it"),
        ({"momentum": -1.0}, "the configuration is not one of a run: momentum is -1.0: expected a finite number"),
        ({"max_norm": "1"}, "the configuration is not one of a run: max_norm is '1': expected a number"),
        ({"k1": 2.0}, "the configuration is not one of a run: k1 is 2.0: expected a whole number, 1000000000 at most"),
        ({"epochs": 10**30}, "the configuration is not one of a run: epochs is 10000"),
        ({"nonlinearity": []}, "the configuration is not one of a run: nonlinearity is []: expected a text"),
        ({"nesterov": {}}, "the configuration is not one of a run: nesterov is {}: expected true or false"),
        ({"learning_rate": [["a"]]}, "the configuration is not one of a run: the learning rates are not numbers"),
        ({"k2": 1}, "the configuration is not one of a run: k2 is 1 and k1 is 2: expected k2 ≥ k1"),
        ({"nonlinearity": "gelu"}, "the configuration is not one of a run: nonlinearity is 'gelu'"),
        ({"learning_rate": [0.1, 0.2]}, "the configuration is not one of a run: learning rates of shape (2,) do not"),
        ({"learning_rate": float("nan")}, "the configuration is not one of a run: the learning rate is nan"),
    ):
        found = faults(configuration=np.bytes_(json.dumps(known | changes)))
        assert found[0].startswith(message), found
