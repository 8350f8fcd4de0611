"""What the code of a port in Python must not do to the process that judges it.

This is for accidents. Code in another language may still end the process, with any
status: nothing has passed without a verdict that is printed.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

ENDING = ("_exit", "execv", "execve")  # of os; the other exec functions call these
_true_exit = os._exit


@contextmanager
def guarded(seconds: float | None = None) -> Iterator[None]:
    """Keep the code of a port from ending this process, or silencing or stalling it.

    Parameters
    ----------
    seconds
        The time limit, in the main thread; None: no limit.

    Raises
    ------
    SystemExit
        If the code calls os._exit or replaces the process by another program.
    TimeoutError
        After the time limit, where the code is at that moment.
    """
    recursion_limit = sys.getrecursionlimit()
    streams = sys.stdout, sys.stderr
    with ExitStack() as stack:
        for stream in streams:
            stack.enter_context(_kept_open(stream))
        for name in ENDING:
            stack.enter_context(_raising(name))
        stack.enter_context(_time_limit(seconds))
        try:
            yield
        finally:
            sys.setrecursionlimit(recursion_limit)
            sys.stdout, sys.stderr = streams


@contextmanager
def _raising(name: str) -> Iterator[None]:
    """Let a function of os that ends the process raise SystemExit.

    Only in this thread of this process: a child process that was forked ends, as does
    the process when a timer of pytest-timeout says so. The status of another thread is
    never 0.
    """
    true_function: Callable[..., Any] = getattr(os, name)
    process = os.getpid()
    thread = threading.get_ident()

    def leave(first: Any, *others: Any) -> NoReturn:
        if os.getpid() != process:
            true_function(first, *others)
        call = f"os.{name}({first!r})"
        if threading.get_ident() == thread:
            raise SystemExit(call)
        if first == 0 or name != "_exit":
            os.write(2, f"FAILED the port ends the process by {call}\n".encode())
            first = 1
        _true_exit(first)

    setattr(os, name, leave)
    try:
        yield
    finally:
        setattr(os, name, true_function)


@contextmanager
def _kept_open(stream: Any) -> Iterator[None]:
    """Let a stream of the process be flushed, not closed."""
    attributes = getattr(stream, "__dict__", None)
    if attributes is None or "close" in attributes:  # no file, or kept already
        yield
        return
    stream.close = stream.flush
    try:
        yield
    finally:
        del stream.close


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimeoutError after some seconds, if no other alarm is nearer."""
    is_main = threading.current_thread() is threading.main_thread()
    rest, interval = signal.getitimer(signal.ITIMER_REAL)
    if not seconds or not is_main or 0 < rest <= seconds:
        yield
        return

    def late(*_: object) -> NoReturn:
        raise TimeoutError(f"there is no answer within {seconds:g} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if rest > 0:
            rest = max(rest - (time.monotonic() - began), 1e-3)
            signal.setitimer(signal.ITIMER_REAL, rest, interval)
