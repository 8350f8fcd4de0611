"""The report of an audited loop: facts line by line, warnings, assertions for tests."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit.events import (
    BackwardPass,
    Event,
    ForwardPass,
    GradientClip,
    LoopUpdate,
    LossCall,
    ModuleRecord,
    Origin,
)
from torch_rnn.loop_audit.loop import TrainingLoop, origin_in_words, truncation, union
from torch_rnn.loop_audit.mistakes import (
    MISTAKE_NAMES,
    MISTAKES,
    LoopWarning,
    warnings_of,
)
from torch_rnn.loop_audit.recorder import LoopRecorder

MAX_LISTED = 5
NO_UPDATE = "no update was seen"
WRAPPER = textwrap.TextWrapper(100, subsequent_indent=" " * 4, break_on_hyphens=False)
ABSENT: dict[type[Event], str] = {
    ForwardPass: "nn.RNN, nn.LSTM, nn.GRU or a cell of them, called with gradient",
    LossCall: "losses without backward(), as no loss function of torch is called",
    LoopUpdate: "an update",
}
CLIP_IS_FOLLOWED: dict[type[object], str] = {
    LoopUpdate: "between backward() and step()",
    BackwardPass: "before backward()",
    GradientClip: "before unscale_()",
    type(None): "before no step",
}


def listed(items: Iterable[str]) -> str:
    """Return the first items, and how many more there are."""
    found = list(items)
    more = len(found) - MAX_LISTED
    shown = ", ".join(found[:MAX_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


def counted(items: Iterable[str]) -> str:
    """Return each different item with its count."""
    return listed(f"{item}: {n}" for item, n in Counter(items).items())


class LoopReport:
    """The facts and warnings of a training loop, complete when the audit has ended.

    Parameters
    ----------
    recorder
        What has seen the loop.
    ignore
        Names of warnings that are switched off.
    """

    def __init__(self, recorder: LoopRecorder, ignore: Collection[str] = ()) -> None:
        """Refuse names to ignore that no warning has."""
        for name in ignore:
            if name not in MISTAKE_NAMES:
                expected = ", ".join(MISTAKE_NAMES)
                raise InputError(f"no warning is named {name}: expected {expected}")
        self._recorder = recorder
        self._ignored = frozenset(ignore)

    @cached_property
    def loop(self) -> TrainingLoop:
        """The events, updates and windows of the loop."""
        return TrainingLoop(self._recorder.record)

    @property
    def updates(self) -> list[LoopUpdate]:
        """The updates of all optimizers, and those by hand."""
        return self.loop.updates

    @cached_property
    def warnings(self) -> list[LoopWarning]:
        """The mistakes that were found."""
        return warnings_of(self.loop, self._ignored)

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Check that each recurrent module is trained by TBPTT(k1, k2).

        Raises
        ------
        InputError
            If k1 or k2 is no integer of 1 or more.
        AssertionError
            If a module is trained in another way, or no module is.
        """
        check_integer("k1", k1, 1)
        check_integer("k2", k2, 1)
        changed = union(update.parameters for update in self.updates)
        trained = [net for net in self.loop.windows if net.parameters & changed]
        for net in trained:
            found = truncation(self.loop, net)
            if not found.is_tbptt(k1, k2):
                text = f"{net.location}: {found}"
                raise AssertionError(f"{text}; expected TBPTT({k1}, {k2})")
        if not trained:
            raise AssertionError(self.loop.record.error or NO_UPDATE)

    def __str__(self) -> str:
        """Return the report as text."""
        lines = [self._summary()]
        for each in self.warnings:
            lines.append(f"warning: {each.location}: {each.message} [{each.name}]")
        for net in self.loop.windows:
            lines += _module_lines(self.loop, net)
        lines += _loss_lines(self.loop)
        lines.append(_gradient_line(self.loop))
        lines += _clip_lines(self.loop)
        lines += _step_lines(self.loop)
        if self.loop.record.error:
            lines.append(f"the audit ended early: {self.loop.record.error}")
        return "\n".join(map(WRAPPER.fill, lines))

    def _summary(self) -> str:
        """Return the first line: truncations, and what was looked for and not seen."""
        verdicts = defaultdict[str, list[str]](list)
        for net in self.loop.windows:
            verdicts[str(truncation(self.loop, net))].append(_name_of(self.loop, net))
        texts = list(verdicts)
        if len(verdicts) > 1:
            texts = [f"{listed(names)}: {text}" for text, names in verdicts.items()]
        if not self.updates:
            texts = [NO_UPDATE]
        verdict = "; ".join(texts) or "no recurrent module"
        found = len({each.name for each in self.warnings})
        looked_for = 0
        for mistake in MISTAKES:
            is_off = mistake.name in self._ignored
            looked_for += self.loop.has(mistake.needs) and not is_off
        missing = self.loop.record.unseen.union(_unseen(self.loop))
        missing.update(f"{name} (switched off)" for name in self._ignored)
        text = f"{pluralize(found, 'mistake')} of the {looked_for} that were looked for"
        if missing:
            text += f"; not seen: {', '.join(sorted(missing))}"
        return f"{verdict}; {text}"


