"""Whole runs: in lockstep right ones pass and a fault is named where it is; a free run drifts as rounding explains."""

import itertools
from functools import cache

import numpy as np
import pytest
from inline_snapshot import snapshot
from ports_for_tests import Port

import numpy_rnn.reference
from numpy_rnn.common.records import Objective, Parameters, Run, RunOptions, Schedule, Step
from numpy_rnn.conformance.case import INTERMEDIATES
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, Abilities
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.traces import drive
from numpy_rnn.conformance.traces.divergence import CAUSAL_ORDER, Divergence, equations
from numpy_rnn.conformance.traces.drive import epoch_losses, trace_port
from numpy_rnn.conformance.traces.judge import judge, stacks
from numpy_rnn.conformance.traces.recorder import ROWS, RecordedRun
from numpy_rnn.conformance.window_checks import tolerances

STEP = Step(0.1, 0.9, nesterov=True, weight_decay=0.01, max_norm=0.5)
PACKAGE = PackagePort(numpy_rnn)


def sine_run(
    step=STEP, k1=2, k2=5, epochs=2, networks=(), learned=True, dtype="float64", **objective
):
    """A run on one sequence of 20 steps, with biases."""
    generator = np.random.default_rng(0)
    sizes = (1, 4), (4, 4), (4, 1), (4,), (1,)
    params = Parameters(
        *(generator.normal(0, 0.4, (*networks, *size)).astype(dtype) for size in sizes)
    )
    series = np.sin(np.linspace(2, 10, 21)).reshape(21, 1, 1).astype(dtype)
    h_0 = np.zeros((*networks, 1, 4), dtype)
    params = params._replace(h_0=h_0) if learned else params
    options = RunOptions(Schedule(k1, k2, epochs), Objective(**objective), step)
    return Run(
        params, series[:-1], series[1:], None if learned else np.zeros((1, 4), dtype), None, options
    )


RATES = np.array([[0.1] * 3, [0.02] * 3])
ENSEMBLE = sine_run(STEP._replace(learning_rate=RATES), k1=7, k2=9, networks=(2, 3))
RUNS = {
    "full": sine_run(),
    "plain": sine_run(Step(0.1), learned=False, dtype="float32"),
    "chunks": sine_run(k2=2),
    "ensemble": ENSEMBLE,
    "rates": sine_run(Step(np.array([0.1, 0.02])), k1=7, k2=9, networks=(2,), learned=False),
}


@cache
def recorded(name="full", rnn=numpy_rnn):
    return PackagePort(rnn).trace(RUNS[name])


def assert_passes(run, **options):
    judgement = judge(run, **options)
    assert judgement.passed, judgement.first
    assert judgement.worst["window"] == judgement.worst["initial"] * ("h" in run.updates) == 0
    assert set(judgement.worst) == {"window", "initial"} | set(run.updates) & set(CAUSAL_ORDER)


# -- right runs ------------------------------------------------------------------------------------------------------


@pytest.mark.with_reference
def test_right_runs_pass(rnn):
    for name in RUNS:
        assert_passes(recorded(name, rnn))
    for seed in range(5):
        own = Abilities((*CAPABILITIES, *("two_biases",) * (seed % 2)))
        recorded_run = PackagePort(rnn).trace(random_run(RandomDraw(seed), abilities=own))
        assert judge(recorded_run).passed, judge(recorded_run).first


@pytest.mark.parametrize("name", RUNS)
def test_right_runs_pass_by_the_oracle(name):
    """Without intermediate values, of one network and of ensembles."""
    assert_passes(recorded(name).first(2).without(*INTERMEDIATES), whole=False)


def test_driven_port_repeats_the_run_of_its_package():
    """To the last bit, as the port is the package's functions, called once per update."""
    for seed in range(6):
        run, reference = random_run(RandomDraw(seed)), PackagePort(numpy_rnn.reference)
        one, other = reference.trace(run).updates, trace_port(reference, run).updates
        assert one.keys() == other.keys()
        assert not [name for name in one if not np.array_equal(one[name], other[name])]


def test_stacked_updates_have_the_bounds_of_single_ones():
    """Every network has its own: each is clipped by its own norm, or not, and has its own learning rate."""
    for stack in stacks(recorded("ensemble")):
        together = tolerances(stack.case, [*stack.report], reported=stack.report)
        for index in np.ndindex(together["loss"].E.shape):
            case, report = stack.single(index)
            # The same sums of positive terms in float64, in another order, over fewer than 200 numbers.
            for name, alone in tolerances(case, [*report], reported=report).items():
                one = together[name].E[(slice(None), *index) if name in ROWS else index]
                np.testing.assert_allclose(one, alone.E, 200 * np.finfo(float).eps, err_msg=name)


