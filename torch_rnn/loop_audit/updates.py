"""Records what changes gradients and parameters: clipping, and updates.

Of each parameter it is known which backward passes its gradient is the sum of. A
gradient that is None or zero is that of no backward pass. One that is another tensor
than after the last event, or has another version, was set or changed by the script.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.optim import Optimizer

from torch_rnn.loop_audit.events import (
    BY_HAND,
    BackwardPass,
    GradientClip,
    GradientEvent,
    GradientUnscale,
    LoopRecord,
    LoopUpdate,
    OptimizerRecord,
    union,
)
from torch_rnn.loop_audit.hooks import Watcher
from torch_rnn.loop_audit.torch_internals import norms_of, version_of


@dataclass(eq=False, slots=True)
class ParameterRecord:
    """A parameter, and what is known of its gradient and its value."""

    tensor: torch.Tensor
    backwards: frozenset[BackwardPass] = frozenset()
    is_known: bool = True  # the gradient is the sum of the backward passes
    norm: float | None = None  # of the value, from backward() to an optimizer's step
    _gradient: ref[torch.Tensor] | None = None
    _version: int = -1

    def has_changed(self) -> bool:
        """Return whether there is another gradient than at the last call."""
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
        is_changed = self.has_changed()
        if gradient is None or (is_changed and not gradient.any()):
            self.backwards = frozenset()
            self.is_known = True
        elif is_changed:
            self.is_known = False


def ids_of(parameters: Iterable[ParameterRecord]) -> frozenset[int]:
    """Return what identifies parameters in events."""
    return frozenset(id(p.tensor) for p in parameters)


def parameters_of(optimizer: Optimizer) -> list[torch.Tensor]:
    """Return the parameters of an optimizer that require a gradient."""
    groups = [group["params"] for group in optimizer.param_groups]
    return [p for p in chain(*groups) if p.requires_grad]


class UpdateRecorder:
    """Records the clips and updates of a loop."""

    def __init__(self, record: LoopRecord) -> None:
        """Begin without any parameter."""
        self._record = record
        self._parameters: dict[int, ParameterRecord] = {}
        self._optimizers = WeakKeyDictionary[Optimizer, OptimizerRecord]()
        self._begun: list[int] = []  # steps of optimizers: the number of events before

    # Gradients

    def _records_of(self, parameters: Iterable[torch.Tensor]) -> list[ParameterRecord]:
        """Return the records of parameters, made where there is none."""
        records = []
        for parameter in dict.fromkeys(parameters):
            new = ParameterRecord(parameter)
            records.append(self._parameters.setdefault(id(parameter), new))
        return records

    def read(self, parameters: Iterable[torch.Tensor]) -> list[ParameterRecord]:
        """Read the gradients of parameters. Return the records of these."""
        records = self._records_of(parameters)
        for p in records:
            p.read()
        return records

    def add_backward(
        self, backward: BackwardPass, changed: list[ParameterRecord]
    ) -> None:
        """Add a backward pass to the gradients that it has changed. Keep the norms of
        their parameters, as `data` can change these without another version.
        """
        for p, norm in zip(changed, self._norms(changed)):
            p.norm = norm
            if backward.has_failed:  # the gradient may have a part of its gradient
                p.is_known = False
            else:
                p.backwards |= {backward}

    def _norms(self, parameters: list[ParameterRecord]) -> list[float]:
        """Return the norms of parameters."""
        return norms_of([p.tensor.detach() for p in parameters])

    def clip_norm(
        self, parameters: Any, max_norm: float, total_norm: Any, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by norm."""
        acts = bool(total_norm > max_norm)
        yield from self._change(
            parameters, GradientClip, kind="norm", limit=max_norm, acts=acts
        )

    def clip_value(
        self, parameters: Any, clip_value: float, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by value."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        acts = bool(nn.utils.get_total_norm(gradients, math.inf) > clip_value)
        yield from self._change(
            parameters, GradientClip, kind="value", limit=clip_value, acts=acts
        )

    def unscale(self, _: Any, optimizer: Any, *__: Any, **___: Any) -> Watcher:
        """Record that a GradScaler unscales the gradients of an optimizer."""
        yield from self._change(parameters_of(optimizer), GradientUnscale)

    def _change(
        self, parameters: Any, event_type: type[GradientEvent], **facts: Any
    ) -> Watcher:
        """Record a call that changes gradients. A clip with an infinite limit, which
        measures the norm, is none.
        """
        records = self.read(parameters)
        yield
        for p in records:
            p.has_changed()
        if facts.get("limit") != math.inf:
            self._record.add(event_type, parameters=ids_of(records), **facts)

    # Updates

    def find_by_hand(self) -> None:
        """Add an update if parameters have changed since backward(), and no optimizer
        has made a step.
        """
        watched = [p for p in self._parameters.values() if p.norm is not None]
        changed = []
        for p, norm in zip(watched, self._norms(watched)):
            if p.norm not in (norm, None) and not math.isnan(norm):
                p.norm = None
                if p.backwards:
                    changed.append(p)
        if changed:
            backwards = union(p.backwards for p in changed)
            latest = max(backwards, key=lambda backward: backward.number)
            self._add_update(BY_HAND, changed, location=latest.location)

    def begin_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Note the gradients and the number of events before a step."""
        if self._record.is_full:
            return
        self.read(parameters_of(optimizer))
        record = OptimizerRecord(type(optimizer).__name__, not optimizer.state)
        self._optimizers.setdefault(optimizer, record)
        self._begun.append(len(self._record.events))

    def end_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Count a step. Record it, unless the record is full or an optimizer within
        this one has made it.
        """
        record = self._record
        parameters = parameters_of(optimizer)
        if not record.is_full:
            closures = []  # the backward passes within the step
            for event in record.events[self._begun.pop() :]:
                if isinstance(event, LoopUpdate) and event.optimizer is not BY_HAND:
                    return
                if isinstance(event, BackwardPass):
                    closures.append(event)
                    record.unseen.add("what closures of optimizers compute")
            optimizer_record = self._optimizers[optimizer]
            optimizer_record.is_fresh &= bool(optimizer.state)
            held = self._records_of(parameters)
            self._add_update(optimizer_record, held, closures)
            for p in held:
                p.has_changed()
                p.norm = None
        record.steps += 1
        record.stepped.update(map(id, parameters))

    def _add_update(
        self,
        optimizer: OptimizerRecord,
        held: list[ParameterRecord],
        closures: Iterable[BackwardPass] = (),
        **location: str,
    ) -> None:
        """Add an update of parameters, by the gradients of those that have one."""
        changed = [p for p in held if p.backwards or not p.is_known]
        self._record.add(
            LoopUpdate,
            optimizer=optimizer,
            held=ids_of(held),
            parameters=ids_of(changed),
            backwards=union(p.backwards for p in changed).union(closures),
            is_known=all(p.is_known for p in changed),
            **location,
        )
