"""The mistakes that an audit looks for, one function each.

A function gets a loop and yields where the mistake shows. A warning stays only if
right loops never raise it, so most ask for the same evidence twice. The test loop of
each is a file of tests/audit/loops: its name, with underscores for hyphens.
"""

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from math import isinf

from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientClip,
    GradientUnscale,
    LoopUpdate,
    LossCall,
    Origin,
    StatePart,
    union,
)
from torch_rnn.loop_audit.loop import (
    LoopWindow,
    TrainingLoop,
    grouped,
    reached_passes,
)

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


MISTAKES: dict[str, Mistake] = {}  # by name


def mistake(
    message: str, needs: type[Event] = LoopUpdate, least: int = 2
) -> Callable[[Finder], Finder]:
    """Return a decorator that adds a function to the mistakes."""

    def add(find: Finder) -> Finder:
        """Add this one, by the name of its function."""
        name = find.__name__.replace("_", "-")
        MISTAKES[name] = Mistake(name, message, needs, least, find)
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
    for forward in loop.attached:
        yield forward.location


@mistake("h and c are exchanged: the state of an LSTM is (h, c)", ForwardPass)
def state_exchanged(loop: TrainingLoop) -> Locations:
    """Yield each pass that gets c as h."""
    for forward in loop.forwards:
        outputs = [part.output for part in forward.state]
        if outputs in (["c", "h"], ["c", "out"]):
            yield forward.location


@mistake(
    "the state is cut between steps or windows of one backward(): cut it once, after"
    " the update",
    ForwardPass,
)
def state_cut_within_update(loop: TrainingLoop) -> Locations:
    """Yield windows whose state is cut from another window of their update."""
    for own in loop.windows.values():
        for update, windows in grouped((w.update, w) for w in own).items():
            passes = union(window.passes for window in windows)
            cut = [w for w in windows if _carried_part(w).source in passes]
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
    for windows in loop.windows.values():
        carried = [w for w in windows if _carried_part(w).is_carried]
        found = []
        for window in carried:
            part = _carried_part(window)
            is_without = part.origin is Origin.WITHOUT_GRADIENT
            if is_without and _follows_training(part.source):
                found.append(window.first.location)
        # burn-in and stored states are regular
        if 3 * len(found) <= len(carried):
            yield from found


@mistake(
    "the state is that of other data: the windows overlap, or their order changes;"
    " carry the state only to the data that follow",
    ForwardPass,
)
def state_from_elsewhere(loop: TrainingLoop) -> Locations:
    """Yield windows whose data do not follow those of their state."""
    for window in chain(*loop.windows.values()):
        if _carried_part(window).origin is Origin.ELSEWHERE:
            yield window.first.location


def _carried_part(window: LoopWindow) -> StatePart:
    """Return the first carried part of an initial state, or the first."""
    state = window.first.state
    return next((part for part in state if part.is_carried), state[0])


def _follows_training(forward: ForwardPass | None) -> bool:
    """Return whether passes without gradient lead from training to a state."""
    while forward is not None and not forward.has_gradient:
        forward = forward.state[0].source
    return forward is not None


@mistake(
    "no call gets the state of the step before: pass it as h", ForwardPass, least=1
)
def state_never_given(loop: TrainingLoop) -> Locations:
    """Yield cells that are called several times for a backward pass, without a state:
    it reaches several calls, or is preceded by more than two.
    """
    for module, passes in loop.passes.items():
        own = [forward for forward in passes if forward.has_gradient]
        is_given = any(forward.is_state_given or forward.steps > 1 for forward in own)
        if is_given or len({forward.location for forward in own}) > 1:
            continue
        reached = [len([*reached_passes(module, [b])]) for b in loop.backwards]
        is_one = max(reached, default=0) < 2
        if any(reached) and not (is_one and len(own) <= 2 * len(reached)):
            yield own[0].location


@mistake(
    "the loss uses the outputs of one sequence of the batch: check batch_first",
    ForwardPass,
)
def time_and_batch_exchanged(loop: TrainingLoop) -> Locations:
    """Yield passes of modules of which losses use one sequence alone."""
    for module in loop.windows:
        reached = list(reached_passes(module, loop.backwards))
        if all(reach.is_one_sequence for _, reach in reached):
            for forward, _ in reached:
                yield forward.location


# Losses and gradients


