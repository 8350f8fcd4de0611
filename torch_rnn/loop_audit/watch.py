"""Watching a training loop: the forward passes of recurrent modules, backward passes, clipping, steps of optimizers."""

import functools
import gc
import sys
import weakref
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.utils.rnn import PackedSequence
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import dataloader

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit import replay
from torch_rnn.loop_audit.data_evidence import DataEvidence, mixing_view
from torch_rnn.loop_audit.loop_trace import LoopTrace
from torch_rnn.loop_audit.loss_evidence import LOSSES, LossEvidence
from torch_rnn.loop_audit.optimizers import Clipping, Parameters
from torch_rnn.loop_audit.origins import (
    MARK,
    MAX_INPUT_NODES,
    Direct,
    KnownStates,
    ancestors,
    initial_kind,
    origin_of,
    tensors,
)  # fmt: skip
from torch_rnn.loop_audit.patches import Patches, ignore
from torch_rnn.loop_audit.places import drops_result, module_names, place
from torch_rnn.loop_audit.records import (
    Check,
    Clip,
    Network,
    Origin,
    Pass,
    Stream,
    Update,
    is_attached,
)

KINDS = (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)
MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)  # differ in training and eval mode
MAX_REACHED = 20_000  # passes with a gradient whose arrays are kept until an update
LEAK = 8  # earlier updates whose graphs are alive


