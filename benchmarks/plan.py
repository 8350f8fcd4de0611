"""Which jobs the two modes have, and what the options leave of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from benchmarks.rows import (
    AGAIN,
    COMPILED,
    FLOORS,
    FORWARD,
    GRADIENT,
    HIPS,
    JAX,
    MODULES,
    OTHER,
    OURS,
    REFERENCE,
    ROWS,
    RUN,
    STEP,
)
from benchmarks.workloads import ENSEMBLES, GRID, MAIN_JOB, MANY_NETWORKS, NAMED, SLIDING, Case, point

COLD = "cold start"  # tasks that take a whole process
IMPORT = "import"


class Key(NamedTuple):
    """What one time belongs to; as text, the name of a benchmark in pyperf's file."""

    task: str
    row: str
    case: str
    threads: int = 1

    def to_text(self) -> str:
        return " | ".join((self.task, self.row, self.case, _counted(self.threads)))

    @classmethod
    def from_text(cls, text: str) -> "Key":
        task, row, case, threads = text.split(" | ")
        return cls(task, row, case, int(threads.split()[0]))


class Job(NamedTuple):
    """A task on a case, `loops` calls a value; none while that is not known."""

    task: str
    case: Case
    loops: int = 0


class Effort(NamedTuple):
    """What pyperf does for one benchmark in one process."""

    values: int
    warmups: int  # values that do not count, after one call that does not either
    least_seconds: float  # of a value, which is the mean of as many calls as that takes


QUICK, FULL = Effort(1, 1, 0.02), Effort(1, 1, 0.05)


class Piece(NamedTuple):
    """What one process does: some jobs of one row. Round 0 asks whether the row agrees, and calibrates the loops."""

    round: int
    row: str
    threads: int
    jobs: tuple[Job, ...]
    effort: Effort = QUICK

    @property
    def keys(self) -> list[Key]:
        return [Key(job.task, self.row, job.case.name, self.threads) for job in self.jobs]

    def to_text(self) -> str:
        """As JSON on one line."""
        jobs = [(job.task, job.case.to_text(), job.loops) for job in self.jobs]
        return json.dumps([self.round, self.row, self.threads, jobs, self.effort])

    @classmethod
    def from_text(cls, text: str) -> "Piece":
        number, row, threads, given, effort = json.loads(text)
        jobs = tuple(Job(task, Case.from_text(case), loops) for task, case, loops in given)
        return cls(number, row, threads, jobs, Effort(*effort))


class Wanted(NamedTuple):
    """A group of pieces that are measured one soon after the other in every round, since they are to be compared."""

    jobs: Mapping[str, tuple[Job, ...]]  # by row
    threads: int = 1
    effort: Effort = QUICK


def pieces_of_round(number: int, wanted: Sequence[Wanted], generator: Random) -> list[Piece]:
    """Every row of every group once: the groups in random order, and within a group the rows."""
    return [
        Piece(number, row, group.threads, group.jobs[row], group.effort)
        for group in generator.sample(wanted, len(wanted))
        for row in generator.sample(list(group.jobs), len(group.jobs))
    ]


