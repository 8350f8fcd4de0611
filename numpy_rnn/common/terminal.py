"""What the command lines write to a terminal, or cannot write any more."""

import os
import sys
from contextlib import suppress

from numpy_rnn.common.texts import one_line

MAX_MESSAGE = 1000  # characters


def silence_output() -> None:
    """Redirect standard output to nothing, so that Python's flush at exit succeeds."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failed(program: str, status: int, message: str) -> int:
    """Print the message on one line on standard error, and return the status."""
    with suppress(OSError):  # a full or closed standard error changes nothing
        if sys.stderr is not None:
            print(f"{program}: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return status
