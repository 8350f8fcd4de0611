"""What is probably not meant in an audited loop: one warning for each, with its place and what to do."""

from collections.abc import Iterator
from typing import NamedTuple

from torch_rnn.loop_audit.records import Network
from torch_rnn.loop_audit.watch import Watch

DETACH = "write hidden = hidden.detach() before the next window"
ONE_STEP = "every sequence has one step and starts from zeros, so the recurrent weights have no effect"
MESSAGES = {
    "detach without effect": "the result of detach() is dropped, so the state stays attached to the steps before: "
    + DETACH,
    "state attached": f"the state is attached to the window before{{}}: {DETACH}, and leave out retain_graph=True",
    "state not carried": "every window starts from zeros, though it continues the one before and the script keeps the "
    "last state: pass that state, detached; if the windows are meant to be independent, ignore this",
    "state carried over shuffled batches": "the state is carried over batches that a shuffling DataLoader draws, so it "
    "belongs to other sequences: start every batch from zeros, or draw the batches in order",
    "time and batch swapped": "time and batch are probably swapped: {}. The module takes {}, here {} steps of {} "
    "sequences: check batch_first{} and the shape of the input",
    "gradients never zeroed": "update {} and later ones add their gradient to that of the update before: call "
    "optimizer.zero_grad() once per update",
    "gradient zeroed before the step": "the gradient is zero when update {} is made: call zero_grad() before "
    "backward() or after step(), not between them",
    "clipping without effect": "the gradient is clipped before backward() or after step(), which has no effect: clip "
    "between them",
    "detached at every step": "the state is detached at every step, so no gradient reaches an earlier step: detach "
    "it once per window",
    "no gradient": "no gradient reaches this module, though the optimizer has its parameters: look for detach(), "
    ".data, no_grad() or an output that the loss does not use",
    "parameters outside the optimizer": "{}: a gradient is computed, but no optimizer has the parameter: give it to "
    "the optimizer, or set requires_grad_(False)",
}


class LoopWarning(NamedTuple):
    """Something that is probably not meant."""

    kind: str  # a key of MESSAGES
    place: str  # FILE:LINE of the call
    message: str


def loop_warnings(watch: Watch) -> list[LoopWarning]:
    """All warnings, one for each kind and network."""
    found = [each for net in watch.networks.values() for each in network_warnings(net, watch.backward_failed)]
    found += outside_optimizer(watch)
    return [LoopWarning(kind, place, MESSAGES[kind].format(*values)) for kind, place, *values in dict.fromkeys(found)]


def network_warnings(net: Network, backward_failed: bool) -> Iterator[tuple[str, ...]]:
    """The kind and the place of each warning about a network, and the values for its message."""
    updates = net.updates
    reaching = [u for u in updates if any(w.attached for w in u.windows)]
    if net.dropped is not None:
        yield "detach without effect", net.dropped
    elif net.attached and reaching:
        reach = f"the gradient of update {reaching[-1].number} goes {max(w.back for w in reaching[-1].windows)} updates"
        yield "state attached", net.attached[0], f"; {reach} back, through weights that have changed since"
    elif net.attached and backward_failed:
        yield "state attached", net.attached[0], ", which makes backward() fail"
    if len(net.lost) > 1 and not {"carried", "computed"} & set(net.initials):
        yield "state not carried", net.lost[0]
    if len(net.shuffled) > 1 and not net.attached:
        yield "state carried over shuffled batches", net.shuffled[0]
    reasons = [*([ONE_STEP] if one_step_only(net) else []), *(net.swapped if len(net.swapped) > 1 else [])]
    if reasons:
        first = getattr(net.module, "batch_first", False)
        layout = "(batch, time, feature)" if first else "(time, batch, feature)"
        steps, batch, _ = next(key for key in net.counts if key[2])
        values = reasons[0], layout, str(steps), str(batch), "=True" if first else ""
        yield "time and batch swapped", net.place, *values
    stale = [u for u in updates if u.is_stale and u.backward]
    if len(stale) > 1:
        yield "gradients never zeroed", stale[0].place, str(stale[0].number)
    empty = [u for u in updates if u.is_empty]
    if len(empty) > 1:
        yield "gradient zeroed before the step", net.zeroed or empty[0].place, str(empty[0].number)
    if net.late_clips and not any(u.clip for u in updates):
        yield "clipping without effect", net.late_clips[0]
    unlinked = [u for u in updates if u.unlinked]
    if len(unlinked) > 1 or (unlinked and len(updates) == 1):
        yield "detached at every step", unlinked[0].windows[-1].place
    if len(updates) > 1 and net.parameters and not net.was_reached:
        yield "no gradient", net.place


def one_step_only(net: Network) -> bool:
    """Whether every window has one step and starts from zeros."""
    is_one = all(steps == 1 and batch > 1 for steps, batch, graph in net.counts if graph)
    return net.was_reached and len(net.updates) > 1 and set(net.initials) == {"zeros"} and is_one


def outside_optimizer(watch: Watch) -> Iterator[tuple[str, ...]]:
    """Parameters that have a gradient and that no optimizer has, nor the script changes."""
    seen = [p for module in watch.modules.values() for p in module._parameters.values() if p is not None]
    outside = [p for p in seen if id(p) in watch.with_gradient and id(p) not in watch.in_optimizer]
    unchanged = [watch.with_gradient[id(p)] for p in outside if float(p.detach().sum()) == watch.sums[id(p)]]
    names = list(dict.fromkeys(unchanged))
    if names and watch.in_optimizer and watch.steps:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield "parameters outside the optimizer", watch.first_step, ", ".join(names[:3]) + more
