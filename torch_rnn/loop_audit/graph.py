"""The graph of autograd between the passes of recurrent modules."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge

from torch_rnn.loop_audit.events import Forward, Loss, ModuleRecord

# Keys of the metadata of a node: {output number: PassEnd}, and a Loss
PASS_END = "torch_rnn.pass_end"
LOSS = "torch_rnn.loss"
Edge = tuple[Any, int]


@dataclass(frozen=True, eq=False, slots=True)
class PassEnd:
    """A result of a forward pass, and the edges that lead on before the pass."""

    forward: Forward
    output: str  # "out", "h" or "c"
    before: list[Edge]
    batch_sizes: list[int] | None  # of a packed sequence


@dataclass(frozen=True, eq=False, slots=True)
class Use:
    """A use of a result outside its own module: the node that gets it as its input
    `index`; no node if it is a root."""

    end: PassEnd
    node: Any
    index: int


def edges_of(tensors: Iterable[torch.Tensor]) -> list[Edge]:
    """Return the node and output number of each tensor that needs a gradient."""
    edges = [get_gradient_edge(t) for t in tensors if t.requires_grad]
    return [(edge.node, edge.output_nr) for edge in edges]


class Walk:
    """A walk from tensors to the passes, losses and leaves that they come from.

    A pass is entered with the module after whose pass it was met, or None: an output
    that only later passes of its own module use is no output with a loss.

    Parameters
    ----------
    roots
        The tensors.
    into_passes
        Whether the walk goes on before a pass.
    most
        Number of nodes after which the walk is given up.
    """

    def __init__(
        self,
        roots: list[torch.Tensor],
        into_passes: bool = True,
        most: int = 200_000,
    ) -> None:
        self.passes: dict[Forward, set[str]] = {}  # and the outputs that are met
        self.carried = set[Forward]()  # whose state or output its own module uses
        self.uses: list[Use] = []
        self.leaves: dict[int, torch.Tensor] = {}
        self.losses: dict[Loss, None] = {}
        self.is_complete = True
        self._into_passes = into_passes
        self._most = most
        self._seen = set[tuple[Any, ModuleRecord | None]]()
        self._pending: list[tuple[Edge, ModuleRecord | None, Edge]] = []
        self._add_edges(edges_of(roots), None)
        while self._pending:
            (node, output), after, consumer = self._pending.pop()
            ends = node.metadata.get(PASS_END)
            if ends and output in ends:
                self._enter_pass(ends[output], after, consumer)
            elif (node, after) not in self._seen:
                self._enter_node(node, after)

    def _add_edges(self, edges: list[Edge], after: ModuleRecord | None) -> None:
        for edge in edges:
            self._pending.append((edge, after, (None, 0)))

    def _enter_pass(
        self, end: PassEnd, after: ModuleRecord | None, consumer: Edge
    ) -> None:
        is_new = end.forward not in self.passes
        self.passes.setdefault(end.forward, set()).add(end.output)
        if after is not end.forward.module:
            self.uses.append(Use(end, *consumer))
        if after is end.forward.module or end.output != "out":
            self.carried.add(end.forward)
        if is_new and self._into_passes:
            self._add_edges(end.before, end.forward.module)

    def _enter_node(self, node: Any, after: ModuleRecord | None) -> None:
        is_compiled = type(node).__name__.startswith("CompiledFunction")
        if is_compiled or len(self._seen) >= self._most:
            self.is_complete = False
        if len(self._seen) >= self._most:
            return
        self._seen.add((node, after))
        if LOSS in node.metadata:
            self.losses[node.metadata[LOSS]] = None
        following = node.next_functions
        for index, edge in enumerate(following):
            if edge[0] is not None:
                self._pending.append((edge, after, (node, index)))
        if not following and hasattr(node, "variable"):
            self.leaves[id(node.variable)] = node.variable


def parameters_of(leaves: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    return {key: p for key, p in leaves.items() if isinstance(p, nn.Parameter)}
