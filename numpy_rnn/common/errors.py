"""The exceptions of this project, and the checks of numbers and flags that raise them."""

from collections.abc import Callable, Iterable
from math import isfinite
from numbers import Integral, Real
from typing import Any

MOST_NAMES, LONGEST_TEXT = 8, 300  # in a message


def some_of(names: Iterable) -> str:
    """The first of these names, for a message, and ... where there are more."""
    first = [shortened(str(name), 40) for _, name in zip(range(MOST_NAMES + 1), names)]
    return ", ".join(first[:MOST_NAMES] + ["..."] * (len(first) > MOST_NAMES))


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, cut where it is too long for a message."""
    return text if len(text) <= longest else text[:longest] + "..."


class InputError(ValueError):
    """Something a user gave cannot be used.

    The message is one line: what was wrong (with the value), what was expected, what to do. The
    command line prints it on standard error and ends with status 2; nothing is half written.
    """


class Diverged(ArithmeticError):
    """A run went out of the range of its numbers. The message is one line; the command line ends with status 3.

    checkpoint: the run as it was before that, its parameters finite; None where it went wrong at the first update.
    """

    def __init__(self, message: str, checkpoint: Any = None):
        super().__init__(message)
        self.checkpoint = checkpoint


class Interrupted(Exception):
    """A run was told to stop, and stopped between two updates.

    signal: the number of what told it; checkpoint: the run so far.
    """

    def __init__(self, signal: int, checkpoint: Any):
        super().__init__(f"interrupted by signal {signal}")
        self.signal, self.checkpoint = signal, checkpoint


class Choices(dict):
    """A table of named alternatives whose look-up explains itself when the name is unknown."""

    def __init__(self, what: str, /, **alternatives):
        super().__init__(alternatives)
        self.what = what

    def known(self, name: str) -> str:
        """The name, if it is one of these. Raises InputError otherwise."""
        self[name]
        return name

    def __getitem__(self, name):
        return super().__getitem__(name) if isinstance(name, str) else self.__missing__(name)

    def __missing__(self, name):
        given = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
        raise InputError(f"unknown {self.what} {given}: expected {' or '.join(self)}")


LONGEST = 80  # characters of a value in a message


def check_whole(name: str, value: Any, least: int, what: str = "a whole number") -> None:
    """A whole number, `least` or more; True is none."""
    if not isinstance(value, Integral) or _is_flag(value) or value < least:
        raise InputError(f"{name} is {shown(value, repr)}: expected {what}, {least} or more")


def check_number(name: str, value: Any, least: float, expected: str) -> None:
    """A finite number, `least` or more; expected: how the message names it."""
    try:
        usable = isinstance(value, Real) and not _is_flag(value) and isfinite(value) and float(value) >= least
    except OverflowError:  # a whole number larger than any float
        usable = False
    if not usable:
        raise InputError(f"{name} is {shown(value)}: expected {expected}")


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    if not _is_flag(value):
        raise InputError(f"{name} is {shown(value, repr)}: expected True or False")


def shown(value: Any, write: Callable[[Any], str] = str) -> str:
    """The value in a message, as str or repr writes it: on one line, and no longer than is read."""
    try:
        text = " ".join(write(value).split())
    except ValueError:  # Python writes no number of thousands of digits
        text = "a very large number"
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _is_flag(value):
    return isinstance(value, bool) or type(value).__name__ == "bool"  # numpy.bool is no bool
