"""The exceptions of this project, the texts of their messages, and checks of numbers
and flags.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from numbers import Integral, Real
from sys import maxsize
from typing import Any

import numpy as np

NOT_NUMBERS = bool | np.bool | np.timedelta64  # which are integers to Python
MAX_NAMES, MAX_NAME = 8, 40  # names in a message, and characters of each
MAX_VALUE, MAX_TEXT, MAX_MESSAGE = (
    80,
    300,
    1000,
)  # characters of a value, a text, a message


def printable(text: str, longest: int = maxsize) -> str:
    """The text with escapes for newlines and the like; "..." replaces what
    is too long.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def one_line(text: str, longest: int = MAX_TEXT) -> str:
    """The text on one line of printable characters, with single spaces."""
    return printable(" ".join(text[: 4 * longest].split()), longest)


def some_of(names: Iterable[object]) -> str:
    """The first names, separated by commas, with "..." for the rest."""
    first = [
        printable(str(name), MAX_NAME) for _, name in zip(range(MAX_NAMES + 1), names)
    ]
    return ", ".join(first[:MAX_NAMES] + ["..."] * (len(first) > MAX_NAMES))


def join_names(names: list[str]) -> str:
    """The names, separated by commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def pluralize(count: int, noun: str) -> str:
    """The count and the noun, in the plural unless the count is 1: "1 row",
    "2 rows".
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def short_repr(value: object, write: Callable[[Any], str] = str) -> str:
    """The value as str or repr writes it, on one line of at most MAX_VALUE
    characters.
    """
    try:
        return one_line(write(value), MAX_VALUE)
    except ValueError:  # Python does not write integers of thousands of digits
        return "a very large number"


class InputError(ValueError):
    """Invalid input. The message is one line: what was wrong, what was expected, what
    to do.
    """


def check_integer(
    name: str, value: Any, least: int, expected: str = "", most: int = maxsize
) -> int:
    """The value as a plain integer. Raises InputError unless it is one from `least` to
    `most`.
    """
    is_integer = isinstance(value, Integral) and not isinstance(value, NOT_NUMBERS)
    if is_integer and least <= int(value) <= most:
        return int(value)
    limit = f" and at most {most}" if is_integer and value > most else ""
    expected = expected or f"a whole number, {least} or more{limit}"
    raise InputError(f"{name} is {short_repr(value, repr)}: expected {expected}")


def check_number(
    name: str,
    value: Any,
    least: float = 0.0,
    expected: str = "a finite number, 0 or more",
) -> float:
    """The value as a plain float. Raises InputError unless it is finite and at least
    `least`.
    """
    is_number = isinstance(value, Real) and not isinstance(value, NOT_NUMBERS)
    with suppress(OverflowError):  # of an integer larger than any float
        if is_number and isfinite(value) and float(value) >= least:
            return float(value)
    raise InputError(f"{name} is {short_repr(value)}: expected {expected}")


def check_flag(name: str, value: Any) -> bool:
    """The value as a plain bool. Raises InputError unless it is True or False."""
    if not isinstance(value, bool | np.bool):
        raise InputError(f"{name} is {short_repr(value, repr)}: expected True or False")
    return bool(value)


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Begin the message of every InputError, and of an OSError from reading, with this
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
    """Print the message on one line on standard error. Returns the status."""
    with suppress(OSError):  # a full or closed standard error changes nothing
        if sys.stderr is not None:
            print(f"{program}: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return status
