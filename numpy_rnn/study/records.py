"""What the parts of the study hand to its page."""

from collections.abc import Callable
from typing import Any, NamedTuple

Findings = dict[str, Any]  # the numbers of the whole study, by part, as plain values for JSON


class Drawing(NamedTuple):
    """One figure. What it says is made from the findings, so that no number is typed in."""

    name: str  # of its files, and of its place on the page
    size: tuple[float, float]  # inches
    draw: Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure
    caption: Callable[[Findings], str]  # what there is to see, a sentence or three
    alternative: Callable[[Findings], str]  # for those who do not see it


class Table(NamedTuple):
    """One table of the page."""

    name: str
    caption: str
    head: list[str]
    rows: list[list[str]]
