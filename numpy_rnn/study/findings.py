"""What the parts of the study pass to its page: findings, figures, tables, and numbers as JSON and as text."""

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy_rnn.app.format import to_jsonable

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


DIGITS = 7  # significant ones, of the numbers in study.json


def rounded(value: Any) -> Any:
    """The value for JSON, as `to_jsonable` writes it, with seven significant digits."""
    return to_jsonable(value, DIGITS)
