"""The warnings of an audit on states, losses and updates, one function each.

The test loop of each is the function of its name in tests/audit/loops.py.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product

from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientUnscale,
    LoopUpdate,
    LossCall,
    OptimizerRecord,
    Origin,
    parameters_in,
    union,
)
from torch_rnn.loop_audit.findings import warning
from torch_rnn.loop_audit.loop import (
    LoopWindow,
    TrainingLoop,
    by_optimizer,
    grouped,
    is_most,
    parameter_ids,
    reached_passes,
)
from torch_rnn.loop_audit.order import follows, is_shuffled, sample_steps

# Of the carried states: burn-in states are more. The loop state_from_validation has 3
# of 15; test_other_forms has 7 of 15, which is no mistake.
MAX_VALIDATION_SHARE = 1 / 3
# Of the updates: those of two optimizers are two for a loss. The loop loss_in_no_update
# loses losses in all updates; test_other_forms in 2 of 6, which is no mistake.
MIN_LOST_SHARE = 1 / 2
# One number may be the first of several windows by chance.
MIN_SEQUENCES = 1


# States


def _is_from_validation(window: LoopWindow) -> bool:
    """Return whether a state is of a pass without gradient that training has led to,
    or whose data this window does not follow, as it follows those of training.
    """
    part = window.carried_part
    if part.origin is not Origin.WITHOUT_GRADIENT or part.source is None:
        return False
    is_warm_up = follows(part.source, window.first) or window.begins_epoch
    return part.is_from_training or bool(window.follows and not is_warm_up)


@warning(
    "the state or the input is attached to the previous window, and the gradient goes"
    " on into earlier updates: use detach()",
    ForwardPass,
    least=1,
)
def state_attached(loop: TrainingLoop) -> Iterator[Event]:
    """Yield each pass whose state or input is attached to an earlier update."""
    yield from loop.attached


@warning("h and c are exchanged: the state of an LSTM is (h, c)", ForwardPass)
def state_exchanged(loop: TrainingLoop) -> Iterator[Event]:
    """Yield each pass that gets c as h."""
    for forward in loop.forwards:
        outputs = [part.output for part in forward.state]
        if outputs in (["c", "h"], ["c", "out"]):
            yield forward


@warning(
    "the state is cut between steps or windows of one backward(): cut it once, after"
    " the update",
    ForwardPass,
)
def state_cut_within_update(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows whose state is cut from another window of their update."""
    for module_windows in loop.windows.values():
        by_update = grouped(module_windows, lambda window: window.update)
        for update, windows in by_update.items():
            passes = union(window.passes for window in windows)
            cut = [w for w in windows if w.carried_part.source in passes]
            # one step may follow a window, for the value of the next state
            is_cut = len(cut) > 1 or any(window.steps > 1 for window in cut)
            if is_cut and len(update.backwards) == 1:
                yield cut[0].first


