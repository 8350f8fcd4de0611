"""`python -m benchmarks`: checks that the rows agree, times them with pyperf, and prints the report."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pyperf

from benchmarks.estimates import MAX_LOAD, time_of
from benchmarks.machine import ROOT, Load, metadata, thread_environment, use_cores, wait_for
from benchmarks.report import report
from benchmarks.rows import ROWS, prepare
from benchmarks.tasks import IMPORT, PROCESS_TASKS, TASKS, Key, plan
from benchmarks.workloads import CASES
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.errors import exit_status

QUICK, FULL = {"processes": 3, "values": 1}, {"processes": 6, "values": 3}
ATTEMPTS = 3  # at measuring a benchmark without disturbance
RUN_ONCE = (
    "from benchmarks.rows import prepare; from benchmarks.workloads import CASES;"
    " prepare({row!r}, 'run', CASES[{case!r}]).call()"
)

DESCRIPTION = """\
Time the ways to train a small Elman network on this machine. A row is timed on a case only if its results are those of
the reference. Every benchmark has fresh processes of pyperf, whose options are listed too; the environment of these
processes has no variables that force kernels, unless --inherit-environ names them."""
EPILOG = """\
The quick run takes about 100 seconds on two idle cores, --full half an hour. --output FILE saves the times in
pyperf's format; --append FILE measures what FILE does not contain, so it continues an interrupted run. `python -m
benchmarks.report FILE` prints the report of a file, and `python -m pyperf compare_to OLD NEW` compares two."""


def main() -> int:
    runner = pyperf.Runner(
        **(FULL if "--full" in sys.argv else QUICK),
        program_args=("-m", "benchmarks"),
        add_cmdline_args=_pass_benchmark,
    )
    options = parse_options(runner)
    if options.worker:
        work(runner, options)
        return 0
    keys = [key for key in plan(options.full, options.threads) if _is_selected(key, options)]
    if not keys:
        raise InputError("nothing is selected: expected rows, tasks and cases of --list")
    if options.list:
        print(*map(Key.to_text, keys), sep="\n")
        return 0
    variables = thread_environment(options.threads)
    os.environ.update(variables)
    options.inherit_environ = [*(options.inherit_environ or []), *variables]
    measured = _measured(options.append)
    keys = [key for key in keys if key.to_text() not in measured]
    file, options.output, options.append = options.output or options.append, None, None
    checks = check(keys)
    timed = [name for name, found in checks.items() if "loops" in found]
    for number, name in enumerate(timed, start=1):
        print(f"[{number}/{len(timed)}] ", end="")
        measured[name] = measure_undisturbed(runner, name, checks[name]["loops"])
        if file:
            pyperf.BenchmarkSuite(measured.values()).dump(file, replace=True)
    reasons = {name: found["reason"] for name, found in checks.items() if "reason" in found}
    if measured:
        print("\n" + report(pyperf.BenchmarkSuite(measured.values())), end="")
    print(*(f"{name}: not timed, {reason}" for name, reason in reasons.items()), sep="\n")
    return (
        1 if any(reason.startswith(("disagrees", "crashes")) for reason in reasons.values()) else 0
    )


def parse_options(runner: pyperf.Runner) -> argparse.Namespace:
    """The options of the command and of pyperf, which prints one line per benchmark."""
    parser = runner.argparser
    parser.prog, parser.usage = "python -m benchmarks", "python -m benchmarks [options]"
    add = parser.add_argument
    add("--full", action="store_true", help="all rows, and the whole grid of sizes")
    add(
        "--undisturbed",
        action="store_true",
        help="wait for other programs, and repeat what they disturbed",
    )
    add("--list", action="store_true", help="print the names of the benchmarks, and time nothing")
    add(
        "--rows",
        nargs="+",
        choices=list(ROWS),
        metavar="ROW",
        help=f"only these rows: {', '.join(ROWS)}",
    )
    all_tasks = (*TASKS, *PROCESS_TASKS)
    add(
        "--tasks",
        nargs="+",
        choices=all_tasks,
        metavar="TASK",
        help=f"only these tasks: {', '.join(all_tasks)}",
    )
    add("--cases", nargs="+", metavar="PART", help="only cases whose names contain one of these")
    add("--traceback", action="store_true", help="print the traceback of an unexpected error")
    add(
        "--threads",
        type=_threads,
        default=1,
        metavar="N",
        help="threads of BLAS, torch and XLA (default 1)",
    )
    add("--benchmark", help=argparse.SUPPRESS)  # the one that a worker measures
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    options = runner.parse_args()
    options.quiet = True
    return options


def _threads(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given: expected a whole number, 1 or more")
    return int(text)


def _is_selected(key, options):
    rows, tasks, cases = (
        options.rows or [key.row],
        options.tasks or [key.task],
        options.cases or [""],
    )
    return key.row in rows and key.task in tasks and any(part in key.case for part in cases)


def _measured(file: str | None) -> dict[str, pyperf.Benchmark]:
    """The benchmarks that a file contains, by name."""
    if file is None or not os.path.exists(file):
        return {}
    return {benchmark.get_name(): benchmark for benchmark in pyperf.BenchmarkSuite.load(file)}


def check(keys: Sequence[Key]) -> dict[str, dict]:
    """`agreement.check` of every benchmark, in a process for each row."""
    checks: dict[str, dict] = {}
    for row in dict.fromkeys(key.row for key in keys):
        names = [key.to_text() for key in keys if key.row == row]
        command = [sys.executable, "-m", "benchmarks.agreement", *names]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        crash = {"reason": f"crashes: exit status {done.returncode}"}
        checks |= json.loads(done.stdout) if done.returncode == 0 else dict.fromkeys(names, crash)
    return {
        key.to_text(): checks[key.to_text()] for key in keys
    }  # all rows of a case one after the other


def measure_undisturbed(runner: pyperf.Runner, name: str, loops: int) -> pyperf.Benchmark:
    """Measures a benchmark; with --undisturbed, again if it was disturbed after the other programs had paused."""
    attempts = ATTEMPTS if runner.args.undisturbed else 1
    while True:
        paused = runner.args.undisturbed and wait_for(MAX_LOAD)
        load = Load()
        benchmark = measure(runner, name, loops)
        benchmark.update_metadata({"load_of_others": round(load.of_others(), 2)})
        attempts -= 1
        if not (paused and attempts and time_of(benchmark).is_disturbed):
            return benchmark
        print("disturbed: measured again", flush=True)
        runner._bench_names.discard(name)  # pyperf measures a name once


def measure(runner: pyperf.Runner, name: str, loops: int) -> pyperf.Benchmark:
    """Measures a benchmark in workers, which are told its name."""
    runner.args.benchmark, runner.args.loops = name, loops
    return runner.bench_func(name, lambda: None)  # workers call `work`


def _pass_benchmark(command, options):
    """Names the benchmark to a worker, in place of its number."""
    command[:] = [word for word in command if not word.startswith("--worker-task")]
    command += ["--benchmark", options.benchmark, "--threads", str(options.threads)]


def work(runner: pyperf.Runner, options: argparse.Namespace) -> None:
    """Measures one benchmark in this process, or whole processes."""
    task, case, row = key = Key.from_text(options.benchmark)
    use_cores(options.threads)
    if task in PROCESS_TASKS:
        # numpy_rnn imports its functions when somebody asks for them, as dir does
        code = (
            f"import {row}; dir({row})" if task == IMPORT else RUN_ONCE.format(row=row, case=case)
        )
        runner.metadata.update(metadata(options.threads))
        runner.bench_command(key.to_text(), [sys.executable, "-c", code])
        return
    prepared = prepare(row, task, CASES[case])
    runner.metadata.update(metadata(options.threads))
    if prepared.compile_seconds is not None:
        runner.metadata["compile_seconds"] = prepared.compile_seconds
    runner.bench_func(key.to_text(), prepared.call)


if __name__ == "__main__":
    sys.exit(exit_status("python -m benchmarks", main))
