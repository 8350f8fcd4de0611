"""Evidence in losses and parameters: wrong arguments, losses without a backward pass, weights that never change."""

import math
from collections import defaultdict
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import nn

from torch_rnn.loop_audit.origins import LOSS
from torch_rnn.loop_audit.places import named
from torch_rnn.loop_audit.records import CHECKED, Evidence, Network

LOSSES = (
    "mse_loss", "cross_entropy", "nll_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy_with_logits", "binary_cross_entropy",
)  # fmt: skip
MAX_CALLS = 10_000  # of losses between two updates that are remembered
SAME_SHAPE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
APPLIED = {"cross_entropy": ("SoftmaxBackward0", "softmax"),
           "binary_cross_entropy_with_logits": ("SigmoidBackward0", "sigmoid")}  # fmt: skip
RESHAPING = ("View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "T", "Squeeze", "Unsqueeze", "Select",
             "Slice", "Index", "Clone", "Stack", "Unbind", "Cat", "Expand", "Alias")  # fmt: skip


class LossEvidence:
    """The losses since the latest update."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.calls, self.reached, self.number = (
            list[tuple[int, str]](),
            set[int](),
            0,
        )  # calls: number and place

    def loss(
        self, name: str, result: torch.Tensor, input: Any, target: torch.Tensor, where: str
    ) -> None:
        """Look at the arguments of a loss."""
        node: Any = result.grad_fn
        if node is None or not isinstance(input, torch.Tensor):
            return
        self.number += 1
        node.metadata[LOSS] = self.number
        if len(self.calls) < MAX_CALLS:
            self.calls.append((self.number, where))
        shapes = tuple(input.shape), tuple(target.shape)
        if (
            name in SAME_SHAPE
            and shapes[0] != shapes[1]
            and (input.detach() - target.detach()).shape != shapes[0]
        ):
            self.evidence["shapes of the loss"].append((where, *shapes))
        maker, made_by = APPLIED.get(name, ("", ""))
        if maker and producer(input) == maker:
            self.evidence["softmax"].append((where, made_by, name))

    def broadcast(self, node: Any, where: str) -> None:
        """See whether the squared error of a script's own is that of a column and a row: (N, 1) and (N)."""
        difference = node
        for name in ("Mean", "Pow", "Sub"):
            if node is None or not type(node).__name__.startswith(name):
                return
            node, difference = node.next_functions[0][0], node
        if node is not None:
            difference.register_hook(partial(self.difference, where))

    def difference(self, where: str, given: Any, result: Any) -> None:
        """See the shapes of a difference in those of its gradients: of the outputs that it is given, and its own."""
        column, square = (
            tuple(gradient.shape) if gradient is not None else ()
            for gradient in (given[0], result[0])
        )
        if len(column) == 2 and column[1] == 1 < column[0] and square == (column[0], column[0]):
            self.evidence["shapes of the loss"].append((where, column, column[:1]))

    def update(self) -> None:
        """See which of the losses since the latest update reached a backward pass."""
        by_place = defaultdict[str, list[int]](list)
        for number, where in self.calls:
            by_place[where].append(number)
        for where, numbers in by_place.items():
            if len(numbers) > 1 and self.reached.intersection(numbers) == {numbers[-1]}:
                self.evidence["losses overwritten"].append((where, len(numbers)))
        self.calls, self.reached = [], set()


def producer(value: torch.Tensor) -> str:
    """The name of the operation that made a tensor, apart from changes of its shape."""
    node: Any = value.grad_fn
    for _ in range(30):
        if type(node).__name__.rstrip("0123456789").removesuffix("Backward") not in RESHAPING:
            break
        node = next((parent for parent, _ in node.next_functions if parent is not None), None)
    return type(node).__name__


class Parameters:
    """The parameters of all modules of the loop, and those that an optimizer has."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.names: dict[int, str] = {}
        self.first: dict[
            int, tuple[Any, int]
        ] = {}  # a weak reference, and its bits at the first step
        self.first_step = ""  # its place
        self.in_optimizer, self.with_gradient = set[int](), set[int]()

    def held(self, optimizer: Any) -> list[torch.Tensor]:
        """The parameters that an optimizer has, which are remembered."""
        own = [p for group in optimizer.param_groups for p in group["params"]]
        self.in_optimizer |= {id(p) for p in own}
        return own

    def step_begins(self, own: list[torch.Tensor], networks: list[Network]) -> None:
        """Keep the first values of the parameters of an optimizer, of the networks and of the script's variables."""
        known = [*own, *(p for net in networks for p in net.parameters.values())]
        if not self.first:
            for p, name, _ in named(nn.Parameter):
                self.names.setdefault(id(p), name)
                known.append(p)
        for p in known:
            self.names.setdefault(id(p), f"a parameter of shape {tuple(p.shape)}")
            if id(p) not in self.first and p.is_leaf and p.requires_grad:
                self.first[id(p)] = ref(p), bits(p)

    def step_ends(self, own: list[torch.Tensor], number: int, where: str) -> None:
        """Look at the gradients of a step."""
        self.first_step = self.first_step or where
        others = [p for reference, _ in self.first.values() if (p := reference()) is not None]
        known = others if number - 1 in CHECKED else own
        found = {id(p): p.grad for p in known if p.grad is not None and not p.grad.is_sparse}
        sizes = dict(
            zip(found, map(float, torch._foreach_norm(list(found.values())) if found else ()))
        )
        self.with_gradient |= {key for key, size in sizes.items() if size}
        if not all(math.isfinite(size) for key, size in sizes.items() if key in self.in_optimizer):
            self.evidence["update not finite"].append((where, number))

    def unchanged(self) -> list[int]:
        """The parameters that have their first value."""
        return [
            key for key, (p, first) in self.first.items() if p() is not None and bits(p()) == first
        ]

    def named(self, keys: list[int]) -> str:
        """Names of parameters."""
        return ", ".join(self.names[key] for key in keys[:2]) + (
            f" and {len(keys) - 2} more" if len(keys) > 2 else ""
        )


def bits(p: torch.Tensor) -> int:
    """A number that changes with any bit of a tensor."""
    return hash(p.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