def _unseen(loop: TrainingLoop) -> Iterator[str]:
    """Yield what could not be seen, and is in no number of the report."""
    for kind, text in ABSENT.items():
        if not loop.has(kind):
            yield text
    if not all(backward.is_complete for backward in loop.backwards):
        yield "graphs that are compiled or too large"
    if any(update.has_closure for update in loop.updates):
        yield "what closures of optimizers compute"
    changed = sum(not update.is_known for update in loop.updates)
    if changed:
        updates = pluralize(changed, "update")
        yield f"how the script has changed the gradients of {updates}"
    unknown = 0
    for forward in loop.forwards:
        for part in forward.state:
            unknown += part.origin is Origin.UNKNOWN
    if unknown:
        yield f"the origin of {pluralize(unknown, 'state')}"
    unordered = 0
    for net in loop.windows:
        for window in loop.all_windows(net):
            unordered += not all(part.is_order_known for part in window.first.state)
    if unordered:
        windows = pluralize(unordered, "carried state")
        yield f"whether the data of {windows} follow those before"


def _name_of(loop: TrainingLoop, net: ModuleRecord) -> str:
    """Return the name of a module by that of one of its parameters, or its kind."""
    name = loop.record.names.get(next(iter(net.parameters)), "")
    path, is_parametrized, _ = name.partition(".parametrizations.")
    if not is_parametrized:
        path = name.rpartition(".")[0]
    return path or net.kind


def _module_lines(loop: TrainingLoop, net: ModuleRecord) -> Iterator[str]:
    """Yield the lines of a module: its passes, windows and initial states."""
    sizes = []
    for forward in loop.forwards:
        if forward.module is net:
            kind = "" if forward.has_gradient else " without gradient"
            sizes.append(f"{forward.steps}{kind}")
    name = _name_of(loop, net)
    if name != net.kind:
        name += f": {net.kind}"
    yield f"module {name}, called at {net.location}; steps: {counted(sizes)}"
    windows = loop.all_windows(net)
    if windows:
        pairs = [f"k1 = {w.k1}, k2 = {w.k2}" for w in windows]
        steps = sorted({window.steps for window in windows})
        size = str(steps[0])
        if len(steps) > 1:
            size += f" to {steps[-1]}"
        yield f"  windows: {len(windows)} of {size} steps; {counted(pairs)}"
        states = [origin_in_words(window.first) for window in windows]
        yield f"  initial states: {counted(states)}"


def _loss_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield a line for each loss of a line of the script."""
    updates = defaultdict[LossCall, set[LoopUpdate]](set)
    for backward in loop.backwards:
        for loss in backward.losses:
            updates[loss].update(loop.used_in[backward])
    lines = defaultdict[str, list[str]](list)
    for loss in loop.losses:
        kind = "without backward()"
        if loss in updates:
            # a loss of two optimizers is in one update of each
            by_optimizer = Counter(update.optimizer for update in updates[loss])
            count = max(by_optimizer.values(), default=0)
            kind = f"in {pluralize(count, 'update')}"
        lines[f"{loss.name} ({loss.location})"].append(kind)
    for name, kinds in lines.items():
        yield f"loss: {name}, {len(kinds)} times; {counted(kinds)}"


def _gradient_line(loop: TrainingLoop) -> str:
    """Return the line of gradients that are zeroed, and of backward passes."""
    from_zero = len(loop.updates) - len(loop.adding)
    sums = [f"sum of {len(update.backwards)}" for update in loop.updates]
    unused = sum(not loop.used_in[backward] for backward in loop.backwards)
    text = f"gradients: from zero in {from_zero} of {len(loop.updates)} updates"
    return f"{text}; backward passes: {counted([*sums, *['in no update'] * unused])}"


def _clip_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield a line for each call that clips or unscales."""
    lines = defaultdict[str, list[str]](list)
    acts = Counter[str]()
    for clip in loop.clips:
        of = pluralize(len(clip.parameters), "parameter")
        what = f"{clip.kind} {clip.limit:g} ({clip.location}) of {of}"
        lines[what].append(CLIP_IS_FOLLOWED[type(loop.event_after(clip))])
        acts[what] += clip.acts
    for what, times in lines.items():
        acting = f"it acts in {acts[what]} of {len(times)}"
        yield f"clipping: by {what}; {counted(times)}; {acting}"


def _step_lines(loop: TrainingLoop) -> Iterator[str]:
    """Yield a line for each optimizer, and one of parameters without a step."""
    lines = defaultdict[str, list[LoopUpdate]](list)
    for update in loop.updates:
        lines[f"{update.optimizer.kind} ({update.location})"].append(update)
    for name, own in lines.items():
        changed = len(union(update.parameters for update in own))
        text = f"step: {name}, {pluralize(len(own), 'update')}"
        yield f"{text} of {pluralize(changed, 'parameter')}"
    changes = union(update.parameters for update in loop.updates)
    left = union(backward.parameters for backward in loop.backwards) - changes
    if left and loop.updates:
        names = sorted(loop.record.names.get(p, "a parameter") for p in left)
        count = pluralize(len(left), "parameter")
        yield f"no gradient or no step: {count}: {listed(names)}"


@contextmanager
def audit(updates: int = 200, ignore: Collection[str] = ()) -> Iterator[LoopReport]:
    """Watch the training loops of a `with` block.

    Parameters
    ----------
    updates
        Number of updates that are recorded. Later ones are counted.
    ignore
        Names of warnings that are switched off.

    Yields
    ------
    LoopReport
        The report, complete when the block ends. An exception of the block is not
        suppressed.

    Raises
    ------
    InputError
        If `updates` is no integer of 1 or more, or a name is unknown.
    """
    recorder = LoopRecorder(check_integer("updates", updates, 1))
    report = LoopReport(recorder, ignore)
    recorder.start()
    try:
        yield report
    finally:
        recorder.stop()
