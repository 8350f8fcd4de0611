"""The report of an audited loop: its warnings, its facts, and assertions for tests."""

import math
import textwrap
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from numpy_rnn.common.errors import check_integer, join_names, pluralize, some_of
from torch_rnn.loop_audit import records
from torch_rnn.loop_audit.recorder import Recorder
from torch_rnn.loop_audit.records import (
    CARRIED,
    ELSEWHERE,
    NO_GRADIENT,
    Evidence,
    RecurrentModule,
)

NOTHING, MAX_LISTED = "no update was seen", 3
WRAPPER = textwrap.TextWrapper(100, subsequent_indent=" " * 4, break_on_hyphens=False)
# The messages by kind, of those that are certain when they are seen once, and of others
ONCE = {
    "state attached": "the state is attached to the window before{}: write {}",
    "view": "the input {} is viewed as {}, which mixes its rows: use transpose(0, 1)",
    NO_GRADIENT: (
        "training continues from the state of a pass without gradient, "
        "as of a validation"
    ),
    "changed": (
        "{} is changed between its forward pass ({}) and backward(): the "
        "gradient is wrong"
    ),
    "outside": (
        "{}: no optimizer holds it, though it gets a gradient: give it to "
        "one, or freeze it"
    ),
    "never changed": (
        "{}: never changes, as no gradient reaches it: use it, or leave it out"
    ),
    "rate of a group": (
        "the learning rate of group {} of {} is 0, so that it never changes"
    ),
    "input of the loss": "{}",
    "shapes of the loss": (
        "the loss compares shapes {} and {}: each output meets every target"
    ),
    "clip of nothing": "clipping gets no parameters: an iterator can be read only once",
    "clip without effect": "the gradient is clipped before backward() or after step()",
    "made anew": "{} is made anew for each update, without its moments: make it once",
    "rate near zero": (
        "the learning rate falls from {:.2g} to {:.2g}, which changes no weight"
    ),
    "graphs kept": (
        "the graphs of {} earlier losses are still in memory: keep loss.item() only"
    ),
}
TWICE = {
    "state exchanged": "h_0 is the last cell state c: the state of an LSTM is (h, c)",
    "reverse output": (
        "the reverse direction has read one step at the last output: use its state h"
    ),
    "time and batch": (
        "the loss uses the outputs of one sequence, of {} x {}: check batch_first"
    ),
    ELSEWHERE: "the state is carried to data that do not follow those it comes from",
    "detached at every step": (
        "the state is detached at every step: detach it once per window"
    ),
    "target equals the input": (
        "the target equals the input of the same step: shift it by one step"
    ),
    "clip of others": (
        "clipping gets {} parameters, none of this module: use model.parameters()"
    ),
    "losses overwritten": (
        "only the last of {} losses per update reaches backward(): add them up"
    ),
    "never zeroed": (
        "the gradient of update {} is added to that of the update before: zero_grad()"
    ),
    "zeroed before the step": (
        "the gradient is zero in update {}: call zero_grad() after step()"
    ),
    (
        "gradient of another loss"
    ): "the step uses the gradient of {} too, left by another optimizer",
    "eval mode": (
        "the model is in eval mode in update {}: call model.train() after an evaluation"
    ),
}
MISTAKES = ONCE | TWICE
MIN_COPIED = 8  # calls of a cell whose target is their input
NEAR_ZERO = 1e-6  # of the largest learning rate
# Something that is probably not meant: a key of MISTAKES, FILE:LINE of the call, and
# the message
LoopWarning = namedtuple("LoopWarning", "kind place message")


