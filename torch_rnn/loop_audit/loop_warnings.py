"""Warnings of mistakes in an audited loop: one warning for each kind and network, with its place and advice."""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from numpy_rnn.common.format import pluralize
from torch_rnn.loop_audit.records import MAX_COMPARED, Evidence, Network
from torch_rnn.loop_audit.watch import Watch

MIN_COPIED = 8  # calls of a cell whose target is their input
# By kind: how often it must be seen, and the message. {d} is how the state of the module is detached.
MISTAKES = {
    "detach without effect": (1, "the result of detach() is dropped, so the state stays attached: write {d}"),
    "state attached": (1, "the state is attached to the window before{}: write {d}, without retain_graph"),
    "attached in an update": (2, "each backward() of an update goes through all windows before, as the state is "
        "attached: write {d}, without retain_graph"),
    "state exchanged": (2, "h_0 is the last cell state c and not h: the output of the module is (out, (h, c)), and its "
        "state is (h, c), in this order"),
    "last output": (2, "{}"),
    "view": (1, "the input, of shape {0}, is viewed as {1}, which mixes its rows: exchange axes by transpose(0, 1), "
        "not by view() or reshape()"),
    "state not carried": (2, "every window starts from zeros, though it continues the one before, whose last state the "
        "script keeps: pass that state, detached, or ignore this if it is meant"),
    "state: elsewhere": (2, "the state is carried to data that do not follow those it comes from, as after a shuffle: "
        "start from zeros there, or keep the data in order"),
    "state: no gradient": (1, "training continues from the state of a pass without gradient, such as a validation: "
        "use another variable for the state there"),
    "state: epoch": (1, "the state at the end of the data is carried to their start: set it to zeros at the start of "
        "every epoch"),
    "state: batch": (1, "a state of {} sequences is used for {}: they are others of the data; drop the smaller batch "
        "(drop_last=True), or start it from zeros"),
    "state: overlap": (2, "the state is carried, but the windows overlap: each starts {} steps after the one before, "
        "and has {}: move on by whole windows, or start from zeros"),
    "data overwritten": (3, "the script writes into its training data between two passes, as by an assignment to a "
        "slice: sample with a copy, such as data[i:j].clone()"),
    "state: older": (2, "the state is an older one, which another window has used before: keep the last state of every "
        "window for the next"),
    "time and batch swapped": (2, "time and batch are probably swapped: {} ({} is {} steps of {} sequences): "
        "check batch_first"),
    "target equals the input": (2, "the target equals the input of the same step: shift the target by one step, if the "
        "next step is to be predicted"),
    "gradients never zeroed": (2, "the gradient of update {} is added to that of the update before: call "
        "optimizer.zero_grad() once per update"),
    "gradient zeroed before the step": (2, "the gradient is zero when update {} is made: call zero_grad() before "
        "backward() or after step(), not between them"),
    "gradient dropped": (2, "the gradient of {} backward passes is zeroed before an optimizer uses it, so their data "
        "train nothing: call step() after each, or zero_grad() less often"),
    "clipping of others": (2, "clipping gets {} parameters, none of this module: give it the parameters of the whole "
        "model, such as model.parameters()"),
    "detached at every step": (2, "the state is detached at every step, so no gradient reaches an earlier step: "
        "detach it once per window"),
    "no gradient": (1, "no gradient reaches this module, though the optimizer has its parameters: look for detach(), "
        ".data, no_grad() or an output that the loss does not use"),
    "input changed": (1, "{} is changed between its forward pass ({}) and backward(), so the gradient is wrong: "
        "change it after the update, or give the module a copy"),
    "gradient differs": (1, "the gradient of update {} differs from a float64 replay by {} of its size in {}: look for "
        "changes of weights, inputs or gradients in between"),
    "step differs": (1, "update {} differs from a float64 replay of {} in {}: look for code that changes the weights "
        "around step()"),
    "step without effect": (3, "update {0} changes no weight, as the learning rate is {1:.1g}: look at the scheduler, "
        "and whether it counts epochs"),
    "eval mode": (2, "the model is in eval mode in update {}, so that dropout is off: call model.train() after an "
        "evaluation"),
    "graphs kept": (1, "the graphs of {} earlier updates are still in memory, as in a sum or list of losses: keep "
        "loss.item(), not the loss itself"),
    # about no single module
    "softmax": (1, "the input of {1} went through a {0}, which {1} applies itself: leave out the {0}"),
    "shapes of the loss": (1, "the loss compares shapes {0} and {1}, so that every output meets every target: make "
        "them the same, such as by squeeze(-1)"),
    "losses overwritten": (2, "only the last of {} losses per update reaches backward(): add them up, or call "
        "backward() on each"),
    "clipping without effect": (1, "the gradient is clipped before backward() or after step(), which has no effect: "
        "clip between them"),
    "update not finite": (1, "update {} is made with a gradient that is NaN or infinite: look for it there; clip the "
        "gradient, or lower the learning rate"),
    "parameters outside the optimizer": (1, "{}: no optimizer has it, though it gets a gradient: give it to "
        "one, or set requires_grad_(False)"),
    "parameters never changed": (1, "{}: never changes, as no gradient reaches it: use it, or leave it out"),
}  # fmt: skip
LAST_OUTPUT = {
    True: "the reverse direction has read one step at the last output: use the last states, cat((h[-2], h[-1]), 1)",
    False: "the last output is padding for all sequences but the longest: use the last state h[-1], or the output at "
    "the length of each",
}


class LoopWarning(NamedTuple):
    """Something that is probably not meant."""

    kind: str  # a key of MISTAKES
    network: str  # the name of the module; empty if the warning is about the loop
    place: str  # FILE:LINE of the call
    message: str


