"""The report of an audited loop: its facts in sentences, its warnings, JSON, and assertions for tests."""

import textwrap
from typing import Any

from torch_rnn.loop_audit.facts import INITIAL, STARTS, facts, schedule, truncation
from torch_rnn.loop_audit.loop_warnings import LoopWarning, loop_warnings
from torch_rnn.loop_audit.records import Network, Update
from torch_rnn.loop_audit.watch import Watch

NOTHING = (
    "no call of nn.RNN, nn.LSTM, nn.GRU or a cell of them was seen; a recurrence of other modules, such as nn.Linear, "
    "is not followed"
)
WIDTH = 100


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
        """Raise AssertionError unless the loop is TBPTT(k1, k2).

        Every update has one window: k1 new steps with a loss, or k1 new steps of which some have a loss, but for the
        last of an epoch; a gradient that reaches k2 steps, but near the start; and an initial state that is carried and
        detached, or zeros at the start of a series.
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
