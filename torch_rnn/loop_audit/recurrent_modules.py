"""The calls of recurrent modules, and names by which a user finds them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence


class ModuleCall(NamedTuple):
    """What a recurrent module or cell gets and returns."""

    x: torch.Tensor
    state: list[torch.Tensor]  # h, or h and c; none if it is not given
    outputs: dict[str, torch.Tensor]  # "out" but for cells, "h", "c"
    steps: int = 1
    axis: int | None = None  # of the steps in x and out; none for a cell
    batch_sizes: list[int] | None = None  # of a packed sequence

    @property
    def has_gradient(self) -> bool:
        """Whether a result is part of a graph."""
        return any(tensor.requires_grad for tensor in self.outputs.values())


def as_list(tensors: Any) -> list[torch.Tensor]:
    """Return one tensor, several or none as a list."""
    if tensors is None:
        return []
    return [tensors] if torch.is_tensor(tensors) else list(tensors)


def is_of_torch(module: nn.Module) -> bool:
    """Return whether the forward of a module is that of torch."""
    return type(module).forward.__module__.startswith("torch.")


def read_call(module: Any, arguments: Mapping[str, Any], result: Any) -> ModuleCall:
    """Return the tensors of a call from its arguments by name, and its result."""
    x = arguments["input"]
    state = as_list(arguments.get("hx"))
    if isinstance(module, RNNCellBase):
        return ModuleCall(x, state, dict(zip("hc", as_list(result))))
    out, last = result
    states = dict(zip("hc", as_list(last)))
    if isinstance(x, PackedSequence):
        sizes = x.batch_sizes.tolist()
        outputs = {"out": out.data, **states}
        return ModuleCall(x.data, state, outputs, len(sizes), 0, sizes)
    axis = min(int(module.batch_first), x.dim() - 2)
    return ModuleCall(x, state, {"out": out, **states}, x.shape[axis], axis)


def kind_of(module: nn.Module) -> str:
    """Return the class of a module, and its sizes."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        kind = kind.__mro__[1]
    library = "nn." if kind.__module__.startswith("torch.nn") else ""
    return f"{library}{kind.__name__}({module.extra_repr()})"
