"""Evidence in the data: whether windows continue each other, batches are shuffled, time and batch are swapped."""

import math
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler
from torch.utils.weak import WeakIdKeyDictionary

from torch_rnn.loop_audit.places import is_named
from torch_rnn.loop_audit.records import DataPlace, Initial, Network, Pass

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
NUMBERS, MAX_LOOKED_AT, MIN_NUMBERS = 16_384, 128, 16  # of the inputs of a pass that identify them
MIN_SHIFTED, MIN_PLACES = (
    8,
    4,
)  # numbers that tell a shift; places in a tensor that tell a set of data from a buffer


@dataclass(slots=True)
class Latest:
    """The data of the latest pass of a network."""

    number: int  # of the pass
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
        self.drawn, self.shape, self.is_by_sample = (
            0,
            tuple[int, ...](),
            False,
        )  # shuffled batches; the latest batch
        self.latest: dict[Network, Latest] = {}
        self.numbers, self.number = (
            WeakIdKeyDictionary(),
            0,
        )  # of tensors, as an id may be that of an earlier one
        self.trained: dict[
            int, tuple[Any, set[tuple[int, int]]]
        ] = {}  # tensors, and places of passes with a gradient
        self.before: dict[
            Network, DataPlace
        ] = {}  # of the latest pass, if no backward pass followed

    def look_up(self, result: Any, input: Any, *_: Any, **__: Any) -> None:
        """Remember the classes of the next input."""
        self.tokens = input if isinstance(input, torch.Tensor) else None

    def tokens_of(self, steps: int, batch: int) -> torch.Tensor | None:
        """The classes of an input, if it is looked up."""
        return (
            self.tokens
            if self.tokens is not None and self.tokens.numel() == steps * batch
            else None
        )

    def place(self, net: Network, x: Any, steps: int, batch: int, follows: bool) -> DataPlace:
        """Where the inputs of a pass are. Few numbers say nothing if they are copies, nor if a cell goes on."""
        if not isinstance(x, torch.Tensor):
            return DataPlace(self.drawn)
        tokens = self.tokens_of(steps, batch)
        base, source = (x._base, x) if tokens is None else (tokens._base, tokens)
        if source.grad_fn is not None:  # computed from data and from weights, which change
            return DataPlace(self.drawn)
        if net.is_cell and (base is None or follows):
            start = int(source.storage_offset())
            return DataPlace(self.drawn, None, base if base is None else ref(base), start, start)
        values = source.detach().reshape(-1)[:: source.numel() // NUMBERS + 1].cpu().double()
        numbers, fingerprint = values[:MAX_LOOKED_AT].tolist(), hash(values.numpy().tobytes())
        least = MIN_NUMBERS if all(number % 1 == 0 for number in numbers) else MIN_NUMBERS // 4
        is_enough = len(numbers) >= least and not net.is_cell and len(set(numbers)) > 1
        if base is None:
            return DataPlace(self.drawn, fingerprint if is_enough else None)
        axis, start = 1 if net.batch_first and source.dim() > 1 else 0, int(source.storage_offset())
        end = start + (
            source.stride(axis) * steps if source.dim() > axis and not net.is_cell else 0
        )
        self.number += 1
        number = 0 if is_enough else self.numbers.setdefault(base, self.number)  # type: ignore[no-untyped-call]
        return DataPlace(self.drawn, (start, fingerprint, number), ref(base), start, end)

    def look_for_writes(self, net: Network, here: DataPlace, where: str) -> None:
        """See whether the script writes into its training data between two passes, as sampling in a slice does."""
        before = self.before.get(net)
        self.before[net] = here
        if (
            before is None
            or here.base is None
            or before.base is None
            or None in (before.identity, here.identity)
        ):
            return
        base, is_same = here.base(), (before.start, before.end) == (here.start, here.end)
        if is_same and base is before.base() is not None and before.identity != here.identity:
            reference, places = self.trained.get(id(base), (ref(base), set()))
            is_trained = any(start <= here.start < end for start, end in places)
            if reference() is base and is_trained and len(places) >= MIN_PLACES:
                net.evidence["data overwritten"].append((where,))

    def forward(self, x: torch.Tensor, state: torch.Tensor, each: Pass, source: int) -> None:
        """Compare the data of a pass with those of the pass before. source: the pass whose last state it gets, or 0."""
        net = each.net
        T, B, former, initial = each.at.steps, each.at.batch, self.latest.get(net), each.initial
        if self.is_by_batch(net, T, B) and self.is_by_sample:
            net.swapped("a batch of the DataLoader is the time", T, B)
        codes = by_time = net.by_time(x.detach(), T, B)
        if (tokens := self.tokens_of(T, B)) is not None:
            codes = net.by_time(tokens, T, B)
        elif bool(((codes == 0) | (codes == 1)).all()) and bool((codes.sum(-1) == 1).all()):
            codes = codes.argmax(-1, keepdim=True)
        memory, start, stride = (
            by_time.untyped_storage().data_ptr(),
            int(by_time.storage_offset()),
            by_time.stride(0),
        )
        end = (memory, start + T * stride, stride)
        self.latest[net] = Latest(
            each.at.number, T, B, codes.clone(), end, state.detach().clone(), initial
        )
        if former is None or (former.codes.shape, former.codes.dtype) != (codes.shape, codes.dtype):
            return
        if former.is_kept and initial == former.initial == "zeros":
            is_next = former.target is not None and torch.equal(former.target, codes[0])
            if is_next or former.end == (memory, start, stride):
                net.evidence["state not carried"].append((each.at.place,))
        if source == former.number and each.origin == "before":
            if not (later := shift(former.codes, codes)) and (
                row := shift(codes[:, :-1], codes[:, 1:])
            ):
                later = (
                    B * row
                    if shift(former.codes[:, -1:], codes[:, :1]) == row and B * row != T
                    else 0
                )
            if later:
                net.evidence["state: overlap"].append((each.at.place, later, T))

    def is_by_batch(self, net: Network, steps: int, batch: int) -> bool:
        """Whether the time of a pass is the axis along which a DataLoader has collected samples."""
        is_time = self.shape[:1] == (steps,) and batch in self.shape and batch not in (1, steps)
        return is_time and not net.batch_first

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
            net.evidence["target equals the input" if is_copied else "target differs"].append(
                (where,)
            )
            is_next_row = (
                T * (B - 1) >= MIN_SHIFTED
                and torch.equal(wanted[:, :-1], codes[:, 1:])
                and not is_copied
            )
            if is_next_row and bool((codes[:, 1:] != codes[:, :-1]).any()):
                is_text = (
                    not codes.is_floating_point() and net.is_in_loss
                )  # numbers may be those of the next window
                is_sure = (
                    is_text and T > 1 and not torch.equal(wanted[:-1], codes[1:])
                )  # as in overlapping windows
                if is_sure or self.is_by_batch(net, T, B):
                    net.swapped("the target is the input of the next sequence", T, B)

    def backward(self) -> None:
        """See whether the script has a name for the last state of each network."""
        self.before = {}
        for net, each in self.latest.items():
            if net.compares_data:
                each.is_kept = is_named(each.state)

    def reached(self, each: Pass) -> None:
        """Remember a place in the data that a gradient comes from."""
        place = each.at.data
        if place.base is not None and (base := place.base()) is not None:
            if id(base) not in self.trained or self.trained[id(base)][0]() is not base:
                self.trained[id(base)] = place.base, set()
            self.trained[id(base)][1].add((place.start, max(place.end, place.start + 1)))

    def draw(self, batch: Any, iterator: Any) -> None:
        """Look at a batch of a DataLoader: whether its first axis is that of samples, for sure."""
        parts = list(
            batch.values()
            if isinstance(batch, dict)
            else batch
            if isinstance(batch, list | tuple)
            else [batch]
        )
        shapes = [
            tuple(part.shape) for part in parts if isinstance(part, torch.Tensor) and part.dim() > 0
        ]
        shuffles = isinstance(getattr(iterator._index_sampler, "sampler", None), SHUFFLING)
        self.drawn, self.shape = (
            self.drawn + shuffles,
            shapes[0] if shapes and iterator._auto_collation else (),
        )
        self.is_by_sample = shuffles or any(
            math.prod(shape) == shape[0] for shape in shapes[1:]
        )  # a target per sample


def shift(former: torch.Tensor, later: torch.Tensor) -> int:
    """The steps by which data (T, B, n) overlap earlier ones, if it is sure that they do; 0 if not."""
    T = len(former)
    for s in (
        (former == later[:1]).flatten(1).all(1).nonzero().flatten().tolist()
        if later.numel()
        else ()
    )[:T]:
        rest, is_periodic = (
            former[s:],
            torch.equal(former[:s], former[T - s :]),
        )  # which needs no overlap; so for s = 0
        if rest.numel() >= MIN_SHIFTED and torch.equal(rest, later[: T - s]) and not is_periodic:
            return int(s) if bool((rest != rest[:1]).any()) else 0
    return 0


def mixing_view(x: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes of a tensor and its view, if the view exchanges sizes of axes but not the axes: rows are mixed."""
    base = x._base
    if (
        base is None
        or x.dim() != 3
        or base.dim() not in (2, 3)
        or base.numel() != x.numel()
        or not x.is_contiguous()
    ):
        return None
    given, now = tuple(base.shape), tuple(x.shape)
    is_exchanged = given[:2] == now[1::-1] and given[0] != given[1] and min(given[:2]) > 1
    return (
        (given, now) if is_exchanged and base.is_contiguous() and (*given, 1)[2] == now[2] else None
    )
