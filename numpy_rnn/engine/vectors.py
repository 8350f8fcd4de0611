"""The parameters of networks as vectors. README.md draws one.

Many small networks share one array, whose last axis in memory is the network: (P, N)
for N vectors of P numbers, so that an operation runs over rows of N numbers. All code
sees that array as (N, P).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Gradients, Parameters

CACHE_LINE = 64  # bytes: rows of matrices that begin at cache lines are read faster


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return new memory that begins at a cache line."""
    size = prod(shape)
    itemsize = np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE // itemsize, dtype)
    begin = -memory.ctypes.data % CACHE_LINE // itemsize
    return memory[begin : begin + size].reshape(shape)


class Sizes(NamedTuple):
    """The sizes of a group of networks, or of one network (`networks` is None)."""

    D: int
    H: int
    O: int
    B: int
    bias: bool
    dtype: np.dtype[Any]
    networks: int | None = None

    @property
    def P(self) -> int:
        """The number of parameters of one network."""
        return (self.D + self.H + self.bias) * self.H + (self.H + self.bias) * self.O

    def empty(self, *shape: int) -> Array:
        """Return new memory of this shape per network: (N, *shape), or (*shape) of a
        single network.
        """
        if self.networks is None:
            return empty(shape, self.dtype)
        return np.moveaxis(empty((*shape, self.networks), self.dtype), -1, 0)

    def named(self, vectors: Array) -> Gradients[Array]:
        """Return the arrays of vectors (..., P) by the parameters' names, as views."""
        D, H, O = self.D, self.H, self.O
        if not self.bias:
            return Gradients(*consecutive(vectors, [(D, H), (H, H), (H, O)]))
        in_memory = consecutive(vectors, [(D, H), (H, H), (H,), (H, O), (O,)])
        W_xh, W_hh, b_h, W_hy, b_y = in_memory
        return Gradients(W_xh, W_hh, W_hy, b_h, b_y)

    def stacked(self, vectors: Array) -> list[Array]:
        """Return the matrices W and U of vectors (..., P), as views."""
        W = self.D + self.H + self.bias, self.H
        U = self.H + self.bias, self.O
        return consecutive(vectors, [W, U])


def consecutive(vectors: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Return arrays of these shapes that follow each other in vectors (..., P), as
    views.
    """
    axes = vectors.shape[:-1]
    arrays = []
    end = 0
    for shape in shapes:
        begin, end = end, end + prod(shape)
        arrays.append(vectors[..., begin:end].reshape(axes + shape))
    return arrays


class ParameterVectors:
    """Parameters, gradient and velocity of a group of networks, or of one, as
    vectors.
    """

    def __init__(
        self,
        sizes: Sizes,
        params: Parameters[Array],
        velocity: Parameters[Array] | None,
        has_velocity: bool,
    ):
        """params, velocity: the initial ones; velocity may be None also if the step has
        one.
        """
        self.sizes = sizes
        line = CACHE_LINE // sizes.dtype.itemsize
        padded = ceil(sizes.P / line) * line
        memory = sizes.empty(2 + has_velocity, padded)
        memory[...] = 0
        # (2 or 3, N, P), or (2 or 3, P)
        self.array = memory if sizes.networks is None else memory.swapaxes(0, 1)
        self.theta = self.array[0, ..., : sizes.P]
        self.gradient = self.array[1, ..., : sizes.P]
        self.velocity: Array | None = None
        self._assign(self.theta, params)
        if has_velocity:
            self.velocity = self.array[2, ..., : sizes.P]
            if velocity is not None:
                self._assign(self.velocity, velocity)
        self.scratch = sizes.empty(sizes.P)
        self.changed = sizes.empty(sizes.P)  # a gradient

    def _assign(self, vector: Array, values: Parameters[Array]) -> None:
        for view, array in zip(self.sizes.named(vector), values):
            if view is not None:
                view[...] = array
