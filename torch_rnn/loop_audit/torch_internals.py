"""What the audit uses of torch that is private there, but for the nodes of autograd,
which `graph.py` walks and marks.

So a version of torch that changes it concerns these two files. It was tried with torch
2.13; `.ci/versions` tries it with the oldest one.
"""

import sys
from collections.abc import Iterable
from types import CellType
from typing import Any

import torch
from torch.jit import _builtins
from torch.nn.utils import clip_grad
from torch.utils.data import dataloader

# What is watched: the module of torch's operators, and names of attributes

OPERATORS: Any = torch._C._nn
LOSSES_OF_OPERATORS = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "cross_entropy_loss",
    "nll_loss_nd",
    "binary_cross_entropy",
)
LOSSES_OF_TORCH = ("binary_cross_entropy_with_logits", "kl_div", "ctc_loss")
BACKWARD = "_engine_run_backward"  # of torch.autograd, also for Tensor.backward
UNSCALE = "_unscale_grads_"  # of a GradScaler
CLIP_NORM: Any = clip_grad._clip_grads_with_norm_  # which clip_grad_norm_ calls
CLIP_VALUE: Any = clip_grad.clip_grad_value_
NAMED_FOR_JIT: list[Any] = []
LOADER: Any = dataloader._BaseDataLoaderIter  # yields batches, and gets their indices
NEXT_INDEX = "_next_index"


# Functions


def is_hidden() -> bool:
    """Return whether torch transforms or traces the functions that it calls."""
    level = torch._C._functorch.maybe_current_level()
    return level is not None or bool(torch._C._is_tracing())


def run_uncompiled(function: Any) -> None:
    """Let torch.compile run the frames of a function as they are, and compile what
    these call.
    """
    dynamo: Any = torch._C._dynamo.eval_frame
    if hasattr(dynamo, "skip_code"):
        dynamo.skip_code(function.__code__)
    else:
        action = dynamo._FrameAction
        strategy = dynamo._FrameExecStrategy(action.SKIP, action.DEFAULT)
        dynamo.set_code_exec_strategy(function.__code__, strategy)


def has_compiled() -> bool:
    """Return whether torch.compile has made a graph in this process."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and dynamo.counters["stats"]["unique_graphs"] > 0


def name_for_jit(function: Any, operator: Any) -> None:
    """Let torch.jit take a function for an operator of torch.

    torch.jit knows operators by their `id`, so the function is kept for ever.
    """
    name = _builtins._find_builtin(operator)  # type: ignore[no-untyped-call]
    if name is not None:
        _builtins._register_builtin(function, name)
        NAMED_FOR_JIT.append(function)


def cell_of_decorated(decorated: Any) -> CellType:
    """Return the cell of a decorator's closure that holds the decorated function."""
    original = decorated.__wrapped__
    closure: tuple[CellType, ...] = decorated.__closure__
    (cell,) = (c for c in closure if c.cell_contents is original)
    return cell


# Tensors


def base_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor of which this is a view, or the tensor itself."""
    return tensor if tensor._base is None else tensor._base


def version_of(tensor: torch.Tensor) -> int:
    """Return how often a tensor was changed in place."""
    return tensor._version


def embedded_indices(embedding: Any) -> torch.Tensor:
    """Return the indices of an embedding by its node of autograd."""
    indices: torch.Tensor = embedding._saved_indices
    return indices


def shape_of(node: Any) -> tuple[int, ...] | None:
    """Return the shape of the first result of a node of autograd, if torch tells it."""
    metadata = getattr(node, "_input_metadata", None)
    return tuple(metadata[0].shape) if metadata else None


def dense_part(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values of a sparse tensor that are not left out, or the tensor."""
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def norms_of(tensors: Iterable[torch.Tensor]) -> list[float]:
    """Return the 2-norms of the values of tensors, computed in float64."""
    values = [dense_part(tensor.detach()) for tensor in tensors]
    if not values:
        return []
    norms = torch._foreach_norm(values, 2, torch.float64)
    result: list[float] = torch.stack(list(norms)).tolist()
    return result
