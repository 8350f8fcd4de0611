"""The report of an audited loop: its warnings, its facts, and assertions for tests."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from numpy_rnn.common.errors import check_integer, some_of
from numpy_rnn.common.format import join_names, pluralize
from torch_rnn.loop_audit.loop_warnings import LoopWarning, attached_reach, loop_warnings
from torch_rnn.loop_audit.records import BEFORE, RecurrentModule, Update, Window
from torch_rnn.loop_audit.watch import Watch

NOTHING, WIDTH, MAX_LISTED = "no update was seen", 100, 3
INITIAL = {
    "zeros": "zeros", "learned": "a learned state", "computed": "a computed state with a gradient",
    "given": "a state that the script sets", "leaf": "a state whose gradient the script gets",
}  # fmt: skip


class Report:
    """The facts and warnings of a training loop. It is complete when the audit has ended."""

    def __init__(self, watch: Watch):
        self._watch = watch

    @property
    def modules(self) -> list[RecurrentModule]:
        """The recurrent modules, in the order of their first calls."""
        return list(self._watch.updates.modules)

    @property
    def updates(self) -> list[Update]:
        """The updates of all optimizers; without one, a backward pass is taken as an update."""
        return list(self._watch.updates.updates)

    @property
    def warnings(self) -> list[LoopWarning]:
        """The probable mistakes; empty for a right loop."""
        return loop_warnings(self._watch)

    def assert_correct(self) -> None:
        """Raise AssertionError if there is a warning, or if no update was seen."""
        found = [f"{w.place}: {w.message}" for w in self.warnings]
        if self._watch.error or not self.updates:
            found.append(self._watch.error or NOTHING)
        if found:
            raise AssertionError("\n".join(found))

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Raise AssertionError unless each recurrent module is trained by TBPTT(k1, k2)."""
        updated = [net for net in self.modules if any(net in u.modules for u in self.updates)]
        if not updated:
            raise AssertionError(self._watch.error or NOTHING)
        for net in updated:
            if schedule(net, self._watch) != (k1, k2):
                found = truncation(net, self._watch)
                raise AssertionError(f"{net.place}: {found}; expected TBPTT({k1}, {k2})")

    def __str__(self) -> str:
        watch, lines = self._watch, list[str]()
        for w in self.warnings:
            name = f"{w.module}: " if len(self.modules) > 1 and w.module else ""
            lines.append(f"warning: {w.place}: {name}{w.message}")
        lines = lines or ["no warnings" if self.updates else NOTHING]
        for net in self.modules:
            lines += facts_of_module(net, watch)
        lines += facts_of_loop(watch)
        if not self.modules:
            lines.append("no call of nn.RNN, nn.LSTM, nn.GRU or a cell of them was seen")
        lines += [f"the audit ended early: {watch.error}"] if watch.error else []
        wrapped = list[str]()
        for line in lines:
            indent = " " * (len(line) - len(line.lstrip()) + 2)
            wrapped += textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        return "\n".join(wrapped)


def ranged(values: Iterable[int]) -> str:
    """A number, or the least and the largest of some: "4 to 28, mostly 20 (8 of 9)"."""
    found = Counter(values)
    if len(found) < 2:
        return str(next(iter(found), 0))
    value, count = found.most_common(1)[0]
    mostly = f", mostly {value} ({count} of {found.total()})" if 2 * count > found.total() else ""
    return f"{min(found)} to {max(found)}{mostly}"


def windows_of(net: RecurrentModule, watch: Watch) -> list[list[Window]]:
    """The windows of each update of a module that has some."""
    updates = [u for u in watch.updates.updates if net in u.modules]
    return [windows for u in updates if (windows := u.windows(net))]


