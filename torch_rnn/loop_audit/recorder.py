"""The recorder of a training loop: it makes events, and knows no mistakes."""

import gc
import sys
import threading
from collections.abc import Generator, Iterable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import clip_grad, parametrize
from torch.nn.utils.rnn import PackedSequence
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks

from torch_rnn.loop_audit import events
from torch_rnn.loop_audit.events import ForwardPass, ModuleRecord, OptimizerRecord
from torch_rnn.loop_audit.gradients import (
    ParameterRecord,
    ids_of,
    read_norms,
    sum_of,
)
from torch_rnn.loop_audit.graph import (
    LOSS_CALL,
    PASS_END,
    GraphWalk,
    PassEnd,
    UsedOutputs,
    edges_of,
)
from torch_rnn.loop_audit.hooks import FAILED, Hooks, location
from torch_rnn.loop_audit.states import StateMemory

AnyEvent = TypeVar("AnyEvent", bound=events.Event)
MAX_NODES = 200  # of the graph of an initial state
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
        self.record = events.LoopRecord(limit)
        self._hooks = Hooks()
        self._modules = WeakKeyDictionary[nn.Module, ModuleRecord]()
        self._optimizers = WeakKeyDictionary[Optimizer, OptimizerRecord]()
        self._parameters: dict[int, ParameterRecord] = {}
        self._updates: dict[ModuleRecord, int] = {}
        self._states = StateMemory()
        self._is_backward = False
        self._is_read = True  # the parameters, after the last backward pass
        self._begun: list[int] = []  # steps of optimizers: the number of events before
        self._graphs = 0

    def start(self) -> None:
        """Replace what is watched in torch."""
        hooks = self._hooks
        self._graphs = _compiled_graphs()
        for kind in (nn.RNNBase, RNNCellBase):
            hooks.patch(kind, "__call__", self._forward)
        for name in LOSS_FUNCTIONS:
            hooks.patch_operator(torch._C._nn, name, partial(self._loss, name))
        for name in LOSSES_OF_TORCH:
            hooks.patch_operator(torch, name, partial(self._loss, name))
        hooks.patch(torch.autograd, "_engine_run_backward", self._backward)
        hooks.patch_decorated(clip_grad._clip_grads_with_norm_, self._clip_norm)
        hooks.patch_decorated(clip_grad.clip_grad_value_, self._clip_value)
        hooks.patch(torch.amp.GradScaler, "_unscale_grads_", self._unscale)
        before = optimizer_hooks.register_optimizer_step_pre_hook(
            partial(hooks.call, self._step_begin)
        )
        after = optimizer_hooks.register_optimizer_step_post_hook(
            partial(hooks.call, self._step_end)
        )
        hooks.undo.callback(before.remove)
        hooks.undo.callback(after.remove)

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
        if len(record.events) == events.MAX_EVENTS:
            record.unseen.add(f"events after the first {events.MAX_EVENTS}")

    def _add(self, event_type: type[AnyEvent], **facts: Any) -> AnyEvent:
        """Make an event with its number. Add it to the record while there is room."""
        known = self.record.events
        facts.setdefault("location", location())
        event = event_type(number=len(known) + 1, **facts)
        if len(known) < events.MAX_EVENTS:
            known.append(event)
        return event

    def _records(self, parameters: Iterable[torch.Tensor]) -> list[ParameterRecord]:
        """Return the records of parameters, made where there is none."""
        records = {}
        for p in parameters:
            records[id(p)] = self._parameters.setdefault(id(p), ParameterRecord(p))
        return list(records.values())

    # Recurrent modules

    def _forward(self, module: Any, *args: Any, **kwargs: Any) -> Watcher:
        """Record a call of a recurrent module, and mark its results in the graph."""
        result = yield
        if result is FAILED or self._is_backward:
            return
        if not type(module).forward.__module__.startswith("torch."):
            self.record.unseen.add(f"calls of {type(module).__name__}")
            return
        if not self._is_read:
            self._find_updates_by_hand()
            self._is_read = True
        net = self._module_record(module)
        given = kwargs | dict(zip(("input", "hx"), args))
        x = given["input"]
        sizes: list[int] | None = None
        if isinstance(x, PackedSequence):
            sizes = x.batch_sizes.tolist()
            x = x.data
        inputs = [x, *_listed(given.get("hx"))]
        outputs = _named_outputs(result, net.is_cell)
        has_gradient = any(tensor.requires_grad for tensor in outputs.values())
        if has_gradient:
            self._hooks.thread = threading.get_ident()
        forward = self._new_pass(net, inputs, sizes, has_gradient)
        for name, tensor in outputs.items():
            node: Any = tensor.grad_fn
            if node is not None:
                end = PassEnd(forward, name, edges_of(inputs), sizes)
                node.metadata.setdefault(PASS_END, {})[tensor.output_nr] = end
        self._states.remember(forward, outputs)

    def _new_pass(
        self,
        net: ModuleRecord,
        inputs: list[torch.Tensor],
        sizes: list[int] | None,
        has_gradient: bool,
    ) -> ForwardPass:
        """Add a pass, with the passes and states that its inputs come from."""
        x, *state = inputs
        walks = [GraphWalk([each], False, MAX_NODES) for each in inputs]
        parents = []
        for walk in walks:
            for each in walk.passes:
                if each.module is net:
                    parents.append(each)
        data = self._states.input_data(net, x)
        states = self._states.initial_state(
            net, list(zip(state, walks[1:])), data, has_gradient and not parents
        )
        return self._add(
            ForwardPass,
            module=net,
            steps=_steps(net, x, sizes),
            has_gradient=has_gradient,
            data=data,
            is_state_given=bool(state),
            state=states,
            parents=tuple(parents),
            updates=self._updates[net],
        )

    def _module_record(self, module: Any) -> ModuleRecord:
        """Return the record of a module, made at its first call."""
        if module not in self._modules:
            kind = type(module)
            if parametrize.is_parametrized(module):
                kind = kind.__mro__[1]
            name = kind.__name__
            if kind.__module__.startswith("torch.nn"):
                name = f"nn.{name}"
            text = f"{name}({module.extra_repr()})"
            if hasattr(module, "nonlinearity"):
                text += f", {module.nonlinearity}"
            self._records(module.parameters())
            record = ModuleRecord(
                kind=text,
                location=location(),
                is_cell=isinstance(module, RNNCellBase),
                time_axis=int(getattr(module, "batch_first", False)),
                is_bidirectional=bool(getattr(module, "bidirectional", False)),
                parameters=frozenset(map(id, module.parameters())),
            )
            self._modules[module] = record
            self._updates[record] = 0
        return self._modules[module]

    # Losses and backward passes

    def _loss(self, name: str, *_: Any, **__: Any) -> Watcher:
        """Record a call of a loss function whose result has a graph."""
        result = yield
        if getattr(result, "grad_fn", None) is not None and not self._is_backward:
            name = name.removesuffix("_nd").removesuffix("_loss")
            self._add_loss(result, name, is_call=True)

    def _backward(self, tensors: Any, *_: Any, **kwargs: Any) -> Watcher:
        """Record a backward pass: what it reaches, and which gradients it changes."""
        if self._is_backward:  # within that of a checkpoint
            yield
            return
        if not kwargs.get("accumulate_grad"):
            self.record.unseen.add("what torch.autograd.grad computes")
            yield
            return
        self._hooks.thread = threading.get_ident()
        self._find_updates_by_hand()
        roots = [each for each in tensors if isinstance(each, torch.Tensor)]
        walk = GraphWalk(roots)
        losses = tuple(walk.losses) or (
            self._add_loss(roots[0], "a loss", is_call=False),
        )
        parameters = self._reached_parameters(walk)
        for p in parameters:
            p.read()
        self._name_parameters()
        used = {forward: UsedOutputs() for forward in walk.passes}
        handles = []
        for use in walk.uses:
            add = partial(used[use.end.forward].add, use)
            if use.node is None:
                add(None, None)
            else:
                handles.append(use.node.register_hook(add))
        self._is_backward = True
        result = yield
        self._is_backward = False
        for handle in handles:
            handle.remove()
        reached = {}
        for forward in walk.passes:
            reached[forward] = used[forward].reach(forward, forward in walk.carried)
        changed = [p for p in parameters if p.has_changed()]
        backward = self._add(
            events.BackwardPass,
            losses=losses,
            reached=reached,
            parameters=ids_of(changed),
            has_failed=result is FAILED,
            is_complete=walk.is_complete,
            reaches_data=not all(map(_is_parameter, walk.leaves.values())),
        )
        read_norms(p for p in changed if p.norm is None)
        self._is_read = False
        if result is not FAILED:
            for p in changed:
                p.backwards |= {backward}

    def _add_loss(self, result: Any, name: str, is_call: bool) -> events.LossCall:
        """Add a loss, and mark it in the graph."""
        loss = self._add(events.LossCall, name=name, is_call=is_call)
        if result.grad_fn is not None:
            result.grad_fn.metadata[LOSS_CALL] = loss
        return loss

    def _reached_parameters(self, walk: GraphWalk) -> list[ParameterRecord]:
        """Return the parameters that a backward pass reaches, also within passes."""
        found = dict.fromkeys(
            self._records(filter(_is_parameter, walk.leaves.values()))
        )
        for forward in walk.passes:
            for key in forward.module.parameters:
                found[self._parameters[key]] = None
        return list(found)

    def _name_parameters(self) -> None:
        """Find the names of parameters, once: the longest are whole."""
        names = self.record.names
        if names:
            return
        names[0] = ""
        for root in gc.get_objects():
            if not issubclass(type(root), nn.Module):
                continue
            name = type(root).__name__
            for path, p in root.named_parameters(prefix=name):
                names[id(p)] = max(names.get(id(p), ""), path, key=len)

    # Clipping

    def _clip_norm(
        self, parameters: Any, max_norm: float, total_norm: Any, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by norm."""
        acts = float(total_norm) > float(max_norm)
        yield from self._clip("norm", max_norm, acts, parameters)

    def _clip_value(
        self, parameters: Any, clip_value: float, *_: Any, **__: Any
    ) -> Watcher:
        """Record a clip by value."""
        acts = False
        for p in _listed(parameters):
            if p.grad is not None:
                acts = acts or bool((p.grad.abs() > clip_value).any())
        yield from self._clip("value", clip_value, acts, parameters)

    def _unscale(self, _: Any, optimizer: Any, *__: Any, **___: Any) -> Watcher:
        """Record that a GradScaler unscales the gradients of an optimizer."""
        yield from self._clip("unscale", 1.0, True, _held_by(optimizer))

    def _clip(self, kind: str, limit: float, acts: bool, parameters: Any) -> Watcher:
        """Record a call that changes gradients."""
        clipped = self._records(_listed(parameters))
        for p in clipped:
            p.read()
        yield
        for p in clipped:
            p.has_changed()
        self._add(
            events.GradientClip,
            kind=kind,
            limit=float(limit),
            acts=acts,
            parameters=ids_of(clipped),
        )

    # Updates

    def _find_updates_by_hand(self) -> None:
        """Add an update if parameters have changed since backward(), and no optimizer
        has made a step.
        """
        watched = [p for p in self._parameters.values() if p.norm is not None]
        changed = [p for p in read_norms(watched) if p.backwards]
        if changed:
            latest = max(sum_of(changed), key=lambda each: each.number)
            self._add_update(events.BY_HAND, changed, changed, latest.location)

    def _step_begin(self, optimizer: Any, *_: Any) -> None:
        """Note the gradients and the number of events before a step."""
        for p in self._records(_held_by(optimizer)):
            p.read()
        if optimizer not in self._optimizers:
            name = type(optimizer).__name__
            record = OptimizerRecord(name, is_fresh=not optimizer.state)
            self._optimizers[optimizer] = record
        self._begun.append(len(self.record.events))

    def _step_end(self, optimizer: Any, *_: Any) -> None:
        """Record a step, unless an optimizer within this one has made it."""
        inside = self.record.events[self._begun.pop() :]
        closures = frozenset[events.BackwardPass]()
        for event in inside:
            if isinstance(event, events.BackwardPass):
                closures |= {event}
            if getattr(event, "optimizer", events.BY_HAND) is not events.BY_HAND:
                return  # an optimizer within this one has made the step
        held = self._records(_held_by(optimizer))
        changed = [p for p in held if p.backwards or not p.is_known]
        record = self._optimizers[optimizer]
        record.is_fresh = record.is_fresh and bool(optimizer.state)
        self._add_update(record, held, changed, location(), closures)
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
        changed: list[ParameterRecord],
        place: str,
        closures: frozenset[events.BackwardPass] = frozenset(),
    ) -> None:
        """Add an update, and count it for the modules that it changes."""
        update = self._add(
            events.LoopUpdate,
            location=place,
            optimizer=optimizer,
            held=ids_of(held),
            parameters=ids_of(changed),
            backwards=sum_of(changed) | closures,
            is_known=all(p.is_known for p in changed),
            has_closure=bool(closures),
        )
        for net in self._updates:
            if net.parameters & update.parameters:
                self._updates[net] += 1

    def _count(self, optimizer: Any, *_: Any) -> None:
        """Count a step, also after the last update that is recorded."""
        self.record.steps += 1
        self.record.stepped.update(map(id, _held_by(optimizer)))


def _compiled_graphs() -> int:
    """Return how many graphs torch.compile has made in this process."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo else 0


def _is_parameter(leaf: torch.Tensor) -> bool:
    """Return whether a leaf is a parameter."""
    return isinstance(leaf, nn.Parameter)


def _listed(tensors: Any) -> list[Any]:
    """Return one tensor, several or none as a list."""
    if tensors is None:
        return []
    return [tensors] if torch.is_tensor(tensors) else list(tensors)


def _held_by(optimizer: Any) -> list[torch.Tensor]:
    """Return the parameters of an optimizer that require a gradient."""
    held: list[torch.Tensor] = []
    for group in optimizer.param_groups:
        held.extend(p for p in group["params"] if p.requires_grad)
    return held


def _named_outputs(result: Any, is_cell: bool) -> dict[str, torch.Tensor]:
    """Return the results of a pass by the names out, h and c."""
    if is_cell:
        return dict(zip("hc", _listed(result)))
    out, states = result
    if isinstance(out, PackedSequence):
        out = out.data
    return {"out": out, **dict(zip("hc", _listed(states)))}


def _steps(net: ModuleRecord, x: torch.Tensor, sizes: list[int] | None) -> int:
    """Return the number of steps of an input."""
    if sizes is not None:
        return len(sizes)
    if net.is_cell:
        return 1
    # an input of two dimensions is one sequence
    return x.shape[net.time_axis if x.dim() == 3 else 0]
