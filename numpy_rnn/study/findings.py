"""What the parts of the study pass to its page: findings, figures, tables, and numbers as JSON and as text."""

from collections.abc import Callable
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

Findings = dict[str, Any]  # the numbers of the whole study, by part, as plain values for JSON


class Drawing(NamedTuple):
    """One figure. Caption and text are made from the findings, so that no number is typed in."""

    name: str  # of its files, and of its place on the page
    size: tuple[float, float]  # inches
    draw: Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure
    caption: Callable[[Findings], str]  # one to three sentences
    alternative: Callable[[Findings], str]  # the alternative text


class Table(NamedTuple):
    """One table of the page."""

    name: str
    caption: str
    head: list[str]
    rows: list[list[str]]


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(number: float | None, digits: int = 1) -> str:
    """5e-12 as 5·10⁻¹², with so many significant digits; from 0.01 to 1000 without a power, and with two at least.

    None, which the findings have for NaN and infinity, as "not finite".
    """
    if number is None:
        return "not finite"
    if number == 0 or 0.01 <= abs(number) < 1000:
        return f"{float(f'{number:.{max(digits, 2)}g}'):g}"
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    return f"{mantissa}·{power_of_ten(int(exponent))}"


def power_of_ten(exponent: int) -> str:
    """10⁻¹²."""
    return "10" + str(exponent).translate(SUPERSCRIPTS)


DIGITS = 7  # significant ones


def to_jsonable(values: Any, digits: int | None = DIGITS) -> Any:
    """An array as nested lists, a number as a float, rounded to `digits` significant digits, or not rounded.

    None for NaN and infinity, which JSON does not have, and for None.
    """
    return None if values is None else _rounded(np.asarray(values).tolist(), digits)


def _rounded(value, digits):
    if isinstance(value, list):
        return [_rounded(part, digits) for part in value]
    if not isinstance(value, float):
        return value
    if not isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")
