"""The events of a training loop, in the order in which they happen.

An event says what was called, with what, and what came out. It contains no judgement:
updates and windows are derived from the events in `updates.py`, mistakes in
`mistakes.py`. Parameters are named by their `id`, as they live as long as the record.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

MAX_EVENTS = 100_000  # of a record


class Origin(Enum):
    """Where a part of an initial state comes from."""

    ZEROS = "zeros"
    ATTACHED = "the previous window, attached"  # in the same graph
    CUT = "cut"  # the numbers of an earlier pass, without its graph
    COMPUTED = "learned or computed"
    UNKNOWN = "unknown"


@dataclass(eq=False, slots=True)
class ModuleRecord:
    """A recurrent module of torch.nn."""

    kind: str
    location: str
    is_cell: bool
    time_axis: int
    is_bidirectional: bool
    parameters: frozenset[int]
    name: str = ""


@dataclass(eq=False, slots=True)
class OptimizerRecord:
    """An optimizer; the norms of its weights are those around its first step."""

    kind: str
    has_moments_before: bool = False
    has_moments: bool = False
    weights_before: tuple[float, ...] = ()
    weights_after: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Event:
    """What all events have. `location` is FILE:LINE of the call in the script."""

    number: int
    location: str


@dataclass(frozen=True, eq=False, slots=True)
class StatePart:
    """h or c of an initial state: its origin, and for a carried one the pass, output
    ("h", "c", "out") and number of steps after which it is taken."""

    origin: Origin
    source: "Forward | None" = None
    output: str = ""
    steps: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Forward(Event):
    """A call of a recurrent module or cell."""

    module: ModuleRecord
    steps: int
    has_gradient: bool
    state: tuple[StatePart, ...]
    previous: "Forward | None"  # pass with gradient of this module
    parents: tuple["Forward", ...]  # passes of this module in the graph of the state


@dataclass(frozen=True, eq=False, slots=True)
class Loss(Event):
    """A call of a loss function, or a loss without one, seen at backward()."""

    name: str
    is_call: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """What a backward pass reaches of a forward pass."""

    steps: int  # which the gradient goes through
    used: int  # whose output enters the loss, directly or through other modules
    is_one_sequence: bool  # of a batch, and several steps


@dataclass(frozen=True, eq=False, slots=True)
class Backward(Event):
    """A backward pass: what it reaches, and the gradients before and after it."""

    losses: tuple[Loss, ...]
    reached: dict[Forward, Reach]
    parameters: frozenset[int]
    was_zero: frozenset[int]  # parameters whose gradient was zero before
    weights: dict[int, float]  # norms of the parameters
    is_nonzero: bool
    has_failed: bool
    is_complete: bool  # no part of its graph is compiled or left out
    reaches_data: bool  # a leaf that is no parameter


@dataclass(frozen=True, eq=False, slots=True)
class Clip(Event):
    """A call that changes gradients: clipping, or "unscale" of a GradScaler."""

    kind: str
    limit: float
    acts: bool
    parameters: frozenset[int]


@dataclass(frozen=True, eq=False, slots=True)
class Step(Event):
    """A step of an optimizer."""

    optimizer: OptimizerRecord
    begin: int  # number of the event before it; a closure has events within the step
    held: frozenset[int]  # all parameters of the optimizer
    with_gradient: frozenset[int]  # whose gradient is not zero
    set_by_hand: bool  # whether the script has set or changed a gradient


@dataclass(frozen=True, eq=False, slots=True)
class End(Event):
    """The end of the audit."""

    weights: dict[int, float]


@dataclass(eq=False, slots=True)
class Record:
    """All that a recorder has seen."""

    limit: int
    events: list[Event] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)  # of parameters
    steps: int = 0  # of optimizers, also after the limit
    stepped: set[int] = field(default_factory=set)  # also after the limit
    unseen: Counter[str] = field(default_factory=Counter)
    error: str = ""
