"""Processes that the tests start: they import what the tests import, Ctrl-C reaches them, and none
runs for ever.

A process that was started in the background of a script ignores SIGINT, and so do its children.
Here every child starts with the default action. The folders of PYTHONPATH become absolute, as
children run in other folders.
"""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 120.0  # seconds, for what takes a few: a busy machine is slow
FOLDERS = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
PATH = [os.path.abspath(folder) for folder in FOLDERS]


def environment(*folders, **more):
    """The environment of the tests with these folders first on PYTHONPATH, and `more` variables."""
    path = os.pathsep.join(map(str, [*folders, *PATH]))
    return {**os.environ, **({"PYTHONPATH": path} if path else {}), **more}


def with_benchmarks(folder):
    """A folder with the benchmarks; in the checkout, `python -m` would find the packages there."""
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    return folder


@contextlib.contextmanager
def default_interrupts():
    """Let SIGINT raise KeyboardInterrupt; in another than the main thread nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


@contextlib.contextmanager
def start(command, **options):
    """Start a command and yield its `subprocess.Popen`, which is killed at the end."""
    with default_interrupts():
        process = subprocess.Popen(list(map(str, command)), **{"env": environment(), **options})
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(command, *, timeout=LIMIT, **options):
    """Run a command to its end; its `subprocess.CompletedProcess` has its output as text."""
    defaults = {"env": environment(), "capture_output": True, "text": True, "check": False}
    with default_interrupts():
        return subprocess.run(list(map(str, command)), timeout=timeout, **{**defaults, **options})
