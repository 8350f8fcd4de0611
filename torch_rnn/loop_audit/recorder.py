"""The recorder of a training loop: it makes events, and knows no mistakes."""

import gc
import sys
import threading
from collections.abc import Generator, Iterable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import clip_grad, parametrize
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks
from torch.utils.data import dataloader

from torch_rnn.loop_audit.events import (
    MAX_EVENTS,
    Backward,
    Clip,
    DataPosition,
    End,
    Event,
    Forward,
    LoaderBatch,
    Loss,
    ModuleRecord,
    OptimizerRecord,
    Reach,
    Record,
    Step,
    Unscale,
)
from torch_rnn.loop_audit.graph import (
    LOSS,
    PassEnd,
    Walk,
    edges_of,
    mark_result,
    parameters_of,
)
from torch_rnn.loop_audit.hooks import FAILED, Hooks, location
from torch_rnn.loop_audit.states import (
    MAX_NODES,
    DataMemory,
    StateMemory,
    source_of,
    view_that_mixes,
)

Watcher = Generator[None, Any, None]
MAX_SEARCHES = 4  # of all objects, for the names of parameters
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
        self._data = DataMemory()
        self._in_backward = set[int]()  # threads
        self._used_steps: dict[Forward, list[torch.Tensor]] = {}
        self._used_ends = set[Forward]()  # whose last state enters the loss
        self._step_begins: dict[OptimizerRecord, int] = {}
        self._searches = 0
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
        hooks.patch(dataloader._BaseDataLoaderIter, "__next__", self._next_batch)
        hooks.patch(Optimizer, "__init__", self._new_optimizer)
        register_before = optimizer_hooks.register_optimizer_step_pre_hook
        register_after = optimizer_hooks.register_optimizer_step_post_hook
        before = register_before(partial(hooks.call, self._step_begin))
        after = register_after(partial(hooks.call, self._step_end))
        hooks.on_close(before.remove)
        hooks.on_close(after.remove)
        for each in gc.get_objects():
            if issubclass(type(each), Optimizer) and each.param_groups:
                self._optimizer_record(each, "?")

    def stop(self) -> None:
        """End the record. It is complete after this."""
        self._hooks.call(self._end)
        self._hooks.close()
        self.record.error = self._hooks.error
        self.record.is_compiled = _compiled_graphs() > self._graphs

    def _end(self) -> None:
        weights = _norms(self._parameters)
        self._add(partial(End, weights=weights))

    def _add(self, make: Any) -> Any:
        """Number an event, and add it to the record while there is room."""
        events = self.record.events
        event: Event = make(
            number=len(events) + 1,
            thread=threading.get_ident(),
            location=location(),
        )
        if len(events) < MAX_EVENTS:
            events.append(event)
        return event

    # Recurrent modules

    def _forward(self, module: Any, *args: Any, **kwargs: Any) -> Watcher:
        result = yield
        if result is FAILED or threading.get_ident() in self._in_backward:
            return
        given = kwargs | dict(zip(("input", "hx"), args))
        x = given.get("input")
        is_cell = isinstance(module, RNNCellBase)
        outputs = _named_outputs(result, is_cell)
        if not isinstance(x, torch.Tensor | nn.utils.rnn.PackedSequence) or not outputs:
            self.record.foreign_calls.add(type(module).__name__)
            return
        net = self._module_record(module)
        sizes = None
        if not isinstance(x, torch.Tensor):  # a packed sequence
            sizes = x.batch_sizes.tolist()
            x = x.data
        state = _listed(given.get("hx"))
        forward = self._new_forward(net, x, sizes, state, outputs)
        if forward.has_gradient:
            before = edges_of([x, *state])
            for name, tensor in outputs.items():
                if tensor.grad_fn is not None:
                    mark_result(tensor, PassEnd(forward, name, before))
            out = outputs.get("out")
            if out is not None and out.grad_fn is not None:
                hook = partial(self._gradient_of_output, forward, out.output_nr, sizes)
                out.grad_fn.register_prehook(hook)
        self._states.remember(forward, outputs)

    def _new_forward(
        self,
        net: ModuleRecord,
        x: torch.Tensor,
        sizes: list[int] | None,
        state: list[torch.Tensor],
        outputs: dict[str, torch.Tensor],
    ) -> Forward:
        steps, batch = _steps_and_batch(net, x, sizes)
        parts = tuple(self._states.origin(net, each) for each in state)
        position: DataPosition | None = None
        loader_batch: LoaderBatch | None = None
        viewed_as = ""
        data = None if sizes else source_of(x)
        if data is not None and net.is_cell:
            loader_batch = self._data.batch_of_step(data)
        elif data is not None and x.dim() == 3:
            position = self._data.position(data, net.time_axis)
            loader_batch = self._data.batch_of(data, net.time_axis)
            viewed_as = view_that_mixes(x)
        walk = Walk([x, *state], into_passes=False, most=MAX_NODES)
        forward: Forward = self._add(
            partial(
                Forward,
                module=net,
                steps=steps,
                batch=batch,
                has_gradient=any(t.requires_grad for t in outputs.values()),
                state=parts,
                parents=tuple(p for p in walk.passes if p.module is net),
                position=position,
                loader_batch=loader_batch,
                viewed_as=viewed_as,
            )
        )
        return forward

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
            parameters = {id(p): p for p in module.parameters()}
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

    def _gradient_of_output(
        self, forward: Forward, index: int, sizes: Any, gradients: Any
    ) -> None:
        """Keep which steps and sequences of an output get a gradient."""
        gradient = gradients[index]
        if gradient is None or threading.get_ident() not in self._in_backward:
            return
        used = (gradient.detach() != 0).any(-1)
        if sizes is not None:
            parts = [part.any() for part in torch.split(used, sizes)]
            used = torch.stack(parts)
        elif used.dim() == 2:
            used = used.transpose(0, forward.module.time_axis)
        self._used_steps.setdefault(forward, []).append(used)

    def _gradient_of_end(
        self, forward: Forward, index: int, inputs: Any, _: Any
    ) -> None:
        """Keep whether a last state gets a gradient from what uses it."""
        gradient = inputs[index]
        if gradient is not None and bool((gradient.detach() != 0).any()):
            self._used_ends.add(forward)

    # Losses and backward passes

    def _loss(self, name: str, *_: Any, **__: Any) -> Watcher:
        result = yield
        node = getattr(result, "grad_fn", None)
        if node is not None and threading.get_ident() not in self._in_backward:
            name = name.removesuffix("_nd")
            if name == "cross_entropy_loss":
                name = "cross_entropy"
            loss = self._add(partial(Loss, name=name, is_call=True))
            node.metadata[LOSS] = loss

    def _backward(self, tensors: Any, *args: Any, **kwargs: Any) -> Watcher:
        if not kwargs.get("accumulate_grad"):
            self.record.grad_calls += 1
            yield
            return
        roots = [each for each in tensors if isinstance(each, torch.Tensor)]
        walk = Walk(roots)
        losses = tuple(walk.losses) or tuple(map(self._unnamed_loss, roots[:1]))
        parameters = self._reached_parameters(walk, args)
        weights = _norms(parameters)
        was_zero = [key for key, p in parameters.items() if not _has_gradient(p)]
        self._used_steps.clear()
        self._used_ends.clear()
        handles = []
        for consumer, forward in walk.uses:
            if consumer is None:
                self._used_ends.add(forward)
            else:
                node, index = consumer
                hook = partial(self._gradient_of_end, forward, index)
                handles.append(node.register_hook(hook))
        self._in_backward.add(threading.get_ident())
        result = yield
        self._in_backward.discard(threading.get_ident())
        for handle in handles:
            handle.remove()
        has_failed = result is FAILED
        self._parameters.update(parameters)
        self._note_gradients(parameters.values())
        self._name_parameters(parameters)
        self._add(
            partial(
                Backward,
                losses=losses,
                reached={f: self._reach(f, o) for f, o in walk.passes.items()},
                parameters=frozenset(parameters),
                was_zero=frozenset(was_zero),
                weights=weights,
                is_nonzero=any(_has_gradient(p) for p in parameters.values()),
                has_failed=has_failed,
                is_compiled=walk.is_compiled,
                reaches_data=len(parameters_of(walk.leaves)) < len(walk.leaves),
            )
        )

    def _unnamed_loss(self, root: torch.Tensor) -> Loss:
        loss: Loss = self._add(partial(Loss, name="a loss", is_call=False))
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
            wanted = set(map(id, inputs))
            found = {key: p for key, p in found.items() if key in wanted}
        return found

    def _reach(self, forward: Forward, outputs: dict[str, bool]) -> Reach:
        """Return how much of a pass the last backward pass has reached."""
        parts = self._used_steps.pop(forward, [])
        used = set[int]()
        is_one_sequence = False
        for each in parts:
            by_time = each
            if each.dim() == 2:
                by_time = each.any(1)
                many = each.shape[1] > 1 and int(by_time.sum()) > 1
                is_one_sequence = many and int(each.any(0).sum()) == 1
            used.update(by_time.nonzero().flatten().tolist())
        ends = outputs.keys() & {"h", "c"}
        steps = max(used, default=-1) + 1
        if ends or (used and forward.module.is_bidirectional):
            steps = forward.steps
        if not outputs.get("out"):
            used = set()
        if forward in self._used_ends:
            used.add(forward.steps - 1)
        return Reach(steps, len(used), is_one_sequence)

    def _name_parameters(self, parameters: Iterable[int]) -> None:
        """Search all modules for the names of parameters that have none."""
        names = self.record.names
        if self._searches == MAX_SEARCHES or all(p in names for p in parameters):
            return
        self._searches += 1
        modules = [m for m in gc.get_objects() if issubclass(type(m), nn.Module)]
        inner = set[int]()
        for parent in modules:
            inner.update(map(id, parent.children()))
        for root in modules:
            if id(root) in inner:
                continue
            name = type(root).__name__
            for path, p in root.named_parameters(prefix=name):
                names.setdefault(id(p), path)
            for path, child in root.named_modules(prefix=name):
                net = self._modules.get(child)
                if net is not None and not net.name:
                    net.name = path

    # Clipping

    def _clip(self, kind: str, limit: float, size: float, parameters: Any) -> None:
        clipped = [p for p in _listed(parameters) if p.grad is not None]
        self._note_gradients(clipped)
        self._add(
            partial(
                Clip,
                kind=kind,
                limit=float(limit),
                acts=size > float(limit),
                parameters=frozenset(map(id, _listed(parameters))),
            )
        )

    def _clip_norm(
        self, parameters: Any, max_norm: float, total_norm: Any, *_: Any, **__: Any
    ) -> Watcher:
        parameters = _listed(parameters)
        size = float(total_norm)
        yield
        self._clip("norm", max_norm, size, parameters)

    def _clip_value(
        self, parameters: Any, clip_value: float, *_: Any, **__: Any
    ) -> Watcher:
        parameters = _listed(parameters)
        size = 0.0
        for p in parameters:
            if p.grad is not None and p.grad.numel():
                size = max(size, float(p.grad.abs().max()))
        yield
        self._clip("value", clip_value, size, parameters)

    def _unscale(self, _: Any, optimizer: Any, *__: Any, **___: Any) -> Watcher:
        yield
        parameters = _held_by(optimizer)
        self._note_gradients(parameters)
        ids = frozenset(map(id, parameters))
        self._add(partial(Unscale, parameters=ids))

    # Data

    def _next_batch(self, iterator: Any) -> Watcher:
        batch = yield
        if batch is not FAILED:
            self._data.add_batch(iterator, batch)

    # Optimizers

    def _new_optimizer(self, optimizer: Any, *_: Any, **__: Any) -> Watcher:
        yield
        if getattr(optimizer, "param_groups", None):
            self._optimizer_record(optimizer, location())

    def _optimizer_record(self, optimizer: Any, where: str) -> OptimizerRecord:
        if optimizer not in self._optimizers:
            first = optimizer.param_groups[0]
            held = frozenset(map(id, _held_by(optimizer)))
            record = OptimizerRecord(type(optimizer).__name__, where, held)
            has_moments = any(first.get(k) for k in ("momentum", "betas", "rho"))
            record.has_state = has_moments or "centered" in first
            self._optimizers[optimizer] = record
            self.record.optimizers.append(record)
        return self._optimizers[optimizer]

    def _step_begin(self, optimizer: Any, *_: Any) -> None:
        record = self._optimizer_record(optimizer, location())
        held = _held_by(optimizer)
        record.parameters = frozenset(map(id, held))
        self._parameters.update((id(p), p) for p in held)
        self._step_begins[record] = len(self.record.events)
        if not record.weights_at_first_step:
            living = [o for o in self._optimizers.values() if o is not record]
            others = [o for o in living if o.parameters & record.parameters]
            record.is_first = not others and not optimizer.state
            record.weights_at_first_step = tuple(_norms(_by_id(held)).values())

    def _step_end(self, optimizer: Any, *_: Any) -> None:
        record = self._optimizers[optimizer]
        begin = self._step_begins.pop(record)
        inside = self.record.events[begin:]
        if any(isinstance(each, Step) for each in inside):
            return  # an optimizer within this one has made the step
        held = _held_by(optimizer)
        self._add(
            partial(
                Step,
                optimizer=record,
                begin=begin,
                with_gradient=frozenset(id(p) for p in held if _has_gradient(p)),
                set_by_hand=frozenset(id(p) for p in held if self._is_changed(p)),
            )
        )
        if not record.weights_after_first_step:
            record.weights_after_first_step = tuple(_norms(_by_id(held)).values())
        self.record.steps += 1
        if self.record.steps == self.record.limit:
            self._end()
            self._hooks.close()
            count = optimizer_hooks.register_optimizer_step_post_hook(self._count)
            self._hooks.on_close(count.remove)

    def _count(self, *_: Any) -> None:
        self.record.steps += 1

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
    held: list[torch.Tensor] = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.requires_grad and not nn.parameter.is_lazy(p):
                held.append(p)
    return held


