"""The recorder of a loop: forward passes, losses, backward passes, clipping and steps."""

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
from torch.utils.weak import WeakIdKeyDictionary

from torch_rnn.loop_audit import records
from torch_rnn.loop_audit.records import Clip, Evidence, Graph, LossCall, Pass, Update, place

SAME_SHAPE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
MAX_CALLS, MAX_BACKWARDS, MIN_KEPT = 10_000, 1000, 8  # remembered; graphs of earlier losses
LOOKED_AT = {0, 1, 2, *(2**n for n in range(2, 16))}  # updates before copies of the inputs
NUMBERS, MAX_KNOWN, MAX_NODES = 8, 40_000, 200
is_functional = torch._C._functorch.is_functorch_wrapped_tensor


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

    def look(self) -> None:
        """Copy the smallest parameter."""
        if held := held_by(self.optimizer()):
            p = min(held, key=torch.numel)
            self.probe = ref(p), p.detach().clone(), id(p.grad)

    def is_moved(self) -> bool:
        p = self.probe[0]() if self.probe else None
        return p is not None and not torch.equal(p.detach(), self.probe[1])


def bits(p: torch.Tensor) -> int:
    """A number that changes with any bit of a tensor."""
    return hash(p.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def held_by(optimizer: Any) -> list[torch.Tensor]:
    groups = getattr(optimizer, "param_groups", ())
    return [p for group in groups for p in group["params"] if p.requires_grad]


def norms(parameters: Iterable[torch.Tensor], order: float = 2.0) -> list[float]:
    grads = [p.grad for p in parameters if p.grad is not None and not p.grad.is_sparse]
    return [float(norm) for norm in torch._foreach_norm(grads, order)] if grads else []


def listed(tensors: Any) -> list[Any]:
    return [] if tensors is None else [tensors] if torch.is_tensor(tensors) else list(tensors)


def row_keys(state: torch.Tensor) -> list[tuple[float, ...]]:
    """The first numbers of the first rows of a state of the last layer, (L, B, H) or (B, H)."""
    rows = state.detach()[-1] if state.dim() == 3 else state.detach()
    return [tuple(row) for row in rows.reshape(-1, rows.shape[-1])[:4, :NUMBERS].tolist()]


class Recorder:
    """The passes of all recurrent modules, and the updates of all optimizers."""

    guard: Callable[..., Any]
    in_eval: Callable[[set[int]], bool]

    def __init__(self) -> None:
        self.evidence: Evidence = defaultdict(list)  # about no single module
        self.roots: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # called by the script
        self.names: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self.recurrent: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self.modules, self.updates, self.pass_count = list[Any](), list[Update](), 0
        self.loss_calls, self.loss_count = list[LossCall](), 0  # calls since the latest update
        self.reached = set[int]()  # numbers of those that reached backward()
        self.parameters: Any = WeakIdKeyDictionary()  # their names, and first bits
        self.with_gradient = set[int]()  # ids of parameters
        self.optimizers = list[OptimizerRecord]()
        self.unseen = dict[str, str]()  # what cannot be followed, and where
        self.backward_count, self.backwards, self.in_backward = 0, list[Any](), False
        self.failed: Any = None  # the latest backward pass, if it raised an error
        self.steps_begun = list[int]()  # updates before each step that has begun
        self.clips = list[Any]()
        self.sentinels = list[tuple[int, Any]]()  # updates before it, and a weak reference
        self.iterators: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # of DataLoaders
        self.epoch = self.epochs = self.shuffled_draws = 0

    def before_forward(self, module: nn.Module, *_: Any) -> None:
        if module in self.names:
            return
        name = type(module).__name__
        taken = sum(type(root) is type(module) for root in self.roots)
        self.roots[module] = name = f"{name} ({taken + 1})" if taken else name
        for path, each in module.named_modules(prefix=name):
            self.names.setdefault(each, path)
        for path, p in module.named_parameters(prefix=name):
            if p not in self.parameters and not is_functional(p):
                self.parameters[p] = path, bits(p)
        if isinstance(module, torch.jit.ScriptModule) or name.startswith("OptimizedModule"):
            self.unseen["compiled modules"] = place()

    def after_forward(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not isinstance(module, records.RECURRENT):
            return
        given = kwargs | dict(zip(("input", "hx"), args))
        x, states = given["input"], listed(given.get("hx"))
        out: Any = None
        if isinstance(module, nn.RNNBase):
            out, output = output
        outputs = dict(zip("hc", listed(output)))
        if is_functional(outputs["h"]):
            self.unseen["calls inside of torch.func"] = place()
            return
        if (net := self.recurrent.get(module)) is None:
            name = self.names.get(module, "")
            net = self.recurrent[module] = records.RecurrentModule(module, name)
            self.modules.append(net)
        sizes = None if torch.is_tensor(x) else x.batch_sizes  # of a packed sequence
        is_sequence = not net.is_cell and sizes is None and x.dim() == 3
        if sizes is not None:
            x, out = x.data, out.data
            steps, batch = len(sizes), int(sizes[0])
        elif net.is_cell:
            steps, batch = 1, x.shape[:-1].numel()
        else:
            steps, batch = (*x.shape[:-1], 1)[:2]
            steps, batch = (batch, steps) if net.batch_first and is_sequence else (steps, batch)
        outputs |= {} if out is None else {"out": out}
        has_gradient = any(t.grad_fn is not None for t in outputs.values())
        net.passes[steps, batch, has_gradient] += 1
        self.pass_count += 1
        counts = self.pass_count, net.updates, self.backward_count, self.shuffled_draws
        each = Pass(net, place(), *counts, steps, batch, has_gradient, sizes)
        if is_sequence:
            self.look_at_input(each, x)
        if states:
            self.look_at_state(each, states)
        self.remember(each, outputs, is_sequence and not net.is_bidirectional)
        if has_gradient:
            self.follow(each, x, states, outputs)

    def follow(self, each: Pass, x: torch.Tensor, states: Any, outputs: Any) -> None:
        net, before = each.module, records.nodes_of([x, *states])
        for name, t in outputs.items():
            if t.grad_fn is not None:
                t.grad_fn.metadata.setdefault(records.MARK, {})[t.output_nr] = records.Mark(
                    each, name, before
                )
                if name == "out":
                    hook = self.guard(self.gradient_of_output, each, t.output_nr)
                    t.grad_fn.register_prehook(hook)
        net.latest = each
        if net.updates in LOOKED_AT:
            if net.weights[0] != (when := (net.updates, self.backward_count)):
                net.weights = when, {n: p.detach().clone() for n, p in net.parameters.items()}
            named = [("the input", x), *(("the initial state", h) for h in states)]
            each.copies = [(name, t.detach(), t.detach().clone()) for name, t in named]

    def remember(self, each: Pass, outputs: dict[str, torch.Tensor], has_states: bool) -> None:
        for name, known in each.module.states.items():
            keys = row_keys(outputs[name]) if name in outputs else []
            found = dict.fromkeys(keys, (each, each.steps))
            if name == "h" and has_states:
                out = outputs["out"].detach().transpose(0, int(each.module.batch_first))
                rows = out[:-1, 0, :NUMBERS].tolist()
                found |= {tuple(row): (each, step) for step, row in enumerate(rows, start=1)}
            for key, value in found.items():
                old = known.get(key)  # the same numbers without a gradient say nothing new
                if each.has_gradient or old is None or old[0].update != each.update:
                    known[key] = value
            while len(known) > MAX_KNOWN:
                del known[next(iter(known))]

    def look_at_input(self, each: Pass, x: torch.Tensor) -> None:
        node, source = x.grad_fn, x
        for _ in range(4):  # as in dropout(embedding(tokens))
            if node is not None and type(node).__name__ != "EmbeddingBackward0":
                node = records.node_before(node)
        if type(node).__name__ == "EmbeddingBackward0":
            each.tokens = source = node._saved_indices  # type: ignore[union-attr]
        elif x.grad_fn is not None:
            return
        if source._base is not None:
            stride = source.stride(int(each.module.batch_first))
            each.data = ref(source._base), source.storage_offset(), stride
        if x._base is not None and x.is_contiguous() and x._base.is_contiguous():
            given, now = (*x._base.shape, 1)[:3], tuple(x.shape)
            if given == (now[1], now[0], now[2]) and given[0] != given[1] and 1 not in given[:2]:
                each.module.evidence["view"].append((each.place, given, now))

    def look_at_state(self, each: Pass, states: list[torch.Tensor]) -> None:
        net, graph = each.module, Graph(states, MAX_NODES, into_passes=False)
        each.parents = tuple(p for p in graph.passes if p.module is net)
        keys = [] if each.parents else [key for key in row_keys(states[0]) if any(key)]
        h, c = (
            next((known[key] for key in keys if key in known), None)
            for known in net.states.values()
        )
        if each.parents:
            each.initial, each.origin, each.follows_training = records.CARRIED, records.BEFORE, True
        elif not graph.outputs and any(isinstance(p, nn.Parameter) for p in graph.leaves.values()):
            each.initial = "a learned state"
        elif h is not None:
            each.initial, each.origin = records.CARRIED, self.origin(each, *h)
        elif graph.outputs or graph.leaves:
            each.initial = "a computed state"
        elif any(bool(state.any()) for state in states):
            each.initial = "a given state"
            net.evidence["state exchanged"] += [(each.place,)] if c else []

    def origin(self, each: Pass, source: Pass, step: int) -> str:
        """Where a carried state comes from."""
        net, value = each.module, int(source.follows_training)
        each.follows_training = source.has_gradient or source.follows_training
        if not each.has_gradient:
            return records.OTHER
        first, is_latest = net.users.setdefault((source, step), each), source is net.latest
        is_cut = is_latest and source.age == each.age and each.steps == source.steps == 1
        each.cuts = source.cuts + 1 if is_cut else 0
        x, before = each.data, source.data
        is_known = x and before and x[0]() is before[0]() is not None
        gap = x[1] - before[1] - before[2] * step if is_known else 0
        if not source.has_gradient:
            kind = records.NO_GRADIENT
        elif gap:
            is_older = first.age < each.age and first.data and first.data[:2] != x[:2]
            kind = records.OLDER if is_older and first.steps == each.steps else records.ELSEWHERE
            value = gap
        elif not is_known and source.was_reached and source.draw < each.draw:
            kind, value = records.ELSEWHERE, -each.draw
        elif step < source.steps:
            kind = records.INSIDE
        else:
            kind = records.BEFORE if is_latest else records.OTHER
        net.evidence[kind].append((each.place, value))
        return kind

    def loss(
        self, name: str, input: Any = None, target: Any = None, *_: Any, **options: Any
    ) -> Iterator[None]:
        result: Any = yield
        node = getattr(result, "grad_fn", None)
        if node is None or not isinstance(target, torch.Tensor) or len(self.loss_calls) > MAX_CALLS:
            return
        self.loss_count += 1
        shapes, how = (tuple(input.shape), tuple(target.shape)), options.get("reduction", "mean")
        call = LossCall(self.loss_count, place(), name, how, shapes[0])
        node.metadata[records.LOSS] = call
        self.loss_calls.append(call)
        is_other = name in SAME_SHAPE and shapes[0] != shapes[1]
        if is_other and (input.detach() - target.detach()).shape != shapes[0]:
            self.evidence["shapes of the loss"].append((call.place, *shapes))
        if self.loss_count > MAX_NODES:
            return
        for each in Graph([input], MAX_NODES, into_passes=False).passes:
            given = each.tokens
            if given is None and each.copies and target.is_floating_point():
                given = each.copies[0][2]
            if given is not None and given.numel() == target.numel() and given.min() < given.max():
                is_same = torch.equal(given.flatten(), target.detach().flatten().to(given.dtype))
                kind = "target equals the input" if is_same else "target differs"
                each.module.evidence[kind].append((call.place,))

    def draw(self, iterator: Any) -> Iterator[None]:
        self.epochs += iterator not in self.iterators
        self.epoch = self.iterators.setdefault(iterator, self.epochs)
        sampler = getattr(iterator._index_sampler, "sampler", None)
        self.shuffled_draws += isinstance(sampler, RandomSampler)
        yield

    def backward(
        self, roots: Any = (), *_: Any, tensors: Any = None, inputs: Any = None, **__: Any
    ) -> Iterator[None]:
        roots = listed(roots if tensors is None else tensors)
        for record in self.optimizers:  # the script may have zeroed gradients by itself
            held = held_by(record.optimizer())
            if self.fresh(record, used=True) and held and not any(norms(held)):
                self.clear(record)
        graph, where, steps = Graph(roots), place(), len(self.updates)
        leaves = frozenset(key for key, p in graph.leaves.items() if isinstance(p, nn.Parameter))
        leaves &= leaves if inputs is None else set(map(id, listed(inputs)))
        self.backward_count += 1
        reached = dict.fromkeys(graph.passes, (0, 0))
        backward = records.Backward(
            self.backward_count, where, steps, graph.losses, leaves, reached
        )
        self.reached |= {call.number for call in graph.losses}
        at = graph.losses[0].place if len(graph.losses) == 1 else where
        for kind, *values in records.wrong_losses(graph) if steps in LOOKED_AT else ():
            self.evidence[kind].append((at, *values))
        for root in roots:
            if root.grad_fn is not None:
                sentinel = root.grad_fn.metadata["torch_rnn.alive"] = set[int]()
                self.sentinels.append((steps, ref(sentinel)))
        self.in_backward = True
        yield
        self.in_backward, self.failed = False, backward if sys.exc_info()[1] else None
        for each in graph.passes:
            out, *last = (graph.outputs.get((each, name)) for name in ("out", "h", "c"))
            rows, each.rows, each.tokens = each.rows if out is not None else set(), set(), None
            is_whole = last != [None, None] or (bool(rows) and each.module.is_bidirectional)
            extent = each.steps if is_whole else max(rows, default=-1) + 1
            with_loss = (rows if out else set()) | ({each.steps - 1} if any(last) else set())
            each.was_reached = True
            reached[each] = extent, len(with_loss)
        self.backwards = [*self.backwards[-MAX_BACKWARDS:], backward]
        self.with_gradient |= leaves
        for record in self.optimizers:
            if record.held & leaves:
                record.look()
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
        if (gradient := gradients[index]) is None:
            return
        net, used, axis = each.module, gradient.any(-1), 0 if each.module.batch_first else 1
        by_time = used.any(axis) if used.dim() == 2 else used
        if each.batch_sizes is not None:
            parts = torch.split(used, each.batch_sizes.tolist())
            by_time = torch.stack([part.any() for part in parts])
        elif each.batch > 1 and int(by_time.sum()) > 1 and int(used.any(1 - axis).sum()) == 1:
            net.evidence["time and batch"].append((each.place, *used.shape))
        each.rows = set(by_time.nonzero().flatten().tolist())
        if each.rows == {each.steps - 1} and each.steps > 1 and net.is_bidirectional:
            net.evidence["reverse output"].append((each.place,))

    def fresh(self, record: OptimizerRecord, used: bool = False) -> list[Any]:
        """The backward passes whose gradients an optimizer has and has not used, or has."""
        first = record.cleared if used else max(record.cleared, record.used)
        return [b for b in self.backwards if b.number > first and record.held & b.leaves]

    def clear(self, record: OptimizerRecord) -> None:
        # SAM moves the weights by a gradient before it is zeroed
        is_dropped = not self.steps_begun and not record.is_moved()
        record.dropped += len(self.fresh(record)) if is_dropped else 0
        record.cleared = self.backward_count

    def zero_grad(self, owner: Any, *_: Any, **__: Any) -> Iterator[None]:
        is_module = isinstance(owner, nn.Module)
        ids = set(map(id, owner.parameters())) if is_module else self.record_of(owner).held
        for record in self.optimizers:
            if record.held & ids:
                self.clear(record)
        yield

    def clip(
        self, kind: str, parameters: Any, limit: Any = None, *_: Any, **options: Any
    ) -> Iterator[None]:
        parameters = listed(parameters)
        largest = max(norms(parameters, math.inf), default=0.0)
        limit = float(options.get("max_norm", options.get("clip_value", limit)))
        norm: Any = yield
        acts = bool((largest if kind == "value" else norm) > limit)
        clip = Clip(kind, limit, place(), acts, frozenset(map(id, parameters)))
        held = [record for record in self.optimizers if record.held & clip.parameters]
        if (parameters and not held) or any(map(self.fresh, held)):
            self.clips += [clip] if math.isfinite(limit) else []
        else:
            reason = "without effect" if parameters else "of nothing"
            self.evidence[f"clip {reason}"].append((clip.place,))

    def record_of(self, optimizer: Any) -> OptimizerRecord:
        for record in self.optimizers:
            if record.optimizer() is optimizer:
                return record
        record = OptimizerRecord(len(self.optimizers) + 1, optimizer)
        for p in held_by(optimizer):
            if p not in self.parameters:
                self.parameters[p] = f"a parameter of shape {tuple(p.shape)}", bits(p)
        same = [old for old in self.optimizers if old.held == record.held and old.steps]
        if same and same[-1].kind == record.kind and {"momentum", "betas"} & record.options.keys():
            found = [] if same[-1].is_moved() else [(place(), record.kind)]
            self.evidence["optimizer made anew"] += found
        self.optimizers.append(record)
        return record

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        self.record_of(optimizer)
        self.steps_begun.append(len(self.updates))

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        number, where, record = len(self.updates) + 1, place(), self.record_of(optimizer)
        if not self.steps_begun or self.steps_begun.pop() != len(self.updates):
            return  # an optimizer within this one has made the step
        held, fresh, ids = held_by(optimizer), self.fresh(record), set(record.held)
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
        left = {each.place for each in fresh if each.steps_before < number - 1}
        own = {each.place for each in fresh if each.steps_before == number - 1}
        if left and own and not left & own:  # of a loss after which another optimizer has stepped
            self.evidence["gradient of another loss"].append((where, min(left)))
        record.used, record.steps = self.backward_count, record.steps + 1
        if record.steps == 1:
            record.trainable = sum(p.requires_grad for p in self.parameters)
        record.look()
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
        for at, name in dict.fromkeys((call.place, call.name) for call in self.loss_calls):
            numbers = [c.number for c in self.loss_calls if (c.place, c.name) == (at, name)]
            if len(numbers) > 1 and self.reached.intersection(numbers) == {numbers[-1]}:
                self.evidence["losses overwritten"].append((at, len(numbers)))
        self.loss_calls, self.reached = [], set()
        for is_sure in (False, True) if number % (MIN_KEPT + 2) == 0 else ():
            self.sentinels = [(n, each) for n, each in self.sentinels if each() is not None]
            kept = len({n for n, _ in self.sentinels if n < number - 2})
            if kept >= MIN_KEPT and is_sure:
                self.evidence["graphs kept"].append((where, kept))
            elif kept >= MIN_KEPT:
                gc.collect()
