"""What is measured: jobs in groups, which the options select, and pieces, each of which is one fresh process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from benchmarks.rows import (
    AGAIN,
    CHARACTER_ROWS,
    CHARACTERS,
    COMPILED,
    FLOORS,
    FORWARD,
    GRADIENT,
    HIPS,
    JAX,
    MIN_CHAR_RNN,
    MODULES,
    OTHER,
    OURS,
    REFERENCE,
    ROWS,
    RUN,
    STEP,
)
from benchmarks.workloads import (
    CHARACTER_MODELS,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    GRID,
    MIN_THREADED_NETWORKS,
    NAMED,
    SIZES_H,
    SLIDING,
    Case,
    first_updates,
    point,
)

COLD, IMPORT = "cold start", "import"  # tasks that time a whole process
MEMORY, SUITE, PROFILE = "memory", "suite", "profile"  # tasks that belong to no row
ROW_TASKS = (FORWARD, GRADIENT, STEP, RUN, CHARACTERS, COLD)
ALL_TASKS = (*ROW_TASKS, IMPORT, MEMORY, SUITE, PROFILE)
ALL_ROWS = (*ROWS, *FLOORS, AGAIN)

FRESH = DEFAULT_EXPERIMENT._replace(name="fresh process")  # the case of imports
QUICK_ROWS = tuple(row for row in ALL_ROWS if row not in (COMPILED, HIPS, OTHER, REFERENCE))
MAX_QUICK_NETWORKS = 1000
QUICK_GRID = (point(6, 1), point(64, 8), point(256, 32), point(256, 32, 100), point(512, 32))
SLOW_TO_START = (JAX,)  # in the quick mode, these rows have only the cases below
QUICK_CASES_OF_SLOW_ROWS = (DEFAULT_EXPERIMENT.name, f"{MAX_QUICK_NETWORKS} networks", QUICK_GRID[2].name)
MIN_EPOCHS = 5  # of a run
QUICK_UPDATES, FULL_UPDATES = 600, 6000  # of a run with k2 = 1; more would not change the time per point
QUICK_CHARACTER_UPDATES = 40  # of a character model
RANGES_OF_H = ((1, 64), (65, 256), (257, 2048))  # smallest and largest H of the cases that one process measures
CASES_OF_ALL_TASKS = (point(6, 1), point(64, 8), point(256, 32), NAMED[1])  # the other windows have steps only
SPARSE_ROWS = (COMPILED, HIPS, OTHER, REFERENCE)  # slow ones: of the grid they have these batches, T = 50, float32
SPARSE_BATCHES = (1, 32)
COMPILED_SIZES = SIZES_H[::2]  # torch.compile takes 8 to 45 seconds per window
ROWS_IN_THREADS = (OURS, MODULES, AGAIN)  # the comparison that is made with several threads, and its noise
ENSEMBLE_ROWS_IN_THREADS = (*ROWS_IN_THREADS, JAX)


class Key(NamedTuple):
    """What a time belongs to. As text, it is the name of a benchmark in pyperf's file."""

    task: str
    row: str
    case: str
    threads: int = 1

    def to_text(self) -> str:
        return " | ".join((self.task, self.row, self.case, in_words(self.threads)))

    @classmethod
    def from_text(cls, text: str) -> Key:
        task, row, case, threads = text.split(" | ")
        return cls(task, row, case, int(threads.split()[0]))


