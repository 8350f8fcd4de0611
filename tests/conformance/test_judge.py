"""Whole runs: in lockstep right ones pass and a fault is named where it is; a free run drifts as rounding explains."""

import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from port_cases import TENSORS

import numpy_rnn.reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.trace import BY_STEP, ROWS
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance import comparison_report
from numpy_rnn.conformance.bounds.local_bounds import stages
from numpy_rnn.conformance.comparison import Comparison, epoch_losses
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_run
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.drive import Drift, trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, _at, judge, stacks
from numpy_rnn.conformance.traces.trace_format import first_updates, settings_of, start_of, trace_errors

CONFIGURATION = Configuration(k1=2, k2=5, epochs=2, bias=True, dtype="float64", hidden_size=4)
OPTIONS = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "max_norm": 0.5, "learn_initial_state": True}
EVERYTHING = CONFIGURATION.changed(**OPTIONS)
SHORT = Configuration(k1=7, k2=9, epochs=2, hidden_size=3)
ENSEMBLE = SHORT.changed(networks=3, dtype="float64", learning_rate=(0.1, 0.02), **OPTIONS)
OF_TWO = SHORT.changed(networks=2, **OPTIONS), SHORT.changed(learning_rate=(0.1, 0.02))
VARIANTS = (CONFIGURATION, EVERYTHING, ENSEMBLE, *OF_TWO)


@cache
def trace(configuration=CONFIGURATION, rnn=numpy_rnn):
    return trace_of(rnn, prepare(configuration), configuration)


def reconfigured(arrays, **changes):
    """The trace of a run that says that it was another one."""
    known = json.loads(arrays["configuration"].tobytes()) | changes
    return arrays | {"configuration": np.bytes_(json.dumps(known))}


def black_box(arrays):
    return {name: array for name, array in arrays.items() if name not in BY_STEP}


def assert_passes(arrays):
    assert trace_errors(arrays) == []
    judgement = judge(arrays)
    assert judgement.passed, judgement.first
    assert set(judgement.worst) == {"window", "initial"} | set(arrays) & set(CAUSAL_ORDER)


def assert_same(arrays, others):
    """To the last bit; a run that is repeated from a trace has another configuration."""
    assert arrays.keys() == others.keys()
    assert not [n for n in arrays if n != "configuration" and not np.array_equal(arrays[n], others[n])]


# -- right runs ------------------------------------------------------------------------------------------------------


@pytest.mark.with_reference
def test_right_runs_pass_and_can_be_repeated_from_their_traces(rnn):
    for configuration in VARIANTS:
        arrays = trace(configuration, rnn)
        assert_passes(arrays)
        assert_same(arrays, trace_of(rnn, *start_of(arrays)))
    generator = np.random.default_rng(21)
    for _ in range(12):
        assert_passes(trace_of(rnn, *random_run(generator, has=CAPABILITIES)))


def test_right_runs_pass_by_the_oracle():
    """Without intermediate values, of one network and of ensembles."""
    for configuration in VARIANTS:
        judgement = judge(black_box(first_updates(trace(configuration), 3)), whole=False)
        assert judgement.passed, judgement.first
    assert_passes(black_box(trace(ENSEMBLE)))


@pytest.mark.parametrize("seed", range(12))
def test_a_run_can_be_repeated_from_its_trace_and_by_a_driven_port(seed):
    """To the last bit: by the package, and by its port, which is called once per update."""
    run = random_run(np.random.default_rng(seed), has=CAPABILITIES)
    arrays = trace_of(numpy_rnn.reference, *run)
    driven = trace_of_port(PackagePort(numpy_rnn.reference), *run)
    assert driven["configuration"] == arrays["configuration"]
    assert_same(arrays, driven)
    assert_same(arrays, trace_of(numpy_rnn.reference, *start_of(arrays)))


def test_stacked_updates_have_the_bounds_of_single_ones():
    """Of every network by itself: each is clipped by its own norm, or not, and has its own learning rate."""
    arrays = trace(ENSEMBLE)
    for _, case, report in stacks(arrays, settings_of(arrays)):
        together = stages(case, report)
        # Both are sums of positive terms in float64, in another order: over the numbers of the network, and 40 besides.
        terms = sum(theta[0, 0, 0].size for theta in case.params if theta is not None) + 40
        for index in np.ndindex(together["loss"][0].shape):
            alone = stages(_at(case, index), {name: array[index] for name, array in report.items()})
            for name, (_, allowed) in alone.items():
                np.testing.assert_allclose(together[name][1][index], allowed, terms * np.finfo(float).eps, err_msg=name)


# -- ports -----------------------------------------------------------------------------------------------------------


class Bare(PackagePort):
    """A right port with some capabilities. It is given nothing beyond them; in every second update it reports more."""

    calls = 0

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
        self.calls += 1
        return report if self.calls % 2 else {name: v for name, v in report.items() if name not in left_out}


