"""Watching a training loop: the hooks and patches, by which the recorders see its passes and updates."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import dataloader

from numpy_rnn.common.errors import one_line
from torch_rnn.loop_audit.data_evidence import DataEvidence
from torch_rnn.loop_audit.loss_evidence import LOSSES
from torch_rnn.loop_audit.passes import Passes
from torch_rnn.loop_audit.patches import Patches
from torch_rnn.loop_audit.places import place
from torch_rnn.loop_audit.replay import KINDS
from torch_rnn.loop_audit.updates import Updates


class Watch:
    """A record of a training loop from `start` to `stop`, which comes by itself after `limit` updates."""

    def __init__(self, limit: int):
        self.limit, self.error, self.unchanged, self.hooks = limit, "", list[int](), list[Any]()
        self.patches, self.updates = Patches(self.failed), Updates()
        self.passes = Passes(self.updates, self.patches)

    def start(self) -> None:
        """Install the hooks and the patches."""
        patch, guard, updates, passes = self.patches.patch, self.patches.guard, self.updates, self.passes
        for kind in KINDS:
            patch(kind, "forward", passes.forward, passes.before_forward)
        self.hooks.append(register_optimizer_step_pre_hook(guard(updates.step_begins)))
        self.hooks.append(register_optimizer_step_post_hook(guard(self.step_ends)))
        patch(torch.autograd, "backward", updates.after_backward, updates.before_backward)
        patch(torch.autograd, "grad", updates.after_backward, partial(updates.before_backward, by_grad=True))
        patch(torch.Tensor, "detach", passes.detach)
        patch(Optimizer, "add_param_group", lambda _, optimizer, *__, **___: updates.parameters.held(optimizer))
        for clip in ("norm", "value"):
            patch(nn.utils, f"clip_grad_{clip}_", partial(updates.clip, clip))
        for name in LOSSES:
            patch(nn.functional, name, partial(self.loss, name))
        for name in ("embedding", "one_hot"):
            patch(nn.functional, name, updates.data.look_up)
        patch(dataloader._BaseDataLoaderIter, "__next__", updates.data.draw)
        patch(torch.jit, "script", self.scripted, self.before_script)

    def loss(self, name: str, result: Any, input: Any = None, target: Any = None, *_: Any, **__: Any) -> None:
        """Look at the arguments of a loss, and at the target of the latest pass."""
        if isinstance(result, torch.Tensor) and isinstance(target, torch.Tensor) and result.requires_grad:
            self.updates.losses.loss(name, result, input, target)
            self.updates.data.loss(target, place())

    def step_ends(self, optimizer: Any, *_: Any) -> None:
        """Record an update, and end the audit after the last one."""
        self.updates.step_ends(optimizer)
        if self.updates.steps >= self.limit:
            self.stop()

    def before_script(self, *_: Any, **__: Any) -> None:
        """Restore the functions that torch.jit.script compiles, as it reads their source."""
        self.patches.put(self.patches.made, is_patched=False)

    def scripted(self, result: Any, module: Any = None, *_: Any, **__: Any) -> None:
        """Remember a scripted module, whose passes cannot be seen."""
        self.patches.put(self.patches.made, is_patched=True)
        if isinstance(module, nn.Module) and any(isinstance(m, RNNBase | RNNCellBase) for m in module.modules()):
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
        self.updates.data, self.updates.expected, self.updates.clippings, self.passes.known = DataEvidence(), {}, [], {}
        for net in self.updates.networks:
            net.begin_update()
            net.weights, net.before_step = None, []
