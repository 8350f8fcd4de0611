"""The report of an audited loop: its warnings, its facts, and assertions for tests."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from numpy_rnn.common.errors import check_integer, some_of
from numpy_rnn.common.format import join_names, pluralize
from torch_rnn.loop_audit.loop_warnings import LoopWarning, attached_reach, loop_warnings
from torch_rnn.loop_audit.records import BEFORE, RecurrentModule, Update
from torch_rnn.loop_audit.watch import Watch

NOTHING, WIDTH, MAX_LISTED = "no update was seen", 100, 3


def state_of(kind: str) -> str:
    return kind if kind == "zeros" else f"a {kind} state"


def ranged(values: Iterable[int]) -> str:
    """A number, or the least and the largest of some: "4 to 28, mostly 20 (8 of 9)"."""
    found = Counter(values)
    value, count = found.most_common(1)[0]
    mostly = f", mostly {value} ({count} of {found.total()})" if 2 * count > found.total() else ""
    return str(value) if len(found) == 1 else f"{min(found)} to {max(found)}{mostly}"


def truncation(net: RecurrentModule, updates: list[Update]) -> tuple[Any, str]:
    """(k1, k2) if the windows of a module are those of TBPTT(k1, k2), and the fact about them."""
    by_update = [found for u in updates if net in u.modules and (found := u.windows(net))]
    windows = [window for found in by_update for window in found]
    if not windows:
        return None, "no update by its gradients is seen"
    if far := attached_reach(net, updates):
        return None, f"{far}: the state is attached"
    (k1, k2), count = Counter((w.with_loss, w.reach) for w in windows).most_common(1)[0]
    is_chunk = 2 * sum(w.passes[0].origin == BEFORE for w in windows) > len(windows)
    # chunks of which some steps have no loss are no TBPTT(k1, k2)
    is_regular = k1 > 0 and (k1 == k2 or not is_chunk) and k2 == max(w.reach for w in windows)
    is_whole = all(w.steps == k2 for w in windows if (w.with_loss, w.reach) == (k1, k2))
    is_carried = any(w.initial == "carried" for w in windows) and len(windows) == len(by_update)
    if is_carried and is_regular and is_whole and 2 * count > len(windows):
        kind = "chunks" if k1 == k2 else "windows"
        text = f"TBPTT({k1}, {k2}): {kind} of {k2} steps, state carried and detached"
        return (k1, k2), text
    lengths, reach = ranged(w.steps for w in windows), ranged(w.reach for w in windows)
    is_full = all(w.reach == w.steps and w.initial != "carried" for w in windows)
    kinds = " or ".join(sorted({state_of(w.initial) for w in windows}))
    line = (
        f"{'full' if is_full else 'truncated'} BPTT, windows of {lengths} steps, each from {kinds}"
    )
    line += f"; gradient over {reach}" if reach != lengths else ""
    if not any(w.with_loss for w in windows):
        line += "; its outputs enter the loss through other modules"
    elif any(w.with_loss != w.steps for w in windows):
        per_update = ranged(sum(w.with_loss for w in found) for found in by_update)
        line += f"; steps with a loss per update: {per_update}"
    if len(windows) > len(by_update):
        line += f"; windows per update: {ranged(map(len, by_update))}"
    return None, line


class Report:
    """The facts and warnings of a training loop. It is complete when the audit has ended.

    modules: recurrent modules in the order of their first calls; updates: of all optimizers.
    """

    def __init__(self, watch: Watch):
        self._watch = watch
        self.modules: list[RecurrentModule] = watch.modules
        self.updates: list[Update] = watch.updates

    @property
    def warnings(self) -> list[LoopWarning]:
        """The probable mistakes; empty for a right loop."""
        return loop_warnings(self._watch)

    def assert_correct(self) -> None:
        """Raise AssertionError if there is a warning, or if no update was seen."""
        found = [f"{w.place}: {w.message}" for w in self.warnings]
        if found or self._watch.error or not self.updates:
            raise AssertionError("\n".join(found) or self._watch.error or NOTHING)

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Raise AssertionError unless each recurrent module is trained by TBPTT(k1, k2)."""
        updated = [net for net in self.modules if any(net in u.modules for u in self.updates)]
        found = [(net, *truncation(net, self.updates)) for net in updated]
        wrong = [f"{net.place}: {text}" for net, pair, text in found if pair != (k1, k2)]
        if wrong:
            raise AssertionError(f"{wrong[0]}; expected TBPTT({k1}, {k2})")
        if not found:
            raise AssertionError(self._watch.error or NOTHING)

    def __str__(self) -> str:
        several = len(self.modules) > 1
        lines = [
            f"warning: {w.place}: {f'{w.module}: ' if several and w.module else ''}{w.message}"
            for w in self.warnings
        ] or ["no warnings" if self.updates else NOTHING]
        lines += [line for net in self.modules for line in self._facts_of_module(net)]
        lines += [*self._facts_of_optimizers(), *self._facts_of_loop()]
        wrapped = list[str]()
        for line in lines:
            indent = " " * (len(line) - len(line.lstrip()) + 2)
            wrapped += textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
        return "\n".join(wrapped)

    def _facts_of_module(self, net: RecurrentModule) -> Iterator[str]:
        shapes = sorted({key[:2] for key in net.passes if key[2]})
        count = sum(n for key, n in net.passes.items() if key[2])
        of = some_of(f"{steps} x {batch}" for steps, batch in shapes)
        passes = f"{count} of {of} (steps x batch)" if shapes else "0 with gradient"
        without = net.passes.total() - count
        rest = f", {without} without gradient" if without else ""
        yield f"{net.name}: {net.kind}, called at {net.place}; passes: {passes}{rest}"
        if shapes:
            yield f"  {truncation(net, self.updates)[1]}"
        mine = [u for u in self.updates if net in u.modules]
        windows = [(n, w) for n, u in enumerate(mine, start=1) for w in u.windows(net)]
        origins = Counter(w.passes[0].origin for _, w in windows if w.initial == "carried")
        named = [f"{name} ({n})" if len(origins) > 1 else name for name, n in origins.items()]
        line = f"  state from {join_names(named)}, in {origins.total()} of {len(windows)} windows"
        for kind in dict.fromkeys(w.initial for _, w in windows if w.initial != "carried"):
            numbers = dict.fromkeys(str(number) for number, w in windows if w.initial == kind)
            line += f"; {state_of(kind)} at update {some_of(numbers)}"
        yield from [line] if origins else []

    def _facts_of_optimizers(self) -> Iterator[str]:
        records = [record for record in self._watch.optimizers if record.steps]
        if self.updates and not records:
            yield f"no optimizer; backward passes, each taken as an update: {len(self.updates)}"
        for record in records[:MAX_LISTED]:
            updates = [u for u in self.updates if u.optimizer == record.number]
            rates = [rate for u in updates for rate in u.rates]
            rate = " to ".join(dict.fromkeys(f"{each:.4g}" for each in (min(rates), max(rates))))
            epochs, changes = self._epochs, sum(a.rates != b.rates for a, b in pairwise(updates))
            rate += f", changed {changes} times" if changes else ""
            rate += f" in {epochs} epochs" if changes and epochs > 1 else ""
            for name in ("momentum", "weight_decay"):
                value = record.options.get(name)
                rate += f", {name} {value:g}" if value else ""
            backward = ranged(len(u.backwards) for u in updates)
            rate += f"; backward passes per update: {backward}" if backward != "1" else ""
            held = f"holds {len(record.held)} of {record.trainable} trainable parameters"
            made = pluralize(len(updates), "update")
            yield f"{record.kind}: {made}, {held}, learning rate {rate}"

    @property
    def _epochs(self) -> int:
        return len({u.epoch for u in self.updates if u.epoch})

    def _facts_of_loop(self) -> Iterator[str]:
        updates, later = self.updates, self._watch.later
        calls = [call[2:] for u in updates for each in u.backwards for call in each.losses]
        for (name, how, shape), n in Counter(calls).most_common(MAX_LISTED):
            yield f"loss: {name} ({how}) of {shape}, {n} times"
        clips = [clip for u in updates for clip in u.clips]
        kinds = Counter((c.kind, c.limit, c.place, len(c.parameters)) for c in clips)
        for (kind, limit, at, held), n in kinds.most_common(MAX_LISTED):
            acts = sum(clip.acts for clip in clips if clip[:3] == (kind, limit, at))
            of = pluralize(held, "parameter")
            yield f"clipping by {kind} {limit:g} ({at}) of {of}; it acts in {acts} of {n}"
        count = len(updates) + len(later)
        if in_eval := sum(u.in_eval for u in updates) + sum(later):
            yield f"in eval mode in {in_eval} of {count} updates"
        if later:
            within = ", within the first epoch of the DataLoader" if self._epochs == 1 else ""
            yield f"recorded: the first {len(updates)} of {count} updates{within}"
        elif self._epochs:
            yield f"epochs of a DataLoader: {self._epochs}"
        if not self.modules:
            yield "no call of nn.RNN, nn.LSTM, nn.GRU or a cell of them was seen"
        for what, where in self._watch.unseen.items():
            yield f"not seen: {what} ({where})"
        if self._watch.error:
            yield f"the audit ended early: {self._watch.error}"


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
