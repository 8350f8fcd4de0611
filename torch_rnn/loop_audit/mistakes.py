"""The mistakes that an audit looks for, one function each.

A function gets a loop and yields where the mistake shows. A warning stays only if
right loops never raise it, so most ask for the same evidence twice. The test loop of
each is a file of tests/audit/loops: its name, with underscores for hyphens.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientClip,
    LoopUpdate,
    LossCall,
    Origin,
    StatePart,
)
from torch_rnn.loop_audit.loop import TrainingLoop, attached_passes, is_clip, union

Locations = Iterator[str]
Finder = Callable[[TrainingLoop], Locations]


@dataclass(frozen=True)
class Mistake:
    """A mistake; its name switches it off."""

    name: str
    message: str  # what is wrong, and what to do
    needs: type[Event]  # without which it cannot be looked for
    least: int  # times that it shows, for a warning
    find: Finder


MISTAKES: list[Mistake] = []


def mistake(
    message: str, needs: type[Event], least: int = 2
) -> Callable[[Finder], Finder]:
    """Return a decorator that adds a function to the mistakes."""

    def add(find: Finder) -> Finder:
        """Add this one, by the name of its function."""
        name = find.__name__.replace("_", "-")
        MISTAKES.append(Mistake(name, message, needs, least, find))
        return find

    return add


# States


@mistake(
    "the state or the input is attached to the previous window, and the gradient goes"
    " on into earlier updates: use detach()",
    ForwardPass,
    least=1,
)
def state_attached(loop: TrainingLoop) -> Locations:
    """Yield each pass whose state or input is attached to an earlier update."""
    for module in loop.windows:
        for forward in attached_passes(loop, module):
            yield forward.location


@mistake("h and c are exchanged: the state of an LSTM is (h, c)", ForwardPass)
def state_exchanged(loop: TrainingLoop) -> Locations:
    """Yield each pass that gets c as h."""
    for forward in loop.forwards:
        if len(forward.state) == 2:
            h, c = forward.state
            if h.output == "c" and c.output in ("h", "out"):
                yield forward.location


@mistake(
    "the state is cut between steps or windows of one backward(): cut it once, after"
    " the update",
    ForwardPass,
)
def state_cut_within_update(loop: TrainingLoop) -> Locations:
    """Yield windows whose state is cut from another window of their update."""
    for module in loop.windows:
        for update, windows in loop.windows[module]:
            passes = set[ForwardPass]().union(*(window.passes for window in windows))
            cut = []
            for window in windows:
                part = _carried_part(window.first)
                if part is not None and part.source in passes:
                    cut.append(window)
            # one step may follow a window, for the value of the next state
            is_cut = len(cut) > 1 or any(window.steps > 1 for window in cut)
            if is_cut and len(update.backwards) == 1:
                yield cut[0].first.location


@mistake(
    "training continues from the state of a pass without gradient, as of a validation:"
    " keep the state of training",
    ForwardPass,
    least=1,
)
def state_from_validation(loop: TrainingLoop) -> Locations:
    """Yield windows that begin with a state of a pass without gradient."""
    for module in loop.windows:
        carried = 0
        found = []
        for window in loop.all_windows(module):
            part = _carried_part(window.first)
            if part is not None:
                carried += 1
                is_without = part.origin is Origin.WITHOUT_GRADIENT
                if is_without and _follows_training(part.source):
                    found.append(window.first.location)
        # burn-in and stored states are regular
        if 3 * len(found) <= carried:
            yield from found


@mistake(
    "the state is that of other data: the windows overlap, or their order changes;"
    " carry the state only to the data that follow",
    ForwardPass,
)
def state_from_elsewhere(loop: TrainingLoop) -> Locations:
    """Yield windows whose data do not follow those of their state."""
    for module in loop.windows:
        for window in loop.all_windows(module):
            if any(p.origin is Origin.ELSEWHERE for p in window.first.state):
                yield window.first.location


def _carried_part(forward: ForwardPass) -> StatePart | None:
    """Return the first carried part of an initial state, or None."""
    for part in forward.state:
        if part.is_carried:
            return part
    return None


def _follows_training(forward: ForwardPass | None) -> bool:
    """Return whether passes without gradient lead from training to a state."""
    while forward is not None and not forward.has_gradient:
        forward = forward.state[0].source
    return forward is not None


@mistake(
    "no call gets the state of the step before: pass it as h", ForwardPass, least=1
)
def state_never_given(loop: TrainingLoop) -> Locations:
    """Yield cells that one backward pass reaches several times, without a state."""
    for module in loop.windows:
        own = {f for f in loop.forwards if f.module is module and f.has_gradient}
        if not any(f.is_state_given or f.steps > 1 for f in own):
            for backward in loop.backwards:
                places = [f.location for f in backward.reached if f in own]
                if len(places) > 1 and len(set(places)) == 1:
                    yield places[0]


@mistake(
    "the loss uses the outputs of one sequence of the batch: check batch_first",
    ForwardPass,
)
def time_and_batch_exchanged(loop: TrainingLoop) -> Locations:
    """Yield passes of modules of which losses use one sequence alone."""
    for module in loop.windows:
        places = []
        is_exchanged = True
        for backward in loop.backwards:
            for forward, reach in backward.reached.items():
                if forward.module is module:
                    places.append(forward.location)
                    is_exchanged = is_exchanged and reach.is_one_sequence
        if is_exchanged:
            yield from places


# Losses and gradients


@mistake(
    "a loss of an earlier update is in this one again: begin each sum of losses at 0",
    LoopUpdate,
)
def loss_in_two_updates(loop: TrainingLoop) -> Locations:
    """Yield backward passes through a loss that an earlier update has used."""
    first = dict[LossCall, BackwardPass]()
    for backward in loop.backwards:
        for loss in backward.losses:
            earlier = first.setdefault(loss, backward)
            if _is_used_between(loop, earlier, backward):
                yield backward.location
                if backward.has_failed:  # once
                    yield backward.location


def _is_used_between(
    loop: TrainingLoop, earlier: BackwardPass, backward: BackwardPass
) -> bool:
    """Return whether an optimizer has made an update between two backward passes of a
    loss, and uses both.
    """
    later = {update.optimizer for update in loop.used_in[backward]}
    for update in loop.used_in[earlier]:
        is_between = update.number < backward.number
        if is_between and (backward.has_failed or update.optimizer in later):
            return True
    return False


@mistake("not every loss of an update reaches backward(): add them up", LossCall)
def loss_in_no_update(loop: TrainingLoop) -> Locations:
    """Yield lines of losses of which all but one, or all but the last, reach
    backward().
    """
    reached = {loss for backward in loop.backwards for loss in backward.losses}
    numbers = [update.number for update in loop.updates]
    calls = defaultdict[tuple[str, int], list[bool]](list)  # of a line in an update
    for loss in loop.losses:
        update = bisect(numbers, loss.number)
        if loss.is_call and update < len(numbers):
            calls[loss.location, update].append(loss in reached)
    found = defaultdict[str, int](int)
    for (place, _), are_reached in calls.items():
        count = sum(are_reached)
        is_last_alone = are_reached[-1] and count == 1 < len(are_reached)
        found[place] += is_last_alone or count == len(are_reached) - 1 > 1
    for place, times in found.items():
        # an evaluation may use the same line
        if 2 * times >= len(numbers):
            yield from [place] * times


@mistake(
    "the gradient of each update is added to that of the update before: call"
    " zero_grad()",
    LoopUpdate,
)
def gradients_not_zeroed(loop: TrainingLoop) -> Locations:
    """Yield updates whose gradient has a part that an earlier one has used."""
    for update in loop.updates:
        if update.is_known and update in loop.adding:
            yield update.location


@mistake(
    "this gradient is zeroed before a step uses it: call zero_grad() once, after step()"
    " or before the first backward()",
    LoopUpdate,
)
def gradients_thrown_away(loop: TrainingLoop) -> Locations:
    """Yield backward passes whose gradients no update uses."""
    lost: dict[LoopUpdate, str] = {}
    for backward in loop.backwards:
        # adversarial examples use the gradient of the data
        is_used = backward in loop.moved or backward.reaches_data
        if is_used or backward.has_failed:
            continue
        for update in loop.updates:
            is_next = update.number > backward.number
            if is_next and update.held & backward.parameters:
                lost[update] = backward.location
                break
    for own in loop.by_optimizer.values():
        places = [lost[update] for update in own if update in lost and update.is_known]
        if 2 * len(places) > len(own):
            yield from places


# Clipping


def _clips_by_line(loop: TrainingLoop) -> dict[str, list[GradientClip]]:
    """Return the calls that clip, by their lines."""
    found = defaultdict[str, list[GradientClip]](list)
    for clip in loop.clips:
        # an infinite limit measures the norm
        if is_clip(clip) and clip.limit != float("inf"):
            found[clip.location].append(clip)
    return found


@mistake(
    "gradients are clipped before backward(), or after step(): clip between the two",
    LoopUpdate,
)
def clip_without_effect(loop: TrainingLoop) -> Locations:
    """Yield lines after whose clipping a backward pass follows, and never a step."""
    late = []
    for place, clips in _clips_by_line(loop).items():
        for clip in clips:
            after = loop.event_after(clip)
            if isinstance(after, BackwardPass):
                late.append(place)
            elif after is not None:
                return
    yield from late


@mistake(
    "clipping gets no parameters that are updated, as of an iterator that is read"
    " once, or the same in two lines and others never",
    LoopUpdate,
)
def clip_of_wrong_parameters(loop: TrainingLoop) -> Locations:
    """Yield lines that clip nothing that is updated, or what another line clips."""
    lines = _clips_by_line(loop)
    clipped = union(clip.parameters for clip in loop.clips)
    for place, clips in lines.items():
        if loop.updates and not any(clip.parameters & loop.changed for clip in clips):
            yield from [place] * len(clips)
    for (_, first), (place, second) in combinations(lines.items(), 2):
        what = {(clip.kind, clip.limit, clip.parameters) for clip in first + second}
        updates = {loop.event_after(clip) for clip in first}
        is_twice = updates == {loop.event_after(clip) for clip in second}
        if is_twice and len(what) == 1 and loop.changed - clipped:
            yield from [place] * len(first)


@mistake(
    "scaled gradients are clipped: call scaler.unscale_(optimizer) before", LoopUpdate
)
def clip_of_scaled_gradients(loop: TrainingLoop) -> Locations:
    """Yield lines that clip before gradients are unscaled."""
    for place, clips in _clips_by_line(loop).items():
        for clip in clips:
            if isinstance(loop.event_after(clip), GradientClip):
                yield place


# Parameters and optimizers


@mistake(
    "parameters get a gradient, and no step: give them to an optimizer and call its"
    " step(), or freeze them",
    LoopUpdate,
)
def parameter_not_stepped(loop: TrainingLoop) -> Locations:
    """Yield updates after a gradient of parameters that nothing changes."""
    for backward in loop.backwards:
        if loop.used_in[backward] and backward.parameters - loop.changed:
            yield loop.used_in[backward][0].location


@mistake(
    "the optimizer is re-created before every update, which discards its state: create"
    " it once",
    LoopUpdate,
    least=3,
)
def optimizer_recreated(loop: TrainingLoop) -> Locations:
    """Yield the steps of optimizers that make one step each, for most updates."""
    places = defaultdict[frozenset[int], list[str]](list)
    for optimizer, own in loop.by_optimizer.items():
        if optimizer.is_fresh and len(own) == 1:
            places[own[0].held].append(own[0].location)
    for found in places.values():
        if 2 * len(found) > len(loop.updates):
            yield from found


MISTAKE_NAMES = tuple(each.name for each in MISTAKES)


@dataclass(frozen=True)
class LoopWarning:
    """A mistake that was found: its name, FILE:LINE of the call, and the message."""

    name: str
    location: str
    message: str


def warnings_of(loop: TrainingLoop, ignored: frozenset[str]) -> list[LoopWarning]:
    """Return the mistakes of a loop, without those that are switched off."""
    found = []
    for each in MISTAKES:
        places = list(each.find(loop))
        if each.name not in ignored and len(places) >= each.least:
            for place in dict.fromkeys(places):
                found.append(LoopWarning(each.name, place, each.message))
    return found
