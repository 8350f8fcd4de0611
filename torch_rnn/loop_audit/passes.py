"""The recorder of forward passes of recurrent modules."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from torch_rnn.loop_audit import replay
from torch_rnn.loop_audit.data_evidence import mixing_view
from torch_rnn.loop_audit.origins import (
    MARK,
    Graph,
    KnownStates,
    initial_kind,
    mark_of,
    named_outputs,
    tensors,
)
from torch_rnn.loop_audit.places import named, place, result_is_dropped
from torch_rnn.loop_audit.records import Initial, Network, Origin, Pass, Stream
from torch_rnn.loop_audit.updates import Updates

MODES = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
)  # differ in training and eval mode
MAX_NODES, MAX_INPUT_NODES = 1000, 25  # of the graph before the state or the input of a pass


class Passes:
    """What was seen of the forward passes of all networks."""

    def __init__(self, updates: Updates, guard: Callable[..., Any]):
        self.updates, self.guard, self.number = updates, guard, 0
        self.names: WeakKeyDictionary[nn.Module, tuple[str, bool]] = (
            WeakKeyDictionary()
        )  # and whether it has modes
        self.by_module: WeakKeyDictionary[nn.Module, Network] = WeakKeyDictionary()
        self.known: dict[Network, KnownStates] = {}
        self.random: torch.Tensor | None = None  # the state before a pass with dropout
        self.detached: dict[
            str, Any
        ] = {}  # by place, where the result is dropped: weak reference to the latest tensor

    def detach(self, result: Any, tensor: torch.Tensor) -> None:
        """Remember a tensor of which the detached result is dropped."""
        if tensor.grad_fn is not None and result_is_dropped():
            self.detached[place()] = ref(tensor)

    def network(self, module: nn.Module) -> Network:
        """The record of a module."""
        if (net := self.by_module.get(module)) is None:
            if module not in self.names:
                modes = dict[int, bool]()  # by the variable that holds the module
                for each, name, root in named(nn.Module):
                    if id(root) not in modes:
                        modes[id(root)] = any(isinstance(m, MODES) for m in root.modules())
                    self.names.setdefault(each, (name, modes[id(root)]))
            networks, (name, has_modes) = self.updates.networks, self.names.get(module, ("", False))
            taken = [net.name for net in networks].count(name)
            net = Network(
                len(networks) + 1,
                module,
                f"{name} ({taken + 1})" if taken and name else name,
                place(),
            )
            net.has_modes = has_modes or bool(getattr(module, "dropout", 0))
            self.by_module[module], self.known[net] = net, KnownStates(net)
            networks.append(net)
        return net

    def before_forward(self, module: Any, *_: Any, **__: Any) -> None:
        """Record an update by the script itself. Keep the state of the random numbers for a pass with dropout."""
        net = self.by_module.get(module)
        if net is not None and net.after_backward is not None:
            self.updates.look_for_changed_weights()
        uses_random = module.training and getattr(module, "dropout", 0)
        self.random = torch.get_rng_state() if uses_random and (net is None or net.is_due) else None

    def forward(self, output: Any, module: Any, input: Any = None, hx: Any = None) -> None:
        """Record the pass of a recurrent module, and follow its gradients."""
        if output is None:  # an error
            return
        states, outputs = tensors(hx), named_outputs(output, isinstance(module, RNNCellBase))
        if any(
            map(torch._C._functorch.is_functorch_wrapped_tensor, outputs.values())
        ):  # it has no graph of its own
            self.updates.evidence["transformed"].append((place(),))
            return
        net = self.network(module)
        nodes: list[Any] = [
            (name, t.grad_fn, t.output_nr) for name, t in outputs.items() if t.grad_fn is not None
        ]
        self.number, where, (steps, batch), data = (
            self.number + 1,
            place(),
            net.sizes(input),
            self.updates.data,
        )
        net.counts[steps, batch, bool(nodes)] += 1
        if isinstance(input, torch.Tensor) and (mixed := mixing_view(input)):
            net.evidence["view"].append((where, *mixed))
        mark, former = mark_of(states[0]) if states else None, None
        if (
            mark is not None
            and mark[1] == "h"
            and mark[0].net is net
            and mark[0].at.update == len(net.updates)
        ):
            former = mark[0]  # whose last state this is, as it is with its graph, in this update
        origin = Origin(
            self.number, where, len(net.updates), steps, batch, bool(nodes), module.training,
            data.place(net, input, steps, batch, former is not None), Stream(),
        )  # fmt: skip
        data.look_for_writes(net, origin.data, where)
        if nodes:
            each = self.record(net, origin, input, states, former)
            origin = each.at._replace(source=ref(each))
            if net.compares_data and isinstance(input, torch.Tensor):
                found = (
                    self.known[net].find(states[0])
                    if states and each.initial == "carried"
                    else None
                )
                is_last = found is not None and found[1] == found[0].steps
                data.forward(input, outputs["h"], each, found[0].number if found and is_last else 0)
            else:
                data.latest.pop(net, None)
            net.compared += 1
            for name, node, number in nodes:
                node.metadata.setdefault(MARK, {})[number] = each, name
                node.register_prehook(self.guard(self.updates.reach, each, name, number))
        data.tokens = None
        is_plain = nodes and not net.is_cell and not net.is_lstm and module.num_layers == 1
        is_plain = (
            is_plain
            and not net.is_bidirectional
            and isinstance(input, torch.Tensor)
            and input.dim() == 3
        )
        self.known[net].add(
            origin, outputs, outputs["out"].transpose(0, int(net.batch_first)) if is_plain else None
        )

    def record(
        self, net: Network, origin: Origin, x: Any, states: list[torch.Tensor], former: Pass | None
    ) -> Pass:
        """The record of a pass with a gradient. former: the pass of this update whose last state it gets."""
        known, source, found = self.known[net], x.data if isinstance(x, PackedSequence) else x, None
        fed = Graph([source], MAX_INPUT_NODES) if source.requires_grad else None
        initial: Initial = "carried"
        if former is not None:
            passes, kind = [former], "before"
            origin = origin._replace(
                stream=former.at.stream, start=former.at.start + former.at.steps
            )
        else:
            graph, kind = Graph(states, MAX_NODES), ""
            passes, found = graph.passes, known.find(states[0]) if states else None
            if found is None and net.is_lstm and states and (found := known.find(states[0], "c")):
                net.evidence["state exchanged"].append((origin.place,))
            initial = initial_kind(found, states, graph)
        if initial == "carried" and found is not None:
            if found[0].has_graph:
                origin = origin._replace(stream=found[0].stream, start=found[0].start + found[1])
            kind = known.origin_of(found, origin)
            if found[0].update < origin.update or not found[0].has_graph:
                net.origins[kind] += 1
                mode = ", eval" if kind == "no gradient" and not found[0].is_training else ""
                net.evidence[f"state: {kind}{mode}"].append(
                    (origin.place, found[0].batch, origin.batch)
                )
        elif initial in ("zeros", "learned"):
            if origin.data.identity is not None:
                origin = origin._replace(
                    stream=known.streams.setdefault(origin.data.identity, origin.stream)
                )
            origin.stream.begin = len(net.updates), origin.data.identity
        net.initials[initial] += 1
        joined = list(dict.fromkeys((*passes, *fed.passes))) if fed else passes
        parents = [p for p in joined if p.net is net]
        has_leaf = any(
            h.is_leaf and h.requires_grad and not isinstance(h, nn.Parameter) for h in states
        )
        if (
            has_leaf
            and found is not None
            and found[0].has_graph
            and (given := found[0].source()) is not None
        ):
            parents.append(given)
        sizes = x.batch_sizes if isinstance(x, PackedSequence) else None
        each = Pass(
            net, origin, (origin.steps if sizes is None else int((sizes == sizes[0]).sum()), origin.steps), sizes,
            initial, kind, tuple(map(ref, parents)), tuple(p for p in joined if p.net is not net), has_leaf,
            fed is not None and source in fed.leaves,
            replay.recorded(net, x, states, self.random) if net.is_due else None,
        )  # fmt: skip
        if attached := [p for p in passes if p.net is net]:  # the initial state has a graph
            dropped = [
                where
                for where, tensor in self.detached.items()
                if any(tensor() is h for h in states)
            ]
            net.evidence["detach without effect"] += [(where,) for where in dropped]
            if attached[-1].at.update < origin.update:
                net.evidence["state attached"].append((origin.place,))
            elif attached[-1] in net.extent:
                net.evidence["attached in an update"].append((origin.place,))
        if not net.firsts or net.firsts[-1][0] != origin.update:
            net.firsts.append((origin.update, ref(each)))
        former_step = None if parents or found is None or not found[0].has_graph else found[0]
        if (
            former_step is not None
            and former_step.steps == origin.steps == 1
            and former_step.update == origin.update
        ):
            net.cut.add(origin.number)
        return each
