"""The report of an audited loop: facts line by line, warnings, assertions for tests."""

import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from torch import nn
from torch.nn.utils import parametrize

from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientUnscale,
    LoopRecord,
    LoopUpdate,
    LossCall,
    Origin,
    parameters_in,
    union,
)
from torch_rnn.loop_audit.loop import (
    TrainingLoop,
    by_optimizer,
    grouped,
    truncation,
)
from torch_rnn.loop_audit.mistakes import MISTAKES

MAX_LISTED = 5
NO_UPDATE = "no update was seen"
WRAPPER = textwrap.TextWrapper(100, subsequent_indent=" " * 4, break_on_hyphens=False)
ABSENT: dict[type[Event], str] = {
    ForwardPass: "nn.RNN, nn.LSTM, nn.GRU or a cell of them, called with gradient",
    LossCall: "losses without backward(), as no watched loss function is called",
    LoopUpdate: "an update",
}
CLIP_IS_FOLLOWED: dict[type[object], str] = {
    LoopUpdate: "between backward() and step()",
    BackwardPass: "before backward()",
    GradientUnscale: "before unscale_()",
    type(None): "before no step",
}


def kind_of(module: nn.Module) -> str:
    """Return the class of a module, and its sizes."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        kind = kind.__mro__[1]
    library = "nn." if kind.__module__.startswith("torch.nn") else ""
    return f"{library}{kind.__name__}({module.extra_repr()})"


def counted(items: Iterable[str]) -> str:
    """Return the first different items with their counts, and how many more follow."""
    counts = [f"{item}: {count}" for item, count in Counter(items).items()]
    more = len(counts) - MAX_LISTED
    shown = ", ".join(counts[:MAX_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class LoopWarning:
    """A mistake that was found: its name, FILE:LINE of the call, and the message."""

    name: str
    location: str
    message: str


class LoopReport:
    """The facts and warnings of a training loop, complete when the audit has ended.

    Parameters
    ----------
    record
        The events of the loop.
    ignore
        Names of warnings that are switched off.
    """

    def __init__(self, record: LoopRecord, ignore: Collection[str] = ()) -> None:
        """Refuse names to ignore that no warning has."""
        for name in ignore:
            check_choice("warning", name, tuple(MISTAKES))
        self._record = record
        self._ignored = frozenset(ignore)

    @property
    def loop(self) -> TrainingLoop:
        """The events, updates and windows of the loop, up to now."""
        return TrainingLoop(self._record)

    @property
    def error(self) -> str:
        """Why the audit has ended early; empty if it has not."""
        return self._record.error

    @property
    def updates(self) -> list[LoopUpdate]:
        """The updates of all optimizers, and those by hand."""
        return self.loop.updates

    @property
    def warnings(self) -> list[LoopWarning]:
        """The mistakes that were found, without those that are switched off."""
        return self._warnings_of(self.loop)

    def _warnings_of(self, loop: TrainingLoop) -> list[LoopWarning]:
        """Return the mistakes of a loop."""
        warnings = []
        for name, mistake in MISTAKES.items():
            if name in self._ignored:
                continue
            locations = [event.location for event in mistake.find(loop)]
            if len(locations) >= mistake.least:
                for location in dict.fromkeys(locations):
                    warnings.append(LoopWarning(name, location, mistake.message))
        return warnings

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Check that each recurrent module is trained by TBPTT(k1, k2), with a state
        that is carried from window to window and cut.

        Raises
        ------
        AssertionError
            If a module is trained in another way, or no module is.
        """
        loop = self.loop
        trained = [module for module, windows in loop.windows.items() if windows]
        if not trained:
            raise AssertionError(loop.record.error or NO_UPDATE)
        for module in trained:
            found = truncation(loop, module)
            if found.sizes != (k1, k2):
                location = loop.passes[module][0].location
                expected = f"expected TBPTT({k1}, {k2})"
                raise AssertionError(f"{location}: {found.text}; {expected}")

    def __str__(self) -> str:
        """Return the report as text."""
        loop = self.loop
        warnings = self._warnings_of(loop)
        lines = [self._summary(loop, {warning.name for warning in warnings})]
        for warning in warnings:
            text = f"{warning.location}: {warning.message} [{warning.name}]"
            lines.append(f"warning: {text}")
        for module in loop.windows:
            lines += _module_lines(loop, module)
        for write in (_loss_lines, _gradient_lines, _clip_lines, _step_lines):
            lines += write(loop)
        if self.error:
            lines.append(f"the audit ended early: {self.error}")
        return "\n".join(map(WRAPPER.fill, lines))

    def _summary(self, loop: TrainingLoop, mistakes: set[str]) -> str:
        """Return the first line: truncations, and what was looked for and not seen."""
        kinds = grouped(loop.windows, lambda module: truncation(loop, module).text)
        texts = list(kinds)
        if len(texts) > 1:
            texts = []
            for text, modules in kinds.items():
                names = [
                    f"{kind_of(module)} ({loop.passes[module][0].location})"
                    for module in modules
                ]
                texts.append(f"{', '.join(names)}: {text}")
        if not loop.updates:
            texts = [NO_UPDATE]
        verdict = "; ".join(texts) or "no recurrent module"
        count = 0
        for name, mistake in MISTAKES.items():
            count += name not in self._ignored and loop.is_seen[mistake.needs]
        text = f"{verdict}; {pluralize(len(mistakes), 'mistake')} of the {count}"
        text += " that were looked for"
        unseen = loop.record.unseen.union(_unseen(loop))
        unseen.update(f"{name} (switched off)" for name in self._ignored)
        if unseen:
            text += f"; not seen: {', '.join(sorted(unseen))}"
        return text


