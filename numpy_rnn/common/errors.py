"""The exception of invalid input."""

from collections.abc import Iterator
from contextlib import contextmanager


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
