"""Where initial states come from.

A state that is detached keeps its numbers. So the rows of the states that a pass
returns are remembered, and a state without a graph is looked up by its rows that are
not zero. A state that is found neither in the graph nor by its rows is unknown.

Whether the data of a window follow those of the pass that its state comes from is
known where both are views of one tensor, or embeddings of views of one.
"""

from collections import defaultdict
from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from torch_rnn.loop_audit.events import (
    ForwardPass,
    InputData,
    ModuleRecord,
    Origin,
    StatePart,
)
from torch_rnn.loop_audit.graph import GraphWalk

MAX_STATE_ROWS = 8  # of a state that are looked at
MAX_REMEMBERED = 40_000  # rows
MAX_EMBEDDING_DEPTH = 8  # nodes between the input of a pass and an embedding


def _row_hashes(rows: torch.Tensor) -> list[int]:
    """Return a hash of each row, 0 for one of zeros."""
    numbers: Any = rows.detach().float().cpu().numpy() + 0.0  # without -0.0
    hashes = []
    for row in numbers:
        content = row.tobytes()
        hashes.append(hash(content) if any(content) else 0)
    return hashes


def _hashes_of(state: torch.Tensor) -> list[int]:
    """Return hashes of the first rows of the last layer, 0 for those of zeros."""
    last = state[-1] if state.dim() == 3 else state
    return _row_hashes(last.reshape(-1, last.shape[-1])[:MAX_STATE_ROWS])


def _data_behind(x: torch.Tensor) -> torch.Tensor | None:
    """Return the data that the input of a pass is, or of which it is an embedding."""
    node: Any = x.grad_fn
    for _ in range(MAX_EMBEDDING_DEPTH):
        if type(node).__name__ == "EmbeddingBackward0":
            indices: torch.Tensor = node._saved_indices
            return indices
        if node is None or not node.next_functions:
            break
        node = node.next_functions[0][0]
    return None if x.requires_grad else x


@dataclass(eq=False, slots=True)
class ReadingOrder:
    """The order in which the windows of a module read their data."""

    window: ForwardPass | None = None  # the first pass of the latest one
    latest: ForwardPass | None = None  # the latest pass
    begun: set[object] = field(default_factory=set)  # in this epoch, at which data
    predecessors: dict[object, object] = field(default_factory=dict)

    def begin(self, data: InputData) -> Origin | None:
        """Begin a window. Return what the epochs before say of the order of its data
        and those of the window before.
        """
        before = None
        if self.window is not None:
            before = self.window.data.series, self.window.data.start
        start = data.series, data.start
        is_other = self.predecessors.get(start, before) != before
        self.predecessors[start] = before
        if start in self.begun:
            self.begun = {start}
            return Origin.EPOCH
        self.begun.add(start)
        return Origin.ELSEWHERE if is_other else None

    def zeros(self, data: InputData) -> StatePart:
        """Return a state of zeros, with its origin."""
        latest = self.latest
        if latest is not None and data.follows(latest.data, latest.steps):
            return StatePart(Origin.RESET)
        return StatePart(Origin.ZEROS)

    def carried(
        self, found: StatePart, data: InputData, said: Origin | None
    ) -> StatePart:
        """Return a state that an earlier pass returned, with its origin.

        Parameters
        ----------
        found
            The state, of which all but the origin is known.
        data
            The data of the window that begins with it.
        said
            What `begin` has said of them.
        """
        source, window = found.source, self.window
        if source is None or not source.has_gradient:
            return replace(found, origin=Origin.WITHOUT_GRADIENT)
        if window is None or source.number < window.number:
            return found  # of an older window
        is_end = source is self.latest and found.steps == source.steps
        origin = Origin.PREVIOUS if is_end else Origin.INSIDE
        is_known = data.follows(source.data, found.steps)
        if not is_known:
            if data.is_between(window.data, source.data, found.steps):
                said = Origin.ELSEWHERE
            is_known = said is not None
            origin = said or origin
        return replace(found, origin=origin, is_order_known=is_known)


