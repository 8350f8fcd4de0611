"""Which samples a DataLoader yields, and which inputs are of them."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import default_collate

from torch_rnn.loop_audit.events import DataContents, SampledBatch
from torch_rnn.loop_audit.hooks import FAILED, Watcher


def tensors_in(batch: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a batch as a collating function returns it."""
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from tensors_in(value)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            yield from tensors_in(value)


def _is_same(x: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors have the same shape and numbers."""
    return x.shape == other.shape and bool(torch.equal(x, other.to(x)))


def _sample_axis(data: torch.Tensor, tensor: torch.Tensor) -> int | None:
    """Return the axis of the samples of a batch's tensor in data that are made of it,
    -1 if there is none, and None if the data are of something else.
    """
    count = tensor.shape[0]
    if data.device != tensor.device or data.numel() == 0:
        return None
    storages = [t.untyped_storage().data_ptr() for t in (data, tensor)]
    if storages[0] == storages[1]:
        sizes = zip(data.stride(), data.shape)
        axes = [
            axis for axis, size in enumerate(sizes) if size == (tensor.stride(0), count)
        ]
        return axes[0] if len(axes) == 1 else -1
    if data.numel() != tensor.numel() or tensor.dim() < 2:
        return None
    if data.dim() == tensor.dim() + 1 and data.shape[-1] == 1:
        data = data.squeeze(-1)
    if _is_same(data, tensor):
        return 0
    if data.dim() >= 2 and _is_same(data.transpose(0, 1), tensor):
        return 1
    return None


class SampleWatch:
    """Remembers the latest batch that a DataLoader has yielded."""

    def __init__(self) -> None:
        """Begin without a batch."""
        self._indices = WeakKeyDictionary[Any, deque[Any]]()  # not yet yielded
        self._iterations = WeakKeyDictionary[Any, int]()
        self._count = 0
        self._latest: SampledBatch | None = None
        self._tensors: list[torch.Tensor] = []

    def next_index(self, iterator: Any) -> Watcher:
        """Watch a call by which an iterator of a DataLoader gets the next indices."""
        indices = yield
        if indices is not FAILED:
            self._indices.setdefault(iterator, deque()).append(indices)

    def next_batch(self, iterator: Any) -> Watcher:
        """Watch a call that yields a batch."""
        batch = yield
        if batch is FAILED:
            return
        if iterator._num_yielded == 1:
            self._count += 1
            self._iterations[iterator] = self._count
        waiting = self._indices.get(iterator)
        indices = waiting.popleft() if waiting else None
        known = indices if isinstance(indices, (list, tuple)) else []
        self._latest = SampledBatch(
            iteration=self._iterations.get(iterator, self._count),
            loader=id(iterator._dataset),
            indices=tuple(i for i in known if isinstance(i, int)),
            is_stacked=iterator._collate_fn is default_collate,
        )
        self._tensors = list(tensors_in(batch))

    def describe(
        self, contents: DataContents, data: torch.Tensor, axis: int | None
    ) -> None:
        """Note the batch that data are of, and whether their axis of time counts its
        samples.
        """
        batch = self._latest
        if batch is None:
            return
        for tensor in self._tensors:
            found = _sample_axis(data, tensor) if tensor.dim() else None
            if found is None:
                continue
            contents.batch = batch
            if axis is not None and data.dim() > 1 and batch.is_stacked:
                is_batch = data.shape[1 - axis] > 1 and data.shape[axis] > 1
                is_all = not batch.indices or len(batch.indices) == len(tensor)
                contents.are_samples_steps = found == axis and is_batch and is_all
            return
