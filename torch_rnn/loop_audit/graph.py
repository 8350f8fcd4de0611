"""The graph of autograd between the passes of recurrent modules."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch.autograd.graph import get_gradient_edge

from torch_rnn.loop_audit.events import ForwardPass, LossCall, ModuleRecord, Reach

# Keys of the metadata of a node: {output number: PassEnd}, and a LossCall
PASS_END = "torch_rnn.pass_end"
LOSS_CALL = "torch_rnn.loss"
Edge = tuple[Any, int]


@dataclass(frozen=True, eq=False, slots=True)
class PassEnd:
    """A result of a forward pass, and the edges that lead on before the pass."""

    forward: ForwardPass
    output: str  # "out", "h" or "c"
    before: list[Edge]
    batch_sizes: list[int] | None  # of a packed sequence


@dataclass(frozen=True, eq=False, slots=True)
class EndUse:
    """A use of a result outside its own module: the node that gets it as its input
    `index`; no node if it is a root.
    """

    end: PassEnd
    node: Any
    index: int


@dataclass(eq=False, slots=True)
class UsedOutputs:
    """The steps of a pass that get a gradient from outside their own module."""

    is_last_used: bool = False  # as h or c
    outputs: Any = None  # an array of steps and sequences

    def add(self, use: EndUse, inputs: Any, _: Any) -> None:
        """Add those of a use, by the gradients of its inputs; of a root, all."""
        forward = use.end.forward
        is_root = inputs is None
        if not is_root and inputs[use.index] is None:
            return
        if use.end.output != "out":
            self.is_last_used |= is_root or bool(inputs[use.index].any())
            return
        if is_root:
            found: Any = numpy.ones((forward.steps, 1), dtype=bool)
        else:
            found = _used_by_time(use.end, inputs[use.index].detach())
        self.outputs = found if self.outputs is None else self.outputs | found

    def reach(self, forward: ForwardPass, is_carried: bool) -> Reach:
        """Return how much of the pass the backward pass has reached."""
        steps = [False] * forward.steps
        is_one_sequence = False
        if self.outputs is not None:
            steps = self.outputs.any(1).tolist()
            many = self.outputs.shape[1] > 1 and sum(steps) > 1
            is_one_sequence = many and int(self.outputs.any(0).sum()) == 1
        steps[-1] = steps[-1] or self.is_last_used
        used = sum(steps)
        reached = forward.steps
        if not (is_carried or (used and forward.module.is_bidirectional)):
            while reached and not steps[reached - 1]:
                reached -= 1
        return Reach(reached, used, is_one_sequence)


def _used_by_time(end: PassEnd, gradient: torch.Tensor) -> Any:
    """Return which steps (rows) and sequences of an output have a gradient."""
    used = (gradient != 0).any(-1).cpu()
    if end.batch_sizes is not None:
        parts = torch.split(used, end.batch_sizes)
        used = torch.stack([part.any() for part in parts])
    if used.dim() == 1:  # without an axis of the batch
        return used.unsqueeze(1).numpy()
    return used.transpose(0, end.forward.module.time_axis).numpy()


def edges_of(tensors: Iterable[torch.Tensor]) -> list[Edge]:
    """Return the node and output number of each tensor that needs a gradient."""
    edges = []
    for tensor in tensors:
        if tensor.requires_grad:
            edge = get_gradient_edge(tensor)
            edges.append((edge.node, edge.output_nr))
    return edges


class GraphWalk:
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
        roots: Iterable[torch.Tensor],
        into_passes: bool = True,
        most: int = 200_000,
    ) -> None:
        """Walk from the roots to the end."""
        self.passes: dict[ForwardPass, str] = {}  # and the output that is met
        self.carried = set[ForwardPass]()  # whose state or output its own module uses
        self.uses: list[EndUse] = []
        self.leaves: dict[int, torch.Tensor] = {}
        self.losses: dict[LossCall, None] = {}
        self.is_complete = True
        self._most = most
        self._seen = set[tuple[Any, ModuleRecord | None]]()
        self._pending: list[tuple[Edge, ModuleRecord | None, Edge]] = []
        self._add_edges(edges_of(roots), None)
        while self._pending:
            (node, output), after, consumer = self._pending.pop()
            ends = node.metadata.get(PASS_END)
            if ends and output in ends:
                self._enter_pass(ends[output], after, consumer, into_passes)
            elif (node, after) not in self._seen:
                self._enter_node(node, after)

    def _add_edges(self, edges: list[Edge], after: ModuleRecord | None) -> None:
        """Add edges that no node uses, as those of roots, to what is to be visited."""
        for edge in edges:
            self._pending.append((edge, after, (None, 0)))

    def _enter_pass(
        self,
        end: PassEnd,
        after: ModuleRecord | None,
        consumer: Edge,
        into_passes: bool,
    ) -> None:
        """Note a pass and the use of its result, and go on before it."""
        forward = end.forward
        if forward not in self.passes and into_passes:
            self._add_edges(end.before, forward.module)
        if self.passes.setdefault(forward, end.output) != end.output:
            self.passes[forward] = ""  # more than one
        if after is not forward.module:
            self.uses.append(EndUse(end, *consumer))
        if after is forward.module or end.output != "out":
            self.carried.add(forward)

    def _enter_node(self, node: Any, after: ModuleRecord | None) -> None:
        """Note the loss or the leaf of a node, and go on to its inputs."""
        is_full = len(self._seen) >= self._most
        if is_full or type(node).__name__.startswith("CompiledFunction"):
            self.is_complete = False
        if is_full:
            return
        self._seen.add((node, after))
        if LOSS_CALL in node.metadata:
            self.losses[node.metadata[LOSS_CALL]] = None
        for index, edge in enumerate(node.next_functions):
            if edge[0] is not None:
                self._pending.append((edge, after, (node, index)))
        if hasattr(node, "variable"):
            self.leaves[id(node.variable)] = node.variable
