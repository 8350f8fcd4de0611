"""Random training runs and windows: `runs` and `cases` are the strategies of all tests of the core.

Both draw the sizes and options, and a seed for the numbers. A Run holds arrays of NumPy; `train` and `train_stream`
start it in a package.
"""

from typing import Any, NamedTuple

import numpy as np
from comparing import each
from hypothesis import strategies as st

from numpy_rnn import Gradients, Parameters, Window
from numpy_rnn.common.records import DTYPES, Objective, Run, RunOptions, Schedule, Step, WindowCase


class Sizes(NamedTuple):
    T: int = 7
    B: int = 2
    D: int = 3
    H: int = 5
    O: int = 1
    E: tuple[int, ...] = ()


class Kind(NamedTuple):
    dtype: str = "float64"
    bias: bool = True
    learned: bool = False  # whether the initial state is a parameter
    classes: bool = False  # whether x, and the target of a cross-entropy, hold classes
    weighted: bool = False  # whether the losses have weights
    own: tuple[str, ...] = ()  # of x, target and h_0, those that every network has for itself
    axes: tuple[int, ...] | None = (
        None  # their ensemble axes, if not E: 1 where networks share them
    )


OPTIONS = RunOptions(Schedule(2, 3, 2), Objective(), Step(0.05))
STEPS = [
    {}, {"momentum": 0.9, "dampening": 0.5}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"max_norm": 0.5}, {"max_value": 0.1, "weight_decay": 0.01}, {"adagrad": True},
]  # fmt: skip


def random_run(seed, sizes=Sizes(), kind=Kind(), options=OPTIONS) -> Run:  # noqa: B008  (records are immutable)
    """Numbers of order one, scaled so that neither tanh saturates nor the state explodes.

    The sums of distributions are 1 up to what rounded ones may be off.
    """
    T, B, D, H, O, E = sizes
    generator, loss = np.random.default_rng(seed), options.objective.loss

    def normal(deviation, *shape):
        return generator.normal(0, deviation, shape).astype(kind.dtype)

    def series(name, steps, size):
        axes = E if name == "h_0" and kind.learned else (kind.axes or E) if name in kind.own else ()
        return normal(1, *steps, *axes, B, size)

    W_xh, W_hh, W_hy = normal(D**-0.5, *E, D, H), normal(H**-0.5, *E, H, H), normal(1, *E, H, O)
    biases = (normal(0.5, *E, H), normal(0.5, *E, O)) if kind.bias else (None, None)
    x, target, h_0 = series("x", (T,), D), series("target", (T,), O), series("h_0", (), H)
    integers = "int32" if T % 2 else "int64"  # both hold classes
    if kind.classes:
        x = generator.integers(0, D, x.shape[:-1]).astype(integers)
    if loss == "cross_entropy" and kind.classes:
        target = generator.integers(0, O, target.shape[:-1]).astype(integers)
    elif loss == "cross_entropy":
        rows = np.exp(target) / np.exp(target).sum(axis=-1, keepdims=True)
        target = (rows * generator.uniform(0.9995, 1.0005, (*target.shape[:-1], 1))).astype(
            kind.dtype
        )
    weights = (
        generator.choice([0.0, 1.0, 0.4, 2.0], (T, B)).astype(kind.dtype) if kind.weighted else None
    )
    params = Parameters(W_xh, W_hh, W_hy, *biases)._replace(h_0=h_0 if kind.learned else None)
    return Run(params, x, target, None if kind.learned else h_0, weights, options)


@st.composite
def steps(draw, rate):
    """A Step: often plain, and any options together. rate: the largest rate of plain gradient descent."""
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


ENSEMBLES: list[tuple[int, ...]] = [(), (), (), (1,), (2,), (3,), (5,), (1, 2), (2, 2)]


