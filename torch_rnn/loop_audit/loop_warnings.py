"""Warnings of mistakes in an audited loop: one of each kind and module, with place and advice."""

from collections import defaultdict
from typing import Any, NamedTuple

from numpy_rnn.common.errors import some_of
from numpy_rnn.common.format import pluralize
from torch_rnn.loop_audit.records import ELSEWHERE, NO_GRADIENT, OLDER, Evidence, RecurrentModule

# The messages by kind, of those that are certain when they are seen once, and of others. {d} is
# how the state of the module is detached.
ONCE = {
    "state attached": "the state is attached to the window before{}: write {d}",
    "view": "the input {} is viewed as {}, which mixes its rows: use transpose(0, 1)",
    NO_GRADIENT: "training continues from the state of a pass without gradient, as of a validation",
    "no gradient": "no gradient reaches this module, though an optimizer holds its parameters",
    "changed": "{} is changed between its forward pass ({}) and backward(): the gradient is wrong",
    "outside": "{}: no optimizer holds it, though it gets a gradient: give it to one, or freeze it",
    "never changed": "{}: never changes, as no gradient reaches it: use it, or leave it out",
    "rate of a group": "the learning rate of group {} of {} is 0, so that it never changes",
    "input of the loss": "{}",
    "shapes of the loss": "the loss compares shapes {} and {}: each output meets every target",
    "dropped": "the gradients of {} backward passes are zeroed before an optimizer uses them",
    "clip of nothing": "clipping gets no parameters: an iterator can be read only once",
    "clip without effect": "the gradient is clipped before backward() or after step()",
    "rate near zero": "the learning rate falls from {:.2g} to {:.2g}, which changes no weight",
    "graphs kept": "the graphs of {} earlier losses are still in memory: keep loss.item() only",
}
TWICE = {
    "state exchanged": "h_0 is the last cell state c: the state of an LSTM is (h, c)",
    "reverse output": "the reverse direction has read one step at the last output: use its state h",
    "time and batch": "the loss uses the outputs of one sequence, of {} x {}: check batch_first",
    ELSEWHERE: "the state is carried to data that do not follow those it comes from",
    OLDER: "the state is one that an earlier window has used: keep the last state of each window",
    "detached at every step": "the state is detached at every step: detach it once per window",
    "target equals the input": "the target equals the input of the same step: shift it by one step",
    "clip of others": "clipping gets {} parameters, none of this module: use model.parameters()",
    "optimizer made anew": "{} is made anew between updates, which drops its moments: make it once",
    "losses overwritten": "only the last of {} losses per update reaches backward(): add them up",
    "never zeroed": "the gradient of update {} is added to that of the update before: zero_grad()",
    "zeroed before the step": "the gradient is zero in update {}: call zero_grad() after step()",
    "gradient of another loss": "the step uses the gradient of {} too, left by another optimizer",
    "eval mode": "the model is in eval mode in update {}: call model.train() after an evaluation",
}
MISTAKES = ONCE | TWICE
MIN_COPIED = 8  # calls of a cell whose target is their input
NEAR_ZERO = 1e-6  # of the largest learning rate


class LoopWarning(NamedTuple):
    """Something that is probably not meant."""

    kind: str  # a key of MISTAKES
    module: str  # its name; empty if the warning is about the loop
    place: str  # FILE:LINE of the call
    message: str


def loop_warnings(watch: Any) -> list[LoopWarning]:
    """All warnings, those of each module in the order of MISTAKES, then those of the loop."""
    found = dict[tuple[str, str, str], LoopWarning]()
    for net in (*watch.modules, None):
        evidence = loop_evidence(watch) if net is None else module_evidence(net, watch)
        is_pair = net is not None and net.is_lstm
        detach = "state = tuple(s.detach() for s in state)" if is_pair else "h = h.detach()"
        for kind, text in MISTAKES.items():
            if len(evidence[kind]) > (kind in TWICE):
                place, *values = evidence[kind][0]
                message, name = text.format(*values, d=detach), net.name if net else ""
                found.setdefault((kind, place, message), LoopWarning(kind, name, place, message))
    return list(found.values())


