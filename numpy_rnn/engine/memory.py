"""The parameters of networks as vectors, and the updates that are yielded of them. README.md draws the vector.

Many small networks share one array, and the number of the network is its innermost axis: memory (P, N) for N vectors
of P numbers, so that an operation runs over rows of N numbers. All code sees the same array as (N, P).
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_rnn.common.records import Gradients, Parameters, Update
from numpy_rnn.parameters import Array

CACHE_LINE = 64  # bytes: rows of matrices that begin at cache lines are read faster
MAX_GROUPED = 64  # B·H of the largest networks that are computed as a group
MIN_GROUP = 3  # fewer small networks are faster one by one
WIDE = 512  # networks from which on the rows of a group are whole cache lines
GROUP_BYTES = (
    2**19
)  # of a vector of a group: parameters, gradient and activations are to fit into a cache of 1 to 2 MB

Places = tuple[Any, ...]  # of every parameter in vectors (*E, P): (index, shape), or None


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """New memory that begins at a cache line."""
    size, itemsize = prod(shape), np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE // itemsize, dtype)
    begin = -memory.ctypes.data % CACHE_LINE // itemsize
    return memory[begin : begin + size].reshape(shape)


class Layout(NamedTuple):
    """The sizes of a group of networks, or of one network (`networks` is None)."""

    D: int
    H: int
    O: int
    B: int
    bias: bool
    learned: bool  # whether h_0 is a parameter
    dtype: np.dtype[Any]
    networks: int | None = None

    @property
    def weights(self) -> int:
        """How many numbers of a vector come before h_0."""
        return (self.D + self.H + self.bias) * self.H + (self.H + self.bias) * self.O

    @property
    def size(self) -> int:
        """How many numbers the vector of one network holds."""
        return self.weights + self.learned * self.B * self.H

    def empty(self, *shape: int) -> Array:
        """New memory of this shape per network: (N, *shape), or (*shape) of a single network."""
        if self.networks is None:
            return empty(shape, self.dtype)
        return np.moveaxis(empty((*shape, self.networks), self.dtype), -1, 0)

    def named(self, vector: Array) -> Parameters[Array]:
        """The parameters of a vector (..., P), as views."""
        return named(vector, self.places(vector.shape[:-1]))

    def places(self, E: tuple[int, ...]) -> Places:
        """Where each parameter is in vectors (*E, P), and its shape; None where there is none."""
        D, H, O, bias = self.D, self.H, self.O, self.bias
        shapes = (D, H), (H, H), (H,) if bias else None, (H, O), (O,) if bias else None
        W_xh, W_hh, b_h, W_hy, b_y, h_0 = in_order(
            E, *shapes, (self.B, H) if self.learned else None
        )
        return W_xh, W_hh, W_hy, b_h, b_y, h_0

    def stacked(self, vector: Array) -> list[Any]:
        """The parts W, U and h_0, or None, of a vector (..., P), as views."""
        D, H, O, bias = self.D, self.H, self.O, self.bias
        shapes = (D + H + bias, H), (H + bias, O), (self.B, H) if self.learned else None
        return [
            part and vector[part[0]].reshape(part[1])
            for part in in_order(vector.shape[:-1], *shapes)
        ]


def in_order(E: tuple[int, ...], *shapes: tuple[int, ...] | None) -> Places:
    """The index and the shape (*E, *shape) of arrays that follow each other in a vector (*E, P); None for None."""
    places: list[Any] = []
    end = 0
    for shape in shapes:
        begin, end = end, end + (0 if shape is None else prod(shape))
        places.append(None if shape is None else ((..., slice(begin, end)), (*E, *shape)))
    return tuple(places)


def named(vector: Array, places: Places) -> Parameters[Array]:
    """The parameters at these places of a vector, as views."""
    return Parameters(*[place and vector[place[0]].reshape(place[1]) for place in places])


class Memory:
    """The vectors of a group of networks, or of one: parameters, gradient, velocity, and what a step is computed in."""

    def __init__(
        self,
        layout: Layout,
        params: Parameters[Array],
        velocity: Gradients[Array] | None,
        moving: bool,
    ):
        """params, velocity: to begin with, those of a group with one leading axis; moving: whether there is one."""
        self.layout = layout
        padded = (
            -(-layout.size * layout.dtype.itemsize // CACHE_LINE)
            * CACHE_LINE
            // layout.dtype.itemsize
        )
        shape = (
            (2 + moving, padded)
            if layout.networks is None
            else (2 + moving, padded, layout.networks)
        )
        self.vectors = empty(shape, layout.dtype)
        self.vectors[...] = 0
        seen = self.vectors if layout.networks is None else np.moveaxis(self.vectors, -1, 1)
        self.theta, self.gradient, *rest = (vector[..., : layout.size] for vector in seen)
        self.velocity = rest[0] if moving else None
        self.spare, self.clipped = layout.empty(layout.size), layout.empty(layout.size)
        self.is_moving = [
            velocity is not None,
            velocity is not None and velocity.h_0 is not None,
        ]  # weights, and h_0
        for vector, given in ((self.theta, params), (self.velocity, velocity)):
            if vector is not None and given is not None:
                for part, array in zip(layout.named(vector), given):
                    if part is not None:
                        part[...] = 0 if array is None else array


def joined(memories: list[Memory], E: tuple[int, ...]) -> Array:
    """A copy of the vectors of all networks, (2 or 3, *E, P)."""
    first = memories[0].vectors
    if memories[0].layout.networks is None:
        together = np.stack([memory.vectors for memory in memories], axis=1)
    else:
        together = np.concatenate([memory.vectors for memory in memories], axis=-1)
        together = np.moveaxis(together[..., : prod(E)], -1, 1)
    return together.reshape(len(first), *E, first.shape[1])


def group(params: Parameters[Array], B: int) -> list[tuple[Any, Layout]]:
    """The parts of an ensemble that are computed one after the other: (index along its flattened axes, layout).

    Small networks form groups that fit into the cache; large ones, and a few, are computed one by one. The rows of wide
    groups are whole cache lines: the last network is repeated until they are.
    """
    *E, D, H = params.W_xh.shape
    sizes = D, H, params.W_hy.shape[-1], B
    one = Layout(*sizes, params.b_h is not None, params.h_0 is not None, params.W_hh.dtype)
    N = prod(E)
    if not E:
        return [(..., one)]
    if B * H > MAX_GROUPED or N < MIN_GROUP:
        return [(n, one) for n in range(N)]
    line = CACHE_LINE // one.dtype.itemsize if N >= WIDE else 1
    lines, most = (
        -(-N // line),
        max(MIN_GROUP, GROUP_BYTES // (one.size * one.dtype.itemsize * line)),
    )
    count = -(-lines // most)
    ends = [lines * n // count * line for n in range(count + 1)]
    return [
        (np.minimum(np.arange(first, stop), N - 1), one._replace(networks=stop - first))
        for first, stop in pairwise(ends)
    ]


class FlatUpdate(Update[Array]):
    """An Update that makes its named arrays, read-only views of one copy, when they are read."""

    __slots__ = ("_parts",)
    _parts: tuple[Any, ...]

    epoch = property(lambda self: self._parts[0])
    number = property(lambda self: self._parts[1])
    window = property(lambda self: self._parts[2])
    loss = property(lambda self: self._parts[3])
    losses = property(lambda self: self._parts[4])
    activations = property(lambda self: self._parts[5])
    adjoints = property(lambda self: self._parts[6])

    @property
    def parameters(self) -> Parameters[Array]:
        return self._named(0)

    @property
    def gradients(self) -> Any:
        found = self._named(1)
        return found._replace(h_0=None) if self.window.start else found

    @property
    def velocity(self) -> Any:
        vectors, is_moving = self._parts[7], self._parts[9]
        if len(vectors) < 3:
            return None
        return self._named(2) if is_moving else self._named(2)._replace(h_0=None)

    def _named(self, place: int) -> Parameters[Array]:
        vectors = self._parts[7]
        vectors.setflags(write=False)
        return named(vectors[place], self._parts[8])

    def __reduce__(self) -> Any:
        return Update, tuple(getattr(self, name) for name in Update.__slots__)


new_update = FlatUpdate.__new__
set_parts: Any = FlatUpdate.__dict__["_parts"].__set__
