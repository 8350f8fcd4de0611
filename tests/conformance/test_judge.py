"""Recorded runs: right ones pass, a fault is named where it is, and what is
ill-conditioned is not judged.
"""

import itertools
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import assume, given, settings

from numpy_rnn.common.records import (
    LOSS_NAMES,
    Objective,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import INPUT_GRADIENTS, INTERMEDIATES, TENSORS
from numpy_rnn.conformance.definition import (
    train,
    window_update,
)
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, REPORTED, stated_by
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.ports.run_needs import unsupported
from numpy_rnn.conformance.random_cases import (
    CaseSpec,
    RandomDraw,
    is_bounded,
    random_run,
)
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import STEPWISE, finite_part, record
from numpy_rnn.conformance.runs.sources import PackageSource, PortSource
from tests.helpers import random_runs
from tests.helpers.ports import Port
from tests.helpers.recorded_runs import PACKAGE, STEP, small_run
from tests.helpers.windows import SEED, SEEDS

UNREPORTED = tuple(name for name in CAPABILITIES if name not in REPORTED)
black_box_port = partial(Port, capabilities=("sgd_options",))
RATES = STEP._replace(learning_rate=np.array([0.1, 0.02, 0.05]))
RUNS = {
    "full": small_run(),
    "plain": small_run(Step(0.1), dtype="float32"),
    "chunks": small_run(k2=2),
    "ensemble": small_run(RATES, k1=7, k2=9, N=3),
}


@cache
def recorded(name="full"):
    return PACKAGE.trace(RUNS[name])


def black_box(run):
    """Return the run without intermediate values."""
    shown = run.updates.keys() - {*INTERMEDIATES, *INPUT_GRADIENTS}
    return run._replace(updates={name: run.updates[name] for name in shown})


def replaced(run, **arrays):
    return run._replace(updates=run.updates | arrays)


@pytest.mark.parametrize("name", RUNS)
def test_right_runs_pass(rnn, name):
    """With all their tensors, and as black boxes."""
    run = PackageSource(PackagePort(rnn)).trace(RUNS[name])
    for each in (run, black_box(run)):
        judgement = judge(each)
        assert judgement.passed, judgement.first
        assert judgement.worst["window"] == 0
        assert set(judgement.worst) == {"window", "initial"} | {*each.updates} & {
            *TENSORS
        }
    assert judge(each.first(3), whole=False).passed


@settings(max_examples=5)
@given(SEEDS)
def test_random_runs_pass(seed):
    """The definition, as a black box too, a package, and ports that are asked window by
    window.
    """
    run = random_run(RandomDraw(seed))
    assume(is_bounded(run))
    own, ports = record(run, train(run)), [PACKAGE]
    for capabilities in (CAPABILITIES, UNREPORTED):
        ports.append(PortSource(Port(capabilities=capabilities)))
        assert unsupported(ports[-1].port, run) == []
    found = [judge(own), judge(black_box(own))]
    found += [judge(source.trace(run), source=source) for source in ports]
    assert all(each.passed for each in found)


@pytest.mark.parametrize("capabilities", [CAPABILITIES, UNREPORTED])
def test_run_that_diverges_is_judged_until_it_overflows(capabilities):
    source = PortSource(Port(capabilities=capabilities))
    found = finite_part(source.trace(small_run(Step(1e200))))
    assert judge(found, whole=False, source=source).passed


def test_mistake_comes_before_the_fault_that_ends_its_run():
    """A run with a wrong gradient may end in numbers that are not finite."""
    for factor in (1, 2):
        calls = itertools.count(1)

        def after(report, calls=calls, factor=factor):
            return (
                report | {"loss": np.nan}
                if next(calls) > 3
                else scaled_gradient(factor, report)
            )

        source = PortSource(black_box_port(after=after))
        found = source.trace(small_run(Step(0.1)))
        assert found.length == 3
        if factor == 1:
            with pytest.raises(PortFault, match=r"loss is nan.* update 4 of the run"):
                judge(found, source=source)
        else:
            assert judge(found, source=source).first.tensor == "dW_hh"


@settings(max_examples=3)
@given(SEEDS)
def test_port_of_fixed_steps_and_one_loss_has_runs(seed):
    """Chunks of its steps, with a loss at the last."""
    port = black_box_port()
    port.sizes, port.lacks = ({"T": 5},), ("many losses",)
    source = PortSource(port)
    run = random_run(RandomDraw(seed), "float64", stated_by(port))
    assume(is_bounded(run))
    assert unsupported(port, run) == []
    found = source.trace(run)
    assert set(found.updates["stop"] - found.updates["loss_start"]) == {1}
    assert set(found.updates["stop"] - found.updates["start"]) == {5}
    assert judge(found).passed
    found = unsupported(port, small_run(Step(0.1), k1=2))
    assert found[0].words == "window with several losses"
    assert {"k1": 5, "k2": 5}.items() <= dict(found[-1].remedy).items()


def test_case_is_freed_with_its_report():
    """An arithmetic whose arrays refer to it is a cycle, which would keep gigabytes."""
    numbers = NumpyArithmetic("float64")
    window_update(CaseSpec(3, 1, 1, 2, 1, 3, "float64").case(), numbers)
    assert numbers.tensors == {}


def moved(run, tensor, update, step=-1):
    """Move the last element of a tensor of one update, at this step; and its place."""
    updates, wrong = run.updates, np.array(run.updates[tensor])
    element = (update, *(size - 1 for size in wrong.shape[1:]))
    if tensor in STEPWISE:
        ends = np.cumsum(updates["stop"] - updates["start"])
        steps = updates["stop"][update] - updates["start"][update]
        element = (ends[update] - steps + step % steps, *element[1:])
    wrong[element] += 1e-6
    return replaced(run, **{tensor: wrong}), element


@pytest.mark.parametrize(
    "tensor", [name for name in recorded().updates if name in TENSORS]
)
def test_planted_fault_is_named(tensor):
    """One element moved in one update: that update, tensor, step and element."""
    updates = recorded().updates
    for update, step in ((0, -1), (19, -2)):
        wrong, element = moved(recorded(), tensor, update, step)
        first = judge(wrong).first
        number, start, stop = (
            updates[name][update] for name in ("number", "start", "stop")
        )
        step = stop - start + step + 1 if tensor in STEPWISE else None
        place = updates["epoch"][update], number, tensor, step, element[1:]
        assert first[:6] == (*place, wrong.updates[tensor][element])
        assert abs(first.reported - first.expected - 1e-6) < 1e-12
        assert first.ratio > 1e3


@pytest.mark.parametrize(
    "faults", ["h0 a1", "a1 h1", "da4 dh3", "dh3 da3", "dh4 dW_xh0"]
)
def test_fault_that_is_computed_first_is_named(faults):
    """The backward pass runs from the last step to the first."""
    (one, step), (other, other_step) = (
        (name[:-1], int(name[-1])) for name in faults.split()
    )
    wrong, _ = moved(recorded(), other, 7, other_step)
    assert judge(moved(wrong, one, 7, step)[0]).first[:4] == (1, 8, one, step + 1)


@pytest.mark.parametrize(("name", "update"), [("full", 5), ("full", 10), ("chunks", 1)])
def test_wrong_initial_state_is_exactly_wrong(name, update):
    """One ulp is a fault."""
    right = recorded(name).updates["initial"]
    wrong = np.array(right)
    wrong[update:, 0, 1] = np.nextafter(wrong[update:, 0, 1], 1)
    first = judge(replaced(recorded(name), initial=wrong)).first
    place = update // 10 + 1, update % 10 + 1, "initial", None, (0, 1)
    assert first[:7] == (*place, wrong[update, 0, 1], right[update, 0, 1])


def test_wrong_schedule_is_named():
    first = judge(recorded().first(17)).first
    assert (*first[:3], first.reported, first.expected) == (2, 8, "window", 7, 10)
    run = recorded().run
    other = run._replace(options=run.options._replace(schedule=Schedule(2, 4, 2)))
    first = judge(recorded()._replace(run=other)).first
    assert (*first[:3], first.element, first.expected) == (1, 3, "window", (0,), 2)


def chaotic_run(gain, loss="squared_error", N=None):
    """Return one window of float32, of 40 steps, with a gain of W_hh."""
    options = RunOptions(Schedule(40, 40, 1), Objective(loss=loss), Step(1e-4))
    kind = random_runs.Kind("float32", bias=False)
    sizes = random_runs.Sizes(40, 2, 3, 48, 2, N)
    run = random_runs.random_run(sizes, kind, options, SEED)
    W_hh = run.params.W_hh * np.float32(gain)
    x = run.x * np.float32(0.1)  # which does not drive the state
    return run._replace(params=run.params._replace(W_hh=W_hh), x=x)


def scaled_gradient(factor, report):
    return report | {"dW_hh": np.float32(factor) * report["dW_hh"]}


CHAOTIC = [(4, [-1, 0], loss) for loss in LOSS_NAMES]
CALM = [(0.5, [-1], "squared_error"), (1.5, [2], "squared_error")]


@pytest.mark.parametrize(("gain", "factors", "loss"), [*CALM, *CHAOTIC])
def test_wrong_gradient_never_agrees(gain, factors, loss):
    """Whatever rounding does in this run: a port is asked for windows with smaller
    weights.
    """
    run = chaotic_run(gain, loss)
    for factor in (1, *factors):
        source = PortSource(black_box_port(after=partial(scaled_gradient, factor)))
        found = source.trace(run)
        judgement = judge(found, source=source)
        assert judgement.passed == (factor == 1), (factor, judgement.first)
        assert factor == 1 or judgement.first.tensor == "dW_hh"
        # A trace file cannot be asked: what is ill-conditioned in all windows is
        # named, and is no agreement.
        alone = judge(found)
        assert alone.first is None or factor != 1
        assert alone.passed == (alone.first is None and not alone.not_judged)
        assert {*alone.not_judged} <= {*judgement.contracted}


def test_every_network_of_an_ensemble_is_judged():
    """A chaotic one is not, by the windows of another; a port is asked for
    its windows.
    """
    gains = np.reshape([0.5, 4], (2, 1, 1))
    found = black_box(PACKAGE.trace(chaotic_run(gains, N=2)))
    assert {"dW_xh", "dW_hh"} <= {*judge(found).not_judged}
    asked = judge(found, source=PortSource(black_box_port()))
    assert asked.passed
    assert {"dW_xh", "dW_hh"} <= {*asked.contracted}
    port = black_box_port(after=partial(scaled_gradient, -1))
    wrong = judge(found, source=PortSource(port)).first
    assert (wrong.tensor, wrong.is_contracted, wrong.element[0]) == ("dW_hh", True, 1)
