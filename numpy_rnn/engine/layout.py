"""The layout of the engine's memory.

One vector holds all parameters of a network, another one its gradient, a third its velocity. So a step of gradient
descent is two operations on long rows, and not two per parameter::

    vector   W_xh  D x H  |  W_hh  H x H  |  b_h  H  |  W_hy  H x O  |  b_y  O  |  h_0  B x H
             '---------------- W -----------------'     '------- U -------'
               (D + H + 1) x H                            (H + 1) x O

W and U are matrices: the weights of the hidden units, and those of the outputs, with the biases as their last rows.
Without biases these rows are missing; the part of h_0 is there if it is learned. With the input, the state and a one
side by side in memory,

    a_t = [x_t  h_{t-1}  1] W          y_t = [h_t  1] U
    dW  = Σ_t [x_t  h_{t-1}  1]ᵀ da_t  dU  = Σ_t [h_t  1]ᵀ dy_t

are one product each, where the equations have three, two, three and two terms.

Many small networks share one array, and the number of the network is its innermost axis: memory (P, N) for N vectors
of P numbers. An operation then runs over rows of N numbers. All code sees the same array as (N, P): the axes are
named, not moved. A single network has no such axis.

`blocks` divides an ensemble into parts that are computed one after the other, or by several threads: groups of small
networks that fit into the cache together, and every large network by itself.
"""

import os
from collections import deque
from functools import partial
from itertools import pairwise
from math import prod
from operator import is_not
from sys import getrefcount
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from numpy_rnn.common.records import Array, Gradients, Parameters

CACHE_LINE = 64  # bytes: rows of matrices that begin at cache lines are read faster
MAX_GROUPED = 64  # B·H of the largest networks that are computed as a group
MIN_GROUP = 3  # fewer small networks are faster one by one
MIN_OF_THREAD = 2500  # networks of a group in a thread of its own: shorter operations wait for the interpreter
MIN_COLUMNS = 256  # hidden units from which on sequences are faster as columns, in float32,
MIN_COLUMN_STEPS = 16  # of windows of at least this many steps,
MIN_COLUMN_BATCH = 16  # and batches of at least this many sequences
GROUP_BYTES = 2**21  # of the vectors and gradients of a group
REMEMBERED = 3  # vectors that were handed out, whose memory is used again if nobody holds it

Place = tuple[slice, tuple[int, ...]]  # of a part of a vector, and its shape
is_given = partial(is_not, None)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """New memory that begins at a cache line."""
    size = prod(shape)
    itemsize = np.dtype(dtype).itemsize
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
    dtype: "np.dtype[Any]"
    networks: int | None = None
    columns: bool = False  # whether W is kept transposed, see `columns.py`

    @property
    def W_shape(self) -> tuple[int, int]:
        """Rows and columns of W, or of its transpose."""
        rows = self.D + self.H + self.bias
        return (self.H, rows) if self.columns else (rows, self.H)

    @property
    def U_shape(self) -> tuple[int, int]:
        """Rows and columns of U."""
        return self.H + self.bias, self.O

    @property
    def weights(self) -> int:
        """How many numbers of the vector come before h_0."""
        return prod(self.W_shape) + prod(self.U_shape)

    @property
    def size(self) -> int:
        """How many numbers the vector of one network holds."""
        return self.weights + self.learned * self.B * self.H

    def empty(self, *shape: int) -> Array:
        """New memory of this shape per network: (N, *shape), or (*shape) of a single network."""
        if self.networks is None:
            return empty(shape, self.dtype)
        return np.moveaxis(empty((*shape, self.networks), self.dtype), -1, 0)

    def places(self) -> list[Place | None]:
        """Where each parameter is in a vector, and its shape; None where there is none. Not with `columns`."""
        D, H, O, bias = self.D, self.H, self.O, self.bias
        shapes = (D, H), (H, H), (H,) if bias else None, (H, O), (O,) if bias else None
        W_xh, W_hh, b_h, W_hy, b_y, h_0 = _one_after_the_other(*shapes, (self.B, H) if self.learned else None)
        return [W_xh, W_hh, W_hy, b_h, b_y, h_0]

    def named(self, vector: Array) -> Parameters[Array]:
        """The parameters of a vector (..., P), as views."""
        if not self.columns:
            return Parameters(*(None if place is None else _part(vector, *place) for place in self.places()))
        W_T, U, h_0 = self.stacked(vector)
        D, H = self.D, self.H
        b_h, b_y = (W_T[..., H + D], U[..., H, :]) if self.bias else (None, None)
        return Parameters(W_T[..., H : H + D].mT, W_T[..., :H].mT, U[..., :H, :], b_h, b_y, h_0)

    def stacked(self, vector: Array) -> tuple[Array, Array, Array]:
        """The parts W (with `columns` its transpose), U and h_0, or None, of a vector (..., P), as views."""
        h_0_shape = (self.B, self.H) if self.learned else None
        places = _one_after_the_other(self.W_shape, self.U_shape, h_0_shape)
        W, U, h_0 = (None if place is None else _part(vector, *place) for place in places)
        return W, U, h_0

    def fill(self, vector: Array, params: Parameters[Array] | Gradients[Array]) -> None:
        """Copy parameters, or a velocity, into a vector; a part that is None becomes zero."""
        for part, theta in zip(self.named(vector), params):
            if part is not None:
                part[...] = 0 if theta is None else theta


