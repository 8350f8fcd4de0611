"""Tasks that are timed, names of the rows, and which of them are timed on which case."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.workloads import (
    CHARACTER_MODELS,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    GRID,
    HUGE,
    LARGE,
    SLIDING,
    Case,
    point,
)

FORWARD, GRADIENT, STEP, RUN, CHARACTERS = TASKS = (
    "forward",
    "gradient",
    "step",
    "run",
    "characters",
)
COLD, IMPORT = PROCESS_TASKS = ("cold start", "import")  # these time a whole process

OURS, EVERY, REFERENCE = "numpy_rnn", "numpy_rnn, every update", "numpy_rnn.reference"
OTHER, MODULES, TUTORIAL = "torch_rnn", "torch.nn.RNN", "tutorial loop"
JAX, MIN_CHAR_RNN = "JAX", "min-char-rnn"
CALLS, GEMMS = FLOORS = ("bare calls", "bare GEMMs")


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


Part = tuple[str, tuple[Case, ...], tuple[str, ...]]  # a task, its cases, and the rows

ENSEMBLE_ROWS = (OURS, EVERY, REFERENCE, JAX, CALLS)
WINDOW_ROWS = (OURS, MODULES, JAX, CALLS)
WINDOWS = (point(6, 1), point(64, 8), point(256, 32))
LARGE_ROWS = (OURS, MODULES, JAX, GEMMS)  # of the largest windows, and of several threads

QUICK: tuple[Part, ...] = (
    (RUN, (DEFAULT_EXPERIMENT,), (OURS, EVERY, TUTORIAL, JAX, CALLS)),
    (RUN, (SLIDING[0],), (OURS,)),
    (RUN, (ENSEMBLES[2],), (OURS, CALLS)),
    (CHARACTERS, CHARACTER_MODELS[:1], (OURS, MODULES, MIN_CHAR_RNN)),
    (STEP, (point(64, 8), point(256, 32)), (OURS, MODULES, JAX, GEMMS)),
    (IMPORT, (DEFAULT_EXPERIMENT,), ("numpy", OURS)),
)
FULL: tuple[Part, ...] = (
    (RUN, (DEFAULT_EXPERIMENT,), (*ENSEMBLE_ROWS, GEMMS, OTHER, MODULES, TUTORIAL)),
    (RUN, SLIDING, (*ENSEMBLE_ROWS, MODULES)),
    (RUN, ENSEMBLES, ENSEMBLE_ROWS),
    (RUN, (HUGE,), (OURS, JAX, CALLS)),
    (CHARACTERS, CHARACTER_MODELS, (OURS, REFERENCE, OTHER, MODULES, JAX, MIN_CHAR_RNN, *FLOORS)),
    (FORWARD, WINDOWS, WINDOW_ROWS),
    (GRADIENT, WINDOWS, WINDOW_ROWS),
    (STEP, GRID, (OURS, REFERENCE, MODULES, JAX, *FLOORS)),
    (STEP, LARGE, LARGE_ROWS),
    *((task, (point(256, 32),), (OTHER,)) for task in (FORWARD, GRADIENT, STEP)),
    (COLD, (DEFAULT_EXPERIMENT,), (OURS, MODULES, TUTORIAL, JAX)),
    (IMPORT, (DEFAULT_EXPERIMENT,), ("numpy", OURS)),
)


def plan(full: bool, threads: int = 1) -> list[Key]:
    """The benchmarks of the quick run or the full one, in the order in which they are timed."""
    return [
        Key(task, case.name, row)
        for task, cases, rows in (FULL if full else QUICK)
        for case in cases
        for row in rows
        if threads == 1 or row in LARGE_ROWS
    ]
