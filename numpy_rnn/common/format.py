"""Numbers and names as text: for the terminal, messages, tables and figures."""

from collections.abc import Sequence

MAX_WIDTH = 24  # of a name in a table, characters
MAX_TITLE = 60  # of the name of a series or text in the title of a figure, characters


def format_number(value: float, width: int = 0, scale: float | None = None) -> str:
    """Six decimals, or five and an exponent where the scale, or the value, is small or large."""
    scale = abs(value) if scale is None else scale
    return f"{value:{width}.6f}" if scale == 0 or 1e-3 <= scale < 1e6 else f"{value:{width}.5e}"


def join_names(names: list[str]) -> str:
    """The names, separated by commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def pluralize(count: int, noun: str) -> str:
    """The count and the noun, in the plural unless the count is 1: "1 row", "2 rows"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table: the header, then the rows.

    Columns are as wide as their widest cell and two spaces apart. The first `left` columns are
    aligned on the left, the others on the right.
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        for line in lines
    ]
    return ["  ".join(cells).rstrip() for cells in aligned]


def align_columns(columns: Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    """The lines of a table of columns: a width, or that of the head, and cells, the head first."""
    widths = [max(width, len(cells[0])) for width, cells in columns]
    lines = zip(*(cells for _, cells in columns), strict=True)
    return [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths)).rstrip()
        for line in lines
    ]
