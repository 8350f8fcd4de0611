"""What is probably not meant in an audited loop: one warning for each, with its place and what to do."""

from collections.abc import Iterator
from typing import NamedTuple

from torch_rnn.loop_audit.records import Network
from torch_rnn.loop_audit.watch import Watch

DETACH = "write hidden = hidden.detach() before the next window"


class LoopWarning(NamedTuple):
    """Something that is probably not meant."""

    kind: str
    place: str  # FILE:LINE of the call
    message: str


def loop_warnings(watch: Watch) -> list[LoopWarning]:
    """All warnings, one for each kind and network."""
    found = [warning for net in watch.networks.values() for warning in network_warnings(net, watch)]
    return [*dict.fromkeys(found), *parameter_warnings(watch)]


def network_warnings(net: Network, watch: Watch) -> Iterator[LoopWarning]:
    """Warnings about the state, the gradient and the steps of one network."""
    updates = net.updates
    reaching = [u for u in updates if any(w.attached for w in u.windows)]
    attached = net.failed or next(iter(net.attached), None)
    if net.dropped is not None:
        message = f"the result of detach() is dropped, so the state stays attached to the steps before: {DETACH}"
        yield LoopWarning("detach without effect", net.dropped, message)
    elif attached is not None and (reaching or net.failed or watch.backward_failed):
        reach = (
            f"; the gradient of update {reaching[-1].number} goes {max(w.back for w in reaching[-1].windows)} "
            "updates back, through weights that have changed since"
            if reaching
            else ", which makes backward() fail"
        )
        message = f"the state is attached to the window before{reach}: {DETACH}, and leave out retain_graph=True"
        yield LoopWarning("state attached", attached.place, message)
    carries = net.initials.get("carried", 0)
    if len(net.lost) > 1 and not carries and not net.initials.get("computed"):
        message = (
            "every window starts from zeros, though it continues the one before and the script keeps the last state: "
            "pass that state, detached; if the windows are meant to be independent, ignore this"
        )
        yield LoopWarning("state not carried", net.lost[0].place, message)
    if len(net.shuffled) > 1 and not any(p.link is not None for p in net.shuffled):
        message = (
            "the state is carried over batches that a shuffling DataLoader draws, so it belongs to other sequences: "
            "start every batch from zeros, or draw the batches in order"
        )
        yield LoopWarning("state carried over shuffled batches", net.shuffled[0].place, message)
    if len(net.swapped) > 1 or one_step_only(net):
        yield swapped(net)
    stale = [u for u in updates if u.is_stale and u.backward]
    if len(stale) > 1:
        message = (
            f"update {stale[0].number} and later ones add their gradient to that of the update before: call "
            "optimizer.zero_grad() once per update"
        )
        yield LoopWarning("gradients never zeroed", stale[0].place, message)
    empty = [u for u in updates if u.is_empty]
    if len(empty) > 1:
        message = (
            f"the gradient is zero when update {empty[0].number} is made: call zero_grad() before backward() or "
            "after step(), not between them"
        )
        yield LoopWarning("gradient zeroed before the step", net.zeroed or empty[0].place, message)
    if net.late_clips and not any(u.clip for u in updates):
        message = "the gradient is clipped before backward() or after step(), which has no effect: clip between them"
        yield LoopWarning("clipping without effect", net.late_clips[0], message)
    unlinked = [u for u in updates if u.unlinked]
    if len(unlinked) > 1 or (unlinked and len(updates) == 1):
        message = (
            "the state is detached at every step, so no gradient reaches an earlier step: detach it once per window"
        )
        yield LoopWarning("detached at every step", unlinked[0].windows[-1].place, message)
    if len(updates) > 1 and net.parameters and not net.was_reached:
        message = (
            "no gradient reaches this module, though the optimizer has its parameters: look for detach(), .data, "
            "no_grad() or an output that the loss does not use"
        )
        yield LoopWarning("no gradient", net.place, message)


def one_step_only(net: Network) -> bool:
    """Whether every window has one step and starts from zeros."""
    return (
        net.was_reached
        and len(net.updates) > 1
        and set(net.initials) == {"zeros"}
        and all(steps == 1 and batch > 1 for steps, batch, graph in net.counts if graph)
    )


def swapped(net: Network) -> LoopWarning:
    """The warning that time and batch are swapped, and what it is concluded from."""
    if one_step_only(net):
        seen = "every sequence has one step and starts from zeros, so the recurrent weights have no effect"
    else:
        seen = net.swapped[0]
    first = getattr(net.module, "batch_first", False)
    layout = "(batch, time, feature)" if first else "(time, batch, feature)"
    steps, batch, _ = next(key for key in net.counts if key[2])
    message = (
        f"time and batch are probably swapped: {seen}. The module takes {layout}, here {steps} steps of {batch} "
        f"sequences: check batch_first{'=True' if first else ''} and the shape of the input"
    )
    return LoopWarning("time and batch swapped", net.place, message)


def parameter_warnings(watch: Watch) -> Iterator[LoopWarning]:
    """Parameters that have a gradient and that no optimizer has, nor the script changes."""
    if not watch.in_optimizer or not watch.steps:
        return
    seen = [p for module in watch.modules.values() for p in module._parameters.values() if p is not None]
    outside = [p for p in seen if id(p) in watch.with_gradient and id(p) not in watch.in_optimizer]
    unchanged = [watch.with_gradient[id(p)] for p in outside if float(p.detach().sum()) == watch.sums[id(p)]]
    names = list(dict.fromkeys(unchanged))
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        message = (
            f"{', '.join(names[:3])}{more}: a gradient is computed, but no optimizer has the parameter: give it "
            "to the optimizer, or set requires_grad_(False)"
        )
        yield LoopWarning("parameters outside the optimizer", watch.first_step, message)
