"""Watching a training loop: hooks of torch where there are some, patches elsewhere, all of them removed at the end."""

import functools
import sys
import weakref
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import dataloader

from torch_rnn.loop_audit import gradient_check
from torch_rnn.loop_audit.data_evidence import DataEvidence
from torch_rnn.loop_audit.loop_trace import LoopTrace
from torch_rnn.loop_audit.loop_windows import by_time, is_unlinked, same_rows, sizes, tensors, windows
from torch_rnn.loop_audit.places import caller, drops_result, is_named, place
from torch_rnn.loop_audit.records import Clip, Initial, Network, Pass, Update

LOSSES = ("mse_loss", "cross_entropy", "nll_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits")
EVIDENCE = 40  # passes of a network whose data are compared
KEPT = 64  # passes before the latest update that a gradient can be followed to
MAX_PASSES = 20_000  # without an update: the loop is no training loop, or none that can be followed
sequence_number: Callable[[], int] = torch._C._autograd._get_sequence_nr  # of the next node of the graph


class Watch:
    """What a training loop does, from `start` to `stop`, which comes by itself after `limit` updates."""

    def __init__(self, limit: int, loop: LoopTrace | None = None):
        self.limit, self.active, self.busy, self.error = limit, False, False, ""
        self.networks: dict[int, Network] = {}
        self.modules: dict[int, nn.Module] = {}  # all that have parameters
        self.sums: dict[int, float] = {}  # of each parameter, when it was first seen
        self.in_optimizer: set[int] = set()  # ids of parameters
        self.with_gradient: dict[int, str] = {}  # id of a parameter: its name
        self.steps, self.backwards, self.passes, self.passes_before = 0, 0, 0, 0
        self.closure, self.in_step = False, False
        self.before_update: tuple[Network, gradient_check.Before] | None = None
        self.ranges: tuple[list[int], list[Pass]] = ([], [])  # the first node of the graph of each pass
        self.before = 0
        self.data = DataEvidence()
        self.by_grad = False  # the gradients are computed by torch.autograd.grad
        self.detached: list[tuple[Any, Any]] = []  # (weak reference to the tensor, place), where the result is dropped
        self.undo: list[Callable[[], None]] = []
        self.first_step, self.backward_failed = "?", False
        self.loop = loop

    # -- hooks and patches -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Install the hooks."""
        self.active = True
        hooks = [
            register_module_forward_pre_hook(self.guard(self.before_forward)),
            register_module_forward_hook(self.guard(self.after_forward), with_kwargs=True),
            register_optimizer_step_pre_hook(self.guard(self.before_step)),
            register_optimizer_step_post_hook(self.guard(self.after_step)),
        ]
        self.undo += [hook.remove for hook in hooks]
        self.patch(torch.autograd, "backward", self.backward)
        self.patch(torch.autograd, "grad", functools.partial(self.backward, by_grad=True))
        self.patch(torch.Tensor, "detach", self.detach)
        self.patch(torch.optim.Optimizer, "add_param_group", self.optimized)
        for owner in (torch.optim.Optimizer, nn.Module):
            self.patch(owner, "zero_grad", self.zero_grad)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            self.patch(nn.utils, name, functools.partial(self.clip, name.split("_")[2]))
        for name in LOSSES:
            self.patch(nn.functional, name, functools.partial(self.loss, name))
        self.patch(nn.functional, "embedding", self.data.embedding)
        self.patch(dataloader._BaseDataLoaderIter, "__next__", self.data.draw)

    def stop(self) -> None:
        """Remove the hooks and the patches."""
        if self.active:
            self.look_for_changed_weights()
            self.active = False
            for undo in reversed(self.undo):
                undo()
            self.undo, self.ranges, self.detached = [], ([], []), []
            for net in self.networks.values():
                net.passes, net.last, net.weights, net.gradients = [], None, [], []

    def guard(self, hook: Callable[..., None]) -> Callable[..., None]:
        """The hook, such that an error of the audit ends the audit and not the script."""

        def guarded(*args: Any, **kwargs: Any) -> None:
            if self.active and not self.busy:
                self.busy = True
                try:
                    hook(*args, **kwargs)
                except Exception as error:
                    self.error = f"{type(error).__name__}: {error}"
                    self.stop()
                finally:
                    self.busy = False

        return guarded

    def patch(self, owner: Any, name: str, watcher: Callable[..., Any]) -> None:
        """Replace a function wherever a module has it by one that tells the watcher of its calls.

        watcher: takes the arguments, and may return a function to be told of the result, or of None after an error.
        """
        original = getattr(owner, name)
        told = self.guard(lambda tell, *args: tell(*args))

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if self.busy or not self.active:
                return original(*args, **kwargs)
            found: list[Callable[..., None]] = []
            if args and not isinstance(args[0], torch.Tensor | list | tuple | nn.Module) and name.startswith("clip"):
                args = (list(args[0]), *args[1:])  # an iterator, which can be read once
            self.guard(lambda: found.extend(filter(None, [watcher(*args, **kwargs)])))()
            result = None
            try:
                result = original(*args, **kwargs)
            finally:
                for tell in found:
                    told(tell, result)
            return result

        owners = [owner]
        if not isinstance(owner, type):  # also where it was imported from there
            owners = [m for m in list(sys.modules.values()) if getattr(m, "__dict__", {}).get(name) is original]
        for each in owners:
            setattr(each, name, patched)
            self.undo.append(functools.partial(setattr, each, name, original))

    # -- forward passes ----------------------------------------------------------------------------------------------

    def before_forward(self, module: nn.Module, args: Any) -> None:
        """Remember which node of the graph comes next."""
        if module._parameters and id(module) not in self.modules:
            self.modules[id(module)] = module
            self.sums |= {id(p): float(p.detach().sum()) for p in module._parameters.values() if p is not None}
        if isinstance(module, RNNBase | RNNCellBase):
            self.look_for_changed_weights()
            self.before = sequence_number()

    def after_forward(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Record the pass of a recurrent module."""
        given: list[Any] = [*args, *(kwargs[name] for name in ("input", "hx") if name in kwargs), None, None]
        if self.loop is not None and isinstance(module, RNNBase | RNNCellBase | nn.Linear):
            self.loop.forward(module, *given[:2])
        if not isinstance(module, RNNBase | RNNCellBase):
            return
        net = self.networks.get(id(module))
        if net is None:
            net = Network(len(self.networks) + 1, module, place(), gradient_check.obstacle(module))
            self.networks[id(module)] = net
        x, initial = given[0], tensors(given[1])
        out, last = (None, output) if net.is_cell else output
        outputs = dict(zip("hc", tensors(last)))
        if out is not None:
            outputs["out"] = out.data if isinstance(out, PackedSequence) else out
        self.passes += 1
        each = self.record(net, x, initial, outputs)
        net.counts[each.steps, each.batch, each.graph] += 1
        if net.last is not None:
            net.last.outputs = None
        net.last = each
        if each.graph:
            self.follow(net, each, x, initial, outputs)
        if self.passes - self.passes_before > MAX_PASSES:
            self.error = f"{MAX_PASSES} forward passes without an update"
            self.stop()

    def record(self, net: Network, x: Any, initial: list[torch.Tensor], outputs: dict[str, torch.Tensor]) -> Pass:
        """The record of a pass, and what its initial state says about the loop."""
        (steps, batch), graph = sizes(net, x), any(o.grad_fn is not None for o in outputs.values())
        passes, leaves = self.origins(initial) if graph else ([], [])
        kind, source, step = self.initial_state(net, initial, passes, leaves)
        each = Pass(
            network=net,
            number=self.passes,
            place=place(),
            update=len(net.updates),
            steps=steps,
            batch=batch,
            initial=kind,
            link=max((p for p in passes if p.network is net), key=lambda p: p.number, default=None),
            source=source if graph else None,
            shift=step if source is not None and step < source.steps else 0,
            relayed=any(h.is_leaf and h.requires_grad for h in initial),
            graph=graph,
            drawn=self.data.drawn,
            states=tuple(outputs[name].detach().clone() for name in "hc" if name in outputs),
        )
        if graph and sum(net.initials.values()) < EVIDENCE and not isinstance(x, PackedSequence):
            self.data.forward(net, each, x)
        if each.link is not None:
            dropped = [where for tensor, where in self.detached if any(tensor() is h for h in initial)]
            net.dropped = net.dropped or next(reversed(dropped), None)
            if (each.link.update < each.update or each.link.reached) and len(net.attached) < EVIDENCE:
                net.attached.append(each.place)
        if each.source is not None and each.source.drawn < each.drawn and len(net.shuffled) < EVIDENCE:
            net.shuffled.append(each.place)
        return each

    def origins(self, initial: list[torch.Tensor]) -> tuple[list[Pass], list[torch.Tensor]]:
        """The passes and the leaves with gradients that an initial state is computed from."""
        firsts, passes = self.ranges
        found, leaves, seen = [], [h for h in initial if h.is_leaf and h.requires_grad], set[Any]()
        pending = [h.grad_fn for h in initial if h.grad_fn is not None]
        while pending and len(seen) < 1000:
            node: Any = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            if hasattr(node, "variable"):
                leaves.append(node.variable)
                continue
            number = node._sequence_nr()
            index = bisect_right(firsts, number) - 1
            if index >= 0 and number < firsts[index] + passes[index].nodes:
                found.append(passes[index])
            else:
                pending += [parent for parent, _ in node.next_functions if parent is not None]
        return found, leaves

    def initial_state(
        self, net: Network, initial: list[torch.Tensor], passes: list[Pass], leaves: list[torch.Tensor]
    ) -> tuple[Initial, Pass | None, int]:
        """What an initial state is, and the pass and step whose state it carries."""
        if not passes and any(isinstance(leaf, nn.Parameter) for leaf in leaves):
            return "learned", None, 0
        if not any(bool(h.any()) for h in initial):
            return "zeros", None, 0
        for each in filter(None, (net.last, *reversed(net.passes[-16:]))):
            if len(each.states) == len(initial) and all(same_rows(s, h) for s, h in zip(each.states, initial)):
                return "carried", each, each.steps
        if net.last is not None and net.last.outputs is not None and len(initial) == 1:
            h, outputs = initial[0].detach().reshape(-1, initial[0].shape[-1]), net.last.outputs
            found = [t for t, row in enumerate(outputs) if torch.equal(row, h)]
            if found:
                return "carried", net.last, found[-1] + 1
        return ("computed" if passes or leaves else "constant"), None, 0

    def follow(
        self, net: Network, each: Pass, x: Any, initial: list[torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> None:
        """Follow the gradients of a pass."""
        each.nodes = sequence_number() - self.before
        self.ranges[0].append(self.before)
        self.ranges[1].append(each)
        net.passes.append(each)
        net.initials[each.initial] += 1
        if not isinstance(x, PackedSequence):
            if "out" in outputs and len(net.updates) < EVIDENCE:
                each.outputs = by_time(net, outputs["out"].detach(), each).clone()
            if net.is_due and not net.obstacle:
                arrays = {"x": x, **dict(zip(("h_0",), initial)), **outputs}
                each.arrays = {name: array.detach().clone() for name, array in arrays.items()}
        nodes: dict[Any, dict[int, str]] = {}
        for name, output in outputs.items():
            if output.grad_fn is not None:
                nodes.setdefault(output.grad_fn, {})[output.output_nr] = name
        for node, names in nodes.items():
            node.register_prehook(self.guard(functools.partial(self.reach, net, each, names)))

    def reach(self, net: Network, each: Pass, names: dict[int, str], gradients: Any) -> None:
        """Record the gradients of the outputs of a pass."""
        each.reached, net.was_reached, net.is_reached = self.backwards, True, True
        if self.by_grad:
            each.arrays = None
        for name, gradient in ((name, gradients[index]) for index, name in names.items()):
            if gradient is None:
                continue
            if each.arrays is not None:
                each.dy[name] = each.dy[name] + gradient if name in each.dy else gradient.detach().clone()
            if name == "out" and gradient.dim() == 3 and len(net.updates) < EVIDENCE:
                self.data.output_gradient(net, each, gradient)

    def loss(self, name: str, y: torch.Tensor, target: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Look at the target of the latest pass."""
        self.data.loss(target, self.networks.values())
        return None if self.loop is None else functools.partial(self.loop.loss, name, target)

    # -- gradients ---------------------------------------------------------------------------------------------------

    def detach(self, tensor: torch.Tensor) -> None:
        """Remember a tensor of which the detached result is dropped."""
        if tensor.grad_fn is not None and drops_result(frame := caller()):
            self.detached = [*self.detached[-7:], (weakref.ref(tensor), place(frame))]

    def backward(self, *_: Any, by_grad: bool = False, **__: Any) -> Callable[[Any], None]:
        """Look at the gradients that are there already, and, when the backward pass has run, at what it added."""
        self.backwards, self.by_grad = self.backwards + 1, by_grad
        for net in self.networks.values():
            net.is_reached = False
            if net.last is not None and net.last.codes is not None:
                net.last.is_kept = is_named(net.last.states[0])
            if not net.any_gradient:
                net.pending, net.is_used, net.is_stale, net.has_gradient = 0, False, False, False
                for each in net.passes:
                    each.reached, each.dy = 0, {}
            net.is_stale = net.is_stale or net.is_used
        return self.after_backward

    def after_backward(self, result: Any) -> None:
        """Keep copies of the gradients and of the weights that they belong to."""
        self.backward_failed = self.backward_failed or isinstance(sys.exc_info()[1], RuntimeError)
        for module in self.modules.values() if self.backwards < 5 or self.backwards % 20 == 0 else ():
            for name, p in module._parameters.items():
                if p is not None and p.requires_grad and p.grad is not None:
                    self.with_gradient[id(p)] = f"{name} of nn.{type(module).__name__}({module.extra_repr()})"
        for net in (net for net in self.networks.values() if net.is_reached):
            net.pending, net.backward_place, net.zeroed = net.pending + 1, place(), None
            net.has_gradient = net.any_gradient
            if self.loop is not None:
                self.loop.backward()
            if net.is_due or not net.updates or not net.updates[-1].optimizer:
                net.weights = [p.detach().clone() for p in net.module.parameters(recurse=False)]
            if net.is_due:
                net.gradients = [p.grad.detach().clone() for p in net.parameters if p.grad is not None]

    def zero_grad(self, *_: Any, **__: Any) -> None:
        """Remember where gradients are set to zero after a backward pass."""
        for net in self.networks.values():
            if net.pending and net.any_gradient:
                net.zeroed = place()

    def clip(self, kind: str, parameters: Any, *args: Any, **kwargs: Any) -> None:
        """Remember a call of clip_grad_norm_ or clip_grad_value_: whether it is between backward and step."""
        limit = [*args, *(kwargs[name] for name in ("max_norm", "clip_value") if name in kwargs)][0]
        clipped = {id(p) for p in ([parameters] if isinstance(parameters, torch.Tensor) else parameters)}
        for net in self.networks.values():
            if clipped & {id(p) for p in net.parameters}:
                if net.pending:
                    net.clip = Clip(kind, float(limit), place(), frozenset(clipped))
                elif net.updates and len(net.late_clips) < 8:
                    net.late_clips.append(place())

    def optimized(self, optimizer: Any, *_: Any, **__: Any) -> Callable[[Any], None]:
        """Remember which parameters an optimizer has, when they are added."""
        return lambda _: self.in_optimizer.update(id(p) for group in optimizer.param_groups for p in group["params"])

    def before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Record an update of each network that the optimizer has, unless a closure computes its gradient."""
        self.steps += 1
        self.first_step = place() if self.steps == 1 else self.first_step
        self.optimized(optimizer)(None)
        self.closure = (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
        self.in_step, self.before_update = True, None
        if not self.closure:
            self.updates(optimizer)

    def updates(self, optimizer: torch.optim.Optimizer) -> None:
        """Record an update of each network that the optimizer has."""
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for net in self.networks.values():
            if any(id(p) in own for p in net.parameters):
                self.update(net, optimizer)

    def after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """Check the step, and end the audit after the last update."""
        self.in_step = False
        if self.closure:
            self.updates(optimizer)
        if self.before_update is not None:
            net, before = self.before_update
            net.updates[-1] = net.updates[-1]._replace(step=gradient_check.check_step(optimizer, before))
        if self.loop is not None:
            for net in self.networks.values():
                self.loop.step(optimizer, net.updates[-1].clip if net.updates else None)
        if self.steps >= self.limit:
            self.stop()

    def look_for_changed_weights(self) -> None:
        """Record an update where the script itself has changed the weights since a backward pass."""
        for net in self.networks.values() if not self.in_step else ():
            by_script = not net.updates or not net.updates[-1].optimizer
            if net.pending and net.weights and by_script:
                now = list(net.module.parameters(recurse=False))
                if any(not torch.equal(a, b) for a, b in zip(net.weights, now)):
                    self.closure = False
                    self.update(net, None)
                    self.steps += 1

    def update(self, net: Network, optimizer: torch.optim.Optimizer | None) -> None:
        """Record an update of a network, and forget what no later gradient can reach."""
        if not net.pending and net.optimizer not in (None, optimizer):
            return  # a second optimizer, of other parameters
        net.optimizer = optimizer
        reached = [each for each in net.passes if each.reached]
        due = net.is_due
        if due and isinstance(optimizer, torch.optim.SGD) and not self.closure:
            self.before_update = net, gradient_check.before_sgd(optimizer, net.parameters)
        is_empty = optimizer is not None and net.pending > 0 and net.has_gradient and not net.any_gradient
        if net.clip is None and due and optimizer is not None and not self.closure and not is_empty:
            net.clip = gradient_check.change(net)
        record = Update(
            network=net.number,
            number=len(net.updates) + 1,
            place=net.backward_place if optimizer is None else place(),
            optimizer="" if optimizer is None else type(optimizer).__name__,
            windows=windows(net, reached),
            backward=net.pending,
            is_stale=net.is_stale,
            is_empty=is_empty,
            clip=net.clip,
            unlinked=is_unlinked(net, reached),
            gradient=gradient_check.check_gradient(net, reached) if due and reached else None,
        )
        net.updates.append(record)
        net.is_used = net.is_used or net.any_gradient
        net.pending, net.clip, net.gradients, self.passes_before = 0, None, [], self.passes
        for each in net.passes[:-KEPT]:
            each.link, each.source, each.states, each.arrays, each.dy = None, None, (), None, {}
        net.passes = net.passes[-KEPT:]
        for number, each in enumerate(reversed(net.passes)):
            each.reached, each.dy = 0, {}
            each.arrays = each.arrays if number < 8 else None
            each.codes = None if number else each.codes
        if len(self.ranges[0]) > 2 * MAX_PASSES:
            self.ranges = (self.ranges[0][-MAX_PASSES:], self.ranges[1][-MAX_PASSES:])
