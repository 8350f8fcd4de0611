"""Edits of what a function gets: gates in another order, a matrix transposed, a bias or
a state of zeros, steps in another order.

An edit changes the arguments before a call, and sets right what comes back: the
gradient of permuted parameters is permuted back.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.equivalence.runs import Arguments, ArraysByPath, Compute

GATE_COUNTS = (4, 3, 2)
Change = Callable[[ArraysByPath], ArraysByPath]  # returns the arrays that change
ArrayChange = Callable[[NumpyArray], NumpyArray]


def nothing(arrays: ArraysByPath) -> ArraysByPath:
    """Return no changed arrays."""
    return {}


class Edit(NamedTuple):
    """A change of the arguments, and what it makes of the results."""

    words: str  # what a function gets; {other} is the other function
    arguments: Change
    results: Change = nothing

    def applied(self, compute: Compute) -> Compute:
        """Return the function with this edit."""

        def edited(arguments: Arguments) -> ArraysByPath:
            """Compute with other arguments, and change the results."""
            values = compute(arguments.replace(self.arguments(arguments.arrays())))
            return values | self.results(values)

        return edited


class ParameterEdits(NamedTuple):
    """Edits of the parameters. gradients: the names of their gradients, by path."""

    params: ArraysByPath
    gradients: Mapping[str, str]

    def all(self) -> Iterator[Edit]:
        """Yield all edits, the cheap ones first."""
        yield from self.without_biases()
        yield from self.transposed()
        yield from self.exchanged()
        yield from self.other_blocks()

    def edit(
        self,
        words: str,
        changes: Mapping[str, ArrayChange],
        back: Mapping[str, ArrayChange] | None = None,
    ) -> Edit:
        """Return an edit of each array by its own change, and of its gradient by the
        change back.
        """

        def changed(arrays: ArraysByPath) -> ArraysByPath:
            """Return the changed parameters."""
            return {path: change(arrays[path]) for path, change in changes.items()}

        def restored(values: ArraysByPath) -> ArraysByPath:
            """Return the gradients of the parameters as they were."""
            return {
                self.gradients[path]: change(values[self.gradients[path]])
                for path, change in (back or {}).items()
                if path in self.gradients
            }

        return Edit(words, changed, restored)

    def without_biases(self) -> Iterator[Edit]:
        """Yield edits that take away a parameter or a gate's bias, or take a bias
        twice. Its gradient is changed likewise, or stays.
        """
        for path, array in self.params.items():
            if array.any():
                yield from self.twice(f"{path} = 0", path, np.zeros_like)
            if array.ndim == 1:
                yield from self.twice(f"2 × {path}", path, lambda a: 2 * a)
                yield from self.twice(f"{path} / 2", path, lambda a: a / 2)
        for path, index in bias_blocks(self.params):
            if self.params[path][index].any():
                words = f"{path}[{slice_words([index])}] = 0"
                yield from self.twice(words, path, filling(index, 0.0))

    def twice(self, words: str, path: str, change: ArrayChange) -> Iterator[Edit]:
        """Yield the edit with and without a change of the gradient."""
        yield self.edit(words, {path: change})
        yield self.edit(words, {path: change}, {path: change})

    def transposed(self) -> Iterator[Edit]:
        """Yield edits that transpose square matrices, and square blocks of a matrix."""
        matrices = {p: a for p, a in self.params.items() if a.ndim == 2}
        for path, array in matrices.items():
            blocks = square_blocks(array.shape, min(array.shape))
            groups = [[block] for block in blocks]
            if len(blocks) > 1:
                groups.insert(0, blocks)
            for group in groups:
                change = transposing(group)
                words = f"{path} transposed"
                if array.shape != (len(array), len(array)):
                    shown = " and ".join(f"[{slice_words(block)}]" for block in group)
                    words = f"{path}{shown} transposed"
                yield self.edit(words, {path: change}, {path: change})

    def exchanged(self) -> Iterator[Edit]:
        """Yield edits that exchange parameters of one shape: all of two gates, whose
        names differ in one word, or two.
        """
        pairs = [
            (a, b)
            for a, b in itertools.combinations(self.params, 2)
            if self.params[a].shape == self.params[b].shape
        ]
        groups: dict[tuple[str, str], dict[str, str]] = {}
        for a, b in pairs:
            if stem(a) == stem(b):
                ends = a.removeprefix(stem(a)), b.removeprefix(stem(b))
                groups.setdefault(ends, {}).update({a: b})
        several = [group for group in groups.values() if len(group) > 1]
        for group in [*several, *({a: b} for a, b in pairs)]:
            words = ", ".join(f"{a} and {b}" for a, b in group.items())
            sources = group | {b: a for a, b in group.items()}
            yield Edit(f"{words} exchanged", renaming(sources), self.renamed(sources))

    def renamed(self, sources: Mapping[str, str]) -> Change:
        """Return the change that exchanges gradients."""
        known = self.gradients
        names = {known[a]: known[b] for a, b in sources.items() if {a, b} <= {*known}}
        return renaming(names)

    def other_blocks(self) -> Iterator[Edit]:
        """Yield edits that permute the blocks of gates: of all parameters that have
        them, of the matrices or the biases alone, and of each one.
        """
        for count, length in self.block_lengths():
            axes = {
                path: array.shape.index(length)
                for path, array in self.params.items()
                if length in array.shape
            }
            matrices = {p: axis for p, axis in axes.items() if self.params[p].ndim > 1}
            biases = {p: axis for p, axis in axes.items() if self.params[p].ndim == 1}
            groups = [axes, matrices, biases, *({p: axis} for p, axis in axes.items())]
            unique = [g for i, g in enumerate(groups) if g and g not in groups[:i]]
            for order in list(itertools.permutations(range(count)))[1:]:
                indices = np.arange(length).reshape(count, -1)[list(order)].ravel()
                back = np.argsort(indices)
                for group in unique:
                    shown = ", ".join(map(str, order))
                    words = f"the {count} blocks of {', '.join(group)} in the order "
                    yield self.edit(
                        words + shown,
                        {path: taking(indices, axis) for path, axis in group.items()},
                        {path: taking(back, axis) for path, axis in group.items()},
                    )

    def block_lengths(self) -> list[tuple[int, int]]:
        """Return the numbers of gates, and the lengths that they may divide."""
        lengths = sorted({n for array in self.params.values() for n in array.shape})
        return [(c, n) for c in GATE_COUNTS for n in lengths if n % c == 0 and n > 2]


# Changes of an array


def filling(index: slice, value: float) -> ArrayChange:
    """Return the change that sets some elements."""

    def change(array: NumpyArray) -> NumpyArray:
        """Return the array with this value in a block."""
        array = array.copy()
        array[index] = value
        return array

    return change


def transposing(blocks: Iterable[tuple[slice, slice]]) -> ArrayChange:
    """Return the change that transposes square blocks."""

    def change(array: NumpyArray) -> NumpyArray:
        """Return the array with its blocks transposed."""
        changed = array.copy()
        for block in blocks:
            changed[block] = array[block].T
        return changed

    return change


def taking(indices: NumpyArray, axis: int) -> ArrayChange:
    """Return the change that takes these indices of an axis."""
    return lambda array: array.take(indices, axis)


def renaming(sources: Mapping[str, str]) -> Change:
    """Return the change that takes arrays from other names."""
    return lambda arrays: {name: arrays[source] for name, source in sources.items()}


# Parts of parameters


def gradient_names(arguments: Arguments, values: ArraysByPath) -> dict[str, str]:
    """Return the names of the gradients among the results, by the paths of the
    parameters: those of their names, or else the last ones that have their shapes.
    """
    params = arguments._replace(data=()).arrays()
    found = {}
    for path, array in params.items():
        key = path.removeprefix("params").lstrip(".")
        for name, value in values.items():
            start = name.removesuffix(key)
            is_named = start != name and (not start or start[-1] in "d._]")
            if value.shape == array.shape and (is_named or name == f"{key}_grad"):
                found[path] = name
    if found:
        return found
    shapes = [array.shape for array in params.values()]
    names = list(values)
    for first in reversed(range(len(names) - len(shapes) + 1)):
        run = names[first : first + len(shapes)]
        if [values[name].shape for name in run] == shapes:
            return dict(zip(params, run))
    return {}


def bias_blocks(params: ArraysByPath) -> list[tuple[str, slice]]:
    """Return the parts of biases that may be those of one gate."""
    blocks = []
    for path, array in params.items():
        if array.ndim == 1:
            for count in GATE_COUNTS:
                size, rest = divmod(len(array), count)
                if rest == 0:
                    starts = range(0, len(array), size)
                    blocks += [(path, slice(i, i + size)) for i in starts]
    return blocks


def square_blocks(shape: Sequence[int], size: int) -> list[tuple[slice, slice]]:
    """Return the indices of square blocks: one after the other, or at the start and at
    the end of an axis that has a rest, as that of a matrix for [x, h].
    """
    starts = []
    for length in shape:
        all_of_axis = range(0, length - size + 1, size)
        ends = dict.fromkeys((0, length - size))
        starts.append(list(all_of_axis if length % size == 0 else ends))
    return [
        (slice(i, i + size), slice(j, j + size))
        for i, j in itertools.product(*starts)
        if size > 1
    ]


def slice_words(index: Iterable[slice]) -> str:
    """Return an index as Python writes it."""
    return ", ".join(f"{part.start}:{part.stop}" for part in index)


def stem(path: str) -> str:
    """Return a name without what tells the gate: W_ of W_f, b of bf, U_ of U_forget."""
    head, dash, _ = path.rpartition("_")
    return head + dash if dash else path[:-1]