def _unseen(loop: TrainingLoop) -> Iterator[str]:
    """Yield what could not be seen, and is in no number of the report."""
    for kind, text in ABSENT.items():
        if not loop.is_seen[kind]:
            yield text
    changed = sum(not update.is_known for update in loop.updates)
    states = chain(*(forward.state for forward in loop.forwards))
    unknown = sum(part.origin is Origin.UNKNOWN for part in states)
    windows = chain(*loop.windows.values())
    unordered = sum(not window.carried_part.is_order_known for window in windows)
    for count, noun, text in (
        (changed, "update", "how the script has changed the gradients of {}"),
        (unknown, "state", "the origin of {}"),
        (unordered, "carried state", "whether the data of {} follow those before"),
    ):
        if count:
            yield text.format(pluralize(count, noun))


def _module_lines(loop: TrainingLoop, module: nn.Module) -> Iterator[str]:
    """Yield the lines of a module: its passes, windows and initial states."""
    sizes = []
    for forward in loop.passes[module]:
        suffix = "" if forward.has_gradient else " without gradient"
        sizes.append(f"{forward.steps}{suffix}")
    location = loop.passes[module][0].location
    yield f"module {kind_of(module)}, called at {location}; steps: {counted(sizes)}"
    windows = loop.windows[module]
    if windows:
        sizes = [f"{w.steps} steps, k1 = {w.k1}, k2 = {w.k2}" for w in windows]
        yield f"  windows: {counted(sizes)}"
        yield f"  initial states: {counted(window.origin for window in windows)}"


def _loss_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield a line for each loss of a line of the script."""
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
        return f"in {pluralize(count, 'update')}"

    by_line = grouped(loop.losses, lambda loss: f"{loss.name} ({loss.location})")
    for line, losses in by_line.items():
        yield f"loss: {line}, {len(losses)} times; {counted(map(use_of, losses))}"


def _gradient_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield the line of gradients that are zeroed, and of backward passes."""
    from_zero = len(loop.updates) - len(loop.adding_updates())
    sums = [f"sum of {len(update.backwards)}" for update in loop.updates]
    sums += ["in no update" for b in loop.backwards if not loop.updates_of(b)]
    text = f"gradients: from zero in {from_zero} of {len(loop.updates)} updates"
    yield f"{text}; backward passes: {counted(sums) or 'none'}"


def _clip_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield a line for each call that clips."""
    by_line = grouped(loop.clips, lambda c: f"{c.kind} {c.limit:g} ({c.location})")
    for line, clips in by_line.items():
        size = pluralize(len(parameters_in(clips)), "parameter")
        times = counted(CLIP_IS_FOLLOWED[type(loop.event_after(c))] for c in clips)
        acting = f"it acts in {sum(c.acts for c in clips)} of {len(clips)}"
        yield f"clipping: by {line} of {size}; {times}; {acting}"


def _step_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield a line for each optimizer, and one of parameters without a step."""
    by_line = grouped(loop.updates, lambda u: f"{u.optimizer.kind} ({u.location})")
    for line, updates in by_line.items():
        size = pluralize(len(parameters_in(updates)), "parameter")
        yield f"step: {line}, {pluralize(len(updates), 'update')} of {size}"
    held = union(update.held for update in loop.updates)
    left = (held | parameters_in(loop.backwards)) - parameters_in(loop.updates)
    if left and loop.updates:
        names = counted(sorted(loop.record.names[p] for p in left))
        yield f"no gradient or no step: {pluralize(len(left), 'parameter')}: {names}"
