"""The graph of autograd between the passes of recurrent modules.

The results of a pass are marked in the graph. A walk from a loss or a state finds the
marks; hooks in the nodes that use a result tell which of its steps get a gradient.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import nn
from torch.autograd.graph import get_gradient_edge

from torch_rnn.loop_audit.events import ForwardPass, LossCall, Reach
from torch_rnn.loop_audit.recurrent_modules import ModuleCall

# Keys of the metadata of a node: {output number: PassResult}, and a LossCall
PASS_RESULTS = "torch_rnn.pass_results"
LOSS_CALL = "torch_rnn.loss"
MAX_NODES = 200_000  # of a walk
MAX_STATE_NODES = 200  # of one that ends at passes
Edge = tuple[Any, int]  # a node of autograd, and the number of its output or input
Gradients = tuple[torch.Tensor | None, ...]
ROOT: Edge = (None, 0)  # uses the tensors from which a walk begins


def edges_of(tensors: Iterable[torch.Tensor]) -> list[Edge]:
    """Return the node and output number of each tensor that needs a gradient."""
    edges = []
    for tensor in tensors:
        if tensor.requires_grad:
            node = tensor.grad_fn or get_gradient_edge(tensor).node
            edges.append((node, tensor.output_nr))
    return edges


@dataclass(frozen=True, eq=False)
class PassResult:
    """A result of a forward pass, and the edges that lead on before the pass."""

    forward: ForwardPass
    output: str  # "out", "h" or "c"
    before: list[Edge]
    axis: int  # of the steps
    batch_sizes: list[int] | None  # of a packed sequence


def mark_results(forward: ForwardPass, call: ModuleCall) -> None:
    """Mark the results of a pass in the graph."""
    before = edges_of([call.x, *call.state])
    for name, tensor in call.outputs.items():
        node: Any = tensor.grad_fn
        if node is not None:
            result = PassResult(forward, name, before, call.axis or 0, call.batch_sizes)
            results = node.metadata.setdefault(PASS_RESULTS, {})
            results[tensor.output_nr] = result


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
    """

    def __init__(self, roots: Iterable[torch.Tensor], into_passes: bool) -> None:
        """Walk from the roots to the end."""
        self.passes: dict[ForwardPass, str] = {}  # and the output that is met
        self.carried = set[ForwardPass]()  # whose state or output its own module uses
        self.uses: list[tuple[PassResult, Edge]] = []  # outside, and by which inputs
        self.parameters: dict[int, nn.Parameter] = {}
        self.reaches_data = False  # a leaf that is no parameter
        self.losses: dict[LossCall, None] = {}
        self.is_complete = True
        self._into_passes = into_passes
        self._limit = MAX_NODES if into_passes else MAX_STATE_NODES
        self._visited = set[tuple[Any, nn.Module | None]]()
        self._pending: list[tuple[Edge, nn.Module | None, Edge]] = []
        self._add_edges(edges_of(roots), None)
        while self._pending:
            (node, output), after, consumer = self._pending.pop()
            metadata = node.metadata
            result = metadata.get(PASS_RESULTS, {}).get(output)
            if result is not None:
                self._enter_pass(result, after, consumer)
            elif (node, after) not in self._visited:
                self._enter_node(node, after, metadata.get(LOSS_CALL))

    def _add_edges(self, edges: list[Edge], after: nn.Module | None) -> None:
        """Add edges that no node uses, as those of roots, to what is to be visited."""
        for edge in edges:
            self._pending.append((edge, after, ROOT))

    def _enter_pass(
        self, result: PassResult, after: nn.Module | None, consumer: Edge
    ) -> None:
        """Note a pass and the use of its result, and go on before it."""
        forward = result.forward
        if forward not in self.passes and self._into_passes:
            self._add_edges(result.before, forward.module)
        if self.passes.setdefault(forward, result.output) != result.output:
            self.passes[forward] = ""  # more than one
        if after is not forward.module:
            self.uses.append((result, consumer))
        if after is forward.module or result.output != "out":
            self.carried.add(forward)

    def _enter_node(
        self, node: Any, after: nn.Module | None, loss: LossCall | None
    ) -> None:
        """Note the loss or the leaf of a node, and go on to its inputs."""
        kind = type(node).__name__
        is_full = len(self._visited) >= self._limit
        if is_full or kind.startswith("CompiledFunction"):
            self.is_complete = False
        if is_full:
            return
        self._visited.add((node, after))
        if loss is not None:
            self.losses[loss] = None
        for index, edge in enumerate(node.next_functions):
            if edge[0] is not None:
                self._pending.append((edge, after, (node, index)))
        if kind == "AccumulateGrad":
            self._enter_leaf(node.variable)

    def _enter_leaf(self, leaf: torch.Tensor) -> None:
        """Note a parameter, or that there is another leaf."""
        if isinstance(leaf, nn.Parameter):
            self.parameters[id(leaf)] = leaf
        else:
            self.reaches_data = True


