"""The recorder of updates: backward passes, gradients from there to a step, clipping, and steps."""

import gc
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.utils.data import RandomSampler, default_collate

from torch_rnn.loop_audit.forward_recorder import Graph
from torch_rnn.loop_audit.loss_recorder import LossRecorder
from torch_rnn.loop_audit.records import (
    Backward,
    Clip,
    Evidence,
    Pass,
    RecurrentModule,
    Update,
    place,
)

MAX_BACKWARDS, MIN_KEPT = 1000, 8  # remembered; earlier losses whose graphs are alive
LOOKED_AT = {0, 1, 2, 5, 10, *(20 * 2**n for n in range(12))}  # updates before a look at the graph


class Sentinel:
    """An object that lives as long as the graph of a loss."""


class OptimizerRecord:
    """An optimizer, and the backward passes whose gradients its parameters have."""

    def __init__(self, number: int, optimizer: Any):
        self.number, self.kind, self.optimizer = number, type(optimizer).__name__, ref(optimizer)
        groups = optimizer.param_groups
        self.held = frozenset(id(p) for p in held_by(optimizer))
        self.scheduled = [bool(group.get("initial_lr")) for group in groups]
        self.options = {n: groups[0].get(n) for n in ("momentum", "weight_decay", "betas")}
        self.steps = self.trainable = 0
        self.cleared = self.used = 0  # backward passes before its gradients were cleared or used
        self.dropped, self.drops = 0, list[int]()  # cleared unused: now, and by update
        # A parameter after the latest backward pass or step, its copy, and the id of its gradient
        self.probe: tuple[Any, torch.Tensor, int] | None = None

    def look(self, p: torch.Tensor) -> None:
        """Copy a parameter."""
        self.probe = ref(p), p.detach().clone(), id(p.grad)

    def is_moved(self) -> bool:
        """Whether the parameter is not what it was."""
        p = self.probe[0]() if self.probe else None
        return p is not None and not torch.equal(p.detach(), self.probe[1])


