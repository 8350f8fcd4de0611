"""The graph before a tensor: the passes, parameters and operations that it is computed from."""

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import torch

from torch_rnn.loop_audit.records import Pass

MARK = "torch_rnn.pass"  # key of the metadata of a node that ends a pass: {output number: Mark}
LOSS = "torch_rnn.loss"  # key of the LossCall whose result a node is
# The end of a pass in the graph: its output "out", "h" or "c", and the nodes before the pass
Mark = namedtuple("Mark", "owner output before")
RESHAPING = {
    "View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "T", "Squeeze", "Unsqueeze",
    "Select", "Slice", "Index", "Clone", "Stack", "Unbind", "Cat", "Expand", "Alias",
}  # fmt: skip
WRONG_INPUTS = {  # by the operation of a loss and the one before it
    ("LogSoftmax", "Softmax"): "cross_entropy applies softmax itself: leave out the one before it",
    ("BinaryCrossEntropyWithLogits", "Sigmoid"): "the loss applies sigmoid itself: leave it out",
    ("NllLoss", "Softmax"): "nll_loss gets probabilities: use log_softmax instead of softmax",
    ("NllLoss", "Addmm"): "nll_loss gets scores and expects log-probabilities: use log_softmax",
}


def kind_of(node: Any) -> str:
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward").removesuffix("2D")


def nodes_of(tensors: list[torch.Tensor]) -> list[Any]:
    return [(t.grad_fn, t.output_nr) for t in tensors if t.grad_fn is not None]


def node_before(node: Any) -> Any:
    return next((each for each, _ in node.next_functions if each is not None), None)


class Graph:
    """What some tensors are computed from, through passes, or up to the first of them."""

    def __init__(self, roots: list[torch.Tensor], most: int = 200_000, into_passes: bool = True):
        self.outputs = dict[tuple[Pass, str], bool]()  # whether no other pass is in between
        self.leaves = {id(t): t for t in roots if t.is_leaf and t.requires_grad}
        self.nodes, self.losses = list[Any](), list[Any]()  # nodes before the first passes
        pending, later, seen, is_direct = nodes_of(roots), list[Any](), set[Any](), True
        while pending or later:
            if not pending:
                pending, later, is_direct = later, [], False
            node, number = pending.pop()
            metadata = {} if node is None else node.metadata
            if metadata and (mark := metadata.get(MARK, {}).get(number)):
                if (mark.owner, mark.output) not in self.outputs:
                    self.outputs[mark.owner, mark.output] = is_direct
                    later += mark.before if into_passes else ()
            elif node is not None and node not in seen and len(seen) < most:
                seen.add(node)
                self.nodes += [node] if is_direct else ()
                self.losses += [metadata[LOSS]] if LOSS in metadata else ()
                pending += node.next_functions
                if not node.next_functions and hasattr(node, "variable"):
                    self.leaves[id(node.variable)] = node.variable
        self.passes = list(dict.fromkeys(each for each, _ in self.outputs))
        for net in dict.fromkeys(each.module for each in self.passes if into_passes):
            self.leaves.update((id(p), p) for p in net.parameters.values())


def wrong_losses(graph: Graph) -> Iterator[tuple[Any, ...]]:
    """Evidence of a softmax before a loss that has one, and of a difference that broadcasts."""
    for node in graph.nodes:
        kind, source = kind_of(node), node_before(node)
        for _ in range(30):
            if source is not None and kind_of(source) in RESHAPING:
                source = node_before(source)
        if text := WRONG_INPUTS.get((kind, kind_of(source))):
            yield "input of the loss", text
        power = node_before(node) if kind in ("Mean", "Sum") else None
        difference = node_before(power) if kind_of(power) in ("Pow", "Abs", "Mul") else None
        before = difference.next_functions if kind_of(difference) == "Sub" else ()
        if before and before[0][0] and not before[-1][0]:
            column = tuple(before[0][0]._input_metadata[before[0][1]].shape)
            square = tuple(difference._input_metadata[0].shape)
            # a column (N, 1) minus a row (N), the target
            if column[1:] == (1,) and 1 < column[0] and square == 2 * column[:1]:
                yield "shapes of the loss", column, column[:1]
