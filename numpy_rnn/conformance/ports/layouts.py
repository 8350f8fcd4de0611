"""Layouts: the axes in which code of its own shape takes its arrays."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.case import NamedArrays

# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose
# N is D or O; those of the state.
LAYOUT_PARTS = (
    ("rows", "columns"),
    ("TBN", "BTN", "TNB", "NBT", "BNT", "TN"),
    ("BH", "HB", "H"),
)


class Layout(NamedTuple):
    """How code takes its arrays."""

    last: str  # "last" if the target is that of the last step, or else empty
    weights: str  # "rows", as in x W_xh, or "columns"
    series: str  # the axes of inputs and targets, whose N is D or O
    state: str  # the axes of the initial state

    @property
    def name(self) -> str:
        """Return the layout as it is stated."""
        return f"{self.weights} {self.series} {self.state} {self.last}".strip()

    @property
    def has_batch(self) -> bool:
        """Return whether there is an axis of sequences."""
        return "B" in self.series

    def text(self, is_one: bool) -> str:
        """Return the axes of the inputs; is_one: of one sequence."""
        axes = ", ".join(self.series.replace("N", "D"))
        text = f"({axes}) batches"
        if is_one:
            text = f"({axes.replace('B', '1')}) sequences"
        return f"{text}, with one target" if self.last else text

    def series_of(self, array: NumpyArray, letters: str) -> NumpyArray:
        """Return a series, or a step of it, whose axes are the first of these."""
        letters = letters[: array.ndim]
        if not self.has_batch:
            array = array.take(0, letters.index("B"))
            letters = letters.replace("B", "")
        order = "".join(sorted(letters, key=self.series.index))
        return np.transpose(array, [letters.index(axis) for axis in order])

    def target_of(self, target: NumpyArray) -> NumpyArray:
        """Return the targets, (K, B, O), or classes, (K, B)."""
        if self.last:
            return self.series_of(target[-1], "BN")
        return self.series_of(target, "TBN")

    def state_of(self, h: NumpyArray) -> NumpyArray:
        """Return a state, (B, H)."""
        states: NamedArrays = {"H": h[0], "HB": h.T, "BH": h, "1BH": h[None]}
        return states[self.state]

    def parameter_of(self, theta: NumpyArray) -> NumpyArray:
        """Return a parameter of the definition."""
        if theta.ndim == 2:
            return theta.T if self.weights == "columns" else theta
        return theta[:, None] if self.state == "HB" else theta


def layouts_of(*parts: Sequence[str]) -> list[Layout]:
    """Return layouts with these parts, those with one target at the end."""
    return [Layout(*choice) for choice in itertools.product(("", "last"), *parts)]