@warning(
    "training continues from the state of a pass without gradient, as of a validation:"
    " keep the state of training",
    ForwardPass,
    least=1,
)
def state_from_validation(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows that begin with a state of a pass without gradient."""
    for windows in loop.windows.values():
        carried = 0
        validated = []
        for window in windows:
            carried += window.carried_part.is_carried
            if _is_from_validation(window):
                validated.append(window.first)
        if len(validated) <= MAX_VALIDATION_SHARE * carried:
            yield from validated


@warning(
    "the state is that of other data: the windows overlap, or go back;"
    " carry the state only to the data that follow",
    ForwardPass,
)
def state_from_elsewhere(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows whose data do not follow those of their state."""
    for windows in loop.windows.values():
        firsts = Counter(window.first.contents.first for window in windows)
        for window in windows:
            is_known = window.carried_part.origin is Origin.ELSEWHERE
            if is_known or _is_other_window(window, firsts):
                yield window.first


def _is_other_window(window: LoopWindow, firsts: Counter[int | None]) -> bool:
    """Return whether a state goes on to this window, and the data that follow those of
    the state begin another one.
    """
    before = window.before
    if before is None or window.carried_part.source is not before:
        return False
    is_distinct = before.sequences >= MIN_SEQUENCES
    is_other = window.data_follow is False and not window.begins_epoch
    return is_other and is_distinct and firsts[before.contents.following] > 0


@warning(
    "a part of the state is carried, and the other part starts from zeros in each"
    " window: carry both h and c",
    ForwardPass,
)
def state_part_lost(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the windows of modules that carry one of h and c alone in most windows."""
    for windows in loop.windows.values():
        parts = []
        for window in windows:
            zeros = [part.origin is Origin.ZEROS for part in window.first.state]
            if window.is_carried and any(zeros):
                parts.append(window.first)
        if is_most(len(parts), len(windows)):
            yield from parts


@warning(
    "the state goes on from sample to sample of a DataLoader that shuffles them: begin"
    " each sample from zeros, or keep the order",
    ForwardPass,
)
def state_over_shuffled_samples(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows of other samples than the ones that their state comes from."""
    for windows in loop.windows.values():
        carried = []
        for window in windows:
            source = window.carried_part.source
            if window.is_carried and source is not None and not window.data_follow:
                carried.append((source, window.first))
        if is_shuffled(sample_steps(carried)):
            for before, after in carried:
                if before.contents.batch is not after.contents.batch:
                    yield after


@warning(
    "this module takes the samples of a shuffled batch for steps of time: check"
    " batch_first",
    ForwardPass,
)
def samples_taken_for_steps(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes along shuffled samples."""
    for passes in loop.passes.values():
        taken = [p for p in passes if p.contents.are_samples_steps]
        steps = Counter[int]()
        for forward in taken:
            batch = forward.contents.batch
            if batch is not None:
                steps.update(j - i for i, j in pairwise(batch.indices))
        if is_shuffled(steps):
            yield from taken


@warning(
    "no call gets the state of the step before: pass it as h", ForwardPass, least=1
)
def state_never_given(loop: TrainingLoop) -> Iterator[Event]:
    """Yield cells that one line calls without a state, twice or more for each of the
    backward passes that reach them.
    """
    for module, passes in loop.passes.items():
        calls = [forward for forward in passes if forward.has_gradient]
        is_given = any(call.is_state_given or call.steps > 1 for call in calls)
        lines = {call.location for call in calls}
        reaching = [b for b in loop.backwards if any(reached_passes(module, [b]))]
        if not is_given and len(lines) == 1 and len(calls) >= 2 * len(reaching) > 0:
            yield calls[0]


@warning(
    "the loss uses the outputs of one sequence of the batch: check batch_first",
    ForwardPass,
)
def time_and_batch_exchanged(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes of modules of which losses use one sequence alone."""
    for module in loop.windows:
        reached = list(reached_passes(module, loop.backwards))
        if all(reach.is_one_sequence for _, reach in reached):
            for forward, _ in reached:
                yield forward


# Losses and gradients


@warning(
    "a loss goes through backward() again, and counts twice: begin each sum of losses"
    " at 0, or call backward() once",
    least=1,
)
def loss_used_twice(loop: TrainingLoop) -> Iterator[Event]:
    """Yield backward passes through a loss that another one of the same optimizer has
    gone through.
    """
    seen = set[tuple[LossCall, OptimizerRecord]]()
    for backward in loop.backwards:
        # one that fails, as torch has freed the graph, is in no update
        updates = loop.updates if backward.has_failed else loop.updates_of(backward)
        uses = set(product(backward.losses, (update.optimizer for update in updates)))
        if uses & seen:
            yield backward
        seen |= uses


@warning("not every loss of an update reaches backward(): add them up", LossCall)
def loss_in_no_update(loop: TrainingLoop) -> Iterator[Event]:
    """Yield lines of losses of which all but one, or all but the last, reach
    backward().
    """
    reached = union(backward.losses for backward in loop.backwards)
    numbers = [update.number for update in loop.updates]
    for line in grouped(loop.losses, lambda loss: loss.location).values():
        incomplete = []
        by_update = grouped(line, lambda loss: bisect(numbers, loss.number))
        for update, losses in by_update.items():
            lost = [loss for loss in losses if loss not in reached]
            is_last_alone = lost and lost == losses[:-1]
            is_without_one = len(lost) == 1 < len(losses) - 1
            if update < len(numbers) and (is_last_alone or is_without_one):
                incomplete.append(losses[0])
        # an evaluation may use the same line
        if len(incomplete) >= MIN_LOST_SHARE * len(numbers):
            yield from incomplete


@warning(
    "the gradient of each update is added to that of the update before: call"
    " zero_grad()"
)
def gradients_not_zeroed(loop: TrainingLoop) -> Iterator[Event]:
    """Yield updates whose gradient has a part that an earlier one has used."""
    adding = loop.adding_updates()
    for update in loop.updates:
        if update.is_known and update in adding:
            yield update


@warning(
    "this gradient is zeroed before a step uses it: call zero_grad() once, after step()"
    " or before the first backward()"
)
def gradients_thrown_away(loop: TrainingLoop) -> Iterator[Event]:
    """Yield backward passes whose gradients no update uses."""
    lost: dict[LoopUpdate, BackwardPass] = {}
    used = union(change.backwards for change in loop.changes)
    for backward in loop.backwards:
        # adversarial examples use the gradient of the data
        is_used = backward in used or backward.reaches_data
        if is_used or backward.has_failed:
            continue
        for update in loop.updates:
            is_next = update.number > backward.number
            if is_next and update.held & backward.parameters:
                lost[update] = backward
                break
    for updates in by_optimizer(loop.updates):
        known = [update for update in updates if update.is_known]
        thrown_away = [lost[update] for update in known if update in lost]
        if is_most(len(thrown_away), len(updates)):
            yield from thrown_away


# Clipping


@warning(
    "a backward() follows this clip before a step does: clip once, after the last"
    " backward() and before step()"
)
def clip_before_backward(loop: TrainingLoop) -> Iterator[Event]:
    """Yield clips before a backward pass whose gradient is used as it is, if they are
    half of those of their line: a loop may leave a step out.
    """
    for clips in grouped(loop.clips, lambda clip: clip.location).values():
        followed = []
        for clip in clips:
            after = loop.event_after(clip)
            if not isinstance(after, BackwardPass):
                continue
            # for DP-SGD, a script sums the clipped gradients of sequences itself
            if any(update.is_known for update in loop.updates_of(after)):
                followed.append(clip)
        if 2 * len(followed) >= len(clips):
            yield from followed


@warning(
    "clipping gets no parameters that are updated, as of an iterator that is read once"
)
def clip_of_wrong_parameters(loop: TrainingLoop) -> Iterator[Event]:
    """Yield lines that clip nothing that is updated."""
    changed = loop.changed_parameters()
    by_line = grouped(loop.clips, lambda clip: clip.location)
    for clips in by_line.values():
        if loop.updates and not parameters_in(clips) & changed:
            yield from clips


@warning("scaled gradients are clipped: call scaler.unscale_(optimizer) before")
def clip_of_scaled_gradients(loop: TrainingLoop) -> Iterator[Event]:
    """Yield lines that clip before gradients are unscaled."""
    for clip in loop.clips:
        if isinstance(loop.event_after(clip), GradientUnscale):
            yield clip


# Parameters and optimizers


@warning(
    "two optimizers step the same parameters by the same gradient: give each parameter"
    " to one of them"
)
def parameter_stepped_twice(loop: TrainingLoop) -> Iterator[Event]:
    """Yield steps after one of another optimizer, in the same update."""
    for steps in loop.groups:
        stepped = frozenset[int]()
        for step in steps:
            if step.parameters & stepped:
                yield step
            stepped |= step.parameters


@warning(
    "parameters get a gradient, and no step: give them to an optimizer and call its"
    " step(), or freeze them"
)
def parameter_not_stepped(loop: TrainingLoop) -> Iterator[Event]:
    """Yield updates after a gradient of parameters that nothing changes."""
    changed = loop.changed_parameters()
    for backward in loop.backwards:
        updates = loop.updates_of(backward)
        if updates and backward.parameters - changed:
            yield updates[0]


@warning(
    "an optimizer steps this module, and no loss reaches it: its output or state is"
    " cut, as by detach(), .data or no_grad()"
)
def module_not_reached(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes of modules that an optimizer holds and no gradient reaches."""
    if not all(backward.is_complete for backward in loop.backwards):
        return
    reached = parameters_in(loop.backwards) | parameters_in(loop.updates)
    held = union(update.held for update in loop.updates)
    for module, passes in loop.passes.items():
        parameters = parameter_ids(module)
        if parameters & held and not parameters & reached:
            for forward in passes:
                if forward.has_gradient:
                    yield forward


@warning(
    "the optimizer is re-created before every update, which discards its state: create"
    " it once",
    least=3,
)
def optimizer_recreated(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the steps of optimizers that make one step each, for most updates."""
    single = []
    for first, *others in by_optimizer(loop.updates):
        if first.optimizer.is_fresh and not others:
            single.append(first)
    for updates in grouped(single, lambda update: update.held).values():
        if is_most(len(updates), len(loop.updates)):
            yield from updates
