"""The recorder of a loop: losses, backward passes, clipping and steps.

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
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils.weak import WeakIdKeyDictionary

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit import records
from torch_rnn.loop_audit.records import Graph, has_gradient, held_by, listed, place

SAME_SHAPE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
LOSSES: Any = (
    *SAME_SHAPE,
    "cross_entropy",
    "nll_loss",
    "kl_div",
    "ctc_loss",
    "binary_cross_entropy",
)
LOSSES += ("binary_cross_entropy_with_logits",)
MODAL = nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm | nn.RNNBase
MAX_CALLS, MAX_BACKWARDS, MIN_KEPT = (
    10_000,
    1000,
    8,
)  # remembered; graphs of earlier losses


class Recorder:
    """A record of a loop from `start` to `stop`; of updates after `limit`, the mode
    only.
    """

    def __init__(self, limit: int) -> None:
        self.error, self.is_busy, self.in_backward = "", False, False
        self.thread, self.hooks = threading.get_ident(), ExitStack()
        self.limit, self.count = limit, 0  # of updates that are recorded; all updates
        self.evidence: records.Evidence = defaultdict(list)  # about no single module
        self.roots: WeakKeyDictionary[nn.Module, str] = (
            WeakKeyDictionary()
        )  # called by the script
        self.names: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self.recurrent: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
        self.modules, self.updates = (
            list[records.RecurrentModule](),
            list[records.Update](),
        )
        self.optimizers, self.clips = list[records.OptimizerRecord](), list[Any]()
        self.loss_calls = defaultdict[Any, Any](
            partial(deque, maxlen=MAX_CALLS)
        )  # since an update
        self.loss_count = self.backward_count = 0
        self.parameters: Any = WeakIdKeyDictionary()  # their names, and first sums
        self.with_gradient = set[int]()  # ids of parameters
        self.backwards = deque[Any](maxlen=MAX_BACKWARDS)
        self.graphs: WeakKeyDictionary[Any, int] = (
            WeakKeyDictionary()
        )  # updates before each loss

    def start(self) -> None:
        for handle in (
            module_hooks.register_module_forward_pre_hook(self.before_forward),
            module_hooks.register_module_forward_hook(
                self.after_forward, with_kwargs=True
            ),
            optimizer_hooks.register_optimizer_step_pre_hook(
                partial(self.call, self.step_begins)
            ),
            optimizer_hooks.register_optimizer_step_post_hook(
                partial(self.call, self.step_ends)
            ),
        ):
            self.hooks.callback(handle.remove)
        self.patch(torch.autograd, "backward", self.backward)
        for owner in (nn.utils, nn.utils.clip_grad):
            for kind in ("norm", "value"):
                self.patch(owner, f"clip_grad_{kind}_", partial(self.clip, kind))
        for name in LOSSES:
            self.patch(nn.functional, name, partial(self.loss, name))

    def stop(self) -> None:
        self.thread = 0  # that no thread has
        self.hooks.close()

    def is_quiet(self) -> bool:
        """Whether a call is not to be seen, as torch transforms, compiles
        or traces it.
        """
        if torch.compiler.is_compiling() or self.in_backward:
            return True
        return (
            torch._C._functorch.maybe_current_level() is not None
            or torch._C._is_tracing()
        )

    def call(self, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if self.is_busy or threading.get_ident() != self.thread:
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
        """Replace a function until `stop` by one that calls a hook, with the same
        arguments.

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
                error.__traceback__ = (
                    error.__traceback__ and error.__traceback__.tb_next
                )
                raise
            finally:
                self.call(watcher.send, result)
            return result

        patched: Any = hooked
        patched.__code__ = patched.__code__.replace(co_filename=records.HIDDEN)
        patched.__prepare_scriptable__ = lambda: original
        self.hooks.enter_context(mock.patch.object(owner, name, patched))

    def before_forward(self, module: nn.Module, *_: Any) -> None:
        if (
            not torch.compiler.is_compiling()
            and module not in self.names
            and not self.is_quiet()
        ):
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
        if (net := self.recurrent.get(module)) is None:
            net = records.RecurrentModule(module, self.names.get(module, ""), self.call)
            self.modules.append(self.recurrent.setdefault(module, net))
        net.enter(args, kwargs, output)

    def loss(
        self, name: str, input: Any = None, target: Any = None, *_: Any, **kwargs: Any
    ) -> Any:
        result: Any = yield
        node = getattr(result, "grad_fn", None)
        if node is None or not isinstance(target, torch.Tensor):
            return
        shape, other, how = input.shape, target.shape, kwargs.get("reduction", "mean")
        self.loss_count += 1
        call = records.LossCall(self.loss_count, place(), name, how, tuple(shape))
        node.metadata[records.LOSS] = call
        self.loss_calls[call.place, name].append(call)
        if (
            name in SAME_SHAPE
            and shape != other
            and (input.detach() - target).shape != shape
        ):
            self.evidence["shapes of the loss"].append(
                (call.place, tuple(shape), tuple(other))
            )
        inputs = [input] if self.loss_count <= records.MAX_NODES else []
        for each in Graph(inputs, records.MAX_NODES, into_passes=False).passes:
            x = each.tokens
            if x is None and each.copies and target.is_floating_point():
                x = each.copies[0][2]
            if x is not None and x.numel() == target.numel() and x.min() < x.max():
                is_same = torch.equal(
                    x.flatten(), target.detach().flatten().to(x.dtype)
                )
                kind = "target equals the input" if is_same else "target differs"
                each.module.evidence[kind].append((call.place,))

    def backward(
        self, tensors: Any, *_: Any, inputs: Any = None, **__: Any
    ) -> Iterator[None]:
        roots, where, steps = listed(tensors), place(), len(self.updates)
        graph = Graph(roots)
        wanted = list(graph.leaves) if inputs is None else list(map(id, listed(inputs)))
        leaves = [
            p for key in wanted if isinstance(p := graph.leaves.get(key), nn.Parameter)
        ]
        anew = frozenset(id(p) for p in leaves if not has_gradient(p))
        self.backward_count += 1
        at = graph.losses[0].place if len(graph.losses) == 1 else where
        for kind, *values in (
            records.wrong_losses(graph) if steps in records.LOOKED_AT else ()
        ):
            self.evidence[kind].append((at, *values))
        alive = frozenset([self.backward_count])  # as long as one of the graphs
        for node, _ in records.nodes_of(roots):
            node.metadata["torch_rnn.alive"] = alive
        self.graphs[alive] = steps
        self.in_backward = True
        yield
        self.in_backward, reached = False, dict[records.Pass, tuple[int, int]]()
        for each, outputs in graph.passes.items():
            reached[each] = each.module.end_of(each, outputs, where)
        ids = frozenset(map(id, leaves))
        what = (
            where,
            steps,
            graph.losses,
            ids,
            anew,
            reached,
            any(map(has_gradient, leaves)),
        )
        self.backwards.append(records.Backward(self.backward_count, *what))
        self.with_gradient |= ids

    def gradients(self, ids: frozenset[int]) -> list[Any]:
        """The backward passes whose sum the gradients of some parameters are."""
        found = deque[Any]()
        for each in reversed(self.backwards):
            if not ids.isdisjoint(each.leaves):
                found.appendleft(each)
                if ids & each.leaves <= each.anew:
                    break
        return list(found)

    def clip(
        self, kind: str, parameters: Any, *given: Any, **options: Any
    ) -> Iterator[None]:
        parameters = listed(parameters)
        grads = [p.grad for p in parameters if p.grad is not None]
        limit: Any = (
            given[0] if given else options.get("max_norm", options.get("clip_value"))
        )
        size: Any = max(
            (float(grad.abs().max()) for grad in grads if kind == "value"), default=0.0
        )
        norm: Any = yield
        ids = frozenset(map(id, parameters))
        used = min(
            (record.used for record in self.optimizers if record.held & ids), default=0
        )
        latest = max((each.number for each in self.gradients(ids)), default=math.inf)
        clip = records.Clip(
            kind, float(limit), place(), bool((norm or size) > limit), ids
        )
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
        self.know(
            (f"a parameter of shape {tuple(p.shape)}", p) for p in held_by(optimizer)
        )
        others = [
            each
            for each in self.optimizers
            if each.optimizer() and each.held & record.held
        ]
        record.is_new &= not others and not optimizer.state
        self.optimizers.append(record)
        return record

    def step_begins(self, optimizer: Any, *_: Any) -> None:
        record, held = self.record_of(optimizer), held_by(optimizer)
        record.begun = self.count
        fresh = [
            each for each in self.gradients(record.held) if each.number > record.used
        ]
        if fresh and fresh[-1].is_nonzero and not any(map(has_gradient, held)):
            self.evidence["zeroed before the step"].append(
                (place(), len(self.updates) + 1)
            )
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
        own = {each.place for each in fresh if each.steps_before == number - 1}
        left = {each.place for each in fresh if each.steps_before < number - 1}
        if (
            left and own and not left & own
        ):  # of a loss after which another optimizer has stepped
            self.evidence["gradient of another loss"].append((where, min(left)))
        record.used = self.backward_count
        record.trainable = record.trainable or sum(
            p.requires_grad for p in self.parameters
        )
        modules = [net for net in self.modules if net.ids & ids]
        clips = [
            c for c in self.clips if len(self.optimizers) == 1 or c.parameters & ids
        ]
        self.clips = [clip for clip in self.clips if clip not in clips]
        rates = tuple(float(group.get("lr", 1.0)) for group in optimizer.param_groups)
        update = records.Update(number, where, rates, fresh, modules, clips)
        self.updates.append(update)
        record.updates.append(update)
        if record.updates == [update]:
            record.after = tuple((p._version, float(p.detach().sum())) for p in held)
        for net in modules:
            net.updates += 1
            if clips and not any(clip.parameters & net.ids for clip in clips):
                net.evidence["clip of others"].append(
                    (clips[0].place, len(clips[0].parameters))
                )
        reached = {
            c for b in self.backwards if b.steps_before == number - 1 for c in b.losses
        }
        for (at, _), calls in self.loss_calls.items():
            if len(calls) > 1 and reached.intersection(calls) == {calls[-1]}:
                self.evidence["losses overwritten"].append((at, len(calls)))
        self.loss_calls.clear()
        if number == self.limit:
            self.hooks.close()
            hook = partial(self.call, self.look_at_mode)
            self.hooks.callback(
                optimizer_hooks.register_optimizer_step_post_hook(hook).remove
            )
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
            modes = [
                m.training for m in parts if getattr(m, "p", getattr(m, "dropout", 1))
            ]
            if (
                modes
                and not any(modes)
                and not ids.isdisjoint(map(id, root.parameters()))
            ):
                self.evidence["eval mode"].append((place(), self.count))
                return
