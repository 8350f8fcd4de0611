"""Numbers and flags among the arguments: each check raises InputError on a value of another kind."""

from collections.abc import Callable
from math import isfinite
from numbers import Integral, Real
from typing import Any

from numpy_rnn.common.errors import InputError

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