def loop_evidence(watch: Any) -> Evidence:
    updates, found = watch.updates, defaultdict(list, watch.evidence)
    optimizers = [record for record in watch.optimizers if len(record.updates) > 1]
    outside = watch.with_gradient.difference(
        *(record.held for record in watch.optimizers)
    )
    unused = (
        set[int]().union(*(record.held for record in optimizers)) - watch.with_gradient
    )
    for kind, ids in (
        (("outside", outside), ("never changed", unused)) if optimizers else ()
    ):
        known = [(p, *value) for p, value in watch.parameters.items() if id(p) in ids]
        same = [
            name
            for p, name, first in known
            if p.requires_grad and p.detach().sum() == first
        ]
        found[kind] = [(updates[0].place, some_of(same))] if same else []
    for record in optimizers:
        steps = record.updates
        for n, is_scheduled in enumerate(record.scheduled):
            if (
                not is_scheduled
                and any(steps[-1].rates)
                and not any(u.rates[n] for u in steps)
            ):
                found["rate of a group"].append((steps[0].place, n + 1, record.kind))
        highest = max(max(u.rates) for u in steps)
        low = [u for u in steps if max(u.rates) < NEAR_ZERO * highest]
        if len(low) >= 3 and 4 * len(low) >= len(steps):
            found["rate near zero"].append((low[0].place, highest, max(low[-1].rates)))
    made = [each for each in watch.optimizers if each.is_new and len(each.updates) == 1]
    left = {(each.kind, each.held, each.after) for each in made}
    made = [each for each in made if (each.kind, each.held, each.before) in left]
    if len(made) >= 3 and 2 * len(made) > len(updates):
        found["made anew"].append((made[0].updates[0].place, made[0].kind))
    if any(u.clips for u in updates):
        found["clip without effect"] = []
    if 2 * len(found["losses overwritten"]) < len(
        updates
    ):  # an evaluation may use the same line
        found["losses overwritten"] = []
    return found


def module_evidence(net: RecurrentModule, watch: Any) -> Evidence:
    found: Evidence = defaultdict(list, net.evidence)
    by_update = [(u, each) for u in watch.updates if (each := u.windows(net))]
    windows = [window for _, each in by_update for window in each]
    carried = sum(window.initial == CARRIED for window in windows)
    far = attached_reach(windows)
    how = f"; {far}" if far else ", which makes backward() fail"
    passes = [p for b in watch.backwards for p in b.reached if p.module is net]
    attached = [p.place for p in passes if any(q.update < p.update for q in p.parents)]
    is_pair = net.kind.startswith("nn.LSTM")
    detach = "state = tuple(s.detach() for s in state)" if is_pair else "h = h.detach()"
    found["state attached"] = [(place, how, detach) for place in attached]
    first = [w[-1].passes[0] for u, w in by_update if len(u.backwards) == 1]
    found["detached at every step"] = [(each.place,) for each in first if each.cuts > 1]
    # burn-in and stored states are regular, or start from another state
    is_regular = 3 * len(found[NO_GRADIENT]) > carried
    found[NO_GRADIENT] = [
        each for each in found[NO_GRADIENT] if each[1] and not is_regular
    ]
    if (
        found["target differs"]
        or net.is_bidirectional
        or not any(w.with_loss for w in windows)
    ):
        found["target equals the input"] = []
    least = {
        ELSEWHERE: carried / 3
        if len({gap for _, gap in found[ELSEWHERE]}) > 1
        else math.inf,
        "reverse output": len(windows),
        "time and batch": len(windows),
        "target equals the input": MIN_COPIED * net.is_cell,
        "clip of others": len(by_update),
    }
    return found | {
        kind: [] for kind, count in least.items() if len(found[kind]) < count
    }


def attached_reach(windows: list[Any]) -> str:
    """How far the gradient reaches into earlier updates; empty if it does not."""
    back = max((w.passes[-1].update - w.passes[0].update for w in windows), default=0)
    return (
        f"the gradient reaches up to {pluralize(back, 'update')} back" if back else ""
    )


def ranged(values: Iterable[int]) -> str:
    """A number, or the least and the largest of some: "4 to 28, mostly 20 (8 of 9)"."""
    found = Counter(values)
    value, count = found.most_common(1)[0]
    mostly = (
        f", mostly {value} ({count} of {found.total()})"
        if 2 * count > found.total()
        else ""
    )
    return str(value) if len(found) == 1 else f"{min(found)} to {max(found)}{mostly}"