def bits(p: torch.Tensor) -> int:
    """A number that changes with any bit of a tensor."""
    return hash(p.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def held_by(optimizer: Any) -> list[torch.Tensor]:
    """The parameters that an optimizer trains; none without one."""
    groups = getattr(optimizer, "param_groups", ())
    return [p for group in groups for p in group["params"] if p.requires_grad]


def norms(parameters: Iterable[torch.Tensor], order: float = 2.0) -> list[float]:
    """The norms of the gradients."""
    grads = [p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse]
    return [float(norm) for norm in torch._foreach_norm(grads, order)] if grads else []


class UpdateRecorder:
    """The updates of all optimizers."""

    def __init__(self, guard: Callable[..., Any], in_eval: Callable[[set[int]], bool]) -> None:
        self.guard, self.in_eval = guard, in_eval
        self.evidence: Evidence = defaultdict(list)  # about no single module
        self.losses = LossRecorder(self.evidence)
        self.modules, self.updates = list[RecurrentModule](), list[Update]()
        self.parameters = dict[int, tuple[Any, str, int]]()  # weak reference, name, first bits
        self.with_gradient, self.unchanged = set[int](), set[int]()  # ids of parameters
        self.optimizers = list[OptimizerRecord]()
        self.unseen = dict[str, str]()  # what cannot be followed, and where
        self.backward_count, self.backwards = 0, list[Backward]()
        self.current: tuple[Graph, Backward] | None = None  # during a backward pass
        self.failed: Backward | None = None  # the latest backward pass, if it raised an error
        self.steps_begun = list[int]()  # updates before each step that has begun
        self.clips, self.largest = list[Clip](), 0.0
        self.sentinels = list[tuple[int, Any]]()  # updates before it, and a weak reference
        # Batches of a DataLoader: numbers of the iterators, the latest, and the latest batch
        self.iterators: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self.epoch = self.epochs = self.shuffled_draws = 0
        self.batch = dict[int, torch.Size]()  # of a shuffling loader that stacks, by memory

    def register(self, p: torch.Tensor, name: str = "") -> None:
        """Remember a parameter."""
        if id(p) not in self.parameters or self.parameters[id(p)][0]() is not p:
            name = name or f"a parameter of shape {tuple(p.shape)}"
            self.parameters[id(p)] = ref(p), name, bits(p)

    def draw(self, batch: Any, iterator: Any) -> None:
        """Record a batch of a DataLoader; None at the end."""
        if batch is None:
            return
        self.epochs += iterator not in self.iterators
        self.epoch = self.iterators.setdefault(iterator, self.epochs)
        sampler = getattr(iterator._index_sampler, "sampler", None)
        is_shuffled = isinstance(sampler, RandomSampler)
        self.shuffled_draws += is_shuffled
        parts = batch.values() if isinstance(batch, dict) else batch
        is_stacked = is_shuffled and iterator._collate_fn is default_collate
        tensors = [part for part in parts if isinstance(part, torch.Tensor)] if is_stacked else []
        self.batch = {part.data_ptr(): part.shape for part in tensors}

    def before_backward(
        self, roots: Any = (), *_: Any, tensors: Any = None, inputs: Any = None, **__: Any
    ) -> None:
        """Walk the graph from the roots."""
        roots = roots if tensors is None else tensors
        roots = [roots] if isinstance(roots, torch.Tensor) else list(roots)
        for record in self.optimizers:  # the script may have zeroed gradients by itself
            held = held_by(record.optimizer())
            if self.fresh(record, used=True) and held and not any(norms(held)):
                self.clear(record)
        graph, where, steps = Graph(roots), place(), len(self.updates)
        leaves = frozenset(key for key, p in graph.leaves.items() if isinstance(p, nn.Parameter))
        if inputs is not None:
            leaves &= set(map(id, [inputs] if isinstance(inputs, torch.Tensor) else inputs))
        self.backward_count += 1
        reached = dict.fromkeys(graph.passes, (0, 0))
        backward = Backward(self.backward_count, where, steps, graph.losses, leaves, reached)
        self.current, self.failed = (graph, backward), backward
        self.losses.reached |= {call.number for call in graph.losses}
        if steps in LOOKED_AT:
            self.losses.look_at_graph(graph, where)
        for each in graph.passes:
            each.was_reached = True
        for root in roots:
            if root.grad_fn is not None:
                sentinel = root.grad_fn.metadata["torch_rnn.sentinel"] = Sentinel()
                self.sentinels.append((steps, ref(sentinel)))

    def gradient_of_output(self, each: Pass, index: int, gradients: Any) -> None:
        """Record the steps whose output gets a gradient."""
        if (gradient := gradients[index]) is None:
            return
        net, used, axis = each.module, gradient.any(-1), 0 if each.module.batch_first else 1
        by_time = used
        if each.batch_sizes is not None:
            parts = torch.split(used, each.batch_sizes.tolist())
            by_time = torch.stack([part.any() for part in parts])
        elif used.dim() == 2:
            by_time = used.any(axis)
            if each.batch > 1 and int(by_time.sum()) > 1 and int(used.any(1 - axis).sum()) == 1:
                reason = "the loss uses the outputs of one sequence"
                net.evidence["time and batch"].append((each.place, reason, *used.shape))
        each.rows = set(by_time.nonzero().flatten().tolist())
        if each.rows == {each.steps - 1} and each.steps > 1:
            kind = "reverse output" if net.is_bidirectional else "padded output"
            found = [(each.place,)] if net.is_bidirectional or each.is_padded else []
            net.evidence[kind] += found

    def after_backward(self, *_: Any, **__: Any) -> None:
        """Record what the gradient reached, and compare copies with what it was computed from."""
        if self.current is None:
            return
        (graph, backward), self.current = self.current, None
        self.failed = None if sys.exc_info()[1] is None else self.failed
        for each in graph.passes:
            out, *last = (graph.outputs.get((each, name)) for name in ("out", "h", "c"))
            rows, each.rows = each.rows if out is not None else set(), set()
            is_whole = last != [None, None] or (bool(rows) and each.module.is_bidirectional)
            extent = each.steps if is_whole else max(rows, default=-1) + 1
            with_loss = (rows if out else set()) | ({each.steps - 1} if any(last) else set())
            each.module.is_in_loss |= bool(with_loss)
            backward.reached[each], each.tokens = (extent, len(with_loss)), None
        self.backwards = [*self.backwards[-MAX_BACKWARDS:], backward]
        self.with_gradient |= backward.leaves
        for record in self.optimizers:
            if common := record.held & backward.leaves:
                record.look(min((graph.leaves[key] for key in common), key=torch.numel))
        self.compare_copies(backward)

    def compare_copies(self, backward: Backward) -> None:
        """See whether inputs, states or weights have changed between forward and backward."""
        given = [(each, *copy) for each in backward.reached for copy in each.copies]
        for net, each in {each.module: each for each in backward.reached if each.copies}.items():
            if net.weights[0] == (net.updates, backward.number - 1):
                weights, copies = net.parameters, net.weights[1]
                given += [(each, name, weights[name].detach(), copies[name])
                          for name in weights.keys() & copies.keys()]  # fmt: skip
        for each, name, tensor, copy in given:
            if not torch.equal(tensor, copy) and bool(copy.isfinite().all()):
                each.module.evidence["changed"].append((backward.place, name, each.place))
            each.copies = []

    def fresh(self, record: OptimizerRecord, used: bool = False) -> list[Backward]:
        """The backward passes whose gradients an optimizer has and has not used, or has."""
        first = record.cleared if used else max(record.cleared, record.used)
        found = [each for each in self.backwards if each.number > first]
        return [each for each in found if not record.held.isdisjoint(each.leaves)]

    def clear(self, record: OptimizerRecord) -> None:
        """Note that the gradients of an optimizer are zeroed."""
        # SAM moves the weights by a gradient before it is zeroed
        if not self.steps_begun and not record.is_moved():
            record.dropped += len(self.fresh(record))
        record.cleared = self.backward_count

    def before_zero_grad(self, owner: Any, *_: Any, **__: Any) -> None:
        """Note that the gradients of a module or an optimizer are zeroed."""
        is_module = isinstance(owner, nn.Module)
        parameters = list(owner.parameters()) if is_module else held_by(owner)
        if not is_module:
            self.record_of(owner)
        for record in self.optimizers:
            if not record.held.isdisjoint(map(id, parameters)):
                self.clear(record)

    def before_clip(self, parameters: Any, *_: Any, **__: Any) -> None:
        """Find the largest gradient before it is clipped."""
        self.largest = max(norms(parameters, math.inf), default=0.0)

    def after_clip(
        self, kind: str, norm: Any, parameters: Any, limit: Any = None, *_: Any, **options: Any
    ) -> None:
        """Record a call of clip_grad_norm_ or clip_grad_value_."""
        limit = float(options.get("max_norm", options.get("clip_value", limit)))
        acts = bool(norm > limit) if kind == "norm" else self.largest > limit
        clip = Clip(kind, limit, place(), acts, frozenset(map(id, parameters)))
        records = [r for r in self.optimizers if not clip.parameters.isdisjoint(r.held)]
        unknown = [b for b in self.backwards if not clip.parameters.isdisjoint(b.leaves)]
        if any(self.fresh(record) for record in records) or (unknown and not records):
            self.clips += [clip] if math.isfinite(limit) else []
        elif clip.parameters:
            self.evidence["clip without effect"].append((clip.place,))

    def record_of(self, optimizer: Any) -> OptimizerRecord:
        """The record of an optimizer."""
        for record in self.optimizers:
            if record.optimizer() is optimizer:
                return record
        record = OptimizerRecord(len(self.optimizers) + 1, optimizer)
        for p in held_by(optimizer):
            self.register(p)
        same = [
            old for old in self.optimizers if (old.held, old.kind) == (record.held, record.kind)
        ]
        is_stateful = record.options["momentum"] or record.options["betas"]
        if same and same[-1].steps and is_stateful and not same[-1].is_moved():  # it continues
            self.evidence["optimizer made anew"].append((place(), record.kind))
        self.optimizers.append(record)
        return record

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        self.record_of(optimizer)
        self.steps_begun.append(len(self.updates))

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update."""
        number, where = len(self.updates) + 1, place()
        if not self.steps_begun or self.steps_begun.pop() != len(self.updates):
            return  # an optimizer within this one has made the step
        record, held = self.record_of(optimizer), held_by(optimizer)
        fresh, ids = self.fresh(record), set(map(id, held))
        self.look_at_gradients(record, fresh, held, where)
        record.used, record.steps = self.backward_count, record.steps + 1
        if record.steps == 1:
            alive = [p for each, *_ in self.parameters.values() if (p := each()) is not None]
            record.trainable = sum(p.requires_grad for p in alive)
        if held:
            record.look(min(held, key=torch.numel))
        modules = [net for net in self.modules if net.ids & ids]
        is_single = len(self.optimizers) == 1
        clips = [clip for clip in self.clips if is_single or not clip.parameters.isdisjoint(ids)]
        self.clips = [clip for clip in self.clips if clip not in clips]
        rates = tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
        self.updates.append(Update(
            number, where, record.number, rates, fresh, modules, clips, self.epoch,
            self.in_eval(ids),
        ))  # fmt: skip
        for net in modules:
            net.updates += 1
            reached = [p for each in fresh for p in each.reached if p.module is net]
            if len(fresh) == 1 and reached and reached[0].cuts > 1:
                net.evidence["detached at every step"].append((reached[0].place,))
            if clips and not any(clip.parameters & net.ids for clip in clips):
                net.evidence["clip of others"].append((clips[0].place, len(clips[0].parameters)))
        self.losses.update()
        if number % (MIN_KEPT + 2) == 0:
            self.look_for_graphs(where)

    def look_at_gradients(
        self, record: OptimizerRecord, fresh: list[Backward], held: list[Any], where: str
    ) -> None:
        """Look at the gradients that a step uses."""
        number, sizes = len(self.updates) + 1, norms(held)
        self.with_gradient |= {id(p) for p in held if p.grad is not None}
        if not all(map(math.isfinite, sizes)):
            self.evidence["not finite"].append((where, number))
        if record.dropped and not fresh and not any(sizes):
            self.evidence["zeroed before the step"].append((where, number))
        else:
            p, _, gradient = record.probe or (lambda: None, None, 0)
            is_original = p() is not None and id(p().grad) == gradient
            record.drops.append(record.dropped if is_original else 0)
        record.dropped = 0
        if fresh and len(self.fresh(record, used=True)) > len(fresh):
            self.evidence["never zeroed"].append((where, number))
        left = {each.place for each in fresh if each.steps_before < number - 1}
        own = {each.place for each in fresh if each.steps_before == number - 1}
        if left and own and not left & own:  # of a loss after which another optimizer has stepped
            self.evidence["gradient of another loss"].append((where, min(left)))

    def look_for_graphs(self, where: str) -> None:
        """See whether the graphs of earlier losses are still in memory."""
        for is_sure in (False, True):
            self.sentinels = [(n, each) for n, each in self.sentinels if each() is not None]
            alive = {n for n, _ in self.sentinels if n < len(self.updates) - 2}
            if len(alive) < MIN_KEPT:
                return
            if is_sure:
                self.evidence["graphs kept"].append((where, len(alive)))
            else:
                gc.collect()

    def finish(self) -> None:
        """Find the parameters that never changed, and take backward passes as updates if needed."""
        for key, (p, _, first) in self.parameters.items():
            if p() is not None and p().requires_grad and bits(p()) == first:
                self.unchanged.add(key)
        for n, each in enumerate(self.backwards if not self.updates else (), start=1):
            nets = list(dict.fromkeys(p.module for p in each.reached))
            self.updates.append(Update(n, each.place, 0, (), [each], nets, [], 0, False))
