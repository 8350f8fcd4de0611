"""The records of an audited loop: forward passes of recurrent modules, and the updates that they lead to."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from weakref import ref

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

Tensors = dict[str, torch.Tensor]
Evidence = defaultdict[
    str, list[tuple[Any, ...]]
]  # by kind of warning: place, values of the message
Initial = Literal["zeros", "learned", "carried", "computed", "constant"]
MAX_COMPARED = 40  # passes of a network whose data are compared
CHECKED_NETWORKS, CHECKED = (
    8,
    {0, 1, 2, *(4**n for n in range(2, 16))},
)  # updates before one that is replayed
ORIGINS = {
    "before": "the window before", "older": "an older window", "no gradient": "a pass without gradient",
    "epoch": "the end of the data, at their start", "elsewhere": "another place in the data",
    "batch": "a window of another batch size",
}  # fmt: skip


class Stream:
    """A sequence of steps through which a state is carried, and how many of them earlier updates have used."""

    def __init__(self) -> None:
        self.counted, self.with_loss = 0, 0
        self.begin: tuple[int, Any] = (
            -1,
            None,
        )  # updates before its latest start from zeros, and the data there


class DataPlace(NamedTuple):
    """Where the inputs of a pass are: in a tensor of the script, if they are a view of it, and their values."""

    drawn: int  # batches that a shuffling DataLoader had drawn before
    identity: Any = None  # the same for the same data; None if they are too few to tell
    base: Any = None  # weak reference to the tensor, or None
    start: int = 0  # of the first step, in elements
    end: int = 0


class Origin(NamedTuple):
    """A pass without its graph and numbers, as the origin of a carried state."""

    number: int  # in the order of the passes of all modules
    place: str  # FILE:LINE of the call
    update: int  # updates of the network before it
    steps: int
    batch: int
    has_graph: bool
    is_training: bool  # the mode of the module
    data: DataPlace
    stream: Stream
    start: int = 0  # its first step in the stream
    source: Any = None  # weak reference to the Pass


class Inputs(NamedTuple):
    """Copies of what a pass is computed from. `live` shares the memory of the input."""

    x: torch.Tensor
    live: torch.Tensor
    packed: PackedSequence | None
    states: list[torch.Tensor]
    weights: Tensors
    random: torch.Tensor | None


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Pass:
    """One forward pass of a recurrent module. It lives as long as its graph, or a gradient that goes through it."""

    net: "Network"
    at: Origin
    lengths: tuple[int, int]  # the shortest and the longest sequence
    batch_sizes: torch.Tensor | None  # of a packed input
    initial: Initial
    origin: str  # of a carried state, a key of ORIGINS
    parents: tuple[Any, ...]  # weak references to passes of the module that its gradient goes on to
    feeds: tuple["Pass", ...]  # passes of other modules that it is computed from
    has_leaf_state: bool  # an initial state is a leaf with a gradient, which the script passes on
    takes_gradient: bool  # the input is a leaf that gets a gradient
    inputs: Inputs | None  # None if its update is not checked

    @property
    def is_attached(self) -> bool:
        """Whether the graph joins it to a pass before the latest update."""
        found = [p for parent in self.parents if (p := parent()) is not None]
        return not self.has_leaf_state and any(p.at.update < self.at.update for p in found)


class Window(NamedTuple):
    """The passes that one gradient goes through."""

    initial: Initial  # of its first pass
    origin: str  # of a carried state, a key of ORIGINS
    batch: int
    steps: int  # of its passes
    reach: int  # steps that the gradient reaches: k2 of this window
    lengths: tuple[int, int]  # the shortest and the longest sequence
    back: int  # how many updates ago its first pass was made
    passes: int
    attached: bool  # by the graph to passes of earlier updates
    place: str


class Clip(NamedTuple):
    """A call of clip_grad_norm_ or clip_grad_value_, or a change of the gradient by the script itself."""

    kind: str  # "norm", "value" or "script"
    limit: float
    place: str
    parameters: int  # how many are clipped together
    own: int  # how many of them are of the module
    acts: bool  # the limit was exceeded


class Check(NamedTuple):
    """A value that was compared with a float64 replay: the difference relative to its size, or why it was not."""

    error: float | None
    is_right: bool = True
    reason: str = ""
    name: str = ""  # of the tensor with the largest difference


class Update(NamedTuple):
    """One step of an optimizer, or change of the weights by the script, and the windows whose gradients it got."""

    network: str
    number: int  # from 1, for each network
    place: str
    optimizer: str  # "" for a change by the script
    learning_rates: tuple[float, ...]  # of its groups of parameters
    windows: tuple[Window, ...]
    new_steps: int  # since the update before
    loss_steps: int  # of them or later, whose outputs enter the loss for the first time: k1
    backward: int  # backward passes
    is_training: bool  # the mode of the module in its passes
    clips: tuple[Clip, ...]
    gradient: Check | None = None  # None if not checked
    step: Check | None = None

    @property
    def reach(self) -> int:
        """The steps that the gradient reaches: k2."""
        return max((window.reach for window in self.windows), default=0)


class Network:
    """A recurrent module, and all that was seen of it."""

    def __init__(self, number: int, module: Any, name: str, place: str):
        self.number, self.name, self.place, self.module_ref = number, name, place, ref(module)
        self.is_cell, self.is_lstm = (
            isinstance(module, RNNCellBase),
            isinstance(module, nn.LSTM | nn.LSTMCell),
        )
        self.batch_first = bool(getattr(module, "batch_first", False))
        self.is_bidirectional = bool(getattr(module, "bidirectional", False))
        self.layout = "(batch, time, feature)" if self.batch_first else "(time, batch, feature)"
        nonlinearity = f", {module.nonlinearity}" if hasattr(module, "nonlinearity") else ""
        self.kind = f"nn.{type(module).__name__}({module.extra_repr()}){nonlinearity}"
        self.has_modes = False  # training and eval mode differ
        self.counts = Counter[
            tuple[int, int, bool]
        ]()  # passes by steps, batch and whether there is a gradient
        self.compared = 0  # passes with a gradient
        self.initials = Counter[Initial]()  # of them
        self.origins = Counter[str]()  # of the carried states, keys of ORIGINS
        self.updates: list[Update] = []
        self.resets: list[
            tuple[int, Any]
        ] = []  # updates whose steps start from zeros, and the data there
        self.weights: Any = (
            None  # when they were copied, as numbers of updates and backward passes, and the copies
        )
        self.is_in_loss = False  # by itself, not through other modules
        self.was_reached = False  # by a backward pass
        self.firsts: list[tuple[int, Any]] = []  # first passes of updates: update, weak reference
        self.evidence: Evidence = defaultdict(list)
        self.begin_update()

    def begin_update(self) -> None:
        """Forget what led to the latest update."""
        self.is_due = (
            self.number <= CHECKED_NETWORKS and len(self.updates) in CHECKED
        )  # the next update is checked
        self.backwards: list[str] = []  # places of the backward passes that reach it
        self.cut = set[int]()  # numbers of single steps that are detached from the step before
        self.after_backward: list[torch.Tensor] | None = (
            None  # weights, where the script itself may change them
        )
        self.clear_gradient()

    def clear_gradient(self) -> None:
        """Forget the passes of gradients that were zeroed."""
        self.reached: dict[
            Pass, Tensors
        ] = {}  # gradients of the outputs; those of an update to check
        self.extent: dict[Pass, int] = {}  # steps that the gradient reaches
        self.chains: dict[int, list[Pass]] = {}  # reached passes, by the backward pass of a loss
        self.loss_rows = defaultdict[Pass, set[int]](set)  # steps with a loss
        self.out_rows: dict[Pass, set[int]] = {}  # steps whose output gets a gradient
        self.in_loss = set[torch.Tensor]()  # parameters that the loss depends on by themselves
        self.earlier: Tensors = {}  # gradients that the parameters had before the first backward pass
        self.gradients: Tensors = {}  # copies after the latest backward pass
        self.by_grad = False  # by torch.autograd.grad
        self.other_step = (
            ""  # the place of a backward pass that reached it before a step of another optimizer
        )

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained; none if the module does not exist any more."""
        module = self.module_ref()
        own = () if module is None else module._parameters.items()
        return {name: p for name, p in own if p is not None and p.requires_grad}

    @property
    def compares_data(self) -> bool:
        """Whether the data of its next pass are compared."""
        return self.number <= CHECKED_NETWORKS and self.compared < MAX_COMPARED

    def rows(self, each: Pass, gradient: torch.Tensor) -> set[int]:
        """The steps whose output gets a gradient that is not zero."""
        used = gradient.any(-1)
        if (packed := each.batch_sizes) is not None:
            return {
                t for t, part in enumerate(torch.split(used, packed.tolist())) if bool(part.any())
            }
        return set(
            (used.any(0 if self.batch_first else 1) if used.dim() == 2 else used)
            .nonzero()
            .flatten()
            .tolist()
        )

    def swapped(self, reason: str, steps: int, batch: int) -> None:
        """Keep evidence that time and batch are swapped."""
        self.evidence["time and batch swapped"].append(
            (self.place, reason, self.layout, steps, batch)
        )

    def sizes(self, x: Any) -> tuple[int, int]:
        """Steps and batch of an input."""
        if isinstance(x, PackedSequence):
            return len(x.batch_sizes), int(x.batch_sizes[0])
        first, second = (*x.shape[:-1], 1, 1)[:2]
        return (
            (1, first)
            if self.is_cell
            else (second, first)
            if self.batch_first and x.dim() == 3
            else (first, second)
        )

    def by_time(self, values: torch.Tensor, steps: int, batch: int) -> torch.Tensor:
        """Values in the layout of the input as (T, B, n)."""
        if self.batch_first:
            return values.reshape(batch, steps, -1).transpose(0, 1)
        return values.reshape(steps, batch, -1)

    def windows(self) -> tuple[Window, ...]:
        """The windows of the next update: reached passes that are joined, in groups."""
        is_by_loss = any(
            each.has_leaf_state for each in self.extent
        )  # the script passes gradients on, loss by loss
        reached, found = (
            list(self.chains.values()) if is_by_loss else [list(self.extent)],
            list[Window](),
        )
        for passes in reached:
            roots, depth, groups = (
                dict[Pass, Pass](),
                dict[Pass, int](),
                defaultdict[Pass, list[Pass]](list),
            )
            for each in sorted(passes, key=lambda each: each.at.number):
                parents = [p for parent in each.parents if (p := parent()) in depth]
                roots[each] = min(
                    (roots[p] for p in parents), key=lambda p: p.at.number, default=each
                )
                depth[each] = self.extent[each] + max((depth[p] for p in parents), default=0)
                groups[roots[each]].append(each)
            found += [
                Window(
                    root.initial, root.origin, root.at.batch, sum(p.at.steps for p in group),
                    max(depth[p] for p in group), root.lengths if len(group) == 1 else (depth[group[-1]],) * 2,
                    len(self.updates) - root.at.update, len(group), any(p.is_attached for p in group), root.at.place,
                )
                for root, group in groups.items()
            ]  # fmt: skip
        return tuple(found)

    def count_steps(self) -> tuple[int, int]:
        """The new steps of the next update, and those with a loss, which its streams then have used."""
        new, losses, streams = 0, 0, defaultdict[Stream, list[Pass]](list)
        for each in self.extent:
            streams[each.at.stream].append(each)
        for stream, passes in streams.items():
            end = max(each.at.start + self.extent[each] for each in passes)
            rows = {each.at.start + row for each in passes for row in self.loss_rows.get(each, ())}
            if end <= stream.counted and all(
                each.at.update == len(self.updates) for each in passes
            ):  # again
                stream.counted = stream.with_loss = min(each.at.start for each in passes)
            new += max(0, end - stream.counted)
            losses += sum(row >= stream.with_loss for row in rows)
            stream.counted = max(stream.counted, end)
            stream.with_loss = max([stream.with_loss, *(row + 1 for row in rows)])
        return new, losses
