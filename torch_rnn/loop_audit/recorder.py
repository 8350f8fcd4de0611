"""The recorder of a training loop: it makes events, and knows no mistakes."""

import threading
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.nn.modules.rnn import RNNCellBase
from torch.optim import optimizer as optimizer_hooks

from torch_rnn.loop_audit.events import (
    MAX_EVENTS,
    UNNAMED_LOSS,
    BackwardPass,
    LoopRecord,
    LossCall,
)
from torch_rnn.loop_audit.graph import LOSS_CALL, GraphWalk, UseWatch
from torch_rnn.loop_audit.hooks import FAILED, Hooks, Watcher
from torch_rnn.loop_audit.recurrent_modules import is_of_torch, read_call
from torch_rnn.loop_audit.states import StateMemory
from torch_rnn.loop_audit.torch_internals import (
    BACKWARD,
    CLIP_NORM,
    CLIP_VALUE,
    LOSSES_OF_OPERATORS,
    LOSSES_OF_TORCH,
    OPERATORS,
    UNSCALE,
    has_compiled,
)
from torch_rnn.loop_audit.updates import ParameterRecord, UpdateRecorder, ids_of


class LoopRecorder:
    """A record of a loop from `start` to `stop`, of its first updates."""

    def __init__(self, limit: int) -> None:
        """Make an empty record of at most `limit` updates."""
        self.record = LoopRecord(limit)
        self._hooks = Hooks(self.record)
        self._updates = UpdateRecorder(self.record)
        self._states: dict[nn.Module, StateMemory] = {}
        self._is_backward = False

    def start(self) -> None:
        """Replace what is watched in torch."""
        hooks = self._hooks
        updates = self._updates
        hooks.begin()
        hooks.register(
            module_hooks.register_module_parameter_registration_hook, self._add_name
        )
        for kind in (nn.RNNBase, RNNCellBase):
            hooks.patch(kind, "__call__", self._forward)
        for name in LOSSES_OF_OPERATORS:
            hooks.patch(OPERATORS, name, partial(self._loss, name))
        for name in LOSSES_OF_TORCH:
            hooks.patch(torch, name, partial(self._loss, name))
        hooks.patch(torch.autograd, BACKWARD, self._backward)
        hooks.patch_decorated(CLIP_NORM, updates.clip_norm)
        hooks.patch_decorated(CLIP_VALUE, updates.clip_value)
        hooks.patch(torch.amp.GradScaler, UNSCALE, updates.unscale)
        hooks.register(
            optimizer_hooks.register_optimizer_step_pre_hook, updates.begin_step
        )
        hooks.register(
            optimizer_hooks.register_optimizer_step_post_hook, updates.end_step
        )

    def stop(self) -> None:
        """End the record. It is complete after this."""
        record = self.record
        hooks = self._hooks
        hooks.thread = 0
        hooks.call(self._updates.find_by_hand)
        hooks.end()
        if has_compiled():
            record.unseen.add("what torch.compile has compiled")
        if record.steps > record.limit:
            text = f"updates after the first {record.limit} of {record.steps}"
            record.unseen.add(text)
        if len(record.events) == MAX_EVENTS:
            record.unseen.add(f"events after the first {MAX_EVENTS}")

    def _add_name(self, owner: nn.Module, name: str, parameter: Any) -> None:
        """Note the name of a parameter."""
        self.record.names[id(parameter)] = f"{type(owner).__name__}.{name}"

    def _forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Watcher:
        """Record a call of a recurrent module, and mark its results in the graph."""
        result = yield
        if result is FAILED or self._is_backward:
            return
        if not is_of_torch(module):
            self.record.unseen.add(f"calls of {type(module).__name__}")
            return
        self._updates.find_by_hand()
        arguments = kwargs | dict(zip(("input", "hx"), args))
        call = read_call(module, arguments, result)
        if call.has_gradient:
            self._hooks.thread = threading.get_ident()
        if module not in self._states:
            self._states[module] = StateMemory(module, self.record)
        self._states[module].add_pass(call)

    def _loss(self, name: str, *_: Any, **__: Any) -> Watcher:
        """Record a call of a loss function whose result has a graph."""
        result = yield
        if getattr(result, "grad_fn", None) is not None and not self._is_backward:
            self._add_loss(result, name.removesuffix("_nd").removesuffix("_loss"))

    def _add_loss(self, result: torch.Tensor, name: str) -> LossCall:
        """Add a loss, and mark it in the graph."""
        loss = self.record.add(LossCall, name=name)
        node: Any = result.grad_fn
        if node is not None:
            node.metadata[LOSS_CALL] = loss
        return loss

    def _backward(self, tensors: Any, *_: Any, **kwargs: Any) -> Watcher:
        """Record a backward pass: what it reaches, and which gradients it changes."""
        is_sum = kwargs.get("accumulate_grad", False)
        if not is_sum:
            self.record.unseen.add("what torch.autograd.grad computes")
        if self._is_backward or not is_sum:  # within that of a checkpoint
            yield
            return
        self._hooks.thread = threading.get_ident()
        self._updates.find_by_hand()
        walk = self._walk_from(tensors)
        parameters = self._reached_parameters(walk)
        watch = UseWatch(walk, self._hooks.call_safely)
        self._is_backward = True
        result = yield
        self._is_backward = False
        changed = [p for p in parameters if p.has_changed()]
        backward = self.record.add(
            BackwardPass,
            losses=tuple(walk.losses),
            reached=watch.end(),
            parameters=ids_of(changed),
            has_failed=result is FAILED,
            is_complete=walk.is_complete,
            reaches_data=walk.reaches_data,
        )
        self._updates.add_backward(backward, changed)

    def _walk_from(self, tensors: Any) -> GraphWalk:
        """Walk from the roots of a backward pass. Add a loss if none was called."""
        roots = [root for root in tensors if isinstance(root, torch.Tensor)]
        walk = GraphWalk(roots, into_passes=True)
        if not walk.losses:
            walk.losses[self._add_loss(roots[0], UNNAMED_LOSS)] = None
        if not walk.is_complete:
            self.record.unseen.add("graphs that are compiled or too large")
        return walk

    def _reached_parameters(self, walk: GraphWalk) -> list[ParameterRecord]:
        """Read the gradients of the parameters that a backward pass may reach. Name
        those that belonged to a module before the audit by their shapes.
        """
        parameters = list(walk.parameters.values())
        for module in dict.fromkeys(forward.module for forward in walk.passes):
            parameters += module.parameters()
        for p in parameters:
            name = f"{type(p).__name__} {tuple(p.shape)}"
            self.record.names.setdefault(id(p), name)
        return self._updates.read(parameters)
