"""The parameters of networks as vectors, and the updates made of them. README.md draws
a vector.

Many small networks share one array, whose last axis in memory is the network: (P, N)
for N vectors of P numbers, so that an operation runs over rows of N numbers. All code
sees that array as (N, P).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
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
)  # of a vector of a group: three of them are to fit into a cache of 2 MB

Place = tuple[Any, tuple[int, ...]]  # an array in vectors: its index and its shape


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
    dtype: np.dtype[Any]
    networks: int | None = None

    @property
    def size(self) -> int:
        """P, the number of parameters of one network."""
        return (self.D + self.H + self.bias) * self.H + (self.H + self.bias) * self.O

    def empty(self, *shape: int) -> Array:
        """New memory of this shape per network: (N, *shape), or (*shape) of a single
        network.
        """
        if self.networks is None:
            return empty(shape, self.dtype)
        return np.moveaxis(empty((*shape, self.networks), self.dtype), -1, 0)

    def places(self, axes: tuple[int, ...]) -> list[Place | None]:
        """The place of every parameter, in the order of Parameters, in vectors (*axes,
        P).
        """
        D, H, O, bias = self.D, self.H, self.O, self.bias
        shapes = (D, H), (H, H), (H,) if bias else None, (H, O), (O,) if bias else None
        W_xh, W_hh, b_h, W_hy, b_y = consecutive(axes, *shapes)
        return [W_xh, W_hh, W_hy, b_h, b_y]

    def named(self, vectors: Array) -> Parameters[Array]:
        """The parameters of vectors (..., P), as views."""
        return Parameters(*views(vectors, self.places(vectors.shape[:-1])))

    def stacked(self, vectors: Array) -> list[Any]:
        """The matrices W and U of vectors (..., P), as views."""
        shapes = (self.D + self.H + self.bias, self.H), (self.H + self.bias, self.O)
        return views(vectors, consecutive(vectors.shape[:-1], *shapes))


def consecutive(
    axes: tuple[int, ...], *shapes: tuple[int, ...] | None
) -> list[Place | None]:
    """The places of arrays that follow each other in vectors (*axes, P);
    None for None.
    """
    places: list[Place | None] = []
    end = 0
    for shape in shapes:
        begin, end = end, end + (0 if shape is None else prod(shape))
        places.append(
            None if shape is None else ((..., slice(begin, end)), (*axes, *shape))
        )
    return places


def views(vectors: Array, places: Sequence[Place | None]) -> list[Any]:
    """The arrays at these places of vectors."""
    return [place and vectors[place[0]].reshape(place[1]) for place in places]


class ParameterVectors:
    """Parameters, gradient and velocity of a group of networks, or of one,
    as vectors.
    """

    def __init__(
        self,
        layout: Layout,
        params: Parameters[Array],
        velocity: Any,
        has_velocity: bool,
    ):
        """params, velocity: the initial ones; velocity may be None also if the step has
        one.
        """
        self.layout, itemsize = layout, layout.dtype.itemsize
        padded = -(-layout.size * itemsize // CACHE_LINE) * CACHE_LINE // itemsize
        axes = () if layout.networks is None else (layout.networks,)
        memory = empty((2 + has_velocity, padded, *axes), layout.dtype)
        memory[...] = 0
        # (2 or 3, N, P), or (2 or 3, P)
        self.array = np.moveaxis(memory, -1, 1) if axes else memory
        self.theta, self.gradient, *rest = self.array[..., : layout.size]
        self.velocity = rest[0] if has_velocity else None
        self.spare, self.clipped = layout.empty(layout.size), layout.empty(layout.size)
        for vector, given in ((self.theta, params), (self.velocity, velocity)):
            if vector is not None and given is not None:
                for view, array in zip(layout.named(vector), given):
                    if view is not None:
                        view[...] = array


def group(params: Parameters[Array], B: int) -> list[tuple[Any, Layout]]:
    """The blocks of an ensemble that are computed one after the other: (index of
    networks, layout).

    Small networks form groups that fit into the cache; large ones, and a few, are
    computed one by one. The rows of wide groups are whole cache lines: the last network
    is repeated to fill them.
    """
    *N, D, H = params.W_xh.shape
    one = Layout(
        D, H, params.W_hy.shape[-1], B, params.b_h is not None, params.W_hh.dtype
    )
    if not N:
        return [(..., one)]
    networks, itemsize = N[0], one.dtype.itemsize
    if B * H > MAX_GROUPED or networks < MIN_GROUP:
        return [(n, one) for n in range(networks)]
    line = CACHE_LINE // itemsize if networks >= WIDE else 1
    lines = -(-networks // line)
    most = max(MIN_GROUP, GROUP_BYTES // (one.size * itemsize * line))
    count = -(-lines // most)
    ends = [lines * n // count * line for n in range(count + 1)]
    return [
        (
            np.minimum(np.arange(first, stop), networks - 1),
            one._replace(networks=stop - first),
        )
        for first, stop in pairwise(ends)
    ]


class FlatUpdate(Update[Array]):
    """An Update that makes its named arrays, read-only views of one copy of the
    vectors, when they are first read.
    """

    _vectors: Array
    _places: Sequence[Place | None]

    @cached_property
    def parameters(self) -> Parameters[Array]:
        """The parameters after the step."""
        return self._views(0)

    @cached_property
    def gradients(self) -> Gradients[Array]:
        """∂L/∂θ, before clipping."""
        return self._views(1)

    @cached_property
    def velocity(self) -> Gradients[Array] | None:
        """The velocity after the step, or sums of squares."""
        return self._views(2) if len(self._vectors) > 2 else None

    def _views(self, row: int) -> Gradients[Array]:
        self._vectors.setflags(write=False)
        return Gradients(*views(self._vectors[row], self._places))

    def __reduce__(self) -> Any:
        values = [getattr(self, field.name) for field in fields(Update)]
        return Update, tuple(values)


def flat_update(
    vectors: Array, places: Sequence[Place | None], **others: Any
) -> Update[Array]:
    """Return an Update of these vectors; others: its fields that are no parameters.

    A record that is frozen has a slow `__init__`.
    """
    update = object.__new__(FlatUpdate)
    update.__dict__.update(others, _vectors=vectors, _places=places)
    return update
