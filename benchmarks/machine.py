"""Threads and kernels of the processes that measure, and what they record about the machine."""

import os
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
from threadpoolctl import threadpool_info, threadpool_limits

ROOT = Path(__file__).parents[1]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",
)
PACKAGES = ("numpy", "torch", "jax")


def thread_environment(threads: int) -> dict[str, str]:
    """The variables that set the threads of BLAS, OpenMP and XLA (NPROC); libraries read them when they are loaded."""
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"XLA_FLAGS": flags}


def use_cores(threads: int) -> None:
    """Restricts this process to as many cores as it may use threads; must be called before libraries are loaded.

    XLA uses all cores that it sees for some products, whatever its flags say.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def kernels(threads: int) -> str:
    """The kernels of the libraries in this process. Raises RuntimeError if a pool has another number of threads.

    They are those of the processor, unless a variable such as OPENBLAS_CORETYPE forces others.
    """
    threadpool_limits(threads)
    pools: dict[str, int] = {}
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        pools[f"torch {torch.backends.cpu.get_cpu_capability()}"] = torch.get_num_threads()
    for pool in threadpool_info():
        parts = (pool["internal_api"], pool["version"], pool.get("architecture"))
        pools[" ".join(part for part in parts if part)] = pool["num_threads"]
    if {*pools.values()} - {threads}:
        raise RuntimeError(f"the thread pools have {pools} threads: expected {threads}")
    return ", ".join(sorted(pools)) or "unknown"


class Load:
    """The load of other programs since this was made, without this process and its ended children: CPUs on average.

    Time that a virtual machine does not get (steal) counts as another program's.
    """

    def __init__(self) -> None:
        self.since = os.times()
        psutil.cpu_percent()

    def of_others(self) -> float:
        """Call this once: it ends the period."""
        now, busy = os.times(), psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
        return max(
            0.0, busy - (sum(now[:4]) - sum(self.since[:4])) / (now.elapsed - self.since.elapsed)
        )


def wait_for(most: float, seconds: float = 1, trials: int = 60) -> bool:
    """Waits until other programs use at most so many CPUs for so many seconds. Returns whether they did."""
    for _ in range(trials):
        load = Load()
        time.sleep(seconds)
        if (used := load.of_others()) <= most:
            return True
        print(f"other programs use {used:.2f} CPUs: waits for {most} or less", flush=True)
    return False


def metadata(threads: int) -> dict[str, str | int]:
    """What a time depends on, besides what pyperf records; called after the libraries are loaded."""
    packages = [f"{package} {version(package)}" for package in PACKAGES if find_spec(package)]
    return {
        "threads": threads,
        "kernels": kernels(threads),
        "packages": ", ".join(packages),
        "commit": _commit(),
    }


def _commit():
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (
            " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
