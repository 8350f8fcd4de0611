"""The mistakes that an audit looks for, one function each.

A function gets a run and yields where the mistake is, and what to do. A warning stays
only if right loops never raise it, so most ask for the same evidence twice. The test
loop of each is tests/audit/loops/NAME.py, with its name.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from numpy_rnn.common.texts import some_of
from torch_rnn.loop_audit.events import (
    Backward,
    Clip,
    Forward,
    Loss,
    OptimizerRecord,
    Origin,
    StatePart,
)
from torch_rnn.loop_audit.updates import (
    WITHOUT_GRADIENT,
    Run,
    Update,
    attached_passes,
    initial_state,
    union,
)

Found = Iterator[tuple[str, str]]  # FILE:LINE, and the message


# States


def state_attached(run: Run) -> Found:
    """The state, a part of it or the input is attached to the previous window."""
    for module in run.modules:
        for forward in attached_passes(run, module):
            attached = [part.origin is Origin.ATTACHED for part in forward.state]
            what = "the input or a part of the state is"
            if attached and all(attached):
                what = "the state is"
            text = f"{what} attached to the previous window"
            how = "the gradient goes on into earlier updates: use detach()"
            yield forward.location, f"{text}, and {how}"
            break


def state_exchanged(run: Run) -> Found:
    """h and c of an LSTM are exchanged."""
    found = []
    for forward in run.forwards:
        if len(forward.state) == 2:
            h, c = forward.state
            if h.output == "c" and c.output in ("h", "out"):
                found.append(forward)
    if len(found) > 1:
        yield found[0].location, "h and c are exchanged: the state of an LSTM is (h, c)"


def state_cut_within_update(run: Run) -> Found:
    """The state is cut between steps or windows that one backward pass covers."""
    for module in run.modules:
        found = []
        for update, windows in run.windows[module]:
            sources = set[Forward]().union(*(window.sources for window in windows))
            cut = []
            for window in windows:
                part = _carried_part(window.first)
                if part is not None and part.source in sources:
                    cut.append(window)
            # one step may follow a window, for the value of the next state
            is_cut = len(cut) > 1 or any(window.steps > 1 for window in cut)
            if is_cut and len(update.backwards) == 1:
                found.append(cut[0].first)
        if len(found) > 1:
            text = "the state is cut between steps or windows of one backward()"
            yield found[0].location, f"{text}: cut it once, after the update"


def state_from_validation(run: Run) -> Found:
    """Training continues from the state that an evaluation has left."""
    for module in run.modules:
        windows = [window.first for window in run.all_windows(module)]
        carried = [f for f in windows if _carried_part(f) is not None]
        found = []
        for forward in carried:
            part = _carried_part(forward)
            is_without = initial_state(forward).startswith(WITHOUT_GRADIENT)
            if is_without and part is not None and _follows_training(part.source):
                found.append(forward)
        # burn-in and stored states are regular
        if found and 3 * len(found) <= len(carried):
            text = "training continues from the state of a pass without gradient, as of"
            yield found[0].location, f"{text} a validation: keep the state of training"


def _carried_part(forward: Forward) -> StatePart | None:
    for part in forward.state:
        if part.origin is Origin.CUT:
            return part
    return None


def _follows_training(forward: Forward | None) -> bool:
    """Whether passes without gradient lead from training to a state."""
    while forward is not None and not forward.has_gradient:
        forward = forward.state[0].source if forward.state else None
    return forward is not None


def state_never_given(run: Run) -> Found:
    """A cell, or a module that is called step by step, never gets a state."""
    for module in run.modules:
        own = {f for f in run.forwards if f.module is module and f.has_gradient}
        if any(f.state or f.steps > 1 for f in own):
            continue
        for backward in run.backwards:
            places = [f.location for f in backward.reached if f in own]
            if len(places) > 1 and len(set(places)) == 1:
                text = "no call gets the state of the step before: pass it as h"
                yield places[0], text
                break


def time_and_batch_exchanged(run: Run) -> Found:
    """The outputs of one sequence of a batch are used as those of the last step."""
    for module in run.modules:
        reaches = []
        for backward in run.backwards:
            for forward, reach in backward.reached.items():
                if forward.module is module:
                    reaches.append((forward, reach.is_one_sequence))
        if len(reaches) > 1 and all(is_one for _, is_one in reaches):
            text = "the loss uses the outputs of one sequence of the batch"
            yield reaches[0][0].location, f"{text}: check batch_first"


# Losses and gradients


def loss_in_two_updates(run: Run) -> Found:
    """The gradient of a loss enters an update that comes after its own."""
    found = []
    first = dict[Loss, Backward]()
    for backward in run.backwards:
        for loss in backward.losses:
            earlier = first.setdefault(loss, backward)
            if _is_used_between(run, earlier, backward):
                found.append((backward, loss))
    if len(found) > 1 or any(backward.has_failed for backward, _ in found):
        backward, loss = found[0]
        text = (
            f"{loss.name} of an earlier update ({loss.location}) is in the loss again"
        )
        yield backward.location, f"{text}: begin each sum of losses at 0"


def _is_used_between(run: Run, earlier: Backward, backward: Backward) -> bool:
    """Whether an optimizer has made an update between two backward passes of a loss,
    and uses both."""
    later = {update.optimizer for update in run.used_in[backward]}
    for update in run.used_in[earlier]:
        is_between = earlier.number < update.number < backward.number
        if is_between and (backward.has_failed or update.optimizer in later):
            return True
    return False


def loss_in_no_update(run: Run) -> Found:
    """Of several losses of one line, the last alone or all but one reach backward()."""
    reached = {loss for backward in run.backwards for loss in backward.losses}
    numbers = [update.number for update in run.updates]
    calls = defaultdict[tuple[str, int], list[bool]](list)  # of a line in an update
    for loss in run.losses:
        update = bisect(numbers, loss.number)
        if loss.is_call and update < len(numbers):
            calls[loss.location, update].append(loss in reached)
    found = defaultdict[str, list[str]](list)
    for (place, _), is_reached in calls.items():
        count = sum(is_reached)
        is_last_alone = is_reached[-1] and count == 1 < len(is_reached)
        if is_last_alone or count == len(is_reached) - 1 > 1:
            found[place].append(f"{count} of {len(is_reached)}")
    for place, sizes in found.items():
        # an evaluation may use the same line
        if len(sizes) > 1 and 2 * len(sizes) >= len(run.updates):
            text = f"only {sizes[0]} losses of an update reach backward()"
            yield place, f"{text}: add them up"


def gradients_not_zeroed(run: Run) -> Found:
    """The gradient of an update is added to that of the update before."""
    found = [update for update in run.updates if update.adds_up and update.is_known]
    if len(found) > 1:
        text = "the gradient of each update is added to that of the update before"
        yield found[0].location, f"{text}: call zero_grad()"


def gradients_thrown_away(run: Run) -> Found:
    """Gradients are zeroed before a step has used them."""
    for optimizer, own in updates_by_optimizer(run).items():
        found = []
        for update in own:
            lost = [b for b in update.lost if not _serves_something(run, b)]
            if lost and update.is_known:
                found.append(lost[0])
        if len(found) > 1 and 2 * len(found) > len(own):
            text = f"this gradient is zeroed before {optimizer.kind} uses it"
            how = "call zero_grad() once, after step() or before the first backward()"
            yield found[0].location, f"{text}: {how}"


def _serves_something(run: Run, backward: Backward) -> bool:
    """Whether a gradient that no update uses is there for something else: for the
    input, as of adversarial examples, or a move of the parameters, as of SAM."""
    is_used = bool(run.used_in[backward]) or backward in run.by_hand
    return is_used or backward.reaches_data


def updates_by_optimizer(run: Run) -> dict[OptimizerRecord, list[Update]]:
    found = defaultdict[OptimizerRecord, list[Update]](list)
    for update in run.updates:
        found[update.optimizer].append(update)
    return found


# Clipping


def _clips_by_line(run: Run) -> dict[str, list[Clip]]:
    found = defaultdict[str, list[Clip]](list)
    for clip in run.clips:
        # an infinite limit measures the norm
        if clip.kind != "unscale" and clip.limit != float("inf"):
            found[clip.location].append(clip)
    return found


def _changed_after(events: list[Backward] | list[Clip], clip: Clip, end: float) -> bool:
    """Return whether one of the events changes the clipped gradients before an end."""
    for event in events:
        if clip.number < event.number < end and event.parameters & clip.parameters:
            return True
    return False


def is_late(run: Run, clip: Clip, update: Update) -> bool:
    """Return whether the gradients of an update change after they are clipped."""
    return _changed_after(run.backwards, clip, update.number)


def clip_without_effect(run: Run) -> Found:
    """Gradients are clipped before backward(), or after step()."""
    late = defaultdict[str, int](int)
    is_effective = False
    for place, clips in _clips_by_line(run).items():
        for clip in clips:
            update = run.update_after[clip]
            if update is not None and is_late(run, clip, update):
                late[place] += 1
            elif update is not None:
                is_effective = True
    for place, count in late.items():
        if count > 1 and not is_effective:
            text = "gradients are clipped before backward(), or after step()"
            yield place, f"{text}: clip between the two"


def clip_of_wrong_parameters(run: Run) -> Found:
    """Clipping gets no parameters, none that an update changes, or the same twice."""
    lines = _clips_by_line(run)
    clipped = union(clip.parameters for clip in run.clips)
    for place, clips in lines.items():
        if sum(not clip.parameters for clip in clips) > 1:
            text = "clipping gets no parameters: an iterator can be read only once"
            yield place, text
        elif run.updates and not any(clip.parameters & run.changed for clip in clips):
            yield place, "clipping gets no parameter that an update changes"
    for (_, first), (place, second) in combinations(lines.items(), 2):
        what = {(clip.kind, clip.limit, clip.parameters) for clip in first + second}
        updates = {run.update_after[clip] for clip in first}
        is_twice = updates == {run.update_after[clip] for clip in second}
        if is_twice and len(what) == 1 and len(first) > 1 and run.changed - clipped:
            yield place, "the same parameters are clipped twice, and others never"


def clip_of_scaled_gradients(run: Run) -> Found:
    """Gradients are clipped while they are multiplied by the scale of a GradScaler."""
    unscales = [clip for clip in run.clips if clip.kind == "unscale"]
    for place, clips in _clips_by_line(run).items():
        found = 0
        for clip in clips:
            update = run.update_after[clip]
            if update is not None:
                found += _changed_after(unscales, clip, update.number)
        if found > 1:
            text = "scaled gradients are clipped"
            yield place, f"{text}: call scaler.unscale_(optimizer) before"


# Parameters and optimizers


def parameter_not_stepped(run: Run) -> Found:
    """A parameter gets a gradient, of which others are used, and never changes."""
    missing: dict[int, str] = {}
    for backward in run.backwards:
        if backward.is_nonzero and run.used_in[backward]:
            place = run.used_in[backward][0].location
            for p in backward.parameters - run.changed:
                missing.setdefault(p, place)
    if missing and len(run.updates) > 1:
        names = some_of([run.record.names.get(p, "a parameter") for p in missing])
        text = f"{names} get a gradient, and no step"
        how = "give them to an optimizer and call its step(), or freeze them"
        yield next(iter(missing.values())), f"{text}: {how}"


def optimizer_recreated(run: Run) -> Found:
    """An optimizer is re-created before every update, which discards its moments."""
    single = {}
    for optimizer, own in updates_by_optimizer(run).items():
        makes_moments = optimizer.has_moments and not optimizer.has_moments_before
        if makes_moments and len(own) == 1:
            single[optimizer] = own[0]
    # the weights go on: they are not set between two optimizers
    ends = {optimizer.weights_after for optimizer in single}
    found = [optimizer for optimizer in single if optimizer.weights_before in ends]
    if len(found) > 2 and 2 * len(found) > len(run.updates):
        text = f"{found[0].kind} is re-created before every update"
        how = "which discards its state: create it once"
        yield single[found[0]].location, f"{text}, {how}"


# What must be seen before a mistake can be looked for

A_PASS = "nn.RNN, nn.LSTM, nn.GRU or a cell of them, called with gradient"
AN_UPDATE = "an update"
A_LOSS = "losses without backward(), as no loss function of torch is called"
THE_ORDER = "the order of the data"


def unseen(run: Run) -> set[str]:
    """Return what the events of a run do not show."""
    found = set[str]()
    if not any(forward.has_gradient for forward in run.forwards):
        found.add(A_PASS)
    if not run.updates:
        found.add(AN_UPDATE)
    if not any(loss.is_call for loss in run.losses):
        found.add(A_LOSS)
    for module in run.modules:
        for window in run.all_windows(module):
            if _carried_part(window.first) is not None:
                found.add(THE_ORDER)
    return found


@dataclass(frozen=True)
class Mistake:
    """A mistake; its name switches it off."""

    name: str
    find: Callable[[Run], Found]
    needs: str


MISTAKES = (
    Mistake("state-attached", state_attached, A_PASS),
    Mistake("state-exchanged", state_exchanged, A_PASS),
    Mistake("state-cut-within-update", state_cut_within_update, A_PASS),
    Mistake("state-from-validation", state_from_validation, A_PASS),
    Mistake("state-never-given", state_never_given, A_PASS),
    Mistake("time-and-batch-exchanged", time_and_batch_exchanged, A_PASS),
    Mistake("loss-in-two-updates", loss_in_two_updates, AN_UPDATE),
    Mistake("loss-in-no-update", loss_in_no_update, A_LOSS),
    Mistake("gradients-not-zeroed", gradients_not_zeroed, AN_UPDATE),
    Mistake("gradients-thrown-away", gradients_thrown_away, AN_UPDATE),
    Mistake("clip-without-effect", clip_without_effect, AN_UPDATE),
    Mistake("clip-of-wrong-parameters", clip_of_wrong_parameters, AN_UPDATE),
    Mistake("clip-of-scaled-gradients", clip_of_scaled_gradients, AN_UPDATE),
    Mistake("parameter-not-stepped", parameter_not_stepped, AN_UPDATE),
    Mistake("optimizer-recreated", optimizer_recreated, AN_UPDATE),
)
NAMES = tuple(mistake.name for mistake in MISTAKES)


@dataclass(frozen=True)
class LoopWarning:
    """A mistake that was found: its name, FILE:LINE of the call, and the message."""

    name: str
    location: str
    message: str


def warnings_of(run: Run, ignored: frozenset[str]) -> list[LoopWarning]:
    """Return the mistakes of a run, without those that are switched off."""
    found = dict[LoopWarning, None]()
    for mistake in MISTAKES:
        if mistake.name not in ignored:
            for place, message in mistake.find(run):
                found[LoopWarning(mistake.name, place, message)] = None
    return list(found)
