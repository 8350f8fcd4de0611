"""The recorder of losses: their calls, shapes and targets, and the operations before them."""

from collections import defaultdict
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
# By the operation of a loss and the one before it: the kind of a warning, and its values
WRONG_INPUTS = {
    ("LogSoftmax", "Softmax"): ("softmax", "cross_entropy", "a softmax"),
    ("BinaryCrossEntropyWithLogits", "Sigmoid"): ("softmax", "the loss", "a sigmoid"),
    ("NllLoss", "Softmax"): ("softmax and nll_loss", "probabilities"),
    ("NllLoss2D", "Softmax"): ("softmax and nll_loss", "probabilities"),
    ("NllLoss", "Addmm"): ("softmax and nll_loss", "scores"),
    ("NllLoss2D", "Addmm"): ("softmax and nll_loss", "scores"),
}


def kind_of(node: Any) -> str:
    """The operation of a node, such as "Softmax"."""
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")


class LossRecorder:
    """The losses since the latest update."""

    def __init__(self, evidence: Evidence):
        self.evidence, self.number = evidence, 0
        self.calls, self.reached = list[LossCall](), set[int]()  # those that reached backward()

    def call(
        self, name: str, result: Any, input: Any = None, target: Any = None, *_: Any, **options: Any
    ) -> None:
        """Record a call, and look at the shapes of its arguments and at its target."""
        node = getattr(result, "grad_fn", None)
        if node is None or not isinstance(target, torch.Tensor) or len(self.calls) > MAX_CALLS:
            return
        self.number += 1
        shapes, how = (tuple(input.shape), tuple(target.shape)), options.get("reduction", "mean")
        call = LossCall(self.number, place(), name, how, shapes[0])
        node.metadata[LOSS] = call
        self.calls.append(call)
        is_other = name in SAME_SHAPE and shapes[0] != shapes[1]
        if is_other and (input.detach() - target.detach()).shape != shapes[0]:
            self.evidence["shapes of the loss"].append((call.place, *shapes))
        if self.number > MAX_TARGETS:
            return
        passes = Graph([input], MAX_NODES, into_passes=False).passes
        if len(passes) != 1 or passes[0].module.is_bidirectional:
            return
        net, given = passes[0].module, passes[0].tokens
        if given is None and passes[0].copies and target.is_floating_point():
            given = passes[0].copies[0][2]
        if given is None or given.numel() != target.numel():
            return
        values = given.reshape(-1)
        if not bool((values == values[0]).all()):
            is_same = torch.equal(values, target.detach().reshape(-1).to(values.dtype))
            kind = "target equals the input" if is_same else "target differs"
            net.evidence[kind].append((call.place,))

    def look_at_graph(self, graph: Graph, where: str) -> None:
        """Look for a softmax before a loss that has one, and for a difference that broadcasts."""
        where = graph.losses[0].place if len(graph.losses) == 1 else where
        for node in graph.nodes:
            kind, source = kind_of(node), node_before(node)
            for _ in range(30):
                if source is not None and kind_of(source) in RESHAPING:
                    source = node_before(source)
            if (kind, kind_of(source)) in WRONG_INPUTS:
                wrong, *values = WRONG_INPUTS[kind, kind_of(source)]
                self.evidence[wrong].append((where, *values))
            power = node_before(node) if kind in ("Mean", "Sum") else None
            if kind_of(power) in ("Pow", "Abs", "Mul"):
                self.look_at_difference(node_before(power), where)

    def look_at_difference(self, node: Any, where: str) -> None:
        """See whether a node is the difference of a column (N, 1) and a row (N), the target."""
        if kind_of(node) != "Sub" or sum(each is not None for each, _ in node.next_functions) != 1:
            return
        output, number = node.next_functions[0]
        column = () if output is None else tuple(output._input_metadata[number].shape)
        square = tuple(node._input_metadata[0].shape)
        if column[1:] == (1,) and column[0] > 1 and square == (column[0], column[0]):
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
