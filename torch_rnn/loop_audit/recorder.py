"""The recorder of a training loop: it makes events of what it watches, and knows no
mistakes.
"""

import math
import threading
from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.nn.modules.rnn import RNNCellBase
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks
from torch.utils.hooks import RemovableHandle

from torch_rnn.loop_audit.events import (
    BY_HAND,
    CLOSURES,
    GIVEN_GRADIENTS,
    MAX_EVENTS,
    UNNAMED_LOSS,
    BackwardPass,
    ForwardPass,
    GradientClip,
    GradientUnscale,
    LoopRecord,
    LoopUpdate,
    LossCall,
    NonFinite,
    OptimizerRecord,
    union,
)
from torch_rnn.loop_audit.gradients import GradientBook, ParameterRecord, ids_of
from torch_rnn.loop_audit.graph import UseWatch, mark_loss
from torch_rnn.loop_audit.hooks import FAILED, Hooks, Watcher
from torch_rnn.loop_audit.location import current_location
from torch_rnn.loop_audit.loss_calls import Shapes, reduction_of, signs_of
from torch_rnn.loop_audit.own_modules import OwnModules, read_own_call
from torch_rnn.loop_audit.samples import SampleWatch
from torch_rnn.loop_audit.states import ModuleCall, StateMemory, read_call
from torch_rnn.loop_audit.torch_internals import (
    BACKWARD,
    CLIP_NORM,
    CLIP_VALUE,
    LOADER,
    LOSSES_OF_OPERATORS,
    LOSSES_OF_TORCH,
    NEXT_INDEX,
    OPERATORS,
    UNSCALE,
    has_compiled,
    is_hidden,
)

