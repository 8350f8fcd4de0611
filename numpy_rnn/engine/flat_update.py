"""Updates made of vectors. Most of their arrays are perhaps never read, so they are
made when they are.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from numpy_rnn.arrays import Array
from numpy_rnn.common.records import Gradients, Parameters, Update, Window
from numpy_rnn.engine.vectors import Sizes


class FlatUpdate(Update[Array]):
    """An Update with one copy of the vectors: its parameters, gradients and velocity
    are read-only views, made when they are first read.
    """

    _vectors: Array
    _sizes: Sizes

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
        """Return a row of the vectors by name."""
        self._vectors.setflags(write=False)
        return self._sizes.named(self._vectors[row])

    def add(self, **fields: Any) -> None:
        """Set more fields, before anybody has the update."""
        self.__dict__.update(fields)


def flat_update(
    epoch: int,
    number: int,
    window: Window,
    loss: Array,
    vectors: Array,
    sizes: Sizes,
) -> FlatUpdate:
    """Return an Update of these vectors.

    Its fields are set one by one: the `__init__` of a frozen dataclass takes longer
    than a small network's update, and it needs the views, which perhaps nobody reads.
    """
    update = object.__new__(FlatUpdate)
    attributes = update.__dict__
    attributes["epoch"] = epoch
    attributes["number"] = number
    attributes["window"] = window
    attributes["loss"] = loss
    attributes["_vectors"] = vectors
    attributes["_sizes"] = sizes
    return update