# What a backward pass reaches


def _used_by_time(result: PassResult, gradient: torch.Tensor) -> NDArray[numpy.bool_]:
    """Return which steps (rows) and sequences of an output have a gradient."""
    used = (gradient.abs().amax(-1) != 0).cpu()  # `any` is slow
    if result.batch_sizes is not None:
        parts = torch.split(used, result.batch_sizes)
        used = torch.stack([part.any() for part in parts])
    if used.dim() == 1:  # without an axis of the batch
        used = used.unsqueeze(1)
    table: NDArray[numpy.bool_] = used.transpose(0, result.axis).numpy()
    return table


class UseWatch:
    """Watches during a backward pass which steps of forward passes get a gradient from
    outside their own module.
    """

    def __init__(self, walk: GraphWalk, call_safely: Callable[..., None]) -> None:
        """Register a hook in each node that uses a result. Autograd calls it by
        `call_safely`, which no error leaves.
        """
        self._carried = walk.carried
        # a row for each step, a column for each sequence
        self._used: dict[ForwardPass, NDArray[numpy.bool_]] = {}
        for forward in walk.passes:
            self._used[forward] = numpy.zeros((forward.steps, 1), bool)
        self._handles = []
        for result, (node, index) in walk.uses:
            if node is None:
                first = 0 if result.output == "out" else -1
                self._used[result.forward][first:] = True
            else:
                hook = partial(call_safely, self._add, result, index)
                self._handles.append(node.register_hook(hook))

    def _add(self, result: PassResult, index: int, inputs: Gradients, _: Any) -> None:
        """Add the steps of a result that is an input of this index of a node, by the
        gradients of its inputs.
        """
        gradient = inputs[index]
        if gradient is None:
            return
        used = self._used[result.forward]
        if result.output == "out":
            self._used[result.forward] = used | _used_by_time(result, gradient)
        else:
            used[-1] |= bool(gradient.any())

    def end(self) -> dict[ForwardPass, Reach]:
        """Remove the hooks. Return how much of each pass is reached."""
        for handle in self._handles:
            handle.remove()
        return {forward: self._reach_of(forward) for forward in self._used}

    def _reach_of(self, forward: ForwardPass) -> Reach:
        """Return how much of a pass is reached: all if its state is carried on."""
        steps = numpy.any(self._used[forward], axis=1)
        sequences = numpy.any(self._used[forward], axis=0)
        # as if the last sequence were meant to be the last step: one, in several steps
        is_one = len(sequences) > 1 and sequences.sum() == 1 and steps.sum() > 1
        used = int(steps.sum())
        reached = forward.steps
        if not (forward in self._carried or (used and forward.is_bidirectional)):
            reached = int(steps.nonzero()[0].max(initial=-1)) + 1
        return Reach(reached, used, bool(is_one))
