"""The recorder of a training loop: it makes events, and knows no mistakes."""

import math
import sys
import threading
from collections import defaultdict
from collections.abc import Generator, Iterable
from functools import partial
from itertools import chain
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks

from torch_rnn.loop_audit.events import (
    BY_HAND,
    MAX_EVENTS,
    UNNAMED_LOSS,
    BackwardPass,
    Event,
    ForwardPass,
    GradientClip,
    GradientEvent,
    GradientUnscale,
    LoopRecord,
    LoopUpdate,
    LossCall,
    OptimizerRecord,
    union,
)
from torch_rnn.loop_audit.gradients import ParameterRecord, ids_of, read_norms
from torch_rnn.loop_audit.graph import LOSS_CALL, GraphWalk, UseWatch, mark_outputs
from torch_rnn.loop_audit.hooks import FAILED, Hooks, location
from torch_rnn.loop_audit.module_calls import is_of_torch, read_call
from torch_rnn.loop_audit.names import add_names
from torch_rnn.loop_audit.states import StateMemory

AnyEvent = TypeVar("AnyEvent", bound=Event)
Watcher = Generator[None, Any, None]
LOSS_FUNCTIONS = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "cross_entropy_loss",
    "nll_loss_nd",
    "binary_cross_entropy",
)
LOSSES_OF_TORCH = ("binary_cross_entropy_with_logits", "kl_div", "ctc_loss")


