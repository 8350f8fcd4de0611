"""Ways to train the network, each as its users write it: one module per way.

`prepare(case)` of a module converts weights, compiles functions, and returns a call
that trains: its results are the losses of all updates and the final weights (W_xh,
W_hh, W_hy). It raises `Unsupported` on a case that the module does not implement.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy_rnn
from benchmarks.cases import Case

Call = Callable[[], tuple[Any, Any]]


class Unsupported(Exception):
    """An implementation does not support a case; the message gives the reason."""


# Name in tables: module, package that it needs, description.
IMPLEMENTATIONS = {
    "numpy_rnn": (
        "",
        "numpy",
        "`numpy_rnn.train`, read by epoch or after every update",
    ),
    "torch.nn.RNN": (
        "torch_modules",
        "torch",
        "torch.nn.RNN, of one step RNNCell, and torch.optim",
    ),
    "tutorial": (
        "tutorial_loop",
        "torch",
        "a loop over points, autograd and `.data -=`",
    ),
    "JAX": (
        "jax_scan",
        "jax",
        "jit over lax.scan with value_and_grad; vmap for ensembles",
    ),
    "min-char-rnn": (
        "min_char_rnn",
        "numpy",
        "Karpathy's program of 2015, reimplemented",
    ),
    "bare calls": (
        "lower_bounds",
        "numpy",
        "the fewest NumPy calls that the equations need",
    ),
    "bare GEMMs": ("lower_bounds", "numpy", "the matrix products of these calls"),
}
BOUNDS = ("bare calls", "bare GEMMs")


def prepare(name: str, case: Case) -> Call:
    """A call that trains. Raises Unsupported if the implementation cannot run this case
    here.
    """
    module, package, _ = IMPLEMENTATIONS[name]
    if find_spec(package) is None:
        raise Unsupported(f"{package} is not installed")
    if not module:
        return prepare_ours(case)
    found = import_module(f"benchmarks.implementations.{module}")
    call: Call = found.prepare(case, name) if name in BOUNDS else found.prepare(case)
    return call


def prepare_ours(case: Case) -> Call:
    arrays = case.arrays()
    every: Any = 1 if case.every_update else "epoch"

    def call():
        losses = []
        for update in numpy_rnn.train(
            *arrays, **case.options.keywords(), yield_every=every
        ):
            losses.append(float(update.loss) if every == 1 else update.losses)
        return losses, update.parameters[:3]

    return call


def one_network(case: Case) -> Case:
    """The case. Raises Unsupported on an ensemble."""
    if case.networks:
        raise Unsupported("one network only")
    return case