def schedule(net: RecurrentModule, watch: Watch) -> tuple[int, int] | None:
    """(k1, k2) if the loop is TBPTT(k1, k2): one window per update, from a carried state."""
    updates = windows_of(net, watch)
    windows = [found[0] for found in updates]
    carried = [w for w in windows if w.initial == "carried"]
    if not carried or any(len(found) > 1 for found in updates) or attached_reach(net, watch):
        return None
    (k1, k2), count = Counter((w.with_loss, w.reach) for w in windows).most_common(1)[0]
    is_chunk = 2 * sum(w.passes[0].origin == BEFORE for w in windows) > len(windows)
    is_whole = all(w.steps == k2 for w in windows if (w.with_loss, w.reach) == (k1, k2))
    is_most = k2 == max(w.reach for w in windows) and k1 >= max(w.with_loss for w in carried)
    is_regular = 3 * count >= len(windows) and is_whole and is_most and k1 > 0
    # chunks of which some steps have no loss are no TBPTT(k1, k2)
    return (k1, k2) if is_regular and (k1 == k2 or not is_chunk) else None


def truncation(net: RecurrentModule, watch: Watch) -> str:
    """The windows of the loop, and how far its gradients reach."""
    updates = windows_of(net, watch)
    windows = [window for found in updates for window in found]
    if not windows:
        return "no update by its gradients is seen"
    if far := attached_reach(net, watch):
        return f"{far}: the state is attached"
    if pair := schedule(net, watch):
        kind = "chunks" if pair[0] == pair[1] else "windows"
        return f"TBPTT{pair}: {kind} of {pair[1]} steps, state carried and detached"
    lengths = f"{ranged(w.steps for w in windows)} steps"
    lengths += ", some padded" if any(w.passes[0].is_padded for w in windows) else ""
    kinds = sorted({w.initial for w in windows})
    start, reach = " or ".join(INITIAL.get(k, k) for k in kinds), ranged(w.reach for w in windows)
    if "leaf" in kinds:  # the script may pass its gradient on
        return f"windows of {lengths}, from {INITIAL['leaf']}"
    how = (
        "full BPTT" if all(w.reach == w.steps for w in windows) else f"gradient over {reach} steps"
    )
    if "carried" in kinds:
        lines = [f"truncated BPTT, windows of {lengths}, gradient over {reach}"]
    else:
        lines = [f"{how}, windows of {lengths}, each from {start}"]
    if not net.is_in_loss:
        lines.append("its outputs enter the loss through other modules")
    elif any(w.with_loss != w.steps for w in windows):
        per_update = ranged(sum(w.with_loss for w in found) for found in updates)
        lines.append(f"steps with a loss per update: {per_update}")
    if any(len(found) > 1 for found in updates):
        lines.append(f"windows per update: {ranged(map(len, updates))}")
    return "; ".join(lines)


def carried_states(net: RecurrentModule, watch: Watch) -> Iterator[str]:
    """Where the states of the windows come from, if some are carried."""
    updates = enumerate(windows_of(net, watch), start=1)
    windows = [(number, w) for number, found in updates for w in found]
    origins = Counter(w.passes[0].origin for _, w in windows if w.initial == "carried")
    named = [f"{name} ({n})" if len(origins) > 1 else name for name, n in origins.most_common()]
    line = f"state from {join_names(named)}, in {origins.total()} of {len(windows)} windows"
    for kind in dict.fromkeys(w.initial for _, w in windows if w.initial != "carried"):
        numbers = dict.fromkeys(str(number) for number, w in windows if w.initial == kind)
        line += f"; {INITIAL[kind]} at update {some_of(numbers)}"
    yield from [line] if origins else []


def facts_of_module(net: RecurrentModule, watch: Watch) -> Iterator[str]:
    """The facts of a recurrent module."""
    shapes = sorted({key[:2] for key in net.passes if key[2]})
    count = sum(n for key, n in net.passes.items() if key[2])
    without = net.passes.total() - count
    steps = f" of {some_of([f'{steps} x {batch}' for steps, batch in shapes])} (steps x batch)"
    rest = f", {without} without gradient" if without else ""
    shown = f"passes: {count}{steps if shapes else ' with gradient'}{rest}"
    yield f"{net.name}: {net.kind}, called at {net.place}; {shown}"
    if shapes:
        yield f"  {truncation(net, watch)}"
        yield from (f"  {line}" for line in carried_states(net, watch))


