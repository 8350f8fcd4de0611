"""What a row returns for a task: a call that is timed, and results that are checked."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.workloads import Case

PARAMETERS = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


class Unsupported(Exception):
    """A row does not support a task on a case; the message gives the reason."""


class Prepared(NamedTuple):
    """A task on a case after its setup: weights are converted, functions are compiled.

    The tasks of one window over all T steps are forward (y), gradient (loss and gradients) and step (the same and an
    SGD update; every call continues from the parameters of the last). A run is a whole training from the initial
    weights, with an update per window; characters is the training of a character model.

    `result` returns NumPy arrays by name, computed from the case's own numbers: "y"; "loss", "dW_xh", "dW_hh",
    "dW_hy"; these and "W_xh", "W_hh", "W_hy" after the update; of a run "losses", the sums over each epoch, and the
    final weights; of a character model only "losses", of its updates.
    """

    call: Callable[[], Any]  # this is timed; it returns when the work is done
    result: Callable[[], dict[str, np.ndarray]]  # this is checked
    compile_seconds: float | None = None


Tasks = Mapping[str, Callable[[Case], Prepared]]


def results(
    loss: Any = None, gradients: Iterable[Any] = (), parameters: Iterable[Any] = ()
) -> dict[str, np.ndarray]:
    """A result from the loss, (W_xh, W_hh, W_hy) of the gradients, and the parameters."""
    named = {} if loss is None else {"loss": loss}
    named |= dict(zip(("dW_xh", "dW_hh", "dW_hy"), gradients)) | dict(zip(PARAMETERS, parameters))
    return {name: np.array(value) for name, value in named.items()}


def run_results(losses: Any, parameters: Iterable[Any]) -> dict[str, np.ndarray]:
    """The result of a run: losses (epochs,), or (epochs, networks) of an ensemble."""
    return {"losses": np.array(losses), **results(parameters=parameters)}


def one_network(case: Case) -> Case:
    """The case. Raises Unsupported on an ensemble."""
    if case.networks > 1:
        raise Unsupported("one network only")
    return case
