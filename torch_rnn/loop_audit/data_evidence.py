"""What the data say: whether windows continue each other, batches are shuffled, time and batch are swapped."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from torch_rnn.loop_audit.loop_windows import by_time
from torch_rnn.loop_audit.records import Network, Pass

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


class DataEvidence:
    """The latest data that the loop drew or looked up."""

    def __init__(self) -> None:
        self.tokens: torch.Tensor | None = None  # of an nn.Embedding
        self.drawn, self.drawn_rows = 0, 0  # batches of a shuffling DataLoader, and the size of the latest

    def forward(self, net: Network, each: Pass, x: torch.Tensor) -> None:
        """Whether the pass continues the one before, of which the script keeps the state, but starts from zeros."""
        former, rows, first = net.last, self.drawn_rows, by_time(net, x.detach(), each)
        if each.steps == rows and each.batch not in (1, rows) and not net.module.batch_first:
            net.swapped.append("what the DataLoader draws as a batch is taken for the time")
        memory, start, stride = first.untyped_storage().data_ptr(), int(first.storage_offset()), int(first.stride(0))
        each.end = (memory, start + each.steps * stride, stride)
        if self.tokens is not None and self.tokens.numel() == each.steps * each.batch:
            each.codes = by_time(net, self.tokens, each)
        elif bool(((first == 0) | (first == 1)).all()) and bool((first.sum(-1) == 1).all()):
            each.codes = first.argmax(-1, keepdim=True)
        else:
            each.codes = first.clone()
        self.tokens = None
        if former is None or former.codes is None or not each.initial == former.initial == "zeros":
            return
        former.codes, target = None, former.last_target
        continues = former.end == (memory, start, stride) or (
            target is not None and torch.equal(target.to(each.codes.dtype), each.codes[0])
        )
        if continues and former.is_kept and former.batch == each.batch:
            net.lost.append(each.place)

    def loss(self, target: torch.Tensor, networks: Iterable[Network]) -> None:
        """Compare the target of the latest pass with its inputs."""
        for net in networks:
            each = net.last
            if each is None or each.codes is None or target.numel() % (each.steps * each.batch):
                continue
            codes, wanted = each.codes, by_time(net, target.detach(), each)
            each.last_target = wanted[-1]
            if wanted.shape == codes.shape and each.batch > 2 and bool((codes[:, 1:] != codes[:, :-1]).any()):
                wanted = wanted.to(codes.dtype)
                along_time = each.steps > 1 and torch.equal(wanted[:-1], codes[1:])
                if not along_time and torch.equal(wanted[:, :-1], codes[:, 1:]):
                    net.swapped.append("the target is the input shifted by one along the axis taken for the batch")

    def output_gradient(self, net: Network, each: Pass, gradient: torch.Tensor) -> None:
        """See whether the loss uses one row of the batch of outputs, and several steps."""
        used = by_time(net, gradient.detach(), each).any(dim=-1)
        if each.batch > 1 and int(used.any(dim=0).sum()) == 1 and int(used.any(dim=1).sum()) > 1:
            net.swapped.append("the loss uses one sequence of the batch, and several of its steps")

    def embedding(self, tokens: torch.Tensor, *_: Any, **__: Any) -> None:
        """Keep the classes, which the next pass may get as rows."""
        self.tokens = tokens.detach()

    def draw(self, iterator: Any) -> Callable[[Any], None]:
        """Count the batches of a DataLoader that shuffles, and their rows."""
        shuffles = isinstance(getattr(iterator._index_sampler, "sampler", None), SHUFFLING)

        def drawn(batch: Any) -> None:
            while isinstance(batch, list | tuple | dict) and batch:
                batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
            is_tensor = isinstance(batch, torch.Tensor) and batch.dim() > 0
            self.drawn, self.drawn_rows = self.drawn + shuffles, len(batch) if is_tensor and shuffles else 0

        return drawn
