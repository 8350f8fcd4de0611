"""What is timed: the main job, and one row a way to do it.

A row is a function from a Case to the losses of its epochs. Its time is what a user waits for once everything is
imported: from NumPy weights and series to a list of floats.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import numpy_rnn
import torch_rnn
from benchmarks import tutorial
from numpy_rnn import Parameters
from numpy_rnn.common.files.data import inputs_and_targets, sine


class Case(NamedTuple):
    """One training run: one update a point, every epoch from a zero state."""

    weights: Parameters  # NumPy arrays
    series: np.ndarray  # (T+1,): inputs are all but the last, targets all but the first
    epochs: int
    learning_rate: float = 0.1

    @property
    def points(self) -> int:
        return self.epochs * (len(self.series) - 1)


Row = Callable[[Case], list[float]]


def sine_case(dtype: str, epochs: int, seed: int = 0) -> Case:
    """The main job: 21 points of a sine, six hidden units."""
    return Case(numpy_rnn.initial_parameters(dtype=dtype, seed=seed), sine()[:, 0].astype(dtype), epochs)


def package_row(rnn) -> Row:
    """The row of a package that exports the names of `numpy_rnn`."""

    def losses_of_epochs(case: Case) -> list[float]:
        dtype = case.series.dtype
        x, target = map(rnn.from_numpy, inputs_and_targets(case.series[:, None], dtype))
        h_0 = rnn.from_numpy(np.zeros((1, len(case.weights.W_hh)), dtype))
        params = rnn.from_numpy(case.weights)
        losses = [0.0] * case.epochs
        for update in rnn.train(
            params, x, target, h_0, k1=1, k2=1, learning_rate=case.learning_rate, epochs=case.epochs
        ):
            losses[update.epoch - 1] += float(update.loss)
        return losses

    return losses_of_epochs


def tutorial_row(case: Case) -> list[float]:
    """The row of the tutorial program, which all others are held against."""
    losses, _ = tutorial.train(*case.weights[:3], case.series, case.epochs, case.learning_rate)
    return losses


TUTORIAL = "tutorial"
ROWS: dict[str, Row] = {
    "numpy_rnn": package_row(numpy_rnn),
    "torch_rnn": package_row(torch_rnn),
    TUTORIAL: tutorial_row,
}
