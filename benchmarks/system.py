"""The threads that are used, and what the timings were made on.

NumPy and torch are imported inside the functions: the environment must be set before.
"""

import os
import platform
import subprocess
from contextlib import contextmanager, nullcontext
from importlib import import_module

from benchmarks.timing import ROOT

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def set_thread_variables(threads: int) -> None:
    """Ask BLAS for this many threads by the environment; it listens only before NumPy is imported."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))


@contextmanager
def limited_threads(threads: int):
    """This many threads for torch, and for BLAS where threadpoolctl is installed."""
    import torch

    threadpoolctl = _threadpoolctl()
    limited_blas = threadpoolctl.threadpool_limits(threads, user_api="blas") if threadpoolctl else nullcontext()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with limited_blas:
            yield
    finally:
        torch.set_num_threads(before)


def system_information() -> dict[str, str]:
    import numpy
    import torch

    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "Python": f"{platform.python_version()}, {platform.platform()}",
        "NumPy": f"{numpy.__version__}, {_blas(numpy)}",
        "torch": f"{torch.__version__}, threads: {torch.get_num_threads()}",
        "commit": _commit(),
    }


def _cpu():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _blas(numpy):
    threadpoolctl = _threadpoolctl()
    if threadpoolctl is None:
        blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}, threads set by the environment (threadpoolctl would verify them)"
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return "; ".join(f"{pool['internal_api']} {pool['version']}, threads: {pool['num_threads']}" for pool in pools)


def _threadpoolctl():
    """The module, or None where it is not installed."""
    try:
        return import_module("threadpoolctl")
    except ModuleNotFoundError:
        return None


def _commit():
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (" with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
