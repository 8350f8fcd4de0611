"""The exceptions of this project, and the checks of numbers and flags that raise them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from numbers import Integral, Real
from sys import maxsize
from typing import Any

import numpy as np

NOT_NUMBERS = bool | np.bool | np.timedelta64  # which are integers to Python
MAX_NAMES, MAX_NAME, MAX_VALUE, MAX_TEXT = (
    8,
    40,
    80,
    300,
)  # in a message: names, and characters of each kind


def some_of(names: Iterable[object]) -> str:
    """The first names, separated by commas, with "..." for the rest."""
    first = [shortened(str(name), MAX_NAME) for _, name in zip(range(MAX_NAMES + 1), names)]
    return ", ".join(first[:MAX_NAMES] + ["..."] * (len(first) > MAX_NAMES))


def shortened(text: str, longest: int = MAX_TEXT) -> str:
    """The text; if it has more than `longest` characters, its end is replaced by "..."."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def printable(text: str) -> str:
    """The text with escapes for characters that are not printable, such as a newline or a byte that is not UTF-8."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def one_line(text: str, longest: int = MAX_TEXT) -> str:
    """The text on one line of printable characters, of at most `longest`."""
    return shortened(printable(" ".join(text[: 4 * longest].split())), longest)


def short_repr(value: object, write: Callable[[Any], str] = str) -> str:
    """The value as str or repr writes it, on one line of at most MAX_VALUE characters."""
    try:
        return one_line(write(value), MAX_VALUE)
    except ValueError:  # Python does not write integers of thousands of digits
        return "a very large number"


class InputError(ValueError):
    """Invalid input.

    The message is one line: what was wrong (with the value), what was expected, what to do. The command line prints it
    on standard error and exits with status 2; it leaves no half-written file.
    """


class Diverged(ArithmeticError):
    """A run diverged: a value overflowed or is NaN. The message is one line; the command line exits with status 3."""


def check_integer(
    name: str, value: Any, least: int, expected: str = "", most: int = maxsize
) -> int:
    """The value as a plain integer. Raises InputError unless it is one from `least` to `most`."""
    is_integer = isinstance(value, Integral) and not isinstance(value, NOT_NUMBERS)
    if not is_integer or not least <= int(value) <= most:
        too_large = f" and at most {most}" if isinstance(value, int) and value > most else ""
        expected = expected or f"a whole number, {least} or more{too_large}"
        raise InputError(f"{name} is {short_repr(value, repr)}: expected {expected}")
    return int(value)


def check_number(
    name: str, value: Any, least: float = 0.0, expected: str = "a finite number, 0 or more"
) -> float:
    """The value as a plain float. Raises InputError, with the words `expected`, unless it is finite and ≥ `least`."""
    with suppress(OverflowError):  # of an integer larger than any float
        if (
            isinstance(value, Real)
            and not isinstance(value, NOT_NUMBERS)
            and isfinite(value)
            and float(value) >= least
        ):
            return float(value)
    raise InputError(f"{name} is {short_repr(value)}: expected {expected}")


def check_flag(name: str, value: Any) -> bool:
    """The value as a plain bool. Raises InputError unless it is True or False, Python's or NumPy's."""
    if not isinstance(value, bool | np.bool):
        raise InputError(f"{name} is {short_repr(value, repr)}: expected True or False")
    return bool(value)


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Begin the message of every InputError, and of an OSError from reading, with this subject."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None
    except OSError as error:
        raise InputError(
            f"{subject} cannot be read: {error.strerror or error}; check the path"
        ) from None
