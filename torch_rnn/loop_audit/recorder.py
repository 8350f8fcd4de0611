"""The recorder of a training loop: it makes events, and knows no mistakes."""

import gc
import sys
import threading
from collections.abc import Generator, Iterable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import clip_grad, parametrize
from torch.nn.utils.rnn import PackedSequence
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks

from torch_rnn.loop_audit.events import (
    MAX_EVENTS,
    Backward,
    Clip,
    End,
    Event,
    Forward,
    Loss,
    ModuleRecord,
    OptimizerRecord,
    Reach,
    Record,
    Step,
)
from torch_rnn.loop_audit.graph import (
    LOSS,
    PASS_END,
    PassEnd,
    Use,
    Walk,
    edges_of,
    parameters_of,
)
from torch_rnn.loop_audit.hooks import FAILED, Hooks, location
from torch_rnn.loop_audit.states import MAX_NODES, StateMemory

AnyEvent = TypeVar("AnyEvent", bound=Event)
Watcher = Generator[None, Any, None]
LOSSES = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "cross_entropy_loss",
    "nll_loss_nd",
    "binary_cross_entropy",
)
LOSSES_OF_TORCH = ("binary_cross_entropy_with_logits", "kl_div", "ctc_loss")


class Recorder:
    """A record of a loop from `start` to `stop`, of its first updates."""

    def __init__(self, limit: int) -> None:
        self.record = Record(limit)
        self._hooks = Hooks()
        self._modules: WeakKeyDictionary[nn.Module, ModuleRecord] = WeakKeyDictionary()
        self._optimizers: WeakKeyDictionary[Optimizer, OptimizerRecord]
        self._optimizers = WeakKeyDictionary()
        self._parameters: dict[int, torch.Tensor] = {}
        self._gradients: dict[int, tuple[Any, int]] = {}  # objects and their versions
        self._states = StateMemory()
        self._latest: dict[ModuleRecord, Forward] = {}
        self._is_backward = False
        self._has_names = False
        # the gradients that come from uses, as whether each row is not zero
        self._used: dict[Forward, list[tuple[Use, torch.Tensor | None]]] = {}
        self._step_begins: dict[OptimizerRecord, int] = {}
        self._graphs = 0

    def start(self) -> None:
        hooks = self._hooks
        self._graphs = _compiled_graphs()
        for kind in (nn.RNNBase, RNNCellBase):
            hooks.patch(kind, "__call__", self._forward)
        for name in LOSSES:
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
        hooks.on_close(before.remove)
        hooks.on_close(after.remove)

    def stop(self) -> None:
        """End the record. It is complete after this."""
        record, hooks = self.record, self._hooks
        hooks.thread = 0
        hooks.call(self._end)
        hooks.close()
        record.error = hooks.error
        if hooks.has_other_threads:
            record.unseen["other threads"] = 1
        if _compiled_graphs() > self._graphs:
            record.unseen["what torch.compile has compiled"] = 1
        if record.steps > record.limit:
            text = f"updates after the first {record.limit} of {record.steps}"
            record.unseen[text] = 1
        if len(record.events) == MAX_EVENTS:
            record.unseen[f"events after the first {MAX_EVENTS}"] = 1

    def _end(self) -> None:
        self._add(End, weights=_norms(self._parameters))

    def _add(self, event_type: type[AnyEvent], **facts: Any) -> AnyEvent:
        """Number an event, and add it to the record while there is room."""
        events = self.record.events
        event = event_type(number=len(events) + 1, location=location(), **facts)
        if len(events) < MAX_EVENTS:
            events.append(event)
        return event

    # Recurrent modules

    def _forward(self, module: Any, *args: Any, **kwargs: Any) -> Watcher:
        result = yield
        if result is FAILED or self._is_backward:
            return
        if not type(module).forward.__module__.startswith("torch."):
            self.record.unseen[f"calls of {type(module).__name__}"] += 1
            return
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
        forward = self._new_forward(net, inputs, sizes, has_gradient)
        for name, tensor in outputs.items():
            node: Any = tensor.grad_fn
            if node is not None:
                end = PassEnd(forward, name, edges_of(inputs), sizes)
                node.metadata.setdefault(PASS_END, {})[tensor.output_nr] = end
        self._states.remember(forward, outputs)
        if has_gradient:
            self._latest[net] = forward

    def _new_forward(
        self,
        net: ModuleRecord,
        inputs: list[torch.Tensor],
        sizes: list[int] | None,
        has_gradient: bool,
    ) -> Forward:
        x, *state = inputs
        walk = Walk(inputs, into_passes=False, most=MAX_NODES)
        return self._add(
            Forward,
            module=net,
            steps=_steps(net, x, sizes),
            has_gradient=has_gradient,
            state=tuple(self._states.origin(net, part) for part in state),
            previous=self._latest.get(net),
            parents=tuple(p for p in walk.passes if p.module is net),
        )

    def _module_record(self, module: Any) -> ModuleRecord:
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
            parameters = _by_id(module.parameters())
            self._parameters.update(parameters)
            self._modules[module] = ModuleRecord(
                kind=text,
                location=location(),
                is_cell=isinstance(module, RNNCellBase),
                time_axis=int(getattr(module, "batch_first", False)),
                is_bidirectional=bool(getattr(module, "bidirectional", False)),
                parameters=frozenset(parameters),
            )
        return self._modules[module]

    # Losses and backward passes

    def _loss(self, name: str, *_: Any, **__: Any) -> Watcher:
        result = yield
        node = getattr(result, "grad_fn", None)
        if node is not None and not self._is_backward:
            name = name.removesuffix("_nd").removesuffix("_loss")
            node.metadata[LOSS] = self._add(Loss, name=name, is_call=True)

    def _backward(self, tensors: Any, *args: Any, **kwargs: Any) -> Watcher:
        if self._is_backward:  # within that of a checkpoint
            yield
            return
        if not kwargs.get("accumulate_grad"):
            self.record.unseen["what torch.autograd.grad computes"] += 1
            yield
            return
        self._hooks.thread = threading.get_ident()
        roots = [each for each in tensors if isinstance(each, torch.Tensor)]
        walk = Walk(roots)
        losses = tuple(walk.losses)
        if not losses:
            losses = (self._unnamed_loss(roots[0]),)
        parameters = self._reached_parameters(walk, args)
        weights = _norms(parameters)
        was_zero = [key for key, p in parameters.items() if not _has_gradient(p)]
        self._used = {forward: [] for forward in walk.passes}
        handles = []
        for use in walk.uses:
            if use.node is None:
                self._used[use.end.forward].append((use, None))
            else:
                hook = partial(self._gradient_of_use, use)
                handles.append(use.node.register_hook(hook))
        self._is_backward = True
        result = yield
        self._is_backward = False
        for handle in handles:
            handle.remove()
        self._parameters.update(parameters)
        self._note_gradients(parameters.values())
        self._name_parameters()
        reached = {}
        for forward in walk.passes:
            reached[forward] = self._reach(forward, forward in walk.carried)
        self._add(
            Backward,
            losses=losses,
            reached=reached,
            parameters=frozenset(parameters),
            was_zero=frozenset(was_zero),
            weights=weights,
            is_nonzero=any(_has_gradient(p) for p in parameters.values()),
            has_failed=result is FAILED,
            is_complete=walk.is_complete,
            reaches_data=len(parameters_of(walk.leaves)) < len(walk.leaves),
        )

    def _unnamed_loss(self, root: torch.Tensor) -> Loss:
        loss = self._add(Loss, name="a loss", is_call=False)
        node: Any = root.grad_fn
        if node is not None:
            node.metadata[LOSS] = loss
        return loss

    def _reached_parameters(
        self, walk: Walk, args: tuple[Any, ...]
    ) -> dict[int, torch.Tensor]:
        found = parameters_of(walk.leaves)
        for forward in walk.passes:
            for key in forward.module.parameters:
                if self._parameters[key].requires_grad:
                    found[key] = self._parameters[key]
        inputs = args[3] if len(args) > 3 else ()
        if inputs:  # backward(inputs=...)
            wanted = _by_id(inputs)
            found = {key: p for key, p in found.items() if key in wanted}
        return found

    def _gradient_of_use(self, use: Use, inputs: Any, _: Any) -> None:
        """Keep where a result gets a gradient from a node that uses it."""
        gradient = inputs[use.index]
        if gradient is not None and self._is_backward:
            nonzero = (gradient.detach() != 0).any(-1)
            self._used[use.end.forward].append((use, nonzero))

    def _reach(self, forward: Forward, is_carried: bool) -> Reach:
        """Return how much of a pass the last backward pass has reached."""
        used = set[int]()
        is_one_sequence = False
        for use, nonzero in self._used.pop(forward):
            if use.end.output != "out":
                if nonzero is None or bool(nonzero.any()):
                    used.add(forward.steps - 1)
            elif nonzero is None:
                used.update(range(forward.steps))
            else:
                by_time = _by_time(forward, use, nonzero)
                steps = by_time.any(1).nonzero().flatten().tolist()
                used.update(steps)
                many = by_time.shape[1] > 1 and len(steps) > 1
                is_one_sequence = many and int(by_time.any(0).sum()) == 1
        steps_reached = max(used, default=-1) + 1
        if is_carried or (used and forward.module.is_bidirectional):
            steps_reached = forward.steps
        return Reach(steps_reached, len(used), is_one_sequence)

    def _name_parameters(self) -> None:
        """Find the names of modules and parameters, once: the longest are whole."""
        if self._has_names:
            return
        self._has_names = True
        names = self.record.names
        for root in gc.get_objects():
            if not issubclass(type(root), nn.Module):
                continue
            name = type(root).__name__
            for path, p in root.named_parameters(prefix=name):
                names[id(p)] = max(names.get(id(p), ""), path, key=len)
            for path, child in root.named_modules(prefix=name):
                net = self._modules.get(child)
                if net is not None:
                    net.name = max(net.name, path, key=len)

    # Clipping

    def _clip_norm(
        self, parameters: Any, max_norm: float, total_norm: Any, *_: Any, **__: Any
    ) -> Watcher:
        acts = float(total_norm) > float(max_norm)
        yield
        self._add_clip("norm", float(max_norm), acts, _listed(parameters))

    def _clip_value(
        self, parameters: Any, clip_value: float, *_: Any, **__: Any
    ) -> Watcher:
        parameters = _listed(parameters)
        acts = False
        for p in parameters:
            if p.grad is not None:
                acts = acts or bool((p.grad.abs() > clip_value).any())
        yield
        self._add_clip("value", float(clip_value), acts, parameters)

    def _unscale(self, _: Any, optimizer: Any, *__: Any, **___: Any) -> Watcher:
        yield
        self._add_clip("unscale", 1.0, True, _held_by(optimizer))

    def _add_clip(
        self, kind: str, limit: float, acts: bool, parameters: list[torch.Tensor]
    ) -> None:
        self._note_gradients(parameters)
        ids = frozenset(_by_id(parameters))
        self._add(Clip, kind=kind, limit=limit, acts=acts, parameters=ids)

    # Optimizers

    def _step_begin(self, optimizer: Any, *_: Any) -> None:
        held = _by_id(_held_by(optimizer))
        self._parameters.update(held)
        if optimizer not in self._optimizers:
            self._optimizers[optimizer] = OptimizerRecord(
                kind=type(optimizer).__name__,
                has_moments_before=bool(optimizer.state),
                weights_before=tuple(_norms(held).values()),
            )
        record = self._optimizers[optimizer]
        self._step_begins[record] = len(self.record.events)

    def _step_end(self, optimizer: Any, *_: Any) -> None:
        record = self._optimizers[optimizer]
        begin = self._step_begins.pop(record)
        if any(isinstance(each, Step) for each in self.record.events[begin:]):
            return  # an optimizer within this one has made the step
        held = _by_id(_held_by(optimizer))
        self._add(
            Step,
            optimizer=record,
            begin=begin,
            held=frozenset(held),
            with_gradient=frozenset(k for k, p in held.items() if _has_gradient(p)),
            set_by_hand=any(map(self._is_changed, held.values())),
        )
        if not record.weights_after:
            record.weights_after = tuple(_norms(held).values())
            record.has_moments = bool(optimizer.state)
        self._count(optimizer)
        if self.record.steps == self.record.limit:
            self._end()
            self._hooks.close()
            count = optimizer_hooks.register_optimizer_step_post_hook(self._count)
            self._hooks.on_close(count.remove)

    def _count(self, optimizer: Any, *_: Any) -> None:
        self.record.steps += 1
        self.record.stepped.update(_by_id(_held_by(optimizer)))

    def _note_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        for p in parameters:
            if p.grad is not None:
                self._gradients[id(p)] = ref(p.grad), p.grad._version

    def _is_changed(self, p: torch.Tensor) -> bool:
        """Whether the script has set or changed a gradient since it was noted."""
        if p.grad is None:
            return False
        noted = self._gradients.get(id(p))
        return noted is None or noted[0]() is not p.grad or noted[1] != p.grad._version


