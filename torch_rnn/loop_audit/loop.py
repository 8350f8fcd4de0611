"""The updates and windows of a loop, derived from its events.

The windows of an update are the passes that its backward passes have reached, joined
where the graph of the state joins them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from torch_rnn.loop_audit.events import (
    BY_HAND,
    BackwardPass,
    Event,
    ForwardPass,
    GradientClip,
    GradientEvent,
    LoopRecord,
    LoopUpdate,
    LossCall,
    ModuleRecord,
    OptimizerRecord,
    Origin,
    Reach,
)

EventKind = TypeVar("EventKind", bound=Event)
AnyKey = TypeVar("AnyKey")


@dataclass(eq=False, slots=True)
class LoopWindow:
    """Passes that are joined by their states.

    k1 is the number of steps whose output enters the loss, and k2 the number of steps
    that the gradient goes through.
    """

    first: ForwardPass
    passes: set[ForwardPass] = field(default_factory=set)
    steps: int = 0
    k1: int = 0
    k2: int = 0


class TruncationKind(Enum):
    """The kinds of backpropagation through time, by the words of the report."""

    TBPTT = "TBPTT"
    FULL = "full BPTT"
    WITHIN_WINDOWS = "BPTT within windows"
    OTHER = "truncated BPTT"
    UNKNOWN = "BPTT"  # as states of unknown origin are used
    NONE = "no truncation: the gradient goes on into earlier updates"
    UNSEEN = "no update by its gradients is seen"


@dataclass(frozen=True, slots=True)
class Truncation:
    """The truncation that the windows of a module make.

    k1 and k2 are those of TBPTT(k1, k2), and 0 for other kinds. `states` are the
    origins of the initial states where the kind does not say them.
    """

    kind: TruncationKind
    k1: int = 0
    k2: int = 0
    states: tuple[str, ...] = ()

    def is_tbptt(self, k1: int, k2: int) -> bool:
        """Return whether it is TBPTT(k1, k2)."""
        is_same = (self.k1, self.k2) == (k1, k2)
        return self.kind is TruncationKind.TBPTT and is_same

    def __str__(self) -> str:
        """Return the truncation in words."""
        if self.kind is TruncationKind.TBPTT:
            return f"TBPTT({self.k1}, {self.k2}), state carried and cut"
        name = str(self.kind.value)
        if not self.states:
            return name
        return f"{name}, each window from {' or '.join(self.states)}"


class TrainingLoop:
    """The events of a loop, and what is derived from them."""

    # of each module, for each update in which it has any
    windows: dict[ModuleRecord, list[tuple[LoopUpdate, list[LoopWindow]]]]

    def __init__(self, record: LoopRecord) -> None:
        """Derive the updates and windows of a record."""
        self.record = record
        self.forwards = self._events(ForwardPass)
        self.losses = self._events(LossCall)
        self.backwards = self._events(BackwardPass)
        self.clips = self._events(GradientClip)
        self.updates: list[LoopUpdate] = []
        self.adding: set[LoopUpdate] = set()  # to the gradient of the update before
        self.by_optimizer = defaultdict[OptimizerRecord, list[LoopUpdate]](list)
        self.used_in = defaultdict[BackwardPass, list[LoopUpdate]](list)
        self.moved = set[BackwardPass]()  # whose gradients have moved parameters
        self.changed = frozenset(record.stepped)  # all parameters
        self._find_updates()
        self.windows = {}
        for module in dict.fromkeys(each.module for each in self.forwards):
            self.windows[module] = []
            for update in self.updates:
                windows = _windows_of(update, module)
                if windows:
                    self.windows[module].append((update, windows))

    def _find_updates(self) -> None:
        """Find the updates, and the backward passes that each uses."""
        every = self._events(LoopUpdate)
        stepped = union(u.held for u in every if u.optimizer is not BY_HAND)
        for update in every:
            self.changed |= update.held
            self.moved |= update.backwards
            # an optimizer may move the parameters that it steps, as SAM
            if update.optimizer is BY_HAND and update.parameters <= stepped:
                continue
            self.updates.append(update)
            self.by_optimizer[update.optimizer].append(update)
            for backward in update.backwards:
                for other in self.used_in[backward]:
                    if other.optimizer is update.optimizer:
                        self.adding.add(update)
                self.used_in[backward].append(update)

    def has(self, kind: type[Event]) -> bool:
        """Return whether mistakes of a kind of events can be looked for."""
        if kind is ForwardPass:
            return any(forward.has_gradient for forward in self.forwards)
        if kind is LossCall:
            return any(loss.is_call for loss in self.losses)
        return bool(self.updates)

    def _events(self, kind: type[EventKind]) -> list[EventKind]:
        """Return the events of a kind, in their order."""
        return [event for event in self.record.events if isinstance(event, kind)]

    def all_windows(self, module: ModuleRecord) -> list[LoopWindow]:
        """Return the windows of a module, each once if it is in several updates."""
        found: dict[frozenset[ForwardPass], LoopWindow] = {}
        for _, windows in self.windows[module]:
            for window in windows:
                found[frozenset(window.passes)] = window
        return list(found.values())

    def event_after(self, clip: GradientClip) -> GradientEvent | None:
        """Return the next event that changes or uses the gradients that are clipped."""
        for event in self.record.events[clip.number :]:
            if not isinstance(event, GradientEvent) or is_clip(event):
                continue
            if event.parameters & clip.parameters:
                return event
        return None


def is_clip(event: Event) -> bool:
    """Return whether an event limits gradients, and does not unscale them."""
    return isinstance(event, GradientClip) and event.kind != "unscale"


def union(sets: Iterable[frozenset[AnyKey]]) -> frozenset[AnyKey]:
    """Return all elements of sets."""
    return frozenset[AnyKey]().union(*sets)


def _windows_of(update: LoopUpdate, module: ModuleRecord) -> list[LoopWindow]:
    """Return the windows of a module in an update, in the order of their passes."""
    reached: dict[ForwardPass, Reach] = {}
    if not update.parameters & module.parameters:
        return []
    for backward in update.backwards:
        for forward, reach in backward.reached.items():
            if forward.module is module:
                known = reached.get(forward, reach)
                reached[forward] = max(known, reach, key=lambda each: each.steps)
    depth: dict[ForwardPass, int] = {}
    found: dict[ForwardPass, LoopWindow] = {}  # of each pass
    for forward in sorted(reached, key=lambda each: each.number):
        parents = [p for p in forward.parents if p in depth]
        window = found[parents[0]] if parents else LoopWindow(forward)
        before = max((depth[p] for p in parents), default=0)
        depth[forward] = reached[forward].steps + before
        found[forward] = window
        window.passes.add(forward)
        window.steps += forward.steps
        window.k1 += reached[forward].used
        window.k2 = max(window.k2, depth[forward])
    return list(dict.fromkeys(found.values()))


def attached_passes(loop: TrainingLoop, module: ModuleRecord) -> list[ForwardPass]:
    """Return the passes of backward passes whose state or input is attached to a pass
    of an earlier update.
    """
    found = []
    for backward in loop.backwards:
        for forward in backward.reached:
            is_seen = forward.module is module and backward.is_complete
            parents = forward.parents if is_seen else ()
            if any(parent.updates < forward.updates for parent in parents):
                found.append(forward)
    return found


def origin_in_words(forward: ForwardPass) -> str:
    """Return in words where the initial state of a window comes from."""
    kinds = [part.origin.value for part in forward.state]
    if len(set(kinds)) == 1:
        return kinds[0]
    return " (h) and ".join(kinds) + " (c)"


def truncation(loop: TrainingLoop, module: ModuleRecord) -> Truncation:
    """Return which truncation the windows of a module make."""
    windows = loop.all_windows(module)
    if not windows:
        return Truncation(TruncationKind.UNSEEN)
    if attached_passes(loop, module):
        return Truncation(TruncationKind.NONE)
    pairs = Counter((window.k1, window.k2) for window in windows)
    (k1, k2), count = pairs.most_common(1)[0]
    states = Counter(origin_in_words(window.first) for window in windows)
    is_cut = any(part.is_carried for w in windows for part in w.first.state)
    is_tbptt = (
        is_cut
        and len(windows) == len(loop.windows[module])
        and all(w.steps == k2 for w in windows if (w.k1, w.k2) == (k1, k2))
        and 2 * count > len(windows)
        and k2 == max(window.k2 for window in windows)
        # chunks of which some steps have no loss are no TBPTT(k1, k2)
        and 0 < k1 <= k2
        and (k1 == k2 or 2 * states[Origin.PREVIOUS.value] <= len(windows))
    )
    if is_tbptt:
        return Truncation(TruncationKind.TBPTT, k1, k2)
    kind = TruncationKind.OTHER
    if states[Origin.UNKNOWN.value]:
        kind = TruncationKind.UNKNOWN
    elif states[Origin.RESET.value]:
        kind = TruncationKind.WITHIN_WINDOWS
        del states[Origin.ZEROS.value]
    elif not is_cut and all(w.k2 == w.steps for w in windows):
        kind = TruncationKind.FULL
    return Truncation(kind, states=tuple(states))
