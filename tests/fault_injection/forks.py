"""Runs of pytest in forks of one process that has the libraries loaded: loading takes longer than most tests."""

import importlib.util
import multiprocessing
import os
import signal
import sys
from pathlib import Path

LIBRARIES = ("numpy", "torch", "matplotlib.figure", "hypothesis", "pytest", "flint", "playwright.sync_api")
OPTIONS = ("-x", "-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout=120")
LOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins that are loaded before pytest starts
FORKS = multiprocessing.get_context("forkserver")


def start() -> None:
    """Load the libraries that are installed, with one thread each. It is called once, before the first run."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    FORKS.set_forkserver_preload([name for name in LIBRARIES if importlib.util.find_spec(name.partition(".")[0])])


def run(checkout: Path, tests: list[str], limit: float) -> tuple[int | None, str]:
    """The exit status of pytest on these tests of a checkout, None after `limit` seconds, and what it printed."""
    output = checkout / "pytest.txt"
    output.touch()
    process = FORKS.Process(target=_pytest, args=(str(checkout), tests, str(output)))
    process.start()
    process.join(limit)
    if process.exitcode is None and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return None, output.read_text(errors="replace")
    return process.exitcode, output.read_text(errors="replace")


def _pytest(checkout, tests, output):
    os.setsid()  # a group of its own, which is killed with all that the tests have started
    os.chdir(checkout)
    sys.path[0] = checkout
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": checkout, "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.setdefault("HYPOTHESIS_PROFILE", "ci")
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import pytest

    status = pytest.main([*OPTIONS, *LOADED, *tests])
    sys.stdout.flush()
    os._exit(status)  # threads that a fault has left must not keep the process
