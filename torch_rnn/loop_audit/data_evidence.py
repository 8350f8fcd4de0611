"""Evidence in the data: whether windows continue each other, batches are shuffled, time and batch are swapped."""

from typing import Any

import torch
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from torch_rnn.loop_audit.places import is_named
from torch_rnn.loop_audit.records import SWAPPED, Network, Pass

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


class DataEvidence:
    """The latest data that the loop drew, looked up and gave to each network."""

    def __init__(self) -> None:
        self.tokens: torch.Tensor | None = None  # of an nn.Embedding
        self.drawn, self.drawn_rows = 0, 0  # batches of a shuffling DataLoader, and the size of the latest
        self.latest: dict[Network, Pass] = {}  # with codes

    def forward(self, net: Network, each: Pass, x: torch.Tensor) -> None:
        """See whether a pass continues the one before, of which the script keeps the state, but starts from zeros."""
        T, B, former = each.steps, each.batch, self.latest.get(net)
        if self.drawn_rows == T and B not in (1, T) and not net.batch_first:
            net.evidence[SWAPPED].append(
                net.swapped("what the DataLoader draws as a batch is taken for the time", T, B)
            )
        codes = by_time = net.by_time(x.detach(), T, B)
        if self.tokens is not None and self.tokens.numel() == T * B:
            codes = net.by_time(self.tokens, T, B)
        elif bool(((codes == 0) | (codes == 1)).all()) and bool((codes.sum(-1) == 1).all()):
            codes = codes.argmax(-1, keepdim=True)
        memory, start, stride = by_time.untyped_storage().data_ptr(), int(by_time.storage_offset()), by_time.stride(0)
        each.codes, each.end, self.tokens = codes.clone(), (memory, start + T * stride, stride), None
        self.latest[net] = each
        if former is not None and former.is_kept and each.initial == former.initial == "zeros" and former.batch == B:
            is_next = former.target is not None and torch.equal(former.target.to(codes.dtype), codes[0])
            if is_next or former.end == (memory, start, stride):
                net.evidence["state not carried"].append((each.place,))

    def loss(self, target: torch.Tensor) -> None:
        """Compare the target of the latest pass with its inputs."""
        for net, each in self.latest.items():
            T, B, codes = each.steps, each.batch, each.codes
            if target.numel() % (T * B):
                continue
            wanted = net.by_time(target.detach(), T, B).to(codes.dtype)
            each.target = wanted[-1]
            varies = wanted.shape == codes.shape and B > 2 and bool((codes[:, 1:] != codes[:, :-1]).any())
            is_next_in_time = T > 1 and torch.equal(wanted[:-1], codes[1:])
            if varies and not net.is_cell and not is_next_in_time and torch.equal(wanted[:, :-1], codes[:, 1:]):
                reason = "the target is the input shifted by one along the axis taken for the batch"
                net.evidence[SWAPPED].append(net.swapped(reason, T, B))

    def backward(self) -> None:
        """See whether the script has a name for the last state of each network."""
        for each in self.latest.values():
            each.is_kept = is_named(each.states[0])

    def output_gradient(self, net: Network, each: Pass, gradient: torch.Tensor) -> None:
        """See whether the loss uses one row of the batch of outputs (T, B, H), and several steps."""
        used = gradient.any(dim=-1)
        if each.batch > 1 and int(used.any(dim=0).sum()) == 1 and int(used.any(dim=1).sum()) > 1:
            reason = "the loss uses one sequence of the batch, and several of its steps"
            net.evidence[SWAPPED].append(net.swapped(reason, each.steps, each.batch))

    def draw(self, batch: Any, iterator: Any) -> None:
        """Count the batches of a DataLoader that shuffles, and their rows."""
        shuffles = isinstance(getattr(iterator._index_sampler, "sampler", None), SHUFFLING)
        while isinstance(batch, list | tuple | dict) and batch:
            batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
        is_tensor = isinstance(batch, torch.Tensor) and batch.dim() > 0
        self.drawn, self.drawn_rows = self.drawn + shuffles, len(batch) if is_tensor and shuffles else 0
