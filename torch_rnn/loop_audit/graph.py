"""The graph of autograd between the passes of recurrent modules.

The results of a pass are marked in the graph, with what the inputs of the pass come
from. So the graph is walked once, and only between passes: before each pass from its
inputs, and before backward() from the loss. Hooks in the nodes that use a result tell
which of its steps get a gradient.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy.typing import NDArray
from torch import nn
from torch.autograd.graph import get_gradient_edge

from torch_rnn.loop_audit.events import ForwardPass, LossCall, Reach
from torch_rnn.loop_audit.torch_internals import shape_of

# Keys of the metadata of a node: {output number: PassResult}, and a LossCall
PASS_RESULTS = "torch_rnn.pass_results"
LOSS_CALL = "torch_rnn.loss"
BACKWARD_PLACE = "torch_rnn.backward"  # FILE:LINE of a backward pass through a node
MAX_NODES = 200_000  # a walk goes no further than these
Edge = tuple[Any, int]  # a node of autograd, and the number of its output or input
Gradients = tuple[torch.Tensor | None, ...]
ROOT: Edge = (None, 0)  # uses the tensors from which a walk begins


@dataclass(frozen=True, eq=False)
class PassResult:
    """A result of a forward pass, and what the inputs of the pass come from."""

    forward: ForwardPass
    output: str  # "out", "h" or "c"
    behind: "list[GraphSources]"
    axis: int  # of the steps
    batch_sizes: list[int] | None  # of a packed sequence


ResultUse = tuple[PassResult, Edge]  # a result, and the input of a node that it is


@dataclass(eq=False)
class GraphSources:
    """What tensors come from: results of passes, parameters, losses and other data."""

    uses: dict[ResultUse, None] = field(default_factory=dict)
    parameters: set[nn.Parameter] = field(default_factory=set)
    tensors: set[torch.Tensor] = field(default_factory=set)  # other leaves
    losses: set[LossCall] = field(default_factory=set)
    embedding: Any = None  # the node of the first one, by the order of inputs
    is_complete: bool = True
    shared: tuple[str, str] | None = None  # a node of an earlier backward, FILE:LINE
    broadcast: bool = False  # an output of (B, 1) is subtracted from a target of (B,)

    def add_node(self, node: Any) -> None:
        """Add the loss or the leaf of a node."""
        kind = type(node).__name__
        if LOSS_CALL in node.metadata:
            self.losses.add(node.metadata[LOSS_CALL])
        if kind.startswith("CompiledFunction"):
            self.is_complete = False
        elif kind == "EmbeddingBackward0":
            self.embedding = node  # inputs are visited from the last to the first
        elif kind == "SubBackward0":
            self.broadcast |= is_outer_difference(node)
        elif kind != "AccumulateGrad":
            return
        elif isinstance(node.variable, nn.Parameter):
            self.parameters.add(node.variable)
        else:
            self.tensors.add(node.variable)


# Of each module: looked up once, as a cell is reached in each of its steps.
_PARAMETERS = WeakKeyDictionary[nn.Module, tuple[nn.Parameter, ...]]()


def parameters_of(module: nn.Module) -> tuple[nn.Parameter, ...]:
    """Return the parameters of a module as they were at the first call."""
    if module not in _PARAMETERS:
        _PARAMETERS[module] = tuple(module.parameters())
    return _PARAMETERS[module]


def mark_loss(loss: torch.Tensor, call: LossCall) -> None:
    """Mark a loss in its graph, if it has one."""
    node: Any = loss.grad_fn
    if node is not None:
        node.metadata[LOSS_CALL] = call


def mark_result(tensor: torch.Tensor, result: PassResult) -> None:
    """Mark a result of a pass in its graph, if it has one."""
    node: Any = tensor.grad_fn
    if node is not None:
        node.metadata.setdefault(PASS_RESULTS, {})[tensor.output_nr] = result


def is_outer_difference(node: Any) -> bool:
    """Return whether a node of a difference with a constant makes an output of one
    column as wide as it is long.
    """
    inputs = [function for function, _ in node.next_functions if function is not None]
    if len(inputs) != 1:
        return False
    output, result = shape_of(inputs[0]), shape_of(node)
    if output is None or result is None or len(output) < 2 or output[-1] != 1:
        return False
    return output[-2] > 1 and result == (*output[:-1], output[-2])


def sources_of(roots: Iterable[torch.Tensor], place: str = "") -> GraphSources:
    """Walk from tensors back to the passes and leaves that they come from. A place is
    that of a backward pass, which marks the nodes.
    """
    sources = GraphSources()
    visited = set[Any]()
    pending: list[tuple[Edge, Edge]] = []
    for root in roots:
        if root.requires_grad:
            edge = get_gradient_edge(root)
            pending.append(((edge.node, edge.output_nr), ROOT))
    while pending:
        (node, output), consumer = pending.pop()
        result = node.metadata.get(PASS_RESULTS, {}).get(output)
        if result is not None:
            sources.uses[result, consumer] = None
        elif len(visited) >= MAX_NODES:
            sources.is_complete = False
            break
        elif node not in visited:
            visited.add(node)
            sources.add_node(node)
            if place and node.next_functions:
                earlier = node.metadata.setdefault(BACKWARD_PLACE, place)
                if earlier is not place and sources.shared is None:
                    sources.shared = (type(node).__name__, earlier)
            for index, edge in enumerate(node.next_functions):
                if edge[0] is not None:
                    pending.append((edge, (node, index)))
    return sources


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
    outside their own module: an output that only later passes of its own module use
    is no output with a loss.

    Autograd calls its hooks by `call_safely`, which no error leaves.
    """

    def __init__(
        self, roots: list[torch.Tensor], place: str, call_safely: Callable[..., None]
    ) -> None:
        """Register a hook in each node that uses a result which the roots reach."""
        self.sources = GraphSources()  # of the roots, and of all passes
        # a row for each step, a column for each sequence
        self._used: dict[ForwardPass, NDArray[numpy.bool_]] = {}
        self._carried = set[ForwardPass]()  # whose state or output its module uses
        outside: dict[ResultUse, None] = {}
        modules = set[nn.Module]()
        pending: list[tuple[GraphSources, nn.Module | None]]
        # a new string for each backward pass, as nodes are marked by identity
        pending = [(sources_of(roots, "".join([*place])), None)]
        # the gradient of a state or an output is given to backward()
        self.begins_at_result = any(use[1] is ROOT for use in pending[0][0].uses)
        self.sources.shared = pending[0][0].shared
        self.sources.broadcast = pending[0][0].broadcast
        while pending:
            sources, after = pending.pop()
            if sources.parameters or sources.losses or sources.tensors:
                self.sources.parameters |= sources.parameters
                self.sources.losses |= sources.losses
                self.sources.tensors |= sources.tensors
            self.sources.is_complete &= sources.is_complete
            for use in sources.uses:
                result = use[0]
                forward = result.forward
                if forward not in self._used:
                    self._used[forward] = numpy.zeros((forward.steps, 1), bool)
                    modules.add(forward.module)
                    pending += [(behind, forward.module) for behind in result.behind]
                if after is not forward.module:
                    outside[use] = None
                if after is forward.module or result.output != "out":
                    self._carried.add(forward)
        for module in modules:
            self.sources.parameters.update(parameters_of(module))
        self._handles = []
        for result, (node, index) in outside:
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
