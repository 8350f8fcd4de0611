"""`python -m benchmarks`: checks agreement, then measures time and memory, then states the claims."""

import argparse
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NoReturn

from benchmarks.estimates import MIN_VALUES
from benchmarks.machine import Machine, forcing_variables, inspect
from benchmarks.plan import ALL_ROWS, ALL_TASKS, ROW_TASKS, Choice, plan_groups
from benchmarks.store import FINDINGS, DifferentPlan, Store, open_store, write_json, write_text
from benchmarks.system import cores, thread_environment
from benchmarks.worker import describe

if TYPE_CHECKING:
    from benchmarks.summary import Findings

REQUIRED_PACKAGES = ("pyperf", "threadpoolctl")
UNFINISHED = "unfinished"  # folder in the output, until the run is complete
MIN_STEPS = 10_000  # so that even the shortest run, of a hundredth, fills its windows
QUICK_STEPS, FULL_STEPS = 100_000, 1_000_000
ROBUST_ROUNDS = 9  # with so many, the interval of the median excludes the smallest and the largest value
QUICK_REPEATS, FULL_REPEATS = 1, 3
FULL_OUTPUT = Path("benchmark-results")

DESCRIPTION = """\
Time every way to train a small Elman network on this machine, in fresh processes and with pyperf: the default
experiment (a sine wave, one SGD step per point), sliding windows, ensembles, the character model of min-char-rnn,
gradient and update on a grid of sizes, cold starts, imports, the memory of long runs, and the cost of the equivalence
suite. Every row must first agree with the suite on the same case; otherwise it is not timed. The rows of a case run in
random order, ratios are paired within a round, and [a, b] is the interval that contains the true median with 95 %
confidence. numpy_rnn is timed twice, under two names: a ratio within the range of the two is a tie."""
EPILOG = """\
The quick mode takes less than two minutes. --full takes about an hour and shows the remaining time; after an
interruption, the same command resumes. Exit status: 0, or 1 if a row disagrees or a claim fails, 2 if an option is
invalid, 130 if interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    removed = forcing_variables(os.environ) if options.own_kernels else {}
    for name in removed:
        del os.environ[name]
    os.environ.update(thread_environment(1))  # before anything imports NumPy
    if missing := [package for package in REQUIRED_PACKAGES if find_spec(package) is None]:
        return _refuse(f'{missing[0]} is not installed: install the extra "benchmark"')
    if options.list:
        print(*listing(options), sep="\n")
        return 0
    if options.choice.is_empty():
        return _refuse("these options select nothing: expected rows, tasks and cases that --list prints")
    plan = {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.choice._asdict().items()
    }
    with TemporaryDirectory() if options.output is None else nullcontext(options.output) as folder:
        unfinished, machine = Path(folder) / UNFINISHED, inspect(removed)
        try:
            store = open_store(unfinished.absolute(), plan | dict(machine.rows()))
        except DifferentPlan as reason:
            return _refuse(f"cannot resume from {unfinished}: {reason}; delete it, or give another --output")
        try:
            return benchmark(options, store, machine)
        except KeyboardInterrupt:
            kept = "nothing is kept without --output"
            if options.output is not None:
                kept = f"what is measured is kept in {options.output}: the same command resumes"
            print(f"python -m benchmarks: interrupted; {kept}", file=sys.stderr)
            return 130


def benchmark(options: Namespace, store: Store, machine: Machine) -> int:
    """Measures everything, prints the report and writes the output. Returns the exit status."""
    from benchmarks.runner import measure_all
    from benchmarks.summary import report, to_json

    findings, suite = measure_all(options, store, machine)
    if options.output is not None:
        findings = findings._replace(figures=_draw(findings, options.output))
        write_json(options.output / "results.json", suite | {FINDINGS: to_json(findings)}, indent=None)
        write_text(options.output / "README.md", report(findings))
        store.clear()
    print(report(findings), end="")
    return 1 if findings.failures or any(claim.holds is False for claim in findings.claims) else 0


def _draw(findings: "Findings", folder: Path) -> dict[str, str]:
    """The captions of the figures, by file; none without matplotlib."""
    if find_spec("matplotlib") is None:
        print("python -m benchmarks: no figures, as matplotlib is not installed", file=sys.stderr)
        return {}
    from benchmarks.charts import draw

    return draw(findings, folder)


def _refuse(reason):
    print(f"python -m benchmarks: {reason}", file=sys.stderr)
    return 2


# -- options -----------------------------------------------------------------------------------------------------------


class OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")


def parse_options(arguments: Sequence[str] | None = None) -> Namespace:
    """The options with their defaults, which depend on the mode; `choice` is what they select."""
    parser = OneLineParser("python -m benchmarks", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("--full", action="store_true", help="all rows, the whole grid of sizes, and all cores too")
    rounds = (
        f"number of rounds (default {MIN_VALUES}); from {ROBUST_ROUNDS} on, the intervals leave out the smallest and"
        " the largest value"
    )
    add("--rounds", type=whole_number(MIN_VALUES), metavar="N", help=rounds)
    add("--rows", nargs="+", choices=ALL_ROWS, metavar="ROW", help="only these rows; --list prints their names")
    add("--tasks", nargs="+", choices=ALL_TASKS, metavar="TASK", help="only these tasks; --list prints their names")
    add("--cases", nargs="+", metavar="PART", help="only cases whose names contain one of these")
    threads = "threads of BLAS, torch and XLA (default 1, with --full 1 and the number of cores)"
    add("--threads", nargs="+", type=whole_number(1), metavar="N", help=threads)
    steps = (
        "steps of the longest run whose memory is measured; the others are 10 and 100 times shorter"
        f" (default {QUICK_STEPS}, with --full {FULL_STEPS})"
    )
    add("--steps", type=whole_number(MIN_STEPS), metavar="N", help=steps)
    output = (
        "write README.md, results.json (pyperf's format) and the figures to this folder"
        f" (default: write nothing, with --full {FULL_OUTPUT})"
    )
    add("--output", type=writable_folder, metavar="FOLDER", help=output)
    own = (
        "remove the variables that force kernels, such as OPENBLAS_CORETYPE, from the environment: every library then"
        " chooses its kernels by the processor"
    )
    add("--own-kernels", action="store_true", help=own)
    repeats = (
        "how many rounds may be repeated because the machine was busy"
        f" (default {QUICK_REPEATS}, with --full {FULL_REPEATS})"
    )
    add("--repeats", type=whole_number(0), metavar="N", help=repeats)
    add("--list", action="store_true", help="print the rows, tasks and cases, and time nothing")
    options = parser.parse_args(arguments)
    options.command = command_line(sys.argv[1:] if arguments is None else arguments)
    _set_defaults(options)
    return options


def command_line(arguments: Sequence[str]) -> str:
    """The command line without the output folder, which does not change the results."""
    kept = [
        word for n, word in enumerate(arguments) if not word.startswith("--output") and arguments[n - 1] != "--output"
    ]
    return shlex.join(["python", "-m", "benchmarks", *kept])


def _set_defaults(options):
    full = options.full
    options.rounds = options.rounds or MIN_VALUES
    options.steps = options.steps or (FULL_STEPS if full else QUICK_STEPS)
    if options.repeats is None:
        options.repeats = FULL_REPEATS if full else QUICK_REPEATS
    options.threads = sorted({*(options.threads or ([1, cores()] if full else [1]))})
    options.output = options.output or (FULL_OUTPUT if full else None)
    every = ROW_TASKS if options.rows or options.cases else ALL_TASKS  # the others have no rows or cases
    rows, tasks, cases = options.rows or ALL_ROWS, options.tasks or every, options.cases or ("",)
    options.choice = Choice(full, tuple(rows), tuple(tasks), tuple(cases), tuple(options.threads))


def whole_number(minimum: int) -> Callable[[str], int]:
    def number(text):
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} given: expected a whole number, {minimum} or more")
        return int(text)

    return number


def writable_folder(text: str) -> Path:
    """The path of a folder that exists or can be created: this is checked before the run."""
    path = Path(text)
    existing = path if path.exists() else path.parent
    if (path.exists() and not path.is_dir()) or not os.access(existing, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write to {text!r}: expected a folder in a writable folder")
    return path


def listing(options: Namespace) -> list[str]:
    """The rows with how they are written or why they are absent, the tasks, and the cases of the mode."""
    groups = plan_groups(options.choice)
    tasks: dict[str, set[str]] = {}
    for group in groups:
        for jobs in group.jobs.values():
            for job in jobs:
                tasks.setdefault(job.case.name, set()).add(job.task)
    pieces = sum(len(group.jobs) for group in groups)
    return [
        "rows:",
        *(f"  {name:<25}{about}" for name, about in describe(options.choice.rows).items()),
        f"tasks: {', '.join(ALL_TASKS)}",
        "cases selected by these options, with their tasks:",
        *(f"  {name:<26}{', '.join(sorted(of_case))}" for name, of_case in tasks.items()),
        f"{pieces} processes per round; {options.rounds} rounds, and one that checks agreement",
    ]


if __name__ == "__main__":
    sys.exit(main())
