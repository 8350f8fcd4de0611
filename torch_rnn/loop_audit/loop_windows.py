"""The windows of an update, from the passes that its gradients reached; and the shapes of what modules take."""

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from torch_rnn.loop_audit.records import Network, Pass, Window


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of a state: one, a tuple of two, or none."""
    return [] if value is None else [value] if isinstance(value, torch.Tensor) else list(value)


def sizes(net: Network, x: Any) -> tuple[int, int]:
    """Steps and batch of an input."""
    if isinstance(x, PackedSequence):
        return len(x.batch_sizes), int(x.batch_sizes[0])
    if net.is_cell:
        return 1, x.shape[0] if x.dim() == 2 else 1
    if x.dim() == 2:
        return x.shape[0], 1
    return (x.shape[1], x.shape[0]) if net.module.batch_first else (x.shape[0], x.shape[1])


def same_rows(state: torch.Tensor, initial: torch.Tensor) -> bool:
    """Whether an initial state is a last state bit for bit, or its first sequences."""
    if state.dim() != initial.dim() or state.dtype != initial.dtype:
        return False
    return torch.equal(state[..., : initial.shape[-2], :] if state.dim() > 1 else state, initial.detach())


def by_time(net: Network, values: torch.Tensor, each: Pass) -> torch.Tensor:
    """Values in the layout of the inputs of the module as (T, B, n)."""
    if not net.is_cell and net.module.batch_first:
        return values.reshape(each.batch, each.steps, -1).transpose(0, 1)
    return values.reshape(each.steps, each.batch, -1)


def windows(net: Network, reached: list[Pass]) -> tuple[Window, ...]:
    """The windows of an update: passes that are joined by the graph, or by gradients that the script passes on."""
    now, groups, roots = len(net.updates), dict[Pass, list[Pass]](), dict[Pass, Pass]()
    for each in reached:
        parent = each.link or (each.source if each.relayed else None)
        roots[each] = roots.get(parent, each) if parent is not None else each
        groups.setdefault(roots[each], []).append(each)
    return tuple(
        Window(
            root.initial, root.batch, sum(p.steps for p in group if p.update == now), sum(p.steps for p in group),
            now - root.update, len(group), any(p.link is not None and p.link.update < now for p in group),
            root.shift, root.place,
        )
        for root, group in groups.items()
    )  # fmt: skip


def is_unlinked(net: Network, reached: list[Pass]) -> bool:
    """Whether one backward pass gets single steps that are detached from the step before, of the same update."""
    now = len(net.updates)
    carried = [p for p in reached if p.steps == 1 and p.initial == "carried" and p.link is None and not p.relayed]
    before = [p.source for p in carried if p.update == now and p.source is not None]
    return net.pending == 1 and any(p.steps == 1 and p.update == now and p.graph for p in before)
