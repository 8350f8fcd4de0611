"""The recorder of updates: backward passes, clipping, and steps by optimizers or by the script itself."""

import gc
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from torch_rnn.loop_audit import replay
from torch_rnn.loop_audit.data_evidence import DataEvidence
from torch_rnn.loop_audit.loss_evidence import LossEvidence, Parameters
from torch_rnn.loop_audit.origins import Graph, mark_of
from torch_rnn.loop_audit.places import place
from torch_rnn.loop_audit.records import Check, Clip, Evidence, Network, Pass, Update

MAX_REACHED = 20_000  # passes with a gradient whose arrays are kept until an update
MAX_CLIPPINGS = 100
LEAK = 8  # earlier updates whose graphs are alive
TINY_RATE = 1e-3  # of the first learning rate: whether steps still change the weights is looked at


class Updates:
    """What was seen of the updates of all networks."""

    def __init__(self) -> None:
        self.networks: list[Network] = []
        self.evidence: Evidence = defaultdict(list)  # about no single module
        self.data, self.losses, self.parameters = (
            DataEvidence(),
            LossEvidence(self.evidence),
            Parameters(self.evidence),
        )
        self.steps, self.backwards, self.is_in_step, self.backward_failed = 0, 0, False, False
        self.optimizers = set[int]()  # ids of those that have made a step
        self.backwards_used = 0  # before the latest step of any
        self.clippings: list[tuple[Clip, set[int]]] = []  # and the ids of the parameters
        self.graph, self.by_grad = (
            Graph([]),
            False,
        )  # of the backward pass: what is differentiated, by autograd.grad
        self.reached = dict[Pass, None]()  # passes that it reaches
        self.chain = 0  # the loss whose gradient the script passes on
        self.expected: dict[Network, Callable[[], Check]] = {}
        self.before_step: dict[
            Network, list[tuple[torch.Tensor, torch.Tensor]]
        ] = {}  # weights, and copies of them

    def before_backward(
        self, roots: Any = (), given: Any = None, *_: Any, by_grad: bool = False, **kwargs: Any
    ) -> None:
        """Look at what is differentiated, and at the gradients that are there already."""
        roots, given = (
            kwargs.get("tensors", kwargs.get("outputs", roots)),
            kwargs.get("grad_tensors", given),
        )
        roots = [roots] if isinstance(roots, torch.Tensor) else list(roots)
        self.graph, self.by_grad, self.chain = Graph(roots), by_grad, self.chain + 1
        for root in (
            roots if given is not None and not by_grad else ()
        ):  # the script may pass a gradient on by itself
            mark = mark_of(root)
            if mark is not None and any(p.has_leaf_state for p in mark[0].net.extent):
                del self.graph.outputs[mark]
                self.chain -= 1
        self.losses.reached |= self.graph.losses
        self.data.backward()
        if len(roots) == 1:
            self.losses.broadcast(roots[0].grad_fn, place())
        self.expected = {}  # a closure computes another gradient for the step
        for net in () if by_grad else self.networks:
            if net.is_due or net.reached:
                grads = {
                    name: p.grad
                    for name, p in net.parameters.items()
                    if p.grad is not None and p.grad.any()
                }
                if net.reached and not grads:
                    if not self.is_in_step and not any(each.takes_gradient for each in net.reached):
                        net.evidence["gradient dropped"].append(
                            (net.backwards[-1], len(net.evidence["gradient dropped"]))
                        )
                    net.clear_gradient()
                if net.is_due and not net.reached:
                    net.earlier = {name: g.detach().clone() for name, g in grads.items()}

    def reach(self, each: Pass, name: str, index: int, gradients: Any) -> None:
        """Record the gradient of an output of a pass, one of those of a node of the graph."""
        net, gradient, steps = each.net, gradients[index], each.at.steps
        if each not in self.reached:
            self.reached[each] = None
            net.chains.setdefault(self.chain, []).append(each)
        dy = net.reached.setdefault(each, {})
        net.was_reached = True
        if len(net.reached) > MAX_REACHED:
            raise RuntimeError(
                f"more than {MAX_REACHED} passes have a gradient and no update follows"
            )
        if gradient is None:
            return
        if each.inputs is not None:
            dy[name] = dy[name] + gradient if name in dy else gradient.detach().clone()
        extent, is_direct = net.extent.get(each, 0), (each, name) in self.graph.outputs
        net.is_in_loss = net.is_in_loss or is_direct
        if name != "out":
            extent = steps if extent == steps or gradient.any() else extent
            if is_direct and extent == steps:
                net.loss_rows[each].add(steps - 1)
        else:
            rows = net.out_rows[each] = net.rows(each, gradient)
            if (
                rows == {steps - 1}
                and steps > 1
                and (net.is_bidirectional or each.lengths[0] < steps)
            ):
                net.evidence["last output"].append((each.at.place, net.is_bidirectional))
            extent = max(
                extent, steps if rows and net.is_bidirectional else max(rows, default=-1) + 1
            )
            if is_direct:
                net.loss_rows[each] |= rows
                if gradient.dim() == 3 and net.compares_data:
                    used = net.by_time(gradient, steps, each.at.batch).any(dim=-1)
                    if (
                        each.at.batch > 1
                        and int(used.any(dim=0).sum()) == 1
                        and int(used.any(dim=1).sum()) > 1
                    ):
                        net.swapped(
                            "the loss uses several steps of one sequence", steps, each.at.batch
                        )
        net.extent[each] = extent

    def after_backward(self, *_: Any, **__: Any) -> None:
        """Keep copies of the gradients, and compare the weights and inputs with those of the forward pass."""
        self.backward_failed = self.backward_failed or isinstance(sys.exc_info()[1], RuntimeError)
        self.backwards += 1
        for each in sorted(self.reached, key=lambda each: -each.at.number):
            self.data.reached(each)
            if each.feeds and each.net.loss_rows.get(
                each
            ):  # what it is computed from enters the loss through it
                for fed in each.feeds:
                    if fed.net.extent.get(fed):
                        fed.net.loss_rows[fed] |= fed.net.out_rows.get(fed) or {fed.at.steps - 1}
        where, with_gradient = place(), self.parameters.with_gradient
        with_gradient |= set(map(id, self.graph.leaves))
        for net in dict.fromkeys(each.net for each in self.reached):
            net.backwards.append(where)
            if net.other_step:
                net.evidence["other loss"].append((net.other_step,))
            net.by_grad = net.by_grad or self.by_grad
            if net.is_due:
                named = net.parameters
                net.gradients = {
                    name: p.grad.detach().clone() for name, p in named.items() if p.grad is not None
                }
                with_gradient |= {
                    id(p) for p in named.values() if p.grad is not None and bool(p.grad.any())
                }
                net.in_loss |= self.graph.leaves.keys() & set(named.values())
                self.look_for_changes(net, where)
            if not net.updates or not net.updates[-1].optimizer:  # so may the next
                net.after_backward = [p.detach().clone() for p in net.parameters.values()]
        self.graph, self.reached = Graph([]), {}

    def look_for_changes(self, net: Network, where: str) -> None:
        """See whether the weights or inputs of the reached passes have changed since."""
        pairs = dict[
            tuple[str, int], Any
        ]()  # by name and memory: what it is now and was, and the place of the pass
        for each in self.reached:
            if each.net is net and (i := each.inputs) is not None:
                pairs["the input", id(i)] = i.live, i.x, each
                if each.at.update == len(net.updates) and ("", id(i.weights)) not in pairs:
                    for name, now in replay.weights_of(net.module_ref()).items():
                        pairs.setdefault(
                            (name, id(i.weights)), (now.detach(), i.weights[name], each)
                        )
        for (name, _), (now, before, each) in pairs.items():
            if not torch.equal(now.reshape(-1), before.reshape(-1)) and bool(
                before.isfinite().all()
            ):
                net.evidence["input changed"].append((where, name, each.at.place))

    def clip(self, kind: str, result: Any, parameters: Any, *args: Any, **kwargs: Any) -> None:
        """Remember a call of clip_grad_norm_ or clip_grad_value_, if it is between backward and step."""
        limit = float(
            [*args, *(kwargs[name] for name in ("max_norm", "clip_value") if name in kwargs)][0]
        )
        clipped = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
        largest = (bool((p.grad.abs() >= limit).any()) for p in clipped if p.grad is not None)
        acts, own = (
            result > limit if kind == "norm" and result is not None else any(largest),
            {id(p) for p in clipped},
        )
        if self.backwards > self.backwards_used:
            self.clippings.append((Clip(kind, limit, place(), len(own), 0, bool(acts)), own))
            del self.clippings[:-MAX_CLIPPINGS]
        else:
            self.evidence["clipping without effect"].append((place(),))

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        """Replay the gradient and the step, where that is due. A closure forgets them: see before_backward."""
        self.is_in_step, self.expected, self.before_step, own = (
            True,
            {},
            {},
            self.parameters.held(optimizer),
        )
        self.parameters.step_begins(own, self.networks)
        ids, rates = (
            {id(p) for p in own},
            [float(group.get("lr", 1.0)) for group in optimizer.param_groups],
        )
        for net in self.networks:
            if net.updates and max(rates) < TINY_RATE * max(
                net.updates[0].learning_rates, default=0.0
            ):
                trained = [
                    p for p in net.parameters.values() if id(p) in ids and p.grad is not None
                ]
                self.before_step[net] = [(p, p.detach().clone()) for p in trained]
            if net.is_due and net.reached and any(id(p) in ids for p in net.parameters.values()):
                self.expected[net] = replay.step_check(optimizer, net.parameters)

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update of each network that the optimizer has."""
        self.is_in_step, self.steps = False, self.steps + 1
        self.optimizers.add(id(optimizer))
        where, own = place(), self.parameters.held(optimizer)
        ids, rates = (
            {id(p) for p in own},
            tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups),
        )
        self.parameters.step_ends(own, self.steps, where)
        self.losses.update()
        clippings = [(clip, own) for clip, own in self.clippings if not own or own & ids]
        for net in self.networks:
            if not ids.isdisjoint(map(id, net.parameters.values())):
                before = self.before_step.get(net, [])
                if before and all(
                    torch.equal(p, old) and p.grad is not None and p.grad.any() for p, old in before
                ):
                    net.evidence["step without effect"].append(
                        (where, len(net.updates) + 1, max(rates))
                    )
                self.update(net, optimizer, where, rates, clippings)
            elif (
                net.reached
                and net.backwards
                and any(p.grad is not None for p in net.parameters.values())
            ):
                net.other_step = net.backwards[-1]
        self.clippings = [each for each in self.clippings if each not in clippings]
        self.backwards_used, self.before_step = self.backwards, {}

    def look_for_changed_weights(self) -> None:
        """Record an update of the networks whose weights the script itself has changed since a backward pass."""
        found = list[Network]()
        for net in () if self.is_in_step else self.networks:
            now, before = list(net.parameters.values()), net.after_backward
            if before is not None and not (
                len(now) == len(before) and all(map(torch.equal, before, now))
            ):
                found.append(net)
        for net in found:
            self.update(net, None, net.backwards[-1], (), self.clippings)
        if found:
            self.steps, self.backwards_used, self.clippings = self.steps + 1, self.backwards, []
            self.losses.update()

    def update(
        self, net: Network, optimizer: Any, where: str, rates: tuple[float, ...], clippings: Any
    ) -> None:
        """Record an update of a network, and what it says about the loop."""
        number, named, module = len(net.updates) + 1, net.parameters, net.module_ref()
        own = {id(p) for p in named.values()}
        clips = [clip._replace(own=len(own & ids)) for clip, ids in clippings]
        gradient, check = None, None
        if net.is_due and net.reached and module is not None and named:
            gradient = replay.check_gradient(net, module)
            self.look_at_gradients(net, optimizer, where, clips)
            if optimizer is not None:
                closure = Check(None, reason="a closure computes the gradient within the step")
                check = self.expected[net]() if net in self.expected else closure
        passes = [each for each in net.extent if each.at.update == number - 1] or list(net.extent)
        if len(net.backwards) == 1 and any(each.at.number in net.cut for each in passes):
            net.evidence["detached at every step"].append((passes[-1].at.place,))
        streams = dict.fromkeys(each.at.stream for each in passes)
        net.resets += [
            (number, stream.begin[1]) for stream in streams if stream.begin[0] == number - 1
        ]
        if clips and not any(clip.own for clip in clips) and net.backwards and named:
            net.evidence["clipping of others"] += [
                (c.place, c.parameters) for c in clips if c.limit < float("inf")
            ][:1]
        net.updates.append(Update(
            net.name, number, where, "" if optimizer is None else type(optimizer).__name__, rates, net.windows(),
            *net.count_steps(), len(net.backwards) or self.backwards - self.backwards_used,
            all(each.at.is_training for each in passes), tuple(clips), gradient, check,
        ))  # fmt: skip
        net.begin_update()
        if number % (LEAK + 2) == 0:
            self.look_for_graphs(net, where)

    def look_at_gradients(
        self, net: Network, optimizer: Any, where: str, clips: list[Clip]
    ) -> None:
        """Compare the gradient that an update uses with that of the backward pass."""
        number, now = (
            len(net.updates) + 1,
            {name: p.grad for name, p in net.parameters.items() if p.grad is not None},
        )
        had = any(bool(g.any()) for g in net.gradients.values())
        if net.earlier and net.updates:
            net.evidence["gradients never zeroed"].append((where, number))
        if net.by_grad or optimizer is None:
            return
        if had and not any(bool(g.any()) for g in now.values()):
            net.evidence["gradient zeroed before the step"].append((where, number))
            return
        changed = [
            n for n, g in now.items() if n in net.gradients and not torch.equal(g, net.gradients[n])
        ]
        if changed and not clips:
            limit = max(float(g.abs().max()) for g in now.values())
            clips.append(Clip("script", limit, "", len(changed), len(changed), True))

    def look_for_graphs(self, net: Network, where: str) -> None:
        """See whether the graphs of earlier updates are still alive."""
        net.firsts = [(update, each) for update, each in net.firsts if each() is not None]
        earlier = [each for update, each in net.firsts if update < len(net.updates) - 1]
        if len(earlier) >= LEAK:
            gc.collect()
            alive = [each for reference in earlier if (each := reference()) is not None]
            if len(alive) >= LEAK and not any(each.is_attached for each in alive):
                net.evidence["graphs kept"].append((where, len(alive)))
