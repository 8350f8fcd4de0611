"""Memory for the parameters, gradients and velocities that are handed out."""

from collections import deque
from functools import partial
from math import prod
from operator import is_not
from sys import getrefcount

import numpy as np

from numpy_rnn.common.records import Array, Parameters
from numpy_rnn.engine.layout import Layout

REMEMBERED = 3  # vectors that were handed out, whose memory is used again if nobody holds it
is_given = partial(is_not, None)


class Vectors:
    """Vectors to be handed out: (memory to be filled, the same by names), one after the other.

    To make arrays takes longer than to fill them. So the memory of an earlier vector is used again if nobody holds any
    part or view of it any more: if there are as many references to each of its arrays as there were at first.
    """

    def __init__(self, layout: Layout, E: tuple[int, ...], read_only: bool = False):
        self.layout, self.E, self.read_only = layout, E, read_only
        self.made = deque((self._counted(self._new()) for _ in range(REMEMBERED)), REMEMBERED)

    def __next__(self) -> tuple[Array, Parameters]:
        vector, unused = self.made[0]
        if references(vector) == unused:
            self.made.rotate(-1)
        else:
            vector = self._new()
            self.made.append(self._counted(vector))  # which lets go of the oldest
        return vector

    @staticmethod
    def _counted(vector):
        return vector, references(vector)

    def _new(self):
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


def references(vector: tuple[Array, Parameters]) -> tuple[int, ...]:
    """How many references there are to the arrays of a vector."""
    memory, named = vector
    owner = memory if memory.base is None else memory.base
    return getrefcount(memory), getrefcount(owner), getrefcount(named), *map(getrefcount, filter(is_given, named))
