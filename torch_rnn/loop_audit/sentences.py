"""The sentences of a report: which loop it is, where its states come from, its loss and
its update, and what could not be seen.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from torch import nn
from torch.nn.utils import parametrize

from numpy_rnn.common.texts import join_names, pluralize
from torch_rnn.loop_audit.description import (
    describe_module,
    loss_text,
    rate_text,
    trained_modules,
    truncation,
    update_facts,
    used_text,
)
from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientUnscale,
    LoopUpdate,
    LossCall,
    NonFinite,
    Origin,
    parameters_in,
    union,
)
from torch_rnn.loop_audit.loop import LoopWindow, TrainingLoop, by_optimizer, grouped

MAX_LISTED = 4
NO_UPDATE = "No update was seen."
ABSENT: dict[type[Event], str] = {
    ForwardPass: "a recurrent module that is called with gradient",
    LossCall: "losses that are no call of a torch loss",
    LoopUpdate: "an update",
}
CLIP_IS_FOLLOWED: dict[type[object], str] = {
    LoopUpdate: "between backward() and step()",
    BackwardPass: "before a backward()",
    GradientUnscale: "before unscale_()",
    type(None): "after the last step",
}


def kind_of(module: nn.Module) -> str:
    """Return the class of a module, and its sizes."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        kind = kind.__mro__[1]
    library = "nn." if kind.__module__.startswith("torch.nn") else ""
    return f"{library}{kind.__name__}({module.extra_repr()})"


def counted(items: Iterable[str]) -> str:
    """Return the different items with their counts, the most frequent first; the item
    alone if there is no other one.
    """
    counts = Counter(items).most_common()
    if len(counts) == 1:
        return counts[0][0]
    shown = [f"{item} in {count}" for item, count in counts[:MAX_LISTED]]
    more = len(counts) - MAX_LISTED
    if more > 0:
        shown.append(f"{more} others")
    return join_names(shown)


def range_of(numbers: Iterable[int], noun: str) -> str:
    """Return "20 steps", or "5 to 20 steps"."""
    values = sorted(set(numbers))
    if len(values) == 1:
        return pluralize(values[0], noun)
    return f"{values[0]} to {values[-1]} {noun}s"


# Modules


def _loop_sentence(loop: TrainingLoop, modules: list[nn.Module]) -> str:
    """Return which loop it is, for modules that are trained alike."""
    names = []
    for module in modules:
        names.append(f"{kind_of(module)} ({loop.windows[module][0].first.location})")
    windows = list(chain(*(loop.windows[module] for module in modules)))
    text = truncation(loop, modules[0]).text
    steps = range_of((w.steps for w in windows), "step")
    batch = range_of((w.first.sequences for w in windows), "sequence")
    count = pluralize(len(loop.windows[modules[0]]), "window")
    reach = range_of((w.k2 for w in windows), "step")
    shown = join_names(names[:MAX_LISTED])
    text = f"{text[:1].upper()}{text[1:]}: {shown} in {count} of {steps} and {batch}"
    return f"{text}; the gradient goes through {reach}."


def _windows_from(window: LoopWindow, is_carried: bool) -> str:
    """Return where the state of a window comes from, and where in an epoch it is, if
    the state is carried in other windows.
    """
    if window.is_from_zeros and window.begins_epoch and is_carried:
        return "zeros, where an epoch begins"
    if window.is_from_zeros and window.follows:
        return "zeros, though the data follow"
    return window.origin


def _state_sentence(loop: TrainingLoop, module: nn.Module) -> str:
    """Return where the initial states of a module come from."""
    windows = loop.windows[module]
    is_carried = any(window.is_carried for window in windows)
    counts = Counter(_windows_from(window, is_carried) for window in windows)
    if len(counts) == 1:
        return f"Each window begins with a state from {counts.popitem()[0]}."
    texts = [
        f"{count} of {len(windows)} from {text}"
        for text, count in counts.most_common(MAX_LISTED)
    ]
    return f"Windows begin with a state: {'; '.join(texts)}."


def _module_sentences(loop: TrainingLoop) -> Iterator[str]:
    """Yield the sentences of modules, those trained alike in one."""
    trained = trained_modules(loop)

    def is_alike(module: nn.Module) -> str:
        """Return what is said of a module besides its name."""
        steps = {window.steps for window in loop.windows[module]}
        state = _state_sentence(loop, module)
        return f"{describe_module(loop, module)} {steps} {state}"

    for modules in grouped(trained, is_alike).values():
        yield _loop_sentence(loop, modules)
        yield _state_sentence(loop, modules[0])
    for module in loop.passes:
        if module not in trained:
            name = f"{kind_of(module)} ({loop.passes[module][0].location})"
            yield f"{name} is called, and no update is by its gradients."
    passes = [forward for forward in loop.forwards if not forward.has_gradient]
    if passes and trained:
        yield f"{pluralize(len(passes), 'call')} without gradient, as in evaluation."


# Losses


