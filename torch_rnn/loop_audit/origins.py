"""The origin of the initial state of a pass: by the graph, and by its numbers, which are those of an earlier state."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from torch_rnn.loop_audit.records import Initial, Network, Origin, Pass, Stream, Tensors

MARK = "torch_rnn.loop_audit"  # key of {output number: (pass, name)} in the metadata of the nodes that end a pass
LOSS = "torch_rnn.loop_audit.loss"  # key of the number of a loss in the metadata of its node
ROWS, NUMBERS, MAX_KNOWN = (
    4,
    8,
    40_000,
)  # of a state: rows and numbers that identify it; states that are known
State = tuple[Origin, int]  # a pass, and the step of it after which the state is


def tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of a state: one, a tuple of two, or none."""
    return [] if value is None else [value] if isinstance(value, torch.Tensor) else list(value)


def named_outputs(output: Any, is_cell: bool) -> Tensors:
    """The last states `h` and `c` of a pass, and its outputs `out`."""
    out, last = (None, output) if is_cell else output
    named = dict(zip("hc", tensors(last)))
    return (
        named
        if out is None
        else named | {"out": out.data if isinstance(out, PackedSequence) else out}
    )


def mark_of(tensor: torch.Tensor) -> tuple[Pass, str] | None:
    """The pass whose output a tensor is, with its graph, and the name of the output."""
    node: Any = tensor.grad_fn
    found: tuple[Pass, str] | None = (
        None if node is None else node.metadata.get(MARK, {}).get(tensor.output_nr)
    )
    return found


class Graph:
    """What tensors are computed from directly: outputs of passes, leaves with gradients, and numbers of losses."""

    def __init__(self, values: list[torch.Tensor], most: float = math.inf):
        self.outputs, self.losses, seen = dict[tuple[Pass, str], None](), set[int](), set[Any]()
        self.leaves = {v: None for v in values if v.is_leaf and v.requires_grad}
        pending: list[Any] = [(v.grad_fn, v.output_nr) for v in values if v.grad_fn is not None]
        while pending and len(seen) < most:
            node, number = pending.pop()
            if node is None or node in seen:
                continue
            if metadata := node.metadata:
                if number in (marks := metadata.get(MARK, ())):
                    self.outputs[marks[number]] = None
                    continue
                if LOSS in metadata:
                    self.losses.add(metadata[LOSS])
            seen.add(node)
            if following := node.next_functions:
                pending += following
            elif hasattr(node, "variable"):
                self.leaves[node.variable] = None

    @property
    def passes(self) -> list[Pass]:
        """The passes."""
        return list(dict.fromkeys(each for each, _ in self.outputs))


class KnownStates:
    """The states that the passes of a network returned, by the first numbers of some of their rows."""

    def __init__(self, net: Network) -> None:
        self.net, self.known = net, {name: dict[Any, State]() for name in "hc"}
        self.users = dict[tuple[int, int], Any]()  # data and steps of the first pass from a state
        self.streams: dict[Any, Stream] = {}  # those from zeros, by the data of their first pass
        self.distances: list[
            int
        ] = []  # of the data of a pass from those of the pass whose state it gets
        self.followers: dict[Any, Any] = {}  # data of a pass: those of the pass that got its state

    def add(self, origin: Origin, outputs: Tensors, out: torch.Tensor | None) -> None:
        """Add the last states of a pass, and its outputs (T, B, H) if they are its states."""
        for name, known in self.known.items():
            states = dict.fromkeys(
                keys(outputs[name]) if name in outputs else (), (origin, origin.steps)
            )
            if name == "h" and out is not None:
                steps = enumerate(out[:-1, 0, :NUMBERS].tolist(), start=1)
                states |= {tuple(row): (origin, step) for step, row in steps}
            for row, state in states.items():  # the same numbers without a gradient say nothing new
                if (
                    origin.has_graph
                    or (old := known.get(row)) is None
                    or old[0].update != origin.update
                ):
                    known[row] = state
            if len(known) > MAX_KNOWN:
                for key in list(known)[: MAX_KNOWN // 2]:
                    del known[key]
                self.users = {}

    def find(self, state: torch.Tensor, name: str = "h") -> State | None:
        """The pass that returned the rows of a state."""
        return next(
            (found for key in keys(state) if any(key) and (found := self.known[name].get(key))),
            None,
        )

    def origin_of(self, found: State, origin: Origin) -> str:
        """Where the carried state of a pass comes from, a key of ORIGINS: its data tell whether they follow."""
        source, step = found
        here, there, is_later = origin.data, source.data, source.update < origin.update
        first, steps = self.users.setdefault((source.number, step), (here.identity, origin.steps))
        is_known = here.identity is not None and is_later
        kinds = {
            "no gradient": not source.has_graph,
            "epoch": is_known and here.identity in (data for _, data in self.net.resets[:1]),
            "batch": source.batch != origin.batch and is_later,
            "older": is_known and steps == origin.steps and first not in (None, here.identity),
            "elsewhere": there.drawn < here.drawn,
        }
        if kind := next((kind for kind, holds in kinds.items() if holds), ""):
            return kind
        if (
            here.base is not None
            and there.base is not None
            and here.base() is there.base() is not None
        ):
            position = there.start + (there.end - there.start) // source.steps * step
            self.distances = [*self.distances[-1:], here.start - position]
            is_elsewhere = (
                self.distances[-1] != 0 and self.distances[0] != self.distances[-1]
            )  # their distance varies
        elif (
            step == source.steps and there.identity is not None and here.identity is not None
        ):  # as in another epoch
            is_elsewhere = bool(
                self.followers.setdefault(there.identity, here.identity) != here.identity
            )
        else:
            is_elsewhere = False
        return "elsewhere" if is_elsewhere else "before"


def keys(state: torch.Tensor) -> list[tuple[float, ...]]:
    """The first numbers of the rows of a state of the last layer, (L, B, H) or (B, H)."""
    rows = state.detach()[-1] if state.dim() == 3 else state.detach()
    rows = rows[:ROWS, :NUMBERS] if rows.dim() == 2 else rows[None, :NUMBERS]
    return [tuple(row) for row in rows.tolist()]


def initial_kind(found: State | None, states: list[torch.Tensor], graph: Graph) -> Initial:
    """The kind of an initial state that is not the last one of a pass of the same update, with its graph."""
    if not graph.outputs and any(isinstance(leaf, nn.Parameter) for leaf in graph.leaves):
        return "learned"
    if found is not None:
        return "carried"
    if not any(bool(h.any()) for h in states):
        return "zeros"
    return "computed" if graph.outputs or graph.leaves else "constant"