def test_run_of_a_port_has_the_same_keys_in_all_updates():
    """Whatever the port reports beyond them in some of them."""
    calls, beyond = itertools.count(1), {*INTERMEDIATES, "dx"}
    port = Port(capabilities=("learned_h_0",))
    port.after = lambda report: {
        n: v for n, v in report.items() if n not in beyond or next(calls) % 2
    }
    driven = trace_port(port, sine_run(Step(0.1), k1=7, k2=9))
    assert_passes(driven)
    assert {"h_0", "dh_0"} <= driven.updates.keys()
    assert not beyond & driven.updates.keys()


# -- faults ----------------------------------------------------------------------------------------------------------


def moved(run, tensor, update, step=-1):
    """The run with the last element of one tensor moved in this update, in this step of the window; its place."""
    updates = run.updates
    wrong = np.array(updates[tensor])
    element = (update, *(size - 1 for size in wrong.shape[1:]))
    if tensor in ROWS:
        ends = np.cumsum(updates["stop"] - updates["start"])
        steps = updates["stop"][update] - updates["start"][update]
        element = (ends[update] - steps + step % steps, *element[1:])
    wrong[element] += 1e-6
    return run.replace({tensor: wrong}), element


@pytest.mark.parametrize("tensor", CAUSAL_ORDER[2:])
def test_planted_fault_is_named(tensor):
    """One element moved in one update: that update, tensor, step and element, and nothing before it."""
    updates = recorded().updates
    # The windows of the updates 0 and 10 start from the learned state.
    for update, step in ((0, -1), (10, -1), (19, -2)):
        wrong, element = moved(recorded(), tensor, update, step)
        first = judge(wrong).first
        epoch, number, start, stop = (
            updates[name][update] for name in ("epoch", "number", "start", "stop")
        )
        step = stop - start + step + 1 if tensor in ROWS else None
        assert first[:6] == (
            epoch,
            number,
            tensor,
            step,
            element[1:],
            wrong.updates[tensor][element],
        ), update
        assert abs(first.reported - first.expected - 1e-6) < 1e-12
        assert first.ratio > 1e3


@pytest.mark.parametrize(
    ("one", "step", "other", "other_step"),
    [
        ("h", 0, "a", 1),
        ("a", 1, "h", 1),
        ("da", 4, "dh", 3),
        ("dh", 3, "da", 3),
        ("dh", 4, "dW_xh", 0),
    ],
)
def test_fault_that_is_computed_first_is_named(one, step, other, other_step):
    """The backward pass runs from the last step to the first."""
    wrong, _ = moved(recorded(), other, 7, other_step)
    first = judge(moved(wrong, one, 7, step)[0]).first
    assert first[:4] == (1, 8, one, step + 1)


def test_fault_of_one_network_of_a_black_box_is_named():
    """By the oracle, which sees one network at a time."""
    run = recorded("ensemble").first(3).without(*INTERMEDIATES)
    for tensor in ("loss", "dx", "vW_hh", "W_hy"):
        wrong, element = moved(run, tensor, 2)
        first = judge(wrong, whole=False).first
        assert (*first[:3], first.element) == (1, 3, tensor, element[1:])


def test_learning_rates_are_those_of_their_networks():
    run, updates = recorded("rates")
    for rates, network in (([0.2, 0.02], 0), ([0.1, 0.1], 1)):
        step = run.options.step._replace(learning_rate=np.array(rates))
        first = judge(
            RecordedRun(run._replace(options=run.options._replace(step=step)), updates)
        ).first
        assert (first.tensor, first.element[0]) == ("W_xh", network)


@pytest.mark.parametrize(
    ("run", "name", "update"),
    [
        ("full", "initial", 5),
        ("full", "initial", 10),
        ("full", "h_0", 5),
        ("full", "vh_0", 5),
        ("chunks", "h_0", 1),
    ],
)
def test_wrong_state_is_exactly_wrong(run, name, update):
    """Initial states, and what windows after the first leave alone, are not rounded: one ulp is a fault."""
    right = recorded(run).updates[name]
    wrong = np.array(right)
    wrong[update:, 0, 1] = np.nextafter(wrong[update:, 0, 1], 1)
    first = judge(recorded(run).replace({name: wrong})).first
    place = update // 10 + 1, update % 10 + 1, name, None, (0, 1)
    assert first[:7] == (*place, wrong[update, 0, 1], right[update, 0, 1])


def test_gradient_of_the_learned_state_counts_where_it_is_used():
    run = recorded().without("dx")
    silent = np.array(run.updates["dh_0"])
    silent[run.updates["start"] > 0] = 0
    assert judge(run.replace({"dh_0": silent})).passed
    silent[10] = 0
    assert judge(run.replace({"dh_0": silent})).first[:3] == (2, 1, "dh_0")


def test_wrong_schedule_is_named():
    first = judge(recorded().first(17).without(*INTERMEDIATES)).first
    assert (*first[:3], first.reported, first.expected) == (2, 8, "window", 17, 20)
    run, updates = recorded()
    other = run._replace(options=run.options._replace(schedule=Schedule(2, 4, 2)))
    first = judge(recorded()._replace(run=other)).first
    assert (*first[:3], first.element, first.expected) == (1, 3, "window", (0,), 2)
    assert judge(recorded().replace({"number": updates["number"][::-1]})).first[:3] == (
        1,
        1,
        "window",
    )


