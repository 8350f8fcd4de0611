"""Watching a training loop: hooks of torch where there are some, patches elsewhere, all of them removed at the end."""

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import dataloader

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit import gradient_check
from torch_rnn.loop_audit.data_evidence import DataEvidence
from torch_rnn.loop_audit.loop_trace import LoopTrace
from torch_rnn.loop_audit.places import drops_result, place
from torch_rnn.loop_audit.records import MAX_EVIDENCE, Check, Clip, Copies, Initial, Network, Pass, Update

LOSSES = ("mse_loss", "cross_entropy", "nll_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits")
Hook = Callable[..., None]
MARK = "torch_rnn.loop_audit"  # key of (network, pass) in the metadata of the nodes of the graph that end a pass
MAX_REACHED = 20_000  # passes with a gradient whose arrays are kept until an update
MAX_NODES = 1000  # of the graph that are searched for passes


class Watch:
    """A record of a training loop from `start` to `stop`, which comes by itself after `limit` updates."""

    def __init__(self, limit: int, trace: LoopTrace | None = None):
        self.limit, self.trace = limit, trace
        self.is_active, self.is_busy, self.error, self.undo = False, False, "", ExitStack()
        self.networks: dict[nn.Module, Network] = {}
        self.seen: dict[torch.Tensor, tuple[str, float]] = {}  # names of all parameters, and the sums of their numbers
        self.weights: Copies = {}  # of the parameters, as of the latest backward pass
        self.gradients: Copies = {}
        self.in_optimizer: set[torch.Tensor] = set()
        self.with_gradient: set[torch.Tensor] = set()
        self.passes, self.steps, self.first_step = 0, 0, ""
        self.data = DataEvidence()
        self.detached: list[tuple[Any, str]] = []  # (weak reference to the tensor, place), where the result is dropped
        self.reached: set[Network] = set()  # by the backward pass that runs
        self.by_grad, self.backward_failed = False, False
        self.expected: dict[Network, gradient_check.ExpectedStep] | None = None  # during a step

    # -- hooks and patches -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Install the hooks and the patches."""
        self.is_active = True
        self.patch(nn.Module, "__call__", self.forward)  # hooks of all modules get keywords from torch 2.6 on
        self.undo.callback(register_optimizer_step_pre_hook(self.guard(self.step_begins)).remove)
        self.undo.callback(register_optimizer_step_post_hook(self.guard(self.step_ends)).remove)
        self.patch(torch.autograd, "backward", self.after_backward, self.before_backward)
        self.patch(torch.autograd, "grad", self.after_backward, functools.partial(self.before_backward, by_grad=True))
        self.patch(torch.Tensor, "detach", self.detach)
        self.patch(Optimizer, "add_param_group", self.optimized)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            self.patch(nn.utils, name, functools.partial(self.clip, name.split("_")[2]))
        for name in LOSSES:
            self.patch(nn.functional, name, functools.partial(self.loss, name))
        self.patch(dataloader._BaseDataLoaderIter, "__next__", self.data.draw)

    def stop(self) -> None:
        """Remove the hooks and the patches, and what no report needs."""
        if self.is_active:
            self.guard(self.look_for_changed_weights)()
            self.is_active, self.data = False, DataEvidence()
            self.undo.close()
            for net in self.networks.values():
                net.begin_update()
                net.recent.clear()

    def guard(self, hook: Hook) -> Hook:
        """The hook, such that an error of the audit ends the audit and not the script."""

        def guarded(*args: Any, **kwargs: Any) -> None:
            if self.is_active and not self.is_busy:
                self.is_busy = True
                try:
                    hook(*args, **kwargs)
                except Exception as error:
                    self.error = one_line(f"{type(error).__name__}: {error}")
                    self.stop()
                finally:
                    self.is_busy = False

        return guarded

    def patch(self, owner: Any, name: str, after: Hook, before: Hook = lambda *_, **__: None) -> None:
        """Replace a function wherever a module has it.

        before: gets the arguments; after: gets the result, None if there is an error, and the arguments.
        """
        original, after, before = getattr(owner, name), self.guard(after), self.guard(before)

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if name.startswith("clip"):  # parameters can be an iterator, which can be read once
                args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
                kwargs = {key: list(each) if isinstance(each, Iterator) else each for key, each in kwargs.items()}
            before(*args, **kwargs)
            result = None
            try:
                result = original(*args, **kwargs)
            finally:
                after(result, *args, **kwargs)
            return result

        owners = [owner]
        if not isinstance(owner, type):  # also where it was imported from there
            owners = [m for m in list(sys.modules.values()) if getattr(m, "__dict__", {}).get(name) is original]
        for each in owners:
            setattr(each, name, patched)
            self.undo.callback(setattr, each, name, original)

    # -- forward passes ----------------------------------------------------------------------------------------------

    def forward(self, output: Any, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        """Record the pass of a recurrent module, and follow its gradients."""
        if output is None:  # an error
            return
        for name, p in module._parameters.items():
            if p is not None and p not in self.seen:
                self.seen[p] = f"{name} of nn.{type(module).__name__}({module.extra_repr()})", float(p.detach().sum())
        if isinstance(module, nn.Embedding) and args:
            self.data.tokens = args[0]
        if not isinstance(module, RNNBase | RNNCellBase):
            return
        self.look_for_changed_weights()
        if module not in self.networks:
            self.networks[module] = Network(len(self.networks) + 1, module, place())
        net, given = self.networks[module], dict(zip(("input", "hx"), args)) | kwargs
        out, last = (None, output) if net.is_cell else output
        outputs = dict(zip("hc", tensors(last)))
        if out is not None:
            outputs["out"] = out.data if isinstance(out, PackedSequence) else out
        each = self.record(net, given["input"], tensors(given.get("hx")), outputs)
        for name, tensor in outputs.items():
            if tensor.grad_fn is not None:
                node: Any = tensor.grad_fn
                node.metadata[MARK] = net, each
                node.register_prehook(self.guard(functools.partial(self.reach, net, each, name, tensor.output_nr)))

    def record(self, net: Network, x: Any, initial: list[torch.Tensor], outputs: dict[str, torch.Tensor]) -> Pass:
        """The record of a pass."""
        self.passes += 1
        (steps, batch), has_graph = net.sizes(x), any(o.grad_fn is not None for o in outputs.values())
        arrays = {name: state for name, state in outputs.items() if name in "hc"} | dict(zip(("h_0",), initial))
        if not isinstance(x, PackedSequence):
            sequences = {"x": x} if net.is_cell else {"x": x, "out": outputs["out"]}
            arrays |= {name: net.by_time(sequence, steps, batch) for name, sequence in sequences.items()}
        arrays = {name: array.detach().clone() for name, array in arrays.items()}
        each = Pass(self.passes, place(), len(net.updates), steps, batch, has_graph, self.data.drawn, arrays)
        net.counts[steps, batch, has_graph] += 1
        if has_graph:
            self.follow(net, each, initial)
            if net.initials.total() <= MAX_EVIDENCE and "x" in arrays:
                self.data.forward(net, each, x)
        if net.recent and not net.recent[-1].has_graph:  # of the passes without a gradient, the latest is enough
            net.recent.pop()
        net.recent.append(each)
        return each

    def follow(self, net: Network, each: Pass, initial: list[torch.Tensor]) -> None:
        """Find where the initial state of a pass comes from, and what that says about the loop."""
        passes, leaves = origins(initial)
        link = max((p for owner, p in passes if owner is net), key=lambda p: p.number, default=None)
        each.initial, source, step = initial_state(net, initial, bool(passes), leaves)
        net.initials[each.initial] += 1
        is_passed_on = any(h.is_leaf and h.requires_grad for h in initial)
        parent = link or (source if is_passed_on else None)
        each.parent = None if parent is None else weakref.ref(parent)
        if link is not None:
            each.is_attached = link.update < each.update
            if dropped := [where for tensor, where in self.detached if any(tensor() is h for h in initial)]:
                net.evidence["detach without effect"].append((dropped[-1],))
            if each.is_attached or link in net.reached:
                net.evidence["state attached"].append((each.place,))
        if source is not None:
            each.shift = step if step < source.steps else 0
            is_next_step = each.steps == source.steps == 1 and source.update == each.update and source.has_graph
            each.is_cut = is_next_step and parent is None
            if source.drawn < each.drawn:
                net.evidence["state carried over shuffled batches"].append((each.place,))

    def reach(self, net: Network, each: Pass, name: str, index: int, gradients: Any) -> None:
        """Record the gradient of an output of a pass, one of those of a node of the graph."""
        self.reached.add(net)
        dy, gradient, net.was_reached = net.reached.setdefault(each, {}), gradients[index], True
        if len(net.reached) > MAX_REACHED:
            raise RuntimeError(f"more than {MAX_REACHED} passes have a gradient and no update follows")
        if self.by_grad:
            each.arrays.pop("x", None)  # what torch.autograd.grad returns is not in the gradient that is checked
        if gradient is not None and name == "out" and gradient.dim() == 3:
            gradient = net.by_time(gradient, each.steps, each.batch)
            if len(net.updates) < MAX_EVIDENCE:
                self.data.output_gradient(net, each, gradient)
        if gradient is not None and net.is_due:
            dy[name] = dy[name] + gradient if name in dy else gradient.detach().clone()

    def loss(self, name: str, result: Any, input: torch.Tensor, target: torch.Tensor, *_: Any, **__: Any) -> None:
        """Look at the target of the latest pass."""
        self.data.loss(target)
        if self.trace is not None:
            self.trace.loss(name, target, result)

    # -- gradients ---------------------------------------------------------------------------------------------------

    def detach(self, result: Any, tensor: torch.Tensor) -> None:
        """Remember a tensor of which the detached result is dropped."""
        if tensor.grad_fn is not None and drops_result():
            self.detached = [*self.detached[-7:], (weakref.ref(tensor), place())]

    def before_backward(self, *_: Any, by_grad: bool = False, **__: Any) -> None:
        """Look at the gradients that are there already."""
        self.by_grad, self.reached = by_grad, set()
        self.expected = self.expected and {}  # a closure computes another gradient for the step
        self.data.backward()
        for net in self.networks.values():
            if not net.any_gradient:
                net.begin_update()
            net.is_used = net.is_used and net.any_gradient and not by_grad  # torch.autograd.grad adds to none

    def after_backward(self, *_: Any, **__: Any) -> None:
        """Keep copies of the gradients, and of the weights that they belong to."""
        self.backward_failed = self.backward_failed or isinstance(sys.exc_info()[1], RuntimeError)
        if self.trace or any(net.is_due or net.is_by_script for net in self.networks.values()):
            self.weights = {p: p.detach().clone() for p in self.seen}
            self.gradients = {p: p.grad.detach().clone() for p in self.seen if p.grad is not None}
            self.with_gradient |= self.gradients.keys()
        for net in self.reached:
            net.backwards.append(place())
            net.has_gradient = net.any_gradient

    def clip(self, kind: str, result: Any, parameters: Any, *args: Any, **kwargs: Any) -> None:
        """Remember a call of clip_grad_norm_ or clip_grad_value_: whether it is between backward and step."""
        limit = [*args, *(kwargs[name] for name in ("max_norm", "clip_value") if name in kwargs)][0]
        clipped = {parameters} if isinstance(parameters, torch.Tensor) else set(parameters)
        for net in self.networks.values():
            if not clipped.isdisjoint(net.parameters):
                if net.backwards:
                    net.clip = Clip(kind, float(limit), place(), len(clipped))
                elif net.updates:
                    net.evidence["clipping without effect"].append((place(),))

    # -- updates -----------------------------------------------------------------------------------------------------

    def optimized(self, result: Any, optimizer: Any, *_: Any, **__: Any) -> None:
        """Remember which parameters an optimizer has, when they are added."""
        self.in_optimizer.update(p for group in optimizer.param_groups for p in group["params"])

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        """Compute the parameters after the step by hand, where that is due. A closure forgets them: see backward."""
        self.steps += 1
        self.first_step = self.first_step or place()
        self.optimized(None, optimizer)
        due = (net for net in self.networks.values() if net.is_due)
        self.expected = {net: gradient_check.expected_step(optimizer, net.parameters) for net in due}

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update of each network that the optimizer has, and end the audit after the last update."""
        own, expected = {p for group in optimizer.param_groups for p in group["params"]}, self.expected or {}
        self.expected = None
        for net in self.networks.values():
            is_of_another = not net.backwards and net.optimizer not in (None, optimizer)
            if not own.isdisjoint(net.parameters) and not is_of_another:
                ratio = max((gradient_check.worst(*each) for each in expected.get(net, ())), default=None)
                self.update(net, optimizer, place(), None if ratio is None else Check(ratio))
        if self.steps >= self.limit:
            self.stop()

    def look_for_changed_weights(self) -> None:
        """Record an update where the script itself has changed the weights since a backward pass."""
        for net in self.networks.values() if self.expected is None else ():
            changed = (p not in self.weights or not torch.equal(self.weights[p], p) for p in net.parameters)
            if net.backwards and net.is_by_script and any(changed):
                self.update(net, None, net.backwards[-1], None)
                self.steps += 1

    def update(self, net: Network, optimizer: Optimizer | None, where: str, step: Check | None) -> None:
        """Record an update of a network, and what it says about the loop."""
        number, windows, gradient = len(net.updates) + 1, net.windows(), None
        is_empty = optimizer is not None and net.has_gradient and not net.any_gradient
        if is_empty:
            net.evidence["gradient zeroed before the step"].append((where, number))
        if net.is_used and net.backwards:
            net.evidence["gradients never zeroed"].append((where, number))
        if len(net.backwards) == 1 and any(each.is_cut for each in net.reached):
            net.evidence["detached at every step"].append((windows[-1].place,))
        if net.is_due and net.reached:
            gradient = gradient_check.check_gradient(net, self.weights, self.gradients)
            if optimizer is not None and net.clip is None and not (is_empty or self.by_grad):
                net.clip = gradient_check.clip_by_script(net, self.gradients)
        if self.trace is not None:
            self.trace.step(optimizer, net, self.weights, self.gradients)
        name, clip = "" if optimizer is None else type(optimizer).__name__, net.clip
        net.updates.append(Update(net.number, number, where, name, windows, len(net.backwards), clip, gradient, step))
        net.optimizer, net.is_used = optimizer, net.any_gradient
        net.begin_update()


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of a state: one, a tuple of two, or none."""
    return [] if value is None else [value] if isinstance(value, torch.Tensor) else list(value)


def origins(initial: list[torch.Tensor]) -> tuple[list[tuple[Network, Pass]], list[torch.Tensor]]:
    """The passes and the leaves with gradients that an initial state is computed from."""
    found, leaves, seen = [], [h for h in initial if h.is_leaf and h.requires_grad], set[Any]()
    pending = [h.grad_fn for h in initial if h.grad_fn is not None]
    while pending and len(seen) < MAX_NODES:
        node: Any = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        elif MARK in node.metadata:
            found.append(node.metadata[MARK])
        else:
            pending += [parent for parent, _ in node.next_functions if parent is not None]
    return found, leaves


def initial_state(
    net: Network, initial: list[torch.Tensor], is_linked: bool, leaves: list[torch.Tensor]
) -> tuple[Initial, Pass | None, int]:
    """The kind of an initial state, and the pass and step whose state it carries."""
    if not is_linked and any(isinstance(leaf, nn.Parameter) for leaf in leaves):
        return "learned", None, 0
    if not any(bool(h.any()) for h in initial):
        return "zeros", None, 0
    for each in reversed(net.recent):
        if len(each.states) == len(initial) and all(is_same(s, h) for s, h in zip(each.states, initial)):
            return "carried", each, each.steps
    outputs = net.recent[-1].arrays.get("out", ()) if net.recent and len(initial) == 1 else ()
    h = initial[0].detach().reshape(-1, initial[0].shape[-1])
    if found := [step for step, state in enumerate(outputs, start=1) if torch.equal(state, h)]:
        return "carried", net.recent[-1], found[-1]
    return ("computed" if is_linked or leaves else "constant"), None, 0


def is_same(state: torch.Tensor, initial: torch.Tensor) -> bool:
    """Whether an initial state is a last state bit for bit, or its first sequences."""
    if state.dim() != initial.dim() or state.dtype != initial.dtype:
        return False
    return torch.equal(state[..., : initial.shape[-2], :] if state.dim() > 1 else state, initial.detach())
