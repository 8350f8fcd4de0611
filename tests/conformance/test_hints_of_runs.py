"""Hints of runs: windows, initial states, and what goes from one update to the next."""

import numpy as np
import pytest

from numpy_rnn.common.records import (
    Objective,
    RunOptions,
    Schedule,
    Step,
    Window,
)
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    parameters_from,
    present,
)
from numpy_rnn.conformance.definition import DEFINITION as right
from numpy_rnn.conformance.definition import (
    Definition,
    apply_step,
    train,
    window_update,
)
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.mutants.catalogue import MUTANTS
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.random_cases import (
    RandomDraw,
    is_bounded,
    random_run,
)
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import RecordedRun, record
from tests.helpers import random_runs
from tests.helpers.windows import SEED

IN_RUN = [mutant for mutant in MUTANTS if mutant.in_run]
MOST = 400  # runs in which a mutant is looked for


def trace(of, run):
    return record(run, train(run, definition=of))


def wrong_runs(mutant, count):
    """Yield runs of a mutant that are judged wrong, and their first divergences."""
    for number in range(MOST):
        run = random_run(RandomDraw(SEED, number))
        wrong = trace(mutant.definition, run) if is_bounded(run) else None
        first = judge(wrong).first if wrong else None
        if first is not None:
            yield wrong, first
            count -= 1
        if not count:
            return


@pytest.mark.slow
@pytest.mark.parametrize("mutant", IN_RUN, ids=lambda mutant: mutant.name)
def test_mutant_of_a_run_is_killed_and_named(mutant):
    """A hint may be missing where all windows are alike, but none is another one. In
    which windows may be said otherwise: two states may be equal in some.
    """
    found = list(wrong_runs(mutant, 8))
    assert len(found) == 8, mutant.name
    texts = [hint_for_run(wrong, first) for wrong, first in found]
    assert {first.tensor for _, first in found} == {mutant.stage}
    stem = mutant.name.removesuffix(" at every window")
    assert all(not text or text.startswith(stem) for text in texts), texts
    assert texts.count(mutant.name) >= 3, texts


def series(epochs, k1=3, k2=3, **step):
    """Return a run of 13 steps of three sequences, without biases."""
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), Step(0.05, **step))
    sizes = random_runs.Sizes(13, 3, 3, 4, 5)
    return random_runs.random_run(sizes, random_runs.Kind(bias=False), options, 3)


def loop_of(change):
    """Return a function for the updates of a loop.

    change(case, before, i): the case, and added gradients. before: the report of the
    update before, or nothing; i, from 0: the number of the update.
    """
    reports = [{}]

    def compute(case):
        case, added = change(case, reports[-1], len(reports) - 1)
        report, n = window_update(case), NumpyArithmetic(np.float64)
        p = present(case.params)
        d = {name: report["d" + name] + added.get("d" + name, 0) for name in p}
        apply_step(n, p, d, present(case.velocity), case.step)
        reports.append(report | {"d" + name: g for name, g in d.items()} | n.report())
        return reports[-1], report["h"]

    return compute


def at_rate(case, rate):
    return case._replace(step=case.step._replace(learning_rate=rate))


def of_last_sequence(case):
    """Return what the last sequence of the batch adds to the gradients."""
    fewer = case._replace(
        x=case.x[:, :-1], target=case.target[:, :-1], h_0=case.h_0[:-1]
    )
    every, others = window_update(case), window_update(fewer)
    return {n: others[n] - every[n] for n in every if n[:2] == "dW"}


