"""The recorder of forward passes: the graph before a tensor, initial states and their origin."""

from collections import namedtuple
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from torch_rnn.loop_audit import records
from torch_rnn.loop_audit.records import Pass, RecurrentModule, place

MARK = "torch_rnn.pass"  # key of the metadata of a node that ends a pass: {output number: Mark}
LOSS = "torch_rnn.loss"  # key of the LossCall whose result a node is
COPIED = {0, 1, 2, *(2**n for n in range(2, 16))}  # updates before one whose inputs are copied
NUMBERS, MAX_KNOWN, MAX_NODES = 8, 40_000, 200
is_functional = torch._C._functorch.is_functorch_wrapped_tensor
# The end of a pass in the graph: its output "out", "h" or "c", and the nodes before the pass
Mark = namedtuple("Mark", "owner output before")


def nodes_of(tensors: list[torch.Tensor]) -> list[Any]:
    """The nodes that made tensors, and the numbers of their outputs."""
    return [(t.grad_fn, t.output_nr) for t in tensors if t.grad_fn is not None]


def node_before(node: Any) -> Any:
    """The first node before a node."""
    return next((each for each, _ in node.next_functions if each is not None), None)


class Graph:
    """What some tensors are computed from, through passes, or up to the first of them."""

    def __init__(self, roots: list[torch.Tensor], most: int = 200_000, into_passes: bool = True):
        self.outputs = dict[tuple[Pass, str], bool]()  # whether no other pass is in between
        self.leaves = {id(t): t for t in roots if t.is_leaf and t.requires_grad}
        self.nodes, self.losses = list[Any](), list[Any]()  # nodes before the first passes
        pending, later, seen, is_direct = nodes_of(roots), list[Any](), set[Any](), True
        while pending or later:
            if not pending:
                pending, later, is_direct = later, [], False
            node, number = pending.pop()
            metadata = {} if node is None else node.metadata
            if metadata and (mark := metadata.get(MARK, {}).get(number)):
                if (mark.owner, mark.output) not in self.outputs:
                    self.outputs[mark.owner, mark.output] = is_direct
                    later += mark.before if into_passes else ()
            elif node is not None and node not in seen and len(seen) < most:
                seen.add(node)
                self.nodes += [node] if is_direct else ()
                self.losses += [metadata[LOSS]] if LOSS in metadata else ()
                pending += node.next_functions
                if not node.next_functions and hasattr(node, "variable"):
                    self.leaves[id(node.variable)] = node.variable
        self.passes = list(dict.fromkeys(each for each, _ in self.outputs))
        for net in dict.fromkeys(each.module for each in self.passes if into_passes):
            self.leaves.update((id(p), p) for p in net.parameters.values())


def row_keys(state: torch.Tensor) -> list[tuple[float, ...]]:
    """The first numbers of the first rows of a state of the last layer, (L, B, H) or (B, H)."""
    rows = state.detach()[-1] if state.dim() == 3 else state.detach()
    return [tuple(row) for row in rows.reshape(-1, rows.shape[-1])[:4, :NUMBERS].tolist()]


