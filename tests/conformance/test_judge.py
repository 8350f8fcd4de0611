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
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces.drive import trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, judge
from numpy_rnn.conformance.traces.trace_format import first_updates, start_of, trace_errors

CONFIGURATION = Configuration(k1=2, k2=5, epochs=2, bias=True, dtype="float64", hidden_size=4)
OPTIONS = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "max_norm": 0.5, "learn_initial_state": True}
EVERYTHING = CONFIGURATION.changed(**OPTIONS)


@cache
def made(configuration, rnn):
    return trace_of(rnn, prepare(configuration), configuration)


def trace(configuration=CONFIGURATION, rnn=numpy_rnn):
    return dict(made(configuration, rnn))


def reconfigured(arrays, **changes):
    """The trace of a run that says that it was another one."""
    known = json.loads(arrays["configuration"].tobytes()) | changes
    return arrays | {"configuration": np.bytes_(json.dumps(known))}


def assert_passes(arrays):
    assert trace_errors(arrays) == []
    judgement = judge(arrays)
    assert judgement.passed, judgement.first
    assert set(judgement.worst) == {"window", "initial"} | set(arrays) & set(CAUSAL_ORDER)


def black_box(arrays):
    return {name: array for name, array in arrays.items() if name not in BY_STEP}


SHORT = Configuration(k1=7, k2=9, epochs=2, hidden_size=3)
VARIANTS = (
    CONFIGURATION,
    EVERYTHING,
    SHORT.changed(networks=2, **OPTIONS),
    SHORT.changed(learning_rate=(0.1, 0.02)),
    SHORT.changed(learning_rate=(0.1, 0.02), networks=3, **OPTIONS),
)


@pytest.mark.with_reference
def test_right_runs_pass(rnn):
    for configuration in VARIANTS:
        assert_passes(trace(configuration, rnn))
    generator = np.random.default_rng(21)
    for _ in range(12):
        assert_passes(trace_of(rnn, *random_run(generator, has=CAPABILITIES)))


def test_right_runs_pass_by_the_oracle():
    """Without intermediate values, of one network and of ensembles."""
    for configuration in VARIANTS:
        judgement = judge(black_box(first_updates(trace(configuration), 3)), whole=False)
        assert judgement.passed, judgement.first
    assert_passes(black_box(trace(VARIANTS[2])))


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


def test_a_run_of_an_ensemble_can_be_repeated_from_its_trace():
    for configuration in VARIANTS[2:]:
        arrays = trace(configuration)
        again = trace_of(numpy_rnn, *start_of(arrays))
        assert all(np.array_equal(arrays[name], again[name]) for name in arrays if name != "configuration")


# -- ports -----------------------------------------------------------------------------------------------------------


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
    learns = "learned_h_0" in capabilities
    changes = (OPTIONS if "sgd_options" in capabilities else {}) | {"learn_initial_state": learns}
    configuration = SHORT.changed(**changes)
    arrays = trace_of_port(Bare(*capabilities), prepare(configuration), configuration)
    assert_passes(arrays)
    assert ("dx" in arrays) == ("input_gradients" in capabilities)
    assert ("h_0" in arrays) == learns
    assert ("dh_0" in arrays) == (learns or "dx" in arrays)


def test_a_port_is_not_asked_for_what_it_does_not_have():
    for changes, what in (
        ({"weight_decay": 0.1}, "'sgd_options': choose a run without momentum, weight decay and clipping"),
        ({"learn_initial_state": True}, "'learned_h_0': choose a run without a learned initial state"),
    ):
        configuration = SHORT.changed(**changes)
        with pytest.raises(InputError, match=f"numpy_rnn does not declare {what}"):
            trace_of_port(Bare(), prepare(configuration), configuration)


def test_what_a_port_reports_unasked_is_left_out_of_its_trace():
    """So that a trace has the same keys in all updates, whatever a port adds to some of them."""

    class Fickle(Bare):
        def window_update(self, params, *arrays, **options):
            self.calls = getattr(self, "calls", 0) + 1
            report = PackagePort.window_update(self, params, *arrays, **options)
            return report if self.calls % 2 else {n: a for n, a in report.items() if n not in (*BY_STEP, "dx", "dh_0")}

    arrays = trace_of_port(Fickle(), prepare(SHORT), SHORT)
    assert not set(ROWS) & set(arrays)
    assert_passes(arrays)


