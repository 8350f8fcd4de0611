"""What loop it is: its truncation, states, loss and update, as the parts of one line.

The line is what `--expect` takes; `expectation.py` reads it and compares.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit.events import (
    BY_HAND,
    GIVEN_GRADIENTS,
    UNNAMED_LOSS,
    GradientClip,
    LoopUpdate,
    LossCall,
    Origin,
    parameters_in,
    union,
)
from torch_rnn.loop_audit.loop import LoopWindow, TrainingLoop, grouped, is_most

CARRIED = "carried"
EPOCH_ZEROS = "zeros at each epoch"
SEQUENCE_ZEROS = "zeros at each sequence"
THROUGH_EPOCHS = "carried through epochs"
WINDOW_ZEROS = "zeros at each window"
COMPUTED = "computed"
WARM_UP = "from a warm-up"
ALL_STEPS = "loss at all steps"
BY_HAND_LOSS = "loss by hand"


def usual(values: Iterable[int]) -> int:
    """Return the most frequent value, 0 without one."""
    return next((value for value, _ in Counter(values).most_common(1)), 0)


def new_steps(window: LoopWindow, is_sliding: bool) -> int:
    """Return how many steps of a window are new: those with a loss where windows
    overlap, all where they do not.
    """
    return window.k1 if is_sliding else window.steps


class Truncation(NamedTuple):
    """Which truncation the windows of a module make, in words.

    `sizes` are k1 and k2 if it is TBPTT(k1, k2); `is_full` is full BPTT.
    """

    text: str
    sizes: tuple[int, int] | None = None
    is_full: bool = False
    is_sliding: bool = False


def truncation(loop: TrainingLoop, module: nn.Module) -> Truncation:
    """Return which truncation the windows of a module make."""
    windows = loop.windows[module]
    if not windows:
        return Truncation("no update by its gradients")
    if any(forward.module is module for forward in loop.attached):
        return Truncation("no truncation: the gradient goes on into earlier updates")
    if GIVEN_GRADIENTS in loop.record.unseen:
        return Truncation("a truncation that backward() with given gradients makes")
    origins = Counter(window.carried_part.origin for window in windows)
    cut = [window for window in windows if window.is_carried]
    is_sliding = is_most(origins[Origin.INSIDE] + origins[Origin.OLDER], len(cut))
    sizes = Counter((new_steps(w, is_sliding), w.k2) for w in windows)
    ((k1, k2), count), *_ = sizes.most_common(1)
    common = [w for w in windows if (new_steps(w, is_sliding), w.k2) == (k1, k2)]
    # the first windows of an epoch may be smaller, and the last
    is_regular = (
        is_most(count, len(windows))
        and all(window.k2 <= k2 for window in windows)
        and all(window.steps == k2 for window in common)
    )
    is_single = all(
        len(inside) <= max(1, len(update.backwards))
        for update, inside in grouped(windows, lambda window: window.update).items()
    )
    if cut and is_regular and is_single and 0 < k1 <= k2:
        return Truncation(f"TBPTT({k1}, {k2})", (k1, k2), False, is_sliding)
    steps = usual(window.steps for window in windows)
    if origins[Origin.UNKNOWN] or cut:
        text = f"windows of {pluralize(steps, 'step')}, in which the gradient goes"
        return Truncation(f"{text} {usual(w.k2 for w in windows)} back")
    is_same = len({window.steps for window in windows}) == 1
    over = f" over {pluralize(steps, 'step')}" if is_same else ""
    return Truncation(f"full BPTT{over}", None, True)


def state_text(windows: list[LoopWindow]) -> str:
    """Return where the states of windows come from, as parts of the line."""
    later = windows[1:]
    if any(w.is_carried for w in windows):
        zeros = [w for w in later if w.is_from_zeros]
        if not zeros:
            begun = any(w.begins_epoch and w.is_carried for w in later)
            return THROUGH_EPOCHS if begun else CARRIED
        is_epoch = all(w.begins_epoch is not False for w in zeros)
        return f"{CARRIED}, {EPOCH_ZEROS if is_epoch else SEQUENCE_ZEROS}"
    if all(window.is_from_zeros for window in windows):
        return WINDOW_ZEROS
    if all(window.is_warm_up for window in windows):
        return WARM_UP
    origins = {part.origin for window in windows for part in window.first.state}
    return COMPUTED if origins <= {Origin.COMPUTED, Origin.ATTACHED} else ""


def used_text(window: LoopWindow, is_sliding: bool) -> str:
    """Return at which steps of a window there is a loss."""
    if window.k1 == new_steps(window, is_sliding):
        return ALL_STEPS
    if window.k2 < window.steps:
        return f"loss at {window.k1} steps"
    return f"loss at the last {'step' if window.k1 == 1 else f'{window.k1} steps'}"


# Loss and update


def loss_text(losses: Iterable[LossCall]) -> str:
    """Return the names and reductions of losses."""
    texts = []
    for loss in losses:
        is_named = loss.name != UNNAMED_LOSS
        text = f"{loss.name} {loss.reduction}" if is_named else BY_HAND_LOSS
        texts.append(text.strip())
    return " and ".join(dict.fromkeys(texts))


def optimizer_text(updates: Iterable[LoopUpdate]) -> str:
    """Return the optimizers of updates."""
    kinds = []
    for update in updates:
        is_by_hand = update.optimizer is BY_HAND
        kinds.append("update by hand" if is_by_hand else update.optimizer.kind)
    return " and ".join(dict.fromkeys(kinds))


def rate_text(updates: Iterable[LoopUpdate]) -> str:
    """Return the learning rates of updates."""
    rates = dict.fromkeys(rate for update in updates for rate in update.rates)
    return "lr " + " and ".join(f"{rate:g}" for rate in rates) if rates else ""


class UpdateFacts(NamedTuple):
    """One update: steps of optimizers that are made together, and what led to them."""

    number: int
    steps: list[LoopUpdate]
    losses: list[LossCall]
    clips: list[GradientClip]

    @property
    def location(self) -> str:
        """FILE:LINE of the step."""
        return self.steps[0].location

    @property
    def backward_count(self) -> int:
        """The number of backward passes whose sum the gradient is."""
        return len(union(step.backwards for step in self.steps))


def clip_text(update: UpdateFacts) -> str:
    """Return what clips make of the gradients of an update."""
    clips = update.clips
    if not clips:
        return "no clip"
    limits = dict.fromkeys(f"clip {clip.kind} {clip.limit:g}" for clip in clips)
    text = " and ".join(limits)
    clipped = parameters_in(clips)
    is_all = parameters_in(update.steps) <= clipped
    return text if is_all else f"{text} of {pluralize(len(clipped), 'parameter')}"


def update_facts(loop: TrainingLoop) -> list[UpdateFacts]:
    """Return the facts of each update."""
    clips_of: dict[int, list[GradientClip]] = {}
    for clip in loop.clips:
        after = loop.event_after(clip)
        if isinstance(after, LoopUpdate) and after in loop.numbered:
            clips_of.setdefault(loop.number_of(after), []).append(clip)
    facts = []
    for number, steps in enumerate(loop.groups, 1):
        losses = union(b.losses for step in steps for b in step.backwards)
        ordered = sorted(losses, key=lambda loss: loss.number)
        facts.append(UpdateFacts(number, steps, ordered, clips_of.get(number, [])))
    return facts


def describe_update(loop: TrainingLoop) -> list[str]:
    """Return the parts of the line on loss and update, as they are in most updates."""
    facts = update_facts(loop)
    if not facts:
        return []
    size = len(facts)
    parts = [loss_text(loss for update in facts for loss in update.losses)]
    for noun, counts in (
        ("loss", Counter(len(update.losses) for update in facts)),
        ("backward pass", Counter(update.backward_count for update in facts)),
    ):
        ((count, times),) = counts.most_common(1)
        if count > 1 and times == size:
            parts.append(f"{count} {noun}es per update")
    parts.append(optimizer_text(step for update in facts for step in update.steps))
    rates = [rate_text(update.steps) for update in facts]
    if len(set(rates)) == 1:
        parts.append(rates[0])
    elif rates[0]:
        last = rates[-1].removeprefix("lr ")
        parts.append(f"{rates[0].replace('lr ', 'lr from ')} to {last}")
    clips = Counter(clip_text(update) for update in facts)
    ((text, times),) = clips.most_common(1)
    if times == size:
        parts.append(text)
    return [part for part in parts if part]


def describe_module(loop: TrainingLoop, module: nn.Module) -> list[str]:
    """Return the parts of the line on a module: its truncation, states and steps."""
    windows = loop.windows[module]
    found = truncation(loop, module)
    if not found.sizes and not found.is_full:
        return []
    batches = {window.first.sequences for window in windows}
    parts = [found.text]
    if len(batches) == 1:
        parts.append(f"batch of {batches.pop()}")
    parts.append(state_text(windows))
    texts = Counter(used_text(window, found.is_sliding) for window in windows)
    ((text, times),) = texts.most_common(1)
    if times == len(windows):
        parts.append(text)
    return [part for part in parts if part]


def trained_modules(loop: TrainingLoop) -> list[nn.Module]:
    """Return the modules that updates train, in the order of their first calls."""
    return [module for module, windows in loop.windows.items() if windows]


def describe_loop(loop: TrainingLoop) -> str:
    """Return the line that describes a loop: what `--expect` takes."""
    modules = [", ".join(describe_module(loop, m)) for m in trained_modules(loop)]
    if len(set(modules)) == 1:
        modules = modules[:1]
    update = ", ".join(describe_update(loop))
    last = ", ".join(text for text in (*modules[-1:], update) if text)
    return "; ".join([*modules[:-1], last])
