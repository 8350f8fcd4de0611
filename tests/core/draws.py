"""Draws of runs and windows: `runs` and `cases` are the strategies of all tests of the core.

Both draw the sizes and options, and a seed for the numbers; `train` starts a run in a package.
"""

from typing import Any

import numpy as np
from cases import Kind, Sizes, random_run
from comparing import each
from hypothesis import strategies as st

from numpy_rnn import Gradients, Window
from numpy_rnn.common.records import (
    DTYPES,
    LOSS_NAMES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    Objective,
    Run,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.conformance.case import WindowCase

STEPS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"max_norm": 0.5},
    {"max_value": 0.1, "weight_decay": 0.01},
    {"adagrad": True},
]


@st.composite
def steps(draw, rate):
    """A Step: often plain, and any options together. rate: the largest one of plain descent."""
    options = {}
    kind = draw(st.sampled_from([None, "plain", "dampening", "nesterov", "adagrad"]))
    if kind == "adagrad":
        options["adagrad"] = True
    elif kind:
        options["momentum"] = draw(st.sampled_from([0.5, 0.9, 0.99]) | st.floats(0.01, 0.95))
        options["nesterov"] = kind == "nesterov"
    if kind == "dampening":
        options["dampening"] = draw(st.sampled_from([0.1, 1.0]) | st.floats(0, 1))
    if draw(st.booleans()):
        options["weight_decay"] = draw(st.floats(0.001, 0.1))
    clipping = draw(st.sampled_from([None, "max_norm", "max_value"]))
    if clipping:
        options[clipping] = draw(st.sampled_from([0.01, 0.3, 1.0, 3.0, 100.0]))
    return Step(draw(st.floats(rate / 10, rate)) * (1 - options.get("momentum", 0)), **options)


OBJECTIVES = st.builds(
    Objective,
    st.sampled_from(NONLINEARITY_NAMES),
    st.sampled_from(LOSS_NAMES),
    st.sampled_from(REDUCTION_NAMES),
)
NETWORKS = (None, None, None, 1, 2, 3, 5)


@st.composite
def runs(draw, largest=6, dtypes=DTYPES, networks=NETWORKS):
    """A Run. T, B, D, H and O are distinct, so that no two can be confused, or small.

    k1 and k2 may be longer than the series. The learning rate is so small that relu's states do not
    explode. An ensemble may have one rate per network, and the run may begin with a velocity.
    """
    distinct = st.lists(st.integers(1, largest), min_size=5, max_size=5, unique=True)
    T, B, D, H, O = draw(distinct | st.lists(st.integers(1, 3), min_size=5, max_size=5))
    N, seed = draw(st.sampled_from(networks)), draw(st.integers(0, 2**32 - 1))
    series = ("x", "target", "h_0")
    own = draw(st.sampled_from([(), *((name,) for name in series), series]))
    kind = Kind(draw(st.sampled_from(dtypes)), draw(st.booleans()), draw(st.booleans()), own)
    objective, k1 = draw(OBJECTIVES), draw(st.integers(1, T + 1))
    schedule = Schedule(k1, draw(st.integers(k1, T + 2)), draw(st.integers(1, 3)))
    step = draw(steps(0.05 / (k1 * B * O if objective.reduction == "sum" else 1)))
    if N and draw(st.booleans()):
        rates = np.random.default_rng(seed).uniform(0, step.learning_rate, N)
        step = step._replace(learning_rate=rates.astype(kind.dtype))
    options = RunOptions(schedule, objective, step)
    run = random_run(seed, Sizes(T, B, D, H, O, N), kind, options)
    return run._replace(velocity=random_velocity(run)) if draw(st.booleans()) else run


@st.composite
def cases(draw, dtypes=DTYPES, networks=NETWORKS):
    """A WindowCase: a run as one window, of whose steps the newest have a loss."""
    run = draw(runs(7, dtypes, networks))
    T = len(run.x)
    return window_case(run, Window(0, T - draw(st.integers(1, T)), T))


def random_velocity(run) -> Gradients | None:
    """A velocity, or sums of squares, to begin with; None where the step has none."""
    step = run.options.step
    if not step.has_velocity:
        return None
    velocity = each(lambda theta: theta[..., ::-1].copy(), run.params)
    return Gradients(*(each(np.square, velocity) if step.adagrad else velocity))


def window_case(run, window, params=None, h_0=None, velocity=None) -> WindowCase:
    """One window of a run, from its own parameters, initial state and velocity, or from others."""
    params, h_0 = run.params if params is None else params, run.h_0 if h_0 is None else h_0
    x, target = run.x[window.start : window.stop], run.target[window.loss_start : window.stop]
    _, objective, step = run.options
    velocity = run.velocity if velocity is None else velocity
    return WindowCase(params, x, target, h_0, objective, step, velocity)


def network(run, n) -> Run:
    """The run of one network of an ensemble, with its own data where it has some."""
    N, step = run.networks, run.options.step
    classes = run.x.dtype.kind == "i", run.target.dtype.kind == "i"
    x = run.x[:, n] if run.x.ndim + classes[0] == 4 else run.x
    target = run.target[:, n] if run.target.ndim + classes[1] == 4 else run.target
    step = step._replace(learning_rate=float(np.broadcast_to(step.learning_rate, N)[n]))
    return Run(
        params=each(lambda theta: theta[n], run.params),
        x=x,
        target=target,
        h_0=run.h_0[n] if run.h_0.ndim == 3 else run.h_0,
        options=run.options._replace(step=step),
        velocity=run.velocity and each(lambda v: v[n], run.velocity),
    )


def arguments(rnn, run) -> dict[str, Any]:
    """The arguments of `train`, in arrays of the package."""
    names = "params", "x", "target", "h_0", "velocity"
    given = {name: rnn.from_numpy(getattr(run, name)) for name in names} | run.options.keywords()
    rate = run.options.step.learning_rate
    return given | ({"learning_rate": rnn.from_numpy(rate)} if np.ndim(rate) else {})


def train(rnn, run, **changes):
    return rnn.train(**arguments(rnn, run) | changes)
