"""`python -m benchmarks` checks the implementations, times them with pyperf, and prints
a table.
"""

import argparse
import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pyperf
from threadpoolctl import threadpool_info

from benchmarks import implementations
from benchmarks.cases import CASES, Case
from benchmarks.implementations import BOUNDS, IMPLEMENTATIONS, Unsupported
from benchmarks.report import ROOT, is_disturbed, report
from numpy_rnn import reference

QUICK, FULL = {"processes": 2, "values": 1}, {"processes": 6, "values": 3}
QUICK_CASES = ("default experiment", "1,000 networks, each", "character model, float32")
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
its numbers are those of the reference. The quick run takes less than two minutes,
--full about ten minutes."""


def main() -> int:
    full = "--full" in sys.argv
    runner = pyperf.Runner(
        **(FULL if full else QUICK),
        program_args=("-m", "benchmarks"),
        add_cmdline_args=_pass_name,
    )
    parser = runner.argparser
    parser.prog, parser.description = "python -m benchmarks", DESCRIPTION
    parser.add_argument(
        "--full", action="store_true", help="all cases, in six processes each"
    )
    parser.add_argument(
        "--cases", nargs="+", metavar="PART", help="cases whose names contain one"
    )
    parser.add_argument("--name", help=argparse.SUPPRESS)  # the benchmark of a worker
    options = runner.parse_args()
    if options.worker:
        case, _, name = options.name.partition(" / ")
        call = implementations.prepare(name, CASES[case])
        runner.metadata.update(metadata())
        runner.bench_func(options.name, call)
        return 0
    os.environ.update(ENVIRONMENT)
    options.inherit_environ = [*(options.inherit_environ or []), *ENVIRONMENT]
    if hasattr(os, "sched_getaffinity"):  # XLA uses all cores that it sees
        options.affinity = str(max(os.sched_getaffinity(0)))
    options.quiet, file, options.output = True, options.output, None
    parts = options.cases or (CASES if full else QUICK_CASES)
    measured, wrong = [], []
    for case in (
        case for case in CASES.values() if any(part in case.name for part in parts)
    ):
        right = []
        for name in IMPLEMENTATIONS:
            with suppress(Unsupported):
                if reason := disagreement(name, case):
                    wrong.append(f"{case.name} / {name}: not timed, {reason}")
                else:
                    right.append(name)
        measured += measure(runner, case, right)
        if file:
            pyperf.BenchmarkSuite(measured).dump(file, replace=True)
    if not measured:
        parser.error(
            f"no case is named so: expected a part of one of {'; '.join(CASES)}"
        )
    print("", report(pyperf.BenchmarkSuite(measured)), *wrong, sep="\n")
    return 1 if wrong else 0


def disagreement(name: str, case: Case) -> str | None:
    """The first difference of a short run from the reference in float64; None if there
    is none.

    The largest error of a tensor must be at most √ε times its largest number. Rounding
    stays below that, and mistakes of the size of the numbers or of the learning rate do
    not.
    """
    case = case.beginning()
    call = implementations.prepare(name, case)
    if name in BOUNDS:
        return None
    params, *series = case.arrays()
    params = type(params)(*(p if p is None else p.astype(np.float64) for p in params))
    exact = (v if v.dtype.kind == "i" else v.astype(np.float64) for v in series)
    updates = list(reference.train(params, *exact, **case.options.keywords()))
    losses = np.array([update.loss for update in updates])
    found: Any = call()
    tensors: Any = {
        "losses": (np.reshape(found[0], losses.shape).astype(case.dtype), losses)
    }
    if (
        not case.is_text
    ):  # Adagrad divides by |g|: rounding of small numbers is not small
        for name, W, expected in zip(
            ("W_xh", "W_hh", "W_hy"), found[1], updates[-1].parameters
        ):
            tensors[name] = np.asarray(W), expected
    for name, (array, expected) in tensors.items():
        if (array.shape, array.dtype) != (expected.shape, case.dtype):
            return (
                f"{name}: {array.dtype} {array.shape}, expected {case.dtype} "
                f"{expected.shape}"
            )
        error = np.max(np.abs(array - expected)) / np.max(np.abs(expected))
        if not error <= np.sqrt(np.finfo(case.dtype).eps):  # NaN does not agree either
            return f"{name}: an error of {error:.1g} of the largest number"
    return None


def measure(
    runner: pyperf.Runner, case: Case, names: list[str]
) -> list[pyperf.Benchmark]:
    """Time a case with these implementations, all again if one of the times is
    disturbed.
    """
    runs: list[list[pyperf.Benchmark]] = []
    for _ in range(ATTEMPTS if runner.args.full else 1):
        runs.append([])
        for name in names:
            runner.args.name = f"{case.name} / {name}"
            runner._bench_names.discard(runner.args.name)  # pyperf measures a name once
            runs[-1].append(runner.bench_func(runner.args.name, lambda: None))
        if not any(map(is_disturbed, runs[-1])):
            break
    return min(runs, key=lambda run: sum(map(is_disturbed, run)))


def _pass_name(command: list[str], options: argparse.Namespace) -> None:
    command[:] = [
        word for word in command if not word.startswith("--worker-task")
    ]  # a number
    command += ["--name", options.name]


def metadata() -> dict[str, str]:
    """Kernels, packages and commit of a worker, whose libraries are loaded."""
    pools = [
        (p["internal_api"], p["version"], p.get("architecture"))
        for p in threadpool_info()
    ]
    if "torch" in sys.modules:
        pools.append(
            ("torch", sys.modules["torch"].backends.cpu.get_cpu_capability(), None)
        )
    packages = [
        f"{name} {version(name)}"
        for name in ("numpy", "torch", "jax")
        if find_spec(name)
    ]
    git = subprocess.run(GIT, cwd=ROOT, capture_output=True, text=True)
    return {
        "kernels": ", ".join(sorted(" ".join(filter(None, pool)) for pool in pools)),
        "packages": ", ".join(packages),
        "commit": git.stdout.strip() or "unknown",
    }


if __name__ == "__main__":
    sys.exit(main())