@st.composite
def runs(draw, largest=6, dtypes=DTYPES, ensembles=ENSEMBLES, own=("x", "target", "h_0")):
    """A Run. T, B, D, H and O are distinct, so that no two can be confused, or small and perhaps equal.

    k1 and k2 may be longer than the series. The learning rate is so small that relu's states do not explode.
    """
    distinct = st.lists(st.integers(1, largest), min_size=5, max_size=5, unique=True)
    T, B, D, H, O = draw(distinct | st.lists(st.integers(1, 3), min_size=5, max_size=5))
    E, seed = draw(st.sampled_from(ensembles)), draw(st.integers(0, 2**32 - 1))
    shared = draw(
        st.integers(-1, len(E) - 1)
    )  # an axis along which networks share their own series, if any
    flags = dict.fromkeys(("bias", "learned", "classes", "weighted"), st.booleans())
    of_networks = st.sampled_from([(), *((name,) for name in own), own])
    axes = tuple(1 if axis == shared else size for axis, size in enumerate(E))
    kind = draw(
        st.builds(Kind, st.sampled_from(dtypes), **flags, own=of_networks, axes=st.just(axes))
    )
    objective = Objective(
        draw(st.sampled_from(["tanh", "relu", "sigmoid"])), draw(st.sampled_from(["squared_error", "cross_entropy"])),
        draw(st.sampled_from(["sum", "mean"])),
    )  # fmt: skip
    k1 = draw(st.integers(1, T + 1))
    schedule = Schedule(k1, draw(st.integers(k1, T + 2)), draw(st.integers(1, 3)))
    step = draw(steps(0.05 / (k1 * B * O if objective.reduction == "sum" else 1)))
    if E and draw(st.booleans()):
        shape = [size if draw(st.booleans()) else 1 for size in E]
        rates = np.random.default_rng(seed).uniform(0, step.learning_rate, shape)
        step = step._replace(learning_rate=rates)
    return random_run(seed, Sizes(T, B, D, H, O, E), kind, RunOptions(schedule, objective, step))


@st.composite
def cases(draw, dtypes=DTYPES):
    """A WindowCase of one network: a run as one window, of whose steps the newest have a loss."""
    run = draw(runs(7, dtypes, ensembles=[()]))
    T = len(run.x)
    velocity = random_velocity(run, draw(st.sampled_from(["no", "all", "weights"])))
    return window_case(
        run, Window(0, T - draw(st.integers(1, T)), T), run.params, run.h_0, velocity
    )


def random_velocity(run, moving):
    """A velocity, or sums of squares, to begin with: "all", of the "weights" alone, or None for "no"."""
    step = run.options.step
    if not step.has_velocity or moving == "no":
        return None
    velocity = Gradients(*each(lambda theta: theta[..., ::-1].copy(), run.params))
    velocity = each(np.square, velocity) if step.adagrad else velocity
    return velocity if moving == "all" else velocity._replace(h_0=None)


def window_case(run, window, params, h_0, velocity) -> WindowCase:
    """One window of a run of one network, from its parameters, initial state and velocity.

    Where a learned state is not the initial one, h_0 is given: it is a constant.
    """
    start, loss_start, stop = window
    params = params if h_0 is None else params._replace(h_0=None)
    weights = None if run.weights is None else run.weights[loss_start:stop]
    x, target, (_, objective, step) = run.x[start:stop], run.target[loss_start:stop], run.options
    return WindowCase(params, x, target, h_0, weights, objective, step, velocity)


def network(run, n) -> Run:
    """The run of one network of an ensemble: its parameters, its rate, and its own data where it has some."""

    def own(array, axes_before, axes):
        if array.ndim == axes - (array.dtype.kind == "i"):
            return array
        shared = tuple(i if size > 1 else 0 for i, size in zip(n, array.shape[axes_before:]))
        return array[(slice(None),) * axes_before + shared]

    step = run.options.step
    rate = np.broadcast_to(step.learning_rate, run.params.W_hh.shape[:-2])[n]
    return run._replace(
        params=each(lambda theta: theta[n], run.params), x=own(run.x, 1, 3), target=own(run.target, 1, 3),
        h_0=None if run.h_0 is None else own(run.h_0, 0, 2),
        options=run.options._replace(step=step._replace(learning_rate=float(rate))),
    )  # fmt: skip


def arguments(rnn, run) -> dict[str, Any]:
    """The arguments of `train`, in arrays of the package."""
    arrays = {
        name: rnn.from_numpy(getattr(run, name))
        for name in ("params", "x", "target", "h_0", "weights")
    }
    return arrays | run.options.keywords()


def train(rnn, run, **changes):
    return rnn.train(**arguments(rnn, run) | changes)


def train_stream(rnn, run, stream=None, **changes):
    """One epoch of the run, or of another stream, as a stream."""
    given = arguments(rnn, run)
    series = [given.pop(name) for name in ("x", "target", "weights")]
    given["steps"] = zip(*(v for v in series if v is not None)) if stream is None else stream
    del given["epochs"]
    return rnn.train_stream(**given | changes)
