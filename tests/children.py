"""Processes that the tests start: they import what the tests import, Ctrl-C reaches them, and none runs for ever.

They run in other folders, so the folders of PYTHONPATH become absolute. A process that was started in the background
of a script ignores SIGINT, one that nohup started SIGHUP, and so do its children. Here every child starts with the
default actions of both, whoever started the tests.
"""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 120.0  # seconds, for what takes a few: a busy machine is slow, and only a hang takes longer
PATH = [
    os.path.abspath(folder)
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder
]


def environment(*folders, **more):
    """Return the environment of the tests with these folders first on the path of Python, and `more` variables."""
    path = os.pathsep.join(map(str, [*folders, *PATH]))
    return {**os.environ, **({"PYTHONPATH": path} if path else {}), **more}


def with_benchmarks(folder):
    """A folder with the benchmarks, for `python -m benchmarks`: in the checkout it would find the packages there."""
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    return folder


@contextlib.contextmanager
def default_interrupts():
    """Let SIGINT raise KeyboardInterrupt inside, and SIGHUP do what it does by default, and restore their former
    handlers. Children get the default actions.

    Only the main thread may set handlers. In another thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(
            signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler)
        )
        if hasattr(signal, "SIGHUP"):
            stack.callback(
                signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL)
            )
        yield


@contextlib.contextmanager
def start(command, **options):
    """Start a command and yield its `subprocess.Popen`. The process is killed at the end if it still runs.

    `options` are those of `subprocess.Popen`; `env` is `environment()` by default.
    """
    with default_interrupts():
        process = subprocess.Popen(list(map(str, command)), **{"env": environment(), **options})
    with process:
        try:
            yield process
        finally:
            process.kill()  # does nothing where the process has ended and was waited for


def run(command, *, timeout=LIMIT, **options):
    """Run a command to its end and return its `subprocess.CompletedProcess`; its output is captured as text.

    `options` are those of `subprocess.run`; `env` is `environment()` by default. Raises subprocess.TimeoutExpired
    after `timeout` seconds.
    """
    options = {
        "env": environment(),
        "capture_output": True,
        "text": True,
        "check": False,
        **options,
    }
    with default_interrupts():
        return subprocess.run(list(map(str, command)), timeout=timeout, **options)
