"""The recorder of a loop: forward passes, losses, backward passes, clipping and steps.

Its hooks in torch leave a script as it is: an error of the audit ends the audit alone.
"""

import gc
import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any
from unittest import mock
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils.weak import WeakIdKeyDictionary

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit import records
from torch_rnn.loop_audit.records import Evidence, Graph, Pass, has_gradient, held_by, place

SAME_SHAPE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOSSES: Any = *SAME_SHAPE, "cross_entropy", "nll_loss", "kl_div", "ctc_loss", "binary_cross_entropy"
LOSSES += ("binary_cross_entropy_with_logits",)
MODAL = nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm | nn.RNNBase
MAX_CALLS, MAX_BACKWARDS, MIN_KEPT = 10_000, 1000, 8  # remembered; graphs of earlier losses
LOOKED_AT = {0, 1, 2, *(2**n for n in range(2, 16))}  # updates before copies of the inputs
NUMBERS, MAX_KNOWN, MAX_NODES = 8, 40_000, 200


def listed(tensors: Any) -> list[Any]:
    return [] if tensors is None else [tensors] if torch.is_tensor(tensors) else list(tensors)


def keys_of(states: torch.Tensor, most: int = 4) -> list[bytes]:
    """The first numbers of the first rows of states (B, H), or of the last layer of (L, B, H)."""
    array = states.detach().float().cpu().numpy()
    array = array[-1] if array.ndim == 3 else array
    return [row.tobytes() for row in array.reshape(-1, array.shape[-1])[:most, :NUMBERS]]


