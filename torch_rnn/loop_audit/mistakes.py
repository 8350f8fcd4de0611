"""The mistakes that an audit looks for, one function each.

A function gets a run and yields where the mistake is, and what to do. A warning stays
only if right loops never raise it, so most ask for the same evidence twice. The test
loop of each is tests/audit/loops/NAME.py, with its name.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from numpy_rnn.common.texts import pluralize, some_of
from torch_rnn.loop_audit.events import (
    Backward,
    Clip,
    Forward,
    Loss,
    ModuleRecord,
    OptimizerRecord,
    Origin,
    StatePart,
)
from torch_rnn.loop_audit.updates import (
    BY_HAND,
    ELSEWHERE,
    WITHOUT_GRADIENT,
    Run,
    Update,
    differs,
    gap_in_data,
    initial_state,
    is_from_other_batch,
)

Found = Iterator[tuple[str, str]]  # FILE:LINE, and the message


# States


def attached_pairs(run: Run, module: ModuleRecord) -> Iterator[tuple[Forward, Forward]]:
    """Yield passes that a backward pass reaches, each with one of an earlier update
    that its state or input is attached to."""
    for backward in run.backwards:
        if backward.is_compiled:
            continue
        for forward in backward.reached:
            if forward.module is module:
                for parent in forward.parents:
                    before = run.updates_before(parent)
                    if before < run.updates_before(forward):
                        yield forward, parent


def _updates_reached(run: Run, backward: Backward, module: ModuleRecord) -> int:
    """Return over how many updates of a module a backward pass goes back."""
    before = [run.updates_before(f) for f in backward.reached if f.module is module]
    return max(before) - min(before) if before else 0


def _is_attached(part: StatePart) -> bool:
    return part.origin is Origin.ATTACHED


def state_attached(run: Run) -> Found:
    """The state is attached to the previous window."""
    for module in run.modules:
        pairs = list(attached_pairs(run, module))
        whole = [f for f, _ in pairs if f.state and all(map(_is_attached, f.state))]
        if not whole:
            continue
        failed = [b for b in run.backwards if b.has_failed and whole[0] in b.reached]
        back = max(
            _updates_reached(run, backward, module) for backward in run.backwards
        )
        how = f"; the gradient goes on over {pluralize(back, 'update')}"
        if failed:
            how = ", which makes backward() fail"
        change = "h = h.detach()"
        if len(whole[0].state) == 2:
            change = "state = tuple(s.detach() for s in state)"
        text = f"the state is attached to the previous window{how}: write {change}"
        yield whole[0].location, text


def state_partly_attached(run: Run) -> Found:
    """A part of what is carried is cut, another is attached."""
    for module in run.modules:
        for forward, _ in attached_pairs(run, module):
            attached = [_is_attached(part) for part in forward.state]
            if all(attached) and attached:
                continue
            what = "the input is attached to it"
            if any(attached):
                what = "c is attached" if attached[-1] else "h is attached"
            text = (
                f"a part of the previous window's graph is not cut: {what}: detach it"
            )
            yield forward.location, text
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


def state_cut_at_every_step(run: Run) -> Found:
    """The state is cut after each step, so that no gradient goes back in time."""
    for module in run.modules:
        found = []
        for update, windows in run.windows[module]:
            first = {window.first for window in windows}
            cut = [w.first for w in windows if w.steps == 1 and _is_cut(w.first, first)]
            if len(cut) > 1 and len(update.backwards) == 1:
                found.append(cut[0])
        if len(found) > 1:
            text = "the state is detached at every step: detach it once per window"
            yield found[0].location, text


def state_cut_within_update(run: Run) -> Found:
    """The state is cut between windows that one backward pass covers."""
    for module in run.modules:
        found = []
        for update, windows in run.windows[module]:
            first = {f for window in windows for f in window.forwards}
            cut = [w.first for w in windows if w.steps > 1 and _is_cut(w.first, first)]
            if cut and len(update.backwards) == 1:
                found.append(cut[0])
        if len(found) > 1:
            text = "the state is cut between windows of one backward()"
            yield found[0].location, f"{text}: cut it after the update"


def _is_cut(forward: Forward, sources: set[Forward]) -> bool:
    """Whether a state is that of a pass of the same update, without its graph."""
    return any(p.origin is Origin.CUT and p.source in sources for p in forward.state)


def state_from_validation(run: Run) -> Found:
    """Training continues from the state that an evaluation has left."""
    for module in run.modules:
        windows = [window.first for window in run.all_windows(module)]
        carried = [f for f in windows if _carried_part(f) is not None]
        found = []
        for forward in carried:
            if initial_state(run, forward).startswith(WITHOUT_GRADIENT):
                part = _carried_part(forward)
                if part is not None and _follows_training(part.source):
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
        part = next((p for p in forward.state if p.source is not None), None)
        forward = part.source if part is not None else None
    return forward is not None


def state_from_elsewhere(run: Run) -> Found:
    """The state is carried to data that do not follow those it comes from."""
    for module in run.modules:
        carried = 0
        found = []
        gaps = set[int]()
        for window in run.all_windows(module):
            part = _carried_part(window.first)
            if part is not None:
                carried += 1
                if initial_state(run, window.first) == ELSEWHERE:
                    found.append(window.first)
                    gaps.add(gap_in_data(window.first, part) or 0)
        leaves_out_data = len(gaps) == 1 and min(gaps) > 0
        if len(found) > 1 and 3 * len(found) >= carried and not leaves_out_data:
            text = "the state is carried to data that do not follow those it comes from"
            yield found[0].location, f"{text}: begin from zeros, or read them in order"


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
    """The axis of the batch is used as that of time."""
    for module in run.modules:
        own = [f for f in run.forwards if f.module is module]
        batched = [f for f in own if f.loader_batch and f.loader_batch.is_time_batched]
        viewed = [f for f in own if f.viewed_as]
        reaches = []
        for backward in run.backwards:
            for forward, reach in backward.reached.items():
                if forward.module is module:
                    reaches.append((forward, reach.is_one_sequence))
        how = "check batch_first"
        if len(viewed) > 1:
            how = f"{viewed[0].viewed_as} mixes the rows: use transpose(0, 1)"
            yield viewed[0].location, f"the input is a view, {how}"
        elif len(batched) > 1:
            text = f"the sequences of a batch are read as steps of time: {how}"
            yield batched[0].location, text
        elif len(reaches) > 1 and all(is_one for _, is_one in reaches):
            text = f"the loss uses the outputs of one sequence of the batch: {how}"
            yield reaches[0][0].location, text


# Losses and gradients


def loss_in_two_updates(run: Run) -> Found:
    """The gradient of a loss enters an update that comes after its own."""
    found = []
    first = dict[Loss, Backward]()
    for backward in run.backwards:
        for loss in backward.losses:
            earlier = first.setdefault(loss, backward)
            if _is_used_before(run, earlier, backward):
                found.append((backward, loss))
    if len(found) > 1 or any(backward.has_failed for backward, _ in found):
        backward, loss = found[0]
        text = (
            f"{loss.name} of an earlier update ({loss.location}) is in the loss again"
        )
        yield backward.location, f"{text}: begin each sum of losses at 0"


def _is_used_before(run: Run, earlier: Backward, backward: Backward) -> bool:
    """Whether an optimizer has made an update between two backward passes of a loss,
    and uses both."""
    later = {update.optimizer for update in run.used_in[backward]}
    for update in run.used_in[earlier]:
        is_between = earlier.number < update.number < backward.number
        if is_between and (backward.has_failed or update.optimizer in later):
            return True
    return False


def loss_in_no_update(run: Run) -> Found:
    """Of several losses of one line, only the last reaches backward()."""
    reached = {loss for backward in run.backwards for loss in backward.losses}
    numbers = [0.0, *(update.number for update in run.updates)]
    count = defaultdict[str, int](int)
    sizes = dict[str, str]()
    for start, end in pairwise(numbers):
        calls = defaultdict[str, list[bool]](list)
        for loss in run.losses:
            if loss.is_call and start < loss.number < end:
                calls[loss.location].append(loss in reached)
        for place, is_reached in calls.items():
            reached_calls = sum(is_reached)
            is_last_alone = is_reached[-1] and reached_calls == 1
            is_one_left = reached_calls == len(is_reached) - 1 > 1
            if len(is_reached) > 1 and (is_last_alone or is_one_left):
                count[place] += 1
                sizes[place] = f"{reached_calls} of {len(is_reached)}"
    for place, updates in count.items():
        # an evaluation may use the same line
        if updates > 1 and 2 * updates >= len(run.updates):
            text = f"only {sizes[place]} losses of an update reach backward()"
            yield place, f"{text}: add them up"


def gradients_not_zeroed(run: Run) -> Found:
    """The gradient of an update is added to that of the update before."""
    before = dict[OptimizerRecord, Update]()
    found = []
    for update in run.updates:
        earlier = before.get(update.optimizer)
        used = set[Backward]()
        if earlier is not None and update.is_known:
            used = set(earlier.backwards)
        if used & set(update.backwards):
            found.append(update)
        before[update.optimizer] = update
    if len(found) > 1:
        text = "the gradient of each update is added to that of the update before"
        yield found[0].location, f"{text}: call zero_grad()"


def gradients_thrown_away(run: Run) -> Found:
    """Gradients are zeroed before a step has used them."""
    found = defaultdict[OptimizerRecord, list[tuple[Update, Backward]]](list)
    count = defaultdict[OptimizerRecord, int](int)
    for update in run.updates:
        count[update.optimizer] += 1
        if update.is_known:
            for backward in update.lost:
                if not _serves_something(run, backward):
                    found[update.optimizer].append((update, backward))
                    break
    for optimizer, lost in found.items():
        if len(lost) > 1 and 2 * len(lost) > count[optimizer]:
            text = "its gradient is zeroed before a step uses it"
            how = "call zero_grad() once, after step() or before the first backward()"
            yield lost[0][1].location, f"{text}: {how}"


def _serves_something(run: Run, backward: Backward) -> bool:
    """Whether a gradient that no update uses is there for something else: for the
    input, as of adversarial examples, or a move of the parameters, as of SAM."""
    is_used = bool(run.used_in[backward]) or backward in run.changes
    return is_used or backward.reaches_data


# Clipping


def _clips_by_line(run: Run) -> dict[str, list[Clip]]:
    found = defaultdict[str, list[Clip]](list)
    for clip in run.clips:
        if clip.limit != float("inf"):  # which measures the norm
            found[clip.location].append(clip)
    return found


def following_update(run: Run, clip: Clip) -> Update | None:
    """Return the first update after a clip of parameters that are clipped."""
    for update in run.updates:
        number = update.number
        if update.optimizer is BY_HAND and update.backwards:
            number = _next_backward(run, update.backwards[-1])
        if number > clip.number and update.parameters & clip.parameters:
            return update
    return None


def _next_backward(run: Run, backward: Backward) -> float:
    """Return the number of the next backward pass, before which a change by hand has
    been made."""
    for other in run.backwards:
        if other.number > backward.number:
            return other.number
    return float("inf")


def backward_after(run: Run, clip: Clip, update: Update) -> bool:
    """Return whether gradients that are clipped change before the update."""
    for backward in run.backwards:
        is_between = clip.number < backward.number < update.number
        if is_between and backward.parameters & clip.parameters:
            return True
    return False


def clip_without_effect(run: Run) -> Found:
    """Gradients are clipped before backward(), or after step()."""
    effective = False
    late = dict[str, int]()
    for place, clips in _clips_by_line(run).items():
        late[place] = 0
        for clip in clips:
            update = following_update(run, clip)
            if update is not None and backward_after(run, clip, update):
                late[place] += 1
            elif update is not None:
                effective = True
    for place, count in late.items():
        if count > 1 and not effective:
            text = "gradients are clipped before backward(), or after step()"
            yield place, f"{text}: clip between the two"


def clip_of_nothing(run: Run) -> Found:
    """Clipping gets no parameters, or none that an update changes."""
    changed = run.stepped.union(*(update.parameters for update in run.updates))
    for place, clips in _clips_by_line(run).items():
        empty = [clip for clip in clips if not clip.parameters]
        if len(empty) > 1:
            yield (
                place,
                "clipping gets no parameters: an iterator can be read only once",
            )
        elif run.updates and not any(clip.parameters & changed for clip in clips):
            yield place, "clipping gets no parameter that an update changes"


def clip_of_scaled_gradients(run: Run) -> Found:
    """Gradients are clipped while they are multiplied by the scale of a GradScaler."""
    for place, clips in _clips_by_line(run).items():
        found = 0
        for clip in clips:
            update = following_update(run, clip)
            if update is None:
                continue
            for unscale in run.unscales:
                is_between = clip.number < unscale.number < update.number
                if is_between and unscale.parameters & clip.parameters:
                    found += 1
                    break
        if found > 1:
            text = "scaled gradients are clipped"
            yield place, f"{text}: call scaler.unscale_(optimizer) before"


# Parameters and optimizers


def unstepped(run: Run) -> dict[int, Backward]:
    """Return the parameters that get a gradient and never change, each with the first
    backward pass of which others are used."""
    found: dict[int, Backward] = {}
    first: dict[int, float] = {}
    changed = set[int]()
    for update in run.updates:
        changed |= update.parameters
    readings = [b.weights for b in run.backwards] + [e.weights for e in run.ends]
    for weights in readings:
        for p, weight in weights.items():
            if differs(first.setdefault(p, weight), weight):
                changed.add(p)
    for backward in run.backwards:
        for p in backward.parameters - changed - run.stepped:
            if backward.is_nonzero:
                found.setdefault(p, backward)
    return found


def parameter_not_stepped(run: Run) -> Found:
    """No optimizer holds a parameter that gets a gradient."""
    held = frozenset[int]().union(*(o.parameters for o in run.record.optimizers))
    missing = []
    place = ""
    for p, backward in unstepped(run).items():
        if p not in held and run.used_in[backward]:
            missing.append(run.record.names.get(p, "a parameter without a module"))
            place = place or run.used_in[backward][0].location
    if missing and len(run.updates) > 1:
        text = f"no optimizer holds {some_of(missing)}, which get a gradient"
        yield place, f"{text}: give them to one, or freeze them"


def optimizer_never_steps(run: Run) -> Found:
    """An optimizer holds parameters that get a gradient, and never makes a step."""
    missing = unstepped(run)
    for optimizer in run.record.optimizers:
        reached = {missing[p] for p in optimizer.parameters if p in missing}
        backwards = [b for b in run.backwards if b.parameters & optimizer.parameters]
        if reached and len(backwards) > 1:
            place = optimizer.location
            if place == "?":
                place = backwards[0].location
            text = "never makes a step, though its parameters get a gradient"
            yield place, f"{optimizer.kind} {text}: call its step()"


def optimizer_recreated(run: Run) -> Found:
    """An optimizer is re-created before every update, which discards its moments."""
    updates = defaultdict[OptimizerRecord, list[Update]](list)
    for update in run.updates:
        updates[update.optimizer].append(update)
    single = []
    for optimizer, own in updates.items():
        if optimizer.has_state and optimizer.is_first and len(own) == 1:
            single.append(optimizer)
    # the weights go on: they are not set between two optimizers
    ends = {(o.kind, o.weights_after_first_step) for o in single}
    found = [o for o in single if (o.kind, o.weights_at_first_step) in ends]
    if len(found) > 2 and 2 * len(found) > len(run.updates):
        text = f"{found[0].kind} is re-created before every update"
        how = "which discards its state: create it once"
        yield updates[found[0]][0].location, f"{text}, {how}"


# What must be seen before a mistake can be looked for; what is missing, in words


def needs_nothing(_: Run) -> str:
    return ""


def needs_passes(run: Run) -> str:
    if any(forward.has_gradient for forward in run.forwards):
        return ""
    return "nn.RNN, nn.LSTM, nn.GRU or a cell of them, called with gradient"


def needs_order_of_data(run: Run) -> str:
    """Whether data follow those of the window before is known for no carried state."""
    if needs_passes(run):
        return needs_passes(run)
    count = 0
    known = 0
    for module in run.modules:
        for window in run.all_windows(module):
            part = _carried_part(window.first)
            if part is not None:
                count += 1
                is_other = is_from_other_batch(window.first, part)
                known += is_other or gap_in_data(window.first, part) is not None
    if known == count:
        return ""
    return f"the order of the data of {count - known} of {count} carried states"


def needs_updates(run: Run) -> str:
    return "" if run.updates else "an update"


def needs_losses(run: Run) -> str:
    if any(loss.is_call for loss in run.losses):
        return ""
    return "losses without backward(), as no loss function of torch is called"


@dataclass(frozen=True)
class Mistake:
    """A mistake; its name switches it off."""

    name: str
    find: Callable[[Run], Found]
    unseen: Callable[[Run], str]


MISTAKES = (
    Mistake("state-attached", state_attached, needs_passes),
    Mistake("state-partly-attached", state_partly_attached, needs_passes),
    Mistake("state-exchanged", state_exchanged, needs_passes),
    Mistake("state-cut-at-every-step", state_cut_at_every_step, needs_passes),
    Mistake("state-cut-within-update", state_cut_within_update, needs_passes),
    Mistake("state-from-validation", state_from_validation, needs_passes),
    Mistake("state-from-elsewhere", state_from_elsewhere, needs_order_of_data),
    Mistake("state-never-given", state_never_given, needs_passes),
    Mistake("time-and-batch-exchanged", time_and_batch_exchanged, needs_passes),
    Mistake("loss-in-two-updates", loss_in_two_updates, needs_updates),
    Mistake("loss-in-no-update", loss_in_no_update, needs_losses),
    Mistake("gradients-not-zeroed", gradients_not_zeroed, needs_updates),
    Mistake("gradients-thrown-away", gradients_thrown_away, needs_updates),
    Mistake("clip-without-effect", clip_without_effect, needs_updates),
    Mistake("clip-of-nothing", clip_of_nothing, needs_updates),
    Mistake("clip-of-scaled-gradients", clip_of_scaled_gradients, needs_updates),
    Mistake("parameter-not-stepped", parameter_not_stepped, needs_updates),
    Mistake("optimizer-never-steps", optimizer_never_steps, needs_nothing),
    Mistake("optimizer-recreated", optimizer_recreated, needs_updates),
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
