"""Where a loop differs from what is expected of it, part by part."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import nn

from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit.description import (
    ALL_STEPS,
    CARRIED,
    COMPUTED,
    EPOCH_ZEROS,
    SEQUENCE_ZEROS,
    THROUGH_EPOCHS,
    WARM_UP,
    WINDOW_ZEROS,
    UpdateFacts,
    clip_text,
    loss_text,
    new_steps,
    optimizer_text,
    rate_text,
    trained_modules,
    truncation,
    update_facts,
    used_text,
    usual,
)
from torch_rnn.loop_audit.events import CLOSURES, Origin
from torch_rnn.loop_audit.expectation import Expectation, Part, module_names
from torch_rnn.loop_audit.loop import LoopWindow, TrainingLoop, is_most

Parts = Mapping[str, list[Part]]


class Difference(NamedTuple):
    """A part in which a loop differs: what is expected, what is found and where."""

    part: str
    expected: str
    found: str
    number: int = 0  # of the update, from 1; 0: none
    location: str = ""  # FILE:LINE

    def __str__(self) -> str:
        """Return it as a line."""
        text = f"{self.part}: {self.expected} is expected, found {self.found}"
        if not self.number:
            return text
        return f"{text}, first in update {self.number} ({self.location})"


def _at(part: str, expected: str, found: str, window: LoopWindow) -> Difference:
    """Return a difference at a window."""
    return Difference(part, expected, found, window.number, window.first.location)


# Truncation


def _truncation_difference(
    loop: TrainingLoop, module: nn.Module, parts: Parts
) -> Difference | None:
    """Return where the truncation of a module differs."""
    (part,) = parts["truncation"]
    k1, k2, _, steps = part.values
    expected = f"TBPTT({k1}, {k2})" if k1 else part.text.replace("bptt", "BPTT")
    found = truncation(loop, module)
    windows = loop.windows[module]
    first = windows[0]
    for forward in loop.attached:
        if forward.module is module:
            number = next((w.number for w in windows if forward in w.passes), 1)
            text = found.text
            return Difference("truncation", expected, text, number, forward.location)
    if k1 and k2:
        return _sizes_difference(
            windows, (int(k1), int(k2)), expected, found.is_sliding
        )
    for window in windows:
        if steps and window.steps != int(steps):
            text = f"a window of {pluralize(window.steps, 'step')}"
            return _at("truncation", expected, text, window)
        if window.is_carried and "states" not in parts:
            return _at("truncation", expected, found.text, window)
    if not found.is_full and "states" not in parts:
        return _at("truncation", expected, found.text, first)
    return None


def _sizes_difference(
    windows: list[LoopWindow], sizes: tuple[int, int], expected: str, is_sliding: bool
) -> Difference | None:
    """Return where windows are not those of TBPTT(k1, k2)."""
    k1, k2 = sizes
    by_update = [window.number for window in windows]
    common = usual(new_steps(window, is_sliding) for window in windows)
    reach = usual(window.k2 for window in windows)
    for window in windows:
        new = new_steps(window, is_sliding)
        text = f"{pluralize(new, 'new step')} in a window of {window.steps}"
        text += f", through {window.k2} of which the gradient goes"
        # the first windows of an epoch may be smaller, and the last
        is_small = (common, reach) == sizes and new <= k1 and window.k2 <= k2
        if (new, window.k2) != sizes and not is_small:
            return _at("truncation", expected, text, window)
        if by_update.count(window.number) > max(1, len(window.update.backwards)):
            several = f"{by_update.count(window.number)} windows in one update"
            return _at("truncation", expected, several, window)
    return None


# States


def _origin(window: LoopWindow) -> str:
    """Return in words where the state of a window comes from."""
    return f"a state from {window.origin}"


def _is_part_lost(window: LoopWindow) -> bool:
    """Return whether h or c alone is carried."""
    origins = [part.origin for part in window.first.state]
    return window.is_carried and Origin.ZEROS in origins


def _carried_fault(window: LoopWindow, words: set[str]) -> str:
    """Return what is wrong with a later window of states that are carried; or ""."""
    if any(part.origin is Origin.ATTACHED for part in window.first.state):
        return _origin(window)
    if window.is_carried:
        if _is_part_lost(window):
            return "one of h and c from zeros"
        if window.begins_epoch and not window.follows:
            through = EPOCH_ZEROS in words
            return "a state that is carried into the next epoch" if through else ""
        if window.data_follow is False:
            return "the state of data that this window does not follow"
        return ""
    if window.begins_epoch and THROUGH_EPOCHS in words:
        return f"{_origin(window)} at the beginning of an epoch"
    is_inside = window.follows and not window.begins_epoch
    if is_inside and SEQUENCE_ZEROS not in words:
        return f"{_origin(window)}, and the data follow those of the previous window"
    return ""


def _has_own_start(window: LoopWindow, words: set[str]) -> bool:
    """Return whether a window starts from zeros, or a computed state, as expected."""
    if WINDOW_ZEROS in words and window.is_from_zeros:
        return True
    if WARM_UP in words and window.is_warm_up:
        return True
    origins = {part.origin for part in window.first.state}
    return COMPUTED in words and origins <= {Origin.COMPUTED, Origin.ATTACHED}


def _states_difference(windows: list[LoopWindow], words: set[str]) -> Difference | None:
    """Return where the states of windows are others."""
    expected = ", ".join(sorted(words))
    is_carried = bool(words & {CARRIED, EPOCH_ZEROS, SEQUENCE_ZEROS, THROUGH_EPOCHS})
    for window in windows:
        fault = ""
        if is_carried and window is not windows[0]:
            fault = _carried_fault(window, words)
        elif not is_carried and not _has_own_start(window, words):
            fault = _origin(window)
        if fault:
            return _at("states", expected, fault, window)
    later = windows[1:]
    lost = [window for window in later if not window.is_carried]
    if is_carried and is_most(len(lost), len(later)):
        return _at("states", expected, f"{_origin(lost[0])} in most windows", lost[0])
    return None


def _attached_difference(
    loop: TrainingLoop, module: nn.Module, words: set[str]
) -> Difference | None:
    """Return where the state of a module is attached to an earlier update."""
    attached = [forward for forward in loop.attached if forward.module is module]
    if not attached:
        return None
    text = "a state that is attached to the graph of an earlier update"
    windows = loop.windows[module]
    # where backward() fails, the pass is in no window
    numbers = [w.number for w in windows if w.passes & set(attached)]
    number = numbers[0] if numbers else windows[-1].number + 1
    place = attached[0].location
    return Difference("states", ", ".join(sorted(words)), text, number, place)


# Batches, steps with a loss


def _batch_difference(windows: list[LoopWindow], part: Part) -> Difference | None:
    """Return where the number of sequences is another one."""
    sizes = [window.first.sequences for window in windows]
    expected = int(part.values[0] or 0)
    for window in windows:
        # the last batch of an epoch may be smaller
        size = window.first.sequences
        if size > expected or usual(sizes) != expected:
            return _at("batch", part.text, f"a batch of {size}", window)
    return None


def _steps_difference(
    windows: list[LoopWindow], part: Part, is_sliding: bool
) -> Difference | None:
    """Return where other steps have a loss."""
    is_all = [used_text(window, is_sliding) == ALL_STEPS for window in windows]
    for window in windows:
        # the last steps of some batches are padding
        if part.text == ALL_STEPS and any(is_all) and window.k1 == window.k2:
            continue
        text = used_text(window, is_sliding)
        if text != part.text:
            return _at("loss", part.text, f"a {text}", window)
    return None


def _module_differences(
    loop: TrainingLoop, module: nn.Module, parts: Parts
) -> Iterator[Difference | None]:
    """Yield the differences of a module; None for a part that is as expected."""
    windows = loop.windows[module]
    words = {part.text for part in parts.get("states", [])}
    if "truncation" in parts:
        yield _truncation_difference(loop, module, parts)
        if parts["truncation"][0].values[0] and not words:
            words = {CARRIED}  # by the definition of TBPTT(k1, k2)
    if words:
        attached = _attached_difference(loop, module, words)
        yield attached or _states_difference(windows, words)
    if "batch" in parts:
        yield _batch_difference(windows, parts["batch"][0])
    if "steps" in parts:
        is_sliding = truncation(loop, module).is_sliding
        yield _steps_difference(windows, parts["steps"][0], is_sliding)


# Loss and update


def _is_loss_expected(part: Part, update: UpdateFacts) -> bool:
    """Return whether the losses of an update are the expected ones: with their
    reductions, where these are given.
    """
    found = loss_text(update.losses).split(" and ")
    wanted = {*part.values}
    is_named = [name in wanted or name.partition(" ")[0] in wanted for name in found]
    return all(is_named)


def _rates(text: str) -> list[str]:
    """Return learning rates as the report writes them."""
    return [f"{float(value):g}" for value in text.split(" and ")]


def _rate_difference(facts: list[UpdateFacts], part: Part) -> Difference | None:
    """Return where the learning rates are others: in any update, or, of a schedule, in
    the first and the last one.
    """
    begins, first, last = part.values
    expected = [(update, first) for update in facts]
    if begins:
        expected = [(facts[0], first), (facts[-1], last)]
    for update, text in expected:
        found = dict.fromkeys(f"{r:g}" for s in update.steps for r in s.rates)
        if text is not None and list(found) != _rates(text):
            shown = rate_text(update.steps) or "no rate"
            number = update.number
            return Difference("rate", part.text, shown, number, update.location)
    return None


def _more_backward_passes(
    loop: TrainingLoop, facts: list[UpdateFacts]
) -> Difference | None:
    """Return where an update is that of more backward passes than most updates, which
    is said of no loop: the last sum of an epoch has fewer.
    """
    counts = [update.backward_count for update in facts]
    common = usual(counts)
    # an optimizer calls a closure as often as it needs
    if CLOSURES in loop.record.unseen or 4 * counts.count(common) < 3 * len(counts):
        return None
    for update in facts:
        if update.backward_count > common:
            part = "backward passes per update"
            text, number = str(update.backward_count), update.number
            return Difference(
                part, f"{common}, as in most,", text, number, update.location
            )
    return None


def _found_in(update: UpdateFacts, kind: str, part: Part) -> str:
    """Return what an update has instead of an expected part; or ""."""
    if kind == "loss":
        is_same = _is_loss_expected(part, update)
        return "" if is_same else loss_text(update.losses) or "no loss"
    if kind == "optimizer":
        text = optimizer_text(update.steps)
        is_known = set(text.lower().split(" and ")) <= set(
            part.text.lower().split(" and ")
        )
        return "" if is_known else text
    if kind == "clip":
        text = clip_text(update)
        return "" if text == part.text else text
    counts = {
        "losses per update": len(update.losses),
        "backward passes per update": update.backward_count,
    }
    return "" if str(counts[kind]) == part.values[0] else str(counts[kind])


def _loop_difference(
    loop: TrainingLoop, facts: list[UpdateFacts], kind: str, part: Part
) -> Difference | None:
    """Return where losses or updates differ in an expected part."""
    if kind == "rate":
        return _rate_difference(facts, part)
    if kind == "updates":
        count = loop.record.steps + loop.by_hand_count
        is_same = str(count) == part.values[0]
        return None if is_same else Difference("updates", part.text, str(count))
    for update in facts:
        found = _found_in(update, kind, part)
        if found:
            return Difference(kind, part.text, found, update.number, update.location)
    return None


def _loop_differences(loop: TrainingLoop, parts: Parts) -> Iterator[Difference | None]:
    """Yield the differences of losses and updates."""
    facts = update_facts(loop)
    for kind, (part, *_) in parts.items():
        yield _loop_difference(loop, facts, kind, part)
    if "backward passes per update" not in parts:
        yield _more_backward_passes(loop, facts)


def differences(loop: TrainingLoop, expectation: Expectation) -> list[Difference]:
    """Return the parts in which a loop differs from what is expected, one for each.

    A part that cannot be seen differs: nothing is found of it.
    """
    modules = trained_modules(loop)
    found: list[Difference] = []
    if not loop.updates:
        return [Difference("update", "an update", "none")]
    size = len(expectation.modules)
    if size > 1 and size != len(modules):
        text = f"{pluralize(len(modules), 'recurrent module')} that updates train"
        found.append(Difference("modules", pluralize(size, "module"), text))
        return found
    if any(expectation.modules) and not modules:
        expected = next(iter(expectation.modules[0].values()))[0].text
        text = "no recurrent module that is watched, so it cannot be seen"
        found.append(Difference("truncation and states", expected, text))
    steps: list[Difference] = []  # of modules of which the same is said
    for index, module in enumerate(modules):
        name = f"{module_names(modules)[index]}: " if len(modules) > 1 else ""
        parts = expectation.of_module(index)
        for difference in _module_differences(loop, module, parts):
            if difference is not None:
                named = difference._replace(part=f"{name}{difference.part}")
                is_shared = difference.part == "loss" and size == 1
                (steps if is_shared else found).append(named)
    # the loss of a decoder is at all steps, and its encoder gives the last state
    if len(steps) == len(modules):
        found += steps[:1]
    others = _loop_differences(loop, expectation.loop)
    return [*found, *(difference for difference in others if difference is not None)]
