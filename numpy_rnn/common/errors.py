"""The exception of invalid input, and how it is told."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from numpy_rnn.common.texts import join_names as join_names
from numpy_rnn.common.texts import one_line as one_line
from numpy_rnn.common.texts import pluralize as pluralize
from numpy_rnn.common.texts import printable as printable
from numpy_rnn.common.texts import short_repr as short_repr
from numpy_rnn.common.texts import some_of as some_of

MAX_MESSAGE = 1000  # characters


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


def failed(program: str, status: int, message: str) -> int:
    """Print the message on one line on standard error, and return the status."""
    with suppress(OSError):  # a full or closed standard error changes nothing
        if sys.stderr is not None:
            print(f"{program}: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return status


def __getattr__(name: str) -> Any:
    """Find the checks that moved to numbers.py, for those who import them from here."""
    if name not in ("check_flag", "check_integer", "check_number"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from numpy_rnn.common import numbers

    return getattr(numbers, name)
