"""Hints of runs: windows, initial states, and what goes from one update to the next."""

import numpy as np
import pytest

from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step, Window
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import GRADIENT_AXES, parameters_from, present
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import (
    Definition,
    train,
    window_update,
)
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import (
    RecordedRun,
    finite_part,
    with_velocities,
)
from numpy_rnn.conformance.verdicts import Finding
from tests.helpers.random_runs import STEPS, made_run, record


def recorded_run(definition, run):
    """Return the run of a definition."""
    return record(run, train(run, definition=definition))


def hint_of(recorded):
    """Return the hint for a run that is judged wrong."""
    return hint_for_run(recorded, judge(recorded).first)


def series(epochs, k1=3, k2=3):
    """Return a run of 13 steps of three sequences, without biases."""
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05))
    return made_run(options, T=13, B=3, H=4, O=5, bias=False, seed=3)


def loop_of(change):
    """Return a function for the updates of a loop.

    change(case, before, i): the case, and added gradients. before: the report of the
    update before, or nothing; i, from 0: the number of the update.
    """
    reports = [{}]

    def compute(case):
        case, added = change(case, reports[-1], len(reports) - 1)
        report = window_update(case)
        n = NumpyArithmetic(np.float64)
        for name in GRADIENT_AXES.keys() & report.keys():
            n.reported[name] = report[name] + added.get(name, 0)
        reports.append(window_update(case, n) | n.reported)
        return reports[-1]

    return compute


PER_EPOCH = 5  # updates of `series`
LAST = 14  # the last update of three epochs


def without_zero_grad(case, before, i):
    return case, before


def at_rate(rate):
    """Return a loop whose learning rate is rate(i)."""

    def change(case, before, i):
        return case._replace(step=case.step._replace(learning_rate=rate(i))), {}

    return change


def without_last_sequence(case, before, i):
    """Return the gradients less what the last sequence of the batch adds to them."""
    x, target = case.x[:, :-1], case.target[:, :-1]
    fewer = window_update(case._replace(x=x, target=target, h_0=case.h_0[:-1]))
    report = window_update(case)
    return case, {n: fewer[n] - report[n] for n in report if n.startswith("dW")}


def drifting_inputs(case, before, i):
    return case._replace(x=case.x + 0.1 * i), {}


LOOPS = [  # what an update does, and the hint
    (without_zero_grad, "gradients add up from update to update"),
    (at_rate(lambda i: 0.37 * 0.05), "step × 0.37"),
    (at_rate(lambda i: 0.05 * 0.97**i), f"step × 1 to {0.97**LAST:.3g}"),
    (without_last_sequence, "gradients without the last sequence"),
    (drifting_inputs, ""),
]


@pytest.mark.parametrize(("change", "hint"), LOOPS)
def test_hint_of_a_loop(change, hint):
    run = series(3)
    wrong = record(run, train(run, loop_of(change)))
    assert hint_of(wrong) == hint
    assert hint_for_run(recorded_run(right, run), judge(wrong).first) == ""


DIVERGING = [  # what an update does at the rate of its run, and the hint
    (lambda rate: at_rate(lambda i: -rate), "step × -1"),
    (lambda rate: at_rate(lambda i: 10 * rate), "step × 10"),
    (lambda rate: at_rate(lambda i: 100 * rate), "step × 100"),
    (lambda rate: without_zero_grad, "gradients add up from update to update"),
]


@pytest.mark.parametrize("rate", [0.05, 0.5, 2.0])
@pytest.mark.parametrize(("change", "hint"), DIVERGING)
def test_hint_of_a_run_that_diverges_is_that_of_its_first_wrong_update(
    change, hint, rate
):
    """The later updates show the divergence, not the mistake."""
    run = series(6)
    run = run._replace(options=run.options._replace(step=Step(rate)))
    with np.errstate(all="ignore"):
        wrong = record(run, train(run, loop_of(change(rate))))
        assert hint_of(finite_part(wrong)) == hint


def test_rate_that_grows_is_told_up_to_where_the_run_diverges():
    run = series(6)
    run = run._replace(options=run.options._replace(step=Step(2.0)))
    with np.errstate(all="ignore"):
        wrong = record(run, train(run, loop_of(at_rate(lambda i: 2 * 1.3**i))))
        assert hint_of(wrong) == "step × 1 to 1.3 up to update 2 of 30"


def stale_step(run):
    """Return a loop that steps by the gradients of the update before."""
    before = {}

    def compute(case):
        report = window_update(case)
        n = NumpyArithmetic(np.float64)
        n.reported = before or {n: report[n] for n in GRADIENT_AXES if n in report}
        stepped = window_update(case, n)
        before.update({n: report[n] for n in GRADIENT_AXES if n in report})
        return report | {name: stepped[name] for name in present(case.params)}

    return compute


def test_hint_of_a_step_by_older_gradients():
    run = series(2)
    wrong = record(run, train(run, stale_step(run)))
    assert hint_of(wrong) == "the step uses the gradients of the update before"


