"""The environment and the threads of the processes that measure.

NumPy, torch and JAX are imported inside the functions or by others later: the environment must be set before.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def thread_environment(threads: int) -> dict[str, str]:
    """The variables that set the threads of BLAS, OpenMP and XLA; libraries read them when they are loaded."""
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    return dict.fromkeys((*THREAD_VARIABLES, "NPROC"), str(threads)) | {"XLA_FLAGS": flags}  # NPROC is XLA's


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a fresh process that can import this project, and caches its byte code."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **ours, **thread_environment(threads)}


CACHE = "BENCHMARKS_CACHE"  # the variable with a folder for what processes of one run share


def cache_environment(folder: Path) -> dict[str, str]:
    """The variables that make a process share this folder; torch.compile caches in TMPDIR what it compiles."""
    return {CACHE: str(folder), "TMPDIR": str(folder)}


def use_cores(threads: int) -> None:
    """Restricts this process to as many cores as it may use threads; must be called before libraries are loaded.

    XLA uses all cores that it sees for some products, whatever its flags say: with "one thread", it kept two busy.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def use_threads(threads: int) -> str:
    """Sets every thread pool of this process by a call too, and checks the result.

    Returns the pools with their kernels and threads, for the metadata. Raises RuntimeError if a pool has another number
    of threads.
    """
    from threadpoolctl import threadpool_info, threadpool_limits

    threadpool_limits(threads)
    pools = {}
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
        pools["torch"] = torch.get_num_threads()
    for pool in threadpool_info():
        if pool["user_api"] in ("blas", "openmp"):
            kernel = f"{pool['architecture']} kernels" if pool.get("architecture") else None
            pools[" ".join(filter(None, (pool["internal_api"], pool["version"], kernel)))] = pool["num_threads"]
    text = ", ".join(f"{name}: {number}" for name, number in sorted(pools.items()))
    if set(pools.values()) - {threads}:
        raise RuntimeError(f"thread pools have other numbers of threads than {threads}: {text}")
    return text or "none known"  # pyperf refuses empty metadata


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
