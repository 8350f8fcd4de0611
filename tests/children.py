"""Processes that the tests start: they import this checkout, Ctrl-C reaches them, and none runs for ever.

The environment puts the checkout first on the path, so that an installed copy is not tested in its place. A process
that was started in the background of a script ignores SIGINT, one that nohup started SIGHUP, and so do its children.
Here every child starts with the default actions of both, whoever started the tests.
"""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 120.0  # seconds, for what takes a few: a busy machine is slow, and only a hang takes longer


def environment(**more):
    """Return the environment of the tests with this checkout first on the path of Python, and `more` variables."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **more}


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
        stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        if hasattr(signal, "SIGHUP"):
            stack.callback(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))
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
    options = {"env": environment(), "capture_output": True, "text": True, "check": False, **options}
    with default_interrupts():
        return subprocess.run(list(map(str, command)), timeout=timeout, **options)
