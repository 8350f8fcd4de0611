"""The exit status of a program and its last message: one rule for every command of this project."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from signal import SIGINT

from numpy_rnn.common.errors import Diverged, InputError, one_line

MAX_MESSAGE = 1000  # characters
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h


def exit_status(program: str, work: Callable[[], int], traceback: bool = False) -> int:
    """Do the work of a whole program. Returns its exit status: that of the work if nothing fails.

    2 if the input cannot be used or the output cannot be written; 3 if a run diverged; 1 if the reader of the output is
    gone, as in `| head`; 130 after Ctrl-C, or 128 plus the number of another signal; 70 after an unexpected exception.
    One line on standard error says why. traceback: raise an unexpected exception instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # of a character that the terminal does not have
    try:
        try:
            return work()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except InputError as error:
        return failed(program, 2, str(error))
    except Diverged as error:
        return failed(program, 3, str(error))
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        return failed(
            program,
            2,
            f"not enough memory{reason}: choose fewer hidden units, networks, steps or rows",
        )
    except KeyboardInterrupt as error:
        return failed(program, 128 + interrupting_signal(error), "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return failed(program, 2, f"the output cannot be written: {error.strerror or error}")
    except Exception as error:
        if traceback:
            raise
        message = (
            f"unexpected {type(error).__name__}: {error}; run again with --traceback, and report it"
        )
        return failed(program, INTERNAL_ERROR, message)


def failed(program: str, status: int, message: str) -> int:
    """Print the message on one line on standard error. Returns the status."""
    with suppress(OSError):  # a full or closed standard error changes nothing
        if sys.stderr is not None:
            print(f"{program}: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return status


def interrupting_signal(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that raised the exception."""
    return getattr(interrupt, "signal", SIGINT)


def _discard_output() -> None:
    """Redirect standard output, so that Python's own flush at exit succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
