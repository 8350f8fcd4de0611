"""The rows: ways to train the network, one module for each or for a family. A module is imported when it is needed."""

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from benchmarks.prepared import Prepared, Unsupported
from benchmarks.tasks import (
    CALLS,
    EVERY,
    GEMMS,
    JAX,
    MIN_CHAR_RNN,
    MODULES,
    OTHER,
    OURS,
    REFERENCE,
    TUTORIAL,
)
from benchmarks.workloads import Case


class Source(NamedTuple):
    """Where a row is written, the package that it needs, and how it is written."""

    module: str
    package: str
    about: str


ROWS = {
    OURS: Source(
        "elman_packages",
        "numpy",
        "the reference's forward and bptt; the engine's steps and runs, read by epoch",
    ),
    EVERY: Source("elman_packages", "numpy", "the same, its loss read after every update"),
    REFERENCE: Source(
        "elman_packages", "numpy", "the reference's training loop, written to be read"
    ),
    OTHER: Source(
        "elman_packages", "torch", "the same network in PyTorch, with gradients by autograd"
    ),
    MODULES: Source(
        "torch_modules",
        "torch",
        "torch.nn.RNN and torch.optim as their users write it: a window in one call of nn.RNN (of one step:"
        " nn.RNNCell), zero_grad(set_to_none), SGD(foreach=False), which for three tensors was never slower than"
        " foreach or fused",
    ),
    TUTORIAL: Source(
        "tutorial_loop",
        "torch",
        "a loop over the points, autograd and `.data -=`, as tutorials write it",
    ),
    JAX: Source(
        "jax_scan",
        "jax",
        "jit over lax.scan with value_and_grad, parameters donated; vmap for ensembles",
    ),
    MIN_CHAR_RNN: Source(
        "min_char_rnn", "numpy", "Karpathy's program of 2015, reimplemented: a loop over columns"
    ),
    CALLS: Source(
        "floors", "numpy", "the fewest NumPy calls that the equations need, and nothing else"
    ),
    GEMMS: Source(
        "floors",
        "numpy",
        "the matrix products of these calls, each in the layout that is fastest here",
    ),
}


def prepare(row: str, task: str, case: Case) -> Prepared:
    """A task of a row on a case. Raises Unsupported if the row has no such task or cannot run here."""
    source = ROWS[row]
    if find_spec(source.package) is None:
        raise Unsupported(f"{source.package} is not installed")
    tasks = import_module(f"benchmarks.rows.{source.module}").tasks(row)
    if task not in tasks:
        raise Unsupported(f"has no {task}")
    return tasks[task](case)
