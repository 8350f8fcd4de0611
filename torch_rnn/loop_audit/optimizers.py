"""What is seen of parameters and their optimizers: rates, gradients that are not finite, what never changes."""

import math
from typing import Any
from weakref import ref

import torch
from torch import nn

from torch_rnn.loop_audit.places import named
from torch_rnn.loop_audit.records import Evidence


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