def in_words(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


class Job(NamedTuple):
    """A task on a case; a value is the mean of `loops` calls, 0 before the calibration."""

    task: str
    case: Case
    loops: int = 0


class Effort(NamedTuple):
    """What pyperf does for one benchmark in one process."""

    values: int
    warmups: int  # values that are discarded, after one call that is discarded too; none if a value is one call
    min_seconds: float  # per value, which is the mean of as many calls as this needs


QUICK, FULL = Effort(1, 1, 0.02), Effort(1, 1, 0.03)


class Piece(NamedTuple):
    """The work of one process: some jobs of one row. Round 0 checks agreement and calibrates the loops."""

    round: int
    row: str
    threads: int
    jobs: tuple[Job, ...]
    effort: Effort = QUICK

    @property
    def keys(self) -> list[Key]:
        return [Key(job.task, self.row, job.case.name, self.threads) for job in self.jobs]

    def to_text(self) -> str:
        """The piece as one line of JSON."""
        jobs = [(job.task, job.case.to_text(), job.loops) for job in self.jobs]
        return json.dumps([self.round, self.row, self.threads, jobs, self.effort])

    @classmethod
    def from_text(cls, text: str) -> Piece:
        number, row, threads, jobs, effort = json.loads(text)
        return cls(
            number,
            row,
            threads,
            tuple(Job(task, Case.from_text(case), loops) for task, case, loops in jobs),
            Effort(*effort),
        )


class Group(NamedTuple):
    """Rows that are compared with each other. Every round measures them directly after one another."""

    jobs: Mapping[str, tuple[Job, ...]]  # by row
    threads: int = 1
    effort: Effort = QUICK


def pieces_of_round(number: int, groups: Sequence[Group], generator: Random) -> list[Piece]:
    """Every row of every group once: the groups in random order, and the rows within each group."""
    return [
        Piece(number, row, group.threads, group.jobs[row], group.effort)
        for group in generator.sample(groups, len(groups))
        for row in generator.sample(list(group.jobs), len(group.jobs))
    ]


class Choice(NamedTuple):
    """What the options select."""

    full: bool
    rows: tuple[str, ...] = ALL_ROWS
    tasks: tuple[str, ...] = ALL_TASKS
    cases: tuple[str, ...] = ("",)  # parts of the names of cases
    threads: tuple[int, ...] = (1,)

    def jobs(self, task: str, cases: Iterable[Case]) -> tuple[Job, ...]:
        return tuple(
            Job(task, case) for case in cases if task in self.tasks and any(part in case.name for part in self.cases)
        )

    def is_empty(self) -> bool:
        return not plan_groups(self) and not {MEMORY, SUITE, PROFILE} & {*self.tasks}


def plan_groups(choice: Choice) -> list[Group]:
    """All groups that are measured, without those that have no jobs."""
    groups = [group for threads in choice.threads for group in (_full if choice.full else _quick)(choice, threads)]
    cold_rows = [row for row in (ROWS if choice.full else (OURS,)) if row in choice.rows and row != MIN_CHAR_RNN]
    if 1 in choice.threads:
        groups.append(Group({row: choice.jobs(COLD, [DEFAULT_EXPERIMENT]) for row in cold_rows}))
        groups.append(Group({module: choice.jobs(IMPORT, [FRESH]) for module in ("numpy", OURS)}))
    kept = [group._replace(jobs={row: jobs for row, jobs in group.jobs.items() if jobs}) for group in groups]
    return [group for group in kept if group.jobs]


def _full(choice, threads):
    """One group for the runs, and one for each range of H: one process per row, group and round."""
    runs = [shortened(case, FULL_UPDATES) for case in (DEFAULT_EXPERIMENT, *SLIDING[1:], *ENSEMBLES[1:])]
    if threads > 1:
        runs = [case for case in runs if case.name == DEFAULT_EXPERIMENT.name or case.networks >= MIN_THREADED_NETWORKS]
    jobs = choice.jobs(RUN, runs)
    characters = choice.jobs(CHARACTERS, CHARACTER_MODELS if threads == 1 else ())
    rows = _rows(choice, ALL_ROWS, threads, RUN)
    groups = [Group({row: _with_characters(row, jobs, characters) for row in rows}, threads, FULL)]
    for smallest, largest in RANGES_OF_H:
        cases = [case for case in (*GRID, *NAMED[1:]) if smallest <= case.H <= largest]
        jobs = tuple(job for case in cases for task in _tasks(case, threads) for job in choice.jobs(task, [case]))
        rows = [row for row in _rows(choice, ALL_ROWS, threads, STEP) if row != MIN_CHAR_RNN]
        groups.append(Group({row: _affordable(row, jobs) for row in rows}, threads, FULL))
    return groups


def _with_characters(row, jobs, characters):
    """The jobs that the row measures: min-char-rnn nothing but character models, and other rows no such models."""
    return (() if row == MIN_CHAR_RNN else jobs) + (characters if row in CHARACTER_ROWS else ())


def _tasks(case, threads):
    return (FORWARD, GRADIENT, STEP) if threads == 1 and case in CASES_OF_ALL_TASKS else (STEP,)


def _affordable(row, jobs):
    """The jobs on windows that the row measures: all, but for slow rows."""
    return tuple(job for job in jobs if row not in SPARSE_ROWS or _is_measured_by_slow(row, job.task, job.case))


def _is_measured_by_slow(row, task, case):
    on_grid = case == point(case.H, case.B) and case.B in SPARSE_BATCHES
    if row == COMPILED:
        return task == STEP and on_grid and case.H in COMPILED_SIZES
    return on_grid or (case in CASES_OF_ALL_TASKS and (row != HIPS or case not in NAMED))


def _quick(choice, threads):
    """One group, since the imports would take most of the time otherwise."""
    ensembles = [case for case in ENSEMBLES if 1 < case.networks <= MAX_QUICK_NETWORKS] if threads == 1 else []
    # The default experiment has all its epochs: a shorter run would measure mostly its start.
    cases = [DEFAULT_EXPERIMENT, *(shortened(case, QUICK_UPDATES) for case in (*SLIDING[1:], *ensembles))]
    jobs = choice.jobs(RUN, cases) + choice.jobs(STEP, QUICK_GRID)
    few = tuple(job for job in jobs if job.case.name in QUICK_CASES_OF_SLOW_ROWS)
    models = [first_updates(case, QUICK_CHARACTER_UPDATES) for case in CHARACTER_MODELS[:1] if threads == 1]
    more = choice.jobs(CHARACTERS, models)
    rows = _rows(choice, QUICK_ROWS, threads, RUN)
    by_row = {row: few if row in SLOW_TO_START else _with_characters(row, jobs, more) for row in rows}
    return [Group(by_row, threads, QUICK)]


def _rows(choice, rows, threads, task):
    in_threads = ENSEMBLE_ROWS_IN_THREADS if task == RUN else ROWS_IN_THREADS
    return [row for row in rows if row in choice.rows and (threads == 1 or row in in_threads)]


def shortened(case: Case, updates: int) -> Case:
    """The case with fewer epochs: about this many updates of one network with k2 = 1, or the same time otherwise."""
    cost = (case.k2 or 1) * max(case.networks // 500, 1)
    return case._replace(epochs=min(case.epochs, max(updates // case.T // cost, MIN_EPOCHS)))
