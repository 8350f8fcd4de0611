"""Hooks in torch, by which the recorders see a loop: an error of the audit ends it alone."""

import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_hooks
from torch.utils.data import dataloader

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit.forward_recorder import ForwardRecorder
from torch_rnn.loop_audit.loss_recorder import LOSSES
from torch_rnn.loop_audit.records import HIDDEN, place
from torch_rnn.loop_audit.update_recorder import UpdateRecorder

Hook = Callable[..., Any]


def has_modes(module: nn.Module) -> bool:
    """Whether eval mode changes what a module itself computes."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    return is_norm or (isinstance(module, nn.RNNBase) and module.dropout > 0)


class Watch:
    """A record of a loop from `start` to `stop`; of updates after `limit`, the mode only."""

    def __init__(self, limit: int):
        self.limit, self.error, self.is_active, self.is_busy = limit, "", True, False
        self.thread = threading.get_ident()
        self.patched, self.hooks = list[tuple[Any, str, Any]](), list[Any]()
        self.updates = UpdateRecorder(self.guard, self.in_eval)
        self.passes = ForwardRecorder(self.updates)
        self.later = list[bool]()  # updates after the limit: whether they are made in eval mode

    def is_quiet(self, in_backward: bool = False) -> bool:
        """Whether a call is none of the script, or one that torch compiles or traces."""
        if torch.compiler.is_compiling() or not self.is_active or self.is_busy:
            return True
        if self.updates.current is not None and not in_backward:  # as in a checkpoint
            return True
        is_traced = torch.jit.is_tracing()  # type: ignore[no-untyped-call]
        return bool(is_traced) or threading.get_ident() != self.thread

    def call(self, hook: Hook | None, *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if hook is None or self.is_quiet(in_backward=True):
            return
        self.is_busy = True
        try:
            hook(*args, **kwargs)
        except Exception as error:
            self.error = one_line(f"{type(error).__name__}: {error}")
            self.stop()
        finally:
            self.is_busy = False

    def guard(self, hook: Hook, *args: Any) -> Hook:
        """The hook with its first arguments, called by `call`."""
        return partial(self.call, hook, *args)

    def on_forward(self, hook: Hook, module: nn.Module, *args: Any) -> None:
        """Call a hook of modules, if it has something to do."""
        if torch.compiler.is_compiling():
            return
        is_recurrent = isinstance(module, nn.RNNBase | nn.modules.rnn.RNNCellBase)
        if (is_recurrent or module not in self.passes.names) and not self.is_quiet():
            self.call(hook, module, *args)

    def patch(self, owner: Any, name: str, before: Hook | None, after: Hook | None) -> None:
        """Replace a function until `stop` by one that calls hooks, with the same arguments.

        after gets the result before them, None after an error.
        """
        original = owner.__dict__[name]

        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            if self.is_quiet():
                return original(*args, **kwargs)
            shown, result = args, None
            if name.startswith("clip") and args:
                is_iterator = hasattr(args[0], "__next__")  # it can be read once
                shown = [args[0]] if isinstance(args[0], torch.Tensor) else list(args[0]), *args[1:]
                args = ((p for p in shown[0]), *args[1:]) if is_iterator else args
                if is_iterator and not shown[0]:
                    self.updates.evidence["clip of nothing"].append((place(),))
            self.call(before, *shown, **kwargs)
            try:
                result = original(*args, **kwargs)
            finally:
                self.call(after, result, *shown, **kwargs)
            return result

        patched: Any = hooked
        patched.__code__ = patched.__code__.replace(co_filename=HIDDEN)
        patched.__prepare_scriptable__ = lambda: original
        self.patched.append((owner, name, original))
        setattr(owner, name, patched)

    def start(self) -> None:
        """Install the hooks."""
        updates, passes, patch = self.updates, self.passes, self.patch
        before, after = (partial(self.on_forward, hook)
                         for hook in (passes.before_forward, passes.after_forward))  # fmt: skip
        self.hooks = [
            module_hooks.register_module_forward_pre_hook(before),
            module_hooks.register_module_forward_hook(after, with_kwargs=True),
            optimizer_hooks.register_optimizer_step_pre_hook(self.guard(updates.step_begins)),
            optimizer_hooks.register_optimizer_step_post_hook(self.guard(self.step_ends)),
        ]
        patch(torch.autograd, "backward", updates.before_backward, updates.after_backward)
        patch(Optimizer, "zero_grad", updates.before_zero_grad, None)
        patch(nn.Module, "zero_grad", updates.before_zero_grad, None)
        for owner in (nn.utils, nn.utils.clip_grad):
            for kind in ("norm", "value"):
                hook = partial(updates.after_clip, kind)
                patch(owner, f"clip_grad_{kind}_", updates.before_clip, hook)
        for name in LOSSES:
            patch(nn.functional, name, None, partial(updates.losses.call, name))
        patch(dataloader._BaseDataLoaderIter, "__next__", None, updates.draw)

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update, and reduce the audit after the last one."""
        self.updates.step_ends(optimizer)
        if len(self.updates.updates) >= self.limit:
            self.remove()
            hook = optimizer_hooks.register_optimizer_step_post_hook(self.guard(self.later_step))
            self.hooks = [hook]

    def later_step(self, optimizer: Any, *_: Any) -> None:
        """Look at the mode of the modules in an update after the limit."""
        ids = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.later.append(self.in_eval(ids))
        if self.later[-1]:
            self.updates.evidence["eval mode"].append((place(), self.limit + len(self.later)))

    def in_eval(self, ids: set[int]) -> bool:
        """Whether modules with these parameters are in eval mode, and that changes them."""
        for root in list(self.passes.roots):
            modes = [m.training for m in root.modules() if has_modes(m)]
            if modes and not any(modes) and not ids.isdisjoint(map(id, root.parameters())):
                return True
        return False

    def remove(self) -> None:
        """Remove all hooks."""
        for hook in self.hooks:
            hook.remove()
        for owner, name, original in reversed(self.patched):
            setattr(owner, name, original)
        self.hooks, self.patched = [], []

    def stop(self) -> None:
        """End the audit."""
        if self.is_active:
            self.is_active = False
            self.remove()
            self.updates.finish()