MAX_RECENT = 1000  # passes
MAX_COMPARED = 500  # losses of single steps, whose target is compared with the input


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether all numbers of a tensor are finite."""
    if tensor.numel() == 1:
        return math.isfinite(tensor.item())
    return bool(torch.isfinite(tensor.detach()).all())


def stepped_tensors(optimizer: Optimizer) -> list[torch.Tensor]:
    """Return the parameters of an optimizer that require a gradient."""
    groups = [group["params"] for group in optimizer.param_groups]
    return [p for p in chain(*groups) if p.requires_grad]


class LoopRecorder:
    """A record of a loop from `start` to `stop`, of its first updates."""

    def __init__(self, limit: int) -> None:
        """Make an empty record of at most `limit` updates."""
        self.record = LoopRecord(limit)
        self._hooks = Hooks(self.record)
        self._gradients = GradientBook()
        self._optimizers = WeakKeyDictionary[Optimizer, OptimizerRecord]()
        # Of each step that runs: how many steps and events there were before it.
        self._begun: list[tuple[int, int]] = []
        self._by_hand = 0  # updates by hand, counted down
        self._made = 0  # steps of optimizers
        self._compared = 0  # losses
        self._group: list[Optimizer] = []  # those of the latest update, made together
        self._together = set[frozenset[int]]()  # ids of two that were in one update
        self._samples = SampleWatch()
        self._own = OwnModules()
        self._non_finite = set[str]()  # the kinds that have an event
        # Inputs and last states of passes since the latest step.
        self._recent = deque[tuple[ForwardPass, torch.Tensor, torch.Tensor]](
            maxlen=MAX_RECENT
        )
        self._shapes: Shapes | None = None  # of the tensors that a loss broadcasts
        self._states: dict[nn.Module, StateMemory] = {}
        self._is_backward = False

    def start(self) -> None:
        """Replace what is watched in torch."""
        hooks = self._hooks
        hooks.begin()
        hooks.register(
            module_hooks.register_module_parameter_registration_hook, self._add_name
        )
        for kind in (nn.RNNBase, RNNCellBase):
            hooks.patch(kind, "__call__", self._forward)
        handle = hooks.register(
            module_hooks.register_module_forward_hook, self._own_forward
        )
        hooks.patch(torch, "compile", partial(self._compile, handle))
        for name in LOSSES_OF_OPERATORS:
            hooks.patch(OPERATORS, name, partial(self._loss, name))
        for name in LOSSES_OF_TORCH:
            hooks.patch(torch, name, partial(self._loss, name))
        hooks.patch(torch, "broadcast_tensors", self._broadcast)
        hooks.patch(LOADER, "__next__", self._samples.next_batch)
        hooks.patch(LOADER, NEXT_INDEX, self._samples.next_index)
        hooks.patch(torch.autograd, BACKWARD, self._backward)
        hooks.patch(Optimizer, "add_param_group", self._hold)
        hooks.patch_decorated(CLIP_NORM, self._clip_norm)
        hooks.patch_decorated(CLIP_VALUE, self._clip_value)
        hooks.patch(torch.amp.GradScaler, UNSCALE, self._unscale)
        hooks.register(
            optimizer_hooks.register_optimizer_step_pre_hook, self._begin_step
        )
        hooks.register(
            optimizer_hooks.register_optimizer_step_post_hook, self._end_step
        )

    def stop(self) -> None:
        """End the record. It is complete after this."""
        record = self.record
        hooks = self._hooks
        hooks.thread = 0
        hooks.call(self._end_gradients)
        hooks.end()
        if has_compiled():
            record.unseen.add("what torch.compile has compiled")
        if record.steps > record.limit:
            text = f"updates after the first {record.limit} of {record.steps}"
            record.unseen.add(text)
        if len(record.events) == MAX_EVENTS:
            record.unseen.add(f"events after the first {MAX_EVENTS}")

    def _end_gradients(self) -> None:
        """Look at all parameters once more."""
        self._find_by_hand()
        self.record.zero = self._gradients.end()
        self._note_parameters()

    def _note_non_finite(self, kind: str, name: str, *place: str) -> None:
        """Add the first value of a kind that is not finite, at FILE:LINE or here."""
        if kind not in self._non_finite:
            self._non_finite.add(kind)
            location = place[0] if place else current_location()
            self.record.add(NonFinite, kind=kind, name=name, location=location)

    def _note_parameters(self) -> None:
        """Add the first gradient and parameter that are not finite."""
        for kind, tensor in self._gradients.non_finite.items():
            self._name([tensor])
            self._note_non_finite(kind, self.record.names[id(tensor)])

    def _ends(self) -> bool:
        """End the latest update, and the record if it has all updates."""
        self._group.clear()
        self.record.is_full = self.record.steps >= self.record.limit
        return self.record.is_full

    def _add_name(self, owner: nn.Module, name: str, parameter: Any) -> None:
        """Note the name of a parameter."""
        self.record.names[id(parameter)] = f"{type(owner).__name__}.{name}"

    def _forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Watcher:
        """Record a call of a recurrent module, and mark its results in the graph."""
        result = yield
        if result is FAILED or self._is_backward or self._ends():
            return
        if not type(module).forward.__module__.startswith("torch."):
            self.record.unseen.add(f"calls of {type(module).__name__}")
            return
        arguments = kwargs | dict(zip(("input", "hx"), args))
        self._add_pass(module, read_call(module, arguments, result))

    def _compile(self, handle: RemovableHandle, *_: Any, **__: Any) -> Watcher:
        """Remove the hook of all modules, of which torch.compile would warn."""
        handle.remove()
        self.record.unseen.add("modules of one's own, as torch.compile is called")
        yield

    def _own_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        """Record a call of a module that may be a recurrent one of the script."""
        if self._is_backward or not self._own.is_candidate(module):
            return
        if torch.compiler.is_compiling() or is_hidden() or self.record.is_full:
            return
        call = read_own_call(args, output)
        if call is None:
            self._own.drop(module)
        elif not self._ends():
            self.record.own.add(module)
            self._add_pass(module, call)

    def _add_pass(self, module: nn.Module, call: ModuleCall) -> None:
        """Record a pass of a module."""
        self._find_by_hand()
        if call.has_gradient:
            self._hooks.thread = threading.get_ident()
        if module not in self._states:
            memory = StateMemory(module, self.record, self._samples)
            self._states[module] = memory
        forward = self._states[module].add_pass(call)
        if call.has_gradient:
            (*_, last) = call.outputs.values()
            self._recent.append((forward, call.x.detach(), last.detach()))

    def _look_at_passes(self) -> None:
        """Note the first input and result since the latest step that are not finite."""
        for forward, x, result in self._recent:
            name = f"of {type(forward.module).__name__}"
            for kind, values in (("an input", x), ("a result", result)):
                if not is_finite(values):
                    self._note_non_finite(kind, name, forward.location)
                    return

    def _broadcast(self, *tensors: Any) -> Watcher:
        """Note the shapes of two tensors that a loss is about to broadcast."""
        shapes = [tensor.shape for tensor in tensors]
        if len(shapes) == 2 and shapes[0] != shapes[1]:
            self._shapes = shapes[0], shapes[1]
        else:
            self._shapes = None
        yield

    def _loss(self, name: str, *args: Any, **kwargs: Any) -> Watcher:
        """Record a call of a loss function whose result has a graph."""
        result = yield
        shapes, self._shapes = self._shapes, None
        if getattr(result, "grad_fn", None) is None or self._is_backward:
            return
        tensors = [*args, kwargs.get("input"), kwargs.get("target")]
        tensors = [value for value in tensors if isinstance(value, torch.Tensor)][:2]
        latest = [m.latest_data for m in self._states.values()]
        known = [data for data in latest if data is not None]
        self._compared += 1
        self._add_loss(
            result,
            name.removesuffix("_nd").removesuffix("_loss"),
            reduction=reduction_of(name, args, kwargs),
            signs=signs_of(name, tensors, known, shapes, self._compared < MAX_COMPARED),
        )

    def _add_loss(self, result: torch.Tensor, name: str, **facts: Any) -> LossCall:
        """Add a loss, and mark it in the graph."""
        loss = self.record.add(LossCall, name=name, **facts)
        mark_loss(result, loss)
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
        if self._ends():
            yield
            return
        self._find_by_hand()
        roots = [root for root in tensors if isinstance(root, torch.Tensor)]
        place = current_location()
        watch = UseWatch(roots, place, self._hooks.call_safely)
        sources = watch.sources
        # tensors that an optimizer holds, and are no nn.Parameter
        held = self._gradients.known(sources.tensors)
        used = [*sources.parameters, *held]
        self._name(used)
        parameters = self._gradients.read(used)
        if not all(map(is_finite, roots)):
            self._look_at_passes()
            losses = sorted(sources.losses, key=lambda loss: loss.number)
            places = [loss.location for loss in losses[:1]]
            self._note_non_finite("a loss", "of backward()", *places)
        if watch.begins_at_result:
            self.record.unseen.add(GIVEN_GRADIENTS)
        if not roots:
            self.record.unseen.add("backward() of a GradientEdge")
        elif not sources.losses:
            signs = frozenset(["loss-broadcasts"] if sources.broadcast else [])
            loss = self._add_loss(roots[0], UNNAMED_LOSS, signs=signs)
            sources.losses.add(loss)
        if not sources.is_complete:
            self.record.unseen.add("graphs that are compiled or too large")
        self._is_backward = True
        result = yield
        self._is_backward = False
        changed = [p for p in parameters if p.note_gradient()]
        backward = self.record.add(
            BackwardPass,
            losses=frozenset(sources.losses),
            reached=watch.end(),
            parameters=ids_of(changed),
            has_failed=result is FAILED,
            is_complete=sources.is_complete,
            reaches_data=len(held) < len(sources.tensors),
            shared=sources.shared,
        )
        self._gradients.add(backward, changed)
        self._note_parameters()

    def _name(self, parameters: Iterable[torch.Tensor]) -> None:
        """Name parameters that belonged to a module before the audit by their
        shapes.
        """
        names = self.record.names
        for p in parameters:
            if id(p) not in names:
                names[id(p)] = f"{type(p).__name__} {tuple(p.shape)}"

    # Gradients

    def _clip_norm(
        self, parameters: Any, max_norm: float, total_norm: Any, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by norm."""
        yield from self._clip(parameters, "norm", max_norm, total_norm)

    def _clip_value(
        self, parameters: Any, clip_value: float, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by value."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        largest = nn.utils.get_total_norm(gradients, math.inf)
        yield from self._clip(parameters, "value", clip_value, largest)

    def _clip(self, parameters: Any, kind: str, limit: float, norm: Any) -> Watcher:
        """Record a clip. One with an infinite limit measures the norm, and is none."""
        acts = bool(norm > limit)
        changed = yield from self._change(parameters)
        if limit != math.inf:
            self.record.add(
                GradientClip, parameters=changed, kind=kind, limit=limit, acts=acts
            )

    def _unscale(self, _: Any, optimizer: Any, *__: Any, **___: Any) -> Watcher:
        """Record that a GradScaler unscales the gradients of an optimizer."""
        changed = yield from self._change(stepped_tensors(optimizer))
        self.record.add(GradientUnscale, parameters=changed)

    def _change(self, parameters: Any) -> Watcher:
        """Watch a call that changes gradients. Return the ids of the parameters."""
        records = self._gradients.read(parameters)
        yield
        for p in records:
            p.note_gradient()
        return ids_of(records)

    # Updates

    def _hold(self, optimizer: Optimizer, *_: Any, **__: Any) -> Watcher:
        """Note which tensors an optimizer holds, before the first backward()."""
        yield
        self._gradients.records_of(stepped_tensors(optimizer))

    def _find_by_hand(self) -> None:
        """Add an update if parameters have changed since backward(), and no optimizer
        has made a step.
        """
        changed = self._gradients.changed_by_hand()
        if changed:
            backwards = union(p.backwards for p in changed)
            latest = max(backwards, key=lambda backward: backward.number)
            self._recent.clear()
            self._by_hand -= 1  # a group of its own
            self._add_update(
                BY_HAND, changed, location=latest.location, group=self._by_hand
            )

    def _begin_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Note the gradients and the number of events before a step."""
        self._begun.append((self._made, len(self.record.events)))
        if self._begins_update(optimizer) and self._ends():
            return
        self._gradients.read(stepped_tensors(optimizer))
        record = OptimizerRecord(type(optimizer).__name__, not optimizer.state)
        self._optimizers.setdefault(optimizer, record)

    def _begins_update(self, optimizer: Optimizer) -> bool:
        """Return whether a step of an optimizer is the first of an update: the steps
        before it were followed by a pass, or one of them was of the same optimizer.
        """
        if any(other is optimizer for other in self._group):
            return True
        # after the limit no pass is seen: two optimizers stay together or apart
        pairs = {frozenset((id(other), id(optimizer))) for other in self._group}
        return not pairs if not self.record.is_full else not pairs & self._together

    def _end_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Count a step. Record it, unless the record is full or an optimizer within
        this one has made it.
        """
        record = self.record
        made, events = self._begun.pop()
        if self._made > made:
            return
        self._made += 1
        if self._begins_update(optimizer):
            self._group.clear()
            record.steps += 1
        self._together |= {frozenset((id(o), id(optimizer))) for o in self._group}
        self._group.append(optimizer)
        self._recent.clear()
        parameters = stepped_tensors(optimizer)
        if not record.is_full:
            inside = record.events[events:]
            closures = [event for event in inside if isinstance(event, BackwardPass)]
            if closures:
                record.unseen.add(CLOSURES)
            optimizer_record = self._optimizers[optimizer]
            optimizer_record.is_fresh &= bool(optimizer.state)
            self._name(parameters)
            held = self._gradients.records_of(parameters)
            rates = dict.fromkeys(float(g["lr"]) for g in optimizer.param_groups)
            self._add_update(
                optimizer_record,
                held,
                closures,
                group=record.steps,
                rates=tuple(rates),
            )
            self._gradients.note_step(held)
        record.stepped.update(map(id, parameters))

    def _add_update(
        self,
        optimizer: OptimizerRecord,
        held: list[ParameterRecord],
        closures: Iterable[BackwardPass] = (),
        **facts: Any,
    ) -> None:
        """Add an update of parameters, by the gradients of those that have one."""
        changed = [p for p in held if p.backwards or not p.is_known]
        self.record.add(
            LoopUpdate,
            optimizer=optimizer,
            held=ids_of(held),
            parameters=ids_of(changed),
            backwards=union(p.backwards for p in changed).union(closures),
            is_known=all(p.is_known for p in changed),
            **facts,
        )
