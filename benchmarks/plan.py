"""Which jobs the two modes have, and what the options leave of them."""

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.cases import ENSEMBLES, GRID, MAIN_JOB, NAMED, SLIDING, Case, point
from benchmarks.pieces import (
    AGAIN,
    COLD,
    COMPILED,
    FLOORS,
    FORWARD,
    FULL,
    GRADIENT,
    HIPS,
    IMPORT,
    JAX,
    MODULES,
    OTHER,
    OURS,
    QUICK,
    ROWS,
    RUN,
    STEP,
    TUTORIAL,
    Job,
    Wanted,
)

MEMORY, SUITE, PROFILE = "memory", "suite", "profile"
ROW_TASKS = (FORWARD, GRADIENT, STEP, RUN, COLD)
TASKS = (*ROW_TASKS, IMPORT, MEMORY, SUITE, PROFILE)
FRESH = MAIN_JOB._replace(name="fresh process")  # the case of imports
ALL_ROWS = (*ROWS, *FLOORS, AGAIN)
WITHIN_TWO_MINUTES = tuple(row for row in ALL_ROWS if row not in (COMPILED, HIPS, OTHER))
MOST_NETWORKS = 1000  # of the quick mode
QUICK_GRID = (point(6, 1), point(64, 8), point(256, 32), point(256, 32, 100), point(512, 32))
FEW = (MAIN_JOB.name, f"{MOST_NETWORKS} networks", QUICK_GRID[0].name, QUICK_GRID[2].name)
SLOW_TO_BEGIN = (JAX,)  # in the quick mode it does only those few
QUICK_UPDATES = 600  # of a run; more takes longer, and says no more of the time a point


class Choice(NamedTuple):
    """What the user asked for."""

    full: bool
    rows: tuple[str, ...] = ALL_ROWS
    tasks: tuple[str, ...] = TASKS
    cases: tuple[str, ...] = ("",)  # parts of their names
    threads: tuple[int, ...] = (1,)

    def jobs(self, task: str, cases: Iterable[Case]) -> tuple[Job, ...]:
        return tuple(
            Job(task, case) for case in cases if task in self.tasks and any(part in case.name for part in self.cases)
        )


def wanted(choice: Choice) -> list[Wanted]:
    """All groups of pieces that are measured; those without jobs are left out."""
    groups = [group for threads in choice.threads for group in (_full if choice.full else _quick)(choice, threads)]
    cold_rows = [row for row in (ROWS if choice.full else (OURS, TUTORIAL)) if row in choice.rows]
    if 1 in choice.threads:
        groups.append(Wanted({row: choice.jobs(COLD, [MAIN_JOB]) for row in cold_rows}))
        groups.append(Wanted({module: choice.jobs(IMPORT, [FRESH]) for module in ("numpy", OURS)}))
    kept = [group._replace(jobs={row: jobs for row, jobs in group.jobs.items() if jobs}) for group in groups]
    return [group for group in kept if group.jobs]


def _full(choice, threads):
    """Every row on every case in a process of its own, with the tasks of the case one after the other."""
    runs = [choice.jobs(RUN, [case]) for case in (*SLIDING[1:], *ENSEMBLES)] if threads == 1 else []
    runs.insert(0, choice.jobs(RUN, [MAIN_JOB]))
    tasks = (FORWARD, GRADIENT, STEP) if threads == 1 else (STEP,)
    windows = [[job for task in tasks for job in choice.jobs(task, [case])] for case in (*GRID, *NAMED[1:])]
    rows = _rows(choice, ALL_ROWS, threads)
    return [Wanted(dict.fromkeys(rows, tuple(jobs)), threads, FULL) for jobs in (*runs, *windows)]


def _quick(choice, threads):
    """Every row in one process a round, which does all of its jobs: the imports would take most of the time."""
    ensembles = [case for case in ENSEMBLES if 1 < case.networks <= MOST_NETWORKS] if threads == 1 else []
    cases = [shortened(case) for case in (MAIN_JOB, *SLIDING[1:], *ensembles)]
    jobs = choice.jobs(RUN, cases) + choice.jobs(STEP, QUICK_GRID)
    few = tuple(job for job in jobs if job.case.name in FEW)
    rows = _rows(choice, WITHIN_TWO_MINUTES, threads)
    return [Wanted({row: few if row in SLOW_TO_BEGIN else jobs for row in rows}, threads, QUICK)]


def _rows(choice, rows, threads):
    """With more threads, the two that are compared with them, and the noise."""
    return [row for row in rows if row in choice.rows and (threads == 1 or row in (OURS, MODULES, AGAIN))]


def shortened(case: Case) -> Case:
    """The case with as many epochs as the quick mode has time for."""
    steps = (case.k2 or 1) * max(case.networks // 100, 1)
    return case._replace(epochs=min(case.epochs, max(QUICK_UPDATES // case.T // steps, 1)))
