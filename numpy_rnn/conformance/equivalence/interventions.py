"""Where two recurrent cells differ, by parameters that cut a path or open a gate.

No edit of arguments makes these mistakes agree. But where a path is cut, or a matrix
commutes with a gate, the two must agree, and elsewhere they must not.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.equivalence.compare import compared
from numpy_rnn.conformance.equivalence.edits import (
    bias_blocks,
    slice_words,
    square_blocks,
)
from numpy_rnn.conformance.equivalence.runs import (
    Arguments,
    ArraysByPath,
    Compute,
    Runs,
    with_spreads,
)
from numpy_rnn.conformance.equivalence.steps import TimeAxis, first_steps

OPEN = 60.0  # of a gate's bias: σ(60) is 1, and its slope 10⁻²⁶


class Pairing(NamedTuple):
    """Two functions at one point."""

    f: Compute
    g: Compute
    arguments: Arguments
    gradients: Mapping[str, str]

    def at(self, arrays: ArraysByPath) -> "Pairing":
        """Return the two at other arrays."""
        return self._replace(arguments=self.arguments.replace(arrays))

    def runs(self) -> tuple[Runs, Runs] | None:
        """Return the runs of both, or None if the code of the user fails here."""
        try:
            f, g = (
                with_spreads(compute, self.arguments, compute(self.arguments))
                for compute in (self.f, self.g)
            )
        except Exception:  # the user's code may raise anything
            return None
        return f, g

    def different(self) -> set[str] | None:
        """Return the names of the results that differ; None if nothing is judged."""
        runs = self.runs()
        if runs is None:
            return None
        checks = compared(*runs)
        if all(check.verdict == "not judged" for check in checks):
            return None
        return {check.tensor for check in checks if check.verdict == "different"}

    def agrees(self, except_for: set[str] | None = None) -> bool:
        """Return whether all results agree, but for some."""
        different = self.different()
        return different is not None and different <= (except_for or set())


class Block(NamedTuple):
    """A part of a parameter."""

    path: str
    where: tuple[slice, ...]

    @property
    def words(self) -> str:
        """The part as Python writes it."""
        return f"{self.path}[{slice_words(self.where)}]"


class Blocks(NamedTuple):
    """The parts of the parameters that may be those of one gate."""

    params: ArraysByPath
    biases: list[Block]
    matrices: list[Block]

    @classmethod
    def of(cls, arguments: Arguments) -> "Blocks":
        """Return the blocks of all parameters."""
        params = arguments._replace(data=()).arrays()
        biases = [Block(path, (index,)) for path, index in bias_blocks(params)]
        for path, array in params.items():
            if array.ndim == 1:
                biases.append(Block(path, (slice(0, len(array)),)))
        sizes = {bias.where[0].stop - bias.where[0].start for bias in biases}
        matrices = []
        for path, array in params.items():
            if array.ndim == 2:
                for size in sizes & {*range(2, min(array.shape) + 1)}:
                    for index in square_blocks(array.shape, size):
                        matrices.append(Block(path, index))
        return cls(params, biases, matrices)

    def biases_of(self, size: int) -> list[Block]:
        """Return the biases of gates of this size."""
        return [b for b in self.biases if b.where[0].stop - b.where[0].start == size]

    def filled(self, block: Block, value: float) -> ArraysByPath:
        """Return the parameter with a block of one value."""
        array = self.params[block.path].copy()
        array[block.where] = value
        return {block.path: array}


# The reset gate of a GRU


def reset_order(pairing: Pairing, blocks: Blocks) -> Iterator[str]:
    """Yield words if one function applies a gate before a product with a matrix, and
    the other one after it.

    Then both agree where the matrix is diagonal, and where the gate is open, with any
    matrix. A symmetric matrix does not help, as it would if one were transposed.
    """
    params = blocks.params
    no_biases = {p: np.zeros_like(a) for p, a in params.items() if a.ndim == 1}
    for block in blocks.matrices:
        matrix = params[block.path][block.where]
        size = len(matrix)
        changed = params[block.path].copy()
        changed[block.where] = np.diag(np.linspace(0.3, 0.9, size))
        at_diagonal = pairing.at(no_biases | {block.path: changed})
        excluded = {*no_biases, block.path} & {*pairing.gradients}
        if not at_diagonal.agrees({pairing.gradients[p] for p in excluded}):
            continue
        changed = changed.copy()
        changed[block.where] = matrix + matrix.T
        if pairing.at({block.path: changed}).agrees():
            continue
        for gate in blocks.biases_of(size):
            if pairing.at(blocks.filled(gate, OPEN)).agrees():
                yield (
                    f"where {block.words} is diagonal and biases are 0, or {gate.words}"
                    f" = {OPEN:g}: one applies a gate before the product with this "
                    "matrix, the other one after it (reset of a GRU)"
                )


# Gradients that lack a path


def missing_path(
    pairing: Pairing, blocks: Blocks, time_axis: TimeAxis | None
) -> Iterator[str]:
    """Yield words if one function's gradients lack a path to earlier steps."""
    names = {*pairing.gradients.values()}
    different = pairing.different()
    if different is None or not different or not different <= names:
        return  # mistakes of the forward pass
    data = pairing.arguments._replace(params=()).arrays()
    path = next((p for p, array in data.items() if array.ndim >= 2), None)
    if path is None:
        return
    for axis in (0, 1) if time_axis is None else (time_axis.axis,):
        experiment = PathExperiment(pairing, blocks, path, axis)
        yield from experiment.words()