def test_equations_are_those_of_the_options():
    momentum, of = Step(0.1, 0.5, weight_decay=0.1), Objective()
    assert [equations(name, of, momentum._replace(momentum=0)) for name in ("dW_hh", "W_hh")] == [
        "B5",
        "U4, U1",
    ]
    assert [equations(name, of, momentum) for name in ("vW_hh", "W_hh")] == ["U4, U5", "U1"]
    adagrad = Step(0.1, weight_decay=0.1, max_norm=1.0, adagrad=True)
    assert [equations(name, of, adagrad) for name in ("vW_hh", "W_hh")] == [
        "U2, U3, U4, U8",
        "U2, U3, U4, U9, U1",
    ]
    assert equations("W_hh", of, Step(0.1, max_value=1.0)) == "U7, U1"
    assert equations("loss", Objective(loss="cross_entropy"), None) == "L3, L4, L2"


def test_messages():
    """Of an element at a step, of one number, of an estimate, of a window, and of their number."""
    first = Divergence(2, 3, "dh", 4, (1, 0), 0.123456789012, 0.25, 1.26e-9, 1.26e8, "B2")
    divergences = (
        first, first._replace(tensor="loss", step=None, element=(), is_estimated=True),
        first._replace(tensor="window", step=None, element=(1,), reported=4.0, expected=3.0),
        first._replace(tensor="window", step=None, element=(), reported=17.0, expected=20.0),
    )  # fmt: skip
    assert "\n".join(each.message("it") for each in divergences) == snapshot("""\
it diverges first in epoch 2, update 3, step 4: dh (B2)
  dh[1, 0] is 0.123456789; recomputed from the reported inputs of this stage it is 0.25.
  The difference is 1.3e+08 times the rounding bound of 1.3e-09
it diverges first in epoch 2, update 3: loss (B2)
  the loss is 0.123456789; recomputed from the reported inputs of this stage it is 0.25.
  The difference is 1.3e+08 times what rounding does by estimate, 1.3e-09
it diverges first in epoch 2, update 3: window (B2)
  its window has loss_start 4 where TBPTT(k1, k2) has 3
it diverges first in epoch 2, update 3: window (B2)
  the run has 17 updates where TBPTT(k1, k2) has 20\
""")


# -- drift -----------------------------------------------------------------------------------------------------------


def test_drift_and_spread_are_the_largest_differences(monkeypatch):
    """So far, from the first run and among 16 reference runs; the spread is 4 u at least."""
    curves = np.ones((3, 17))
    curves[1, 2:4] += (0.5, -0.25)
    curves[2, 5] += 0.125
    monkeypatch.setattr(drive, "reference_losses", lambda run, seed: curves)
    first, others = np.array([1.0, 2.0, 3.0]), np.array([[1.0, 2.5, 3.0], [1.0, 2.0, 2.0]])
    measured = drive.measure(first, others, sine_run(dtype="float32"))
    assert measured.drift.tolist() == [0, 0.5, 1]
    assert measured.spread.tolist() == [2 * np.finfo("float32").eps, 0.5, 0.5]
    assert measured.ratio == 2


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_epoch_losses(reduction):
    """Under "mean" each window counts as many times as it has new steps: 3, or 2 at the end."""
    run = sine_run(Step(0.1), k1=3, k2=5, networks=(2,), learned=False, reduction=reduction)
    found, updates = PACKAGE.trace(run), PACKAGE.trace(run).updates
    new_steps = updates["stop"] - updates["loss_start"]
    share = new_steps / 20 if reduction == "mean" else np.ones(len(new_steps))
    for epoch, loss in enumerate(epoch_losses(found), 1):
        chosen = updates["epoch"] == epoch
        np.testing.assert_allclose(
            loss, share[chosen] @ updates["loss"][chosen], rtol=20 * np.finfo(float).eps
        )


def test_reference_runs_train_both_biases():
    run = drive.with_second_bias(
        sine_run(Step(0.1, 0.5, max_norm=0.5), learned=False), Abilities(("two_biases",))
    )
    np.testing.assert_allclose(
        drive.reference_losses(run, 0)[:, 0], epoch_losses(PACKAGE.trace(run)), rtol=1e-12
    )
    assert judge(PACKAGE.trace(run)).passed


def test_drift_tells_rounding_from_a_fault():
    """A run that starts an ulp away drifts as rounding would; a learning rate that is 1e-4 off does not."""
    run = sine_run(Step(0.1), k1=1, k2=1, epochs=40, learned=False)
    moved = run._replace(params=run.params._replace(W_hh=np.nextafter(run.params.W_hh, 1)))
    wrong = run._replace(options=run.options._replace(step=Step(0.1001)))
    losses, *others = (epoch_losses(PACKAGE.trace(each)) for each in (run, run, moved, wrong))
    same, near, off = (drive.measure(losses, [other], run, seed=3).ratio for other in others)
    assert 0 == same < near <= drive.ALARM
    assert off > 1e6