# -- faults ----------------------------------------------------------------------------------------------------------

UPDATES = [0, 7, 10, 19]  # of these, the windows of 0 and 10 start from the learned state


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
    for update, step in zip(UPDATES, (-1, -2, -1, -2)):
        wrong, element = moved(arrays, tensor, update, step)
        first = judge(wrong).first
        place = arrays["epoch"][update], arrays["number"][update]
        assert (first.tensor, first.epoch, first.number) == (tensor, *place), (update, step)
        assert first.reported == wrong[tensor][element]
        assert abs(first.reported - first.expected - 1e-6) < 1e-12
        assert first.ratio > 1e3
        steps = arrays["stop"][update] - arrays["start"][update]
        expected_step = steps + step + 1 if tensor in ROWS else None
        assert (first.step, first.element) == (expected_step, element[1:])


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


@pytest.mark.parametrize("tensor", ["loss", "dx", "dh_0", "dW_hh", "vW_hh", "vb_h", "b_y"])
def test_a_fault_of_a_black_box_is_named(tensor):
    wrong, element = moved(black_box(first_updates(trace(EVERYTHING), 5)), tensor, 3)
    first = judge(wrong, whole=False).first
    assert (first.tensor, first.number, first.element) == (tensor, 4, element[1:])


def test_a_fault_of_one_network_of_an_ensemble_is_named_by_the_oracle():
    wrong, element = moved(black_box(trace(SHORT.changed(networks=3, dtype="float64"))), "dW_hh", 4)
    first = judge(wrong).first
    assert (first.tensor, first.epoch, first.number, first.element) == ("dW_hh", 2, 2, (2, *element[2:]))


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
    first = judge(reconfigured(trace(EVERYTHING.changed(**really)), **changes)).first
    assert first.tensor == tensor
    assert number in (None, first.number)


def test_learning_rates_are_those_of_their_networks():
    arrays = trace(SHORT.changed(learning_rate=(0.1, 0.2), networks=3))
    for rates in ([0.1, 0.2], [[0.1], [0.2]], [[0.1] * 3, [0.2] * 3]):
        assert judge(reconfigured(arrays, learning_rate=rates)).passed
    for rates, network in (([0.2, 0.2], 0), ([0.1, 0.1], 1)):
        first = judge(reconfigured(arrays, learning_rate=rates)).first
        assert (first.tensor, first.element[0]) == ("W_xh", network)


@pytest.mark.parametrize("name", ["initial", "h_0", "vh_0"])
def test_a_wrong_state_is_exactly_wrong(name):
    """The states that enter, and what windows after the first leave alone, are not rounded: one ulp is a fault."""
    arrays = trace(EVERYTHING)
    wrong = np.array(arrays[name])
    wrong[5:, 0, 1] = np.nextafter(wrong[5:, 0, 1], 1)
    first = judge(arrays | {name: wrong}).first
    assert (first.tensor, first.number, first.element) == (name, 6, (0, 1))
    assert first.reported == wrong[5, 0, 1]
    assert first.expected == arrays[name][5, 0, 1]


def test_a_window_that_begins_with_the_series_starts_from_the_latest_learned_state():
    wrong, _ = moved(trace(EVERYTHING), "initial", 10)
    wrong["initial"][10] = wrong["initial_h_0"]
    first = judge(wrong).first
    assert (first.tensor, first.epoch, first.number) == ("initial", 2, 1)


def test_without_input_gradients_the_learned_states_gradient_counts_where_it_enters():
    arrays = trace(EVERYTHING)
    del arrays["dx"]
    silent = np.array(arrays["dh_0"])
    silent[arrays["start"] > 0] = 0
    assert judge(arrays | {"dh_0": silent}).passed
    silent[10] = 0
    first = judge(arrays | {"dh_0": silent}).first
    assert (first.tensor, first.epoch, first.number) == ("dh_0", 2, 1)


def test_a_wrong_schedule_is_named():
    arrays = trace()
    short = black_box(first_updates(arrays, 17))
    first = judge(short).first
    assert (first.tensor, first.epoch, first.number, first.expected) == ("window", 2, 8, 16)
    first = judge(reconfigured(arrays, k2=4)).first
    assert (first.tensor, first.number, first.element, first.expected) == ("window", 3, (0,), 2)
