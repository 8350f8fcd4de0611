"""Ways to train the network, each as its users write it: one module per way.

`prepare(case)` of a module converts weights, compiles functions, and returns a call
that trains: its results are the losses of all updates and the final weights (W_xh,
W_hh, W_hy). It raises `Unsupported` on a case that the module does not implement. The
numbers of the others are compared with the reference before they are timed.
"""

import os
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import Case
from numpy_rnn.common.trees import tree_map

Results = tuple[Any, Any]  # the losses, and the final W_xh, W_hh and W_hy
Call = Callable[[], Results]


class Unsupported(Exception):
    """An implementation does not support a case; the message gives the reason."""


class Implementation(NamedTuple):
    """An implementation in the tables."""

    module: str
    package: str  # that it needs
    description: str


IMPLEMENTATIONS = {
    "numpy_rnn": Implementation(
        "numpy_rnn_train",
        "numpy",
        "`numpy_rnn.train`, read by epoch or after every update",
    ),
    "NumPy floor": Implementation(
        "numpy_floor", "numpy", "the bare calls of NumPy of one-step windows"
    ),
    "torch.nn.RNN": Implementation(
        "torch_modules", "torch", "torch.nn.RNN, of one step RNNCell, and torch.optim"
    ),
    "JAX": Implementation(
        "jax_scan", "jax", "jit over lax.scan with value_and_grad; vmap for ensembles"
    ),
    "min-char-rnn": Implementation(
        "min_char_rnn", "numpy", "Karpathy's program of 2015, reimplemented"
    ),
}


def prepare(name: str, case: Case) -> Call:
    """Return a call that trains. name: an implementation, or a file with a `train`.

    Raises Unsupported if the implementation cannot run this case here.
    """
    if name.endswith(".py"):
        return prepare_file(case, name)
    module, package, _ = IMPLEMENTATIONS[name]
    if find_spec(package) is None:
        raise Unsupported(f"{package} is not installed")
    implementation = import_module(f"benchmarks.implementations.{module}")
    call: Call = implementation.prepare(case)
    return call


def prepare_file(case: Case, path: str) -> Call:
    """Return a call of the function `train` of a file, with copies of parameters.

    Raises Unsupported if the function raises NotImplementedError on the beginning of
    the run, ValueError if there is no such function.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.append(folder)
    train = runpy.run_path(path).get("train")
    if not callable(train):
        raise ValueError("it has no function train")

    def prepared(case: Case) -> Call:
        params, *series = case.arrays()
        keywords = case.options.keywords()

        def call() -> Results:
            copies = tree_map(np.copy, params)
            result: Results = train(copies, *series, **keywords)
            return result

        return call

    try:
        prepared(case.beginning())()
    except NotImplementedError as error:
        raise Unsupported(str(error)) from None
    return prepared(case)


def one_network(case: Case) -> Case:
    """Return the case. Raises Unsupported on an ensemble."""
    if case.networks:
        raise Unsupported("one network only")
    return case