def facts_of_optimizers(watch: Watch) -> Iterator[str]:
    """The updates of each optimizer, what it holds, and its rates."""
    recorder = watch.updates
    records = [record for record in recorder.optimizers if record.steps]
    if recorder.updates and not records:
        yield f"no optimizer; backward passes, each taken as an update: {len(recorder.updates)}"
    for record in records[:MAX_LISTED]:
        updates = [u for u in recorder.updates if u.optimizer == record.number]
        rates = [rate for u in updates for rate in u.rates]
        rate = " to ".join(dict.fromkeys(f"{each:.4g}" for each in (min(rates), max(rates))))
        if changes := sum(a.rates != b.rates for a, b in pairwise(updates)):
            epochs = len({u.epoch for u in updates})
            rate += f", changed {changes} times" + (f" in {epochs} epochs" if epochs > 1 else "")
        options = [f", {name} {record.options[name]:g}" for name in ("momentum", "weight_decay")
                   if record.options.get(name)]  # fmt: skip
        yield (
            f"{record.kind}: {pluralize(len(updates), 'update')}, holds {len(record.held)} of "
            f"{record.trainable} trainable parameters, learning rate {rate}{''.join(options)}; "
            f"backward passes per update: {ranged(len(u.backwards) for u in updates)}"
        )
    if len(records) > MAX_LISTED:
        yield f"and {len(records) - MAX_LISTED} more optimizers"


def facts_of_loop(watch: Watch) -> Iterator[str]:
    """The facts of the loop, apart from its recurrent modules."""
    recorder, updates = watch.updates, watch.updates.updates
    calls = [call for u in updates for each in u.backwards for call in each.losses]
    losses = Counter((call.name, call.reduction, call.shape) for call in calls)
    if losses:
        shown = [f"{name} ({how}) of {shape}" for (name, how, shape), _ in losses.most_common(3)]
        count = ranged(sum(len(each.losses) for each in u.backwards) for u in updates)
        more = " ..." if len(losses) > MAX_LISTED else ""
        yield f"loss: {join_names(shown)}{more}; calls per update: {count}"
    yield from facts_of_optimizers(watch)
    clips = [clip for u in updates for clip in u.clips]
    kinds = Counter((c.kind, c.limit, c.place, len(c.parameters)) for c in clips)
    for key, n in kinds.most_common(MAX_LISTED):
        acts = sum(c.acts for c in clips if (c.kind, c.limit, c.place, len(c.parameters)) == key)
        kind, limit, place, count = key
        of = f"{pluralize(count, 'parameter')}; it acts in {acts} of {n}"
        yield f"clipping by {kind} {limit:g} ({place}) of {of}"
    count = len(updates) + len(watch.later)
    if in_eval := sum(u.in_eval for u in updates) + sum(watch.later):
        yield f"in eval mode in {in_eval} of {count} updates"
    epochs = len({u.epoch for u in updates if u.epoch})
    if watch.later:
        within = ", within the first epoch of the DataLoader" if epochs == 1 else ""
        yield f"recorded: the first {len(updates)} of {count} updates{within}"
    elif epochs:
        yield f"epochs of a DataLoader: {epochs}"
    if recorder.unseen:
        yield f"not seen: {join_names([f'{what} ({at})' for what, at in recorder.unseen.items()])}"


@contextmanager
def audit(updates: int = 200) -> Iterator[Report]:
    """Watch the training loops of a `with` block; its report is complete when the block ends.

    updates: number of updates that are recorded. After them only the mode of the modules is
    looked at. An exception of the block is not suppressed.

    Raises InputError if updates is not an integer of 1 or more.
    """
    watch = Watch(check_integer("updates", updates, 1))
    watch.start()
    try:
        yield Report(watch)
    finally:
        watch.stop()
