"""The axis of time, found by what depends on what, and edits of steps, sequences and
states.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import join_names
from numpy_rnn.conformance.equivalence.edits import Change, Edit
from numpy_rnn.conformance.equivalence.runs import Arguments, ArraysByPath, Compute


class TimeAxis(NamedTuple):
    """The axis of time of an input."""

    path: str  # of the input
    axis: int
    size: int

    @property
    def words(self) -> str:
        """How many steps there are, and where."""
        return f"{self.size} steps (axis {self.axis} of {self.path})"

    def axis_in(self, shape: tuple[int, ...]) -> int | None:
        """Return the axis of time of an array that a function returns, if any."""
        if len(shape) > self.axis and shape[self.axis] == self.size:
            return self.axis
        return shape.index(self.size) if self.size in shape[:2] else None


def time_axis_of(
    compute: Compute, arguments: Arguments, values: ArraysByPath
) -> TimeAxis | None:
    """Return the axis of time, None if nothing shows it.

    The input at step 0 changes later outputs. The first sequence of a batch changes its
    own outputs alone.
    """
    path = next(iter(inputs_of(arguments)), None)
    if path is None:
        return None
    array = arguments.arrays()[path]
    params = arguments._replace(data=()).arrays()
    shapes = {parameter.shape for parameter in params.values()}  # and of gradients
    # A matrix has rows of features.
    for axis, size in enumerate(array.shape[: max(1, array.ndim - 1)][:2]):
        found = TimeAxis(path, axis, size)
        changed = array.copy()
        first = changed.swapaxes(0, axis)[0]  # a view
        first[...] = 0.5 - first
        try:
            others = compute(arguments.replace({path: changed}))
        except Exception:  # the user's code may raise anything there
            continue
        for name, value in values.items():
            place = found.axis_in(value.shape)
            if place is None or size < 2 or value.shape in shapes:
                continue
            differs = np.moveaxis(others[name] != value, place, 0)
            if differs[1:].any():
                return found
    return None


def inputs_of(arguments: Arguments) -> list[str]:
    """Return the paths of the data that may have an axis of time."""
    data = arguments._replace(params=()).arrays()
    return [path for path, array in data.items() if array.ndim >= 2]


def first_steps(arguments: Arguments, time_axis: TimeAxis, steps: int) -> Arguments:
    """Return the arguments with the first steps alone."""
    data = {}
    for path in inputs_of(arguments):
        array = arguments.arrays()[path]
        if array.shape[time_axis.axis] == time_axis.size:
            data[path] = array.take(range(steps), time_axis.axis)
    return arguments.replace(data)


# Edits of the data


def step_edits(arguments: Arguments, time_axis: TimeAxis | None) -> Iterator[Edit]:
    """Yield edits of the data: states of zeros, reversed steps, exchanged axes."""
    arrays = arguments._replace(params=()).arrays()
    yield from states_of_zeros(arrays)
    inputs = inputs_of(arguments)
    if not inputs:
        return
    shape = arrays[inputs[0]].shape
    axes = (0, 1)[: len(shape) - 1]
    for axis in axes if time_axis is None else (time_axis.axis,):
        size = shape[axis]
        related = [p for p in inputs if arrays[p].shape[axis : axis + 1] == (size,)]
        for paths in unique([inputs[:1], related]):
            words = f"{join_names(paths)} reversed along axis {axis}"
            change = changing(paths, axis, size, reverse)
            back = changing(None, axis, size, reverse)
            yield Edit(f"{words}, and its results too", change, back)
            yield Edit(words, change)
    related = [p for p in inputs if arrays[p].shape[:2] == shape[:2]]
    for paths in unique([inputs[:1], related]):
        words = f"axes 0 and 1 of {join_names(paths)} exchanged"
        change = changing(paths, 0, shape[0], exchange)
        back = changing(None, 0, shape[1], exchange)
        yield Edit(f"{words} (time and batch), and its results too", change, back)
        yield Edit(f"{words} (time and batch)", change)


def unique(groups: Sequence[list[str]]) -> list[list[str]]:
    """Return the groups without repetitions."""
    return [g for i, g in enumerate(groups) if g not in groups[:i]]


def states_of_zeros(data: ArraysByPath) -> Iterator[Edit]:
    """Yield edits that set what may be an initial state to zero: all but the inputs."""
    paths = [path for path, array in data.items() if array.any()][1:]
    for count in (len(paths), *range(1, min(len(paths), 3))):
        for group in itertools.combinations(paths, count):
            if group:
                words = f"{join_names([*group])} = 0 (does {{other}} start from zeros?)"
                yield Edit(words, zeroing(group))


def zeroing(paths: Sequence[str]) -> Change:
    """Return the change that sets arrays to zero."""
    return lambda arrays: {path: np.zeros_like(arrays[path]) for path in paths}


def changing(
    paths: Sequence[str] | None,
    axis: int,
    size: int,
    change: Callable[[NumpyArray, int], NumpyArray],
) -> Change:
    """Return the change of these arrays, or of all that have this axis."""

    def changed(arrays: ArraysByPath) -> ArraysByPath:
        """Return the arrays that change."""
        names = paths
        if names is None:
            names = [
                n for n, a in arrays.items() if a.shape[axis : axis + 1] == (size,)
            ]
        return {name: change(arrays[name], axis) for name in names}

    return changed


def reverse(array: NumpyArray, axis: int) -> NumpyArray:
    """Return the array with the order of an axis reversed."""
    return np.flip(array, axis).copy()


def exchange(array: NumpyArray, axis: int) -> NumpyArray:
    """Return the array with its first two axes exchanged."""
    return array.swapaxes(0, 1).copy() if array.ndim > 1 else array
