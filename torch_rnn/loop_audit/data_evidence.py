"""Evidence in the data: whether windows continue each other, batches are shuffled, time and batch are swapped."""

from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from torch_rnn.loop_audit.places import is_named
from torch_rnn.loop_audit.records import DataPlace, Initial, Network, Pass

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
NUMBERS, MAX_LOOKED_AT, MIN_NUMBERS = 16_384, 128, 16  # of the inputs of a pass that identify them


@dataclass(slots=True)
class Latest:
    """The data of the latest pass of a network."""

    steps: int
    batch: int
    codes: torch.Tensor  # (T, B, D) inputs, or (T, B, 1) classes
    end: tuple[int, ...]  # where the inputs end in the memory
    state: torch.Tensor
    initial: Initial
    target: torch.Tensor | None = None  # of the last step
    is_kept: bool = False  # the script has a name for the last state, when the backward pass starts


class DataEvidence:
    """The latest data that the loop drew, looked up and gave to each network."""

    def __init__(self) -> None:
        self.tokens: torch.Tensor | None = None  # of an nn.Embedding or one_hot
        self.drawn, self.drawn_rows = 0, 0  # batches of a shuffling DataLoader, and the size of the latest
        self.latest: dict[Network, Latest] = {}

    def look_up(self, result: Any, input: Any, *_: Any, **__: Any) -> None:
        """Remember the classes of the next input."""
        self.tokens = input if isinstance(input, torch.Tensor) else None

    def tokens_of(self, steps: int, batch: int) -> torch.Tensor | None:
        """The classes of an input, if it is looked up."""
        return self.tokens if self.tokens is not None and self.tokens.numel() == steps * batch else None

    def place(self, net: Network, x: Any, steps: int, batch: int) -> DataPlace:
        """Where the inputs of a pass are. Few numbers say nothing if they are copies."""
        if not isinstance(x, torch.Tensor):
            return DataPlace(self.drawn)
        tokens = self.tokens_of(steps, batch)
        base, source = (x._base, x.detach()) if tokens is None else (tokens._base, tokens)
        if base is None and net.is_cell:
            return DataPlace(self.drawn)
        values = source.reshape(-1)[:: source.numel() // NUMBERS + 1].cpu().double()
        numbers, fingerprint = values[:MAX_LOOKED_AT].tolist(), hash(values.numpy().tobytes())
        least = MIN_NUMBERS if all(number % 1 == 0 for number in numbers) else MIN_NUMBERS // 4
        is_enough = len(numbers) >= least and not net.is_cell and len(set(numbers)) > 1
        if base is None:
            return DataPlace(self.drawn, fingerprint if is_enough else None)
        axis, start = 1 if net.batch_first and source.dim() > 1 and not net.is_cell else 0, int(source.storage_offset())
        end = start + (source.stride(axis) * steps if source.dim() > axis and not net.is_cell else 0)
        return DataPlace(self.drawn, (start, fingerprint, 0 if is_enough else id(base)), ref(base), start, end)

    def forward(self, net: Network, x: torch.Tensor, state: torch.Tensor, each: Pass) -> None:
        """See whether a pass continues the one before, of which the script keeps the state, but starts from zeros."""
        T, B, former, initial = each.at.steps, each.at.batch, self.latest.get(net), each.initial
        if self.drawn_rows == T and B not in (1, T) and not net.batch_first:
            net.swapped("a batch of the DataLoader is the time", T, B)
        codes = by_time = net.by_time(x.detach(), T, B)
        if (tokens := self.tokens_of(T, B)) is not None:
            codes = net.by_time(tokens, T, B)
        elif bool(((codes == 0) | (codes == 1)).all()) and bool((codes.sum(-1) == 1).all()):
            codes = codes.argmax(-1, keepdim=True)
        memory, start, stride = by_time.untyped_storage().data_ptr(), int(by_time.storage_offset()), by_time.stride(0)
        end = (memory, start + T * stride, stride)
        self.latest[net] = Latest(T, B, codes.clone(), end, state.detach().clone(), initial)
        if former is not None and former.is_kept and initial == former.initial == "zeros" and former.batch == B:
            is_next = former.target is not None and torch.equal(former.target.to(codes.dtype), codes[0])
            if is_next or former.end == (memory, start, stride):
                net.evidence["state not carried"].append((each.at.place,))

    def loss(self, target: torch.Tensor, where: str) -> None:
        """Compare the target of the latest pass with its inputs."""
        for net, each in self.latest.items():
            T, B, codes = each.steps, each.batch, each.codes
            if target.numel() % (T * B):
                continue
            wanted = net.by_time(target.detach(), T, B).to(codes.dtype)
            each.target = wanted[-1]
            if wanted.shape != codes.shape:
                continue
            is_copied = bool((codes != codes[:1, :1]).any()) and torch.equal(wanted, codes)
            net.evidence["target equals the input" if is_copied else "target differs"].append((where,))

    def backward(self) -> None:
        """See whether the script has a name for the last state of each network."""
        for net, each in self.latest.items():
            if net.compares_data:
                each.is_kept = is_named(each.state)

    def draw(self, batch: Any, iterator: Any) -> None:
        """Count the batches of a DataLoader that shuffles, and their rows."""
        shuffles = isinstance(getattr(iterator._index_sampler, "sampler", None), SHUFFLING)
        while isinstance(batch, list | tuple | dict) and batch:
            batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
        is_tensor = isinstance(batch, torch.Tensor) and batch.dim() > 0
        self.drawn, self.drawn_rows = self.drawn + shuffles, len(batch) if is_tensor and shuffles else 0


def mixing_view(x: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes of a tensor and its view, if the view exchanges sizes of axes but not the axes: rows are mixed."""
    base = x._base
    if base is None or x.dim() != 3 or base.dim() not in (2, 3) or base.numel() != x.numel() or not x.is_contiguous():
        return None
    given, now = tuple(base.shape), tuple(x.shape)
    is_exchanged = given[:2] == now[1::-1] and given[0] != given[1] and min(given[:2]) > 1
    return (given, now) if is_exchanged and base.is_contiguous() and (*given, 1)[2] == now[2] else None
