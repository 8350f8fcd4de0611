"""Runs of random numbers whose sizes and options Hypothesis draws, and the witness of
them.

The witness is the suite's definition with proven bounds on the rounding of a correct
program. It shares no line with the packages, and tests/conformance proves it: the
backward equations by complex steps, the step by torch.optim, and the bounds by
roundings of correct code.
"""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from numpy_rnn import Gradients, Parameters
from numpy_rnn.common import records
from numpy_rnn.common.records import (
    Objective,
    Run,
    RunOptions,
    Schedule,
    Step,
    tree_map,
)
from numpy_rnn.conformance.case import SHAPES, WindowCase, required_outputs
from numpy_rnn.conformance.judge import judge
from numpy_rnn.conformance.runs import RecordedRun, columns_of, stack_columns
from numpy_rnn.conformance.window_checks import local_checks


class Sizes(NamedTuple):
    T: int = 7
    B: int = 2
    D: int = 3
    H: int = 5
    O: int = 1
    N: int | None = None  # networks


class Kind(NamedTuple):
    dtype: str = "float64"
    bias: bool = True
    classes: bool = False  # whether x holds classes
    own: tuple[
        str, ...
    ] = ()  # of x, target and h_0, those that every network has for itself
    velocity: bool = False  # whether the run begins with one, if the step has any
    logits: float = 1.0  # the scale of b_y in a cross-entropy


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
        return normal(1, *steps, *(networks if name in kind.own else ()), B, size)

    def weights():
        W_xh, W_hh = normal(D**-0.5, *networks, D, H), normal(H**-0.5, *networks, H, H)
        biases = [
            normal(0.5, *networks, size) if kind.bias else None for size in (H, O)
        ]
        return Parameters(W_xh, W_hh, normal(1, *networks, H, O), *biases)

    params, x = weights(), series("x", (T,), D)
    target, h_0 = series("target", (T,), O), series("h_0", (), H)
    integers = "int32" if T % 2 else "int64"  # both hold classes
    if kind.classes:
        x = generator.integers(0, D, x.shape[:-1]).astype(integers)
    if options.objective.loss == "cross_entropy":
        target = generator.integers(0, O, target.shape[:-1]).astype(integers)
        params = params._replace(
            b_y=tree_map(lambda b_y: b_y * kind.logits, params.b_y)
        )
    velocity = (
        Gradients(*weights()) if kind.velocity and options.step.has_velocity else None
    )
    if options.step.adagrad:  # sums of squares
        velocity = tree_map(np.square, velocity)
    return Run(params, x, target, h_0, options, velocity)


