"""The report of an audited loop: its facts in sentences, its warnings, JSON, and assertions for tests."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from numpy_rnn.app.format import number_of
from numpy_rnn.common.errors import some_of
from torch_rnn.loop_audit.loop_warnings import LoopWarning, attached_reach, loop_warnings
from torch_rnn.loop_audit.records import ORIGINS, Check, Clip, Network, Update, Window
from torch_rnn.loop_audit.watch import Watch

NOTHING = ("no call of nn.RNN, nn.LSTM, nn.GRU or a cell of them was seen; a recurrence of other modules, such as "
           "nn.Linear, is not followed")  # fmt: skip
WIDTH = 100
INITIAL = {
    "zeros": "zeros", "learned": "a learned state", "carried": "a carried state",
    "computed": "a state that the script computes, with gradients", "constant": "a state that the script sets",
}  # fmt: skip
STARTS = ("zeros", "learned")


class Report:
    """The facts of a training loop: `networks`, the recurrent modules in the order of their first calls, and `updates`
    of all of them. It is complete when the audit has ended.
    """

    def __init__(self, watch: Watch):
        self._watch = watch

    @property
    def networks(self) -> list[Network]:
        return list(self._watch.updates.networks)

    @property
    def updates(self) -> list[Update]:
        return [update for net in self.networks for update in net.updates]

    @property
    def warnings(self) -> list[LoopWarning]:
        """The probable mistakes; empty for a right loop."""
        return loop_warnings(self._watch)

    def assert_correct(self) -> None:
        """Raise AssertionError if there is a warning, or if nothing was seen."""
        found = [f"{w.place}: {w.message}" for w in self.warnings]
        if self._watch.error or not self.networks:
            found.append(self._watch.error or self.nothing)
        if found:
            raise AssertionError("\n".join(found))

    def assert_tbptt(self, k1: int, k2: int) -> None:
        """Raise AssertionError unless each update has one window of k1 new steps and a gradient that reaches k2 steps,
        but near the start and the end of the data, and a state that is carried and detached, or zeros at the start.
        """
        if not self.updates:
            raise AssertionError(f"no update is recorded: {self._watch.error or self.nothing}")
        for net in self.networks:
            for update in net.updates:
                if problem := mismatch(net, update, k1, k2):
                    raise AssertionError(f"{update.place}: update {update.number} {problem}")
            found = {(k, u.reach) for u in net.updates for k in (u.loss_steps, u.new_steps)}
            if net.updates and (k1, k2) not in found:
                raise AssertionError(f"{net.place}: {truncation(net)}; expected TBPTT({k1}, {k2})")

    @property
    def nothing(self) -> str:
        """Why no module was seen."""
        if scripted := self._watch.updates.evidence.get("scripted"):
            place, name = scripted[0]
            return f"the modules of {name} are compiled by torch.jit.script ({place}), so their calls cannot be seen"
        return NOTHING

    def __str__(self) -> str:
        """The report in sentences."""
        watch, networks, lines = self._watch, self.networks, list[str]()
        for net in networks:
            lines.append(f"{f'{net.name}: ' if net.name else ''}{net.kind}, first called at {net.place}")
            lines += [f"  {fact}" for fact in facts(net)]
        if networks and watch.updates.evidence.get("scripted"):
            lines.append(self.nothing)
        if watch.error:
            lines.append(f"the audit ended early: {watch.error}")
        elif watch.updates.steps >= watch.limit:
            lines.append(f"audited: the first {watch.limit} updates")
        for w in (found := self.warnings):
            name = f"{w.network}: " if len(networks) > 1 and w.network else ""
            text = f"warning: {w.place}: {name}{w.message}"
            lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join(lines if found else [*lines, "no warnings" if networks else self.nothing])

    def contents(self) -> dict[str, Any]:
        """Everything, for a JSON file."""
        keys = ("steps", "batch", "gradient", "count")
        networks = [
            {"name": net.name, "module": net.kind, "place": net.place, "truncation": truncation(net),
             "tbptt": schedule(net), "origins": dict(net.origins), "facts": list(facts(net)),
             "passes": [dict(zip(keys, (*key, n))) for key, n in net.counts.items()]}
            for net in self.networks
        ]  # fmt: skip
        everything = {"networks": networks, "updates": self.updates, "warnings": self.warnings}
        return everything | {"message": "" if networks else self.nothing, "error": self._watch.error}


def mismatch(net: Network, update: Update, k1: int, k2: int) -> str:
    """Why an update is not one of TBPTT(k1, k2); empty if it is."""
    if len(update.windows) != 1:
        return f"has {len(update.windows)} windows: expected 1"
    (window,) = update.windows
    starts = window.initial in STARTS and (update.number == 1 or net.origins)
    most = k2 if starts else k1
    if (
        (update.new_steps > most and update.loss_steps > most)
        or update.reach > k2
        or (window.attached and update.reach < k2)
    ):
        return f"is one of TBPTT({update.loss_steps}, {update.reach}): expected ({k1}, {k2})"
    if not starts and window.initial != "carried":
        return f"starts from {INITIAL[window.initial]}: expected the carried state"
    return ""


def ranged(values: Iterable[int]) -> str:
    """A number, or the least and the largest of some, with the commonest: "4 to 28, mostly 20 (8 of 9)"."""
    found = Counter(values)
    if not found:
        return "0"
    value, count = max(found.items(), key=lambda item: (item[1], item[0]))
    if len(found) == 1:
        return str(value)
    mostly = f", mostly {value} ({count} of {found.total()})" if 2 * count > found.total() else ""
    return f"{min(found)} to {max(found)}{mostly}"


def schedule(net: Network) -> tuple[int, int] | None:
    """(k1, k2), if the loop is one of TBPTT: one window per update, and a loss at every new step."""
    updates = [u for u in net.updates if u.windows]
    if not updates or any(len(u.windows) != 1 for u in updates) or not is_carried(net):
        return None
    pairs = Counter((u.loss_steps, u.reach) for u in updates)
    k1, k2 = max(pairs, key=lambda pair: (pairs[pair], pair))
    if 3 * pairs[k1, k2] < len(updates) or k2 < max(u.reach for u in updates):
        return None
    equal = sum(u.new_steps == k1 for u in updates if (u.loss_steps, u.reach) == (k1, k2))
    return (k1, k2) if 2 * equal > pairs[k1, k2] else None


def is_carried(net: Network) -> bool:
    """Whether a window starts from the state of an earlier one."""
    return any(window.initial == "carried" or window.back for u in net.updates for window in u.windows)


def truncation(net: Network) -> str:
    """The windows of the loop, and how far its gradients reach."""
    updates = [u for u in net.updates if u.windows]
    windows = [window for u in updates for window in u.windows]
    if not windows:
        without = "gradients are computed, but no update is made" if net.was_reached else "no gradient reaches it"
        return f"no truncation: {without}"
    if reach := attached_reach(net):
        return f"{reach}: the state is attached"
    kinds = {window.initial for window in windows}
    joined = ranged(len(u.windows) for u in updates)
    several = "" if joined == "1" else f"; the gradients of {joined} windows are added in an update"
    reach, lengths = ranged(w.reach for w in windows), ranged_lengths(windows)
    if "carried" not in kinds:
        start = " or ".join(INITIAL[kind] for kind in sorted(kinds))
        full = all(w.reach == w.steps or w.passes > 1 for w in windows)
        how = f"full BPTT over windows of {lengths} steps" if full else f"the gradient reaches {reach} steps"
        return f"each window starts from {start}: no state is carried; {how}{several}"
    changed = ", through weights that have changed since" if any(w.back for w in windows) else ""
    carried = "state carried and detached"
    if pair := schedule(net):
        k1, k2 = pair
        kind = f"chunks of {k2} steps" if k1 == k2 else f"windows of {k2} steps"
        return f"TBPTT({k1}, {k2}): {kind}, {carried}{changed}"
    if several:
        return f"chunks of {lengths} steps, {carried}{several}"
    new = f"{ranged(u.new_steps for u in updates)} new steps per update"
    is_whole = all(u.new_steps == u.loss_steps for u in updates)
    losses = "" if is_whole else f" and {ranged(u.loss_steps for u in updates)} with a loss"
    return f"truncated BPTT, {carried}: {new}{losses}; the gradient reaches {reach} steps{changed}"


def ranged_lengths(windows: list[Window]) -> str:
    """The lengths of the sequences of all windows."""
    if all(w.lengths[0] == w.lengths[1] for w in windows):
        return ranged(w.reach if w.passes > 1 else w.steps for w in windows)
    return f"{min(w.lengths[0] for w in windows)} to {max(w.lengths[1] for w in windows)}"


def facts(net: Network) -> Iterator[str]:
    """The facts of a network."""
    updates, shapes, passes = net.updates, sorted(net.counts), Counter[bool]()
    for shape, n in net.counts.items():
        passes[shape[2]] += n
    shown = some_of([f"{T} x {B}" for T, B, graph in shapes if graph])
    layout = "" if net.is_cell else f" of input {net.layout}"
    what = f"{passes[True]} with a graph{f', steps x batch {shown}{layout}' if passes[True] else ''}"
    yield f"forward passes: {what}{f', {passes[False]} without a graph' if passes[False] else ''}"
    yield truncation(net)
    yield from loss_facts(net)
    yield from state_facts(net)
    if not updates:
        return
    names = ", ".join(dict.fromkeys(u.optimizer or "the script itself, without torch.optim" for u in updates))
    found = [" and ".join(f"{rate:.4g}" for rate in u.learning_rates) for u in updates if u.learning_rates]
    rates = f", learning rate {' to '.join(dict.fromkeys((found[0], found[-1])))}" if found else ""
    backward = f"backward passes per update: {ranged(u.backward for u in updates)}"
    yield f"{number_of(len(updates), 'update')} by {names}{rates}, {backward}"
    yield checked("gradient", [u.gradient for u in updates if u.gradient])
    if any(u.optimizer for u in updates):
        yield checked("step", [u.step for u in updates if u.step])
    yield clipping(updates)
    if evaluated := sum(not u.is_training for u in updates if u.windows):
        yield f"in eval mode in {evaluated} of {len(updates)} updates"


def loss_facts(net: Network) -> Iterator[str]:
    """The steps without a loss, where there are some."""
    updates = [u for u in net.updates if u.windows]
    if updates and not net.is_in_loss:
        yield "its outputs enter the loss through other modules"
    elif any(u.loss_steps < u.new_steps for u in updates):
        new, losses = sum(u.new_steps for u in updates), sum(u.loss_steps for u in updates)
        each = ranged(u.loss_steps for u in updates)
        is_once = not is_carried(net) and each == "1"
        counted = f"{losses} of {new} ({each} per update); {new - losses} without"
        yield f"steps with a loss: {f'{each} per update' if is_once else counted}"


def state_facts(net: Network) -> Iterator[str]:
    """Where carried states come from, and at which updates there is none."""
    if not is_carried(net):
        return
    if net.origins.keys() - {"before"}:
        kinds = [f"{ORIGINS[kind]} ({n} of {net.origins.total()})" for kind, n in net.origins.items()]
        yield f"the state comes from: {', '.join(kinds)}"
    numbers, data = list(dict.fromkeys(update for update, _ in net.resets)), {each for _, each in net.resets}
    if numbers in ([], [1]) and "no gradient" not in net.origins:
        yield "the state is never reset as a whole"
    elif 1 < len(numbers) == len(net.updates):
        yield "the state is reset in every update"
    elif numbers[1:]:
        when = ", where the data start again" if len(data) == 1 and data != {None} else ""
        yield f"the state is reset at update {some_of(numbers)}{when}"


def clipping(updates: list[Update]) -> str:
    """How gradients are clipped, of what, and how often that has an effect."""
    found, acts, lines = Counter[Clip](), Counter[Clip](), []
    for clip in (clip for u in updates for clip in u.clips):
        key = clip._replace(acts=True, limit=clip.limit if clip.kind != "script" else 0.0)
        found[key] += 1
        acts[key] += clip.acts
    for clip, n in list(found.items())[:3]:
        if clip.kind == "script":
            checked = sum(u.gradient is not None for u in updates)
            lines.append(f"by the script itself, before the step ({n} of {checked} updates looked at)")
        else:
            of = f", of {clip.own} parameters of this module and {clip.parameters - clip.own} others"
            lines.append(f"by {clip.kind} {clip.limit:g} ({clip.place}){of}; it acts in {acts[clip]} of {n}")
    return f"clipping: {'; '.join(lines) or 'none'}"


def checked(what: str, checks: list[Check]) -> str:
    """How many gradients or steps were replayed, and how far they are from the replay."""
    done = [check for check in checks if check.error is not None]
    if not done:
        return f"{what}: not checked{f': {checks[0].reason}' if checks else ''}"
    wrong = [check for check in done if not check.is_right]
    worst = max(wrong or done, key=lambda check: check.error or 0.0)
    if wrong:
        how = f"by {worst.error:.2g} of the size of {worst.name}"
        return f"{what}: {len(wrong)} of {len(done)} differ from a float64 replay, {how}"
    return (
        f"{what}: {len(done)} replayed in float64, each agrees to {worst.error:.0e} of its size, as rounding explains"
    )
