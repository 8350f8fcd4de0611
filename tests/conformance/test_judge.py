"""Recorded runs: right ones pass, a fault is named where it is, and what is
ill-conditioned is not judged.
"""

import itertools
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings

from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    INPUT_GRADIENTS,
    INTERMEDIATES,
    REPORTED,
    TENSORS,
)
from numpy_rnn.conformance.definition import train, window_update
from numpy_rnn.conformance.ports.abilities import CAPABILITIES
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import CaseSpec, RandomDraw, random_run
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import STEPWISE, finite_part
from numpy_rnn.conformance.runs.requirements import unsupported
from numpy_rnn.conformance.runs.run_sources import PortSource
from tests.helpers.ports import PACKAGE_SOURCE, Port
from tests.helpers.random_runs import SMALL_STEP, made_run, record, small_run
from tests.helpers.windows import SEED, SEEDS

UNREPORTED = tuple(name for name in CAPABILITIES if name not in REPORTED)
black_box_port = partial(Port, capabilities=("sgd_options",))
RATES = SMALL_STEP._replace(learning_rate=np.array([0.1, 0.02, 0.05]))
RUNS = {
    "full": small_run(),
    "ensemble": small_run(RATES, k1=7, k2=9, N=3),
}


@cache
def package_trace(name="full"):
    """Return one of the runs as the package records it."""
    return PACKAGE_SOURCE.trace(RUNS[name])


def black_box(run):
    """Return the run without intermediate values."""
    shown = run.updates.keys() - {*INTERMEDIATES, *INPUT_GRADIENTS}
    return run._replace(updates={name: run.updates[name] for name in shown})


@pytest.mark.parametrize("name", RUNS)
def test_right_runs_pass(name):
    """A run passes with all its tensors, as a black box, and in part."""
    run = package_trace(name)
    for shown in (run, black_box(run)):
        judgement = judge(shown)
        assert judgement.passed, judgement.first
        assert judgement.worst["window"] == 0
        tensors = shown.updates.keys() & {*TENSORS}
        assert set(judgement.worst) == {"window", "initial"} | tensors
    assert judge(run.upto(3), whole=False).passed


@settings(max_examples=5)
@given(SEEDS)
def test_random_runs_pass(seed):
    """Runs are those of the definition, as a black box too, and of ports that are asked
    window by window.
    """
    run = random_run(RandomDraw(seed))
    trace = record(run, train(run))
    traces = [trace, black_box(trace)]
    for capabilities in (CAPABILITIES, UNREPORTED):
        source = PortSource(Port(capabilities=capabilities))
        assert unsupported(source.port.abilities, run) == []
        traces.append(source.trace(run))
    assert all(judge(trace).passed for trace in traces)


@pytest.mark.parametrize("capabilities", [CAPABILITIES, UNREPORTED])
def test_run_that_diverges_is_judged_until_it_overflows(capabilities):
    source = PortSource(Port(capabilities=capabilities))
    finite = finite_part(source.trace(small_run(Step(1e200))))
    assert judge(finite, whole=False).passed


def test_mistake_comes_before_the_fault_that_ends_its_run():
    """A run with a wrong gradient may end in numbers that are not finite."""

    def trace_that_ends(factor):
        """Return the trace of a port whose fourth loss is nan."""
        calls = itertools.count(1)

        def after(report):
            if next(calls) > 3:
                return report | {"loss": np.nan}
            return scaled_gradient(factor, report)

        source = PortSource(black_box_port(after=after))
        return source.trace(small_run(Step(0.1)))

    right = trace_that_ends(1)
    assert right.length == 3
    with pytest.raises(PortFault, match=r"loss is nan.* update 4 of the run"):
        judge(right)
    assert judge(trace_that_ends(2)).first.tensor == "dW_hh"


@settings(max_examples=3)
@given(SEEDS)
def test_port_of_fixed_steps_and_one_loss_has_runs(seed):
    """Its runs are chunks of its steps, with a loss at the last."""
    port = black_box_port()
    port.sizes = ({"T": 5},)
    port.lacks = ("many losses",)
    source = PortSource(port)
    abilities = source.port.abilities
    run = random_run(RandomDraw(seed), "float64", abilities)
    assert unsupported(abilities, run) == []
    trace = source.trace(run)
    stop = trace.updates["stop"]
    assert set(stop - trace.updates["loss_start"]) == {1}
    assert set(stop - trace.updates["start"]) == {5}
    assert judge(trace).passed
    first, *_, last = unsupported(abilities, small_run(Step(0.1), k1=2))
    assert first.words == "window with several losses"
    assert {"k1": 5, "k2": 5}.items() <= dict(last.remedy).items()


