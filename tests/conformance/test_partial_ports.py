"""Ports that implement less than a window and its step, or two hidden biases; public RNNs, most of which are such.

Each is given what it has, and its numbers are checked, in windows and in runs.
"""

import numpy as np
import pytest
from hypothesis import Phase, settings
from ports_for_tests import Layer, Untransposed
from public_rnns import DeepLearning4J, DennyBritz
from windows import window

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance import plain_rnn, properties
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.properties import Violation, WorstRatios, check_port, profile
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe
from numpy_rnn.conformance.traces.drive import trace_port
from numpy_rnn.conformance.traces.judge import judge

FEW = settings(profile("repeatable"), max_examples=10, phases=[Phase.generate])
PORTS = {
    "dy": ((), ("given_dy",)),
    "dy and intermediates": ((), ("given_dy", "intermediates")),
    "no step": (("step",), ()),
    "dy, no step, zero h_0": (("step", "h_0", "bias"), ("given_dy",)),
    "zero h_0": (("h_0",), ("intermediates",)),
    "no older steps": (("older steps",), ("intermediates",)),
    "weight decay": (("momentum", "max_norm"), ("sgd_options",)),
    "max_norm": (("momentum", "weight_decay"), ("sgd_options", "intermediates")),
    "two biases": ((), ("two_biases",)),
    "two biases and intermediates": ((), ("two_biases", "intermediates")),
}


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch):
    monkeypatch.setattr(properties, "run_count", lambda windows: 3)


@pytest.mark.parametrize("number", range(len(PORTS)), ids=PORTS)
def test_partial_port_passes_unless_it_is_wrong(number):
    """In both dtypes by turns, and wrong at all levels by turns: what a port is given does not depend on these."""
    lacks, has = list(PORTS.values())[number]
    dtype = Layer.dtypes[number % 2]
    levels = ["L1", "L2", "L3"][1 - ("intermediates" in has) :]
    worst = WorstRatios()
    for level in levels:
        check_port(level, Layer(*lacks, has=has), dtype, FEW, worst=worst)
    names = set(worst.worst["L2"][dtype])
    assert ("loss" in names) == ("given_dy" not in has)
    assert ("W_hh" in names) == ("step" not in lacks)
    assert {"dW_xh", "dW_hh", "dW_hy"} <= names
    with pytest.raises(Violation):
        check_port(levels[number % len(levels)], Untransposed(*lacks, has=has), dtype, FEW)


def run_of(k1=5, k2=5, epochs=1, step=None, **changes):
    """A run of one sequence of 20 steps."""
    recipe = {"T": 20, "K": 20, "B": 1, "D": 1, "H": 4, "O": 3, "objective": Objective(), "bias": False, "gain": 0.5}
    recipe |= dict.fromkeys(("classes", "class_inputs", "weights", "learned", "velocity", "subnormal"), False)
    case = window(3, **recipe | {"step": step or Step(0.01), "no_h_0": False, "logits": 1.0} | changes)
    options = RunOptions(Schedule(k1, k2, epochs), case.objective, case.step)
    return Run(case.params, case.x, case.target, np.zeros((case.x.shape[1], 4)), case.weights, options)


def test_run_of_a_partial_port_is_judged():
    """The loss and the step that the port does not have are computed for it."""
    for port, right in ((Layer("step", has=("given_dy",)), True), (Untransposed("step", has=("given_dy",)), False)):
        judgement = judge(trace_port(port, run_of()))
        assert judgement.passed == right
        assert {"loss", "dW_hh", "W_hh"} <= set(judgement.worst)
    cross_entropy = run_of(objective=Objective("tanh", "cross_entropy", "mean"), classes=True, weights=True)
    for port, right in ((Layer(has=("given_dy",)), True), (Untransposed(has=("given_dy",)), False)):
        assert judge(trace_port(port, cross_entropy)).passed == right


REFUSED = {  # what a port lacks or does not declare, and a run that needs it
    "h_0": {},
    "older steps": {"k2": 7},
    "many losses": {},
    "batch": {"B": 2},
    "bias": {"bias": True},
    "sum": {},
    "tanh": {},
    "momentum": {"step": Step(0.1, 0.5)},
    "dampening": {"step": Step(0.1, 0.5, 0.5)},
    "nesterov": {"step": Step(0.1, 0.5, nesterov=True)},
    "weight_decay": {"step": Step(0.1, weight_decay=0.1)},
    "max_norm": {"step": Step(0.1, max_norm=1.0)},
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


def test_run_of_one_window_starts_from_zero():
    recorded = trace_port(Layer("h_0", has=("intermediates",)), run_of(k1=20, k2=20))
    assert judge(recorded).passed


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


# -- two hidden biases -----------------------------------------------------------------------------------------------


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
    """With clipping, weight decay and momentum: the norm includes both gradients."""
    for seed in range(20):
        case = random_recipe(RandomDraw(seed), "float64")._replace(bias=True, two_biases=True).case()
        ratios = check_global(case, plain_rnn.window_update(case))
        assert {"db_hh", "b_hh"} <= ratios.keys()
        assert all(ratio.max() <= 1 for ratio in ratios.values())


def test_run_starts_with_a_second_bias_of_zero():
    recorded = trace_port(Layer(has=("intermediates", "two_biases")), run_of(epochs=2, bias=True))
    assert not recorded.run.params.b_hh.any()
    assert judge(recorded).passed
    assert not judge(recorded.replace({"b_hh": recorded.updates["b_hh"] + 1e-9})).passed


# -- public RNNs that people wrote by hand, and that truncate otherwise ------------------------------------------------

BACK, NEWEST = "each loss goes back over 5 steps (bptt_truncate = 4)", "the backward pass ends after the newest 3 steps"
VERDICTS = [(DennyBritz(), BACK), (DeepLearning4J(), ""), (DeepLearning4J(with_first=True), NEWEST)]


@pytest.mark.parametrize(("port", "hint"), VERDICTS)
def test_truncation_of_public_rnn_is_named(port, hint):
    with pytest.raises(Violation) as error:
        check_port("L2", port, port.dtypes[-1], FEW)
    message = str(error.value).partition("; the largest error")[0]
    assert ": dW_xh (B4) at [" in message
    assert message.partition("; looks like: ")[2] == hint
