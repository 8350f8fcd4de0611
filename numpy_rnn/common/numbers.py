"""Checks of numbers, flags and choices, which raise InputError. Those named `checked_`
return the value in a plain type of Python.
"""

from collections.abc import Sequence
from contextlib import suppress
from math import isfinite, ulp
from numbers import Integral, Real
from sys import maxsize
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import short_repr


def is_whole(value: Any) -> bool:
    """Return whether the value is a whole number, of Python or NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def checked_integer(name: str, value: Any, least: int, most: int = maxsize) -> int:
    """Return the value as a plain integer, if it is one from `least` to `most`."""
    if is_whole(value) and least <= int(value) <= most:
        return int(value)
    expected = f"a whole number, {least} or more"
    if most < maxsize or (is_whole(value) and value > most):
        expected += f" and at most {most}"
    raise InputError(f"{name} is {short_repr(value, repr)}: expected {expected}")


def checked_number(
    name: str,
    value: Any,
    least: float = 0.0,
    expected: str = "a finite number, 0 or more",
) -> float:
    """Return the value as a plain float, if it is finite and at least `least`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    with suppress(OverflowError):  # of an integer larger than any float
        if is_number and isfinite(value) and float(value) >= least:
            return float(value)
    # A text is quoted: "0.1" would be told as the number that it is not.
    write = repr if isinstance(value, str) else str
    raise InputError(f"{name} is {short_repr(value, write)}: expected {expected}")


def checked_positive(name: str, value: Any) -> float:
    """Return the value as a plain float, if it is finite and above 0."""
    return checked_number(name, value, ulp(0.0), "a finite number above 0")


def checked_flag(name: str, value: Any) -> bool:
    """Return the value as a plain bool, if it is True or False."""
    if not isinstance(value, bool | np.bool):
        raise InputError(f"{name} is {short_repr(value, repr)}: expected True or False")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that the value is one of the choices."""
    if not (isinstance(value, str) and value in choices):
        expected = " or ".join(choices)
        raise InputError(
            f"unknown {name} {short_repr(value, repr)}: expected {expected}"
        )