def test_case_is_freed_with_its_report():
    """An arithmetic whose arrays refer to it is a cycle, which would keep gigabytes."""
    numbers = NumpyArithmetic("float64")
    window_update(CaseSpec(3, 1, 1, 2, 1, 3, "float64").case(), numbers)
    assert numbers.tensors == {}


def moved(run, tensor, update, step=-1):
    """Move the last element of a tensor of one update, at this step; and its place."""
    wrong = np.array(run.updates[tensor])
    element = (update, *(size - 1 for size in wrong.shape[1:]))
    if tensor in STEPWISE:
        lengths = run.updates["stop"] - run.updates["start"]
        row = lengths[:update].sum() + step % lengths[update]
        element = (row, *element[1:])
    wrong[element] += 1e-6
    return run._replace(updates=run.updates | {tensor: wrong}), element


@pytest.mark.parametrize(
    "tensor", [name for name in package_trace().updates if name in TENSORS]
)
def test_planted_fault_is_named(tensor):
    """Where one element is moved in one update, the finding names the update, the
    tensor, the step and the element.
    """
    updates = package_trace().updates
    update, step = 19, -2
    wrong, element = moved(package_trace(), tensor, update, step)
    first = judge(wrong).first
    steps = updates["stop"][update] - updates["start"][update]
    expected_step = steps + step + 1 if tensor in STEPWISE else None
    assert (first.epoch, first.number) == (2, 10)
    assert (first.tensor, first.step) == (tensor, expected_step)
    assert first.element == element[1:]
    assert first.reported == wrong.updates[tensor][element]
    assert abs(first.reported - first.expected - 1e-6) < 1e-12
    assert first.ratio > 1e3


@pytest.mark.parametrize(
    ("fault", "later_fault"),
    [
        (("h", 0), ("a", 1)),
        (("a", 1), ("h", 1)),
        (("da", 4), ("dh", 3)),
        (("dh", 3), ("da", 3)),
        (("dh", 4), ("dW_xh", 0)),
    ],
)
def test_fault_that_is_computed_first_is_named(fault, later_fault):
    """The backward pass runs from the last step to the first."""
    wrong = package_trace()
    for tensor, step in (fault, later_fault):
        wrong, _ = moved(wrong, tensor, 7, step)
    tensor, step = fault
    assert judge(wrong).first[:4] == (1, 8, tensor, step + 1)


def test_wrong_schedule_is_named():
    run = package_trace().run
    other = run._replace(options=run.options._replace(schedule=Schedule(2, 4, 2)))
    first = judge(package_trace()._replace(run=other)).first
    assert (*first[:3], first.element, first.expected) == (1, 3, "window", (0,), 2)
    assert first.report().startswith("WRONG window (T1, T2)\n")


def chaotic_run(gain, N=None):
    """Return one window of float32, of 40 steps, with a gain of W_hh."""
    options = RunOptions(Schedule(40, 40, 1), Objective(), Step(1e-4))
    sizes = {"T": 40, "H": 48, "O": 2, "dtype": "float32", "bias": False}
    run = made_run(options, N, seed=SEED, **sizes)
    W_hh = run.params.W_hh * np.float32(gain)
    x = run.x * np.float32(0.1)  # which does not drive the state
    return run._replace(params=run.params._replace(W_hh=W_hh), x=x)


def scaled_gradient(factor, report):
    return report | {"dW_hh": np.float32(factor) * report["dW_hh"]}


@pytest.mark.parametrize("factor", [1, -1])
def test_wrong_gradient_of_a_chaotic_run_never_agrees(factor):
    """What is ill-conditioned in all windows is named, and is no agreement."""
    port = black_box_port(after=partial(scaled_gradient, factor))
    judgement = judge(PortSource(port).trace(chaotic_run(4)))
    assert "dW_hh" in judgement.unjudged_results
    assert judgement.first is None
    assert not judgement.passed


def test_every_network_of_an_ensemble_is_judged():
    """The windows of one network do not judge another that is chaotic."""
    gains = np.reshape([0.5, 4], (2, 1, 1))
    trace = black_box(PACKAGE_SOURCE.trace(chaotic_run(gains, N=2)))
    assert {"dW_xh", "dW_hh"} <= {*judge(trace).unjudged_results}
