"""Threads and kernels of the processes that measure, and what they record about the machine."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from threadpoolctl import threadpool_info, threadpool_limits

ROOT = Path(__file__).parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NPROC")
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


def metadata(threads: int) -> dict[str, str | int]:
    """What a time depends on, besides what pyperf records; called after the libraries are loaded."""
    packages = [f"{package} {number}" for package in PACKAGES if (number := _version(package))]
    return {"threads": threads, "kernels": kernels(threads), "packages": ", ".join(packages), "commit": _commit()}


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit():
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (" with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
