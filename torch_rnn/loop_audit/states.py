"""Where initial states and inputs come from.

A state that is detached keeps its numbers. So the rows of the states that a pass
returns are remembered, and a state without a graph is looked up by its rows that are
not zero. A state that is found neither in the graph nor by its rows is unknown.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from torch_rnn.loop_audit.events import (
    DataPosition,
    Forward,
    LoaderBatch,
    ModuleRecord,
    Origin,
    StatePart,
)
from torch_rnn.loop_audit.graph import Walk

MAX_ROWS = 8  # of a state that are looked at
MAX_REMEMBERED = 40_000  # rows
MAX_NODES = 200  # of the graph of a state
MAX_BATCHES = 2_000


def _hash(row: torch.Tensor) -> int:
    return hash(row.detach().flatten().float().cpu().numpy().tobytes())


def rows_of(state: torch.Tensor) -> Iterator[int]:
    """Yield hashes of the first rows that are not zero, of the last layer of a
    state."""
    numbers: Any = state.detach().float().cpu().numpy()
    if numbers.ndim == 3:
        numbers = numbers[-1]
    numbers = numbers.reshape(-1, numbers.shape[-1])
    count = 0
    for row, is_nonzero in zip(numbers, numbers.any(1).tolist()):
        if count == MAX_ROWS:
            return
        if is_nonzero:
            count += 1
            yield hash(row.tobytes())


class StateMemory:
    """The rows of the states that the passes of a loop returned."""

    def __init__(self) -> None:
        self._known: dict[tuple[ModuleRecord, int], StatePart] = {}

    def remember(self, forward: Forward, outputs: dict[str, torch.Tensor]) -> None:
        """Remember the last states of a pass, and of its first sequence all."""
        module = forward.module
        out = outputs.get("out")
        if out is not None and out.dim() == 3 and not module.is_bidirectional:
            first = out.detach().select(1 - module.time_axis, 0)[:-1]
            rows: Any = first.float().cpu().numpy()
            for step, is_nonzero in enumerate(rows.any(1).tolist(), start=1):
                if is_nonzero:
                    row = rows[step - 1].tobytes()
                    self._add(forward, hash(row), "h", step)
        for name in ("h", "c"):
            if name in outputs:
                for key in rows_of(outputs[name]):
                    self._add(forward, key, name, forward.steps)
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]

    def _add(self, forward: Forward, row: int, output: str, steps: int) -> None:
        known = self._known.get((forward.module, row))
        is_repeated = known is not None and not forward.has_gradient
        if not is_repeated:
            key = forward.module, row
            self._known[key] = StatePart(Origin.CUT, forward, output, steps)

    def origin(self, module: ModuleRecord, state: torch.Tensor) -> StatePart:
        """Return where a part of an initial state comes from."""
        walk = Walk([state], into_passes=False, most=MAX_NODES)
        if walk.is_compiled or not walk.is_complete:
            return StatePart(Origin.UNKNOWN)
        own = [each for each in walk.passes if each.module is module]
        if own:
            source = max(own, key=lambda each: each.number)
            output = _only(walk.passes[source])
            return StatePart(Origin.ATTACHED, source, output, source.steps)
        if walk.passes:
            source, outputs = next(iter(walk.passes.items()))
            return StatePart(Origin.COMPUTED, source, _only(outputs), source.steps)
        if any(isinstance(leaf, nn.Parameter) for leaf in walk.leaves.values()):
            return StatePart(Origin.COMPUTED)
        return self._origin_by_rows(module, state)

    def _origin_by_rows(self, module: ModuleRecord, state: torch.Tensor) -> StatePart:
        for row in rows_of(state):
            found = self._known.get((module, row))
            if found is not None:
                return found
        if bool(state.any()):
            return StatePart(Origin.UNKNOWN)
        return StatePart(Origin.ZEROS)


def _only(outputs: dict[str, bool]) -> str:
    """Return the output that a state comes from, empty if there are several."""
    return next(iter(outputs)) if len(outputs) == 1 else ""


def source_of(x: torch.Tensor) -> torch.Tensor | None:
    """Return the data that an input is: itself, or the tokens of its embedding."""
    node: Any = x.grad_fn
    for _ in range(4):  # as in dropout(embedding(tokens))
        if node is None:
            return x
        if type(node).__name__ == "EmbeddingBackward0":
            tokens: torch.Tensor = node._saved_indices
            return tokens
        following = [each for each, _ in node.next_functions if each is not None]
        if not following:
            return None
        node = following[0]
    return None


class DataMemory:
    """The tensors that inputs are views of, and the batches of DataLoaders."""

    def __init__(self) -> None:
        self._tensors: Any = WeakIdKeyDictionary()
        self._batches: dict[int, tuple[int, bool, bool]] = {}
        self._count = 0

    def position(self, data: torch.Tensor, time_axis: int) -> DataPosition | None:
        base = data._base
        if base is None or data.dim() <= time_axis:
            return None
        number = self._tensors.setdefault(base, len(self._tensors))
        stride = data.stride(time_axis)
        return DataPosition(number, int(data.storage_offset()), stride)

    def add_batch(self, iterator: Any, batch: Any) -> None:
        """Remember the first sample of each tensor of a batch of a DataLoader."""
        if isinstance(batch, dict):
            batch = list(batch.values())
        if not isinstance(batch, list | tuple):
            batch = [batch]
        sampler = getattr(iterator._index_sampler, "sampler", None)
        is_shuffled = type(sampler).__name__ in (
            "RandomSampler",
            "WeightedRandomSampler",
        )
        is_collated = (
            iterator._auto_collation
            and iterator._collate_fn is torch.utils.data.default_collate
        )
        self._count += 1
        for tensor in batch:
            if isinstance(tensor, torch.Tensor) and tensor.dim() > 0 and len(tensor):
                sample = tensor[0]
                # a sample of one dimension is a sequence only if it has tokens
                is_sequence = sample.dim() >= 2 or (
                    sample.dim() == 1 and not sample.is_floating_point()
                )
                has_time = is_collated and is_sequence and len(sample) > 1
                entry = self._count, is_shuffled, has_time
                self._batches[_hash(sample)] = entry
        while len(self._batches) > MAX_BATCHES:
            del self._batches[next(iter(self._batches))]

    def batch_of(self, data: torch.Tensor, time_axis: int) -> LoaderBatch | None:
        """Return the batch of a DataLoader that an input is."""
        if not self._batches or data.dim() < 2:
            return None
        first_sequence = self._batches.get(_hash(data.select(1 - time_axis, 0)))
        if first_sequence is not None:
            return LoaderBatch(first_sequence[0], first_sequence[1], False)
        first_step = self._batches.get(_hash(data.select(time_axis, 0)))
        if first_step is not None and min(data.shape[:2]) > 1:
            return LoaderBatch(*first_step)
        return None

    def batch_of_step(self, data: torch.Tensor) -> LoaderBatch | None:
        """Return the batch of a DataLoader that the input of a cell is taken from."""
        if not self._batches:
            return None
        whole = self._batches.get(_hash(data))
        if whole is not None and data.dim() > 1:
            return LoaderBatch(*whole)
        for tensor in (data, data._base):
            if tensor is not None and tensor.dim() > 1:
                found = self._batches.get(_hash(tensor[0]))
                if found is not None:
                    return LoaderBatch(found[0], found[1], False)
        return None


def view_that_mixes(x: torch.Tensor) -> str:
    """Return the shapes of a view that exchanges time and batch without moving the
    numbers, as "(4, 12, 3) as (12, 4, 3)"; empty for any other input."""
    base = x._base
    if base is None or not x.is_contiguous() or not base.is_contiguous():
        return ""
    before, after = (*base.shape, 1)[:3], tuple(x.shape)
    exchanged = after[1], after[0], after[2]
    if before != exchanged or before[0] == before[1] or 1 in before[:2]:
        return ""
    return f"{before} as {after}"
