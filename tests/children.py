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

LIMIT = 120.0  # seconds, for what takes a few: a busy machine is slow
FOLDERS = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
PATH = [os.path.abspath(folder) for folder in FOLDERS]


def environment(*folders, **more):
    """The environment of the tests with these folders first on PYTHONPATH, and `more` variables."""
    path = os.pathsep.join(map(str, [*folders, *PATH]))
    return {**os.environ, **({"PYTHONPATH": path} if path else {}), **more}


@contextlib.contextmanager
def default_interrupts():
    """Let SIGINT raise KeyboardInterrupt."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def run(command, *, timeout=LIMIT, **options):
    """Run a command to its end; its `subprocess.CompletedProcess` has its output as text."""
    defaults = {"env": environment(), "capture_output": True, "text": True, "check": False}
    with default_interrupts():
        return subprocess.run(list(map(str, command)), timeout=timeout, **{**defaults, **options})
