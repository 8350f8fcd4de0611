"""The options of `python -m benchmarks`."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.estimates import LEAST_VALUES
from benchmarks.plan import ALL_ROWS, ROW_TASKS, TASKS, Choice, wanted

LEAST_STEPS = 10_000  # so that even the shortest run, of a hundredth, fills its windows
QUICK_STEPS, FULL_STEPS = 100_000, 1_000_000
FULL_ROUNDS = 9  # of so many, one value at either end may be anything
FULL_OUTPUT = Path("benchmark-results")

DESCRIPTION = """\
How fast is each way to train a small Elman network on this machine? Times them all in fresh processes by pyperf: the
main job (a sine wave, one SGD step a point), sliding windows, ensembles, and the steps of a grid of sizes; cold starts,
imports, the memory of long runs, and what the equivalence suite costs. Every row must first agree with the suite on the
very same case; one that does not is not timed. The rows of a case are interleaved in random order, ratios are paired
within a round, and [a, b] is the interval that holds the true median with 95 % confidence. numpy_rnn is timed twice,
under two names: what lies within the ratio of the two is a tie."""
EPILOG = """\
The quick mode takes less than two minutes; --full takes about an hour, shows how much is left, and where it is
interrupted the same command goes on from there. Exit status: 1 if a row disagrees or a claim fails, else 0; 2
if an option cannot be used, 130 if interrupted."""


class OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parse_options(arguments=None) -> argparse.Namespace:
    parser = OneLineParser("python -m benchmarks", description=DESCRIPTION, epilog=EPILOG)
    whole = at_least(1)
    parser.add_argument("--full", action="store_true", help="all rows, the grid of sizes, all cores too")
    parser.add_argument(
        "--rounds",
        type=at_least(LEAST_VALUES),
        help=f"rounds of measurements ({LEAST_VALUES}; with --full {FULL_ROUNDS})",
    )
    parser.add_argument("--rows", nargs="+", choices=ALL_ROWS, metavar="ROW", help="only these; --list names them")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, metavar="TASK", help="only these; --list names them")
    parser.add_argument("--cases", nargs="+", metavar="PART", help="only cases with one of these in their names")
    parser.add_argument(
        "--threads", nargs="+", type=whole, metavar="N", help="of BLAS and torch (1; with --full 1 and all cores)"
    )
    parser.add_argument(
        "--steps",
        type=at_least(LEAST_STEPS),
        help="of the longest run whose memory is measured; others are 10 and 100 times shorter "
        f"({QUICK_STEPS}; with --full {FULL_STEPS})",
    )
    parser.add_argument(
        "--output",
        type=new_folder,
        metavar="FOLDER",
        help=f"for README.md, results.json (pyperf's format) and figures (none; with --full {FULL_OUTPUT})",
    )
    parser.add_argument("--list", action="store_true", help="name the rows, tasks and cases, and time nothing")
    options = completed(parser.parse_args(arguments))
    options.command = command_of(sys.argv[1:] if arguments is None else arguments)
    return options


def command_of(arguments: Sequence[str]) -> str:
    """The command line again, without the folder of its output, which says nothing to others."""
    kept = [
        word for n, word in enumerate(arguments) if not word.startswith("--output") and arguments[n - 1] != "--output"
    ]
    return shlex.join(["python", "-m", "benchmarks", *kept])


def completed(options: argparse.Namespace) -> argparse.Namespace:
    """With what the mode gives where nothing is given."""
    from benchmarks.system import cores

    full = options.full
    options.rounds = options.rounds or (FULL_ROUNDS if full else LEAST_VALUES)
    options.steps = options.steps or (FULL_STEPS if full else QUICK_STEPS)
    options.threads = sorted({*(options.threads or ([1, cores()] if full else [1]))})
    options.output = options.output or (FULL_OUTPUT if full else None)
    every = ROW_TASKS if options.rows or options.cases else TASKS  # the others have no rows or cases
    options.tasks = tuple(options.tasks or every)
    options.rows = tuple(options.rows or ALL_ROWS)
    options.cases = tuple(options.cases or ("",))
    return options


def at_least(least: int):
    def number(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} given: expected a whole number, {least} or more")
        return int(text)

    return number


def new_folder(text: str) -> Path:
    """The path of a folder that is there or can be made: asked before the run, and not after it."""
    path = Path(text)
    parent = path if path.exists() else path.parent
    if (path.exists() and not path.is_dir()) or not os.access(parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write to {text!r}: expected a folder, in one that can be written")
    return path


def listing(options) -> list[str]:
    """Rows with how they are written or why they are absent, tasks, and the cases of the mode."""
    from benchmarks.worker import descriptions

    groups = wanted(Choice(options.full, options.rows, options.tasks, options.cases, tuple(options.threads)))
    cases: dict[str, set[str]] = {}
    for group in groups:
        for jobs in group.jobs.values():
            for job in jobs:
                cases.setdefault(job.case.name, set()).add(job.task)
    pieces = sum(len(group.jobs) for group in groups)
    return [
        "rows:",
        *(f"  {name:<16}{about}" for name, about in descriptions(options.rows).items()),
        f"tasks: {', '.join(TASKS)}",
        "cases of this choice:",
        *(f"  {name:<26}{', '.join(sorted(tasks))}" for name, tasks in cases.items()),
        f"{pieces} processes a round, {options.rounds} rounds and one for agreement",
    ]
