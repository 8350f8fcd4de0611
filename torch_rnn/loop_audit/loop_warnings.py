"""Warnings of mistakes in an audited loop: one warning for each kind and network, with its place and advice."""

from collections.abc import Iterator
from typing import NamedTuple

from torch_rnn.loop_audit.records import SWAPPED, Network
from torch_rnn.loop_audit.watch import Watch

DETACH = "write hidden = hidden.detach() before the next window"
ONE_STEP = "every sequence has one step and starts from zeros, so the recurrent weights have no effect"
# By kind: how often it must be seen, and the message.
MISTAKES = {
    "detach without effect": (1, "the result of detach() is dropped, so the state stays attached to the steps before: "
        + DETACH),
    "state attached": (1, f"the state is attached to the window before{{}}: {DETACH}, and leave out retain_graph=True"),
    "state not carried": (2, "every window starts from zeros, though it continues the one before and the script keeps "
        "the last state: pass that state, detached; if the windows are meant to be independent, ignore this"),
    "state carried over shuffled batches": (2, "the state is carried over batches that a shuffling DataLoader draws, "
        "so it belongs to other sequences: start every batch from zeros, or draw the batches in order"),
    SWAPPED: (2, "time and batch are probably swapped: {}. The module takes {}, here {} steps of {} "
        "sequences: check batch_first{} and the shape of the input"),
    "gradients never zeroed": (2, "update {} and later ones add their gradient to that of the update before: call "
        "optimizer.zero_grad() once per update"),
    "gradient zeroed before the step": (2, "the gradient is zero when update {} is made: call zero_grad() before "
        "backward() or after step(), not between them"),
    "clipping without effect": (1, "the gradient is clipped before backward() or after step(), which has no effect: "
        "clip between them"),
    "detached at every step": (1, "the state is detached at every step, so no gradient reaches an earlier step: "
        "detach it once per window"),
    "no gradient": (1, "no gradient reaches this module, though the optimizer has its parameters: look for detach(), "
        ".data, no_grad() or an output that the loss does not use"),
    "parameters outside the optimizer": (1, "{}: a gradient is computed, but no optimizer has the parameter: give it "
        "to the optimizer, or set requires_grad_(False)"),
}  # fmt: skip


class LoopWarning(NamedTuple):
    """Something that is probably not meant."""

    kind: str  # a key of MISTAKES
    place: str  # FILE:LINE of the call
    message: str


def loop_warnings(watch: Watch) -> list[LoopWarning]:
    """All warnings, those of each network in the order of MISTAKES."""
    found = [each for net in watch.networks.values() for each in network_warnings(net, watch.backward_failed)]
    outside = watch.with_gradient - watch.in_optimizer
    unchanged = [name for p, (name, sum_) in watch.seen.items() if p in outside and float(p.detach().sum()) == sum_]
    if unchanged and watch.in_optimizer and watch.steps:
        more = f" and {len(unchanged) - 3} more" if len(unchanged) > 3 else ""
        found.append(("parameters outside the optimizer", watch.first_step, ", ".join(unchanged[:3]) + more))
    found = list(dict.fromkeys(found))
    return [LoopWarning(kind, place, MISTAKES[kind][1].format(*values)) for kind, place, *values in found]


def network_warnings(net: Network, backward_failed: bool) -> Iterator[tuple[str, ...]]:
    """The kind and the place of each warning about a network, and the values for its message."""
    updates, evidence, reach = net.updates, dict(net.evidence), attached_reach(net)
    sizes = [(steps, batch) for steps, batch, has_graph in net.counts if has_graph]
    is_one_step = set(net.initials) == {"zeros"} and all(steps == 1 and batch > 1 for steps, batch in sizes)
    if len(updates) > 1 and is_one_step and net.was_reached:
        evidence[SWAPPED] = [net.swapped(ONE_STEP, *sizes[0])] * 2
    if len(updates) > 1 and net.parameters and not net.was_reached:
        evidence["no gradient"] = [(net.place,)]
    contradicted = {
        "state attached": "detach without effect" in evidence or not (reach or backward_failed),
        "state not carried": {"carried", "computed"} & set(net.initials),
        "state carried over shuffled batches": "state attached" in evidence,
        "clipping without effect": any(update.clip for update in updates),
        "detached at every step": len(updates) > 1 == len(evidence.get("detached at every step", ())),
    }
    for kind, (enough, _) in MISTAKES.items():
        found = evidence.get(kind, [])
        if len(found) >= enough and not contradicted.get(kind):
            yield kind, *found[0], f"; {reach}" if reach else ", which makes backward() fail"


def attached_reach(net: Network) -> str:
    """How far the gradient of the latest attached update reaches; empty if there is none."""
    attached = [update for update in net.updates if any(window.attached for window in update.windows)]
    if not attached:
        return ""
    number, back = attached[-1].number, max(window.back for window in attached[-1].windows)
    return f"the gradient of update {number} reaches {back} updates back, through weights that have changed since"