class Recorder:
    """A record of a loop from `start` to `stop`; of updates after `limit`, the mode only."""

    def __init__(self, limit: int) -> None:
        self.error, self.is_active, self.is_busy, self.in_backward = "", True, False, False
        self.thread, self.hooks = threading.get_ident(), ExitStack()
        self.limit, self.count = limit, 0  # of updates that are recorded; all updates
        self.evidence: Evidence = defaultdict(list)  # about no single module
        self.roots: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()  # called by the script
        self.names: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self.recurrent: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self.modules, self.updates, self.clips = list[Any](), list[records.Update](), list[Any]()
        self.optimizers = list[records.OptimizerRecord]()
        self.loss_calls = defaultdict[Any, Any](partial(deque, maxlen=MAX_CALLS))  # by place, name
        self.reached = set[Any]()  # by a backward pass; as loss_calls, since the latest update
        self.loss_count = self.backward_count = 0
        self.parameters: Any = WeakIdKeyDictionary()  # their names, and first sums
        self.with_gradient = set[int]()  # ids of parameters
        self.backwards = deque[Any](maxlen=MAX_BACKWARDS)
        self.graphs: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # updates before each loss

    def start(self) -> None:
        """Install the hooks."""
        for handle in (
            module_hooks.register_module_forward_pre_hook(self.before_forward),
            module_hooks.register_module_forward_hook(self.after_forward, with_kwargs=True),
            optimizer_hooks.register_optimizer_step_pre_hook(partial(self.call, self.step_begins)),
            optimizer_hooks.register_optimizer_step_post_hook(partial(self.call, self.step_ends)),
        ):
            self.hooks.callback(handle.remove)
        self.patch(torch.autograd, "backward", self.backward)
        for owner in (nn.utils, nn.utils.clip_grad):
            for kind in ("norm", "value"):
                self.patch(owner, f"clip_grad_{kind}_", partial(self.clip, kind))
        for name in LOSSES:
            self.patch(nn.functional, name, partial(self.loss, name))

    def stop(self) -> None:
        """End the audit."""
        self.is_active = False
        self.hooks.close()

    def is_off(self) -> bool:
        return self.is_busy or not self.is_active or threading.get_ident() != self.thread

    def is_quiet(self) -> bool:
        """Whether a call is not to be seen, as torch transforms, compiles or traces it."""
        if torch.compiler.is_compiling() or self.in_backward or self.is_off():
            return True
        is_transformed = torch._C._functorch.maybe_current_level() is not None
        return is_transformed or torch._C._is_tracing()

    def call(self, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if self.is_off():
            return
        self.is_busy = True
        try:
            hook(*args, **kwargs)
        except StopIteration:  # the end of a hook that is a generator
            pass
        except Exception as error:
            self.error = one_line(f"{type(error).__name__}: {error}")
            self.stop()
        finally:
            self.is_busy = False

    def patch(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        """Replace a function until `stop` by one that calls a hook, with the same arguments.

        The hook is a generator, which gets the result by yield, None after an error.
        """
        original = owner.__dict__[name]

        @wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            if self.is_quiet():
                return original(*args, **kwargs)
            shown, result = args, None
            if name.startswith("clip") and args and hasattr(args[0], "__next__"):
                shown = list(args[0]), *args[1:]  # the iterator can be read once
                args = (p for p in shown[0]), *args[1:]
            watcher = hook(*shown, **kwargs)
            self.call(next, watcher)
            try:
                result = original(*args, **kwargs)
            except BaseException as error:  # its traceback is as without audit
                error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
                raise
            finally:
                self.call(watcher.send, result)
            return result

        patched: Any = hooked
        patched.__code__ = patched.__code__.replace(co_filename=records.HIDDEN)
        patched.__prepare_scriptable__ = lambda: original
        self.hooks.enter_context(mock.patch.object(owner, name, patched))

    def before_forward(self, module: nn.Module, *_: Any) -> None:
        if not torch.compiler.is_compiling() and module not in self.names and not self.is_quiet():
            self.call(self.name_parts, module)

    def after_forward(self, module: nn.Module, *args: Any) -> None:
        if isinstance(module, records.RECURRENT) and not self.is_quiet():
            self.call(self.run, module, *args)

    def name_parts(self, module: nn.Module) -> None:
        """Name a module that the script calls, and its parts."""
        name = type(module).__name__
        taken = sum(type(root) is type(module) for root in self.roots)
        self.roots[module] = name = f"{name} ({taken + 1})" if taken else name
        for path, each in module.named_modules(prefix=name):
            self.names.setdefault(each, path)
        self.know(module.named_parameters(prefix=name))

    def know(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, p in named:
            if p not in self.parameters and not nn.parameter.is_lazy(p):
                self.parameters[p] = name, float(p.detach().sum())

    def run(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        given = kwargs | dict(zip(("input", "hx"), args))
        x, states = given["input"], listed(given.get("hx"))
        if (net := self.recurrent.get(module)) is None:
            net = records.RecurrentModule(module, self.names.get(module, ""))
            self.modules.append(self.recurrent.setdefault(module, net))
        out, output = (None, output) if net.is_cell else output
        outputs = dict(zip("hc", listed(output))) | ({} if out is None else {"out": out})
        sizes = None
        if not torch.is_tensor(x):  # a packed sequence
            sizes, x, outputs["out"] = x.batch_sizes.tolist(), x.data, outputs["out"].data
        shape = (len(sizes), sizes[0], 0) if sizes else x.shape
        steps, batch = ((1, *shape[:-1], 1) if net.is_cell else (*shape[:-1], 1))[:2]
        is_sequence = len(shape) == 3 and not sizes
        steps, batch = (batch, steps) if is_sequence and net.axis else (steps, batch)
        is_trained = any(t.requires_grad for t in outputs.values())
        net.passes[steps, batch, is_trained] += 1
        each = Pass(net, place(), net.passes.total(), net.updates, steps, is_trained)
        if is_sequence:
            self.look_at_input(each, x)
        if states:
            self.look_at_state(each, states)
        if is_trained:
            self.follow(each, x, states, outputs, sizes)
        self.remember(each, outputs)

    def follow(self, each: Pass, x: torch.Tensor, states: Any, outputs: Any, sizes: Any) -> None:
        net, before = each.module, records.nodes_of([x, *states])
        for name, t in outputs.items():
            if (node := t.grad_fn) is not None:
                mark = records.Mark(each, name, before)
                node.metadata.setdefault(records.MARK, {})[t.output_nr] = mark
                if name == "out":
                    hook = partial(self.call, self.gradient_of_output, each, t.output_nr, sizes)
                    node.register_prehook(hook)
        net.latest = each
        if net.updates in LOOKED_AT:
            named = [("the input", x), *(("the initial state", h) for h in states)]
            if net.copied != (net.updates, self.backward_count):
                net.copied = net.updates, self.backward_count
                named += net.parameters.items()
            each.copies = [(name, t.detach(), t.detach().clone()) for name, t in named]

    def remember(self, each: Pass, outputs: dict[str, torch.Tensor]) -> None:
        """Enter the states of a pass, by the numbers of their first rows."""
        net, known, out = each.module, each.module.states, outputs.pop("out", None)
        if out is not None and out.dim() == 3 and not net.is_bidirectional:
            inner = keys_of(out.transpose(0, net.axis)[:-1, 0], MAX_KNOWN)
            known.update((key, ("h", each, n)) for n, key in enumerate(inner, start=1))
        for name, state in outputs.items():
            for key in keys_of(state):
                old = known.get(key)  # the same numbers without a gradient say nothing new
                if each.has_gradient or old is None or old[1].update != each.update:
                    known[key] = name, each, each.steps
        while len(known) > MAX_KNOWN:
            del known[next(iter(known))]

    def look_at_input(self, each: Pass, x: torch.Tensor) -> None:
        node, source = x.grad_fn, x
        for _ in range(4):  # as in dropout(embedding(tokens))
            if node is not None and type(node).__name__ != "EmbeddingBackward0":
                node = records.node_before(node)
        if type(node).__name__ == "EmbeddingBackward0":
            each.tokens = source = node._saved_indices  # type: ignore[union-attr]
        elif x.grad_fn is not None:
            return
        if source._base is not None:
            stride = source.stride(each.module.axis)
            each.data = ref(source._base), source.storage_offset(), stride
        if x._base is not None and x.is_contiguous() and x._base.is_contiguous():
            given, now = (*x._base.shape, 1)[:3], tuple(x.shape)
            if given == (now[1], now[0], now[2]) and given[0] != given[1] and 1 not in given[:2]:
                each.module.evidence["view"].append((each.place, given, now))

    def look_at_state(self, each: Pass, states: list[torch.Tensor]) -> None:
        net, graph = each.module, Graph(states, MAX_NODES, into_passes=False)
        each.parents = [p for p in graph.passes if p.module is net]
        if each.parents:
            each.initial, each.origin, each.follows_training = records.CARRIED, records.BEFORE, True
            return
        keys = [key for key in keys_of(states[0]) if any(key)]
        found: Any = next((net.states[key] for key in keys if key in net.states), ("",))
        if found[0] == "h":
            each.initial, each.origin = records.CARRIED, self.origin(each, *found[1:])
        elif graph.passes or graph.leaves:
            is_learned = any(isinstance(p, nn.Parameter) for p in graph.leaves.values())
            each.initial = f"a {'computed' if graph.passes or not is_learned else 'learned'} state"
        elif any(bool(state.any()) for state in states):
            each.initial = "a given state"
            net.evidence["state exchanged"] += [(each.place,)] if found[0] else []

    def origin(self, each: Pass, source: Pass, step: int) -> str:
        """Where a carried state comes from."""
        net, is_latest = each.module, source is each.module.latest
        each.follows_training = source.has_gradient or source.follows_training
        if is_latest and source.update == each.update and each.steps == source.steps == 1:
            each.cuts = source.cuts + 1
        if not source.has_gradient:
            if each.has_gradient:
                net.evidence[records.NO_GRADIENT].append((each.place, source.follows_training))
            return records.NO_GRADIENT
        x, before = each.data, source.data
        is_known = x and before and x[0]() is before[0]() is not None
        if is_known and (gap := x[1] - before[1] - before[2] * step):
            net.evidence[records.ELSEWHERE].append((each.place, gap))
            return records.ELSEWHERE
        return records.BEFORE if is_latest and step == source.steps else "an earlier pass"

    def loss(
        self, name: str, input: Any = None, target: Any = None, *_: Any, **options: Any
    ) -> Iterator[None]:
        result: Any = yield
        node = getattr(result, "grad_fn", None)
        if node is None or not isinstance(target, torch.Tensor):
            return
        shape, other, how = input.shape, target.shape, options.get("reduction", "mean")
        self.loss_count += 1
        call = records.LossCall(self.loss_count, place(), name, how, tuple(shape))
        node.metadata[records.LOSS] = call
        self.loss_calls[call.place, name].append(call)
        if name in SAME_SHAPE and shape != other and (input.detach() - target).shape != shape:
            self.evidence["shapes of the loss"].append((call.place, tuple(shape), tuple(other)))
        inputs = [input] if self.loss_count <= MAX_NODES else []
        for each in Graph(inputs, MAX_NODES, into_passes=False).passes:
            x = each.tokens
            if x is None and each.copies and target.is_floating_point():
                x = each.copies[0][2]
            if x is not None and x.numel() == target.numel() and x.min() < x.max():
                is_same = torch.equal(x.flatten(), target.detach().flatten().to(x.dtype))
                kind = "target equals the input" if is_same else "target differs"
                each.module.evidence[kind].append((call.place,))

    def backward(self, tensors: Any, *_: Any, inputs: Any = None, **__: Any) -> Iterator[None]:
        roots, where, steps = listed(tensors), place(), len(self.updates)
        graph = Graph(roots)
        wanted = list(graph.leaves) if inputs is None else list(map(id, listed(inputs)))
        leaves = [p for key in wanted if isinstance(p := graph.leaves.get(key), nn.Parameter)]
        anew = frozenset(id(p) for p in leaves if not has_gradient(p))
        self.backward_count += 1
        self.reached.update(graph.losses)
        at = graph.losses[0].place if len(graph.losses) == 1 else where
        for kind, *values in records.wrong_losses(graph) if steps in LOOKED_AT else ():
            self.evidence[kind].append((at, *values))
        alive = frozenset([self.backward_count])  # as long as one of the graphs
        for node, _ in records.nodes_of(roots):
            node.metadata["torch_rnn.alive"] = alive
        self.graphs[alive] = steps
        self.in_backward = True
        yield
        self.in_backward, reached = False, dict[Pass, tuple[int, int]]()
        for each, outputs in graph.passes.items():
            rows, each.rows, each.tokens = set(each.rows), (), None
            is_whole = "h" in outputs or "c" in outputs or (rows and each.module.is_bidirectional)
            last = {each.steps - 1} if outputs.get("h") or outputs.get("c") else set()
            with_loss = last | rows if outputs.get("out") else last
            reached[each] = each.steps if is_whole else max(rows, default=-1) + 1, len(with_loss)
            copies, each.copies = each.copies, ()
            for name, tensor, copy in copies if each.update == each.module.updates else ():
                if not torch.equal(tensor, copy) and bool(copy.isfinite().all()):
                    each.module.evidence["changed"].append((where, name, each.place))
        ids, is_nonzero = frozenset(map(id, leaves)), any(map(has_gradient, leaves))
        what = where, steps, graph.losses, ids, anew, reached, is_nonzero
        self.backwards.append(records.Backward(self.backward_count, *what))
        self.with_gradient |= ids

    def gradient_of_output(self, each: Pass, index: int, sizes: Any, gradients: Any) -> None:
        if (gradient := gradients[index]) is None:
            return
        net, used, axis = each.module, gradient.any(-1), 1 - each.module.axis
        by_time = used.any(axis) if used.dim() == 2 else used
        if sizes is not None:
            by_time = torch.stack([part.any() for part in torch.split(used, sizes)])
        elif used.numel() > each.steps and by_time.sum() > 1 and used.any(1 - axis).sum() == 1:
            net.evidence["time and batch"].append((each.place, *used.shape))
        each.rows = frozenset(by_time.nonzero().flatten().tolist())
        if each.rows == {each.steps - 1} and each.steps > 1 and net.is_bidirectional:
            net.evidence["reverse output"].append((each.place,))

    def gradients(self, ids: frozenset[int]) -> list[Any]:
        """The backward passes whose sum the gradients of some parameters are."""
        found = deque[Any]()
        for each in reversed(self.backwards):
            if not ids.isdisjoint(each.leaves):
                found.appendleft(each)
                if ids & each.leaves <= each.anew:
                    break
        return list(found)

    def clip(self, kind: str, parameters: Any, *given: Any, **options: Any) -> Iterator[None]:
        parameters = listed(parameters)
        grads = [p.grad for p in parameters if p.grad is not None]
        limit: Any = given[0] if given else options.get("max_norm", options.get("clip_value"))
        size: Any = max((float(grad.abs().max()) for grad in grads if kind == "value"), default=0.0)
        norm: Any = yield
        ids = frozenset(map(id, parameters))
        used = min((record.used for record in self.optimizers if record.held & ids), default=0)
        latest = max((each.number for each in self.gradients(ids)), default=math.inf)
        clip = records.Clip(kind, float(limit), place(), bool((norm or size) > limit), ids)
        if grads and latest > used:
            self.clips += [clip] if math.isfinite(limit) else []
        else:
            reason = "without effect" if parameters else "of nothing"
            self.evidence[f"clip {reason}"].append((clip.place,))

    def record_of(self, optimizer: Any) -> records.OptimizerRecord:
        for record in self.optimizers:
            if record.optimizer() is optimizer:
                return record
        record = records.OptimizerRecord(optimizer)
        self.know((f"a parameter of shape {tuple(p.shape)}", p) for p in held_by(optimizer))
        self.optimizers.append(record)
        return record

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        record, held = self.record_of(optimizer), held_by(optimizer)
        record.begun = self.count
        fresh = [each for each in self.gradients(record.held) if each.number > record.used]
        if fresh and fresh[-1].is_nonzero and not any(map(has_gradient, held)):
            self.evidence["zeroed before the step"].append((place(), len(self.updates) + 1))
            record.used = self.backward_count

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        record, held = self.record_of(optimizer), held_by(optimizer)
        if record.begun != self.count:
            return  # an optimizer within this one has made the step
        self.look_at_mode(optimizer)
        number, where, ids = self.count, place(), record.held
        found = self.gradients(ids)
        fresh = [each for each in found if each.number > record.used]
        self.with_gradient |= {id(p) for p in held if p.grad is not None}
        if 0 < len(fresh) < len(found):
            self.evidence["never zeroed"].append((where, number))
        left = {each.place for each in fresh if each.steps_before < number - 1}
        own = {each.place for each in fresh if each.steps_before == number - 1}
        if left and own and not left & own:  # of a loss after which another optimizer has stepped
            self.evidence["gradient of another loss"].append((where, min(left)))
        record.used = self.backward_count
        record.trainable = record.trainable or sum(p.requires_grad for p in self.parameters)
        modules = [net for net in self.modules if net.ids & ids]
        clips = [c for c in self.clips if len(self.optimizers) == 1 or c.parameters & ids]
        self.clips = [clip for clip in self.clips if clip not in clips]
        rates = tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
        update = records.Update(number, where, rates, fresh, modules, clips)
        self.updates.append(update)
        record.updates.append(update)
        for net in modules:
            net.updates += 1
            if clips and not any(clip.parameters & net.ids for clip in clips):
                net.evidence["clip of others"].append((clips[0].place, len(clips[0].parameters)))
        for (at, _), calls in self.loss_calls.items():
            if len(calls) > 1 and self.reached.intersection(calls) == {calls[-1]}:
                self.evidence["losses overwritten"].append((at, len(calls)))
        self.loss_calls.clear()
        self.reached.clear()
        if number == self.limit:
            self.hooks.close()
            hook = partial(self.call, self.look_at_mode)
            self.hooks.callback(optimizer_hooks.register_optimizer_step_post_hook(hook).remove)
        if number % (MIN_KEPT + 2) == 0 and len(self.graphs) >= MIN_KEPT:
            gc.collect()
            kept = len({steps for steps in self.graphs.values() if steps < number - 2})
            if kept >= MIN_KEPT:
                self.evidence["graphs kept"].append((where, kept))

    def look_at_mode(self, optimizer: Any, *_: Any) -> None:
        """Count an update, and see whether it is made in eval mode."""
        self.count += 1
        ids = set(map(id, held_by(optimizer)))
        for root in list(self.roots):
            parts = [each for each in root.modules() if isinstance(each, MODAL)]
            modes = [m.training for m in parts if getattr(m, "p", getattr(m, "dropout", 1))]
            if modes and not any(modes) and not ids.isdisjoint(map(id, root.parameters())):
                self.evidence["eval mode"].append((place(), self.count))
                return
