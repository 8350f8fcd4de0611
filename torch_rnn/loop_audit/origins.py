"""The origin of the initial state of a pass: by the graph, and by its numbers, which are those of an earlier state."""

from typing import Any

import torch
from torch import nn

from torch_rnn.loop_audit.records import Initial, Network, Origin, Pass

MARK = "torch_rnn.loop_audit"  # key of {output number: (pass, name)} in the metadata of the nodes that end a pass
LOSS = "torch_rnn.loop_audit.loss"  # key of the number of a loss in the metadata of its node
MAX_NODES, MAX_INPUT_NODES = 1000, 100  # of the graph before the state or the input of a pass
ROWS, NUMBERS, MAX_KNOWN = 4, 8, 40_000  # of a state: rows and numbers that identify it; states that are known
State = tuple[Origin, int]  # a pass, and the step of it after which the state is


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of a state: one, a tuple of two, or none."""
    return [] if value is None else [value] if isinstance(value, torch.Tensor) else list(value)


def ancestors(values: list[torch.Tensor], most: int = MAX_NODES) -> tuple[list[Pass], list[torch.Tensor]]:
    """The passes and the leaves with gradients that tensors are computed from."""
    found, leaves, seen = dict[Pass, None](), [v for v in values if v.is_leaf and v.requires_grad], set[Any]()
    pending: list[Any] = [(v.grad_fn, v.output_nr) for v in values if v.grad_fn is not None]
    while pending and len(seen) < most:
        node, number = pending.pop()
        if (mark := node.metadata.get(MARK)) is not None and number in mark:
            found[mark[number][0]] = None
        elif node not in seen:
            seen.add(node)
            if hasattr(node, "variable"):
                leaves.append(node.variable)
            else:
                pending += [edge for edge in node.next_functions if edge[0] is not None]
    return list(found), leaves


class Direct:
    """What a loss is computed from directly: outputs of passes, leaves, and losses by the number of their call."""

    def __init__(self, roots: list[torch.Tensor]):
        self.outputs, self.leaves, self.losses = set[tuple[Pass, str]](), set[torch.Tensor](), set[int]()
        pending: list[Any] = [(root.grad_fn, root.output_nr) for root in roots if root.grad_fn is not None]
        seen = set[Any]()
        while pending:
            node, number = pending.pop()
            metadata = node.metadata
            if (mark := metadata.get(MARK)) is not None and number in mark:
                self.outputs.add(mark[number])
            elif node not in seen:
                seen.add(node)
                if LOSS in metadata:
                    self.losses.add(metadata[LOSS])
                if hasattr(node, "variable"):
                    self.leaves.add(node.variable)
                else:
                    pending += [edge for edge in node.next_functions if edge[0] is not None]


class KnownStates:
    """The states that passes of a network returned, by the first numbers of some of their rows."""

    def __init__(self) -> None:
        self.known = dict[Any, State]()
        self.users = dict[tuple[int, int], Any]()  # data of the first pass that started from a state

    def add(self, origin: Origin, last: torch.Tensor, out: torch.Tensor | None) -> None:
        """Add the last state of a pass, and its outputs (T, B, H) if they are its states."""
        for key in keys(last):
            self.known[key] = origin, origin.steps
        if out is not None:
            for step, row in enumerate(out[:-1, 0, :NUMBERS].tolist(), start=1):
                self.known[tuple(row)] = origin, step
        if len(self.known) > MAX_KNOWN:
            for key in list(self.known)[: MAX_KNOWN // 2]:
                del self.known[key]
            self.users = {}

    def find(self, state: torch.Tensor) -> State | None:
        """The pass that returned the rows of a state."""
        return next((found for key in keys(state) if any(key) and (found := self.known.get(key))), None)


def keys(state: torch.Tensor) -> list[tuple[float, ...]]:
    """The first numbers of the rows of a state of the last layer, (L, B, H) or (B, H)."""
    rows = state.detach()[-1] if state.dim() == 3 else state.detach()
    return [tuple(row) for row in rows.reshape(-1, rows.shape[-1])[:ROWS, :NUMBERS].tolist()]


def initial_kind(found: State | None, states: list[torch.Tensor], has_passes: bool, leaves: Any) -> Initial:
    """The kind of an initial state."""
    if not has_passes and any(isinstance(leaf, nn.Parameter) for leaf in leaves):
        return "learned"
    if found is not None:
        return "carried"
    if not any(bool(h.any()) for h in states):
        return "zeros"
    return "computed" if has_passes or leaves else "constant"


def origin_of(net: Network, known: KnownStates, found: State, batch: int, origin: Origin) -> str:
    """Where a carried state comes from, a key of ORIGINS.

    origin: the pass that gets the state. Its data tell whether they follow those of the pass that computed it.
    """
    source, step = found
    here, there, key = origin.data, source.data, (source.number, step)
    is_later = source.update < origin.update
    first = known.users.setdefault(key, here.identity)
    if not source.has_graph:
        return "no gradient"
    if is_later and here.identity is not None and here.identity in (data for _, data in net.resets[:1]):
        return "epoch"
    if source.batch != batch and is_later:
        return "batch"
    if here.identity is not None and first not in (None, here.identity) and is_later:
        return "older"
    if there.drawn < here.drawn or is_elsewhere(net, found, origin):
        return "elsewhere"
    return "before"


def is_elsewhere(net: Network, found: State, origin: Origin) -> bool:
    """Whether the data of a pass lie elsewhere than after those of the pass whose state it gets.

    Their distance in memory varies, or other data than in an earlier epoch follow.
    """
    source, step = found
    here, there = origin.data, source.data
    if here.base is not None and there.base is not None and here.base() is there.base() is not None:
        position = there.start + (there.end - there.start) // source.steps * step
        net.distances.append(here.start - position)
        return net.distances[-1] != 0 and len(net.distances) > 1 and net.distances[-1] != net.distances[-2]
    if step == source.steps and there.identity is not None and here.identity is not None:
        return bool(net.followers.setdefault(there.identity, here.identity) != here.identity)
    return False