def _loss_sentences(loop: TrainingLoop) -> Iterator[str]:
    """Yield a sentence for each loss of a line of the script."""
    updates_of: dict[LossCall, set[LoopUpdate]] = {}
    for backward in loop.backwards:
        for loss in backward.losses:
            updates_of.setdefault(loss, set()).update(loop.updates_of(backward))

    def use_of(loss: LossCall) -> str:
        """Return in how many updates a loss is, in words."""
        if loss not in updates_of:
            return "without backward()"
        # a loss of two optimizers is in one update of each
        count = max(map(len, by_optimizer(updates_of[loss])), default=0)
        return f"part of {pluralize(count, 'update')}" if count else "in no update"

    by_line = grouped(loop.losses, lambda loss: (loss_text([loss]), loss.location))
    for (text, location), losses in by_line.items():
        uses = Counter(map(use_of, losses)).most_common()
        shown = uses[0][0] if len(losses) == 1 else f"each {uses[0][0]}"
        if len(uses) > 1:
            shown = ", ".join(f"{count} {use}" for use, count in uses[:MAX_LISTED])
        name = text if text.startswith("loss") else f"loss {text}"
        times = pluralize(len(losses), "time")
        yield f"{name[:1].upper()}{name[1:]} ({location}), {times}, {shown}."
    steps: list[str] = []
    for module in trained_modules(loop):
        is_sliding = truncation(loop, module).is_sliding
        steps.extend(used_text(w, is_sliding) for w in loop.windows[module])
    if steps:
        steps = [text.removeprefix("loss at ") for text in steps]
        yield f"Steps of a window with a loss: {counted(steps)}."


# Updates


def _update_sentences(loop: TrainingLoop) -> Iterator[str]:
    """Yield the sentences of updates, gradients and clipping."""
    facts = update_facts(loop)
    if not facts:
        return
    by_call = grouped(loop.updates, lambda u: (u.optimizer, u.location))
    for (optimizer, location), updates in by_call.items():
        size = pluralize(len(parameters_in(updates)), "parameter")
        rates = [rate_text([update]) for update in updates]
        rate = f", {rates[0]}" if rates[0] else ""
        if rates[0] != rates[-1]:
            rate += f" to {rates[-1].removeprefix('lr ')}"
        count = pluralize(len(updates), "update")
        yield f"{count} by {optimizer.kind}{rate}, of {size} ({location})."
    if len(loop.updates) > len(facts):
        steps = pluralize(len(loop.updates), "step")
        yield f"These {steps} are {len(facts)} updates: some are made together."
    adding = {loop.number_of(update) for update in loop.adding_updates()}
    start = f"{len(facts) - len(adding)} of {len(facts)}"
    counts = sorted({update.backward_count for update in facts})
    sums = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    text = f"The gradient starts from zero in {start} updates, and is that of {sums}"
    text += f" backward {'pass' if counts[-1] == 1 else 'passes'}"
    done = sum(not backward.has_failed for backward in loop.backwards)
    yield f"{text}, {done} in all."
    lost = [b for b in loop.backwards if not loop.updates_of(b)]
    if lost:
        failed = sum(backward.has_failed for backward in lost)
        text = f", {failed} of which failed" if failed else ""
        yield f"Backward passes in no update: {len(lost)} ({lost[0].location}){text}."
    by_line = grouped(loop.clips, lambda c: (c.kind, c.limit, c.location))
    for (kind, limit, location), clips in by_line.items():
        size = pluralize(len(parameters_in(clips)), "parameter")
        times = counted(CLIP_IS_FOLLOWED[type(loop.event_after(c))] for c in clips)
        acting = f"it acts in {sum(c.acts for c in clips)} of {len(clips)} calls"
        yield f"Clipping by {kind} {limit:g} of {size} ({location}), {times}; {acting}."
    yield from _left_parameters(loop)


def _left_parameters(loop: TrainingLoop) -> Iterator[str]:
    """Yield a sentence on parameters that are never changed, and one on those whose
    gradient is zero.
    """
    held = union(update.held for update in loop.updates)
    left = (held | parameters_in(loop.backwards)) - parameters_in(loop.updates)
    zero = parameters_in(loop.backwards) & loop.record.zero
    for parameters, text in (
        (left, "no gradient or no step"),
        (zero, "a gradient of zero all along"),
    ):
        if parameters:
            names = sorted(dict.fromkeys(loop.record.names[p] for p in parameters))
            shown = join_names(names[:MAX_LISTED])
            count = pluralize(len(parameters), "parameter")
            yield f"{count} with {text}: {shown}."


def loop_sentences(loop: TrainingLoop) -> Iterator[str]:
    """Yield the sentences on a loop, in their order."""
    if not loop.updates:
        yield NO_UPDATE
    elif not trained_modules(loop):
        yield "No recurrent module of torch is trained."
    yield from _module_sentences(loop)
    yield from _loss_sentences(loop)
    yield from _update_sentences(loop)
    found = [event for event in loop.record.events if isinstance(event, NonFinite)]
    if found:
        shown = [f"{event.kind} {event.name} ({event.location})" for event in found]
        yield f"Values that are nan or infinite, in this order: {', '.join(shown)}."


def unseen_in(loop: TrainingLoop) -> Iterator[str]:
    """Yield what could not be seen, and is in no number of the report."""
    for kind, text in ABSENT.items():
        if not loop.is_seen[kind]:
            yield text
    changed = sum(not update.is_known for update in loop.updates)
    windows = list(chain(*loop.windows.values()))
    states = chain(*(window.first.state for window in windows))
    unknown = sum(part.origin is Origin.UNKNOWN for part in states)
    unordered = sum(w.is_carried and w.data_follow is None for w in windows)
    lost = sum(w.is_from_zeros and w.follows is None for w in windows[1:])
    for count, noun, text in (
        (changed, "update", "how the script has changed the gradients of {}"),
        (unknown, "state", "the origin of {}"),
        (unordered, "carried state", "whether the data of {} follow those before"),
        (lost, "window", "whether {} from zeros follow those before"),
    ):
        if count:
            yield text.format(pluralize(count, noun))
