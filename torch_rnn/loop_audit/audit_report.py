"""The report of an audited loop: facts line by line, warnings, assertions for tests."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit.events import ModuleRecord
from torch_rnn.loop_audit.mistakes import (
    MISTAKES,
    NAMES,
    LoopWarning,
    is_late,
    unseen,
    warnings_of,
)
from torch_rnn.loop_audit.recorder import Recorder
from torch_rnn.loop_audit.updates import (
    Run,
    Update,
    initial_state,
    ranged,
    truncation,
    union,
)

MAX_LISTED = 5
NO_UPDATE = "no update was seen"
WRAPPER = textwrap.TextWrapper(100, subsequent_indent=" " * 4, break_on_hyphens=False)


def listed(items: Iterable[str]) -> str:
    """Return the first items, and how many more there are."""
    found = list(items)
    more = len(found) - MAX_LISTED
    shown = ", ".join(found[:MAX_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


def counted(items: Iterable[str]) -> str:
    """Return each different item with its count."""
    return listed(f"{item}: {n}" for item, n in Counter(items).items())


class Report:
    """The facts and warnings of a training loop, complete when the audit has ended.

    Parameters
    ----------
    recorder
        What has seen the loop.
    ignore
        Names of warnings that are switched off.
    """

    def __init__(self, recorder: Recorder, ignore: Collection[str] = ()) -> None:
        for name in ignore:
            if name not in NAMES:
                expected = ", ".join(NAMES)
                raise InputError(f"no warning is named {name}: expected {expected}")
        self._recorder = recorder
        self._ignored = frozenset(ignore)

    @cached_property
    def run(self) -> Run:
        """The events, updates and windows of the loop."""
        return Run(self._recorder.record)

    @property
    def updates(self) -> list[Update]:
        """The updates of all optimizers, and those by hand."""
        return self.run.updates

    @cached_property
    def warnings(self) -> list[LoopWarning]:
        """The mistakes that were found."""
        return warnings_of(self.run, self._ignored)

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
        trained = [net for net in self.run.modules if net.parameters & changed]
        for net in trained:
            found = truncation(self.run, net)
            if not found.startswith(f"TBPTT({k1}, {k2})"):
                text = f"{net.location}: {found}"
                raise AssertionError(f"{text}; expected TBPTT({k1}, {k2})")
        if not trained:
            raise AssertionError(self.run.record.error or NO_UPDATE)

    def __str__(self) -> str:
        lines = [self._summary()]
        for each in self.warnings:
            lines.append(f"warning: {each.location}: {each.message} [{each.name}]")
        for net in self.run.modules:
            lines += _module_lines(self.run, net)
        lines += _loss_lines(self.run)
        lines.append(_gradient_line(self.run))
        lines += _clip_lines(self.run)
        lines += _step_lines(self.run)
        if self.run.record.error:
            lines.append(f"the audit ended early: {self.run.record.error}")
        return "\n".join(map(WRAPPER.fill, lines))

    def _summary(self) -> str:
        run = self.run
        verdicts = defaultdict[str, list[str]](list)
        for net in run.modules:
            verdicts[truncation(run, net)].append(net.name or net.kind)
        texts = list(verdicts)
        if len(verdicts) > 1:
            texts = [f"{listed(names)}: {text}" for text, names in verdicts.items()]
        if not self.updates:
            texts = [NO_UPDATE]
        texts = texts or ["no recurrent module"]
        missing = unseen(run)
        looked_for = 0
        for mistake in MISTAKES:
            if mistake.name in self._ignored:
                missing.add(f"{mistake.name} (switched off)")
            elif mistake.needs not in missing:
                looked_for += 1
        missing.update(run.record.unseen, _unseen_in_updates(run))
        found = {each.name for each in self.warnings}
        count = pluralize(len(found), "mistake")
        text = f"{'; '.join(texts)}; {count} of the {looked_for} that were looked for"
        if missing:
            text += f"; not seen: {', '.join(sorted(missing))}"
        return text


def _unseen_in_updates(run: Run) -> Iterator[str]:
    """Yield what could not be seen, and is in no number of the report."""
    if not all(backward.is_complete for backward in run.backwards):
        yield "graphs that are compiled or too large"
    if any(update.has_closure for update in run.updates):
        yield "what closures of optimizers compute"
    set_by_hand = sum(not update.is_known for update in run.updates)
    if set_by_hand:
        updates = pluralize(set_by_hand, "update")
        yield f"how the script has changed the gradients of {updates}"
    states = [part.origin.value for f in run.forwards for part in f.state]
    if "unknown" in states:
        yield f"the origin of {pluralize(states.count('unknown'), 'state')}"


def _module_lines(run: Run, net: ModuleRecord) -> Iterator[str]:
    own = [forward for forward in run.forwards if forward.module is net]
    sizes = []
    for forward in own:
        kind = "" if forward.has_gradient else " without gradient"
        sizes.append(f"{forward.steps}{kind}")
    name = f"{net.name}: {net.kind}".removeprefix(": ")
    yield f"module {name}, called at {net.location}; steps: {counted(sizes)}"
    windows = run.all_windows(net)
    if windows:
        pairs = [f"k1 = {w.k1}, k2 = {w.k2}" for w in windows]
        steps = ranged(window.steps for window in windows)
        yield f"  windows: {len(windows)} of {steps} steps; {counted(pairs)}"
        states = [initial_state(window.first) for window in windows]
        yield f"  initial states: {counted(states)}"


def _loss_lines(run: Run) -> Iterator[str]:
    lines = defaultdict[str, list[str]](list)
    for loss in run.losses:
        using = [b for b in run.backwards if loss in b.losses]
        updates = {update for b in using for update in run.used_in[b]}
        # a loss of two optimizers is in one update of each
        by_optimizer = Counter(update.optimizer for update in updates)
        kind = "without backward()"
        if using:
            count = max(by_optimizer.values(), default=0)
            kind = f"in {pluralize(count, 'update')}"
        lines[f"{loss.name} ({loss.location})"].append(kind)
    for name, kinds in lines.items():
        yield f"loss: {name}, {len(kinds)} times; {counted(kinds)}"


def _gradient_line(run: Run) -> str:
    from_zero = sum(not update.adds_up for update in run.updates)
    sums = [f"sum of {len(update.backwards)}" for update in run.updates]
    unused = sum(not run.used_in[backward] for backward in run.backwards)
    text = f"gradients: from zero in {from_zero} of {len(run.updates)} updates"
    return f"{text}; backward passes: {counted([*sums, *['in no update'] * unused])}"


def _clip_lines(run: Run) -> Iterator[str]:
    lines = defaultdict[str, list[str]](list)
    acts = Counter[str]()
    for clip in run.clips:
        of = pluralize(len(clip.parameters), "parameter")
        what = f"{clip.kind} {clip.limit:g} ({clip.location}) of {of}"
        update = run.update_after[clip]
        when = "between backward() and step()"
        if update is None:
            when = "before no step"
        elif is_late(run, clip, update):
            when = "before backward()"
        lines[what].append(when)
        acts[what] += clip.acts
    for what, times in lines.items():
        acting = f"it acts in {acts[what]} of {len(times)}"
        yield f"clipping: by {what}; {counted(times)}; {acting}"


def _step_lines(run: Run) -> Iterator[str]:
    lines = defaultdict[str, list[Update]](list)
    for update in run.updates:
        lines[f"{update.optimizer.kind} ({update.location})"].append(update)
    for name, own in lines.items():
        changed = len(union(update.parameters for update in own))
        text = f"step: {name}, {pluralize(len(own), 'update')}"
        yield f"{text} of {pluralize(changed, 'parameter')}"
    changes = union(update.parameters for update in run.updates)
    left = union(backward.parameters for backward in run.backwards) - changes
    if left and run.updates:
        names = sorted(run.record.names.get(p, "a parameter") for p in left)
        count = pluralize(len(left), "parameter")
        yield f"no gradient or no step: {count}: {listed(names)}"


@contextmanager
def audit(updates: int = 200, ignore: Collection[str] = ()) -> Iterator[Report]:
    """Watch the training loops of a `with` block.

    Parameters
    ----------
    updates
        Number of updates that are recorded. Later ones are counted.
    ignore
        Names of warnings that are switched off.

    Yields
    ------
    Report
        The report, complete when the block ends. An exception of the block is not
        suppressed.

    Raises
    ------
    InputError
        If `updates` is no integer of 1 or more, or a name is unknown.
    """
    recorder = Recorder(check_integer("updates", updates, 1))
    report = Report(recorder, ignore)
    recorder.start()
    try:
        yield report
    finally:
        recorder.stop()