class LoopRecorder:
    """A record of a loop from `start` to `stop`, of its first updates."""

    def __init__(self, limit: int) -> None:
        """Make an empty record of at most `limit` updates."""
        self.record = LoopRecord(limit)
        self.is_stopped = False
        self._hooks = Hooks()
        self._optimizers = WeakKeyDictionary[Optimizer, OptimizerRecord]()
        self._parameters: dict[int, ParameterRecord] = {}
        self._states = defaultdict[nn.Module, StateMemory](StateMemory)
        self._is_backward = False
        self._begun: list[int] = []  # steps of optimizers: the number of events before
        self._graphs = 0

    def start(self) -> None:
        """Replace what is watched in torch."""
        hooks = self._hooks
        self._graphs = _compiled_graphs()
        for kind in (nn.RNNBase, RNNCellBase):
            hooks.patch(kind, "__call__", self._forward)
        for owner, names in ((torch._C._nn, LOSS_FUNCTIONS), (torch, LOSSES_OF_TORCH)):
            for name in names:
                hooks.patch_operator(owner, name, partial(self._loss, name))
        hooks.patch(torch.autograd, "_engine_run_backward", self._backward)
        hooks.patch_decorated(clip_grad._clip_grads_with_norm_, self._clip_norm)
        hooks.patch_decorated(clip_grad.clip_grad_value_, self._clip_value)
        hooks.patch(torch.amp.GradScaler, "_unscale_grads_", self._unscale)
        for register, hook in (
            (optimizer_hooks.register_optimizer_step_pre_hook, self._step_begin),
            (optimizer_hooks.register_optimizer_step_post_hook, self._step_end),
        ):
            hooks.undo.callback(register(partial(hooks.call, hook)).remove)

    def stop(self) -> None:
        """End the record. It is complete after this."""
        record, hooks = self.record, self._hooks
        hooks.thread = 0
        hooks.call(self._find_updates_by_hand)
        hooks.undo.close()
        record.error = hooks.error
        if hooks.has_other_threads:
            record.unseen.add("other threads")
        if _compiled_graphs() > self._graphs:
            record.unseen.add("what torch.compile has compiled")
        if record.steps > record.limit:
            text = f"updates after the first {record.limit} of {record.steps}"
            record.unseen.add(text)
        if len(record.events) == MAX_EVENTS:
            record.unseen.add(f"events after the first {MAX_EVENTS}")
        self.is_stopped = True

    def _add(self, event_type: type[AnyEvent], **facts: Any) -> AnyEvent:
        """Make an event with its number. Add it to the record while there is room."""
        known = self.record.events
        facts.setdefault("location", location())
        event = event_type(number=len(known) + 1, **facts)
        if len(known) < MAX_EVENTS:
            known.append(event)
        return event

    def _records(self, tensors: Any) -> list[ParameterRecord]:
        """Return the records of parameters, made where there is none."""
        known = self._parameters
        found = [known.setdefault(id(p), ParameterRecord(p)) for p in tensors]
        return list(dict.fromkeys(found))

    # Recurrent modules

    def _forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Watcher:
        """Record a call of a recurrent module, and mark its results in the graph."""
        result = yield
        if result is FAILED or self._is_backward:
            return
        if not is_of_torch(module):
            self.record.unseen.add(f"calls of {type(module).__name__}")
            return
        self._find_updates_by_hand()
        call = read_call(module, kwargs | dict(zip(("input", "hx"), args)), result)
        has_gradient = any(each.requires_grad for each in call.outputs.values())
        if has_gradient:
            self._hooks.thread = threading.get_ident()
        x_walk = GraphWalk([call.x], into_passes=False)
        state_walks = [GraphWalk([each], into_passes=False) for each in call.state]
        parents = [
            forward
            for walk in (x_walk, *state_walks)
            for forward in walk.passes
            if forward.module is module
        ]
        memory = self._states[module]
        data = memory.input_data(call.x, call.axis)
        begins = has_gradient and not parents
        forward = self._add(
            ForwardPass,
            module=module,
            steps=call.steps,
            has_gradient=has_gradient,
            data=data,
            is_state_given=bool(call.state),
            state=memory.initial_state(module, call.state, state_walks, data, begins),
            parents=tuple(parents),
        )
        mark_outputs(forward, call)
        memory.remember(forward, call)

    # Losses and backward passes

    def _loss(self, name: str, *_: Any, **__: Any) -> Watcher:
        """Record a call of a loss function whose result has a graph."""
        result = yield
        if getattr(result, "grad_fn", None) is not None and not self._is_backward:
            self._add_loss(result, name.removesuffix("_nd").removesuffix("_loss"))

    def _add_loss(self, result: Any, name: str) -> LossCall:
        """Add a loss, and mark it in the graph."""
        loss = self._add(LossCall, name=name)
        if result.grad_fn is not None:
            result.grad_fn.metadata[LOSS_CALL] = loss
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
        self._find_updates_by_hand()
        walk = self._walk_from(tensors)
        parameters = self._parameters_of(walk)
        for p in parameters:
            p.read()
        watch = UseWatch(walk)
        self._is_backward = True
        result = yield
        self._is_backward = False
        changed = [p for p in parameters if p.has_changed()]
        backward = self._add(
            BackwardPass,
            losses=tuple(walk.losses),
            reached=watch.end(),
            parameters=ids_of(changed),
            has_failed=result is FAILED,
            is_complete=walk.is_complete,
            reaches_data=walk.reaches_data,
        )
        self._watch_values(changed)
        if not backward.has_failed:
            for p in changed:
                p.backwards |= {backward}

    def _walk_from(self, tensors: Any) -> GraphWalk:
        """Walk from the roots of a backward pass. Add a loss if none was called."""
        roots = [each for each in tensors if isinstance(each, torch.Tensor)]
        walk = GraphWalk(roots, into_passes=True)
        if not walk.losses:
            walk.losses[self._add_loss(roots[0], UNNAMED_LOSS)] = None
        if not walk.is_complete:
            self.record.unseen.add("graphs that are compiled or too large")
        return walk

    def _parameters_of(self, walk: GraphWalk) -> list[ParameterRecord]:
        """Return the parameters that a backward pass may reach, and name them."""
        parameters = list(walk.parameters.values())
        for module in dict.fromkeys(forward.module for forward in walk.passes):
            parameters += module.parameters()
        add_names(self.record.names, [*self._states, *parameters])
        return self._records(parameters)

    # Clipping

    def _clip_norm(
        self, parameters: Any, max_norm: float, total_norm: Any, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by norm."""
        acts = bool(total_norm > max_norm)
        yield from self._change(
            parameters, GradientClip, kind="norm", limit=max_norm, acts=acts
        )

    def _clip_value(
        self, parameters: Any, clip_value: float, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by value."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        acts = bool(nn.utils.get_total_norm(gradients, math.inf) > clip_value)
        yield from self._change(
            parameters, GradientClip, kind="value", limit=clip_value, acts=acts
        )

    def _unscale(self, _: Any, optimizer: Any, *__: Any, **___: Any) -> Watcher:
        """Record that a GradScaler unscales the gradients of an optimizer."""
        yield from self._change(_held_by(optimizer), GradientUnscale)

    def _change(
        self, parameters: Any, event_type: type[GradientEvent], **facts: Any
    ) -> Watcher:
        """Record a call that changes gradients."""
        records = self._records(parameters)
        for p in records:
            p.read()
        yield
        for p in records:
            p.has_changed()
        self._add(event_type, parameters=ids_of(records), **facts)

    # Updates

    def _watch_values(self, parameters: list[ParameterRecord]) -> None:
        """Watch whether parameters, which no optimizer steps, are changed by hand."""
        stepped = self.record.stepped
        by_hand = [p for p in parameters if id(p.tensor) not in stepped]
        read_norms(p for p in by_hand if p.norm is None)

    def _find_updates_by_hand(self) -> None:
        """Add an update if parameters have changed since backward(), and no optimizer
        has made a step.
        """
        watched = [p for p in self._parameters.values() if p.norm is not None]
        changed = [p for p in read_norms(watched) if p.backwards]
        if changed:
            latest = max(
                union(p.backwards for p in changed), key=lambda each: each.number
            )
            self._add_update(BY_HAND, changed, location=latest.location)

    def _step_begin(self, optimizer: Any, *_: Any) -> None:
        """Note the gradients and the number of events before a step."""
        for p in self._records(_held_by(optimizer)):
            p.read()
        record = OptimizerRecord(type(optimizer).__name__, not optimizer.state)
        self._optimizers.setdefault(optimizer, record)
        self._begun.append(len(self.record.events))

    def _step_end(self, optimizer: Any, *_: Any) -> None:
        """Record a step, unless an optimizer within this one has made it."""
        inside = self.record.events[self._begun.pop() :]
        for event in inside:
            if getattr(event, "optimizer", BY_HAND) is not BY_HAND:
                return
        closures = [e for e in inside if isinstance(e, BackwardPass)]
        if closures:
            self.record.unseen.add("what closures of optimizers compute")
        held = self._records(_held_by(optimizer))
        record = self._optimizers[optimizer]
        record.is_fresh = record.is_fresh and bool(optimizer.state)
        self._add_update(record, held, closures)
        for p in held:
            p.has_changed()
            p.norm = None
        self._count(optimizer)
        if self.record.steps == self.record.limit:
            self._find_updates_by_hand()
            self._hooks.undo.close()
            count = optimizer_hooks.register_optimizer_step_post_hook(self._count)
            self._hooks.undo.callback(count.remove)

    def _add_update(
        self,
        optimizer: OptimizerRecord,
        held: list[ParameterRecord],
        closures: Iterable[BackwardPass] = (),
        **place: str,
    ) -> None:
        """Add an update of parameters, by the gradients of those that have one."""
        changed = [p for p in held if p.backwards or not p.is_known]
        self._add(
            LoopUpdate,
            optimizer=optimizer,
            held=ids_of(held),
            parameters=ids_of(changed),
            backwards=union(p.backwards for p in changed).union(closures),
            is_known=all(p.is_known for p in changed),
            **place,
        )

    def _count(self, optimizer: Any, *_: Any) -> None:
        """Count a step, also after the last update that is recorded."""
        self.record.steps += 1
        self.record.stepped.update(map(id, _held_by(optimizer)))


def _compiled_graphs() -> int:
    """Return how many graphs torch.compile has made in this process."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo else 0


def _held_by(optimizer: Any) -> list[torch.Tensor]:
    """Return the parameters of an optimizer that require a gradient."""
    groups = [group["params"] for group in optimizer.param_groups]
    return [p for p in chain(*groups) if p.requires_grad]
