"""What is timed: in the quick run, and in the full one. All rows of a case are timed one after the other."""

from benchmarks.tasks import (
    CALLS,
    CHARACTERS,
    COLD,
    EVERY,
    FLOORS,
    FORWARD,
    GEMMS,
    GRADIENT,
    IMPORT,
    JAX,
    MIN_CHAR_RNN,
    MODULES,
    OTHER,
    OURS,
    REFERENCE,
    RUN,
    STEP,
    TUTORIAL,
    C,
    Key,
)
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

Part = tuple[str, tuple[Case, ...], tuple[str, ...]]  # a task, its cases, and the rows

MAX_C_SIZE = 2**20  # B·H²: beyond it, the C loop is no floor
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
