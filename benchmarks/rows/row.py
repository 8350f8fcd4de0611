"""What every row offers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import Case

FORWARD, GRADIENT, STEP, RUN = TASKS = ("forward", "gradient", "step", "run")


class Unsuited(Exception):
    """A row cannot do a task on a case; the message says why."""


class Prepared(NamedTuple):
    """A task on a case, with everything set up that is set up once: weights converted, functions compiled.

    Steps go on from the parameters that the step before left, as in training; the other tasks repeat themselves.
    """

    call: Callable[[], Any]  # what is timed; returns when the work is done
    result: Callable[[], dict[str, np.ndarray]]  # the same once, from the case's own numbers, to be judged
    compile_seconds: float | None = None


class Row(NamedTuple):
    """One way to train the network.

    tasks: forward (y of all T steps), gradient (the loss and its gradient), step (the gradient and an SGD update): of
    one window over all T steps; and run (a whole training: all epochs, an SGD update a window). Each raises Unsuited on
    a case that it cannot do. The results: "y"; "loss", "dW_xh", "dW_hh", "dW_hy"; these and "W_xh", "W_hh", "W_hy"
    after the update; "losses", of every epoch the sum over its windows, and the last "W_xh", "W_hh", "W_hy".
    """

    name: str
    about: str  # how it is written, and why so
    absent: Callable[[], str | None]  # why it cannot run here; None if it can
    tasks: Mapping[str, Callable[[Case], Prepared]]


def present() -> None:
    """Of rows that need nothing but their package."""


def report(loss=None, gradients=(), parameters=()) -> dict[str, np.ndarray]:
    """A result, from the loss and (W_xh, W_hh, W_hy) of either kind, in arrays that NumPy can read."""
    found = {} if loss is None else {"loss": loss}
    found |= dict(zip(("dW_xh", "dW_hh", "dW_hy"), gradients)) | dict(zip(("W_xh", "W_hh", "W_hy"), parameters))
    return {name: np.array(value) for name, value in found.items()}


def run_report(losses, parameters) -> dict[str, np.ndarray]:
    """The result of a run: losses (epochs,), of an ensemble (epochs, networks)."""
    return {"losses": np.array(losses), **report(parameters=parameters)}


def one_network(case: Case) -> Case:
    """The case. Raises Unsuited on an ensemble."""
    if case.networks > 1:
        raise Unsuited("one network only")
    return case
