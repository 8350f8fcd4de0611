"""Evidence in losses: their arguments, and which of them reach a backward pass."""

from collections import defaultdict
from typing import Any, NamedTuple

import torch

from torch_rnn.loop_audit.origins import LOSS
from torch_rnn.loop_audit.places import place, script_frames, use_of_result
from torch_rnn.loop_audit.records import Evidence

LOSSES = (
    "mse_loss", "cross_entropy", "nll_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy_with_logits", "binary_cross_entropy",
)  # fmt: skip
MAX_CALLS = 10_000  # of losses between two updates that are remembered
SAME_SHAPE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
APPLIED = {"cross_entropy": ("SoftmaxBackward0", "softmax"),
           "binary_cross_entropy_with_logits": ("SigmoidBackward0", "sigmoid")}  # fmt: skip
RESHAPING = {f"{name}Backward0" for name in (
    "View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "T", "Squeeze", "Unsqueeze", "Select", "Slice",
    "Index", "Clone", "Stack", "Cat", "Expand", "Alias",
)} | {"SqueezeBackward1", "SqueezeBackward2"}  # fmt: skip


class LossCall(NamedTuple):
    """A call of a loss with a gradient."""

    number: int
    place: str
    variable: str  # to which the script assigns the result


class LossEvidence:
    """The losses since the latest update."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.calls, self.reached, self.number = list[LossCall](), set[int](), 0

    def loss(self, name: str, result: torch.Tensor, input: Any, target: torch.Tensor) -> None:
        """Look at the arguments of a loss."""
        if result.grad_fn is None or not isinstance(input, torch.Tensor):
            return
        self.number += 1
        node: Any = result.grad_fn
        node.metadata[LOSS] = self.number
        if len(self.calls) < MAX_CALLS:
            instruction, variable = use_of_result(is_direct=False)
            self.calls.append(LossCall(self.number, place(), variable if instruction.startswith("STORE_") else ""))
        shapes = tuple(input.shape), tuple(target.shape)
        if name in SAME_SHAPE and shapes[0] != shapes[1] and (input.detach() - target.detach()).shape != shapes[0]:
            self.evidence["shapes of the loss"].append((place(), *shapes))
        maker, made_by = APPLIED.get(name, ("", ""))
        if maker and producer(input) == maker:
            self.evidence["softmax"].append((place(), made_by, name))

    def broadcast(self, roots: list[torch.Tensor]) -> None:
        """See whether the squared error of a script's own is that of a column and a row: (N, 1) and (N)."""
        node: Any = roots[0].grad_fn if len(roots) == 1 else None
        for name in ("Mean", "Pow", "Sub"):
            if node is None or not type(node).__name__.startswith(name):
                return
            if name != "Sub":
                node = node.next_functions[0][0]
        operand, index = node.next_functions[0] if node.next_functions else (None, 0)
        shapes = [tuple(meta.shape) for meta in getattr(node, "_input_metadata", ())[:1]]
        if operand is not None and shapes and len(metas := operand._input_metadata) > index:
            given, result = tuple(metas[index].shape), shapes[0]
            if len(given) == 2 and given[1] == 1 and result == (given[0], given[0]) and given[0] > 1:
                self.evidence["shapes of the loss"].append((place(), given, (given[0],)))

    def update(self) -> None:
        """See which of the losses since the latest update reached a backward pass."""
        by_place = defaultdict[str, list[LossCall]](list)
        for call in self.calls:
            by_place[call.place].append(call)
        used = {call.variable for call in self.calls if call.number in self.reached and call.variable}
        for where, calls in by_place.items():
            reached = [call for call in calls if call.number in self.reached]
            if len(calls) > 1 and reached == calls[-1:]:
                self.evidence["losses overwritten"].append((where, len(calls)))
            later = {call.variable for call in self.calls if call.place != where and call.number > calls[-1].number}
            if not reached and calls[-1].variable in used & later:
                self.evidence["loss overwritten"].append((where, calls[-1].variable))
        self.calls, self.reached = [], set()

    def sum_name(self) -> str:
        """The variable of the script that is a sum with a graph; empty if there is none."""
        for frame in script_frames():
            for name, value in list(frame.f_locals.items()):
                is_scalar = isinstance(value, torch.Tensor) and value.dim() == 0
                if is_scalar and type(value.grad_fn).__name__ == "AddBackward0":
                    return name
        return ""


def producer(value: torch.Tensor) -> str:
    """The name of the operation that made a tensor, apart from changes of its shape."""
    node: Any = value.grad_fn
    for _ in range(20):
        if node is None or type(node).__name__ not in RESHAPING:
            break
        node = next((parent for parent, _ in node.next_functions if parent is not None), None)
    return type(node).__name__
