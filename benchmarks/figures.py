"""Numbers as they are printed, and claims."""

from collections.abc import Iterable
from math import floor, log10
from typing import NamedTuple

from benchmarks.intervals import Estimate


class Claim(NamedTuple):
    """A sentence with its figure, and whether it holds; None where the noise leaves that open."""

    text: str
    holds: bool | None

    def line(self) -> str:
        return f"{ {True: 'pass', False: 'FAIL', None: 'open'}[self.holds] }: {self.text}"


def at_least(found: Estimate, asked: float) -> bool | None:
    """Whether the whole interval is `asked` or more; None where a part of it is."""
    return True if found.low >= asked else None if found.high >= asked else False


def at_most(found: Estimate, asked: float) -> bool | None:
    """Whether the whole interval is `asked` or less; None where a part of it is."""
    return True if found.high <= asked else None if found.low <= asked else False


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """False where one is, else None where one is."""
    known = list(verdicts)
    return False if False in known else None if None in known else True


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
