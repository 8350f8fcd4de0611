"""The updates and windows of a loop, derived from its events.

The windows of an update are the passes that its backward passes have reached, joined
where the graph of the state joins them.
"""

from bisect import bisect, bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from torch_rnn.loop_audit.events import (
    BY_HAND,
    UNNAMED_LOSS,
    AnyEvent,
    AnyKey,
    BackwardPass,
    Event,
    ForwardPass,
    GradientClip,
    GradientEvent,
    LoopRecord,
    LoopUpdate,
    LossCall,
    Origin,
    Reach,
    StatePart,
    union,
)
from torch_rnn.loop_audit.order import epoch_starts, follows

AnyValue = TypeVar("AnyValue")


def grouped(
    values: Iterable[AnyValue], key: Callable[[AnyValue], AnyKey]
) -> dict[AnyKey, list[AnyValue]]:
    """Return the values of each key, in their order."""
    groups: dict[AnyKey, list[AnyValue]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return groups


def is_most(part: int, whole: int) -> bool:
    """Return whether a part is more than half of the whole."""
    return 2 * part > whole


@dataclass(eq=False)
class LoopWindow:
    """Passes that are joined by their states, and the update that uses them first.

    k1 is the number of steps whose output enters the loss, and k2 the number of steps
    that the gradient goes through.
    """

    update: LoopUpdate
    first: ForwardPass
    passes: set[ForwardPass] = field(default_factory=set)
    steps: int = 0
    k1: int = 0
    k2: int = 0
    number: int = 0  # of the update, from 1
    last: ForwardPass | None = None
    before: ForwardPass | None = None  # the pass with gradient before it, if any
    follows: bool | None = None  # its data follow those of that pass; None: unknown
    begins_epoch: bool | None = None

    @property
    def is_carried(self) -> bool:
        """Whether a part of the initial state is carried and cut."""
        state = self.first.state
        return any(part.is_carried and not part.is_warm_up for part in state)

    @property
    def is_warm_up(self) -> bool:
        """Whether the state is that of a warm-up without gradient."""
        return self.carried_part.is_warm_up

    @property
    def is_from_zeros(self) -> bool:
        """Whether the whole initial state is zero."""
        return all(part.origin is Origin.ZEROS for part in self.first.state)

    @property
    def data_follow(self) -> bool | None:
        """Whether the data follow those that the state comes from; None: unknown."""
        part = self.carried_part
        if part.origin is Origin.ELSEWHERE:
            return False
        if part.origin is Origin.PREVIOUS and not part.is_order_known:
            return self.follows
        if part.origin in (Origin.PREVIOUS, Origin.INSIDE) and part.is_order_known:
            return True
        return None

    @property
    def carried_part(self) -> StatePart:
        """The first carried part of the initial state, or the first."""
        state = self.first.state
        return next((part for part in state if part.is_carried), state[0])

    @property
    def origin(self) -> str:
        """In words where the initial state comes from."""
        origins = dict.fromkeys(part.origin.value for part in self.first.state)
        return " and ".join(origins)


def parameter_ids(module: nn.Module) -> frozenset[int]:
    """Return what identifies the parameters of a module in events."""
    return frozenset(map(id, module.parameters()))


def reached_passes(
    module: nn.Module, backwards: Iterable[BackwardPass]
) -> Iterator[tuple[ForwardPass, Reach]]:
    """Yield the passes of a module that backward passes reach, and how much of each."""
    for backward in backwards:
        for forward, reach in backward.reached.items():
            if forward.module is module:
                yield forward, reach


def _joined_passes(module: nn.Module, update: LoopUpdate) -> Iterable[LoopWindow]:
    """Return the windows of a module in an update, in the order of their passes."""
    pairs = reached_passes(module, update.backwards)
    # of several backward passes through a pass, the one that reaches most is kept
    reached = dict(sorted(pairs, key=lambda pair: pair[1]))
    depth: dict[ForwardPass, int] = {}  # steps of the gradient up to each pass
    window_of: dict[ForwardPass, LoopWindow] = {}
    for forward in sorted(reached, key=lambda forward: forward.number):
        parents = [parent for parent in forward.parents if parent in depth]
        window = window_of[parents[0]] if parents else LoopWindow(update, forward)
        before = max((depth[parent] for parent in parents), default=0)
        depth[forward] = reached[forward].steps + before
        window_of[forward] = window
        window.passes.add(forward)
        window.last = forward
        window.steps += forward.steps
        window.k1 += reached[forward].used
        window.k2 = max(window.k2, depth[forward])
    return dict.fromkeys(window_of.values())


def _windows_of(module: nn.Module, updates: list[LoopUpdate]) -> list[LoopWindow]:
    """Return the windows of a module, each once if it is in several updates."""
    windows: dict[frozenset[ForwardPass], LoopWindow] = {}
    for update in updates:
        for window in _joined_passes(module, update):
            windows.setdefault(frozenset(window.passes), window)
    return list(windows.values())


def _note_order(windows: list[LoopWindow], passes: list[ForwardPass]) -> None:
    """Note of each window of a module whether it follows, and where epochs begin."""
    trained = [forward for forward in passes if forward.has_gradient]
    numbers = [forward.number for forward in trained]
    starts = epoch_starts(window.first for window in windows)
    for window, is_start in zip(windows, starts):
        window.begins_epoch = is_start
        place = bisect_left(numbers, window.first.number)
        if place:
            window.before = trained[place - 1]
            window.follows = follows(window.before, window.first)


def by_optimizer(updates: Iterable[LoopUpdate]) -> Iterable[list[LoopUpdate]]:
    """Return the updates of each optimizer."""
    return grouped(updates, lambda update: update.optimizer).values()


class TrainingLoop:
    """The events of a loop, and what is derived from them."""

    def __init__(self, record: LoopRecord) -> None:
        """Derive the updates and windows of a record."""
        self.record = record
        self.forwards = self._recurrent_passes()
        self.losses = self._events(LossCall)
        self.backwards = self._events(BackwardPass)
        self.clips = self._events(GradientClip)
        # with those by hand of parameters that an optimizer steps
        self.changes = self._events(LoopUpdate)
        self.updates = self._counted_updates()
        groups = grouped(self.updates, lambda update: update.group)
        self.groups = list(groups.values())  # steps that are made together
        self._numbers = {group: n for n, group in enumerate(groups, 1)}
        self.numbered = frozenset(self.updates)
        self.by_hand_count = sum(g[0].optimizer is BY_HAND for g in self.groups)
        self._updates_of: dict[BackwardPass, list[LoopUpdate]] = {}
        for update in self.updates:
            for backward in update.backwards:
                self._updates_of.setdefault(backward, []).append(update)
        # whether there is what mistakes are looked for in
        self.is_seen: dict[type[Event], bool] = {
            ForwardPass: any(forward.has_gradient for forward in self.forwards),
            LossCall: any(loss.name != UNNAMED_LOSS for loss in self.losses),
            LoopUpdate: bool(self.updates),
            BackwardPass: bool(self.backwards),
        }
        self.passes = grouped(self.forwards, lambda forward: forward.module)
        self.windows: dict[nn.Module, list[LoopWindow]] = {}
        # passes whose state or input is attached to a pass of an earlier update
        self.attached: list[ForwardPass] = []
        for module in self.passes:
            parameters = parameter_ids(module)
            updates = [u for u in self.updates if u.parameters & parameters]
            windows = _windows_of(module, updates)
            for window in windows:
                window.number = self.number_of(window.update)
            _note_order(windows, self.passes[module])
            self.windows[module] = windows
            self.attached += self._attached_passes(module)

    def _events(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        """Return the events of a kind, in their order."""
        return [event for event in self.record.events if isinstance(event, kind)]

    def _recurrent_passes(self) -> list[ForwardPass]:
        """Return the passes without those of modules of the script that never get a
        state which they have returned.
        """
        forwards = self._events(ForwardPass)
        recurrent = set[nn.Module]()
        for forward in forwards:
            if any(part.source is not None for part in forward.state):
                recurrent.add(forward.module)
        left_out = self.record.own - recurrent
        return [forward for forward in forwards if forward.module not in left_out]

    def _counted_updates(self) -> list[LoopUpdate]:
        """Return the updates, without moves by hand of what an optimizer steps, as
        those of SAM.
        """
        updates = []
        for update in self.changes:
            is_step = update.optimizer is not BY_HAND
            if is_step or update.parameters - self.record.stepped:
                updates.append(update)
        return updates

    def _attached_passes(self, module: nn.Module) -> Iterator[ForwardPass]:
        """Yield reached passes of a module, before which and after a parent of which
        its parameters have changed.
        """
        parameters = parameter_ids(module)
        numbers = [u.number for u in self.changes if u.parameters & parameters]
        complete = [backward for backward in self.backwards if backward.is_complete]
        for forward, _ in reached_passes(module, complete):
            begun = bisect(numbers, forward.number)
            if any(bisect(numbers, p.number) < begun for p in forward.parents):
                yield forward

    def number_of(self, update: LoopUpdate) -> int:
        """Return the number of an update, from 1: steps made together have one."""
        return self._numbers[update.group]

    def updates_of(self, backward: BackwardPass) -> list[LoopUpdate]:
        """Return the updates that use the gradients of a backward pass."""
        return self._updates_of.get(backward, [])

    def adding_updates(self) -> set[LoopUpdate]:
        """Return updates whose gradient has a part that an earlier one of the same
        optimizer has used.
        """
        adding = set[LoopUpdate]()
        for backward in self.backwards:
            for updates in by_optimizer(self.updates_of(backward)):
                adding.update(updates[1:])
        return adding

    def changed_parameters(self) -> frozenset[int]:
        """Return the parameters that an optimizer holds, or that change by hand."""
        return union(change.held for change in self.changes) | self.record.stepped

    def event_after(self, clip: GradientClip) -> GradientEvent | None:
        """Return the next event that changes or uses the gradients that are clipped."""
        for event in self.record.events[clip.number :]:
            if not isinstance(event, GradientEvent) or isinstance(event, GradientClip):
                continue
            if event.parameters & clip.parameters:
                return event
        return None
