"""Tasks that are timed, names of the rows, and which of them are timed on which case."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.workloads import (
    CHARACTER_MODELS,
    DEEP_BENCH,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    GRID,
    HUGE,
    SLIDING,
    Case,
    point,
)

FORWARD, GRADIENT, STEP, RUN, CHARACTERS = TASKS = ("forward", "gradient", "step", "run", "characters")
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

ENSEMBLE_ROWS = (OURS, EVERY, REFERENCE, OTHER, JAX, *FLOORS)
WINDOW_ROWS = (OURS, OTHER, MODULES, JAX, *FLOORS)
WINDOWS = (point(6, 1), point(64, 8), point(256, 32), DEEP_BENCH)
SPARSE = {point(H, B) for H in (6, 64, 256, 1024) for B in (1, 32)}  # the points of the grid that all rows have
LARGE_ROWS = (OURS, MODULES, JAX, GEMMS)  # of H ≥ 256, and of several threads; smaller points have the first two

QUICK: tuple[Part, ...] = (
    (RUN, (DEFAULT_EXPERIMENT,), (OURS, EVERY, TUTORIAL, JAX, CALLS)),
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
    (STEP, GRID, (OURS, REFERENCE, OTHER, MODULES, JAX, *FLOORS)),
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
        if _is_timed(task, case, row) and (threads == 1 or row in LARGE_ROWS)
    ]


def _is_timed(task: str, case: Case, row: str) -> bool:
    return task != STEP or case in SPARSE or row in LARGE_ROWS[: 4 if case.H >= 256 else 2]