PER_EPOCH, LAST = 5, 14  # updates of `series`, and the last one of three epochs
LOOPS = {
    "gradients add up from update to update": lambda case, before, i: (case, before),
    "gradients add up within an epoch": lambda case, before, i: (
        case,
        before if i % PER_EPOCH else {},
    ),
    "the velocity, or sum of squares, reset at every epoch": lambda case, before, i: (
        case if i % PER_EPOCH else case._replace(velocity=None),
        {},
    ),
    "step × 0.37": lambda case, before, i: (
        at_rate(case, 0.37 * 0.05),
        {},
    ),
    "step × 1 to 0.333": lambda case, before, i: (
        at_rate(case, 0.05 / (1 + i // PER_EPOCH)),
        {},
    ),
    f"step × 1 to {0.97**LAST:.3g}": lambda case, before, i: (
        at_rate(case, 0.05 * 0.97**i),
        {},
    ),
    "gradients without the last sequence": lambda case, before, i: (
        case,
        of_last_sequence(case),
    ),
    "": lambda case, before, i: (case._replace(x=case.x + 0.1 * i), {}),
}


@pytest.mark.parametrize("hint", LOOPS)
def test_hint_of_a_loop(hint):
    run = series(3, momentum=0.9 if "velocity" in hint else 0.0)
    found = record(run, train(run, loop_of(LOOPS[hint])))
    assert hint_for_run(found, judge(found).first) == hint
    assert hint_for_run(trace(right, run), judge(found).first) == ""


def hint_of_run(run, updates):
    found = record(run, updates)
    return hint_for_run(found, judge(found).first)


def test_run_that_ends_in_its_first_window_has_no_hint():
    """Moved targets allow anything in the first window: there they explain nothing."""
    run = series(1)
    wrong = record(
        run,
        train(
            run, loop_of(lambda case, before, i: (case._replace(x=case.x + 0.1), {}))
        ),
    ).first(1)
    assert hint_for_run(wrong, judge(wrong).first) == ""


@pytest.mark.parametrize(("words", "shift"), [("ahead", -1), ("behind", 1)])
def test_hint_of_targets_one_step_off(words, shift):
    run = series(2)
    moved = run._replace(target=np.roll(run.target, shift, axis=0))
    assert hint_of_run(run, train(moved)) == f"targets one step {words}"


def test_hint_of_stale_weights():
    def change(case, before, i):
        if i == 0:
            return case, {}
        older = case._replace(params=parameters_from(weights[-1]))
        stale, right_ = window_update(older), window_update(case)
        weights.append(present(case.params))
        return case, {n: stale[n] - right_[n] for n in stale if n[:2] == "dW"}

    run = series(2)
    weights = [present(run.params)]
    found = hint_of_run(run, train(run, loop_of(change)))
    assert found == "gradients of the weights before the last update"


SCHEDULES = {  # of 13 steps under TBPTT(3, 5), the right ones without a hint
    "": "0 0 3, 1 3 6, 4 6 9, 7 9 12, 10 12 13",
    "bptt over k+1 steps": "0 0 3, 0 3 6, 3 6 9, 6 9 12, 9 12 13",
    "chunks instead of a sliding window": "0 0 5, 5 5 10, 10 10 13",
    "the last, shorter window left out": "0 0 3, 1 3 6, 4 6 9, 7 9 12",
    "losses of older steps counted again": "0 0 3, 1 1 6, 4 4 9, 7 7 12, 10 10 13",
    "1 step skipped between windows": "0 0 3, 2 4 7, 6 8 11, 10 12 13",
}


@pytest.mark.parametrize("hint", SCHEDULES)
def test_hint_of_windows(hint):
    rows = [[*map(int, window.split())] for window in SCHEDULES[hint].split(", ")] * 2
    wrong = RecordedRun(series(2, 3, 5), dict(zip(Window._fields, np.transpose(rows))))
    first = Finding(1, 1, "window", None, (0,), 0.0, 0.0, 0.0, np.inf)
    assert hint_for_run(wrong, first) == hint


def test_window_that_is_missing_is_said():
    """Not the next one, of another epoch, is wrong."""
    run = series(2)
    some = [update for update in train(run) if update.number < PER_EPOCH]
    first = judge(record(run, some)).first
    said = "epoch 1, update 5: this window is missing: the number of updates"
    assert first.message().startswith(said)


STATES = {
    "state reset to zero at every window": lambda h, w, epoch: 0 * h[w.start],
    "state reset to h_0 at every window": lambda h, w, epoch: h[0],
    "state not reset between epochs": lambda h, w, epoch: h[
        max(h) if epoch > 1 and w.loss_start == 0 else w.start
    ],
    "state of the newest step at every window": lambda h, w, epoch: h[
        w.loss_start if w.start else 0
    ],
    "state 1 step early at every window": lambda h, w, epoch: h[max(w.start - 1, 0)],
    "state reset to zero in some windows": lambda h, w, epoch: (
        h[w.start] * (w.loss_start % 6 > 0 or w.start == 0)
    ),
    "": lambda h, w, epoch: 0.5 * h[w.start],
}


@pytest.mark.parametrize("hint", STATES)
def test_hint_of_initial_states(hint):
    """The initial states that people take, and one that is none of them."""
    wrong = trace(Definition(carried_state=STATES[hint]), series(2, 3, 3))
    if hint.startswith("state of the newest"):
        wrong = trace(Definition(carried_state=STATES[hint]), series(2, 3, 7))
    assert hint_for_run(wrong, judge(wrong).first) == hint
    assert hint_for_run(trace(right, wrong.run), judge(wrong).first) == ""