KINDS = st.builds(
    Kind,
    dtype=st.sampled_from(records.DTYPES),
    bias=st.booleans(),
    classes=st.booleans(),
    own=st.sampled_from([(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]),
    velocity=st.booleans(),
    logits=st.sampled_from([1.0, 1e4]),
)
NAMES = records.NONLINEARITY_NAMES, records.LOSS_NAMES, records.REDUCTION_NAMES
OBJECTIVES = st.builds(Objective, *map(st.sampled_from, NAMES))


@st.composite
def all_sizes(draw, largest=6, networks=(None, None, None, 1, 2, 3, 5)):
    """Draw T, B, D, H and O: distinct, so that no two can be confused, or small."""
    distinct = st.lists(st.integers(1, largest), min_size=5, max_size=5, unique=True)
    sizes = draw(distinct | st.lists(st.integers(1, 3), min_size=5, max_size=5))
    return Sizes(*sizes, draw(st.sampled_from(networks)))


@st.composite
def steps(draw, rate):
    """Draw a Step: often plain, and any options together.

    rate: the largest one of plain descent.
    """
    options = {}
    kind = draw(st.sampled_from([None, "plain", "dampening", "nesterov", "adagrad"]))
    if kind == "adagrad":
        options["adagrad"] = True
    elif kind:
        options["momentum"] = draw(
            st.sampled_from([0.5, 0.9, 0.99]) | st.floats(0.01, 0.95)
        )
        options["nesterov"] = kind == "nesterov"
    if kind == "dampening":
        options["dampening"] = draw(st.sampled_from([0.1, 1.0]) | st.floats(0, 1))
    if draw(st.booleans()):
        options["weight_decay"] = draw(st.floats(0.001, 0.1))
    if clipping := draw(st.sampled_from([None, "max_norm", "max_value"])):
        options[clipping] = draw(st.sampled_from([0.01, 0.3, 1.0, 3.0, 100.0]))
    return Step(
        draw(st.floats(rate / 10, rate)) * (1 - options.get("momentum", 0)), **options
    )


@st.composite
def runs(draw, sizes=all_sizes(), schedule=None, objective=None):  # noqa: B008  (immutable)
    """Draw a Run. k1 and k2 may be longer than the series.

    An ensemble may have a rate per network. The learning rate is so small that relu's
    states do not explode.
    """
    T, B, _, _, O, N = sizes = draw(sizes)
    kind, objective = draw(KINDS), objective or draw(OBJECTIVES)
    if schedule is None:
        k1 = draw(st.integers(1, T + 1))
        schedule = Schedule(k1, draw(st.integers(k1, T + 2)), draw(st.integers(1, 3)))
    step = draw(
        steps(0.05 / (schedule.k1 * B * O if objective.reduction == "sum" else 1))
    )
    if N and draw(st.booleans()):
        rates = step.learning_rate * np.linspace(1, 0.5, N, dtype=kind.dtype)
        step = step._replace(learning_rate=rates)
    options = RunOptions(schedule, objective, step)
    return random_run(sizes, kind, options, draw(st.integers(0, 2**32 - 1)))


@st.composite
def cases(draw):
    """Draw a WindowCase: a run as one window, whose newest steps have a loss."""
    case = as_case(draw(runs(all_sizes(7))))
    return case._replace(target=case.target[draw(st.integers(0, len(case.x) - 1)) :])


def as_case(run) -> WindowCase:
    """Return the whole series as one window with a loss at every step."""
    params, x, target, h_0, (_, objective, step), velocity = run
    return WindowCase(params, x, target, h_0, objective, step, velocity)


def arguments(rnn, run) -> dict[str, Any]:
    """Return the arguments of `train`, in arrays of the package."""
    names = "params", "x", "target", "h_0", "velocity"
    given = {
        name: rnn.from_numpy(getattr(run, name)) for name in names
    } | run.options.keywords()
    rate = run.options.step.learning_rate
    return given | ({"learning_rate": rnn.from_numpy(rate)} if np.ndim(rate) else {})


def train(rnn, run, **changes):
    return rnn.train(**arguments(rnn, run) | changes)


def assert_format(case, report, rows, *updates):
    """Fail unless it has all arrays of the case, with these axes for its steps and
    updates.
    """
    networks = () if case.params.networks is None else (case.params.networks,)
    required = required_outputs(case, intermediates=True, input_gradients=True)
    assert required.keys() == report.keys() & SHAPES.keys()
    for name, shape in required.items():
        has_time = SHAPES[name].startswith("T")
        axes = (
            (rows, *networks, *shape[1:]) if has_time else (*updates, *networks, *shape)
        )
        assert (report[name].shape, report[name].dtype) == (axes, case.dtype), name


def assert_right_window(case, report):
    """Fail unless every array is right up to the rounding, from those that it is
    computed of.
    """
    assert_format(case, report, len(case.x))
    ratios = {check.tensor: check.ratio.max() for check in local_checks(case, report)}
    assert max(ratios.values()) <= 1, ratios


def assert_right_run(run, updates):
    """Fail unless these recorded updates are the run of TBPTT(k1, k2).

    That is, the windows, their initial states to the bit, and each update as a window,
    from the parameters, the velocity and the state that the run reports.
    """
    recorded = RecordedRun(run, stack_columns(columns_of(updates)))
    rows = sum(update.window.steps for update in updates)
    assert_format(as_case(run), recorded.updates, rows, len(updates))
    assert judge(recorded).first is None
