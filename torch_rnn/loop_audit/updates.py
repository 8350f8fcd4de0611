"""The updates and windows of a loop, derived from its events.

An update is a step of an optimizer, or a change of parameters after a backward pass
that no optimizer has made. Its gradient is the sum of the backward passes since the
gradient was zero. Its windows are the passes that these have reached, joined where
the graph of the state joins them.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch_rnn.loop_audit.events import (
    MAX_EVENTS,
    Backward,
    Clip,
    End,
    Forward,
    Loss,
    ModuleRecord,
    OptimizerRecord,
    Origin,
    Reach,
    Record,
    StatePart,
    Step,
    Unscale,
)

# Where the initial state of a window comes from
ZEROS = "zeros"
ATTACHED = "the previous window, attached"
PREVIOUS = "the previous window, cut"
OLDER = "an older window, cut"
EARLIER_EPOCH = "an earlier epoch, cut"
ELSEWHERE = "elsewhere in the data, cut"
WITHOUT_GRADIENT = "a pass without gradient"

BY_HAND = OptimizerRecord("by hand", "")


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """Passes that are joined by their states.

    k1 is the number of steps whose output enters the loss, and k2 the number of steps
    that the gradient goes through.
    """

    forwards: list[Forward]
    steps: int
    k1: int
    k2: int

    @property
    def first(self) -> Forward:
        return self.forwards[0]


@dataclass(frozen=True, eq=False, slots=True)
class Update:
    """One change of parameters, and the backward passes that its gradient sums."""

    number: float  # of the event, or half one more, after a backward pass
    count: int  # of the update: 1, 2, ...
    location: str
    optimizer: OptimizerRecord
    parameters: frozenset[int]  # which it holds, and have a gradient
    backwards: tuple[Backward, ...]
    lost: tuple[Backward, ...]  # since the last update, whose gradient was zeroed
    step: Step | None = None

    @property
    def is_known(self) -> bool:
        """Whether its gradient is what backward passes have left."""
        return self.step is None or not self.step.set_by_hand


class Run:
    """The events of the thread that trains, and what is derived from them."""

    def __init__(self, record: Record) -> None:
        self.record = record
        threads = Counter[int]()
        for event in record.events:
            threads[event.thread] += 1
            if isinstance(event, Backward | Step):
                threads[event.thread] += MAX_EVENTS  # it trains
        self.thread = threads.most_common(1)[0][0] if threads else 0
        kinds = defaultdict[type, list[Any]](list)
        other_threads = set[int]()
        for event in record.events:
            if event.thread == self.thread or isinstance(event, End):
                kinds[type(event)].append(event)
            else:
                other_threads.add(event.thread)
        self.other_threads = len(other_threads)
        self.forwards: list[Forward] = kinds[Forward]
        self.losses: list[Loss] = kinds[Loss]
        self.backwards: list[Backward] = kinds[Backward]
        self.clips: list[Clip] = kinds[Clip]
        self.unscales: list[Unscale] = kinds[Unscale]
        self.steps: list[Step] = kinds[Step]
        self.ends: list[End] = kinds[End]
        self.modules = list(dict.fromkeys(each.module for each in self.forwards))
        self.stepped = frozenset[int]().union(
            *(each.optimizer.parameters for each in self.steps)
        )
        self.changes = self._changes_by_hand()
        self.updates = self._updates()
        self.used_in = defaultdict[Backward, list[Update]](list)
        for update in self.updates:
            for backward in update.backwards:
                self.used_in[backward].append(update)

    def _changes_by_hand(self) -> dict[Backward, frozenset[int]]:
        """Return the parameters that change after a backward pass, before the next
        reading of them, without a step of an optimizer."""
        found = defaultdict[Backward, set[int]](set)
        latest: dict[int, Backward] = {}
        readings: list[Backward | End | Step] = [*self.backwards, *self.ends]
        readings = sorted([*readings, *self.steps], key=lambda each: each.number)
        for reading in readings:
            if isinstance(reading, Step):
                for p in reading.optimizer.parameters:
                    latest.pop(p, None)
                continue
            for p, weight in reading.weights.items():
                if p in latest and differs(latest[p].weights[p], weight):
                    found[latest[p]].add(p)
                if isinstance(reading, Backward):
                    latest[p] = reading
        return {backward: frozenset(changed) for backward, changed in found.items()}

    def _updates(self) -> list[Update]:
        steps: list[tuple[float, Step | Backward]] = []
        for step in self.steps:
            steps.append((step.number, step))
        for backward, changed in self.changes.items():
            if changed - self.stepped:
                steps.append((backward.number + 0.5, backward))
        updates: list[Update] = []
        latest = defaultdict[OptimizerRecord, float](float)
        for number, cause in sorted(steps, key=lambda each: each[0]):
            count = len(updates) + 1
            update = self._update(number, count, cause, latest)
            updates.append(update)
            latest[update.optimizer] = number
        return updates

    def _update(
        self,
        number: float,
        count: int,
        cause: Step | Backward,
        latest: dict[OptimizerRecord, float],
    ) -> Update:
        if isinstance(cause, Step):
            optimizer = cause.optimizer
            held = optimizer.parameters
            parameters = cause.with_gradient
            step = cause
        else:
            optimizer = BY_HAND
            held = parameters = self.changes[cause] - self.stepped
            step = None
        since = [b for b in self.backwards if latest[optimizer] < b.number < number]
        used = self._summed(parameters, number)
        if step is not None:
            used |= {b for b in since if b.number > step.begin}
        lost = [
            b
            for b in since
            if b not in used and b.is_nonzero and not b.has_failed
            if b.parameters & held
        ]
        return Update(
            number=number,
            count=count,
            location=cause.location,
            optimizer=optimizer,
            parameters=parameters,
            backwards=tuple(sorted(used, key=lambda each: each.number)),
            lost=tuple(lost),
            step=step,
        )

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

    def updates_of(self, module: ModuleRecord) -> list[Update]:
        """Return the updates that change a module."""
        return [u for u in self.updates if u.parameters & module.parameters]

    def updates_before(self, forward: Forward) -> int:
        """Return how many updates have changed the module of a pass before it."""
        numbers = self._numbers[forward.module]
        return bisect_left(numbers, forward.number)

    @cached_property
    def _numbers(self) -> dict[ModuleRecord, list[float]]:
        return {net: [u.number for u in self.updates_of(net)] for net in self.modules}

    @cached_property
    def windows(self) -> dict[ModuleRecord, list[tuple[Update, list[Window]]]]:
        """The windows of each update of each module, without updates of none."""
        found: dict[ModuleRecord, list[tuple[Update, list[Window]]]] = {}
        for net in self.modules:
            found[net] = []
            for update in self.updates_of(net):
                windows = windows_of(update, net)
                if windows:
                    found[net].append((update, windows))
        return found

    def all_windows(self, module: ModuleRecord) -> list[Window]:
        return [each for _, windows in self.windows[module] for each in windows]

    @cached_property
    def previous(self) -> dict[Forward, Forward | None]:
        """The pass with a gradient before each pass, of the same module."""
        latest: dict[ModuleRecord, Forward] = {}
        found: dict[Forward, Forward | None] = {}
        for forward in self.forwards:
            found[forward] = latest.get(forward.module)
            if forward.has_gradient:
                latest[forward.module] = forward
        return found

    @cached_property
    def first_offsets(self) -> dict[int, int]:
        """The lowest position of an input in each tensor."""
        found: dict[int, int] = {}
        for forward in self.forwards:
            if forward.position is not None:
                tensor, offset = forward.position.tensor, forward.position.offset
                found[tensor] = min(offset, found.get(tensor, offset))
        return found


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
    groups: dict[Forward, list[Forward]] = {}
    for forward in sorted(reached, key=lambda each: each.number):
        parents = [p for p in forward.parents if p in depth]
        group = groups[parents[0]] if parents else []
        group.append(forward)
        groups[forward] = group
        before = max((depth[p] for p in parents), default=0)
        depth[forward] = reached[forward].steps + before
    windows = []
    for forward, group in groups.items():
        if forward is group[0]:
            window = Window(
                forwards=group,
                steps=sum(each.steps for each in group),
                k1=sum(reached[each].used for each in group),
                k2=max(depth[each] for each in group),
            )
            windows.append(window)
    return windows


def gap_in_data(forward: Forward, part: StatePart) -> int | None:
    """Return how many numbers lie between the data of a carried state and those of the
    pass; None if it is not known."""
    source = part.source
    if source is None or source.position is None or forward.position is None:
        return None
    before, after = source.position, forward.position
    if before.tensor != after.tensor:
        return None
    return after.offset - before.offset - before.stride * part.steps


def is_from_other_batch(forward: Forward, part: StatePart) -> bool:
    """Return whether a state comes from another batch of a shuffled DataLoader."""
    source = part.source
    if source is None or source.loader_batch is None or forward.loader_batch is None:
        return False
    before, after = source.loader_batch, forward.loader_batch
    return before.is_shuffled and after.is_shuffled and before.number != after.number


def initial_state(run: Run, forward: Forward) -> str:
    """Return in words where the initial state of a window comes from."""
    kinds = [_origin_in_words(run, forward, part) for part in forward.state]
    if not kinds:
        return ZEROS
    if len(set(kinds)) == 1:
        return kinds[0]
    return f"{kinds[0]} (h) and {kinds[1]} (c)"


def _origin_in_words(run: Run, forward: Forward, part: StatePart) -> str:
    if part.origin is Origin.ATTACHED:
        return ATTACHED
    if part.origin is not Origin.CUT or part.source is None:
        return str(part.origin.value)
    if not part.source.has_gradient:
        return WITHOUT_GRADIENT
    gap = gap_in_data(forward, part)
    if gap and forward.position is not None:
        first = run.first_offsets[forward.position.tensor]
        if gap < 0 and forward.position.offset == first:
            return EARLIER_EPOCH
        return ELSEWHERE
    if is_from_other_batch(forward, part):
        return ELSEWHERE
    is_end = part.steps == part.source.steps
    if is_end and part.source is run.previous[forward]:
        return PREVIOUS
    return OLDER
