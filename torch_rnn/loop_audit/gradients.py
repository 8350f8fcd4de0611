"""Which backward passes the gradient of each parameter is the sum of.

A gradient that is None or zero is that of no backward pass. One that is another tensor
than after the last event, or has another version, was set or changed by the script.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch

from torch_rnn.loop_audit.events import BackwardPass


@dataclass(eq=False, slots=True)
class ParameterRecord:
    """A parameter, and what is known of its gradient and its value."""

    tensor: torch.Tensor
    backwards: frozenset[BackwardPass] = frozenset()
    is_known: bool = True  # the gradient is the sum of the backward passes
    norm: float | None = None  # of the value, from backward() to an optimizer's step
    _gradient: Any = None  # a weak reference
    _version: int = -1

    def has_changed(self) -> bool:
        """Return whether there is another gradient than at the last call."""
        gradient = self.tensor.grad
        if gradient is None:
            return False
        is_same = self._gradient is not None and self._gradient() is gradient
        version, self._version = self._version, gradient._version
        self._gradient = ref(gradient)
        return not is_same or version != self._version

    def read(self) -> None:
        """Look whether the script has set, changed or zeroed the gradient."""
        gradient = self.tensor.grad
        is_changed = self.has_changed()
        if gradient is None or (is_changed and not gradient.any()):
            self.backwards = frozenset()
            self.is_known = True
        elif is_changed:
            self.is_known = False


def read_norms(parameters: Iterable[ParameterRecord]) -> list[ParameterRecord]:
    """Read the norms of parameters. Return those that have changed since."""
    read = list(parameters)
    if not read:
        return []
    values = [p.tensor.detach() for p in read]
    norms = torch._foreach_norm(values, 2, torch.float64)
    changed = []
    for p, norm in zip(read, torch.stack(list(norms)).tolist()):
        if p.norm is not None and p.norm != norm and not math.isnan(p.norm):
            changed.append(p)
            p.norm = None
        else:
            p.norm = norm
    return changed


def ids_of(parameters: Iterable[ParameterRecord]) -> frozenset[int]:
    """Return the names of parameters in events."""
    return frozenset(id(p.tensor) for p in parameters)
