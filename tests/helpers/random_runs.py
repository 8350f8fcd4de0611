"""Runs of random numbers, of given sizes and options or of random ones, and their
witness.

The witness of windows and runs is the suite's definition with proven bounds on the
rounding of a correct program. It shares no line with the packages, and
tests/conformance proves it: the backward equations by complex steps, the step by
torch.optim, and the bounds by roundings of correct code.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import Gradients, Parameters
from numpy_rnn.common import records
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import SHAPES, WindowCase, required_outputs
from numpy_rnn.conformance.random_cases import random_step
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import RunRecorder
from numpy_rnn.conformance.runs.run_sources import recorded_update
from numpy_rnn.conformance.window_checks import checks_at
from tests.helpers.windows import SEED


class Sizes(NamedTuple):
    """Steps, sequences, inputs, hidden units, outputs and networks."""

    T: int = 7
    B: int = 2
    D: int = 3
    H: int = 5
    O: int = 1
    N: int | None = None


class Kind(NamedTuple):
    """What the arrays of a run are."""

    dtype: str = "float64"
    bias: bool = True
    classes: bool = False  # whether x holds classes
    per_network: tuple[str, ...] = ()  # the series of which each network has its own
    velocity: bool = False  # whether the run begins with one, if the step has any
    logits: float = 1.0  # the scale of b_y in a cross-entropy


PER_NETWORK = [(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]
SMALL_STEP = Step(0.1, 0.9, nesterov=True, weight_decay=0.01, max_norm=0.5)
OPTIONS = RunOptions(Schedule(2, 3, 2), Objective(), Step(0.05))
STEPS = [
    Step(0.05),
    Step(0.05, momentum=0.9, dampening=0.5),
    Step(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    Step(0.05, max_norm=0.5),
    Step(0.05, max_value=0.1, weight_decay=0.01),
    Step(0.05, adagrad=True),
]


def random_run(sizes=Sizes(), kind=Kind(), options=OPTIONS, seed=0) -> Run:  # noqa: B008  (immutable)
    """Return a run of numbers of order one: no tanh saturates, no state explodes."""
    T, B, D, H, O, N = sizes
    generator = np.random.default_rng(seed)
    networks = () if N is None else (N,)

    def normal(deviation, *shape):
        return generator.normal(0, deviation, shape).astype(kind.dtype)

    def series(name, steps, size):
        axes = networks if name in kind.per_network else ()
        return normal(1, *steps, *axes, B, size)

    def weights():
        W_xh, W_hh = normal(D**-0.5, *networks, D, H), normal(H**-0.5, *networks, H, H)
        b_h = normal(0.5, *networks, H) if kind.bias else None
        b_y = normal(0.5, *networks, O) if kind.bias else None
        return Parameters(W_xh, W_hh, normal(1, *networks, H, O), b_h, b_y)

    params = weights()
    x = series("x", (T,), D)
    target = series("target", (T,), O)
    h_0 = series("h_0", (), H)
    integers = "int32" if T % 2 else "int64"  # both hold classes
    if kind.classes:
        x = generator.integers(0, D, x.shape[:-1]).astype(integers)
    if options.objective.loss == "cross_entropy":
        target = generator.integers(0, O, target.shape[:-1]).astype(integers)
        if kind.bias:
            params = params._replace(b_y=params.b_y * kind.logits)
    velocity = None
    if kind.velocity and options.step.has_velocity:
        velocity = Gradients(*weights())
        if options.step.adagrad:  # sums of squares
            velocity = tree_map(np.square, velocity)
    return Run(params, x, target, h_0, options, velocity)


def drawn_sizes(draw, largest=6, networks=(None, None, None, 1, 2, 3, 5)) -> Sizes:
    """Draw T, B, D, H and O: distinct, so that no two can be confused, or small."""
    if draw.one_in(2):
        sizes = 1 + draw.generator.permutation(largest)[:5]
    else:
        sizes = draw.generator.integers(1, 4, 5)
    T, B, D, H, O = map(int, sizes)
    return Sizes(T, B, D, H, O, draw.choice(networks))


def drawn_run(draw, sizes=None, schedule=None) -> Run:
    """Draw a run. k1 and k2 may be longer than the series.

    An ensemble may have a rate per network. The learning rate is so small that relu's
    states do not explode.
    """
    sizes = sizes or drawn_sizes(draw)
    kind = Kind(
        dtype=draw.choice(records.DTYPES),
        bias=draw.one_in(2),
        classes=draw.one_in(2),
        per_network=draw.choice(PER_NETWORK),
        velocity=draw.one_in(2),
        logits=draw.choice((1.0, 1e4)),
    )
    objective = Objective(
        draw.choice(records.NONLINEARITY_NAMES),
        draw.choice(records.LOSS_NAMES),
        draw.choice(records.REDUCTION_NAMES),
    )
    if schedule is None:
        k1 = draw.integer(1, sizes.T + 1)
        schedule = Schedule(k1, draw.integer(k1, sizes.T + 2), draw.integer(1, 3))
    terms = 1
    if objective.reduction == "sum":
        terms = schedule.k1 * sizes.B * sizes.O
    step = random_step(draw)
    rate = draw.choice((0.05, 0.01)) / terms * (1 - step.momentum)
    if sizes.N and draw.one_in(2):
        rate = rate * np.linspace(1, 0.5, sizes.N, dtype=kind.dtype)
    options = RunOptions(schedule, objective, step._replace(learning_rate=rate))
    return random_run(sizes, kind, options, draw.integer(0, 2**32 - 1))


def small_run(step=SMALL_STEP, k1=2, k2=5, epochs=2, N=None, dtype="float64") -> Run:
    """Return a run on one sequence of 20 steps, with biases."""
    options = RunOptions(Schedule(k1, k2, epochs), Objective(), step)
    return random_run(Sizes(20, 1, 1, 4, 1, N), Kind(dtype), options, SEED)


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


def train(rnn, run, **changes):
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
    networks = () if case.params.networks is None else (case.params.networks,)
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
    ratios = {
        check.tensor: check.ratio.max() for check in checks_at("L1", case, report)
    }
    assert max(ratios.values()) <= 1, ratios


def assert_right_run(run, updates):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2).

    That is, the windows, their initial states to the bit, and each update as a window,
    from the parameters, the velocity and the state that the run reports.
    """
    recorded = record(run, map(recorded_update, updates))
    rows = sum(update.window.steps for update in updates)
    assert_format(as_case(run), recorded.updates, rows, (len(updates),))
    assert judge(recorded).first is None