class ForwardRecorder:
    """The passes of all recurrent modules."""

    def __init__(self, updates: Any):
        self.updates, self.number = updates, 0
        self.roots: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # called by the script
        self.names: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self.recurrent: WeakKeyDictionary[nn.Module, RecurrentModule] = WeakKeyDictionary()

    def before_forward(self, module: nn.Module, *_: Any) -> None:
        """Register a module that is called for the first time, and its parts."""
        if module in self.names:
            return
        name = type(module).__name__
        taken = sum(type(root) is type(module) for root in self.roots)
        self.roots[module] = name = f"{name} ({taken + 1})" if taken else name
        for path, each in module.named_modules():
            self.names.setdefault(each, f"{name}.{path}" if path else name)
        for path, p in module.named_parameters():
            if p.requires_grad and not is_functional(p):
                self.updates.register(p, f"{name}.{path}")
        if isinstance(module, torch.jit.ScriptModule) or name.startswith("OptimizedModule"):
            self.updates.unseen["compiled modules"] = place()

    def after_forward(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Record the pass of a recurrent module."""
        if not isinstance(module, records.RECURRENT):
            return
        given = kwargs | dict(zip(("input", "hx"), args))
        x, states, out = given["input"], given.get("hx"), None
        states = [] if states is None else [states] if torch.is_tensor(states) else list(states)
        if isinstance(module, nn.RNNBase):
            out, output = output
        outputs = dict(zip("hc", [output] if torch.is_tensor(output) else output))
        if is_functional(outputs["h"]):
            self.updates.unseen["calls inside of torch.func"] = place()
            return
        if (net := self.recurrent.get(module)) is None:
            net = self.recurrent[module] = RecurrentModule(module, self.names.get(module, ""))
            self.updates.modules.append(net)
        sizes = None if torch.is_tensor(x) else x.batch_sizes  # of a packed sequence
        if sizes is not None:
            x, out = x.data, out.data
            steps, batch = len(sizes), int(sizes[0])
        elif net.is_cell:
            steps, batch = 1, x.shape[:-1].numel()
        else:
            steps, batch = (*x.shape[:-1], 1)[:2]
            steps, batch = (batch, steps) if net.batch_first and x.dim() == 3 else (steps, batch)
        outputs |= {} if out is None else {"out": out}
        has_gradient = any(t.grad_fn is not None for t in outputs.values())
        net.passes[steps, batch, has_gradient] += 1
        self.number += 1
        counts = net.updates, self.updates.backward_count, self.updates.shuffled_draws
        each = Pass(net, place(), self.number, *counts, steps, batch, has_gradient, sizes)
        is_sequence = not net.is_cell and sizes is None and x.dim() == 3
        if is_sequence:
            self.look_at_input(each, x)
        if states:
            self.look_at_state(each, states)
        self.remember(each, outputs, is_sequence and not net.is_bidirectional)
        if has_gradient:
            self.follow(each, x, states, outputs)

    def follow(self, each: Pass, x: torch.Tensor, states: Any, outputs: Any) -> None:
        """Mark the nodes that end a pass with a gradient, and copy what it is computed from."""
        net, before = each.module, nodes_of([x, *states])
        for name, t in outputs.items():
            if t.grad_fn is not None:
                t.grad_fn.metadata.setdefault(MARK, {})[t.output_nr] = Mark(each, name, before)
                if name == "out":
                    hook = self.updates.guard(self.updates.gradient_of_output, each, t.output_nr)
                    t.grad_fn.register_prehook(hook)
        net.latest = each
        if net.updates in COPIED:
            if net.weights[0] != (when := (net.updates, self.updates.backward_count)):
                net.weights = when, {n: p.detach().clone() for n, p in net.parameters.items()}
            named = [("the input", x), *(("the initial state", h) for h in states)]
            each.copies = [(name, t.detach(), t.detach().clone()) for name, t in named]

    def remember(self, each: Pass, outputs: dict[str, torch.Tensor], has_states: bool) -> None:
        """Remember the last states of a pass, and its outputs if they are its states."""
        for name, known in each.module.states.items():
            found = dict[Any, Any]()
            if name in outputs:
                found = dict.fromkeys(row_keys(outputs[name]), (each, each.steps))
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
        """Find the place of an input (T, B, D) in a tensor, and a view that mixes its rows."""
        node, source = x.grad_fn, x
        for _ in range(4):  # as in dropout(embedding(tokens))
            if node is not None and type(node).__name__ != "EmbeddingBackward0":
                node = node_before(node)
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
        """Find the kind of the initial state, and the pass that it comes from."""
        net, graph = each.module, Graph(states, MAX_NODES, into_passes=False)
        each.parents = tuple(p for p in graph.passes if p.module is net)
        keys = [key for key in row_keys(states[0]) if any(key)]
        found, found_c = (
            next((known[key] for key in keys if key in known), None)
            for known in net.states.values()
        )
        if each.parents:
            each.initial, each.origin, each.follows_training = "carried", records.BEFORE, True
        elif not graph.outputs and any(isinstance(p, nn.Parameter) for p in graph.leaves.values()):
            each.initial = "learned"
        elif found is not None:
            each.initial, each.origin = "carried", self.origin(each, *found)
        elif graph.outputs or graph.leaves:
            each.initial = "computed"
        elif any(bool(h.any()) for h in states):
            each.initial = "given"
            net.evidence["state exchanged"] += [(each.place,)] if found_c else []

    def origin(self, each: Pass, source: Pass, step: int) -> str:
        """Where a carried state comes from; `OTHER` if that is not known."""
        net, data, expected = each.module, each.data, None
        each.follows_training = source.has_gradient or source.follows_training
        if not each.has_gradient:
            return records.OTHER
        if not source.has_gradient:
            net.evidence[records.NO_GRADIENT].append((each.place, source.follows_training))
            return records.NO_GRADIENT
        first = net.users.setdefault((source, step), each)
        is_next = source is net.latest and source.age == each.age
        each.cuts = source.cuts + 1 if is_next and each.steps == source.steps == 1 else 0
        if data and source.data and data[0]() is source.data[0]() is not None:
            expected = source.data[1] + source.data[2] * step
        if expected is not None and data[1] != expected:
            is_older = first.age < each.age and first.data and first.data[:2] != data[:2]
            kind = records.OLDER if is_older and first.steps == each.steps else records.ELSEWHERE
            net.evidence[kind].append((each.place, data[1] - expected))
            return kind
        if expected is None and source.was_reached and source.draw < each.draw:
            net.evidence[records.ELSEWHERE].append((each.place, -each.draw))
            return records.ELSEWHERE
        if step < source.steps:
            return records.INSIDE
        return records.BEFORE if source is net.latest else records.OTHER
