"""The report of an audited loop: facts line by line, warnings, assertions for tests."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.texts import pluralize
from torch_rnn.loop_audit.events import MAX_EVENTS, Clip, ModuleRecord, OptimizerRecord
from torch_rnn.loop_audit.mistakes import (
    MISTAKES,
    NAMES,
    LoopWarning,
    backward_after,
    following_update,
    warnings_of,
)
from torch_rnn.loop_audit.recorder import Recorder
from torch_rnn.loop_audit.truncation import ranged, truncation
from torch_rnn.loop_audit.updates import (
    BY_HAND,
    Run,
    Update,
    initial_state,
)

MAX_LISTED = 5
NO_UPDATE = "no update was seen"
WRAPPER = textwrap.TextWrapper(100, subsequent_indent=" " * 4, break_on_hyphens=False)


def check_ignored(names: Collection[str]) -> frozenset[str]:
    """Check names of warnings that are switched off."""
    for name in names:
        if name not in NAMES:
            raise InputError(f"no warning is named {name}: expected {', '.join(NAMES)}")
    return frozenset(names)


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
        self._recorder = recorder
        self._ignored = check_ignored(ignore)

    @cached_property
    def run(self) -> Run:
        """The events, updates and windows of the loop."""
        return Run(self._recorder.record)

    @property
    def modules(self) -> list[ModuleRecord]:
        """The recurrent modules, in the order of their first calls."""
        return self.run.modules

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
        AssertionError
            If a module is trained in another way, or no module is.
        """
        trained = [net for net in self.modules if self.run.updates_of(net)]
        for net in trained:
            found = truncation(self.run, net)
            if (found.k1, found.k2) != (k1, k2):
                text = f"{net.location}: {found.text}"
                raise AssertionError(f"{text}; expected TBPTT({k1}, {k2})")
        if not trained:
            raise AssertionError(self.run.record.error or NO_UPDATE)

    def __str__(self) -> str:
        lines = [self._summary()]
        for each in self.warnings:
            lines.append(f"warning: {each.location}: {each.message} [{each.name}]")
        for net in self.modules:
            lines += self._facts_of_module(net)
        lines += self._losses()
        lines += self._gradients()
        lines += self._clips()
        optimizers = self._optimizers()
        lines += map(self._step, optimizers[:MAX_LISTED])
        if len(optimizers) > MAX_LISTED:
            lines.append(f"step: {len(optimizers) - MAX_LISTED} more optimizers")
        lines += self._not_stepped()
        if self.run.record.error:
            lines.append(f"the audit ended early: {self.run.record.error}")
        return "\n".join(map(WRAPPER.fill, lines))

    def _summary(self) -> str:
        verdicts = defaultdict[str, list[str]](list)
        for net in self.modules:
            verdicts[truncation(self.run, net).text].append(net.name or net.kind)
        texts = list(verdicts)
        if len(verdicts) > 1:
            texts = [f"{listed(names)}: {text}" for text, names in verdicts.items()]
        if not self.updates:
            texts = [NO_UPDATE]
        texts = texts or ["no recurrent module"]
        found = {each.name for each in self.warnings}
        looked_for = 0
        unseen = dict[str, None]()
        for mistake in MISTAKES:
            reason = mistake.unseen(self.run)
            if mistake.name in self._ignored:
                unseen[f"{mistake.name} (switched off)"] = None
            elif reason and mistake.name not in found:
                unseen[reason] = None
            else:
                looked_for += 1
        unseen.update(dict.fromkeys(self._unseen()))
        count = pluralize(len(found), "mistake")
        text = f"{'; '.join(texts)}; {count} of the {looked_for} that were looked for"
        if unseen:
            text += f"; not seen: {', '.join(unseen)}"
        return text

    def _unseen(self) -> Iterator[str]:
        """Yield what could not be seen, and is in no number of the report."""
        run, record = self.run, self.run.record
        if record.steps > record.limit:
            yield f"updates after the first {record.limit} of {record.steps}"
        if record.is_compiled or any(b.is_compiled for b in run.backwards):
            yield "what torch.compile has compiled"
        if record.grad_calls:
            yield f"torch.autograd.grad ({record.grad_calls} calls)"
        if run.other_threads:
            yield f"{pluralize(run.other_threads, 'other thread')}"
        for name in sorted(record.foreign_calls):
            yield f"calls of {name}, whose arguments are its own"
        closures = {u.optimizer.kind for u in self.updates if _has_closure(u)}
        for kind in sorted(closures):
            yield f"what {kind} does between the backward passes of a step"
        by_hand = sum(not update.is_known for update in self.updates)
        if by_hand:
            updates = pluralize(by_hand, "update")
            yield f"gradients that the script has set, in {updates}"
        states = [part.origin.value for f in run.forwards for part in f.state]
        unknown = states.count("unknown")
        if unknown:
            yield f"the origin of {pluralize(unknown, 'state')}"
        if len(record.events) >= MAX_EVENTS:
            yield f"events after the first {MAX_EVENTS}"

    def _facts_of_module(self, net: ModuleRecord) -> Iterator[str]:
        run = self.run
        own = [f for f in run.forwards if f.module is net]
        trained = [f"{f.steps} x {f.batch}" for f in own if f.has_gradient]
        text = f"module: {net.kind}, called at {net.location}"
        if net.name:
            text = f"module {net.name}: {net.kind}, called at {net.location}"
        text += f"; {pluralize(len(own), 'pass').replace('passs', 'passes')}"
        if trained:
            text += f", steps x batch: {counted(trained)}"
        if len(trained) < len(own):
            text += f", without gradient: {len(own) - len(trained)}"
        yield text
        by_update = run.windows[net]
        if not by_update:
            yield f"  windows: {truncation(run, net).text}"
            return
        windows = run.all_windows(net)
        pairs = [f"k1 = {w.k1}, k2 = {w.k2}" for w in windows]
        per_update = ranged(len(each) for _, each in by_update)
        text = f"  windows: {len(windows)} of {ranged(w.steps for w in windows)} steps"
        yield f"{text}, {per_update} an update; {counted(pairs)}"
        states = [initial_state(run, window.first) for window in windows]
        yield f"  initial states: {counted(states)}"

    def _losses(self) -> Iterator[str]:
        lines = defaultdict[str, list[str]](list)
        reached = {loss for b in self.run.backwards for loss in b.losses}
        for loss in self.run.losses:
            kind = "without backward()"
            if loss in reached:
                count = self._updates_with(loss)
                kind = f"in {pluralize(count, 'update')}"
            lines[f"{loss.name} ({loss.location})"].append(kind)
        for name, kinds in list(lines.items())[:MAX_LISTED]:
            yield f"loss: {name}, {len(kinds)} times; {counted(kinds)}"
        if len(lines) > MAX_LISTED:
            yield f"loss: {len(lines) - MAX_LISTED} more lines of the script"

    def _updates_with(self, loss: object) -> int:
        """Return the largest number of updates of one optimizer that a loss is in."""
        updates = set[Update]()
        for backward in self.run.backwards:
            if loss in backward.losses:
                updates.update(self.run.used_in[backward])
        return max(Counter(u.optimizer for u in updates).values(), default=0)

    def _gradients(self) -> Iterator[str]:
        if not self.updates:
            yield f"gradients: {pluralize(len(self.run.backwards), 'backward()')}"
            return
        before = dict[OptimizerRecord, set[object]]()
        from_zero = 0
        for update in self.updates:
            own = set[object](update.backwards)
            from_zero += not own & before.get(update.optimizer, set())
            before[update.optimizer] = own
        sums = ranged(len(update.backwards) for update in self.updates)
        unused = [b for b in self.run.backwards if not self.run.used_in[b]]
        text = f"gradients: from zero in {from_zero} of {len(self.updates)} updates"
        text += f"; backward passes an update: {sums}"
        yield f"{text}; backward passes in no update: {len(unused)}"

    def _clips(self) -> Iterator[str]:
        lines = defaultdict[str, list[Clip]](list)
        for clip in self.run.clips:
            of = pluralize(len(clip.parameters), "parameter")
            what = f"{clip.kind} {clip.limit:g} ({clip.location}) of {of}"
            lines[what].append(clip)
        for what, clips in list(lines.items())[:MAX_LISTED]:
            when = counted(self._time_of(clip) for clip in clips)
            acts = sum(clip.acts for clip in clips)
            yield f"clipping: by {what}; {when}; it acts in {acts} of {len(clips)}"

    def _time_of(self, clip: Clip) -> str:
        update = following_update(self.run, clip)
        if update is None:
            return "after the last step"
        if backward_after(self.run, clip, update):
            return "before backward()"
        return "between backward() and step()"

    def _optimizers(self) -> list[OptimizerRecord]:
        return list(dict.fromkeys(update.optimizer for update in self.updates))

    def _step(self, optimizer: OptimizerRecord) -> str:
        own = [u for u in self.updates if u.optimizer is optimizer]
        changed = frozenset[int]().union(*(u.parameters for u in own))
        places = listed(dict.fromkeys(u.location for u in own))
        text = f"step: {optimizer.kind} ({places}), {pluralize(len(own), 'update')}"
        if optimizer is BY_HAND:
            text = f"step: by hand, after backward() at {places}"
            text = f"{text}, {pluralize(len(own), 'update')}"
        return f"{text} of {pluralize(len(changed), 'parameter')}"

    def _not_stepped(self) -> Iterator[str]:
        reached = frozenset[int]().union(*(b.parameters for b in self.run.backwards))
        changed = frozenset[int]().union(*(u.parameters for u in self.updates))
        names = self.run.record.names
        left = [names.get(p, "a parameter") for p in reached - changed]
        if left and self.updates:
            names_left = listed(sorted(left))
            yield f"gradient and no step: {len(left)} parameters: {names_left}"


def _has_closure(update: Update) -> bool:
    step = update.step
    return step is not None and any(b.number > step.begin for b in update.backwards)


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
