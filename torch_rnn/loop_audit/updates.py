"""The updates and windows of a loop, derived from its events.

An update is a step of an optimizer, or a change of parameters after a backward pass
that no optimizer has made. Its gradient is the sum of the backward passes since the
gradient was zero. Its windows are the passes that these have reached, joined where
the graph of the state joins them.
"""

import math
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from torch_rnn.loop_audit.events import (
    Backward,
    Clip,
    End,
    Event,
    Forward,
    Loss,
    ModuleRecord,
    OptimizerRecord,
    Origin,
    Reach,
    Record,
    StatePart,
    Step,
)

# Where the initial state of a window comes from
PREVIOUS = "the previous window, cut"
OLDER = "an older window, cut"
WITHOUT_GRADIENT = "a pass without gradient"

AnyEvent = TypeVar("AnyEvent", bound=Event)
BY_HAND = OptimizerRecord("by hand, after backward()")


@dataclass(eq=False, slots=True)
class Window:
    """Passes that are joined by their states.

    k1 is the number of steps whose output enters the loss, and k2 the number of steps
    that the gradient goes through.
    """

    first: Forward
    sources: set[Forward] = field(default_factory=set)  # all passes
    steps: int = 0
    k1: int = 0
    k2: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Update:
    """One change of parameters, and the backward passes that its gradient sums."""

    number: float  # of the event, or half one more, after a backward pass
    end: float  # number before which it has been made
    location: str
    optimizer: OptimizerRecord
    parameters: frozenset[int]  # which it holds, and have a gradient
    backwards: set[Backward]
    lost: Sequence[Backward] = ()  # since the last update: their gradient was zeroed
    adds_up: bool = False  # backward passes of the update before are in the sum
    is_known: bool = True  # its gradient is what backward passes have left
    has_closure: bool = False