def loop_warnings(watch: Watch) -> list[LoopWarning]:
    """All warnings, those of each network in the order of MISTAKES, then those of the loop."""
    found = dict[tuple[str, str, str], LoopWarning]()
    for net in (*watch.updates.networks, None):
        evidence, contradicted = (
            loop_evidence(watch) if net is None else network_evidence(net, watch)
        )
        detach = (
            "state = tuple(s.detach() for s in state)"
            if net and net.is_lstm
            else "hidden = hidden.detach()"
        )
        for kind, (enough, text) in MISTAKES.items():
            if len(evidence[kind]) >= enough and not contradicted.get(kind):
                place, *values = evidence[kind][0]
                each = LoopWarning(
                    kind, net.name if net else "", place, text.format(*values, d=detach)
                )
                found.setdefault((kind, place, each.message), each)
    return list(found.values())


def loop_evidence(watch: Watch) -> tuple[Evidence, dict[str, Any]]:
    """The evidence about no single network, and which kinds are contradicted."""
    updates, parameters, networks = watch.updates, watch.updates.parameters, watch.updates.networks
    evidence, first = defaultdict(list, updates.evidence), parameters.first_step
    if updates.steps > 1 and first:
        unchanged, held, reached = (
            watch.unchanged,
            parameters.in_optimizer,
            parameters.with_gradient,
        )
        mistakes = {"input changed", "last output"}  # which explain it
        excused = [
            n
            for n in networks
            if not n.was_reached or is_one_step(n) or mistakes & n.evidence.keys()
        ]
        unused = {id(p) for net in excused for p in net.parameters.values()}
        if outside := [key for key in unchanged if key in reached - held]:
            evidence["parameters outside the optimizer"] = [(first, parameters.named(outside))]
        if never := [key for key in unchanged if key in held - reached - unused]:
            evidence["parameters never changed"] = [(first, parameters.named(never))]
    contradicted = {
        "clipping without effect": any(u.clips for net in networks for u in net.updates)
    }
    # an evaluation may use the same line
    contradicted["losses overwritten"] = 2 * len(evidence["losses overwritten"]) < updates.steps
    return evidence, contradicted


def network_evidence(net: Network, watch: Watch) -> tuple[Evidence, dict[str, Any]]:
    """The evidence about a network, and which kinds are contradicted."""
    updates, evidence, reach = net.updates, defaultdict(list, net.evidence), attached_reach(net)
    sizes = [(steps, batch) for steps, batch, has_graph in net.counts if has_graph]
    if (
        len(updates) > 1
        and is_one_step(net)
        and all(batch > 1 for _, batch in sizes)
        and not net.is_cell
    ):
        swapped = net.place, "each sequence has one step from zeros", net.layout, *sizes[0]
        evidence["time and batch swapped"] = [swapped] * 2
    if len(updates) > 1 and net.parameters and not net.was_reached:
        evidence["no gradient"] = [(net.place,)]
    if dropped := len(evidence["gradient dropped"]):
        evidence["gradient dropped"][0] = (evidence["gradient dropped"][0][0], dropped)
    for u in updates:
        if net.has_modes and not u.is_training and u.windows:
            evidence["eval mode"].append((u.windows[0].place, u.number))
        if (check := u.gradient) and not check.is_right and not net.evidence.get("input changed"):
            evidence["gradient differs"].append(
                (u.place, u.number, f"{check.error:.2g}", check.name)
            )
        if (check := u.step) and not check.is_right:
            evidence["step differs"].append((u.place, u.number, u.optimizer, check.name))
    if evidence["state: no gradient, eval"]:
        evidence["state: no gradient"] = evidence["state: no gradient, eval"]
    number, carried = (
        Counter({kind: len(found) for kind, found in evidence.items()}),
        net.origins.total(),
    )
    contradicted = {
        "gradient dropped": len(watch.updates.optimizers) != 1,
        "state attached": number["detach without effect"] or not (reach or watch.updates.backward_failed),
        "attached in an update": reach or not any(u.backward > 1 for u in updates),
        "last output": number["last output"] < sum(len(u.windows) for u in updates),
        "state not carried": {"carried", "computed"} & set(net.initials),
        "state: no gradient": not number["state: no gradient, eval"] and 3 * number["state: no gradient"] > carried,
        "state: overlap": 3 * number["state: overlap"] < min(carried, MAX_COMPARED),
        "state: elsewhere": number["state attached"] or 3 * number["state: elsewhere"] < carried,
        "state: epoch": number["state: elsewhere"] and 3 * number["state: elsewhere"] >= carried,
        "target equals the input": not net.is_in_loss or number["target differs"]
        or (net.is_cell and number["target equals the input"] < MIN_COPIED),
        "clipping of others": number["clipping of others"] < len(updates),
    }  # fmt: skip
    attached = f"; {reach}" if reach else ", which makes backward() fail"
    evidence["state attached"] = [(place, attached) for (place,) in evidence["state attached"]]
    evidence["last output"] = [
        (place, LAST_OUTPUT[two_ways]) for place, two_ways in evidence["last output"]
    ]
    return evidence, contradicted


def is_one_step(net: Network) -> bool:
    """Whether every pass has one step and starts from zeros, so that the recurrent weights have no effect."""
    lengths = {steps for steps, _, has_graph in net.counts if has_graph}
    return net.was_reached and set(net.initials) == {"zeros"} and lengths == {1}


def attached_reach(net: Network) -> str:
    """How far the gradient of the latest attached update reaches; empty if there is none."""
    attached = [
        update for update in net.updates if any(window.attached for window in update.windows)
    ]
    if not attached:
        return ""
    back = max(window.back for window in attached[-1].windows)
    return f"the gradient of update {attached[-1].number} reaches {pluralize(back, 'update')} back"