def _one_after_the_other(*shapes: tuple[int, ...] | None) -> list[Place | None]:
    """(slice, shape) of arrays that follow each other; None for None."""
    places: list[Place | None] = []
    end = 0
    for shape in shapes:
        begin, end = end, end + (0 if shape is None else prod(shape))
        places.append(None if shape is None else (slice(begin, end), shape))
    return places


def _part(vector: Array, place: slice, shape: tuple[int, ...]) -> Array:
    """The numbers of a vector at a place, in this shape, without a copy."""
    return vector[..., place].reshape(*vector.shape[:-1], *shape)


class Block(NamedTuple):
    """The networks [first, stop) of an ensemble, in the order of its flattened axes."""

    first: int
    stop: int
    layout: Layout


def blocks(params: Parameters[Array], B: int, k2: int, threads: int = 1, plain: bool = True) -> list[Block]:
    """The parts of an ensemble that are computed together. An ensemble without axes is one network, one block.

    plain: whether the loss is `Objective.plain`; columns have no other.
    """
    *E, D, H = params.W_xh.shape
    O = params.W_hy.shape[-1]
    large = H >= MIN_COLUMNS and B >= MIN_COLUMN_BATCH and k2 >= MIN_COLUMN_STEPS
    columns = plain and params.W_hh.itemsize == 4 and large
    one = Layout(D, H, O, B, params.b_h is not None, params.h_0 is not None, params.W_hh.dtype, columns=columns)
    N = prod(E)
    if not E:
        return [Block(0, 1, one)]
    if B * H > MAX_GROUPED or N < MIN_GROUP or columns:
        return [Block(n, n + 1, one) for n in range(N)]
    most = max(MIN_GROUP, GROUP_BYTES // (2 * one.size * one.dtype.itemsize))
    count = max(-(-N // most), min(threads, N // MIN_OF_THREAD))
    ends = [N * n // count for n in range(count + 1)]
    pairs = pairwise(ends)
    return [Block(first, stop, one._replace(networks=stop - first)) for first, stop in pairs]


def available_threads() -> int:
    """How many threads an ensemble may use: OMP_NUM_THREADS if it is set, or else the cores of this process."""
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if threads.isdecimal() and int(threads) > 0:
        return int(threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Vectors:
    """Vectors to be handed out: (memory to be filled, the same by names), one after the other.

    To make arrays takes longer than to fill them. So the memory of an earlier vector is used again if nobody holds any
    part or view of it any more: if there are as many references to each of its arrays as there were at first.
    """

    def __init__(self, layout: Layout, E: tuple[int, ...], read_only: bool = False):
        self.layout, self.E, self.read_only = layout, E, read_only
        self.made: deque[tuple[tuple[Array, Parameters[Array]], tuple[int, ...]]] = deque(maxlen=REMEMBERED)

    def __next__(self) -> tuple[Array, Parameters[Array]]:
        if self.made:
            vector, unused = self.made[0]
            if references(vector) == unused:
                self.made.rotate(-1)
                return vector
        vector = self._new()
        self.made.append((vector, references(vector)))  # which lets go of the oldest
        return vector

    def _new(self) -> tuple[Array, Parameters[Array]]:
        layout, E = self.layout, self.E
        if layout.networks is not None:
            memory = np.moveaxis(np.empty((layout.size, prod(E)), layout.dtype), -1, 0)
        else:
            memory = np.empty((prod(E), layout.size) if E else layout.size, layout.dtype)
        view = memory[...]
        view.flags.writeable = not self.read_only
        parts = layout.named(view)
        if E:
            parts = Parameters(*(part if part is None else part.reshape(*E, *part.shape[1:]) for part in parts))
        return memory, parts


def references(vector: tuple[Array, Parameters[Array]]) -> tuple[int, ...]:
    """How many references there are to the arrays of a vector."""
    memory, named = vector
    owner = memory if memory.base is None else memory.base
    return getrefcount(memory), getrefcount(owner), getrefcount(named), *map(getrefcount, filter(is_given, named))
