"""The recorder of updates: backward passes, gradients from there to a step, clipping, and steps."""

import gc
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.utils.data import RandomSampler

from torch_rnn.loop_audit.forward_recorder import Graph
from torch_rnn.loop_audit.loss_recorder import LossRecorder
from torch_rnn.loop_audit.records import Backward, Clip, Evidence, Pass, Update, place

MAX_BACKWARDS, MIN_KEPT = 1000, 8  # remembered; earlier losses whose graphs are alive
LOOKED_AT = {0, 1, 2, 5, 10, *(20 * 2**n for n in range(12))}  # updates before a look at the graph


class Sentinel:
    """An object that lives as long as the graph of a loss."""


class OptimizerRecord:
    """An optimizer, and the backward passes whose gradients its parameters have."""

    def __init__(self, number: int, optimizer: Any):
        self.number, self.kind, self.optimizer = number, type(optimizer).__name__, ref(optimizer)
        self.held = frozenset(map(id, held_by(optimizer)))
        self.scheduled = [bool(group.get("initial_lr")) for group in optimizer.param_groups]
        self.options = {k: v for k, v in optimizer.param_groups[0].items() if k != "params" and v}
        self.steps = self.trainable = 0
        self.cleared = self.used = 0  # backward passes before its gradients were cleared or used
        self.dropped, self.drops = 0, list[int]()  # cleared unused: now, and by update
        self.probe: Any = None  # a parameter: weak reference, copy, and id of its gradient

    def look(self, parameters: Iterable[torch.Tensor]) -> None:
        """Copy the smallest parameter."""
        p = min(parameters, key=torch.numel)
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
        self.modules, self.updates = list[Any](), list[Update]()
        self.parameters = dict[int, tuple[Any, str, int]]()  # weak reference, name, first bits
        self.with_gradient, self.unchanged = set[int](), set[int]()  # ids of parameters
        self.optimizers = list[OptimizerRecord]()
        self.unseen = dict[str, str]()  # what cannot be followed, and where
        self.backward_count, self.backwards, self.in_backward = 0, list[Any](), False
        self.failed: Any = None  # the latest backward pass, if it raised an error
        self.steps_begun = list[int]()  # updates before each step that has begun
        self.clips = list[Any]()
        self.sentinels = list[tuple[int, Any]]()  # updates before it, and a weak reference
        self.iterators: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # of DataLoaders
        self.epoch = self.epochs = self.shuffled_draws = 0

    def register(self, p: torch.Tensor, name: str = "") -> None:
        """Remember a parameter."""
        if id(p) not in self.parameters or self.parameters[id(p)][0]() is not p:
            name = name or f"a parameter of shape {tuple(p.shape)}"
            self.parameters[id(p)] = ref(p), name, bits(p)

    def draw(self, iterator: Any) -> Iterator[None]:
        """Record a batch of a DataLoader."""
        self.epochs += iterator not in self.iterators
        self.epoch = self.iterators.setdefault(iterator, self.epochs)
        sampler = getattr(iterator._index_sampler, "sampler", None)
        self.shuffled_draws += isinstance(sampler, RandomSampler)
        yield

    def backward(
        self, roots: Any = (), *_: Any, tensors: Any = None, inputs: Any = None, **__: Any
    ) -> Iterator[None]:
        """Walk the graph from the roots, and record what the gradient reaches."""
        roots = roots if tensors is None else tensors
        roots = [roots] if torch.is_tensor(roots) else list(roots)
        for record in self.optimizers:  # the script may have zeroed gradients by itself
            held = held_by(record.optimizer())
            if self.fresh(record, used=True) and held and not any(norms(held)):
                self.clear(record)
        graph, where, steps = Graph(roots), place(), len(self.updates)
        leaves = frozenset(key for key, p in graph.leaves.items() if isinstance(p, nn.Parameter))
        if inputs is not None:
            leaves &= set(map(id, [inputs] if torch.is_tensor(inputs) else inputs))
        self.backward_count += 1
        reached = dict.fromkeys(graph.passes, (0, 0))
        backward = Backward(self.backward_count, where, steps, graph.losses, leaves, reached)
        self.losses.reached |= {call.number for call in graph.losses}
        if steps in LOOKED_AT:
            self.losses.look_at_graph(graph, where)
        for root in roots:
            if root.grad_fn is not None:
                sentinel = root.grad_fn.metadata["torch_rnn.sentinel"] = Sentinel()
                self.sentinels.append((steps, ref(sentinel)))
        self.in_backward, self.failed = True, backward
        yield
        self.in_backward, self.failed = False, backward if sys.exc_info()[1] else None
        for each in graph.passes:
            out, *last = (graph.outputs.get((each, name)) for name in ("out", "h", "c"))
            rows, each.rows, each.tokens = each.rows if out is not None else set(), set(), None
            is_whole = last != [None, None] or (bool(rows) and each.module.is_bidirectional)
            extent = each.steps if is_whole else max(rows, default=-1) + 1
            with_loss = (rows if out else set()) | ({each.steps - 1} if any(last) else set())
            each.module.is_in_loss |= bool(with_loss)
            each.was_reached = True
            reached[each] = extent, len(with_loss)
        self.backwards = [*self.backwards[-MAX_BACKWARDS:], backward]
        self.with_gradient |= leaves
        for record in self.optimizers:
            if common := record.held & leaves:
                record.look(graph.leaves[key] for key in common)
        given = [(each, *copy) for each in graph.passes for copy in each.copies]
        for net, each in {each.module: each for each in graph.passes if each.copies}.items():
            if net.weights[0] == (net.updates, backward.number - 1):
                now, then = net.parameters, net.weights[1]
                given += [(each, n, now[n].detach(), then[n]) for n in now.keys() & then.keys()]
        for each, name, tensor, copy in given:
            each.copies = []
            if not torch.equal(tensor, copy) and bool(copy.isfinite().all()):
                each.module.evidence["changed"].append((where, name, each.place))

    def gradient_of_output(self, each: Pass, index: int, gradients: Any) -> None:
        """Record the steps whose output gets a gradient."""
        if (gradient := gradients[index]) is None:
            return
        net, used, axis = each.module, gradient.any(-1), 0 if each.module.batch_first else 1
        by_time = used.any(axis) if used.dim() == 2 else used
        if each.batch_sizes is not None:
            parts = torch.split(used, each.batch_sizes.tolist())
            by_time = torch.stack([part.any() for part in parts])
        elif each.batch > 1 and int(by_time.sum()) > 1 and int(used.any(1 - axis).sum()) == 1:
            reason = "the loss uses the outputs of one sequence"
            net.evidence["time and batch"].append((each.place, reason, *used.shape))
        each.rows = set(by_time.nonzero().flatten().tolist())
        if each.rows == {each.steps - 1} and (net.is_bidirectional or each.is_padded):
            kind = "reverse output" if net.is_bidirectional else "padded output"
            net.evidence[kind] += [(each.place,)] if each.steps > 1 else []

    def fresh(self, record: OptimizerRecord, used: bool = False) -> list[Any]:
        """The backward passes whose gradients an optimizer has and has not used, or has."""
        first = record.cleared if used else max(record.cleared, record.used)
        return [b for b in self.backwards if b.number > first and record.held & b.leaves]

    def clear(self, record: OptimizerRecord) -> None:
        """Note that the gradients of an optimizer are zeroed."""
        # SAM moves the weights by a gradient before it is zeroed
        is_dropped = not self.steps_begun and not record.is_moved()
        record.dropped += len(self.fresh(record)) if is_dropped else 0
        record.cleared = self.backward_count

    def zero_grad(self, owner: Any, *_: Any, **__: Any) -> Iterator[None]:
        """Note that the gradients of a module or an optimizer are zeroed."""
        is_module = isinstance(owner, nn.Module)
        ids = set(map(id, owner.parameters())) if is_module else self.record_of(owner).held
        for record in self.optimizers:
            if record.held & ids:
                self.clear(record)
        yield

    def clip(
        self, kind: str, parameters: Any, limit: Any = None, *_: Any, **options: Any
    ) -> Iterator[None]:
        """Record a call of clip_grad_norm_ or clip_grad_value_."""
        parameters = [parameters] if torch.is_tensor(parameters) else list(parameters)
        largest = max(norms(parameters, math.inf), default=0.0)
        limit = float(options.get("max_norm", options.get("clip_value", limit)))
        norm: Any = yield
        acts = bool((largest if kind == "value" else norm) > limit)
        clip = Clip(kind, limit, place(), acts, frozenset(map(id, parameters)))
        records = [record for record in self.optimizers if record.held & clip.parameters]
        is_first = not records and any(b.leaves & clip.parameters for b in self.backwards)
        if not parameters:
            self.evidence["clip of nothing"].append((clip.place,))
        if is_first or any(map(self.fresh, records)):
            self.clips += [clip] if math.isfinite(limit) else []
        elif parameters:
            self.evidence["clip without effect"].append((clip.place,))

    def record_of(self, optimizer: Any) -> OptimizerRecord:
        """The record of an optimizer."""
        for record in self.optimizers:
            if record.optimizer() is optimizer:
                return record
        record = OptimizerRecord(len(self.optimizers) + 1, optimizer)
        for p in held_by(optimizer):
            self.register(p)
        same = [old for old in self.optimizers if old.held == record.held and old.steps]
        same = same if {"momentum", "betas"} & record.options.keys() else []
        if same and same[-1].kind == record.kind and not same[-1].is_moved():  # it continues
            self.evidence["optimizer made anew"].append((place(), record.kind))
        self.optimizers.append(record)
        return record

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        """Note the number of updates before a step."""
        self.record_of(optimizer)
        self.steps_begun.append(len(self.updates))

    def step_ends(self, optimizer: Any) -> None:
        """Record an update."""
        last, where, record = len(self.updates), place(), self.record_of(optimizer)
        if not self.steps_begun or self.steps_begun.pop() != last:
            return  # an optimizer within this one has made the step
        number, held, fresh, ids = (
            last + 1,
            held_by(optimizer),
            self.fresh(record),
            set(record.held),
        )
        self.look_at_gradients(record, fresh, held, where)
        record.used, record.steps = self.backward_count, record.steps + 1
        if record.steps == 1:
            alive = [p for each, *_ in self.parameters.values() if (p := each()) is not None]
            record.trainable = sum(p.requires_grad for p in alive)
        if held:
            record.look(held)
        modules = [net for net in self.modules if net.ids & ids]
        clips = [c for c in self.clips if len(self.optimizers) == 1 or c.parameters & ids]
        self.clips = [clip for clip in self.clips if clip not in clips]
        rates = tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
        what = fresh, modules, clips, self.epoch, self.in_eval(ids)
        self.updates.append(Update(number, where, record.number, rates, *what))
        for net in modules:
            net.updates += 1
            reached = [p for each in fresh for p in each.reached if p.module is net]
            if len(fresh) == 1 and reached and reached[0].cuts > 1:
                net.evidence["detached at every step"].append((reached[0].place,))
            if clips and not any(clip.parameters & net.ids for clip in clips):
                net.evidence["clip of others"].append((clips[0].place, len(clips[0].parameters)))
        self.losses.update()
        if number % (MIN_KEPT + 2) == 0 and self.kept(number) >= MIN_KEPT:
            gc.collect()
            if (kept := self.kept(number)) >= MIN_KEPT:
                self.evidence["graphs kept"].append((where, kept))

    def kept(self, number: int) -> int:
        """The number of earlier updates of which a graph is alive."""
        self.sentinels = [(n, each) for n, each in self.sentinels if each() is not None]
        return len({n for n, _ in self.sentinels if n < number - 2})

    def look_at_gradients(
        self, record: OptimizerRecord, fresh: list[Any], held: list[Any], where: str
    ) -> None:
        """Look at the gradients that a step uses."""
        number, last = len(self.updates) + 1, len(self.updates)
        self.with_gradient |= {id(p) for p in held if p.grad is not None}
        if record.dropped and not fresh and not any(norms(held)):
            self.evidence["zeroed before the step"].append((where, number))
        else:  # the script may have put other gradients there
            p = record.probe[0]() if record.probe else None
            is_original = p is not None and id(p.grad) == record.probe[2]
            record.drops.append(record.dropped if is_original else 0)
        record.dropped = 0
        if fresh and len(self.fresh(record, used=True)) > len(fresh):
            self.evidence["never zeroed"].append((where, number))
        left = {each.place for each in fresh if each.steps_before < last}
        own = {each.place for each in fresh if each.steps_before == last}
        if left and own and not left & own:  # of a loss after which another optimizer has stepped
            self.evidence["gradient of another loss"].append((where, min(left)))

    def finish(self) -> None:
        """Find the parameters that never changed, and take backward passes as updates if needed."""
        for key, (p, _, first) in self.parameters.items():
            if p() is not None and p().requires_grad and bits(p()) == first:
                self.unchanged.add(key)
        for n, each in enumerate(self.backwards if not self.updates else (), start=1):
            nets = list(dict.fromkeys(p.module for p in each.reached))
            clips = self.clips if n == 1 else []
            self.updates.append(Update(n, each.place, 0, (), [each], nets, clips, 0, False))