def _counted(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


MEMORY, SUITE, PROFILE = "memory", "suite", "profile"
ROW_TASKS = (FORWARD, GRADIENT, STEP, RUN, COLD)
TASKS = (*ROW_TASKS, IMPORT, MEMORY, SUITE, PROFILE)
FRESH = MAIN_JOB._replace(name="fresh process")  # the case of imports
ALL_ROWS = (*ROWS, *FLOORS, AGAIN)
WITHIN_TWO_MINUTES = tuple(row for row in ALL_ROWS if row not in (COMPILED, HIPS, OTHER, REFERENCE))
MOST_NETWORKS = 1000  # of the quick mode
QUICK_GRID = (point(6, 1), point(64, 8), point(256, 32), point(256, 32, 100), point(512, 32))
FEW = (MAIN_JOB.name, f"{MOST_NETWORKS} networks", QUICK_GRID[2].name)
SLOW_TO_BEGIN = (JAX,)  # in the quick mode it does only those few
LEAST_EPOCHS = 5  # of a run
QUICK_UPDATES, FULL_UPDATES = 600, 6000  # of a run, if k2 = 1; more takes longer, and says no more of the time a point
SIZES = ((1, 64), (65, 256), (257, 2048))  # least and largest H of the cases that one process does
OF_ALL_TASKS = (point(6, 1), point(64, 8), point(256, 32), NAMED[1])  # the others have steps only
COMPILED_BATCHES = (1, 32)  # and T = 50 in float32: to compile a window takes from 8 to 45 seconds


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
    cold_rows = [row for row in (ROWS if choice.full else (OURS,)) if row in choice.rows]
    if 1 in choice.threads:
        groups.append(Wanted({row: choice.jobs(COLD, [MAIN_JOB]) for row in cold_rows}))
        groups.append(Wanted({module: choice.jobs(IMPORT, [FRESH]) for module in ("numpy", OURS)}))
    kept = [group._replace(jobs={row: jobs for row, jobs in group.jobs.items() if jobs}) for group in groups]
    return [group for group in kept if group.jobs]


def nothing_wanted(options) -> bool:
    """Whether the options, which are a Choice too, leave nothing to measure."""
    choice = Choice(options.full, options.rows, options.tasks, options.cases, tuple(options.threads))
    return not wanted(choice) and not {MEMORY, SUITE, PROFILE} & {*options.tasks}


def _full(choice, threads):
    """For the runs, and for each range of H, every row in one process a round."""
    rows = _rows(choice, ALL_ROWS, threads)
    runs = [shortened(case, FULL_UPDATES) for case in (MAIN_JOB, *SLIDING[1:], *ENSEMBLES)]
    with_threads = [case for case in runs if case == runs[0] or case.networks >= MANY_NETWORKS]
    groups = [choice.jobs(RUN, runs if threads == 1 else with_threads)]
    for least, largest in SIZES:
        cases = [case for case in (*GRID, *NAMED[1:]) if least <= case.H <= largest]
        groups.append(
            tuple(job for case in cases for task in _tasks(case, threads) for job in choice.jobs(task, [case]))
        )
    return [Wanted({row: _compilable(row, jobs) for row in rows}, threads, FULL) for jobs in groups]


def _tasks(case, threads):
    return (FORWARD, GRADIENT, STEP) if threads == 1 and case in OF_ALL_TASKS else (STEP,)


def _compilable(row, jobs):
    """What of these jobs a row does: torch.compile only some, as it compiles each for long."""
    return tuple(job for job in jobs if row != COMPILED or job.task == RUN or _is_compiled(*job[:2]))


def _is_compiled(task, case):
    return task == STEP and case == point(case.H, case.B) and case.B in COMPILED_BATCHES


def _quick(choice, threads):
    """Every row in one process a round, which does all of its jobs: the imports would take most of the time."""
    ensembles = [case for case in ENSEMBLES if 1 < case.networks <= MOST_NETWORKS] if threads == 1 else []
    # Claims are made of the main job as it is: shorter, the time would be that of its beginning.
    cases = [MAIN_JOB, *(shortened(case, QUICK_UPDATES) for case in (*SLIDING[1:], *ensembles))]
    jobs = choice.jobs(RUN, cases) + choice.jobs(STEP, QUICK_GRID)
    few = tuple(job for job in jobs if job.case.name in FEW)
    rows = _rows(choice, WITHIN_TWO_MINUTES, threads)
    return [Wanted({row: few if row in SLOW_TO_BEGIN else jobs for row in rows}, threads, QUICK)]


def _rows(choice, rows, threads):
    """With more threads, the two that are compared there, and the noise."""
    return [row for row in rows if row in choice.rows and (threads == 1 or row in (OURS, MODULES, AGAIN))]


def shortened(case: Case, updates: int) -> Case:
    """The case with fewer epochs: about so many updates of one network if k2 = 1, or what takes as long."""
    steps = (case.k2 or 1) * max(case.networks // 500, 1)
    return case._replace(epochs=min(case.epochs, max(updates // case.T // steps, LEAST_EPOCHS)))
