"""The report of an audited loop: its facts in sentences, its warnings, JSON, and assertions for tests."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from numpy_rnn.common.errors import some_of
from numpy_rnn.common.format import pluralize
from torch_rnn.loop_audit.loop_warnings import LoopWarning, attached_reach, loop_warnings
from torch_rnn.loop_audit.records import ORIGINS, Check, Clip, Network, Update
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
        """Raise AssertionError unless the report calls the loop TBPTT(k1, k2), for each module that is updated."""
        if not self.updates:
            raise AssertionError(f"no update is recorded: {self._watch.error or self.nothing}")
        for net in self.networks:
            if net.updates and schedule(net) != (k1, k2):
                raise AssertionError(f"{net.place}: {truncation(net)}; expected TBPTT({k1}, {k2})")

    @property
    def nothing(self) -> str:
        """Why no module was seen."""
        if scripted := self._watch.updates.evidence.get("scripted"):
            place, name = scripted[0]
            return f"the modules of {name} are compiled by torch.jit.script ({place}), so their calls cannot be seen"
        if transformed := self._watch.updates.evidence.get("transformed"):
            return f"calls inside of torch.func are not followed ({transformed[0][0]})"
        return NOTHING

    def __str__(self) -> str:
        """The report in sentences."""
        watch, networks, lines = self._watch, self.networks, list[str]()
        for net in networks:
            lines.append(
                f"{f'{net.name}: ' if net.name else ''}{net.kind}, first called at {net.place}"
            )
            lines += [f"  {fact}" for fact in facts(net)]
        if networks and {"scripted", "transformed"} & watch.updates.evidence.keys():
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
        return everything | {
            "message": "" if networks else self.nothing,
            "error": self._watch.error,
        }


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
    """(k1, k2), if the loop is one of TBPTT: each update has one window, and most a loss at every new step.

    No update has more of them, but those that start from zeros.
    """
    updates = [u for u in net.updates if u.windows]
    if (
        not updates
        or any(len(u.windows) != 1 for u in updates)
        or not is_carried(net)
        or attached_reach(net)
    ):
        return None
    pairs = Counter((u.loss_steps, u.reach) for u in updates)
    (k1, k2), count = max(pairs.items(), key=lambda item: item[::-1])
    most = max(
        (u.loss_steps for u in updates[1:] if u.windows[0].initial not in STARTS), default=k1
    )
    equal = sum(u.new_steps == k1 for u in updates if (u.loss_steps, u.reach) == (k1, k2))
    is_regular = 3 * count >= len(updates) and k2 == max(u.reach for u in updates) and k1 >= most
    return (k1, k2) if is_regular and 2 * equal > count else None


def is_carried(net: Network) -> bool:
    """Whether a window starts from the state of an earlier one."""
    return any(
        window.initial == "carried" or window.back for u in net.updates for window in u.windows
    )


def is_counted(net: Network) -> bool:
    """Whether new steps can be told from those that are computed again: each window follows the one before."""
    is_alone = all(len(u.windows) < 2 for u in net.updates)
    return not is_carried(net) or (
        is_alone and 2 * net.origins["no gradient"] <= net.origins.total()
    )


def truncation(net: Network) -> str:
    """The windows of the loop, and how far its gradients reach."""
    updates = [u for u in net.updates if u.windows]
    windows = [window for u in updates for window in u.windows]
    if not windows:
        without = (
            "gradients are computed, but no update is made"
            if net.was_reached
            else "no gradient reaches it"
        )
        return f"no truncation: {without}"
    if far := attached_reach(net):
        return f"{far}: the state is attached"
    joined, reach = ranged(len(u.windows) for u in updates), ranged(w.reach for w in windows)
    several = "" if joined == "1" else f"; the gradients of {joined} windows are added in an update"
    lengths = ranged(w.reach if w.passes > 1 else w.steps for w in windows)
    if any(w.lengths[0] != w.lengths[1] for w in windows):  # packed
        lengths = f"{min(w.lengths[0] for w in windows)} to {max(w.lengths[1] for w in windows)}"
    if all(window.initial != "carried" for window in windows):
        start = " or ".join(
            INITIAL[kind] for kind in sorted({window.initial for window in windows})
        )
        full = all(w.reach == w.steps or w.passes > 1 for w in windows)
        how = (
            f"full BPTT over windows of {lengths} steps"
            if full
            else f"the gradient reaches {reach} steps"
        )
        return f"each window starts from {start}: no state is carried; {how}{several}"
    changed = ", through weights that have changed since" if any(w.back for w in windows) else ""
    carried = f"state carried and detached{changed}"
    if pair := schedule(net):
        kind = "chunks" if pair[0] == pair[1] else "windows"
        return f"TBPTT({pair[0]}, {pair[1]}): {kind} of {pair[1]} steps, {carried}"
    if several:
        return f"chunks of {lengths} steps, {carried}{several}"
    new, losses = (
        ranged(values) for values in zip(*((u.new_steps, u.loss_steps) for u in updates))
    )
    with_loss = (
        "" if all(u.new_steps == u.loss_steps for u in updates) else f" and {losses} with a loss"
    )
    counted = (
        f"{new} new steps per update{with_loss}"
        if is_counted(net)
        else f"{losses} steps with a loss per update"
    )
    return f"truncated BPTT, {carried}: {counted}; the gradient reaches {reach} steps"


def facts(net: Network) -> Iterator[str]:
    """The facts of a network."""
    updates, shapes = net.updates, sorted(net.counts)
    passes = {
        graph: sum(n for shape, n in net.counts.items() if shape[2] == graph)
        for graph in (True, False)
    }
    layout = "" if net.is_cell else f" of input {net.layout}"
    shown = f", steps x batch {some_of([f'{T} x {B}' for T, B, graph in shapes if graph])}{layout}"
    without = f", {passes[False]} without a graph" if passes[False] else ""
    yield f"forward passes: {passes[True]} with a graph{shown if passes[True] else ''}{without}"
    yield truncation(net)
    yield from state_facts(net)
    if not updates:
        return
    names = ", ".join(
        dict.fromkeys(u.optimizer or "the script itself, without torch.optim" for u in updates)
    )
    found = [
        " and ".join(f"{rate:.4g}" for rate in u.learning_rates)
        for u in updates
        if u.learning_rates
    ]
    rates = f", learning rate {' to '.join(dict.fromkeys((found[0], found[-1])))}" if found else ""
    backward = f"backward passes per update: {ranged(u.backward for u in updates)}"
    yield f"{pluralize(len(updates), 'update')} by {names}{rates}, {backward}"
    yield checked("gradient", [u.gradient for u in updates if u.gradient])
    if any(u.optimizer for u in updates):
        yield checked("step", [u.step for u in updates if u.step])
    yield clipping(updates)
    if others := net.evidence["other loss"]:
        where = f"the backward pass at {others[0][0]}, after which another optimizer makes its step"
        yield f"its gradients are also those of {where} ({len(others)} of {len(updates)} updates)"
    if evaluated := sum(not u.is_training for u in updates if u.windows):
        yield f"in eval mode in {evaluated} of {len(updates)} updates"


def state_facts(net: Network) -> Iterator[str]:
    """The steps without a loss, where carried states come from, and at which updates there is none."""
    updates, all_updates = [u for u in net.updates if u.windows], net.updates
    new, losses = sum(u.new_steps for u in updates), sum(u.loss_steps for u in updates)
    if updates and not net.is_in_loss:
        yield "its outputs enter the loss through other modules"
    elif any(u.loss_steps < u.new_steps for u in updates) and is_counted(net):
        each = f"{ranged(u.loss_steps for u in updates)} per update"
        is_once = not is_carried(net) and each == "1 per update"
        yield f"steps with a loss: {each if is_once else f'{losses} of {new} ({each}); {new - losses} without'}"
    if not is_carried(net):
        return
    if 3 * (elsewhere := net.origins["elsewhere"]) >= net.origins.total() > 0:
        yield f"the state comes from another place in the data in {elsewhere} of {net.origins.total()} windows or more"
    elif net.origins.keys() - {"before"}:
        kinds = [
            f"{ORIGINS[kind]} ({n} of {net.origins.total()})" for kind, n in net.origins.items()
        ]
        yield f"the state comes from: {', '.join(kinds)}"
    numbers, data = (
        list(dict.fromkeys(update for update, _ in net.resets)),
        {each for _, each in net.resets},
    )
    if numbers in ([], [1]) and "no gradient" not in net.origins:
        yield "the state is never reset as a whole"
    elif 1 < len(numbers) == len(all_updates):
        yield "the state is reset in every update"
    elif numbers[1:]:
        when = ", where the data start again" if len(data) == 1 and data != {None} else ""
        yield f"the state is reset at update {some_of(numbers)}{when}"


def clipping(updates: list[Update]) -> str:
    """How gradients are clipped, of what, and how often that has an effect."""
    found, lines = defaultdict[tuple[Any, ...], list[Clip]](list), list[str]()
    for clip in (clip for u in updates for clip in u.clips):
        found[(clip.kind,) if clip.kind == "script" else clip[:-1]].append(clip)
    for clips in list(found.values())[:3]:
        (kind, limit, place, parameters, own, _), n = clips[0], len(clips)
        of = f"({place}), of {own} parameters of this module and {parameters - own} others"
        looked_at = f"{n} of {sum(u.gradient is not None for u in updates)} updates looked at"
        by_script = f"by the script itself, before the step ({looked_at})"
        acts = sum(clip.acts for clip in clips)
        lines.append(
            by_script if kind == "script" else f"by {kind} {limit:g} {of}; it acts in {acts} of {n}"
        )
    return f"clipping: {'; '.join(lines) or 'none seen'}"


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
    return f"{what}: {len(done)} replayed in float64, each agrees to {worst.error:.0e} of its size, as rounding explains"
