"""Tasks that are timed, names of the rows, what a row returns for a task, and which of them are timed on which case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.workloads import (
    CHARACTER_MODELS,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    GRID,
    HUGE,
    SLIDING,
    Case,
    deep_bench,
    point,
)

FORWARD, GRADIENT, STEP, RUN, CHARACTERS = TASKS = ("forward", "gradient", "step", "run", "characters")
COLD, IMPORT = PROCESS_TASKS = ("cold start", "import")  # these time a whole process

OURS, EVERY, REFERENCE = "numpy_rnn", "numpy_rnn, every update", "numpy_rnn.reference"
OTHER, MODULES, TUTORIAL = "torch_rnn", "torch.nn.RNN", "tutorial loop"
JAX, C, MIN_CHAR_RNN = "JAX", "C loop", "min-char-rnn"
CALLS, GEMMS = FLOORS = ("bare calls", "bare GEMMs")

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


Prepare = Callable[[Case], Prepared]
Tasks = Mapping[str, Prepare]


class Key(NamedTuple):
    """What a time belongs to. As text, it is the name of a benchmark in pyperf's file."""

    task: str
    case: str
    row: str

    def to_text(self) -> str:
        return " / ".join(self)

    @classmethod
    def from_text(cls, text: str) -> Key:
        return cls(*text.split(" / "))


def results(loss: Any = None, gradients: Iterable[Any] = (), parameters: Iterable[Any] = ()) -> dict[str, np.ndarray]:
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


Part = tuple[str, tuple[Case, ...], tuple[str, ...]]  # a task, its cases, and the rows

MAX_C_SIZE = 2**20  # B·H²: beyond it, loops that are not blocked for caches are no floor
ENSEMBLE_ROWS = (OURS, EVERY, REFERENCE, OTHER, JAX, C, *FLOORS)
WINDOW_ROWS = (OURS, OTHER, MODULES, JAX, C, *FLOORS)
WINDOWS = (point(6, 1), point(64, 8), point(256, 32), deep_bench(1760, 16, 50))
SPARSE = {point(H, B) for H in (6, 64, 256, 1024) for B in (1, 32)}  # the points of the grid that all rows have
LARGE_ROWS = (OURS, MODULES, JAX, GEMMS)  # of the points with H ≥ 256; smaller ones have the first two
COLD_ROWS = (OURS, MODULES, TUTORIAL, JAX, C)
THREADED = (OURS, MODULES, JAX, GEMMS)  # with several threads

QUICK: tuple[Part, ...] = (
    (RUN, (DEFAULT_EXPERIMENT,), (OURS, EVERY, TUTORIAL, JAX, C, CALLS)),
    (RUN, (SLIDING[0],), (OURS,)),
    (RUN, (ENSEMBLES[2],), (OURS, CALLS)),
    (CHARACTERS, CHARACTER_MODELS[:1], (OURS, MODULES, MIN_CHAR_RNN)),
    (STEP, (point(64, 8), point(256, 32)), (OURS, MODULES, JAX, GEMMS)),
    (IMPORT, (DEFAULT_EXPERIMENT,), ("numpy", OURS)),
)
FULL: tuple[Part, ...] = (
    (RUN, (DEFAULT_EXPERIMENT,), (*ENSEMBLE_ROWS, MODULES, TUTORIAL)),
    (RUN, SLIDING, (*ENSEMBLE_ROWS, MODULES)),
    (RUN, ENSEMBLES, ENSEMBLE_ROWS),
    (RUN, (HUGE,), (OURS, JAX, CALLS)),
    (CHARACTERS, CHARACTER_MODELS, (OURS, REFERENCE, OTHER, MODULES, JAX, MIN_CHAR_RNN, *FLOORS)),
    (FORWARD, WINDOWS, WINDOW_ROWS),
    (GRADIENT, WINDOWS, WINDOW_ROWS),
    (STEP, GRID, (OURS, REFERENCE, OTHER, MODULES, JAX, C, *FLOORS)),
    (COLD, (DEFAULT_EXPERIMENT,), COLD_ROWS),
    (IMPORT, (DEFAULT_EXPERIMENT,), ("numpy", OURS)),
)


def plan(full: bool, threads: int = 1) -> list[Key]:
    """The benchmarks of the quick run or the full one, in the order in which they are timed."""
    return [
        Key(task, case.name, row)
        for task, cases, rows in (FULL if full else QUICK)
        for case in cases
        for row in rows
        if _is_timed(task, case, row) and (threads == 1 or row in THREADED)
    ]


def _is_timed(task: str, case: Case, row: str) -> bool:
    if row == C and case.B * case.H**2 > MAX_C_SIZE:
        return False
    return task != STEP or case in SPARSE or row in LARGE_ROWS[: 4 if case.H >= 256 else 2]