def _has_gradient(p: torch.Tensor) -> bool:
    if p.grad is None:
        return False
    if p.grad.is_sparse:
        return bool(p.grad._nnz())
    return bool(p.grad.any())


def _norms(parameters: dict[int, torch.Tensor]) -> dict[int, float]:
    """Return a number by which a change of each parameter is seen."""
    known = {
        k: p.detach() for k, p in parameters.items() if not nn.parameter.is_lazy(p)
    }
    if not known:
        return {}
    norms = [torch.linalg.vector_norm(p, dtype=_wide(p)) for p in known.values()]
    return dict(zip(known, torch.stack(norms).real.tolist()))


def _wide(p: torch.Tensor) -> torch.dtype:
    return torch.complex128 if p.is_complex() else torch.float64


def _named_outputs(result: Any, is_cell: bool) -> dict[str, torch.Tensor]:
    """Return the results of a pass by the names out, h and c; none if they are not
    those of torch."""
    if is_cell:
        named = dict(zip("hc", _listed(result)))
    elif isinstance(result, tuple) and len(result) == 2:
        out, states = result
        if isinstance(out, nn.utils.rnn.PackedSequence):
            out = out.data
        named = {"out": out, **dict(zip("hc", _listed(states)))}
    else:
        return {}
    if all(isinstance(each, torch.Tensor) for each in named.values()):
        return named
    return {}


def _steps_and_batch(
    net: ModuleRecord, x: torch.Tensor, sizes: list[int] | None
) -> tuple[int, int]:
    if sizes is not None:
        return len(sizes), sizes[0]
    if net.is_cell:
        return 1, len(x) if x.dim() == 2 else 1
    if x.dim() == 2:  # one sequence, without an axis of the batch
        return len(x), 1
    return x.shape[net.time_axis], x.shape[1 - net.time_axis]
