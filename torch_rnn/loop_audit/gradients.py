"""Which backward passes the gradient of each parameter is the sum of.

A gradient that is None or zero is that of no backward pass. One that is another tensor
than after the last event, or has another version, was set or changed by the script.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import ref

import torch

from torch_rnn.loop_audit.events import BackwardPass
from torch_rnn.loop_audit.torch_internals import dense_part, norms_of, version_of


@dataclass(eq=False, slots=True)
class ParameterRecord:
    """A parameter, and what is known of its gradient and its value."""

    tensor: torch.Tensor
    backwards: frozenset[BackwardPass] = frozenset()
    is_known: bool = True  # the gradient is the sum of the backward passes
    # backward passes after which the gradient was zero; None: once it was not
    zeros: int | None = 0
    _gradient: ref[torch.Tensor] | None = None
    _version: int = -1

    def note_gradient(self) -> bool:
        """Note the gradient. Return whether it is another one than at the last call."""
        gradient = self.tensor.grad
        if gradient is None:
            return False
        is_same = self._gradient is not None and self._gradient() is gradient
        is_unchanged = is_same and self._version == version_of(gradient)
        self._gradient = ref(gradient)
        self._version = version_of(gradient)
        return not is_unchanged

    def read(self) -> None:
        """Look whether the script has set, changed or zeroed the gradient."""
        gradient = self.tensor.grad
        is_changed = self.note_gradient()
        if gradient is None or (is_changed and not dense_part(gradient).any()):
            self.backwards = frozenset()
            self.is_known = True
        elif is_changed:
            self.is_known = False


def ids_of(parameters: Iterable[ParameterRecord]) -> frozenset[int]:
    """Return what identifies parameters in events."""
    return frozenset(id(p.tensor) for p in parameters)


class GradientBook:
    """The records of all parameters that a loop has used."""

    def __init__(self) -> None:
        """Make an empty book."""
        self._records: dict[int, ParameterRecord] = {}
        # The norms of the values at the last backward() of parameters that no step has
        # changed since. `p.data` changes values without another version.
        self._norms: dict[ParameterRecord, float] = {}
        # the first tensor whose gradient or value is not finite, by the kind
        self.non_finite: dict[str, torch.Tensor] = {}

    def known(self, tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """Return those of tensors that have a record."""
        return [tensor for tensor in tensors if id(tensor) in self._records]

    def records_of(self, parameters: Iterable[torch.Tensor]) -> list[ParameterRecord]:
        """Return the records of parameters, made where there is none."""
        records = []
        for parameter in dict.fromkeys(parameters):
            new = ParameterRecord(parameter)
            records.append(self._records.setdefault(id(parameter), new))
        return records

    def read(self, parameters: Iterable[torch.Tensor]) -> list[ParameterRecord]:
        """Read the gradients of parameters. Return the records of these."""
        records = self.records_of(parameters)
        for p in records:
            p.read()
        return records

    def add(self, backward: BackwardPass, changed: list[ParameterRecord]) -> None:
        """Add a backward pass to the gradients that it has changed."""
        for p in changed:
            if backward.has_failed:  # the gradient may have a part of its gradient
                p.is_known = False
            else:
                p.backwards |= {backward}
        with_gradient = [p for p in changed if p.tensor.grad is not None]
        gradients = [g for p in changed if (g := p.tensor.grad) is not None]
        for p, norm in zip(with_gradient, norms_of(gradients)):
            if norm != 0:
                p.zeros = None
            elif p.zeros is not None:
                p.zeros += 1
            if not math.isfinite(norm):
                self.non_finite.setdefault("a gradient", p.tensor)
        values = norms_of(p.tensor for p in changed)
        self._norms.update(zip(changed, values))
        for p, norm in zip(changed, values):
            if not math.isfinite(norm):
                self.non_finite.setdefault("a parameter", p.tensor)

    def end(self) -> set[int]:
        """Look at the values of all parameters once more. Return the ids of those whose
        gradient was zero after all of three backward passes or more.
        """
        records = list(self._records.values())
        for p, norm in zip(records, norms_of(p.tensor for p in records)):
            if not math.isfinite(norm):
                self.non_finite.setdefault("a parameter", p.tensor)
        is_zero = [p for p in records if p.zeros is not None and p.zeros >= 3]
        return {id(p.tensor) for p in is_zero}

    def note_step(self, held: Iterable[ParameterRecord]) -> None:
        """Note that an optimizer has made a step of parameters."""
        for p in held:
            p.note_gradient()
            self._norms.pop(p, None)

    def changed_by_hand(self) -> list[ParameterRecord]:
        """Return the parameters with a gradient whose values have changed since
        backward() without a step, each change once.
        """
        norms = norms_of(p.tensor for p in self._norms)
        changed = []
        for (p, before), norm in zip([*self._norms.items()], norms):
            if norm != before and not math.isnan(norm):
                del self._norms[p]
                if p.backwards:
                    changed.append(p)
        return changed