def _compiled_graphs() -> int:
    """Return how many graphs torch.compile has made in this process."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo else 0


def _listed(tensors: Any) -> list[Any]:
    if tensors is None:
        return []
    return [tensors] if torch.is_tensor(tensors) else list(tensors)


def _by_id(parameters: Iterable[torch.Tensor]) -> dict[int, torch.Tensor]:
    return {id(p): p for p in parameters}


def _held_by(optimizer: Any) -> list[torch.Tensor]:
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return [p for p in held if p.requires_grad]


def _has_gradient(p: torch.Tensor) -> bool:
    return p.grad is not None and bool(p.grad.any())


def _norms(parameters: dict[int, torch.Tensor]) -> dict[int, float]:
    """Return a number by which a change of each parameter is seen."""
    if not parameters:
        return {}
    values = [p.detach() for p in parameters.values()]
    norms = torch._foreach_norm(values, 2, torch.float64)
    return dict(zip(parameters, torch.stack(list(norms)).tolist()))


def _named_outputs(result: Any, is_cell: bool) -> dict[str, torch.Tensor]:
    """Return the results of a pass by the names out, h and c."""
    if is_cell:
        return dict(zip("hc", _listed(result)))
    out, states = result
    if isinstance(out, PackedSequence):
        out = out.data
    return {"out": out, **dict(zip("hc", _listed(states)))}


def _by_time(forward: Forward, use: Use, nonzero: torch.Tensor) -> torch.Tensor:
    """Return which steps (rows) and sequences of an output get a gradient."""
    if use.end.batch_sizes is not None:
        parts = torch.split(nonzero, use.end.batch_sizes)
        return torch.stack([part.any() for part in parts]).unsqueeze(1)
    if nonzero.dim() == 1:  # without an axis of the batch
        return nonzero.unsqueeze(1)
    return nonzero.transpose(0, forward.module.time_axis)


def _steps(net: ModuleRecord, x: torch.Tensor, sizes: list[int] | None) -> int:
    if sizes is not None:
        return len(sizes)
    if net.is_cell:
        return 1
    # an input of two dimensions is one sequence
    return x.shape[net.time_axis if x.dim() == 3 else 0]