class Watch:
    """A record of a training loop from `start` to `stop`, which comes by itself after `limit` updates."""

    def __init__(self, limit: int, trace: LoopTrace | None = None):
        self.limit, self.trace, self.error = limit, trace, ""
        self.patches = Patches(self.failed)
        self.undo: list[Any] = []
        self.networks: list[Network] = []
        self.names: WeakKeyDictionary[nn.Module, tuple[str, bool]] = WeakKeyDictionary()  # and whether it has modes
        self.by_module: WeakKeyDictionary[nn.Module, Network] = WeakKeyDictionary()
        self.known: dict[Network, KnownStates] = {}  # hidden states
        self.known_cells: dict[Network, KnownStates] = {}  # cell states of nn.LSTM
        self.data, self.losses, self.parameters = DataEvidence(), LossEvidence(), Parameters()
        self.evidence: dict[str, list[tuple[Any, ...]]] = defaultdict(list)  # about no single module
        self.detached: list[tuple[Any, str]] = []  # (weak reference to the tensor, place), where the result is dropped
        self.passes, self.steps, self.backwards, self.is_in_step = 0, 0, 0, False
        self.backwards_before: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # the latest step of an optimizer
        self.backwards_used, self.chain = 0, 0  # before the latest step of any; loss whose gradient is passed on
        self.clippings: list[Clipping] = []
        self.random: torch.Tensor | None = None  # the state before a pass with dropout
        self.direct, self.reached_now, self.by_grad = Direct([]), dict[Pass, None](), False
        self.roots: list[torch.Tensor] = []  # of the backward pass, for the trace
        self.backward_failed = False
        self.after_backward_weights: dict[Network, list[torch.Tensor]] = {}  # where the script itself may change them
        self.expected: dict[Network, replay.ExpectedStep] = {}
        self.first_of_update: dict[Network, list[tuple[int, Any]]] = defaultdict(list)  # (update, weak reference)
        self.unchanged: list[int] = []

    # -- hooks and patches -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Install the hooks and the patches."""
        patch, guard = self.patches.patch, self.patches.guard
        for kind in KINDS:
            patch(kind, "forward", self.forward, self.before_forward)
        self.undo.append(register_optimizer_step_pre_hook(guard(self.step_begins)))
        self.undo.append(register_optimizer_step_post_hook(guard(self.step_ends)))
        patch(torch.autograd, "backward", self.after_backward, self.before_backward)
        patch(torch.autograd, "grad", self.after_backward, functools.partial(self.before_backward, by_grad=True))
        patch(torch.Tensor, "detach", self.detach)
        patch(Optimizer, "add_param_group", self.optimized)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            norm = name.split("_")[2]
            patch(nn.utils, name, functools.partial(self.clip, norm), functools.partial(self.before_clip, norm))
        for name in LOSSES:
            patch(nn.functional, name, functools.partial(self.loss, name))
        for name in ("embedding", "one_hot"):
            patch(nn.functional, name, self.data.look_up)
        patch(dataloader._BaseDataLoaderIter, "__next__", self.data.draw)
        patch(torch.optim.lr_scheduler.LRScheduler, "step", ignore, self.losses.schedule)
        patch(torch.jit, "script", self.scripted, self.before_script, is_lasting=True)

    def failed(self, error: Exception) -> None:
        """End the audit after an error of its own."""
        self.error = one_line(f"{type(error).__name__}: {error}")
        self.stop()

    def stop(self) -> None:
        """Remove the hooks and the patches, and what no report needs."""
        if not self.patches.is_active:
            return
        self.patches.call(self.look_for_changed_weights)
        self.patches.undo()
        for hook in self.undo:
            hook.remove()
        if not self.error:
            self.unchanged = self.parameters.unchanged()
        self.data, self.known, self.known_cells, self.direct = DataEvidence(), {}, {}, Direct([])
        self.after_backward_weights, self.expected, self.reached_now = {}, {}, {}
        self.clippings = []
        for net in self.networks:
            net.begin_update()
            net.weights = None

    def before_script(self, *_: Any, **__: Any) -> None:
        """Restore the functions that torch.jit.script compiles."""
        self.script_context = self.patches.suspended()
        self.script_context.__enter__()

    def scripted(self, result: Any, module: Any = None, *_: Any, **__: Any) -> None:
        """Remember a scripted module, whose passes cannot be seen."""
        self.script_context.__exit__(None, None, None)
        if isinstance(module, nn.Module) and any(isinstance(m, RNNBase | RNNCellBase) for m in module.modules()):
            self.evidence["scripted"].append((place(), type(module).__name__))

    # -- forward passes ----------------------------------------------------------------------------------------------

    def before_forward(self, module: Any, *_: Any, **__: Any) -> None:
        """Keep the state of the random numbers for a pass with dropout."""
        uses_random = module.training and getattr(module, "dropout", 0) and module.num_layers > 1
        net = self.by_module.get(module) if uses_random else None
        self.random = torch.get_rng_state() if uses_random and (net is None or net.is_due) else None

    def network(self, module: nn.Module) -> Network:
        """The record of a module."""
        if module not in self.by_module:
            if module not in self.names:
                modes = dict[nn.Module, bool]()  # by the module of a variable
                for each, name, root in module_names():
                    if root not in modes:
                        modes[root] = any(isinstance(m, MODES) for m in root.modules())
                    self.names.setdefault(each, (name, modes[root]))
            name, has_modes = self.names.get(module, ("", False))
            taken = [net.name for net in self.networks].count(name)
            net = Network(len(self.networks) + 1, module, f"{name} ({taken + 1})" if taken and name else name, place())
            net.has_modes = has_modes or bool(getattr(module, "dropout", 0))
            self.by_module[module] = net
            self.networks.append(net)
            self.known[net], self.known_cells[net] = KnownStates(), KnownStates()
        return self.by_module[module]

    def forward(self, output: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        """Record the pass of a recurrent module, and follow its gradients."""
        if output is None:  # an error
            return
        net, given = self.network(module), dict(zip(("input", "hx"), args)) | kwargs
        if net in self.after_backward_weights:
            self.look_for_changed_weights()
        out, last = (None, output) if net.is_cell else output
        outputs = dict(zip("hc", tensors(last)))
        if out is not None:
            outputs["out"] = out.data if isinstance(out, PackedSequence) else out
        x, states = given["input"], tensors(given.get("hx"))
        nodes = [(name, tensor) for name, tensor in outputs.items() if tensor.grad_fn is not None]
        self.passes += 1
        where, (steps, batch) = place(), net.sizes(x)
        net.counts[steps, batch, bool(nodes)] += 1
        data = self.data.place(net, x, steps, batch)
        if isinstance(x, torch.Tensor) and (mixed := mixing_view(x)):
            net.evidence["view"].append((where, *mixed))
        origin = Origin(
            self.passes, where, len(net.updates), steps, batch, bool(nodes), module.training, Stream(), 0, data, None
        )
        each = None
        if nodes:
            origin, each = self.record(net, module, origin, x, states)
            if net.compares_data and isinstance(x, torch.Tensor):
                self.data.forward(net, x, outputs["h"], each.initial, where)
            else:
                self.data.latest.pop(net, None)
        elif states and (found := self.known[net].find(states[0])):
            origin = origin._replace(stream=found[0].stream, start=found[0].start + found[1])
        self.data.tokens = None
        is_state = out is not None and bool(nodes) and not isinstance(module, nn.LSTM) and module.num_layers == 1
        is_state = is_state and not module.bidirectional and isinstance(x, torch.Tensor) and x.dim() == 3
        rows = outputs["out"].transpose(0, int(net.batch_first)) if is_state else None
        self.known[net].add(origin, outputs["h"], rows)
        if net.is_lstm:
            self.known_cells[net].add(origin, outputs["c"], None)
        for name, tensor in nodes:
            node: Any = tensor.grad_fn
            if each is not None:
                node.metadata.setdefault(MARK, {})[tensor.output_nr] = each, name
                node.register_prehook(self.patches.guard(functools.partial(self.reach, each, name, tensor.output_nr)))

    def record(
        self, net: Network, module: Any, origin: Origin, x: Any, states: list[torch.Tensor]
    ) -> tuple[Origin, Pass]:
        """The record of a pass with a gradient."""
        source = x.data if isinstance(x, PackedSequence) else x
        fed, inputs = ancestors([source], MAX_INPUT_NODES) if source.requires_grad else ([], [])
        former = last_pass(net, origin, states)
        passes, leaves = ([former], []) if former is not None else ancestors(states)
        found = self.known[net].find(states[0]) if states and former is None else None
        if (
            former is None
            and found is None
            and net.is_lstm
            and len(states) == 2
            and (found := self.known_cells[net].find(states[0]))
        ):
            net.evidence["state exchanged"].append((origin.place,))
        initial, kind = "carried" if former else initial_kind(found, states, bool(passes), leaves), ""
        if former is not None:
            origin, kind = origin._replace(stream=former.stream, start=former.start + former.steps), "before"
        elif initial == "carried" and found is not None:
            if found[0].has_graph:
                origin = origin._replace(stream=found[0].stream, start=found[0].start + found[1])
            kind = origin_of(net, self.known[net], found, origin.batch, origin)
            if found[0].update < origin.update or not found[0].has_graph:
                self.carried(net, found[0], kind, origin)
        elif initial in ("zeros", "learned"):
            if origin.data.identity is not None:
                origin = origin._replace(stream=net.streams.setdefault(origin.data.identity, origin.stream))
            origin.stream.begin = len(net.updates), origin.data.identity
        parents = [p for p in dict.fromkeys((*passes, *fed)) if p.net is net]
        leaf = next((h for h in states if h.is_leaf and h.requires_grad and not isinstance(h, nn.Parameter)), None)
        if leaf is not None and found is not None and (given := found[0].source()) is not None:
            parents.append(given)
        lengths = (origin.steps,) * 2
        if isinstance(x, PackedSequence):
            lengths = (int((x.batch_sizes == x.batch_sizes[0]).sum()), origin.steps)
        net.initials[initial] += 1
        each = Pass(
            net, origin.number, origin.place, origin.update, origin.steps, origin.batch, lengths,
            x.batch_sizes if isinstance(x, PackedSequence) else None, module.training, True,
            initial, kind, origin.stream, origin.start, tuple(map(ref, parents)),
            tuple(p for p in (*passes, *fed) if p.net is not net), None if leaf is None else ref(leaf),
            any(v is source for v in inputs) or (source.is_leaf and source.requires_grad),
            replay.recorded(net, module, x, states, self.random) if net.is_due or self.trace else None,
        )  # fmt: skip
        self.parameters.later.update(leaf for leaf in (*leaves, *inputs) if isinstance(leaf, nn.Parameter))
        if any(p.net is net for p in passes):
            self.attached(net, each, states, [p for p in passes if p.net is net][-1])
        refs = self.first_of_update[net]
        if not refs or refs[-1][0] != each.update:
            refs.append((each.update, ref(each)))
        is_cut = not parents and origin.steps == 1 and found is not None and found[0].has_graph and found[0].steps == 1
        if is_cut and found is not None and found[0].update == each.update:
            net.cut.add(each.number)
        return origin._replace(source=ref(each)), each

    def carried(self, net: Network, source: Origin, kind: str, origin: Origin) -> None:
        """Remember what the origin of a state says about the loop."""
        net.origins[kind] += 1
        if kind == "no gradient":
            kind = "no gradient, eval" if not source.is_training else kind
        net.evidence[f"state: {kind}"].append((origin.place, source.batch, origin.batch))

    def attached(self, net: Network, each: Pass, states: list[torch.Tensor], parent: Pass) -> None:
        """Remember that the initial state of a pass has a graph."""
        if dropped := [where for tensor, where in self.detached if any(tensor() is h for h in states)]:
            net.evidence["detach without effect"].append((dropped[-1],))
        if parent.update < each.update or parent in net.extent:
            kind = "attached in an update" if parent.update == each.update else "state attached"
            net.evidence[kind].append((each.place,))

    # -- gradients ---------------------------------------------------------------------------------------------------

    def detach(self, result: Any, tensor: torch.Tensor) -> None:
        """Remember a tensor of which the detached result is dropped."""
        if tensor.grad_fn is not None and drops_result():
            self.detached = [*self.detached[-7:], (weakref.ref(tensor), place())]

    def loss(self, name: str, result: Any, input: Any = None, target: Any = None, *_: Any, **__: Any) -> None:
        """Look at the arguments of a loss, and at the target of the latest pass."""
        if isinstance(result, torch.Tensor) and isinstance(target, torch.Tensor):
            self.losses.loss(name, result, input, target)
            if result.requires_grad:
                self.data.loss(target, place())
            if self.trace is not None:
                self.trace.loss(name, target, result)

    def before_backward(
        self, roots: Any = (), given: Any = None, *_: Any, by_grad: bool = False, **kwargs: Any
    ) -> None:
        """Look at what is differentiated, and at the gradients that are there already."""
        roots = kwargs.get("tensors", kwargs.get("outputs", roots))
        roots = [roots] if isinstance(roots, torch.Tensor) else list(roots)
        self.direct, self.roots = Direct(roots), roots if self.trace is not None else []
        if kwargs.get("grad_tensors", given) is not None and not by_grad:  # the script may pass a gradient on by itself
            marks = [getattr(root.grad_fn, "metadata", {}).get(MARK, {}).get(root.output_nr) for root in roots]
            passed = {m for m in marks if m and any(p.leaf_state is not None for p in m[0].net.extent)}
            self.direct.outputs -= passed
            self.chain -= bool(passed)
        self.chain += 1
        self.by_grad, self.reached_now = by_grad, {}
        self.losses.reached |= self.direct.losses
        self.parameters.reached(p for p in self.direct.leaves if isinstance(p, nn.Parameter))
        self.data.backward()
        self.losses.broadcast(roots[0] if len(roots) == 1 else None)
        self.expected = {}  # a closure computes another gradient for the step
        for net in self.networks:
            if by_grad or not (net.is_due or net.reached):
                continue
            grads = {name: p.grad for name, p in net.parameters.items() if p.grad is not None}
            if net.reached and not any(bool(g.any()) for g in grads.values()):
                if not self.is_in_step and not any(each.takes_gradient for each in net.reached):
                    net.dropped += 1
                net.clear_gradient()
            if net.is_due and not net.reached:
                net.earlier = {name: g.detach().clone() for name, g in grads.items() if bool(g.any())}

    def reach(self, each: Pass, name: str, index: int, gradients: Any) -> None:
        """Record the gradient of an output of a pass, one of those of a node of the graph."""
        net, gradient = each.net, gradients[index]
        if each not in self.reached_now:
            self.reached_now[each] = None
            net.chains.setdefault(self.chain, []).append(each)
        dy = net.reached.setdefault(each, {})
        net.was_reached = True
        if len(net.reached) > MAX_REACHED:
            raise RuntimeError(f"more than {MAX_REACHED} passes have a gradient and no update follows")
        if gradient is None:
            return
        if each.inputs is not None:
            dy[name] = dy[name] + gradient if name in dy else gradient.detach().clone()
        extent, is_direct = net.extent.get(each, 0), (each, name) in self.direct.outputs
        net.is_in_loss = net.is_in_loss or is_direct
        if name == "out":
            rows = net.rows(each, gradient)
            if rows == {each.steps - 1} and each.steps > 1 and (net.is_bidirectional or each.lengths[0] < each.steps):
                net.evidence["last output"].append((each.place, net.is_bidirectional))
            net.out_rows[each] = rows
            extent = max(extent, each.steps if rows and net.is_bidirectional else max(rows, default=-1) + 1)
            if is_direct:
                net.loss_rows.setdefault(each, set()).update(rows)
                if gradient.dim() == 3 and net.compares_data:
                    self.data.output_gradient(net, net.by_time(gradient, each.steps, each.batch))
        elif extent < each.steps and bool(gradient.any()):
            extent = each.steps
        if is_direct and name != "out" and extent == each.steps:
            net.loss_rows.setdefault(each, set()).add(each.steps - 1)
        net.extent[each] = extent

    def after_backward(self, *_: Any, **__: Any) -> None:
        """Keep copies of the gradients, and compare the weights and inputs with those of the forward pass."""
        self.backward_failed = self.backward_failed or isinstance(sys.exc_info()[1], RuntimeError)
        self.backwards += 1
        for each in sorted(self.reached_now, key=lambda each: -each.number):
            if each.net.loss_rows.get(each):  # what it is computed from enters the loss through it
                for fed in each.feeds:
                    if fed.net.extent.get(fed):
                        rows = fed.net.out_rows.get(fed) or {fed.steps - 1}
                        fed.net.loss_rows.setdefault(fed, set()).update(rows)
        where = place()
        for net in dict.fromkeys(each.net for each in self.reached_now):
            net.backwards.append(where)
            net.by_grad = net.by_grad or self.by_grad
            named = net.parameters
            self.parameters.add(named.values())
            if net.is_due or len(net.updates) == 0:
                self.parameters.reached(p for p in named.values() if p.grad is not None and bool(p.grad.any()))
            if net.is_due or self.trace:
                net.gradients = {name: p.grad.detach().clone() for name, p in named.items() if p.grad is not None}
                net.in_loss |= self.direct.leaves & set(named.values())
                self.look_for_changes(net, where)
            if net.is_by_script:
                self.after_backward_weights[net] = [p.detach().clone() for p in named.values()]
        if self.trace is not None and self.reached_now:
            own = {p for net in self.networks for p in net.parameters.values()}
            self.trace.backward(self.roots, self.direct.leaves | own)
        self.parameters.reached(self.parameters.later)
        self.parameters.later = set()
        self.reached_now, self.roots = {}, []

    def look_for_changes(self, net: Network, where: str) -> None:
        """See whether the weights or inputs of the reached passes have changed since."""
        module, seen = net.module, set[int]()
        for each in self.reached_now:
            if each.net is not net or (i := each.inputs) is None:
                continue
            if differ(i.live, i.x):
                net.evidence["input changed"].append((where, "the input", each.place))
            if id(i.weights) not in seen and each.update == len(net.updates):
                seen.add(id(i.weights))
                for name, now, before in zip(replay.weight_names(module), replay.weights_of(module), i.weights):
                    if differ(now, before):
                        net.evidence["input changed"].append((where, name, each.place))

    def before_clip(self, kind: str, parameters: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the largest gradient before clipping by value."""
        own = [parameters] if isinstance(parameters, torch.Tensor) else parameters
        sizes = [float(p.grad.abs().max()) for p in own if p.grad is not None] if kind == "value" else []
        self.largest = max(sizes, default=0.0)

    def clip(self, kind: str, result: Any, parameters: Any, *args: Any, **kwargs: Any) -> None:
        """Remember a call of clip_grad_norm_ or clip_grad_value_, if it is between backward and step."""
        limit = float([*args, *(kwargs[name] for name in ("max_norm", "clip_value") if name in kwargs)][0])
        own = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
        acts = float(result) > limit if kind == "norm" and result is not None else self.largest > limit
        if self.backwards > self.backwards_used:
            self.clippings = [*self.clippings[-99:], Clipping(Clip(kind, limit, place(), len(own), 0, acts), own)]
        else:
            self.evidence["clipping without effect"].append((place(),))

    # -- updates -----------------------------------------------------------------------------------------------------

    def optimized(self, result: Any, optimizer: Any, *_: Any, **__: Any) -> None:
        """Remember which parameters an optimizer has, when they are added."""
        self.parameters.held(optimizer)

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        """Replay the gradient and the step, where that is due. A closure forgets them: see backward."""
        self.is_in_step = True
        own = {id(p) for p in self.parameters.held(optimizer)}
        for net in self.networks:
            trained = [p for p in net.parameters.values() if id(p) in own and p.grad is not None]
            looked_at = trained if net.is_still else sorted(trained, key=lambda p: p.numel())[:1]
            net.before_step = [(p, p.detach().clone()) for p in looked_at]
        due = [net for net in self.networks if net.is_due and any(id(p) in own for p in net.parameters.values())]
        self.expected = {
            net: replay.expected_step(optimizer, list(net.parameters.values())) for net in due if net.reached
        }

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update of each network that the optimizer has, and end the audit after the last update."""
        self.is_in_step = False
        self.steps += 1
        where, own = place(), self.parameters.held(optimizer)
        rates, ids = self.parameters.step(optimizer, own, self.steps, where), {id(p) for p in own}
        self.losses.update(self.steps)
        mine = [each for each in self.clippings if not each.parameters or any(id(p) in ids for p in each.parameters)]
        for net in self.networks:
            others = not net.backwards and net.optimizer is not None and net.optimizer() is not optimizer
            if any(id(p) in ids for p in net.parameters.values()) and not others:
                expected = self.expected.get(net)
                was_still, before = net.is_still, net.before_step
                net.is_still = bool(before) and all(torch.equal(p, old) and bool(p.grad.any()) for p, old in before)
                first = before[0][0] if before else None
                rate = sum(float(g["lr"]) for g in optimizer.param_groups if any(p is first for p in g["params"]))
                if rate and was_still and net.is_still:
                    net.evidence["step without effect"].append((where, len(net.updates) + 1, rate))
                step = None if expected is None else replay.check_step(expected, net.parameters)
                if step is None and net.is_due and net.reached:
                    step = Check(None, reason="a closure computes the gradient within the step")
                self.update(net, optimizer, where, rates, mine, step)
        self.clippings = [each for each in self.clippings if each not in mine]
        self.backwards_before[optimizer] = self.backwards_used = self.backwards
        self.expected = {}
        if self.steps >= self.limit:
            self.stop()

    def look_for_changed_weights(self) -> None:
        """Record an update of the networks whose weights the script itself has changed since a backward pass."""
        found = list[Network]()
        for net, before in list(self.after_backward_weights.items()) if not self.is_in_step else ():
            now = list(net.parameters.values())
            if not net.is_by_script or not net.backwards:
                del self.after_backward_weights[net]
            elif len(now) != len(before) or not all(torch.equal(a, b) for a, b in zip(before, now)):
                found.append(net)
        for net in found:
            self.update(net, None, net.backwards[-1], (), self.clippings, None)
        if found:
            self.steps, self.backwards_used, self.clippings = self.steps + 1, self.backwards, []
            self.losses.update(self.steps)

    def update(
        self,
        net: Network,
        optimizer: Any,
        where: str,
        rates: tuple[float, ...],
        clippings: list[Clipping],
        step: Check | None,
    ) -> None:
        """Record an update of a network, and what it says about the loop."""
        number, named = len(net.updates) + 1, net.parameters
        own = {id(p) for p in named.values()}
        clips = [c.clip._replace(own=sum(id(p) in own for p in c.parameters)) for c in clippings]
        gradient = None
        if net.is_due and net.reached and net.module is not None:
            gradient = replay.check_gradient(net, net.in_loss)
            self.look_at_gradients(net, optimizer, where, clips)
        if self.trace is not None:
            self.trace.step(optimizer, net, clippings)
        passes = [each for each in net.extent if each.update == len(net.updates)] or list(net.extent)
        if len(net.backwards) == 1 and any(each.number in net.cut for each in passes):
            net.evidence["detached at every step"].append((passes[-1].place,))
        streams = dict.fromkeys(each.stream for each in passes)
        net.resets += [(number, stream.begin[1]) for stream in streams if stream.begin[0] == number - 1]
        windows, (new_steps, losses) = net.windows(), net.count_steps()
        backward = len(net.backwards) or self.backwards - self.backwards_before.get(optimizer, 0)
        if clips and not any(clip.own for clip in clips) and net.backwards and named:
            wrong = [clip for clip in clips if clip.limit < float("inf")]
            net.evidence["clipping of others"] += [(clip.place, clip.parameters) for clip in wrong[:1]]
        name = "" if optimizer is None else type(optimizer).__name__
        net.updates.append(Update(
            net.name, number, where, name, rates, windows, new_steps, losses, backward,
            all(each.is_training for each in passes), tuple(clips), gradient, step,
        ))  # fmt: skip
        net.optimizer = None if optimizer is None else ref(optimizer)
        self.after_backward_weights.pop(net, None)
        net.begin_update()
        net.cut.clear()
        if number % (LEAK + 2) == 0:
            self.look_for_graphs(net, where)

    def look_at_gradients(self, net: Network, optimizer: Any, where: str, clips: list[Clip]) -> None:
        """Compare the gradient that an update uses with that of the backward pass."""
        number, now = len(net.updates) + 1, {name: p.grad for name, p in net.parameters.items()}
        had = any(bool(g.any()) for g in net.gradients.values())
        is_empty = optimizer is not None and had and not any(g is not None and bool(g.any()) for g in now.values())
        if is_empty and not net.by_grad:
            net.evidence["gradient zeroed before the step"].append((where, number))
        if net.earlier and net.updates:
            net.evidence["gradients never zeroed"].append((where, number))
        changed = [
            n for n, g in now.items() if g is not None and n in net.gradients and not torch.equal(g, net.gradients[n])
        ]
        if changed and not (clips or is_empty or net.by_grad) and optimizer is not None:
            limit = max(float(g.abs().max()) for g in now.values() if g is not None)
            clips.append(Clip("script", limit, "", len(changed), len(changed), True))

    def look_for_graphs(self, net: Network, where: str) -> None:
        """See whether the graphs of earlier updates are still alive."""
        refs, now = self.first_of_update[net], len(net.updates) - 1
        if sum(update < now and each() is not None for update, each in refs) >= LEAK:
            gc.collect()
            alive = [each() for update, each in refs if update < now and each() is not None]
            if len(alive) >= LEAK and not any(is_attached(each) for each in alive if each is not None):
                net.evidence["graphs kept"].append((where, len(alive), self.losses.sum_name()))
        self.first_of_update[net] = refs[-2 * LEAK :]


def last_pass(net: Network, origin: Origin, states: list[torch.Tensor]) -> Pass | None:
    """The pass of this update whose last state, as it is with its graph, is an initial state."""
    node: Any = states[0].grad_fn if states else None
    mark = {} if node is None else node.metadata.get(MARK, {})
    if not mark or states[0].output_nr not in mark:
        return None
    former: Pass = mark[states[0].output_nr][0]
    is_state = mark[states[0].output_nr][1] == "h"
    return former if is_state and former.net is net and former.update == origin.update else None


def differ(now: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether numbers have changed that were finite."""
    a, b = now.detach().reshape(-1), before.reshape(-1)
    return not torch.equal(a, b) and bool(b.isfinite().all())
