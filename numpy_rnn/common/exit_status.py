"""How a program ends: with one line on standard error where something fails, and with its exit status."""

import os
import sys
from collections.abc import Callable

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.output.text import one_line


def exit_status(program: str, work: Callable[[], int]) -> int:
    """Do the work of a whole program and return its exit status, that of the work where nothing fails.

    2 when the input cannot be used or the output cannot be written; 1 when the reader of the output has gone, as in
    `| head`; 130 after Ctrl-C. Of the first and the last, one line on standard error says why.
    """
    try:
        try:
            return work()
        finally:
            print(end="", flush=True)
    except InputError as error:
        return failed(program, 2, str(error))
    except MemoryError as error:
        return failed(program, 2, f"not enough memory ({error}): choose fewer hidden units, networks or rows")
    except KeyboardInterrupt:
        return failed(program, 130, "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return failed(program, 2, f"the output cannot be written: {error.strerror or error}")


def failed(program: str, status: int, message: str) -> int:
    """Print the message as one line on standard error, and return the status."""
    print(f"{program}: {one_line(message)}", file=sys.stderr)
    return status


def _discard_output():
    """Let Python's own flush at exit succeed, which would complain otherwise."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
