"""Random training runs, of arrays of NumPy: sizes and options are given, numbers are drawn."""

from typing import NamedTuple

import numpy as np

from numpy_rnn import Parameters
from numpy_rnn.common.records import Objective, Run, RunOptions, Schedule, Step


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
    own: tuple[str, ...] = ()  # of x, target and h_0, those that every network has for itself


OPTIONS = RunOptions(Schedule(2, 3, 2), Objective(), Step(0.05))


def random_run(seed, sizes=Sizes(), kind=Kind(), options=OPTIONS) -> Run:  # noqa: B008  (immutable)
    """Numbers of order one, scaled so that neither tanh saturates nor the state explodes."""
    T, B, D, H, O, N = sizes
    generator = np.random.default_rng(seed)
    networks = () if N is None else (N,)

    def normal(deviation, *shape):
        return generator.normal(0, deviation, shape).astype(kind.dtype)

    def series(name, steps, size):
        return normal(1, *steps, *(networks if name in kind.own else ()), B, size)

    W_xh, W_hh = normal(D**-0.5, *networks, D, H), normal(H**-0.5, *networks, H, H)
    W_hy = normal(1, *networks, H, O)
    biases = (normal(0.5, *networks, H), normal(0.5, *networks, O)) if kind.bias else (None, None)
    x, target, h_0 = series("x", (T,), D), series("target", (T,), O), series("h_0", (), H)
    integers = "int32" if T % 2 else "int64"  # both hold classes
    if kind.classes:
        x = generator.integers(0, D, x.shape[:-1]).astype(integers)
    if options.objective.loss == "cross_entropy":
        target = generator.integers(0, O, target.shape[:-1]).astype(integers)
    return Run(Parameters(W_xh, W_hh, W_hy, *biases), x, target, h_0, options)
