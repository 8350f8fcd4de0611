"""The updates and windows of a loop, derived from its events.

The windows of an update are the passes that its backward passes have reached, joined
where the graph of the state joins them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from torch_rnn.loop_audit.events import (
    BY_HAND,
    BackwardPass,
    Clipping,
    Event,
    ForwardPass,
    GradientEvent,
    LoopRecord,
    LoopUpdate,
    LossCall,
    ModuleRecord,
    Origin,
    Reach,
)

AnyEvent = TypeVar("AnyEvent", bound=Event)
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


class Loop:
    """The events of a loop, and what is derived from them."""

    def __init__(self, record: LoopRecord) -> None:
        self.record = record
        self.forwards = self._events(ForwardPass)
        self.losses = self._events(LossCall)
        self.backwards = self._events(BackwardPass)
        self.clips = self._events(Clipping)
        self.modules = list(dict.fromkeys(each.module for each in self.forwards))
        every = self._events(LoopUpdate)
        self.changed = union([frozenset(record.stepped), *(u.held for u in every)])
        held = union(u.held for u in every if u.optimizer is not BY_HAND)
        self.updates: list[LoopUpdate] = []
        # all but a move of parameters that an optimizer steps, as of SAM
        for update in every:
            if update.optimizer is not BY_HAND or update.parameters - held:
                self.updates.append(update)
        self.seen = set[type[Event]]()  # kinds by which mistakes can be looked for
        if any(forward.has_gradient for forward in self.forwards):
            self.seen.add(ForwardPass)
        if any(loss.is_call for loss in self.losses):
            self.seen.add(LossCall)
        if self.updates:
            self.seen.add(LoopUpdate)
        self.used = union(update.backwards for update in every)
        self.used_in = defaultdict[BackwardPass, list[LoopUpdate]](list)
        for update in self.updates:
            for backward in update.backwards:
                self.used_in[backward].append(update)
        # of each module, for each update in which it has any
        self.windows: dict[ModuleRecord, list[tuple[LoopUpdate, list[LoopWindow]]]] = {}
        for module in self.modules:
            self.windows[module] = []
            for update in self.updates:
                if update.parameters & module.parameters:
                    windows = _windows_of(update, module)
                    if windows:
                        self.windows[module].append((update, windows))

    def _events(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for event in self.record.events if isinstance(event, kind)]

    def all_windows(self, module: ModuleRecord) -> list[LoopWindow]:
        """Return the windows of a module."""
        return [each for _, windows in self.windows[module] for each in windows]

    def event_after(self, clip: Clipping) -> GradientEvent | None:
        """Return the next event that changes or uses the gradients that are clipped."""
        for event in self.record.events[clip.number :]:
            if not isinstance(event, GradientEvent) or is_clip(event):
                continue
            if event.parameters & clip.parameters:
                return event
        return None


def is_clip(event: Event) -> bool:
    """Return whether an event limits gradients, and does not unscale them."""
    return isinstance(event, Clipping) and event.kind != "unscale"


def union(sets: Iterable[frozenset[AnyKey]]) -> frozenset[AnyKey]:
    """Return all elements of sets."""
    return frozenset[AnyKey]().union(*sets)


def _windows_of(update: LoopUpdate, module: ModuleRecord) -> list[LoopWindow]:
    """Return the windows of a module in an update, in the order of their passes."""
    reached: dict[ForwardPass, Reach] = {}
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


def attached_passes(loop: Loop, module: ModuleRecord) -> list[ForwardPass]:
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


def initial_state(forward: ForwardPass) -> str:
    """Return in words where the initial state of a window comes from."""
    kinds = list(dict.fromkeys(part.origin.value for part in forward.state))
    if len(kinds) == 1:
        return kinds[0]
    return " (h) and ".join(kinds) + " (c)"


def truncation(loop: Loop, module: ModuleRecord) -> str:
    """Return in words which truncation the windows of a module make."""
    windows = loop.all_windows(module)
    if not windows:
        return "no update by its gradients is seen"
    if attached_passes(loop, module):
        return "no truncation: the gradient goes on into earlier updates"
    pairs = Counter((window.k1, window.k2) for window in windows)
    (k1, k2), count = pairs.most_common(1)[0]
    states = Counter(initial_state(window.first) for window in windows)
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
        return f"TBPTT({k1}, {k2}), state carried and cut"
    name = "truncated BPTT"
    if states[Origin.UNKNOWN.value]:
        name = "BPTT"
    elif states[Origin.RESET.value]:
        name = "BPTT within windows"
        del states[Origin.ZEROS.value]
    elif not is_cut and all(w.k2 == w.steps for w in windows):
        name = "full BPTT"
    return f"{name}, each window from {' or '.join(states)}"
