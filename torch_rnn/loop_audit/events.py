"""The events of a training loop, in the order in which they happen.

An event says what was called, with what, and what came out. It contains no judgement:
windows are derived from the events in `loop.py`, mistakes in `mistakes.py`. Parameters
are identified by their `id`, as they live as long as the record.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from torch.utils.weak import WeakIdRef

from torch_rnn.loop_audit.location import current_location

MAX_EVENTS = 100_000  # a record keeps no more than these
GIVEN_GRADIENTS = "the steps that backward() with a gradient of a state joins"
CLOSURES = "what closures of optimizers compute"
UNNAMED_LOSS = "of a function that is not watched"
AnyKey = TypeVar("AnyKey")
AnyEvent = TypeVar("AnyEvent", bound="Event")


def union(sets: Iterable[Iterable[AnyKey]]) -> frozenset[AnyKey]:
    """Return all elements of sets."""
    return frozenset[AnyKey]().union(*sets)


def as_list(tensors: Any) -> list[torch.Tensor]:
    """Return one tensor, several or none as a list."""
    if tensors is None:
        return []
    return [tensors] if torch.is_tensor(tensors) else list(tensors)


# Initial states


class Origin(Enum):
    """Where a part of an initial state comes from."""

    ZEROS = "zeros"
    ATTACHED = "the previous window, attached"  # in the same graph
    PREVIOUS = "the previous window, cut"
    INSIDE = "a step inside the previous window, cut"
    OLDER = "an older window, cut"
    EPOCH = "an earlier epoch, cut"
    ELSEWHERE = "elsewhere in the data, cut"
    WITHOUT_GRADIENT = "a pass without gradient"
    COMPUTED = "what is learned or computed"
    UNKNOWN = "unknown"


class InputData(NamedTuple):
    """What is known of the inputs of a pass as a view of a tensor of data."""

    # the tensor, its version, and the offset of step 0; None: unknown
    series: tuple[WeakIdRef, int, int] | None = None
    step: int = 0  # at which the view begins


@dataclass(eq=False)
class SampledBatch:
    """A batch that a DataLoader has yielded."""

    iteration: int  # of all loaders, from 1
    loader: int  # what identifies the data set
    indices: tuple[int, ...]  # of its samples; none: unknown
    is_stacked: bool  # dimension 0 of its tensors counts samples


@dataclass(eq=False)
class DataContents:
    """The numbers of the inputs of a pass, as hashes. None: unknown."""

    digest: int | None = None
    first: int | None = None  # of the first step
    following: int | None = None  # of the step that follows the last, by the target
    next_step: torch.Tensor | None = None  # this step, until the next window begins
    is_shifted: bool = False  # the target is the input one step later
    batch: SampledBatch | None = None
    are_samples_steps: bool = False  # the module takes samples for steps of time
    roughness: tuple[float, float] | None = None  # along time, and along the batch


class StatePart(NamedTuple):
    """h or c of an initial state: its origin, and the pass that a carried one is of."""

    origin: Origin
    source: "ForwardPass | None" = None
    output: str = ""  # of the pass: "h", "c" or "out"
    steps: int = 0  # of the pass, after which it is taken
    is_order_known: bool = True  # whether its data are known to follow the source's

    @property
    def is_carried(self) -> bool:
        """Whether it has the numbers of an earlier pass, without its graph."""
        return self.source is not None and self.origin is not Origin.ATTACHED

    @property
    def is_warm_up(self) -> bool:
        """Whether passes without gradient lead to it, and none with gradient."""
        return self.origin is Origin.WITHOUT_GRADIENT and not self.is_from_training

    @property
    def is_from_training(self) -> bool:
        """Whether passes without gradient lead from one in training to it."""
        forward = self.source
        while forward is not None and not forward.has_gradient:
            forward = forward.state[0].source
        return forward is not None


# Events


@dataclass(frozen=True, eq=False)
class Event:
    """Something that happens in a loop."""

    number: int  # in the order of the events, from 1
    location: str  # FILE:LINE of the call in the script


@dataclass(frozen=True, eq=False)
class ForwardPass(Event):
    """A call of a recurrent module or cell."""

    module: nn.Module
    steps: int
    has_gradient: bool
    data: InputData
    contents: DataContents
    sequences: int  # of the batch
    across: InputData  # the data, as if time were the axis of the batch
    is_training: bool  # the module is in the mode of training
    is_state_given: bool
    state: tuple[StatePart, ...]
    parents: tuple["ForwardPass", ...]  # of this module, in the graph of the inputs

    @property
    def is_bidirectional(self) -> bool:
        """Whether steps also go back."""
        return getattr(self.module, "bidirectional", False)


@dataclass(frozen=True, eq=False)
class LossCall(Event):
    """A call of a loss function, or a loss without one, seen at backward()."""

    name: str
    reduction: str = ""  # "mean", "sum" or "none"; empty: unknown
    signs: frozenset[str] = frozenset()  # of mistakes, by the names of these


class Reach(NamedTuple):
    """What a backward pass reaches of a forward pass."""

    steps: int  # which the gradient goes through
    used: int  # whose output enters the loss, directly or through other modules
    is_one_sequence: bool  # of a batch, and several steps


@dataclass(frozen=True, eq=False)
class GradientEvent(Event):
    """An event that changes or uses the gradients of parameters."""

    parameters: frozenset[int]


@dataclass(frozen=True, eq=False)
class BackwardPass(GradientEvent):
    """A backward pass, and what it reaches."""

    losses: frozenset[LossCall]
    reached: dict[ForwardPass, Reach]
    has_failed: bool
    is_complete: bool  # no part of its graph is compiled or left out
    reaches_data: bool  # a leaf that is no parameter
    # a node of the graph that an earlier pass has gone through, and its FILE:LINE
    shared: tuple[str, str] | None = None


@dataclass(frozen=True, eq=False)
class GradientClip(GradientEvent):
    """A call that clips gradients."""

    kind: str  # "norm" or "value"
    limit: float
    acts: bool


@dataclass(frozen=True, eq=False)
class GradientUnscale(GradientEvent):
    """A call by which a GradScaler unscales the gradients of an optimizer."""


@dataclass(eq=False)
class OptimizerRecord:
    """An optimizer. It is fresh if it had no moments before its first step, and this
    step has made some.
    """

    kind: str
    is_fresh: bool = False


BY_HAND = OptimizerRecord("hand, after backward()")


@dataclass(frozen=True, eq=False)
class LoopUpdate(GradientEvent):
    """A step of an optimizer, or a change of parameters by hand after backward().

    `parameters` are those that have a gradient.
    """

    optimizer: OptimizerRecord
    held: frozenset[int]  # all parameters of the optimizer
    backwards: frozenset[BackwardPass]  # whose sum the gradient is
    is_known: bool  # the gradient is this sum, and not changed by the script
    group: int = 0  # steps of optimizers that are made together are of one group
    rates: tuple[float, ...] = ()  # learning rates, without repetitions


@dataclass(frozen=True, eq=False)
class NonFinite(Event):
    """The first value of its kind that is not finite."""

    kind: str  # "an input", "a result", "a loss", "a gradient" or "a parameter"
    name: str  # of what has it


def parameters_in(events: Iterable[GradientEvent]) -> frozenset[int]:
    """Return the parameters of all events."""
    return union(event.parameters for event in events)


# The record


@dataclass(eq=False)
class LoopRecord:
    """All that a recorder has seen."""

    limit: int  # of updates that are recorded
    events: list[Event] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)  # of parameters, by id
    # Optimizers make steps after the limit too. Those made together are one update.
    steps: int = 0
    is_full: bool = False  # all updates are seen that are recorded
    own: set[nn.Module] = field(default_factory=set)  # that may be recurrent
    zero: set[int] = field(default_factory=set)  # parameters without gradient, by id
    stepped: set[int] = field(default_factory=set)  # parameters, by id
    unseen: set[str] = field(default_factory=set)  # what the report has not looked at
    error: str = ""  # which has ended the audit

    def add(self, event_type: type[AnyEvent], **facts: Any) -> AnyEvent:
        """Make an event with its number and location, and add it while there is
        room.
        """
        facts.setdefault("location", current_location())
        event = event_type(number=len(self.events) + 1, **facts)
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)
        return event
