"""The recorder of losses: their calls, shapes and targets, and the operations before them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch

from torch_rnn.loop_audit.forward_recorder import LOSS, MAX_NODES, Graph, node_before
from torch_rnn.loop_audit.records import Evidence, LossCall, place

SAME_SHAPE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOSSES = (*SAME_SHAPE, "cross_entropy", "nll_loss", "binary_cross_entropy",
          "binary_cross_entropy_with_logits", "kl_div", "ctc_loss")  # fmt: skip
MAX_CALLS, MAX_TARGETS = 10_000, 200  # between two updates; calls whose target is looked at
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
    """The operation of a node, such as "Softmax"."""
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward").removesuffix("2D")


class LossRecorder:
    """The losses since the latest update."""

    def __init__(self, evidence: Evidence):
        self.evidence, self.number = evidence, 0
        self.calls, self.reached = list[LossCall](), set[int]()  # those that reached backward()

    def call(
        self, name: str, input: Any = None, target: Any = None, *_: Any, **options: Any
    ) -> Iterator[None]:
        """Record a call, and look at the shapes of its arguments and at its target."""
        result: Any = yield
        node = getattr(result, "grad_fn", None)
        if node is None or not isinstance(target, torch.Tensor) or len(self.calls) > MAX_CALLS:
            return
        self.number += 1
        shapes, how = (tuple(input.shape), tuple(target.shape)), options.get("reduction", "mean")
        call = LossCall(self.number, place(), name, how, shapes[0])
        node.metadata[LOSS] = call
        self.calls.append(call)
        is_other = name in SAME_SHAPE and shapes[0] != shapes[1]
        if is_other and torch.broadcast_shapes(*shapes) != shapes[0]:
            self.evidence["shapes of the loss"].append((call.place, *shapes))
        if self.number > MAX_TARGETS:
            return
        passes = Graph([input], MAX_NODES, into_passes=False).passes
        if len(passes) != 1 or passes[0].module.is_bidirectional:
            return
        given = passes[0].tokens
        if given is None and passes[0].copies and target.is_floating_point():
            given = passes[0].copies[0][2]
        if given is not None and given.numel() == target.numel() and given.unique().numel() > 1:
            is_same = torch.equal(given.reshape(-1), target.detach().reshape(-1).to(given.dtype))
            kind = "target equals the input" if is_same else "target differs"
            passes[0].module.evidence[kind].append((call.place,))

    def look_at_graph(self, graph: Graph, where: str) -> None:
        """Look for a softmax before a loss that has one, and for a difference that broadcasts."""
        where = graph.losses[0].place if len(graph.losses) == 1 else where
        for node in graph.nodes:
            kind, source = kind_of(node), node_before(node)
            for _ in range(30):
                if source is not None and kind_of(source) in RESHAPING:
                    source = node_before(source)
            if text := WRONG_INPUTS.get((kind, kind_of(source))):
                self.evidence["input of the loss"].append((where, text))
            power = node_before(node) if kind in ("Mean", "Sum") else None
            difference = node_before(power) if kind_of(power) in ("Pow", "Abs", "Mul") else None
            before = difference.next_functions if kind_of(difference) == "Sub" else ()
            if before and before[0][0] and len([each for each, _ in before if each]) == 1:
                column = tuple(before[0][0]._input_metadata[before[0][1]].shape)
                square = tuple(difference._input_metadata[0].shape)
                # a column (N, 1) minus a row (N), the target
                if column[1:] == (1,) and 1 < column[0] and square == 2 * column[:1]:
                    self.evidence["shapes of the loss"].append((where, column, column[:1]))

    def update(self) -> None:
        """See which of the losses since the latest update reached a backward pass."""
        by_place = defaultdict[tuple[str, str], list[int]](list)
        for call in self.calls:
            by_place[call.place, call.name].append(call.number)
        for (where, _), numbers in by_place.items():
            if len(numbers) > 1 and self.reached.intersection(numbers) == {numbers[-1]}:
                self.evidence["losses overwritten"].append((where, len(numbers)))
        self.calls, self.reached = [], set()
