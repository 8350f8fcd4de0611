"""Runs of random numbers, of given sizes and options or of random ones, and their
witness.

The witness of windows and runs is the suite's definition with proven bounds on the
rounding of a correct program. It shares no line with the packages, and
tests/conformance proves it: the backward equations by complex steps, the step by
torch.optim, and the bounds by roundings of correct code.
"""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import (
    SHAPES,
    WindowCase,
    options_by_run,
    required_outputs,
)
from numpy_rnn.conformance.random_cases import CaseSpec, random_spec, run_of
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import RunRecorder
from numpy_rnn.conformance.runs.run_sources import recorded_update
from tests.helpers.windows import SEED, assert_right

SPEC = CaseSpec(T=7, B=2, D=3, H=5, O=1, K=7, dtype="float64", bias=True)
NETWORKS = (None, None, None, 1, 2, 3, 5)
PER_NETWORK = [(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]
NETWORK_AXES = {"x": 1, "target": 1, "h_0": 0}
SMALL_STEP = Step(0.1, 0.9, nesterov=True, weight_decay=0.01, max_norm=0.5)
OPTIONS = RunOptions(Schedule(2, 3, 2), Objective(), Step(0.05))
DECAYING = {"learning_rate": 0.05, "weight_decay": 0.01}
# The plain step, and one of each option, and weight decay.
STEPS = [Step(0.05), *(Step(**DECAYING | each) for each in options_by_run().values())]


def made_run(options=OPTIONS, N=None, per_network=(), **fields) -> Run:
    """Return a run whose numbers are of order one.

    fields: of its spec, such as its sizes. per_network: the series of which each of N
    networks has its own.
    """
    spec = SPEC._replace(objective=options.objective, step=options.step, **fields)
    run = run_of(spec._replace(K=spec.T), options.schedule, 1.0)
    run = run._replace(options=options)
    return run if N is None else ensemble(run, N, per_network)


def ensemble(run, N, per_network) -> Run:
    """Return the run of N networks. Each has the numbers of the one before it, moved on
    by an element.
    """

    def moved(array, axis=0):
        return np.stack([np.roll(array, n) for n in range(N)], axis)

    for name in per_network:
        series = moved(getattr(run, name), NETWORK_AXES[name])
        run = run._replace(**{name: series})
    params, velocity = tree_map(moved, (run.params, run.velocity))
    return run._replace(params=params, velocity=velocity)


def drawn_run(draw, networks=NETWORKS, schedule=None, **sizes) -> Run:
    """Draw a run. k1 and k2 may be longer than the series.

    An ensemble may have a rate per network. The learning rate is so small that relu's
    states do not explode.
    """
    spec = random_spec(draw)._replace(learnt=False, special="", **sizes)
    if schedule is None:
        k1 = draw.integer(1, spec.T + 1)
        schedule = Schedule(k1, draw.integer(k1, spec.T + 2), draw.integer(1, 3))
    run = run_of(spec._replace(K=spec.T), schedule, draw.choice((1.0, 0.3)))
    N = draw.choice(networks)
    if N is None:
        return run
    step = run.options.step
    if draw.one_in(2):
        rates = step.learning_rate * np.linspace(1, 0.5, N, dtype=spec.dtype)
        step = step._replace(learning_rate=rates)
    run = run._replace(options=run.options._replace(step=step))
    return ensemble(run, N, draw.choice(PER_NETWORK))


def small_run(step=SMALL_STEP, k1=2, k2=5, epochs=2, N=None, dtype="float64") -> Run:
    """Return a run on one sequence of 20 steps, with biases."""
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), step)
    return made_run(options, N, T=20, B=1, D=1, H=4, dtype=dtype, seed=SEED)


def as_case(run) -> WindowCase:
    """Return the whole series as one window with a loss at every step."""
    params, x, target, h_0, (_, objective, step), velocity = run
    return WindowCase(params, x, target, h_0, objective, step, velocity)


def arguments(rnn, run) -> dict[str, Any]:
    """Return the arguments of `train`, in arrays of the package."""
    keywords = run.options.keywords()
    for name in ("params", "x", "target", "h_0", "velocity"):
        keywords[name] = rnn.from_numpy(getattr(run, name))
    if np.ndim(keywords["learning_rate"]):
        keywords["learning_rate"] = rnn.from_numpy(keywords["learning_rate"])
    return keywords


def train_run(rnn, run, **changes):
    return rnn.train(**arguments(rnn, run) | changes)


def record(run, updates):
    """Return the run with all of these updates."""
    recorder = RunRecorder(run)
    for update in updates:
        recorder.append_report(update)
    return recorder.recorded()


def assert_format(case, report, rows, updates=()):
    """Fail unless a report has all arrays of the case.

    rows: the length of the axis of steps. updates: the axes of updates, of the others.
    """
    networks = case.params.W_hh.shape[:-2]
    required = required_outputs(case)
    assert required.keys() == report.keys() & SHAPES.keys()
    for name, shape in required.items():
        expected = (*updates, *networks, *shape)
        if SHAPES[name].startswith("T"):
            expected = (rows, *networks, *shape[1:])
        assert (report[name].shape, report[name].dtype) == (expected, case.dtype), name


def assert_right_window(case, report):
    """Fail unless every array is right up to the rounding, from those that it is
    computed of.
    """
    assert_format(case, report, len(case.x))
    assert_right(case, report, "L1")


def assert_right_run(run, updates):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2).

    That is, the windows, their initial states to the bit, and each update as a window,
    from the parameters, the velocity and the state that the run reports.
    """
    recorded = record(run, map(recorded_update, updates))
    rows = sum(update.window.steps for update in updates)
    assert_format(as_case(run), recorded.updates, rows, (len(updates),))
    assert judge(recorded).first is None