@mistake(
    "a loss of an earlier update is in this one again: begin each sum of losses at 0"
)
def loss_in_two_updates(loop: TrainingLoop) -> Locations:
    """Yield backward passes through a loss that an earlier update has used."""
    first = dict[LossCall, BackwardPass]()
    for backward in loop.backwards:
        later = {update.optimizer for update in loop.used_in[backward]}
        for loss in backward.losses:
            for update in loop.used_in[first.setdefault(loss, backward)]:
                is_earlier = update.number < backward.number
                if is_earlier and backward.has_failed:  # once
                    yield from [backward.location] * 2
                elif is_earlier and update.optimizer in later:
                    yield backward.location


@mistake("not every loss of an update reaches backward(): add them up", LossCall)
def loss_in_no_update(loop: TrainingLoop) -> Locations:
    """Yield lines of losses of which all but one, or all but the last, reach
    backward().
    """
    reached = union(backward.losses for backward in loop.backwards)
    numbers = [update.number for update in loop.updates]
    calls = []  # of a line before an update
    for loss in loop.losses:
        update = bisect(numbers, loss.number)
        if update < len(numbers):
            calls.append(((loss.location, update), loss in reached))
    found = []
    for (place, _), are_reached in grouped(calls).items():
        count = sum(are_reached)
        is_last_alone = are_reached[-1] and count == 1 < len(are_reached)
        if is_last_alone or count == len(are_reached) - 1 > 1:
            found.append(place)
    for place in found:
        # an evaluation may use the same line
        if 2 * found.count(place) >= len(numbers):
            yield place


@mistake(
    "the gradient of each update is added to that of the update before: call"
    " zero_grad()"
)
def gradients_not_zeroed(loop: TrainingLoop) -> Locations:
    """Yield updates whose gradient has a part that an earlier one has used."""
    for update in loop.updates:
        if update.is_known and update in loop.adding:
            yield update.location


@mistake(
    "this gradient is zeroed before a step uses it: call zero_grad() once, after step()"
    " or before the first backward()"
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
    # an infinite limit measures the norm
    return grouped((c.location, c) for c in loop.clips if not isinf(c.limit))


@mistake(
    "gradients are clipped before backward(), or after step(): clip between the two"
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
    "clipping gets no parameters that are updated, as of an iterator that is read once"
)
def clip_of_wrong_parameters(loop: TrainingLoop) -> Locations:
    """Yield lines that clip nothing that is updated."""
    for place, clips in _clips_by_line(loop).items():
        if loop.updates and not any(clip.parameters & loop.changed for clip in clips):
            yield from [place] * len(clips)


@mistake("scaled gradients are clipped: call scaler.unscale_(optimizer) before")
def clip_of_scaled_gradients(loop: TrainingLoop) -> Locations:
    """Yield lines that clip before gradients are unscaled."""
    for place, clips in _clips_by_line(loop).items():
        for clip in clips:
            if isinstance(loop.event_after(clip), GradientUnscale):
                yield place


# Parameters and optimizers


@mistake(
    "parameters get a gradient, and no step: give them to an optimizer and call its"
    " step(), or freeze them"
)
def parameter_not_stepped(loop: TrainingLoop) -> Locations:
    """Yield updates after a gradient of parameters that nothing changes."""
    for backward in loop.backwards:
        updates = loop.used_in[backward]
        if updates and backward.parameters - loop.changed:
            yield updates[0].location


@mistake(
    "the optimizer is re-created before every update, which discards its state: create"
    " it once",
    least=3,
)
def optimizer_recreated(loop: TrainingLoop) -> Locations:
    """Yield the steps of optimizers that make one step each, for most updates."""
    single = []
    for optimizer, (update, *others) in loop.by_optimizer.items():
        if optimizer.is_fresh and not others:
            single.append((update.held, update.location))
    for places in grouped(single).values():
        if 2 * len(places) > len(loop.updates):
            yield from places


@dataclass(frozen=True)
class LoopWarning:
    """A mistake that was found: its name, FILE:LINE of the call, and the message."""

    name: str
    location: str
    message: str


def warnings_of(loop: TrainingLoop, ignored: frozenset[str]) -> list[LoopWarning]:
    """Return the mistakes of a loop, without those that are switched off."""
    found = []
    for each in MISTAKES.values():
        places = list(each.find(loop))
        if each.name not in ignored and len(places) >= each.least:
            for place in dict.fromkeys(places):
                found.append(LoopWarning(each.name, place, each.message))
    return found
