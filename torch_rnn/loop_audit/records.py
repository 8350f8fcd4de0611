"""The records of an audited loop: forward passes of recurrent modules, and the updates that they lead to."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

Initial = Literal["zeros", "learned", "carried", "computed", "constant"]


@dataclass(eq=False, slots=True)
class Pass:
    """One forward pass of a recurrent module.

    The initial state is: zeros; a learned parameter; carried, which is the last state of an earlier pass bit for bit;
    computed from other tensors with gradients; or a constant that the script sets.
    """

    network: "Network"
    number: int  # from 1, over all modules
    place: str  # FILE:LINE of the call
    update: int  # updates of the network before it
    steps: int
    batch: int
    initial: Initial
    link: "Pass | None"  # the earlier pass to which the initial state is attached
    source: "Pass | None"  # the earlier pass whose state it carries
    shift: int  # the step of that pass whose state it carries, if that is not the last
    relayed: bool  # the initial state is a leaf with a gradient, which the script may pass on by hand
    graph: bool  # autograd records it
    drawn: int  # batches that a shuffling DataLoader had drawn before
    states: tuple[torch.Tensor, ...] = ()  # copies of the last states
    is_kept: bool = False  # the script keeps the last state by a name, when the backward pass starts
    codes: torch.Tensor | None = None  # (T, B, D) inputs, or (T, B, 1) classes, while they are evidence
    end: tuple[int, ...] = ()  # where its inputs end in the memory
    last_target: torch.Tensor | None = None  # of its last step, as the loss got it
    reached: int = 0  # the latest backward pass that reached it since the gradients were zero
    nodes: int = 0  # of its graph
    outputs: torch.Tensor | None = None  # (T, B, H), of the latest pass
    arrays: dict[str, torch.Tensor] | None = None  # copies of x, initial state and outputs, for the check
    dy: dict[str, torch.Tensor] = field(default_factory=dict)  # gradients of its outputs


class Window(NamedTuple):
    """The passes that one gradient goes through: `reach` steps, of which `steps` are new since the last update."""

    initial: Initial  # of its first pass
    batch: int
    steps: int  # k1 of this window
    reach: int  # k2 of this window
    back: int  # how many updates ago its first pass was made
    passes: int
    attached: bool  # it goes on into earlier windows by the graph
    shift: int  # steps from the start of the window before, where the two overlap
    place: str


class Clip(NamedTuple):
    """A call of clip_grad_norm_ or clip_grad_value_, or a change of the gradient that was seen."""

    kind: str  # "norm", "value" or "changed"
    limit: float
    place: str
    parameters: frozenset[int] = frozenset()  # ids


class Check(NamedTuple):
    """What was recomputed: the largest difference, in units of its rounding bound, or why it was not checked."""

    ratio: float | None
    reason: str = ""
    name: str = ""  # of the tensor with the largest difference


class Update(NamedTuple):
    """One step of an optimizer, or change of the weights by the script, and the windows whose gradients it got."""

    network: int
    number: int  # from 1, for each network
    place: str
    optimizer: str  # "" for a change by the script
    windows: tuple[Window, ...]
    backward: int  # backward passes
    is_stale: bool  # the gradient contains that of an earlier update
    is_empty: bool  # the gradient is zero or None, though a backward pass computed one
    clip: Clip | None
    unlinked: bool  # passes of one step each, all detached from each other
    gradient: Check | None = None  # None if not due
    step: Check | None = None


@dataclass(eq=False)
class Network:
    """A recurrent module, and all that was seen of it."""

    number: int
    module: Any  # RNNBase or RNNCellBase
    place: str
    obstacle: str  # why its gradient cannot be checked; empty if it can
    passes: list[Pass] = field(default_factory=list)  # those that a gradient may still reach
    last: Pass | None = None
    counts: Counter[tuple[int, int, bool]] = field(default_factory=Counter)  # passes by (steps, batch, graph)
    initials: Counter[Initial] = field(default_factory=Counter)  # passes with a graph
    updates: list[Update] = field(default_factory=list)
    optimizer: Any = None  # of the latest update
    pending: int = 0  # backward passes since the last update
    backward_place: str = "?"  # of the latest one
    is_used: bool = False  # an update has used the gradients
    is_stale: bool = False
    has_gradient: bool = False  # after the latest backward pass
    was_reached: bool = False
    is_reached: bool = False  # by the backward pass that runs
    weights: list[torch.Tensor] = field(default_factory=list)  # copies, as of the latest backward pass
    gradients: list[torch.Tensor] = field(default_factory=list)
    clip: Clip | None = None
    # Evidence of what is probably not meant: places, and why time and batch are probably swapped.
    late_clips: list[str] = field(default_factory=list)
    attached: list[str] = field(default_factory=list)  # to a window that a backward pass has gone through
    dropped: str | None = None  # the result of detach()
    zeroed: str | None = None  # the latest zero_grad between a backward pass and a step
    shuffled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The parameters that are trained."""
        return [p for p in self.module.parameters(recurse=False) if p.requires_grad]

    @property
    def is_cell(self) -> bool:
        """Whether it computes one step per call."""
        return isinstance(self.module, torch.nn.modules.rnn.RNNCellBase)

    @property
    def name(self) -> str:
        """The module as a line of code."""
        name = f"nn.{type(self.module).__name__}({self.module.extra_repr()})"
        return f"{name}, {self.module.nonlinearity}" if hasattr(self.module, "nonlinearity") else name

    @property
    def is_due(self) -> bool:
        """Whether the gradient of the next update is checked: the first five, and every 20th."""
        return len(self.updates) < 5 or len(self.updates) % 20 == 0

    @property
    def any_gradient(self) -> bool:
        """Whether a gradient of its parameters is not zero."""
        return any(p.grad is not None and bool(p.grad.any()) for p in self.parameters)
