"""The report of an audited loop: its facts in sentences, its warnings, JSON, and assertions for tests."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from numpy_rnn.app.format import number_of
from numpy_rnn.common.errors import some_of
from torch_rnn.loop_audit.loop_warnings import LoopWarning, attached_reach, loop_warnings
from torch_rnn.loop_audit.records import Check, Network, Update
from torch_rnn.loop_audit.watch import Watch

NOTHING = (
    "no nn.RNN, nn.LSTM, nn.GRU or cell of them was called, and audit sees these modules only: a network of nn.Linear "
    "layers with a loop of its own is not followed"
)
INITIAL = {
    "zeros": "zeros",
    "learned": "a learned parameter",
    "computed": "a state that the script computes, with gradients",
    "constant": "a state that the script sets",
}
STARTS = ("zeros", "learned")
BY_SCRIPT = "by the script itself, before the step"


class Report:
    """The facts of a training loop: `networks`, the recurrent modules in the order of their first calls, and `updates`
    of all of them. It is complete when the audit has ended.
    """

    def __init__(self, watch: Watch):
        self._watch = watch

    @property
    def networks(self) -> list[Network]:
        return list(self._watch.networks.values())

    @property
    def updates(self) -> list[Update]:
        return [update for net in self.networks for update in net.updates]

    @property
    def warnings(self) -> list[LoopWarning]:
        """The probable mistakes; empty for a right loop."""
        return loop_warnings(self._watch)

    def assert_correct(self) -> None:
        """Raise AssertionError if there is a warning, or a gradient or step outside its rounding bound."""
        found = [f"{w.place}: {w.message}" for w in self.warnings]
        found += [
            f"{update.place}: the {name} of update {update.number} is not the recomputed one"
            for update in self.updates
            for name, check in (("gradient", update.gradient), ("step", update.step))
            if check and check.ratio is not None and check.ratio > 1
        ]
        if self._watch.error or not self.networks:
            found.append(self._watch.error or NOTHING)
        if found:
            raise AssertionError("\n".join(found))

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Raise AssertionError unless the loop is TBPTT(k1, k2).

        Every update has one window: k1 new steps, but for the last of an epoch; k2 steps, but for those near its start;
        and its initial state is carried and detached, or zeros at the start of a series.
        """
        if not self.updates:
            raise AssertionError(f"no update is recorded: {self._watch.error or NOTHING}")
        for net in self.networks:
            for update in net.updates:
                if problem := mismatch(net, update, k1, k2):
                    raise AssertionError(f"{update.place}: update {update.number} {problem}")
            if net.updates and all(update.windows[0].schedule != (k1, k2) for update in net.updates):
                raise AssertionError(f"{net.place}: {truncation(net)}; expected TBPTT({k1}, {k2})")

    def __str__(self) -> str:
        """The report in sentences."""
        watch, lines = self._watch, list[str]()
        for net in self.networks:
            lines += [f"{net.name}, first called at {net.place}", *(f"  {fact}" for fact in facts(net, watch))]
        if watch.error:
            lines.append(f"the audit ended early: {watch.error}")
        elif watch.steps >= watch.limit:
            lines.append(f"audited: the first {watch.limit} updates")
        found = [f"warning: {w.place}: {w.message}" for w in self.warnings]
        return "\n".join(lines + (found or ["no warnings" if self.networks else NOTHING]))

    def contents(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        keys = ("steps", "batch", "gradient", "count")
        networks = [
            {"name": net.name, "place": net.place, "truncation": truncation(net),
             "facts": list(facts(net, self._watch)),
             "passes": [dict(zip(keys, (*key, n))) for key, n in net.counts.items()]}
            for net in self.networks
        ]  # fmt: skip
        everything = {"networks": networks, "updates": self.updates, "warnings": self.warnings}
        return everything | {"message": "" if networks else NOTHING, "error": self._watch.error}


def mismatch(net: Network, update: Update, k1: int, k2: int) -> str:
    """Why an update is not one of TBPTT(k1, k2); empty if it is."""
    if len(update.windows) != 1:
        return f"has {len(update.windows)} windows: expected 1"
    (window,) = update.windows
    steps, reach = window.schedule
    starts = window.initial in STARTS and (update.number == 1 or "carried" in net.initials)
    if steps > (k2 if starts else k1) or reach > k2 or (window.attached and reach < k2):
        return f"is one of TBPTT({steps}, {reach}): expected ({k1}, {k2})"
    if not starts and window.initial != "carried":
        return f"starts from {INITIAL[window.initial]}: expected the carried state"
    return ""


def truncation(net: Network) -> str:
    """The loop in the terms of TBPTT(k1, k2)."""
    windows = [window for update in net.updates for window in update.windows]
    if not windows:
        without = "gradients are computed, but no update is made" if net.was_reached else "no gradient goes through it"
        return f"no truncation: {without}"
    if reach := attached_reach(net):
        return f"{reach}: the state is attached"
    found, kinds = Counter(window.schedule for window in windows), {window.initial for window in windows}
    k1, k2 = max(found, key=lambda pair: (found[pair], pair))  # not that of the first or the last of an epoch
    joined = max(len(update.windows) for update in net.updates)
    several = f", the gradients of up to {joined} windows added in one update" if joined > 1 else ""
    if "carried" not in kinds:
        start, lengths = " or ".join(INITIAL[kind] for kind in sorted(kinds)), to(window.reach for window in windows)
        return (
            f"each window starts from {start}: no state is carried; full BPTT over windows of {lengths} steps{several}"
        )
    chunks = f"chunks of {k2} steps, state carried and detached"
    if joined > 1:
        return chunks + several
    changed = ", through weights that have changed since" if any(w.back for w in windows) else ""
    return f"TBPTT({k1}, {k2}): {chunks if k1 == k2 else f'windows of {k2} steps, state carried'}{changed}"


def to(values: Iterable[int]) -> str:
    """The least and the largest of some numbers."""
    found = sorted(set(values))
    return " to ".join(map(str, dict.fromkeys((found[0], found[-1]))))


def facts(net: Network, watch: Watch) -> Iterator[str]:
    """The facts of a network, in sentences."""
    shapes, updates = sorted(net.counts), net.updates
    passes = {graph: sum(net.counts[key] for key in shapes if key[2] == graph) for graph in (True, False)}
    shown = some_of([f"{T} x {B}" for T, B, graph in shapes if graph]) + f" of input {net.layout}" * (not net.is_cell)
    without = f", {passes[False]} without" if passes[False] else ""
    yield f"forward passes: {passes[True]} with a gradient{f', steps x batch {shown}' if passes[True] else ''}{without}"
    yield truncation(net)
    starts = [u.number for u in updates if any(w.initial in STARTS and not w.back for w in u.windows[:1])]
    if net.initials.get("carried") and len(starts) > 1:
        gaps = {b - a for a, b in pairwise(starts)}
        epochs = f" (every {min(gaps)}: epochs)" if len(starts) > 2 and len(gaps) == 1 else ""
        yield f"the state is reset at update {some_of(starts)}{epochs}"
    if not updates:
        return
    names = ", ".join(dict.fromkeys(u.optimizer or "the script itself, without torch.optim" for u in updates))
    backward = to(u.backward for u in updates)
    yield f"{number_of(len(updates), 'update')} by {names}, backward passes per update: {backward}"
    yield checked("gradient", [u.gradient for u in updates if u.gradient], "")
    made = f": made by {names}; only those of torch.optim.SGD without a closure are"
    yield checked("step", [u.step for u in updates if u.step], made)
    clips = {
        f"by {clip.kind} {clip.limit}, before the step ({clip.place})" if clip.place else BY_SCRIPT
        for update in updates
        if (clip := update.clip)
    }
    yield f"clipping: {'; '.join(sorted(clips)[:3]) or 'none'}"
    trained = [name for name, p in net.module.named_parameters(recurse=False) if p.requires_grad]
    if never := [name for name in trained if net.module.get_parameter(name) not in watch.with_gradient]:
        yield f"never with a gradient: {some_of(never)}"


def checked(what: str, checks: list[Check], nothing: str) -> str:
    """How many gradients or steps were recomputed, and how far they are from their bounds."""
    done = [(check.ratio, check.name) for check in checks if check.ratio is not None]
    if not done:
        return f"{what}: not checked{f': {checks[0].reason}' if checks else nothing}"
    ratio, name = max(done)
    differs = f"{name or 'a parameter'} differs: something else changes it too, such as a penalty on the weights"
    verdict = "within the rounding bounds" if ratio <= 1 else differs
    return f"{what}: {len(done)} recomputed by hand, at most {ratio:.2g} of the bound: {verdict}"