def loop_evidence(watch: Any) -> Evidence:
    updates, found = watch.updates, defaultdict(list, watch.evidence)
    records = [record for record in watch.optimizers if record.steps > 1]
    outside, held = set(watch.with_gradient), set[int]()
    for record in watch.optimizers:
        outside -= record.held
    for record in records:
        held |= record.held
        steps = [u for u in updates if u.optimizer == record.number]
        for n, is_scheduled in enumerate(record.scheduled):
            if not is_scheduled and any(steps[-1].rates) and not any(u.rates[n] for u in steps):
                found["rate of a group"].append((steps[0].place, n + 1, record.kind))
        highest = max(max(u.rates) for u in steps)
        low = [u for u in steps if max(u.rates) < NEAR_ZERO * highest]
        if len(low) >= 3 and 4 * len(low) >= len(steps):
            found["rate near zero"].append((low[0].place, highest, max(low[-1].rates)))
    for net in watch.modules:  # a module with another warning explains it
        is_explained = "changed" in net.evidence or not net.ids & watch.with_gradient
        held -= net.ids if is_explained else set()
    kinds = {"outside": outside, "never changed": held - watch.with_gradient}
    for kind, keys in kinds.items() if records else ():
        parameters = [(p, name) for p, name in watch.parameters.items() if p.requires_grad]
        names = [name for p, name in parameters if id(p) in keys]
        found[kind] = [(updates[0].place, some_of(names))] if names else []
    drops = records[0].drops if len(watch.optimizers) == 1 and records else []
    if sum(map(bool, drops)) >= max(2.0, 0.8 * len(drops)):
        found["dropped"] = [(updates[0].place, sum(drops))]
    if any(u.clips for u in updates):
        found["clip without effect"] = []
    if 2 * len(found["losses overwritten"]) < len(updates):  # an evaluation may use the same line
        found["losses overwritten"] = []
    found["eval mode"] = [(u.place, u.number) for u in updates if u.in_eval] + found["eval mode"]
    return found


def module_evidence(net: RecurrentModule, watch: Any) -> Evidence:
    found: Evidence = defaultdict(list, net.evidence)
    updates, failed = [u for u in watch.updates if net in u.modules], watch.failed
    windows = [window for u in updates for window in u.windows(net)]
    carried = sum(window.initial == "carried" for window in windows)
    if len(updates) > 1 and any(key[2] for key in net.passes) and not net.ids & watch.with_gradient:
        found["no gradient"] = [(net.place,)]
    far = attached_reach(net, watch.updates)
    how = f"; {far}" if far else ", which makes backward() fail"
    reached = [p for w in windows for p in w.passes] if far else failed.reached if failed else ()
    attached = [p for p in reached if p.module is net and any(q.age < p.age for q in p.parents)]
    found["state attached"] = [(p.place, how) for p in attached]
    # burn-in and stored states are regular, or start from another state
    is_regular = 3 * len(found[NO_GRADIENT]) > carried
    found[NO_GRADIENT] = [each for each in found[NO_GRADIENT] if each[1] and not is_regular]
    if found["target differs"] or not any(w.with_loss for w in windows):
        found["target equals the input"] = []
    if len({distance for _, distance in found[ELSEWHERE]}) < 2:
        found[ELSEWHERE] = []
    least = {
        ELSEWHERE: carried / 3,
        "reverse output": len(windows),
        "time and batch": len(windows),
        "target equals the input": MIN_COPIED * net.is_cell,
        "clip of others": len(updates),
    }
    return found | {kind: [] for kind, count in least.items() if len(found[kind]) < count}


def attached_reach(net: RecurrentModule, updates: list[Any]) -> str:
    """How far the gradient reaches into earlier updates; empty if it does not."""
    windows = [window for u in updates for window in u.windows(net)]
    back = max((w.passes[-1].age - w.passes[0].age for w in windows), default=0)
    return f"the gradient reaches up to {pluralize(back, 'update')} back" if back else ""