class StateMemory:
    """The states that the passes of a loop returned, and the order of their data."""

    def __init__(self) -> None:
        """Make an empty memory."""
        self._orders = defaultdict[ModuleRecord, ReadingOrder](ReadingOrder)
        self._known: dict[tuple[ModuleRecord, int], StatePart] = {}
        self._series: MutableMapping[torch.Tensor, int]  # numbers of tensors of data
        self._series = WeakIdKeyDictionary()
        self._numbers = count()

    def input_data(self, module: ModuleRecord, x: torch.Tensor) -> InputData:
        """Return what is known of the input of a pass as data."""
        data = _data_behind(x)
        if data is None or data.is_inference():  # which has no version
            return InputData()
        base = data if data._base is None else data._base
        number = self._series.setdefault(base, next(self._numbers))
        series = number, base._version
        start = int(data.storage_offset())
        before = self._orders[module].latest
        stride = 0
        if not module.is_cell:
            stride = int(data.stride(module.time_axis if data.dim() > 1 else 0))
        elif before is not None and before.data.series == series:
            stride = start - before.data.start
        row_end = 0
        for size, distance in zip(base.shape, base.stride()):
            if distance == stride:
                row = int(size) * stride
                row_end = start - start % row + row
        return InputData(series, start, stride, row_end)

    def remember(self, forward: ForwardPass, outputs: dict[str, torch.Tensor]) -> None:
        """Remember the last states of a pass, and of its first sequence all."""
        module = forward.module
        out = outputs.get("out")
        if out is not None and out.dim() == 3 and not module.is_bidirectional:
            first = out.select(1 - module.time_axis, 0)
            for step, row in enumerate(_row_hashes(first[:-1]), 1):
                self._add(forward, row, "h", step)
        for name in outputs.keys() - {"out"}:
            for row in _hashes_of(outputs[name]):
                self._add(forward, row, name, forward.steps)
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        if forward.has_gradient:
            order = self._orders[module]
            order.latest = forward
            if not forward.parents:
                order.window = forward

    def _add(self, forward: ForwardPass, row: int, output: str, steps: int) -> None:
        """Remember a row; one of training takes precedence."""
        key = forward.module, row
        if row and (forward.has_gradient or key not in self._known):
            self._known[key] = StatePart(Origin.OLDER, forward, output, steps)

    def initial_state(
        self,
        module: ModuleRecord,
        state: list[tuple[torch.Tensor, GraphWalk]],
        data: InputData,
        begins: bool,
    ) -> tuple[StatePart, ...]:
        """Return where the parts of an initial state come from."""
        order = self._orders[module]
        said = None
        if begins and data.series is not None:
            said = order.begin(data)
        parts = []
        for tensor, walk in state:
            part = self._origin(module, tensor, walk)
            if part.origin is Origin.ZEROS:
                part = order.zeros(data)
            elif part.is_carried:
                part = order.carried(part, data, said)
            parts.append(part)
        return tuple(parts) or (order.zeros(data),)

    def _origin(
        self, module: ModuleRecord, state: torch.Tensor, walk: GraphWalk
    ) -> StatePart:
        """Return where a state comes from, by its graph or by its rows."""
        if not walk.is_complete:
            return StatePart(Origin.UNKNOWN)
        for source, output in walk.passes.items():
            if source.module is module:
                return StatePart(Origin.ATTACHED, source, output, source.steps)
        leaves = walk.leaves.values()
        if walk.passes or any(isinstance(leaf, nn.Parameter) for leaf in leaves):
            return StatePart(Origin.COMPUTED)
        rows = _hashes_of(state)
        for row in rows:
            if (module, row) in self._known:
                return self._known[module, row]
        is_zero = not any(rows) and not state.any()
        return StatePart(Origin.ZEROS if is_zero else Origin.UNKNOWN)