def test_hint_of_a_velocity_that_starts_anew_in_each_epoch():
    run = series(3)
    step = Step(0.05, momentum=0.9)
    run = run._replace(options=run.options._replace(step=step))
    count = []

    def compute(case):
        count.append(case)
        if len(count) % PER_EPOCH == 1:
            case = case._replace(velocity=None)
        return window_update(case)

    wrong = record(run, train(run, compute))
    assert hint_of(wrong) == "the velocity starts anew in each epoch"


@pytest.mark.parametrize("name", Step._field_defaults)
def test_hint_of_an_option_that_is_left_out(name):
    """A loop without momentum or Adagrad reports no velocities."""
    run = series(3)
    default = Step._field_defaults[name]
    step = next(step for step in STEPS if getattr(step, name) != default)
    run = run._replace(options=run.options._replace(step=step))
    without = step._replace(**{name: default})
    wrong = record(run, train(run._replace(options=run.options._replace(step=without))))
    assert hint_of(with_velocities(wrong)) == f"{name} left out"


def test_factor_of_a_step_is_no_product_of_sizes():
    """Windows of one run have the same sizes, by chance those of a factor."""
    run = series(3, k1=13, k2=13)
    wrong = record(run, train(run, loop_of(at_rate(lambda i: 0.05 / 13))))
    assert hint_of(wrong) == "step × 0.0769231"


def test_run_that_ends_in_its_first_window_has_no_hint():
    """Moved targets allow anything in the first window: there they explain nothing."""

    def moved_inputs(case, before, i):
        return case._replace(x=case.x + 0.1), {}

    run = series(1)
    assert hint_of(record(run, train(run, loop_of(moved_inputs))).upto(1)) == ""


@pytest.mark.parametrize(("words", "shift"), [("ahead", -1), ("behind", 1)])
def test_hint_of_targets_one_step_off(words, shift):
    run = series(2)
    moved = run._replace(target=np.roll(run.target, shift, axis=0))
    assert hint_of(record(run, train(moved))) == f"targets one step {words}"


def test_hint_of_stale_weights():
    """A loop may compute its gradients from the weights before the last update."""
    run = series(2)
    weights = [present(run.params)]

    def stale(case, before, i):
        if i == 0:
            return case, {}
        older = window_update(case._replace(params=parameters_from(weights[-1])))
        report = window_update(case)
        weights.append(present(case.params))
        return case, {n: older[n] - report[n] for n in report if n.startswith("dW")}

    hint = hint_of(record(run, train(run, loop_of(stale))))
    assert hint == "gradients of the weights before the last update"


WRONG_WINDOWS = {  # of 13 steps under TBPTT(3, 5), the right ones without a hint
    "": "0 0 3, 1 3 6, 4 6 9, 7 9 12, 10 12 13",
    "bptt over k+1 steps": "0 0 3, 0 3 6, 3 6 9, 6 9 12, 9 12 13",
    "chunks instead of a sliding window": "0 0 5, 5 5 10, 10 10 13",
    "losses of older steps counted again": "0 0 3, 1 1 6, 4 4 9, 7 7 12, 10 10 13",
    "1 step skipped between windows": "0 0 3, 2 4 7, 6 8 11, 10 12 13",
}


@pytest.mark.parametrize("hint", WRONG_WINDOWS)
def test_hint_of_windows(hint):
    rows = [
        [*map(int, window.split())] for window in WRONG_WINDOWS[hint].split(", ")
    ] * 2
    wrong = RecordedRun(series(2, 3, 5), dict(zip(Window._fields, np.transpose(rows))))
    first = Finding(1, 1, "window", None, (0,), 0.0, 0.0, 0.0, np.inf)
    assert hint_for_run(wrong, first) == hint


def test_window_that_is_missing_is_said():
    """The next one, of another epoch, is not said to be wrong."""
    run = series(2)
    some = [update for update in train(run) if update.number < PER_EPOCH]
    message = judge(record(run, some)).first.message()
    words = "epoch 1, update 5: this window is missing: the number of updates"
    assert message.startswith(words)


def newest_state(states, window):
    return states[window.loss_start if window.start else 0]


STATES = [  # the initial state of a window, and the hint
    (lambda states, window: states[0], "state reset to h_0"),
    (lambda states, window: 0 * states[0], "state reset to zero"),
    (
        lambda states, window: states[window.start or max(states)],
        "state not reset between epochs",
    ),
    (newest_state, "state of the newest step"),
    (
        lambda states, window: states[max(window.start - 1, 0)],
        "state one step early",
    ),
    (lambda states, window: 0.5 * states[window.start], ""),
]


@pytest.mark.parametrize(("carried_state", "hint"), STATES)
def test_hint_of_initial_states(carried_state, hint):
    wrong = recorded_run(Definition(carried_state=carried_state), series(2, 3, 5))
    assert judge(wrong).first.tensor == "initial"
    assert hint_of(wrong) == hint
    assert hint_for_run(recorded_run(right, wrong.run), judge(wrong).first) == ""
