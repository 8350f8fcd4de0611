"""The questions of an audit, for what may be meant: one function each."""

from collections.abc import Iterator

from torch_rnn.loop_audit.events import BackwardPass, Event, ForwardPass, LossCall
from torch_rnn.loop_audit.findings import question
from torch_rnn.loop_audit.loop import (
    LoopWindow,
    TrainingLoop,
    by_optimizer,
    is_most,
    reached_passes,
)
from torch_rnn.loop_audit.order import is_shuffled, sample_steps
from torch_rnn.loop_audit.values import parameters_without_gradient, signed_losses

# The roughness of values along what is no axis of time, and along one.
MIN_OF_SAMPLES = 0.8
MAX_OF_TIME = 0.1
MIN_RATE = 1e-4  # as a part of the first one


# States


@question(
    "this window follows the previous one in the data, and starts from zeros: is the"
    " state to be carried? (If these are samples: is batch_first right?)",
    ForwardPass,
    least=1,
)
def state_lost(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows from zeros whose data follow, if most do or others carry it."""
    for windows in loop.windows.values():
        lost = []
        carried = 0
        for window in windows:
            carried += window.is_carried
            if window.is_from_zeros and window.follows and not window.begins_epoch:
                lost.append(window.first)
        later = [window for window in windows if not window.begins_epoch]
        if carried > 1 or (len(lost) > 1 and is_most(len(lost), len(later))):
            yield from lost


@question(
    "an epoch begins, or the same data come again, with the state of the end: are they"
    " to begin from zeros?",
    ForwardPass,
    least=1,
)
def state_into_next_epoch(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows that begin an epoch with a carried state."""
    for windows in loop.windows.values():
        for window in windows[1:]:
            is_new = window.begins_epoch and not window.follows
            if is_new and window.is_carried:
                yield window.first


def _carried_pairs(windows: list[LoopWindow]) -> list[tuple[LoopWindow, ForwardPass]]:
    """Return windows within an epoch with the pass that their state comes from."""
    pairs = []
    for window in windows:
        source = window.carried_part.source
        if window.is_carried and source is not None and not window.begins_epoch:
            pairs.append((window, source))
    return pairs


@question(
    "the state is carried to data that do not follow those it comes from: are these"
    " one sequence?",
    ForwardPass,
    unless=("state-from-elsewhere", "state-over-shuffled-samples"),
)
def state_to_other_data(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows with a carried state, of data that are known not to follow, or of
    a batch of samples after those of another batch.
    """
    for windows in loop.windows.values():
        pairs = _carried_pairs(windows)
        other = [window.first for window, _ in pairs if window.data_follow is False]
        unknown = [(s, w.first) for w, s in pairs if w.data_follow is None]
        steps = sample_steps(unknown)
        # one sequence after the other in a row of the batch is by one sample
        if steps and not is_shuffled(steps) and 1 not in dict(steps.most_common(1)):
            other += [after for _, after in unknown]
        if is_most(len(other), len(pairs)):
            yield from other


@question(
    "each step starts from zeros, in several calls for one backward(): is the state of"
    " the step before to be given?",
    ForwardPass,
    least=1,
)
def steps_from_zeros(loop: TrainingLoop) -> Iterator[Event]:
    """Yield cells, and modules that are called for a step, which never get a state."""
    for module, passes in loop.passes.items():
        calls = [forward for forward in passes if forward.has_gradient]
        reaching = [b for b in loop.backwards if any(reached_passes(module, [b]))]
        windows = loop.windows[module]
        is_zero = all(window.is_from_zeros and window.steps == 1 for window in windows)
        is_given = any(call.is_state_given for call in calls)
        if windows and is_zero and is_given and len(calls) >= 2 * len(reaching) > 0:
            yield calls[0]


# Axes


@question(
    "this module takes the samples of a batch for steps of time: is batch_first right?",
    ForwardPass,
    unless=("samples-taken-for-steps",),
)
def samples_as_steps(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes along samples, in their order, from zeros."""
    for windows in loop.windows.values():
        for window in windows:
            contents = window.first.contents
            if contents.are_samples_steps and window.is_from_zeros:
                yield window.first


@question(
    "the inputs are smooth along the batch, and without order along time: is"
    " batch_first right?",
    ForwardPass,
    unless=("samples-taken-for-steps", "samples-as-steps"),
)
def axes_exchanged(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes of inputs that look as if time were the other axis."""
    for windows in loop.windows.values():
        found = []
        for window in windows:
            time, batch = window.first.contents.roughness or (0.0, 1.0)
            if time > MIN_OF_SAMPLES and batch < MAX_OF_TIME:
                found.append(window.first)
        if is_most(len(found), len(windows)):
            yield from found


@question(
    "the windows follow one another along the axis that the module takes for the batch,"
    " and the state is carried: is batch_first right?",
    ForwardPass,
)
def carried_along_batch(loop: TrainingLoop) -> Iterator[Event]:
    """Yield windows with a carried state, whose data go on along the batch."""
    for windows in loop.windows.values():
        found = []
        for window in windows:
            before, first = window.carried_part.source, window.first
            if before is None or not window.is_carried or first.sequences == 1:
                continue
            is_same = first.across.series == before.across.series is not None
            gap = first.across.step - before.across.step
            if is_same and gap == before.sequences:
                found.append(first)
        if is_most(2 * len(found), len(windows)):
            yield from found


# Losses and gradients


@question(
    "the target of each step is the input of this step: is it to be the next one?",
    LossCall,
)
def target_is_input(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses whose target is the input."""
    yield from signed_losses(loop, "target-is-input")


@question(
    "the target is the last step of the input: is it to be the one after?", LossCall
)
def target_is_last_input(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses whose target is the last input."""
    yield from signed_losses(loop, "target-is-last-input")


@question(
    "the target of each step is the input of the step before: is it to be the next"
    " one?",
    LossCall,
)
def target_is_earlier_input(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses whose target is the input one step earlier."""
    yield from signed_losses(loop, "target-is-earlier-input")


@question(
    "the output is broadcast to the larger target: are their shapes as meant?", LossCall
)
def output_broadcast(loop: TrainingLoop) -> Iterator[Event]:
    """Yield losses that broadcast the output."""
    yield from signed_losses(loop, "output-broadcast")


@question(
    "some parameters have a gradient of zero after every backward(): are they to be"
    " trained?",
    least=1,
    unless=("state-never-given", "steps-from-zeros"),
)
def parameter_without_gradient(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the first backward pass, if gradients of some parameters are zero."""
    if parameters_without_gradient(loop):
        yield loop.backwards[0]


@question(
    "gradients are computed, and no step uses them: is a step left out?", BackwardPass
)
def no_update(loop: TrainingLoop) -> Iterator[Event]:
    """Yield backward passes to parameters, if there is no update at all."""
    if not loop.updates:
        for backward in loop.backwards:
            if backward.parameters and not backward.reaches_data:
                yield backward


@question(
    "the module is in the mode of evaluation, and was in that of training before: is"
    " train() left out?",
    ForwardPass,
)
def trained_in_evaluation_mode(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the windows of modules from the last call of eval() on, after which there
    is none in training.
    """
    for windows in loop.windows.values():
        modes = [window.first.is_training for window in windows]
        if modes and modes[0] and not modes[-1]:
            begun = len(modes) - modes[::-1].index(True)
            yield from (window.first for window in windows[begun:])


@question(
    "this backward() goes again through the graph of an earlier one of the same update,"
    " and on from there: is the state to be cut between them?",
    ForwardPass,
)
def attached_within_update(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes whose parent an earlier backward() of their update has reached."""
    for steps in loop.groups:
        done = set[ForwardPass]()
        backwards = {backward for step in steps for backward in step.backwards}
        for backward in sorted(backwards, key=lambda backward: backward.number):
            for forward in backward.reached:
                if forward not in done and done & {*forward.parents}:
                    yield forward
            done |= backward.reached.keys()


@question(
    "the gradient of this update has a part of passes in the mode of evaluation: does a"
    " loss of validation go through backward()?",
    ForwardPass,
    least=1,
)
def evaluation_in_update(loop: TrainingLoop) -> Iterator[Event]:
    """Yield passes in evaluation mode that are in an update with others in training."""
    for steps in loop.groups:
        backwards = {backward for step in steps for backward in step.backwards}
        reached = {forward for backward in backwards for forward in backward.reached}
        trained = {forward.module for forward in reached if forward.is_training}
        for forward in sorted(reached, key=lambda forward: forward.number):
            if not forward.is_training and forward.module in trained:
                yield forward


@question(
    "the learning rate falls below a ten-thousandth of its first value for most"
    " updates: is the scheduler stepped where it is meant to be?",
    least=1,
)
def rate_vanishes(loop: TrainingLoop) -> Iterator[Event]:
    """Yield the first step with a tiny rate of optimizers that make most steps so."""
    for updates in by_optimizer(loop.updates):
        rates = [max(update.rates, default=0.0) for update in updates]
        small = [u for u, rate in zip(updates, rates) if rate < MIN_RATE * rates[0]]
        if is_most(len(small), len(updates)):
            yield small[0]
