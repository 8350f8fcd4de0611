"""Recurrent modules that are no nn.RNN, nn.LSTM, nn.GRU or cell of torch.

A module is a candidate if it gets a tensor and a state, and returns a state of the same
shape. It is recurrent if it also gets a state that it has returned, which is known
later: candidates are recorded, and `TrainingLoop` leaves out what is no recurrent one.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase

from torch_rnn.loop_audit.states import ModuleCall


def _tensors(value: Any) -> list[torch.Tensor] | None:
    """Return a tensor, or a tuple of tensors, as a list; None for anything else."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (tuple, list)) and value:
        flat: list[torch.Tensor] = []
        for part in value:
            tensors = _tensors(part)
            if tensors is None:
                return None
            flat += tensors
        return flat
    return None


def _axis_of_time(
    x: torch.Tensor, state: torch.Tensor, out: torch.Tensor
) -> int | None:
    """Return the axis of the steps of a sequence that goes with a state; None if it is
    not clear.
    """
    if out.dim() != 3 or out.shape[:2] != x.shape[:2] or state.dim() < 2:
        return None
    axes = [axis for axis in (0, 1) if x.shape[1 - axis] == state.shape[-2]]
    return axes[0] if len(axes) == 1 else None


def read_own_call(args: tuple[Any, ...], output: Any) -> ModuleCall | None:
    """Return the tensors of a call that may be that of a recurrent module; None if it
    is not. The state is the last argument that is like a part of the output, and the
    input the one before it.
    """
    for place in range(len(args) - 1, 0, -1):
        x, state = args[place - 1], _tensors(args[place])
        if isinstance(x, torch.Tensor) and state:
            call = _call_with(x, state, _tensors(output) or [])
            if call is not None:
                return call
    return None


def _call_with(
    x: torch.Tensor, state: list[torch.Tensor], results: list[torch.Tensor]
) -> ModuleCall | None:
    """Return the call with an input, a state and results, if it may be one."""
    if len(state) > 2 or len(results) < len(state) or state[0].dim() > 3:
        return None
    if not all(tensor.is_floating_point() for tensor in state):
        return None
    shapes = [tensor.shape for tensor in state]
    # (out, h), and (h, out)
    for last in (results[-len(state) :], results[: len(state)]):
        if [tensor.shape for tensor in last] == shapes:
            break
    else:
        return None
    outputs = dict(zip("hc", last))
    others = [tensor for tensor in results if all(tensor is not t for t in last)]
    if x.dim() == 3 and others:
        axis = _axis_of_time(x, state[0], others[0])
        if axis is None:
            return None
        outputs = {"out": others[0], **outputs}
        return ModuleCall(x, state, outputs, x.shape[axis], axis, x.shape[1 - axis])
    if x.dim() > 2:
        return None
    if others:
        outputs["y"] = others[0]
    sequences = state[0].shape[-2] if state[0].dim() > 1 else 1
    return ModuleCall(x, state, outputs, sequences=sequences)


class OwnModules:
    """Which modules are candidates, each looked at once."""

    def __init__(self) -> None:
        """Know no module yet."""
        self._is_candidate = WeakKeyDictionary[nn.Module, bool]()

    def is_candidate(self, module: nn.Module) -> bool:
        """Return whether a module is the script's own, has parameters, and has none
        within it that is recorded already.
        """
        known = self._is_candidate.get(module)
        if known is not None:
            return known
        parts = list(module.modules())
        is_own = not type(module).__module__.startswith("torch.")
        is_own = is_own and any(True for _ in module.parameters())
        inside = [part for part in parts if part is not module]
        is_outer = any(
            isinstance(part, (nn.RNNBase, RNNCellBase)) or self._is_candidate.get(part)
            for part in inside
        )
        is_candidate = is_own and not is_outer and not isinstance(module, nn.RNNBase)
        is_candidate = is_candidate and not isinstance(module, RNNCellBase)
        self._is_candidate[module] = is_candidate
        return is_candidate

    def drop(self, module: nn.Module) -> None:
        """Note that calls of a module are not those of a recurrent one."""
        self._is_candidate[module] = False
