"""`python -m benchmarks` checks the implementations, times them with pyperf, and prints
a table.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

import pyperf
from threadpoolctl import threadpool_info

from benchmarks import implementations
from benchmarks.agreement import disagreement
from benchmarks.cases import CASES, Case
from benchmarks.implementations import IMPLEMENTATIONS, Unsupported
from benchmarks.report import (
    CHECKOUT,
    FLOOR_NAME,
    OUR_NAME,
    RESULTS,
    benchmark_name,
    floor_ratios,
    is_disturbed,
    regressions,
    report,
    split_name,
)

QUICK = {"processes": 2, "values": 1}
FULL = {"processes": 6, "values": 3}
QUICK_CASES = (
    "default experiment",
    "default experiment, every update",
    "1,000 networks, each",
    "character model, float32",
)
GIT = ["git", "describe", "--always", "--dirty"]
ATTEMPTS = 3  # at measuring all times of a case without a disturbance
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",
)
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
# Libraries read these variables when they are loaded; NPROC is XLA's. All times are of
# one thread.
ENVIRONMENT = dict.fromkeys(THREAD_VARIABLES, "1") | {"XLA_FLAGS": XLA_FLAGS}

DESCRIPTION = """\
Time ways to train a small Elman network, on one thread. An implementation is timed if
its numbers are those of the reference. The quick run takes less than two minutes, and
several times that where other programs run; --full takes ten minutes, and forty where
many times are disturbed."""


def main() -> int:
    """Run the command, or one of its workers. Returns the exit status."""
    full = "--full" in sys.argv
    runner = pyperf.Runner(
        **(FULL if full else QUICK),
        program_args=("-m", "benchmarks"),
        add_cmdline_args=_pass_name,
    )
    add_benchmark_options(runner.argparser)
    options = runner.parse_args()
    if options.worker:
        time_in_worker(runner, options.name)
        return 0
    committed = pyperf.BenchmarkSuite.load(str(RESULTS)) if options.check else None
    parts = options.cases
    if committed is not None and parts is None:
        parts = list(floor_ratios(committed))
    cases = chosen_cases(parts, full)
    if not cases:
        known = "; ".join(CASES)
        runner.argparser.error(
            f"no case is named so: expected a part of one of {known}"
        )
    names = list(IMPLEMENTATIONS)
    if committed is not None:
        names = [OUR_NAME, FLOOR_NAME]
    if options.implementation:
        if not os.path.isfile(options.implementation):
            runner.argparser.error(f"there is no file {options.implementation}")
        names.append(options.implementation)
    use_one_thread(options)
    file = options.output  # written here, after every case
    options.output = None
    options.quiet = True
    return time_cases(runner, cases, names, file, committed)


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to those of pyperf, before them in the help."""
    parser.prog = "python -m benchmarks"
    parser.usage = (
        "%(prog)s [-h] [--full] [--cases PART [PART ...]] [--implementation FILE.py]\n"
        "                            [options of pyperf]"
    )
    ours = parser.add_argument_group("benchmarks")
    # The help lists groups in the order of this list, which is private in Python 3.14.
    parser._action_groups.insert(0, parser._action_groups.pop())
    parser.allow_abbrev = False  # --full is read before the others
    parser.description = DESCRIPTION
    ours.add_argument(
        "--full", action="store_true", help="all cases, in six processes each"
    )
    ours.add_argument(
        "--cases", nargs="+", metavar="PART", help="names of cases, or parts of names"
    )
    ours.add_argument(
        "--check",
        action="store_true",
        help="fail where numpy_rnn is 10 percent slower than in results.json, relative"
        " to the bare calls of NumPy",
    )
    ours.add_argument(
        "--implementation", metavar="FILE.py", help="time the function train of a file"
    )
    parser.add_argument("--name", help=argparse.SUPPRESS)  # the benchmark of a worker


def time_in_worker(runner: pyperf.Runner, benchmark: str) -> None:
    """Time the benchmark of this name, in a process that times nothing else."""
    case, name = split_name(benchmark)
    call = implementations.prepare(name, CASES[case])
    runner.metadata.update(metadata())
    runner.bench_func(benchmark, call)


