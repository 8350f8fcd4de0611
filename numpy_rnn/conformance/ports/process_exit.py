"""A port in Python that ends the process, which would look like a pass."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def exit_raises() -> Iterator[None]:
    """Let os._exit raise SystemExit while code of a port runs.

    Only in this thread of this process: a child process that was forked ends, as does
    the process when a timer of pytest-timeout says so. The status of another thread is
    never 0.
    """
    true_exit = os._exit
    process, thread = os.getpid(), threading.get_ident()

    def leave(status: int) -> NoReturn:
        if os.getpid() != process:
            true_exit(status)
        if threading.get_ident() != thread:
            if status == 0:
                os.write(2, b"FAILED the port ends the process by os._exit(0)\n")
            true_exit(status or 1)
        raise SystemExit(f"os._exit({status})")

    os._exit = leave
    try:
        yield
    finally:
        os._exit = true_exit
