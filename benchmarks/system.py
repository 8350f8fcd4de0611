"""The threads that are used, and what the timings were made on.

NumPy, torch and JAX are imported inside the functions or by others later: the environment must be set before.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # which force a kernel, and are told
PACKAGES = ("numpy", "torch", "jax", "autograd", "pyperf")  # whose versions are told


def thread_environment(threads: int) -> dict[str, str]:
    """What asks BLAS, OpenMP and XLA for this many threads; they listen only before they are loaded."""
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"XLA_FLAGS": flags}


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a fresh process that can import this project, and keeps its byte code."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **ours, **thread_environment(threads)}


COMPILED = "BENCHMARKS_COMPILED"


def compile_cache_environment(folder: Path) -> dict[str, str]:
    """What makes a process keep in this folder what it compiles; torch.compile looks where temporary files are."""
    return {COMPILED: str(folder), "TMPDIR": str(folder)}


def use_threads(threads: int) -> str:
    """Set every thread pool that is loaded in this process by a call too, and look whether it obeyed.

    Returns what was found, for the metadata. Raises RuntimeError where a pool has another number of threads.
    """
    from threadpoolctl import threadpool_info, threadpool_limits

    threadpool_limits(threads)
    found = {}
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        found["torch"] = torch.get_num_threads()
    pools = [pool for pool in threadpool_info() if pool["user_api"] in ("blas", "openmp")]
    found |= {_words(pool): pool["num_threads"] for pool in pools}
    text = ", ".join(f"{name}: {number}" for name, number in found.items())
    if set(found.values()) - {threads}:
        raise RuntimeError(f"{threads} threads were asked for, and there are: {text}")
    return text


def cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system_information() -> dict[str, str]:
    """Machine, versions, BLAS kernel and commit, in words; nothing that names the machine itself. Imports NumPy."""
    return {
        "CPU": f"{_cpu()}, {cores()} cores",
        "System": platform.platform(),
        "Python": platform.python_version(),
        "Packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "BLAS of NumPy": _blas(),
        "Commit": _commit(),
    }


def _cpu():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _blas():
    """The libraries that NumPy multiplies matrices with, and their kernel, which they choose by the processor."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    found = sorted({_words(pool) for pool in threadpool_info() if pool["user_api"] == "blas"})
    forced = [f"{name}={os.environ[name]}" for name in KERNEL_VARIABLES if name in os.environ]
    return ", ".join([*found, *forced]) or "unknown"


def _words(pool):
    words = pool["internal_api"], pool["version"], pool.get("architecture") and f"{pool['architecture']} kernel"
    return " ".join(filter(None, words))


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit():
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (" with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
