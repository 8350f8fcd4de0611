"""The cases that are timed: training runs of fixed sizes and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import (
    Dtype,
    NumpyArray,
    Objective,
    Parameters,
    RunOptions,
    Schedule,
    Step,
)

# Parameters, x, target and h_0.
Arrays = tuple[Parameters[NumpyArray], NumpyArray, NumpyArray, NumpyArray]

BENCHMARK_RATE = 0.1
MAX_GRADIENT = 5.0  # of a character model, whose gradients are clipped by value


class Case(NamedTuple):
    """A training run of fixed sizes and numbers."""

    name: str
    T: int
    B: int
    D: int
    H: int
    O: int
    options: RunOptions
    data: Callable[[Case], Arrays]  # makes the arrays
    dtype: Dtype = "float32"
    networks: int | None = None
    every_update: bool = False  # whether the loss is read after every update

    @property
    def is_text(self) -> bool:
        """Whether it is a character model, whose inputs are classes."""
        return self.options.objective.has_classes

    @property
    def updates(self) -> int:
        """The number of updates of the run."""
        k1, _, epochs = self.options.schedule
        return epochs * math.ceil(self.T / k1)

    def arrays(self) -> Arrays:
        """Return parameters, x, target and h_0: the same numbers in every call."""
        return self.data(self)

    def beginning(self) -> Case:
        """Return the part of the run whose results are checked: later, rounding errors
        are large.
        """
        k1, k2, epochs = self.options.schedule
        options = self.options._replace(schedule=Schedule(k1, k2, min(epochs, 5)))
        return self._replace(T=3 * k1 if self.is_text else self.T, options=options)


def sine_arrays(case: Case) -> Arrays:
    """Return the weights and the series of the default experiment."""
    params = numpy_rnn.initial_parameters(dtype=case.dtype, networks=case.networks)
    series = np.sin(np.linspace(2, 10, case.T + 1)).astype(case.dtype).reshape(-1, 1, 1)
    return (
        params,
        series[:-1].copy(),
        series[1:].copy(),
        np.zeros((1, case.H), case.dtype),
    )


def random_arrays(case: Case) -> Arrays:
    """Return weights of variance 1 / fan-in, and data of variance 1. States neither
    vanish nor saturate.
    """
    T, B = case.T, case.B
    D, H, O = case.D, case.H, case.O
    generator = np.random.default_rng(0)
    shapes = (D, H), (H, H), (H, O), (T, B, D), (T, B, O), (B, H)
    arrays = [generator.normal(size=shape).astype(case.dtype) for shape in shapes]
    weights = [W * np.asarray(len(W) ** -0.5, W.dtype) for W in arrays[:3]]
    x, target, a_0 = arrays[3:]
    return Parameters(*weights), x, target, np.tanh(a_0)


def text_arrays(case: Case) -> Arrays:
    """Return the small weights of min-char-rnn, zero biases, and a random text, of
    which each character has at most four successors.
    """
    D, H, O = case.D, case.H, case.O
    generator = np.random.default_rng(0)
    shapes = (D, H), (H, H), (H, O)
    weights = [(0.01 * generator.normal(size=n)).astype(case.dtype) for n in shapes]
    biases = [np.zeros(size, case.dtype) for size in (H, O)]
    followers = generator.integers(D, size=(D, 4))
    text = [0]
    for choice in generator.integers(4, size=case.T):
        text.append(followers[text[-1], choice])
    classes = np.array(text)[:, None]
    return (
        Parameters(*weights, *biases),
        classes[:-1],
        classes[1:],
        np.zeros((case.B, H), case.dtype),
    )


def sine_run(name: str, k2: int = 1, epochs: int = 300, **options: Any) -> Case:
    """Return a run on the series of the default experiment."""
    run = RunOptions(Schedule(1, k2, epochs), Objective(), Step(BENCHMARK_RATE))
    return Case(
        name, T=20, B=1, D=1, H=6, O=1, options=run, data=sine_arrays, **options
    )


def window_run(H: int, B: int, T: int = 50, epochs: int = 30) -> Case:
    """Return a run of one window per epoch, at a rate below the curvature of the loss
    along W_hy.
    """
    run = RunOptions(
        Schedule(T, T, epochs), Objective(), Step(BENCHMARK_RATE / (T * B * H))
    )
    name = f"H = {H}, B = {B}, T = {T}"
    return Case(name, T=T, B=B, D=1, H=H, O=1, options=run, data=random_arrays)


def character_run(dtype: Dtype, updates: int = 100) -> Case:
    """Return the model of min-char-rnn: H = 100, chunks of 25 of 65 characters, a
    carried state.
    """
    step = Step(BENCHMARK_RATE, adagrad=True, max_value=MAX_GRADIENT)
    run = RunOptions(Schedule(25, 25, 1), Objective(loss="cross_entropy"), step)
    return Case(
        f"character model, {dtype}",
        T=25 * updates,
        B=1,
        D=65,
        H=100,
        O=65,
        options=run,
        data=text_arrays,
        dtype=dtype,
    )


CASES = {
    case.name: case
    for case in (
        sine_run("default experiment"),
        sine_run("default experiment, every update", every_update=True),
        sine_run("sliding window, k2 = 5", k2=5, epochs=60),
        sine_run("1,000 networks, each", networks=1000, epochs=30),
        sine_run("10,000 networks, each", networks=10_000, epochs=10),
        character_run("float32"),
        character_run("float64"),
        window_run(64, 8, epochs=100),
        window_run(256, 32),
    )
}
