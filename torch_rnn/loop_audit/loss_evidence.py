"""Evidence in losses and parameters: wrong arguments, losses without a backward pass, weights that never change."""

import math
from collections import defaultdict
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import nn

from torch_rnn.loop_audit.origins import LOSS
from torch_rnn.loop_audit.places import named, place, script_frames, use_of_result
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


class Parameters:
    """The parameters of all modules of the loop that were in a loss, or that an optimizer has."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.names: dict[int, str] = {}
        self.first: dict[int, tuple[Any, int]] = {}  # a weak reference, and its bits at the first step
        self.first_step = ""  # its place
        self.in_optimizer, self.with_gradient = set[int](), set[int]()

    def add(self, parameters: Any) -> None:
        """Keep the first value of parameters."""
        for p in parameters:
            if id(p) not in self.first and p.is_leaf and p.requires_grad:
                self.first[id(p)] = ref(p), bits(p)

    def held(self, optimizer: Any) -> list[torch.Tensor]:
        """The parameters that an optimizer has, which are remembered."""
        own = [p for group in optimizer.param_groups for p in group["params"]]
        self.in_optimizer |= {id(p) for p in own}
        return own

    def reached(self, leaves: Any) -> None:
        """Remember parameters that a backward pass reaches."""
        found = list(leaves)
        self.add(found)
        self.with_gradient |= {id(p) for p in found}

    def step(self, optimizer: Any, own: list[torch.Tensor], number: int, where: str) -> tuple[float, ...]:
        """Look at the gradients and the rates of a step. Returns the rates."""
        if not self.names:
            for p, name, _ in named(nn.Parameter):
                self.names.setdefault(id(p), name)
        self.add(own)
        sizes = {id(p): float(p.grad.norm()) for p in own if p.grad is not None}
        if not all(map(math.isfinite, sizes.values())):
            self.evidence["update not finite"].append((where, number))
        self.with_gradient |= {key for key, size in sizes.items() if size}
        self.first_step = self.first_step or where
        return tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)

    def unchanged(self) -> list[int]:
        """The parameters that have their first value."""
        return [key for key, (p, first) in self.first.items() if p() is not None and bits(p()) == first]

    def named(self, keys: list[int]) -> str:
        """Names of parameters."""
        shape = {key: "" if (p := self.first[key][0]()) is None else f" of shape {tuple(p.shape)}" for key in keys[:2]}
        shown = [self.names.get(key, f"a parameter{shape[key]}") for key in keys[:2]]
        return ", ".join(shown) + (f" and {len(keys) - 2} more" if len(keys) > 2 else "")


def bits(p: torch.Tensor) -> int:
    """A number that changes with any bit of a tensor."""
    return hash(p.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
