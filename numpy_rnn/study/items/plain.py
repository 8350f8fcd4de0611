"""Arrays as plain values, for JSON."""

from math import isfinite
from typing import Any

import numpy as np

DIGITS = 7  # significant ones, of the numbers that are looked at


def plain(array, digits: int = DIGITS) -> Any:
    """An array as nested lists, a number as a float, rounded to so many significant digits; None for None, and for what
    is not finite.
    """
    if array is None:
        return None
    return _rounded(np.asarray(array).tolist(), digits)


def _rounded(value, digits):
    if isinstance(value, list):
        return [_rounded(part, digits) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if isfinite(value) else None
    return value
