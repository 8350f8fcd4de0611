"""The calls of recurrent modules, and names by which a user finds them."""

import gc
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

MAX_SEARCHES = 5  # for names, each of which looks at all objects of the process


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


def _paths() -> dict[int, str]:
    """Return the path of each module and parameter that is alive, by its `id`: the
    longest, which begins at the whole model.
    """
    # `isinstance` would ask the objects, of which some are lazy
    modules = [
        value for value in gc.get_objects() if issubclass(type(value), nn.Module)
    ]
    paths: dict[int, str] = {}
    for root in modules:
        kind = type(root).__name__
        with suppress(AttributeError):  # of a module that is not made yet
            parts = [*root.named_modules(prefix=kind), *root.named_parameters(kind)]
            for path, part in parts:
                known = paths.get(id(part), "")
                if path.count(".") >= known.count("."):
                    paths[id(part)] = path
    return paths


class PartNames:
    """Adds the names of modules and parameters to a record, by their `id`."""

    def __init__(self, names: dict[int, str]) -> None:
        """Begin with the names that the record has."""
        self._names = names
        self._searches = 0

    def add(self, parts: Iterable[nn.Module | nn.Parameter]) -> None:
        """Name those that have no name: by their paths, after `MAX_SEARCHES` by their
        classes alone; parameters with their shapes.
        """
        unnamed = [part for part in parts if id(part) not in self._names]
        if not unnamed:
            return
        paths = _paths() if self._searches < MAX_SEARCHES else {}
        self._searches += 1
        for part in unnamed:
            name = paths.get(id(part), type(part).__name__)
            if isinstance(part, nn.Parameter):
                name += f" {tuple(part.shape)}"
            self._names[id(part)] = name


def kind_of(module: nn.Module) -> str:
    """Return the class of a module, and its sizes."""
    kind = type(module)
    if parametrize.is_parametrized(module):
        kind = kind.__mro__[1]
    library = "nn." if kind.__module__.startswith("torch.nn") else ""
    return f"{library}{kind.__name__}({module.extra_repr()})"