@pytest.mark.parametrize("capabilities", [(), *((name,) for name in CAPABILITIES), CAPABILITIES[1:], CAPABILITIES[2:]])
def test_ports_of_every_capability_are_driven_and_judged_right(capabilities):
    """A trace has the same keys in all updates, whatever a port adds to some of them."""
    learns = "learned_h_0" in capabilities
    changes = (OPTIONS if "sgd_options" in capabilities else {}) | {"learn_initial_state": learns}
    configuration = SHORT.changed(**changes)
    arrays = trace_of_port(Bare(*capabilities), prepare(configuration), configuration)
    assert_passes(arrays)
    intermediates, input_gradients = (name in capabilities for name in CAPABILITIES[:2])
    required = (intermediates, input_gradients, learns, learns or input_gradients)
    assert tuple(name in arrays for name in ("a", "dx", "h_0", "dh_0")) == required


def test_a_port_is_not_asked_for_what_it_does_not_have():
    for changes, what in (
        ({"weight_decay": 0.1}, "'sgd_options': choose a run without momentum, weight decay and clipping"),
        ({"learn_initial_state": True}, "'learned_h_0': choose a run without a learned initial state"),
        ({"nonlinearity": "sigmoid"}, "'sigmoid': choose a run without the logistic function"),
        ({"max_value": 1.0}, "'clip_by_value': choose a run without clipping by value"),
        ({"adagrad": True}, "'adagrad': choose a run without Adagrad"),
    ):
        configuration = SHORT.changed(**changes)
        with pytest.raises(InputError, match=f"numpy_rnn does not declare {what}"):
            trace_of_port(Bare(), prepare(configuration), configuration)


# -- faults ----------------------------------------------------------------------------------------------------------


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
    # The windows of the updates 0 and 10 start from the learned state.
    for update, step in ((0, -1), (7, -2), (10, -1), (19, -2)):
        wrong, element = moved(arrays, tensor, update, step)
        first = judge(wrong).first
        epoch, number, start, stop = (arrays[name][update] for name in ("epoch", "number", "start", "stop"))
        step = stop - start + step + 1 if tensor in ROWS else None
        assert first[:6] == (epoch, number, tensor, step, element[1:], wrong[tensor][element]), update
        assert abs(first.reported - first.expected - 1e-6) < 1e-12
        assert first.ratio > 1e3


@pytest.mark.parametrize(
    ("one", "step", "other", "other_step"),
    [("h", 0, "a", 1), ("a", 1, "h", 1), ("da", 4, "dh", 3), ("dh", 3, "da", 3), ("dh", 4, "dW_xh", 0)],
)
def test_of_two_faults_in_an_update_the_one_that_is_computed_first_is_named(one, step, other, other_step):
    """The backward pass runs from the last step to the first."""
    arrays, _ = moved(trace(EVERYTHING), other, 7, other_step)
    first = judge(moved(arrays, one, 7, step)[0]).first
    assert first[:4] == (1, 8, one, step + 1)


def test_a_fault_of_one_network_of_a_black_box_is_named():
    """By the oracle, which sees one network at a time."""
    for tensor in ("loss", "dx", "dh_0", "dW_hh", "vW_hh", "vW_hy", "W_hy"):
        wrong, element = moved(black_box(trace(ENSEMBLE)), tensor, 4)
        first = judge(wrong).first
        assert (*first[:3], first.element) == (2, 2, tensor, element[1:])


# What each wrong setting is first seen in: the trace is right, and judged as the run that it says it was.
UNTRUE = {
    "momentum": ({"nesterov": False}, {"momentum": 0.8}, "vW_xh", 2),
    "dampening": ({"nesterov": False}, {"dampening": 0.1}, "vW_xh", 2),
    "nesterov": ({}, {"nesterov": False}, "W_xh", 1),
    "weight decay": ({}, {"weight_decay": 0.02}, "vW_xh", 1),
    "clipping": ({}, {"max_norm": None}, "vW_xh", 1),
    "learning rate": ({}, {"learning_rate": 0.2}, "W_xh", 1),
}


@pytest.mark.parametrize(("really", "changes", "tensor", "number"), UNTRUE.values(), ids=UNTRUE)
def test_the_options_are_those_of_the_configuration(really, changes, tensor, number):
    """And a parameter's first update has no velocity: there momentum and dampening do not show."""
    first = judge(reconfigured(trace(EVERYTHING.changed(**really)), **changes)).first
    assert first[:3] == (1, number, tensor)


def test_learning_rates_are_those_of_their_networks():
    arrays = trace(SHORT.changed(learning_rate=(0.1, 0.2), networks=3))
    for rates in ([0.1, 0.2], [[0.1], [0.2]], [[0.1] * 3, [0.2] * 3]):
        assert judge(reconfigured(arrays, learning_rate=rates)).passed
    for rates, network in (([0.2, 0.2], 0), ([0.1, 0.1], 1)):
        first = judge(reconfigured(arrays, learning_rate=rates)).first
        assert (first.tensor, first.element[0]) == ("W_xh", network)