def use_one_thread(options: argparse.Namespace) -> None:
    """Let all workers of pyperf compute with one thread."""
    os.environ.update(ENVIRONMENT)
    options.inherit_environ = [*(options.inherit_environ or []), *ENVIRONMENT]
    if hasattr(os, "sched_getaffinity"):  # XLA uses all cores that it sees
        options.affinity = str(max(os.sched_getaffinity(0)))


def chosen_cases(parts: Sequence[str] | None, full: bool) -> list[Case]:
    """Return the cases of these names, and for a part that is no name, those whose
    names contain it; by default the usual ones.
    """
    if parts is None:
        parts = list(CASES) if full else QUICK_CASES
    cases = []
    for name, case in CASES.items():
        contained = [part for part in parts if part not in CASES and part in name]
        if name in parts or contained:
            cases.append(case)
    return cases


def time_cases(
    runner: pyperf.Runner,
    cases: Sequence[Case],
    names: list[str],
    file: str | None,
    committed: pyperf.BenchmarkSuite | None = None,
) -> int:
    """Check and time implementations, and print a table. Returns the status.

    committed: times whose ratios to the floor are not to be exceeded.
    """
    measured: list[pyperf.Benchmark] = []
    notes = []
    status = 0
    for number, case in enumerate(cases, 1):
        print(
            f"case {number} of {len(cases)}: {case.name}", file=sys.stderr, flush=True
        )
        right = []
        for name in names:
            try:
                reason = disagreement(name, case)
            except Unsupported as error:
                if name not in IMPLEMENTATIONS:
                    notes.append(f"{case.name} / {name}: not timed: {error}")
                continue
            if reason is None:
                right.append(name)
            else:
                notes.append(f"{case.name} / {name}: not timed, wrong: {reason}")
                status = 1
        measured += time_case(runner, case, right)
        if file and measured:
            pyperf.BenchmarkSuite(measured).dump(file, replace=True)
    table = ""
    if measured:
        suite = pyperf.BenchmarkSuite(measured)
        table = report(suite, names)
        slower = regressions(suite, committed) if committed is not None else []
        notes += slower
        status = 1 if slower else status
    print("", table, *notes, sep="\n")
    return status


def time_case(
    runner: pyperf.Runner, case: Case, names: list[str]
) -> list[pyperf.Benchmark]:
    """Time a case with these implementations, all again if a time is disturbed."""
    attempts = ATTEMPTS if runner.args.full else 1
    best: list[pyperf.Benchmark] = []
    fewest_disturbed = len(names) + 1
    for _ in range(attempts):
        times = []
        for name in names:
            runner.args.name = benchmark_name(case.name, name)
            # pyperf measures a name once. The attribute is private in pyperf 2.11.
            runner._bench_names.discard(runner.args.name)
            times.append(runner.bench_func(runner.args.name, lambda: None))
        disturbed = sum(map(is_disturbed, times))
        if disturbed < fewest_disturbed:
            best = times
            fewest_disturbed = disturbed
        if fewest_disturbed == 0:
            break
    return best


def _pass_name(command: list[str], options: argparse.Namespace) -> None:
    """Give a worker the name of its benchmark, in place of its number."""
    words = [word for word in command if not word.startswith("--worker-task")]
    command[:] = [*words, "--name", options.name]


def metadata() -> dict[str, str]:
    """Return kernels, packages and commit of a worker, whose libraries are loaded."""
    kernels = []
    for pool in threadpool_info():
        words = [pool["internal_api"], pool["version"], pool.get("architecture")]
        kernels.append(" ".join(filter(None, words)))
    if "torch" in sys.modules:
        capability = sys.modules["torch"].backends.cpu.get_cpu_capability()
        kernels.append(f"torch {capability}")
    packages = []
    for name in ("numpy", "torch", "jax"):
        if find_spec(name):
            packages.append(f"{name} {version(name)}")
    return {
        "kernels": ", ".join(sorted(kernels)),
        "packages": ", ".join(packages),
        "commit": commit(),
    }


def commit() -> str:
    """Return the commit of the checkout, "unknown" without git."""
    if shutil.which("git") is None:
        return "unknown"
    git = subprocess.run(GIT, cwd=CHECKOUT, capture_output=True, text=True)
    return git.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
