"""New memory for arrays, as products of matrices like it, and memory that is used again.

A product of matrices of a few KB or more takes up to a fifth longer where their rows do not begin at cache lines,
and NumPy lets an array begin anywhere. The system hands large memory out page by page, at the first write to each, and
takes it back when it is let go; to an ensemble of 10,000 small networks that costs more than all its arithmetic.

`torch_rnn` has no such file: PyTorch's own allocator begins arrays at cache lines.
"""

from math import prod

import numpy as np

CACHE_LINE = 64  # bytes, of nearly every CPU
ALIGNED_FROM = 4096  # bytes; for smaller arrays it does not pay


def new_arrays(count, shape, dtype):
    """(count, *shape): arrays in which nothing stands yet. If they are large, each begins at a cache line."""
    size, itemsize = prod(shape), np.dtype(dtype).itemsize
    if size * itemsize < ALIGNED_FROM:
        return np.empty((count, *shape), dtype)
    line = CACHE_LINE // itemsize
    whole = -(-size // line) * line
    memory = np.empty(count * whole + line, dtype)
    address, _ = memory.__array_interface__["data"]
    begin = -address % CACHE_LINE // itemsize
    return memory[begin : begin + count * whole].reshape(count, whole)[:, :size].reshape(count, *shape)


def used_again(make):
    """Returns a function that returns arrays as make() does, in memory of earlier ones of which nobody holds any part.

    All arrays that make returns are of one shape.
    """
    free: list = []  # (array, its __array_interface__, which takes longer to make than all else here)

    def array():
        if not free:
            made = make()
            free.append((made, made.__array_interface__))
        return np.asarray(_Lent(free.pop(), free))

    return array


class _Lent:
    """Lends an array: it is the base of the array that is handed out, and of every view of that, so it goes when the
    last of them does. Then the array is free again.
    """

    lent = None

    def __init__(self, lent, free):
        self.free, self.lent = free, lent
        _, self.__array_interface__ = lent

    def __del__(self):
        lent, self.lent = self.lent, None
        if lent is not None:  # once only, or two arrays would get the same memory
            self.free.append(lent)

    def __reduce_ex__(self, protocol):
        raise TypeError("memory that is used again cannot be copied or pickled; copy the array")