@pytest.mark.parametrize(("name", "update"), [("initial", 5), ("initial", 10), ("h_0", 5), ("vh_0", 5)])
def test_a_wrong_state_is_exactly_wrong(name, update):
    """The states that enter, and what windows after the first leave alone, are not rounded: one ulp is a fault. At the
    start of the series the latest learned state enters.
    """
    arrays = trace(EVERYTHING)
    wrong = np.array(arrays[name])
    wrong[update:, 0, 1] = np.nextafter(wrong[update:, 0, 1], 1)
    first = judge(arrays | {name: wrong}).first
    place = update // 10 + 1, update % 10 + 1, name, None, (0, 1)
    assert first[:7] == (*place, wrong[update, 0, 1], arrays[name][update, 0, 1])


def test_without_input_gradients_the_learned_states_gradient_counts_where_it_enters():
    arrays = {name: array for name, array in trace(EVERYTHING).items() if name != "dx"}
    silent = np.array(arrays["dh_0"])
    silent[arrays["start"] > 0] = 0
    assert judge(arrays | {"dh_0": silent}).passed
    silent[10] = 0
    assert judge(arrays | {"dh_0": silent}).first[:3] == (2, 1, "dh_0")


def test_a_wrong_schedule_is_named():
    first = judge(black_box(first_updates(trace(), 17))).first
    assert (*first[:3], first.expected) == (2, 8, "window", 16)
    first = judge(reconfigured(trace(), k2=4)).first
    assert (*first[:3], first.element, first.expected) == (1, 3, "window", (0,), 2)


# -- drift -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drift_and_spread_are_the_largest_differences_so_far(dtype, monkeypatch):
    """Of the others from the first run, and of 16 reference runs from the unmoved one; the spread is 4 u at least."""
    curves = np.ones((3, 17))
    curves[1, 2:4] += (0.5, -0.25)
    curves[2, 5] += 0.125

    def run(rnn, experiment, configuration, hooks):
        for epoch, losses in enumerate(curves, 1):
            hooks.on_epoch(epoch, losses)

    monkeypatch.setattr(drive, "run", run)
    configuration = Configuration(epochs=3, dtype=dtype)
    first, others = np.array([1.0, 2.0, 3.0]), np.array([[1.0, 2.5, 3.0], [1.0, 2.0, 2.0]])
    measured = drive.measure(first, others, prepare(configuration), configuration)
    assert measured.drift.tolist() == [0, 0.5, 1]
    assert measured.spread.tolist() == [2 * np.finfo(dtype).eps, 0.5, 0.5]
    assert measured.ratio == 2


def test_all_reference_runs_but_the_first_start_an_ulp_away():
    theta = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    copies = drive._moved(theta, np.random.default_rng(0))
    assert copies.shape == (17, 3, 4)
    assert np.array_equal(copies[0], theta)
    up, down = (copies[1:] == np.nextafter(theta, np.float32(direction)) for direction in (np.inf, -np.inf))
    assert (up | down).all()
    assert all(moved.any(axis=(1, 2)).all() for moved in (up, down))


@pytest.mark.parametrize(("drift", "passes"), [(7.9, True), (8.1, False)])
def test_a_drift_of_more_than_eight_spreads_is_an_alarm(drift, passes):
    measured = Drift(np.array([drift]), np.array([1.0]))
    comparison = Comparison(None, None, (SimpleNamespace(judgement=SimpleNamespace(passed=True)),), measured)
    assert comparison.passed is passes
    printed, explains = comparison_report._drift(measured), "explains" if passes else "does not"
    assert f"by at most {drift:.1e}; 16 runs whose initial weights differ by an ulp spread by 1.0e+00" in printed
    assert f"the largest drift / spread is {drift}, the limit 8: rounding {explains}" in printed


def test_drift_tells_rounding_from_a_fault():
    """A run that starts an ulp away drifts as rounding would; a learning rate that is 1e-4 off does not."""
    configuration = Configuration(epochs=40, dtype="float64")
    experiment = prepare(configuration)
    W_hh = np.nextafter(experiment.params.W_hh, 1)
    moved = experiment._replace(params=experiment.params._replace(W_hh=W_hh))
    wrong = configuration.changed(learning_rate=0.1001)
    runs = (experiment, configuration), (experiment, configuration), (moved, configuration), (experiment, wrong)
    losses, *others = (epoch_losses(trace_of(numpy_rnn, *run), "sum") for run in runs)
    same, near, off = (drive.measure(losses, [other], experiment, configuration, seed=3).ratio for other in others)
    assert 0 == same < near <= drive.ALARM
    assert off > 1e6
