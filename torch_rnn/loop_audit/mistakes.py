"""The mistakes that an audit looks for, one function each.

A function gets a loop and yields the events where the mistake shows. A warning stays
only if right loops never raise it, so most ask for the same evidence twice. The test
loop of each is the function of its name in tests/audit/loops.py.
"""

from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, product

from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientUnscale,
    LoopUpdate,
    LossCall,
    OptimizerRecord,
    Origin,
    StatePart,
    parameters_in,
    union,
)
from torch_rnn.loop_audit.loop import (
    TrainingLoop,
    by_optimizer,
    grouped,
    is_most,
    parameter_ids,
    reached_passes,
)

# Of the carried states: burn-in states are more. The loop state_from_validation has 3
# of 15; test_other_forms has 7 of 15, which is no mistake.
MAX_VALIDATION_SHARE = 1 / 3
# Of the updates: those of two optimizers are two for a loss. The loop loss_in_no_update
# loses losses in all updates; test_other_forms in 2 of 6, which is no mistake.
MIN_LOST_SHARE = 1 / 2
Finder = Callable[[TrainingLoop], Iterator[Event]]


@dataclass(frozen=True)
class Mistake:
    """A mistake: how it is found, and what is said of it."""

    message: str  # what is wrong, and what to do
    needs: type[Event]  # without which it cannot be looked for
    least: int  # times that it shows, for a warning
    find: Finder


MISTAKES: dict[str, Mistake] = {}  # by the name that switches it off


def mistake(
    message: str, needs: type[Event] = LoopUpdate, least: int = 2
) -> Callable[[Finder], Finder]:
    """Return a decorator that adds a function to the mistakes."""

    def add(find: Finder) -> Finder:
        """Add this one, by the name of its function."""
        name = find.__name__.replace("_", "-")
        MISTAKES[name] = Mistake(message, needs, least, find)
        return find

    return add


# States


def _is_from_validation(part: StatePart) -> bool:
    """Return whether passes without gradient lead from training to a state."""
    if part.origin is not Origin.WITHOUT_GRADIENT:
        return False
    forward = part.source
    while forward is not None and not forward.has_gradient:
        forward = forward.state[0].source
    return forward is not None


@mistake(
    "the state or the input is attached to the previous window, and the gradient goes"
    " on into earlier updates: use detach()",
    ForwardPass,
    least=1,
)
def state_attached(loop: TrainingLoop) -> Iterator[Event]:
    """Yield each pass whose state or input is attached to an earlier update."""
    yield from loop.attached


@mistake("h and c are exchanged: the state of an LSTM is (h, c)", ForwardPass)
def state_exchanged(loop: TrainingLoop) -> Iterator[Event]:
    """Yield each pass that gets c as h."""
    for forward in loop.forwards:
        outputs = [part.output for part in forward.state]
        if outputs in (["c", "h"], ["c", "out"]):
            yield forward


@mistake(
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


@mistake(
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
            if _is_from_validation(window.carried_part):
                validated.append(window.first)
        if len(validated) <= MAX_VALIDATION_SHARE * carried:
            yield from validated


@mistake(
    "the state is that of other data: the windows overlap, or go back;"
    " carry the state only to the data that follow",
    ForwardPass,
)
def state_from_elsewhere(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows whose data do not follow those of their state."""
    for window in chain(*loop.windows.values()):
        if window.carried_part.origin is Origin.ELSEWHERE:
            yield window.first


@mistake(
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


@mistake(
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


@mistake(
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


@mistake("not every loss of an update reaches backward(): add them up", LossCall)
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


@mistake(
    "the gradient of each update is added to that of the update before: call"
    " zero_grad()"
)
def gradients_not_zeroed(loop: TrainingLoop) -> Iterator[Event]:
    """Yield updates whose gradient has a part that an earlier one has used."""
    adding = loop.adding_updates()
    for update in loop.updates:
        if update.is_known and update in adding:
            yield update


@mistake(
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


@mistake(
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


@mistake(
    "clipping gets no parameters that are updated, as of an iterator that is read once"
)
def clip_of_wrong_parameters(loop: TrainingLoop) -> Iterator[Event]:
    """Yield lines that clip nothing that is updated."""
    changed = loop.changed_parameters()
    by_line = grouped(loop.clips, lambda clip: clip.location)
    for clips in by_line.values():
        if loop.updates and not parameters_in(clips) & changed:
            yield from clips


@mistake("scaled gradients are clipped: call scaler.unscale_(optimizer) before")
def clip_of_scaled_gradients(loop: TrainingLoop) -> Iterator[Event]:
    """Yield lines that clip before gradients are unscaled."""
    for clip in loop.clips:
        if isinstance(loop.event_after(clip), GradientUnscale):
            yield clip


# Parameters and optimizers


@mistake(
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


@mistake(
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


@mistake(
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