class Run:
    """The events of a loop, and what is derived from them."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.forwards = self._events(Forward)
        self.losses = self._events(Loss)
        self.backwards = self._events(Backward)
        self.clips = self._events(Clip)
        self.steps = self._events(Step)
        self.modules = list(dict.fromkeys(each.module for each in self.forwards))
        self.stepped = union(each.held for each in self.steps)
        self.by_hand = self._changes_by_hand()
        self.changed = union([frozenset(record.stepped), *self.by_hand.values()])
        self.updates = self._updates()
        self.used_in = defaultdict[Backward, list[Update]](list)
        for update in self.updates:
            for backward in update.backwards:
                self.used_in[backward].append(update)

    def _events(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for event in self.record.events if isinstance(event, kind)]

    def _changes_by_hand(self) -> dict[Backward, frozenset[int]]:
        """Return the parameters that change after a backward pass, before the next
        reading of them, without a step of an optimizer."""
        found = defaultdict[Backward, frozenset[int]](frozenset)
        latest: dict[int, Backward] = {}
        readings: list[Backward | End | Step]
        readings = [*self.backwards, *self._events(End), *self.steps]
        for reading in sorted(readings, key=lambda each: each.number):
            if isinstance(reading, Step):
                for p in reading.held:
                    latest.pop(p, None)
                continue
            for p, weight in reading.weights.items():
                if p in latest and differs(latest[p].weights[p], weight):
                    found[latest[p]] |= {p}
                if isinstance(reading, Backward):
                    latest[p] = reading
        return found

    def _updates(self) -> list[Update]:
        causes: list[Step | Backward] = list(self.steps)
        for backward, changed in self.by_hand.items():
            if changed - self.stepped:
                causes.append(backward)
        updates: list[Update] = []
        latest: dict[OptimizerRecord, Update] = {}
        for cause in sorted(causes, key=lambda each: each.number):
            if isinstance(cause, Step):
                update = self._step_of(cause, latest.get(cause.optimizer))
            else:
                update = self._update_by_hand(cause, latest.get(BY_HAND))
            updates.append(update)
            latest[update.optimizer] = update
        return updates

    def _step_of(self, step: Step, latest: Update | None) -> Update:
        used = self._summed(step.with_gradient, step.number)
        inside = {b for b in self.backwards if step.begin < b.number < step.number}
        used |= inside
        return Update(
            number=step.number,
            end=step.number,
            location=step.location,
            optimizer=step.optimizer,
            parameters=step.with_gradient,
            backwards=used,
            lost=self._lost(latest, step, used),
            adds_up=latest is not None and bool(used & latest.backwards),
            is_known=not step.set_by_hand,
            has_closure=bool(inside),
        )

    def _update_by_hand(self, backward: Backward, latest: Update | None) -> Update:
        parameters = self.by_hand[backward] - self.stepped
        number = backward.number + 0.5
        used = self._summed(parameters, number)
        later = [b.number for b in self.backwards if b.number > number]
        return Update(
            number=number,
            end=min(later, default=math.inf),
            location=backward.location,
            optimizer=BY_HAND,
            parameters=parameters,
            backwards=used,
            adds_up=latest is not None and bool(used & latest.backwards),
        )

    def _lost(
        self, latest: Update | None, step: Step, used: set[Backward]
    ) -> list[Backward]:
        """Return the backward passes since the last update that a step does not use."""
        start = latest.number if latest is not None else 0
        lost = []
        for backward in self.backwards:
            is_since = start < backward.number < step.number
            is_gradient = backward.is_nonzero and not backward.has_failed
            is_own = bool(backward.parameters & step.held)
            if is_since and is_gradient and is_own and backward not in used:
                lost.append(backward)
        return lost

    def _summed(self, parameters: frozenset[int], number: float) -> set[Backward]:
        """Return the backward passes whose sum the gradients of parameters are."""
        used = set[Backward]()
        missing = set(parameters)
        for backward in reversed(self.backwards):
            if backward.number < number and not backward.has_failed:
                found = missing & backward.parameters
                if found:
                    used.add(backward)
                    missing -= found & backward.was_zero
            if not missing:
                break
        return used

    @cached_property
    def update_after(self) -> dict[Clip, Update | None]:
        """The first update after each clip, of parameters that are clipped."""
        found = dict[Clip, Update | None]()
        for clip in self.clips:
            found[clip] = None
            for update in self.updates:
                if update.end > clip.number and update.parameters & clip.parameters:
                    found[clip] = update
                    break
        return found

    @cached_property
    def windows(self) -> dict[ModuleRecord, list[tuple[Update, list[Window]]]]:
        """The windows of each update of each module, without updates of none."""
        found: dict[ModuleRecord, list[tuple[Update, list[Window]]]] = {}
        for net in self.modules:
            found[net] = []
            for update in self.updates:
                if update.parameters & net.parameters:
                    windows = windows_of(update, net)
                    if windows:
                        found[net].append((update, windows))
        return found

    def all_windows(self, module: ModuleRecord) -> list[Window]:
        return [each for _, windows in self.windows[module] for each in windows]


def union(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*sets)


def differs(a: float, b: float) -> bool:
    """Return whether two norms differ; that of NaN is always the same."""
    return a != b and not (math.isnan(a) and math.isnan(b))


def windows_of(update: Update, module: ModuleRecord) -> list[Window]:
    """Return the windows of a module in an update, in the order of their passes."""
    reached: dict[Forward, Reach] = {}
    for backward in update.backwards:
        for forward, reach in backward.reached.items():
            if forward.module is module:
                known = reached.get(forward, reach)
                reached[forward] = max(known, reach, key=lambda each: each.steps)
    depth: dict[Forward, int] = {}
    found: dict[Forward, Window] = {}  # of each pass
    for forward in sorted(reached, key=lambda each: each.number):
        parents = [p for p in forward.parents if p in depth]
        window = found[parents[0]] if parents else Window(forward)
        before = max((depth[p] for p in parents), default=0)
        depth[forward] = reached[forward].steps + before
        found[forward] = window
        window.sources.add(forward)
        window.steps += forward.steps
        window.k1 += reached[forward].used
        window.k2 = max(window.k2, depth[forward])
    return list(dict.fromkeys(found.values()))


def initial_state(forward: Forward) -> str:
    """Return in words where the initial state of a window comes from."""
    kinds = dict.fromkeys(_origin_in_words(forward, p) for p in forward.state)
    if not kinds:
        return Origin.ZEROS.value
    if len(kinds) == 1:
        return next(iter(kinds))
    return " (h) and ".join(kinds) + " (c)"


def _origin_in_words(forward: Forward, part: StatePart) -> str:
    if part.origin is not Origin.CUT or part.source is None:
        return part.origin.value
    if not part.source.has_gradient:
        return WITHOUT_GRADIENT
    if part.steps == part.source.steps and part.source is forward.previous:
        return PREVIOUS
    return OLDER


def attached_passes(run: Run, module: ModuleRecord) -> list[Forward]:
    """Return the passes of backward passes whose state or input is attached to a pass
    of an earlier update."""
    found = []
    updates = [u.number for u in run.updates if u.parameters & module.parameters]
    for backward in run.backwards:
        for forward in backward.reached:
            before = bisect(updates, forward.number)
            is_seen = forward.module is module and backward.is_complete
            parents = forward.parents if is_seen else ()
            if any(bisect(updates, parent.number) < before for parent in parents):
                found.append(forward)
    return found


# The truncation


def ranged(values: Iterable[int]) -> str:
    """Return a number, or the least and the largest of several."""
    found = sorted(set(values))
    if len(found) == 1:
        return str(found[0])
    return f"{found[0]} to {found[-1]}"


def truncation(run: Run, module: ModuleRecord) -> str:
    """Return in words which truncation the windows of a module make."""
    windows = run.all_windows(module)
    if not windows:
        return "no update by its gradients is seen"
    pairs = Counter((window.k1, window.k2) for window in windows)
    (k1, k2), count = pairs.most_common(1)[0]
    states = Counter(initial_state(window.first) for window in windows)
    is_cut = any(p.origin is Origin.CUT for w in windows for p in w.first.state)
    if attached_passes(run, module):
        return "no truncation: the gradient goes on into earlier updates"
    is_tbptt = (
        is_cut
        and len(windows) == len(run.windows[module])
        and all(w.steps == k2 for w in windows if (w.k1, w.k2) == (k1, k2))
        and 2 * count > len(windows)
        and k2 == max(window.k2 for window in windows)
        # chunks of which some steps have no loss are no TBPTT(k1, k2)
        and 0 < k1 <= k2
        and (k1 == k2 or 2 * states[PREVIOUS] <= len(windows))
    )
    if is_tbptt:
        return f"TBPTT({k1}, {k2}), state carried and cut"
    name = "truncated BPTT"
    if states[Origin.UNKNOWN.value]:
        name = "BPTT"
    elif not is_cut and all(w.k2 == w.steps for w in windows):
        name = "full BPTT"
    return f"{name}, each window from {' or '.join(states)}"
