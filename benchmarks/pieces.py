"""What is to be measured, cut into pieces, each of which is a fresh process of its own."""

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from benchmarks.cases import Case

OURS, OTHER, MODULES = "numpy_rnn", "torch_rnn", "torch.nn.RNN"
TUTORIAL, COMPILED, JAX, HIPS, C = "tutorial loop", "torch.compile", "JAX", "HIPS autograd", "C loop"
EVERY, REFERENCE = "numpy_rnn, every update", "numpy_rnn.reference"
ROWS = (OURS, EVERY, REFERENCE, OTHER, MODULES, TUTORIAL, COMPILED, JAX, HIPS, C)
CALLS, GEMMS = FLOORS = ("bare calls", "bare GEMMs")  # not ways to train, but what a way in NumPy cannot go below
AGAIN = "numpy_rnn again"  # the A/A row: numpy_rnn once more, as if it were another one
FORWARD, GRADIENT, STEP, RUN = "forward", "gradient", "step", "run"  # the tasks of rows
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
