"""The records of an audited loop: forward passes of recurrent modules, and the updates that they lead to."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from weakref import ref

import torch
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

Copies = dict[torch.Tensor, torch.Tensor]  # by parameter
Initial = Literal["zeros", "learned", "carried", "computed", "constant"]
SWAPPED = "time and batch swapped"  # the kind of a warning
MAX_EVIDENCE = 40  # passes of a network whose data are compared


@dataclass(eq=False, slots=True, weakref_slot=True)
class Pass:
    """One forward pass of a recurrent module. It lives as long as its graph, a gradient or `Network.recent` needs it.

    The initial state is: zeros; a learned parameter; carried, which is a state of an earlier pass bit for bit; computed
    from other tensors with gradients; or a constant that the script sets.
    """

    number: int  # in the order of the passes of all modules
    place: str  # FILE:LINE of the call
    update: int  # updates of the network before it
    steps: int
    batch: int
    has_graph: bool
    drawn: int  # batches that a shuffling DataLoader had drawn before
    arrays: dict[str, torch.Tensor]  # copies of the states h_0, h and c, and of x and out (T, B, n) if not packed
    initial: Initial = "zeros"
    parent: "ref[Pass] | None" = None  # the pass that a gradient goes on to, by the graph or passed on by the script
    shift: int = 0  # the step of an earlier pass whose state it carries, if that is not the last
    is_attached: bool = False  # by the graph to a pass before the latest update
    is_cut: bool = False  # a single step, detached from the step before of the same update
    codes: Any = None  # (T, B, D) inputs, or (T, B, 1) classes, while its data are compared
    end: tuple[int, ...] = ()  # where its inputs end in the memory
    target: torch.Tensor | None = None  # of its last step
    is_kept: bool = False  # the script has a name for its last state, when the backward pass starts

    @property
    def states(self) -> list[torch.Tensor]:
        """The last states."""
        return [self.arrays[name] for name in "hc" if name in self.arrays]


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

    @property
    def schedule(self) -> tuple[int, int]:
        """(k1, k2). A window that starts within the window before repeats steps."""
        return self.shift or self.steps, self.reach


class Clip(NamedTuple):
    """A call of clip_grad_norm_ or clip_grad_value_, or a change of the gradient by the script itself."""

    kind: str  # "norm", "value" or "script"
    limit: float
    place: str
    parameters: int  # how many are clipped together


class Check(NamedTuple):
    """A recomputed value: the largest difference, in units of its rounding bound, or why it was not checked."""

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
    clip: Clip | None
    gradient: Check | None = None  # None if not due
    step: Check | None = None


class Network:
    """A recurrent module, and all that was seen of it."""

    def __init__(self, number: int, module: Any, place: str):
        self.number, self.module, self.place = number, module, place
        self.is_cell = isinstance(module, RNNCellBase)
        self.batch_first = bool(getattr(module, "batch_first", False))
        self.layout = "(batch, time, feature)" if self.batch_first else "(time, batch, feature)"
        nonlinearity = f", {module.nonlinearity}" if hasattr(module, "nonlinearity") else ""
        self.name = f"nn.{type(module).__name__}({module.extra_repr()}){nonlinearity}"
        self.counts = Counter[tuple[int, int, bool]]()  # passes by steps, batch and whether there is a gradient
        self.initials = Counter[Initial]()  # passes with a gradient
        self.updates: list[Update] = []
        self.optimizer: Any = None  # of the latest update
        self.was_reached = False  # by a backward pass
        self.recent = deque[Pass](maxlen=16)
        self.evidence: dict[str, list[tuple[Any, ...]]] = defaultdict(list)  # by kind of warning: place, values
        self.is_used = False  # an update has used the gradients that the parameters have
        self.begin_update()

    def begin_update(self) -> None:
        """Forget what led to the latest update."""
        self.backwards: list[str] = []  # places of the backward passes
        self.reached: dict[Pass, dict[str, torch.Tensor]] = {}  # by them: gradients of the outputs
        self.has_gradient = False  # after the latest backward pass
        self.clip: Clip | None = None

    def swapped(self, reason: str, steps: int, batch: int) -> tuple[Any, ...]:
        """Evidence that time and batch are swapped."""
        return self.place, reason, self.layout, steps, batch, "=True" * self.batch_first

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The parameters that are trained."""
        return [p for p in self.module.parameters(recurse=False) if p.requires_grad]

    @property
    def is_due(self) -> bool:
        """Whether the gradient of the next update is checked: the first five, and every 20th."""
        return len(self.updates) < 5 or len(self.updates) % 20 == 0

    @property
    def is_by_script(self) -> bool:
        """Whether the script itself may change the weights: so did the latest update, or there is none."""
        return not self.updates or not self.updates[-1].optimizer

    @property
    def any_gradient(self) -> bool:
        """Whether a gradient of its parameters is not zero."""
        return any(p.grad is not None and bool(p.grad.any()) for p in self.parameters)

    def sizes(self, x: Any) -> tuple[int, int]:
        """Steps and batch of an input."""
        if isinstance(x, PackedSequence):
            return len(x.batch_sizes), int(x.batch_sizes[0])
        first, second = (*x.shape[:-1], 1, 1)[:2]
        return (1, first) if self.is_cell else (second, first) if self.batch_first and x.dim() == 3 else (first, second)

    def by_time(self, values: torch.Tensor, steps: int, batch: int) -> torch.Tensor:
        """Values in the layout of the input as (T, B, n)."""
        if self.batch_first:
            return values.reshape(batch, steps, -1).transpose(0, 1)
        return values.reshape(steps, batch, -1)

    def windows(self) -> tuple[Window, ...]:
        """The windows of the next update: reached passes that are joined, in groups."""
        now, roots, groups = len(self.updates), dict[Pass | None, Pass](), dict[Pass, list[Pass]]()
        for each in sorted(self.reached, key=lambda each: each.number):
            roots[each] = roots.get(each.parent() if each.parent else None, each)
            groups.setdefault(roots[each], []).append(each)
        return tuple(
            Window(
                root.initial, root.batch, sum(p.steps for p in group if p.update == now), sum(p.steps for p in group),
                now - root.update, len(group), any(p.is_attached for p in group), root.shift, root.place,
            )
            for root, group in groups.items()
        )  # fmt: skip
