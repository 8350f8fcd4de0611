"""The exception of invalid input, and how a command reports that it fails."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from numpy_rnn.common.texts import one_line

MAX_MESSAGE = 1000  # characters of the line on which a command fails


class InputError(ValueError):
    """Invalid input.

    The message is one line: what was wrong, what was expected, and what to do.
    """


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Begin the message of an InputError, or of an OSError from reading, with this
    subject.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{subject} cannot be read: {reason}; check the path"
        ) from None


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