def truncation(net: RecurrentModule, updates: list[records.Update]) -> tuple[Any, str]:
    """(k1, k2) if the windows of a module are those of TBPTT(k1, k2), and the fact
    about them.
    """
    by_update = [found for u in updates if (found := u.windows(net))]
    windows = [window for found in by_update for window in found]
    if not windows:
        return None, "no update by its gradients is seen"
    if far := attached_reach(windows):
        return None, f"{far}: the state is attached"
    (k1, k2), count = Counter((w.with_loss, w.reach) for w in windows).most_common(1)[0]
    is_chunk = 2 * sum(w.passes[0].origin == records.BEFORE for w in windows) > len(
        windows
    )
    # chunks of which some steps have no loss are no TBPTT(k1, k2)
    is_regular = (
        k1 > 0 and (k1 == k2 or not is_chunk) and k2 == max(w.reach for w in windows)
    )
    is_whole = all(w.steps == k2 for w in windows if (w.with_loss, w.reach) == (k1, k2))
    is_regular &= any(w.initial == CARRIED for w in windows)
    if (
        len(windows) == len(by_update)
        and is_regular
        and is_whole
        and 2 * count > len(windows)
    ):
        kind = "chunks" if k1 == k2 else "windows"
        return (
            k1,
            k2,
        ), f"TBPTT({k1}, {k2}): {kind} of {k2} steps, state carried and detached"
    lengths, reach = ranged(w.steps for w in windows), ranged(w.reach for w in windows)
    is_full = all(w.reach == w.steps and w.initial != CARRIED for w in windows)
    kinds = " or ".join(sorted({w.initial for w in windows}))
    line = (
        f"{'full' if is_full else 'truncated'} BPTT, windows of {lengths} "
        f"steps, each from {kinds}"
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
    """The facts and warnings of a training loop. It is complete when the audit has
    ended.

    modules: recurrent modules in the order of their first calls; updates: of all
    optimizers.
    """

    def __init__(self, watch: Recorder):
        self._watch, self.modules, self.updates = watch, watch.modules, watch.updates

    @property
    def warnings(self) -> list[LoopWarning]:
        """The probable mistakes of each module, in the order of MISTAKES, and of the
        loop.
        """
        found = dict[tuple[str, str], LoopWarning]()
        for net in (*self.modules, None):
            evidence = (
                module_evidence(net, self._watch) if net else loop_evidence(self._watch)
            )
            name = f"{net.name}: " if net and len(self.modules) > 1 else ""
            for kind, text in MISTAKES.items():
                if len(evidence[kind]) > (kind in TWICE):
                    place, *values = evidence[kind][0]
                    message = text.format(*values)
                    found.setdefault(
                        (place, message), LoopWarning(kind, place, name + message)
                    )
        return list(found.values())

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Raise AssertionError unless each recurrent module is trained by TBPTT(k1,
        k2).
        """
        found = [
            (net, *truncation(net, self.updates)) for net in self.modules if net.updates
        ]
        wrong = [
            f"{net.place}: {text}" for net, pair, text in found if pair != (k1, k2)
        ]
        if wrong:
            raise AssertionError(f"{wrong[0]}; expected TBPTT({k1}, {k2})")
        if not found:
            raise AssertionError(self._watch.error or NOTHING)

    def __str__(self) -> str:
        lines = [f"warning: {w.place}: {w.message}" for w in self.warnings]
        lines = lines or ["no warnings" if self.updates else NOTHING]
        lines += [line for net in self.modules for line in self._facts_of_module(net)]
        lines += [*self._facts_of_optimizers(), *self._facts_of_loop()]
        return "\n".join(map(WRAPPER.fill, lines))

    def _facts_of_module(self, net: RecurrentModule) -> Iterator[str]:
        shapes = sorted({key[:2] for key in net.passes if key[2]})
        count = sum(n for key, n in net.passes.items() if key[2])
        of = some_of(f"{steps} x {batch}" for steps, batch in shapes)
        passes = f"{count} of {of} (steps x batch)" if shapes else "0 with gradient"
        passes += (
            f", {rest} without gradient" if (rest := net.passes.total() - count) else ""
        )
        yield f"{net.name}: {net.kind}, called at {net.place}; passes: {passes}"
        if shapes:
            yield f"  {truncation(net, self.updates)[1]}"
        firsts = [window.passes[0] for u in self.updates for window in u.windows(net)]
        origins = Counter(each.origin for each in firsts if each.initial == CARRIED)
        named = [
            f"{name} ({n})" if len(origins) > 1 else name for name, n in origins.items()
        ]
        line = (
            f"  state from {join_names(named)}, in {origins.total()} of "
            f"{len(firsts)} windows"
        )
        for kind in dict.fromkeys(
            each.initial for each in firsts if each.initial != CARRIED
        ):
            numbers = dict.fromkeys(
                each.update + 1 for each in firsts if each.initial == kind
            )
            line += f"; {kind} at update {some_of(numbers)}"
        yield from [line] if origins else []

    def _facts_of_optimizers(self) -> Iterator[str]:
        for record in [each for each in self._watch.optimizers if each.updates][
            :MAX_LISTED
        ]:
            updates = record.updates
            rates = [rate for u in updates for rate in u.rates]
            rate = " to ".join(
                dict.fromkeys(f"{each:.4g}" for each in (min(rates), max(rates)))
            )
            changes = [
                n for n, (a, b) in enumerate(pairwise(updates), 1) if a.rates != b.rates
            ]
            if changes:
                gaps = ranged(b - a for a, b in pairwise([0, *changes]))
                rate += f", changed {len(changes)} times, updates per change: {gaps}"
            rate += "".join(
                f", {name} {value:g}" for name, value in record.options.items()
            )
            held = (
                f"{len(record.held)} of {record.trainable} trainable "
                "parameters, learning rate"
            )
            yield (
                f"{record.kind}: {pluralize(len(updates), 'update')}, holds "
                f"{held} {rate}"
            )

    def _facts_of_loop(self) -> Iterator[str]:
        updates, count = self.updates, self._watch.count
        calls = [
            call[2:] for u in updates for each in u.backwards for call in each.losses
        ]
        for (name, how, shape), n in Counter(calls).most_common(MAX_LISTED):
            yield f"loss: {name} ({how}) of {shape}, {n} times"
        clips = [clip for u in updates for clip in u.clips]
        kinds = Counter((c.kind, c.limit, c.place, len(c.parameters)) for c in clips)
        for (kind, limit, at, held), n in kinds.most_common(MAX_LISTED):
            acts = sum(clip.acts for clip in clips if clip[:3] == (kind, limit, at))
            of = pluralize(held, "parameter")
            yield (
                f"clipping by {kind} {limit:g} ({at}) of {of}; it acts in {acts} of {n}"
            )
        if in_eval := len(self._watch.evidence["eval mode"]):
            yield f"in eval mode in {in_eval} of {count} updates"
        if count > len(updates):
            yield f"recorded: the first {len(updates)} of {count} updates"
        if not self.modules:
            yield "no call of nn.RNN, nn.LSTM, nn.GRU or a cell of them was seen"
        if self._watch.error:
            yield f"the audit ended early: {self._watch.error}"


@contextmanager
def audit(updates: int = 200) -> Iterator[Report]:
    """Watch the training loops of a `with` block; its report is complete when the block
    ends.

    updates: number of updates that are recorded. After them only the mode of the
    modules is looked at. An exception of the block is not suppressed.

    Raises InputError if updates is not an integer of 1 or more.
    """
    watch = Recorder(check_integer("updates", updates, 1))
    watch.start()
    try:
        yield Report(watch)
    finally:
        watch.stop()
