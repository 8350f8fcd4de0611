"""Numbers as they are printed, and claims."""

from math import floor, log10
from typing import NamedTuple

from benchmarks.intervals import Estimate


class Claim(NamedTuple):
    """A sentence with its figure, and whether it holds."""

    text: str
    holds: bool

    def line(self) -> str:
        return f"{'pass' if self.holds else 'FAIL'}: {self.text}"


def show(value: Estimate) -> str:
    median, low, high = map(three_digits, value)
    return f"{median} [{low}, {high}]"


def three_digits(value: float) -> str:
    """At least three of them, and never an exponent."""
    decimals = 2 - floor(log10(abs(value))) if value else 2
    return f"{value:.{max(decimals, 0)}f}"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """In Markdown, and aligned; the first column and texts stand to the left, numbers to the right."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [all(not _number(cell) for cell in column[1:]) for column in zip(*cells, strict=True)]
    formats = [f"{{:{'<' if is_left else '>'}{width}}}" for width, is_left in zip(widths, left)]
    rule = ["-" * (width + 1) + ("-" if is_left else ":") for width, is_left in zip(widths, left)]
    lines = [f"| {' | '.join(form.format(cell) for form, cell in zip(formats, line))} |" for line in cells]
    return [lines[0], f"|{'|'.join(rule)}|", *lines[1:]]


def _number(cell):
    return cell[:1].isdigit() or cell[:1] == "-"