class PathExperiment(NamedTuple):
    """Gradients of the first step's input weights, from later steps or without them."""

    pairing: Pairing
    blocks: Blocks
    path: str  # of the inputs
    axis: int  # of time

    def words(self) -> Iterator[str]:
        """Yield what is missing, if it can be told."""
        if not self.short(1).agrees() or self.short(2).agrees():
            return
        for label in "gf":
            if self.is_local(label, {}):
                words = f"the gradients of {label} do not reach earlier steps"
                yield f"with one step: {words}"
                return
            yield from self.one_path(label)

    def one_path(self, label: str) -> Iterator[str]:
        """Yield the one path of two that the gradients of a function lack.

        Cutting a path by its parameters leaves the other one: without the missing path
        both agree, and without the other one nothing reaches earlier steps.
        """
        other = "f" if label == "g" else "g"
        for matrix, no_product in self.recurrent():
            for gate in self.blocks.biases:
                closed = self.blocks.filled(gate, -OPEN)
                if not self.is_local(other, no_product | closed):
                    continue
                if self.is_local(other, no_product) or self.is_local(other, closed):
                    continue
                lacks_state = self.is_local(label, no_product)
                if lacks_state and self.pairing.at(closed).agrees():
                    yield (
                        f"where {gate.words} = {-OPEN:g}: the gradients of {label} "
                        "lack the path through the state that this gate keeps (c of an "
                        "LSTM)"
                    )
                    return
                lacks_product = self.is_local(label, closed)
                if lacks_product and self.pairing.at(no_product).agrees():
                    yield (
                        f"where {matrix} = 0: the gradients of {label} lack the path "
                        "through the hidden state and this matrix"
                    )
                    return

    def recurrent(self) -> Iterator[tuple[str, ArraysByPath]]:
        """Yield what may be the recurrent matrices, and the parameters without them."""
        params = self.blocks.params
        seen = list[Block]()
        for block in self.blocks.matrices:
            array = params[block.path]
            size = block.where[0].stop - block.where[0].start
            rows = (block.where[0], slice(0, array.shape[1]))
            columns = (slice(0, array.shape[0]), block.where[1])
            for index in (rows, columns):
                part = Block(block.path, index)
                lengths = array[index].shape
                if max(lengths) % size == 0 and part not in seen:
                    seen.append(part)
                    yield part.words, self.blocks.filled(part, 0.0)
        square = {path for path, a in params.items() if a.shape in ((len(a),) * 2,)}
        if len(square) > 1:
            yield (
                ", ".join(sorted(square)),
                {p: np.zeros_like(params[p]) for p in square},
            )

    def short(self, steps: int) -> Pairing:
        """Return the two functions with the first steps alone."""
        arguments = self.pairing.arguments
        size = arguments.arrays()[self.path].shape[self.axis]
        time_axis = TimeAxis(self.path, self.axis, size)
        short = first_steps(arguments, time_axis, min(steps, size))
        return self.pairing._replace(arguments=short)

    def is_local(self, label: str, params: ArraysByPath) -> bool:
        """Return whether the gradient of the input weights by the first step does not
        depend on later steps, but for a factor of a mean.

        Inputs of zeros at the later steps leave the first step's part of it.
        """
        compute = self.pairing.f if label == "f" else self.pairing.g
        results = []
        for steps in (1, 2, 3):
            arguments = self.short(steps).arguments.replace(params)
            inputs = arguments.arrays()[self.path].copy()
            later = (*[slice(None)] * self.axis, slice(1, None))
            inputs[later] = 0
            try:
                values = compute(arguments.replace({self.path: inputs}))
            except Exception:  # the user's code may raise anything there
                return False
            results.append(self.input_gradients(values, inputs.shape[-1]))
        return any(is_constant(parts) for parts in zip(*results))

    def input_gradients(self, values: ArraysByPath, width: int) -> list[NumpyArray]:
        """Return the gradients of what may be the input weights."""
        found = []
        for name in self.pairing.gradients.values():
            array = values[name]
            if array.ndim != 2:
                continue
            for axis in (0, 1):
                if array.shape[axis] == width:
                    found.append(array)
        return found


def is_constant(parts: tuple[NumpyArray, ...]) -> bool:
    """Return whether gradients with 1, 2 and 3 steps are equal, or those of a mean."""
    first, second, third = parts
    size = np.linalg.norm(first)
    if not size:
        return False
    for is_mean in (False, True):
        errors = [
            np.linalg.norm(second * (2 if is_mean else 1) - first),
            np.linalg.norm(third * (3 if is_mean else 1) - first),
        ]
        if max(errors) <= 1e-9 * size:
            return True
    return False
