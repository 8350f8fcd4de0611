"""Numbers and flags among the arguments: each check raises InputError on a value of another kind."""

from math import inf
from numbers import Integral, Real
from typing import Any

from numpy_rnn.common.errors import InputError


def check_whole(name: str, value: Any, least: int, what: str = "a whole number") -> None:
    """A whole number, `least` or more; True is none."""
    if not isinstance(value, Integral) or _is_flag(value) or value < least:
        raise InputError(f"{name} is {value!r}: expected {what}, {least} or more")


def check_number(name: str, value: Any, least: float, expected: str) -> None:
    """A finite number, `least` or more; expected: how the message names it."""
    number: Any = value if isinstance(value, Real) and not _is_flag(value) else inf
    if not (least <= number < inf and number > -inf):
        raise InputError(f"{name} is {value}: expected {expected}")


def check_flag(name: str, value: Any) -> None:
    """True or False."""
    if not _is_flag(value):
        raise InputError(f"{name} is {value!r}: expected True or False")


def _is_flag(value):
    return isinstance(value, bool) or type(value).__name__ == "bool"  # numpy.bool is no bool
