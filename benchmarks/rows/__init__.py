"""The ways to train the network that are timed. Each module defines one row, or a family; `load` returns a row by name.

This module imports no NumPy, since the number of threads must be set before NumPy is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.workloads import Case

if TYPE_CHECKING:
    import numpy as np

FORWARD, GRADIENT, STEP, RUN = TASKS = ("forward", "gradient", "step", "run")
CHARACTERS = "characters"  # a task of some rows: the training of a character model

OURS, EVERY, REFERENCE = "numpy_rnn", "numpy_rnn, every update", "numpy_rnn.reference"
OTHER, MODULES, TUTORIAL, COMPILED = "torch_rnn", "torch.nn.RNN", "tutorial loop", "torch.compile"
JAX, HIPS, C, MIN_CHAR_RNN = "JAX", "HIPS autograd", "C loop", "min-char-rnn"
CALLS, GEMMS = FLOORS = ("bare calls", "bare GEMMs")  # not ways to train: lower bounds of any that uses NumPy
AGAIN = "numpy_rnn again"  # the A/A row: numpy_rnn a second time, as if it were another row

SOURCES = {  # of every row: the module that defines it, and the package that the module imports
    OURS: ("elman_packages", "numpy"),
    EVERY: ("elman_packages", "numpy"),
    REFERENCE: ("elman_packages", "numpy"),
    OTHER: ("elman_packages", "torch"),
    MODULES: ("torch_modules", "torch"),
    TUTORIAL: ("tutorial_loop", "torch"),
    COMPILED: ("torch_compiled", "torch"),
    JAX: ("jax_scan", "jax"),
    HIPS: ("hips_autograd", "autograd"),
    C: ("c_loop", "numpy"),
    MIN_CHAR_RNN: ("min_char_rnn", "numpy"),
}
ROWS = tuple(SOURCES)
CHARACTER_ROWS = (OURS, REFERENCE, OTHER, MODULES, JAX, MIN_CHAR_RNN, AGAIN)  # with the task of this name
PARAMETERS = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


class Unsupported(Exception):
    """A row does not support a task on a case; the message gives the reason."""


class Prepared(NamedTuple):
    """A task on a case after its setup: weights are converted, functions are compiled.

    A step continues from the parameters of the step before, as in training; the other tasks repeat themselves.
    """

    call: Callable[[], Any]  # this is timed; it returns when the work is done
    result: Callable[[], dict[str, np.ndarray]]  # the same once, from the case's own numbers, for the agreement check
    compile_seconds: float | None = None


class Row(NamedTuple):
    """One way to train the network.

    tasks: forward (y of all T steps), gradient (the loss and its gradient) and step (the gradient and an SGD update)
    of one window over all T steps; run (a whole training: all epochs, an SGD update per window); characters (the
    training of a character model by chunks, with clipping by value and Adagrad). Each raises Unsupported on a case that
    it does not support. The results are "y"; "loss", "dW_xh", "dW_hh", "dW_hy"; these and "W_xh", "W_hh", "W_hy" after
    the update; "losses", the sum over the windows of every epoch, and the final "W_xh", "W_hh", "W_hy"; of a character
    model "losses", one per update, and the parameters with "b_h" and "b_y", all after `first_updates` of the case; its
    call returns the losses of all updates first.
    """

    name: str
    about: str  # how it is written, and why
    absent: Callable[[], str | None]  # why it cannot run here; None if it can
    tasks: Mapping[str, Callable[[Case], Prepared]]


def load(name: str) -> Row:
    """The row or floor of this name; if its package is not installed, a row without tasks that gives this reason."""
    if name in FLOORS:
        return import_module("benchmarks.floors").ROWS[name]
    source, package = SOURCES[OURS if name == AGAIN else name]
    if find_spec(package) is None:
        return Row(name, "", lambda: f"{package} is not installed", {})
    module = import_module(f"benchmarks.rows.{source}")
    return module.row(name) if source == "elman_packages" else module.ROW


def present() -> None:
    """`Row.absent` of a row that needs nothing but its package."""


def report(loss: Any = None, gradients: Iterable[Any] = (), parameters: Iterable[Any] = ()) -> dict[str, np.ndarray]:
    """A result, from the loss, (W_xh, W_hh, W_hy) of the gradients, and the parameters, as NumPy arrays."""
    import numpy as np

    results = {} if loss is None else {"loss": loss}
    results |= dict(zip(("dW_xh", "dW_hh", "dW_hy"), gradients)) | dict(zip(PARAMETERS, parameters))
    return {name: np.array(value) for name, value in results.items()}


def run_report(losses: Any, parameters: Iterable[Any]) -> dict[str, np.ndarray]:
    """The result of a run: losses (epochs,), of an ensemble (epochs, networks), of a character model (updates,)."""
    import numpy as np

    return {"losses": np.array(losses), **report(parameters=parameters)}


def one_network(case: Case) -> Case:
    """The case. Raises Unsupported on an ensemble."""
    if case.networks > 1:
        raise Unsupported("one network only")
    return case
