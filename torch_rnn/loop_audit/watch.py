"""Hooks in torch, by which the recorders see a loop: an error of the audit ends it alone."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial, wraps
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils.data import dataloader

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit.recorder import SAME_SHAPE, Recorder, held_by
from torch_rnn.loop_audit.records import HIDDEN, RECURRENT, Update, place

LOSSES = (*SAME_SHAPE, "cross_entropy", "nll_loss", "binary_cross_entropy",
          "binary_cross_entropy_with_logits", "kl_div", "ctc_loss")  # fmt: skip
Hook = Callable[..., Any]


MODAL = nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm | nn.RNNBase


class Watch(Recorder):
    """A record of a loop from `start` to `stop`; of updates after `limit`, the mode only."""

    def __init__(self, limit: int):
        super().__init__()
        self.limit, self.error, self.is_active, self.is_busy = limit, "", True, False
        self.thread = threading.get_ident()
        self.hooks = ExitStack()  # removes them
        self.later = list[bool]()  # updates after the limit: whether they are made in eval mode

    def is_quiet(self) -> bool:
        """Whether a call is none of the script, or one that torch compiles or traces."""
        if torch.compiler.is_compiling() or not self.is_active or self.is_busy or self.in_backward:
            return True
        is_traced = torch.jit.is_tracing()  # type: ignore[no-untyped-call]
        return bool(is_traced) or threading.get_ident() != self.thread

    def call(self, hook: Hook, *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if self.is_busy or not self.is_active or threading.get_ident() != self.thread:
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

    def guard(self, hook: Hook, *args: Any) -> Hook:
        return partial(self.call, hook, *args)

    def on_forward(self, hook: Hook, module: nn.Module, *args: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if (isinstance(module, RECURRENT) or module not in self.names) and not self.is_quiet():
            self.call(hook, module, *args)

    def patch(self, owner: Any, name: str, hook: Hook) -> None:
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
            finally:
                self.call(watcher.send, result)
            return result

        patched: Any = hooked
        patched.__code__ = patched.__code__.replace(co_filename=HIDDEN)
        patched.__prepare_scriptable__ = lambda: original
        self.hooks.enter_context(mock.patch.object(owner, name, patched))

    def start(self) -> None:
        """Install the hooks."""
        before = partial(self.on_forward, self.before_forward)
        after = partial(self.on_forward, self.after_forward)
        for handle in (
            module_hooks.register_module_forward_pre_hook(before),
            module_hooks.register_module_forward_hook(after, with_kwargs=True),
            optimizer_hooks.register_optimizer_step_pre_hook(self.guard(self.step_begins)),
            optimizer_hooks.register_optimizer_step_post_hook(self.guard(self.step_ends)),
        ):
            self.hooks.callback(handle.remove)
        self.patch(torch.autograd, "backward", self.backward)
        self.patch(dataloader._BaseDataLoaderIter, "__next__", self.draw)
        self.patch(torch.optim.Optimizer, "zero_grad", self.zero_grad)
        self.patch(nn.Module, "zero_grad", self.zero_grad)
        for owner in (nn.utils, nn.utils.clip_grad):
            for kind in ("norm", "value"):
                self.patch(owner, f"clip_grad_{kind}_", partial(self.clip, kind))
        for name in LOSSES:
            self.patch(nn.functional, name, partial(self.loss, name))

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        if self.later or len(self.updates) >= self.limit:
            self.later.append(self.in_eval(set(map(id, held_by(optimizer)))))
            found = (place(), self.limit + len(self.later))
            self.evidence["eval mode"] += [found] if self.later[-1] else []
            return
        super().step_ends(optimizer)
        if len(self.updates) >= self.limit:
            self.hooks.close()
            hook = self.guard(self.step_ends)
            handle = optimizer_hooks.register_optimizer_step_post_hook(hook)
            self.hooks.callback(handle.remove)

    def in_eval(self, ids: set[int]) -> bool:
        for root in list(self.roots):
            parts = [each for each in root.modules() if isinstance(each, MODAL)]
            modes = [m.training for m in parts if getattr(m, "p", getattr(m, "dropout", 1))]
            if modes and not any(modes) and not ids.isdisjoint(map(id, root.parameters())):
                return True
        return False

    def stop(self) -> None:
        """End the audit."""
        if self.is_active:
            self.is_active = False
            self.hooks.close()
            for n, each in enumerate(self.backwards if not self.updates else (), start=1):
                nets = list(dict.fromkeys(p.module for p in each.reached))
                clips = self.clips if n == 1 else []
                self.updates.append(Update(n, each.place, 0, (), [each], nets, clips, 0, False))
