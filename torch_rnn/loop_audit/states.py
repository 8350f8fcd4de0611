"""Where initial states come from.

A state that is detached keeps its numbers. So the rows of the states that a pass
returns are remembered, and a state without a graph is looked up by its rows that are
not zero. A state that is found neither in the graph nor by its rows is unknown.
"""

from typing import Any

import torch
from torch import nn

from torch_rnn.loop_audit.events import Forward, ModuleRecord, Origin, StatePart
from torch_rnn.loop_audit.graph import Walk

MAX_ROWS = 8  # of a state that are looked at
MAX_REMEMBERED = 40_000  # rows
MAX_NODES = 200  # of the graph of a state


def _hashes(rows: torch.Tensor, most: int | None = None) -> list[tuple[int, int]]:
    """Return the index and a hash of the first rows that are not zero."""
    numbers: Any = rows.detach().float().cpu().numpy()
    numbers = numbers.reshape(-1, numbers.shape[-1])
    found = numbers.any(1).nonzero()[0].tolist()[:most]
    return [(index, hash(numbers[index].tobytes())) for index in found]


def _rows_of(state: torch.Tensor) -> list[int]:
    """Return hashes of the first rows that are not zero, of the last layer."""
    last = state[-1] if state.dim() == 3 else state
    return [row for _, row in _hashes(last, MAX_ROWS)]


class StateMemory:
    """The rows of the states that the passes of a loop returned."""

    def __init__(self) -> None:
        self._known: dict[tuple[ModuleRecord, int], StatePart] = {}

    def remember(self, forward: Forward, outputs: dict[str, torch.Tensor]) -> None:
        """Remember the last states of a pass, and of its first sequence all."""
        module = forward.module
        out = outputs.get("out")
        if out is not None and out.dim() == 3 and not module.is_bidirectional:
            first = out.detach().select(1 - module.time_axis, 0)
            for step, row in _hashes(first[:-1]):
                self._add(forward, row, "h", step + 1)
        for name in outputs.keys() - {"out"}:
            for row in _rows_of(outputs[name]):
                self._add(forward, row, name, forward.steps)
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]

    def _add(self, forward: Forward, row: int, output: str, steps: int) -> None:
        key = forward.module, row
        if forward.has_gradient or key not in self._known:
            self._known[key] = StatePart(Origin.CUT, forward, output, steps)

    def origin(self, module: ModuleRecord, state: torch.Tensor) -> StatePart:
        """Return where a part of an initial state comes from."""
        walk = Walk([state], into_passes=False, most=MAX_NODES)
        if not walk.is_complete:
            return StatePart(Origin.UNKNOWN)
        own = [each for each in walk.passes if each.module is module]
        if own:
            source = max(own, key=lambda each: each.number)
            output = "".join(sorted(walk.passes[source]))
            return StatePart(Origin.ATTACHED, source, output, source.steps)
        has_parameter = any(isinstance(p, nn.Parameter) for p in walk.leaves.values())
        if walk.passes or has_parameter:
            return StatePart(Origin.COMPUTED)
        for row in _rows_of(state):
            if (module, row) in self._known:
                return self._known[module, row]
        return StatePart(Origin.UNKNOWN if bool(state.any()) else Origin.ZEROS)
