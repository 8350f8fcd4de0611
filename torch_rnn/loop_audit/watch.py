"""Hooks and patches of torch, by which the recorders see a training loop: an error of the audit ends it alone."""

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import dataloader

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit.data_evidence import DataEvidence
from torch_rnn.loop_audit.loss_evidence import LOSSES
from torch_rnn.loop_audit.passes import Passes
from torch_rnn.loop_audit.places import place
from torch_rnn.loop_audit.replay import KINDS
from torch_rnn.loop_audit.updates import Updates

Hook = Callable[..., Any]


class Patches:
    """Functions that are replaced until `undo`. They call hooks in the thread that made this object, and not nested."""

    def __init__(self, failed: Callable[[Exception], None]):
        self.failed, self.is_active, self.is_busy = failed, True, False
        self.thread, self.made = threading.get_ident(), list[tuple[Any, str, Any, Any]]()

    def calls(self, hook: Hook | None, *args: Any, **kwargs: Any) -> None:
        """Call a hook. An error of the audit ends the audit and not the script."""
        if hook is not None and self.is_active and not self.is_busy:
            self.is_busy = True
            try:
                hook(*args, **kwargs)
            except Exception as error:
                self.failed(error)
            finally:
                self.is_busy = False

    def guard(self, hook: Hook, *args: Any) -> Hook:
        """The hook with its first arguments, called by `calls`."""
        return partial(self.calls, hook, *args)

    def is_quiet(self) -> bool:
        """Whether a call is none of the script, or one that torch traces."""
        if not self.is_active or self.is_busy or threading.get_ident() != self.thread:
            return True
        return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call]

    def patch(self, owner: Any, name: str, after: Hook, before: Hook | None = None) -> None:
        """Replace a function, from `start` on, by one that calls hooks.

        before: gets the arguments; after: gets the result, None if there is an error, and the arguments.
        """
        original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)

        @functools.wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if self.is_quiet():
                return original(*args, **kwargs)
            if name.startswith("clip"):  # parameters can be an iterator, which can be read once
                args = tuple(list(each) if isinstance(each, Iterator) else each for each in args)
                kwargs = {
                    key: list(each) if isinstance(each, Iterator) else each
                    for key, each in kwargs.items()
                }
            self.calls(before, *args, **kwargs)
            result = None
            try:
                result = original(*args, **kwargs)
            finally:
                self.calls(after, result, *args, **kwargs)
            return result

        self.made.append((owner, name, original, patched))

    def start(self) -> None:
        """Put all patched functions into their places: one of a module also where it was imported from there."""
        functions = {name: made for owner, name, *made in self.made if not isinstance(owner, type)}
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", {})
            for name in names.keys() & functions.keys():
                original, patched = functions[name]
                if names[name] is original:
                    self.made.append((module, name, original, patched))
        self.put(is_patched=True)

    def put(self, is_patched: bool) -> None:
        """Put patched functions into their places, or the original ones."""
        for owner, name, original, patched in self.made:
            setattr(owner, name, patched if is_patched else original)

    def undo(self) -> None:
        """Restore all functions."""
        self.is_active = False
        self.put(is_patched=False)


class Watch:
    """A record of a training loop from `start` to `stop`, which comes by itself after `limit` updates."""

    def __init__(self, limit: int):
        self.limit, self.error, self.unchanged, self.hooks = limit, "", list[int](), list[Any]()
        self.patches, self.updates = Patches(self.failed), Updates()
        self.passes = Passes(self.updates, self.patches.guard)

    def start(self) -> None:
        """Install the hooks and the patches."""
        patch, guard, updates, passes = (
            self.patches.patch,
            self.patches.guard,
            self.updates,
            self.passes,
        )
        for kind in KINDS:
            patch(kind, "forward", passes.forward, passes.before_forward)
        self.hooks.append(register_optimizer_step_pre_hook(guard(updates.step_begins)))
        self.hooks.append(register_optimizer_step_post_hook(guard(self.step_ends)))
        patch(torch.autograd, "backward", updates.after_backward, updates.before_backward)
        patch(
            torch.autograd,
            "grad",
            updates.after_backward,
            partial(updates.before_backward, by_grad=True),
        )
        patch(torch.Tensor, "detach", passes.detach)
        patch(
            Optimizer,
            "add_param_group",
            lambda _, optimizer, *__, **___: updates.parameters.held(optimizer),
        )
        for clip in ("norm", "value"):
            patch(nn.utils, f"clip_grad_{clip}_", partial(updates.clip, clip))
        for name in LOSSES:
            patch(nn.functional, name, partial(self.loss, name))
        for name in ("embedding", "one_hot"):
            patch(nn.functional, name, updates.data.look_up)
        patch(dataloader._BaseDataLoaderIter, "__next__", updates.data.draw)
        patch(torch.jit, "script", self.scripted, self.before_script)
        self.patches.start()

    def loss(
        self, name: str, result: Any, input: Any = None, target: Any = None, *_: Any, **__: Any
    ) -> None:
        """Look at the arguments of a loss, and at the target of the latest pass."""
        if (
            isinstance(result, torch.Tensor)
            and isinstance(target, torch.Tensor)
            and result.requires_grad
        ):
            where = place()
            self.updates.losses.loss(name, result, input, target, where)
            self.updates.data.loss(target, where)

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update, and end the audit after the last one."""
        self.updates.step_ends(optimizer)
        if self.updates.steps >= self.limit:
            self.stop()

    def before_script(self, *_: Any, **__: Any) -> None:
        """Restore the functions that torch.jit.script compiles, as it reads their source."""
        self.patches.put(is_patched=False)

    def scripted(self, result: Any, module: Any = None, *_: Any, **__: Any) -> None:
        """Remember a scripted module, whose passes cannot be seen."""
        self.patches.put(is_patched=True)
        if isinstance(module, nn.Module) and any(
            isinstance(m, RNNBase | RNNCellBase) for m in module.modules()
        ):
            self.updates.evidence["scripted"].append((place(), type(module).__name__))

    def failed(self, error: Exception) -> None:
        """End the audit after an error of its own."""
        self.error = one_line(f"{type(error).__name__}: {error}")
        self.stop()

    def stop(self) -> None:
        """Remove the hooks and the patches, and what no report needs."""
        if not self.patches.is_active:
            return
        self.patches.calls(self.updates.look_for_changed_weights)
        self.patches.undo()
        for hook in self.hooks:
            hook.remove()
        if not self.error:
            self.unchanged = self.updates.parameters.unchanged()
        self.updates.data, self.updates.expected, self.updates.clippings, self.passes.known = (
            DataEvidence(),
            {},
            [],
            {},
        )
        for net in self.updates.networks:
            net.begin_update()
            net.weights = None
