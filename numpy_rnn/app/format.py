"""Numbers and names as text: for the terminal, messages, tables and figures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from numpy_rnn.common.errors import InputError

MAX_WIDTH = 24  # of a name in a table, characters
MAX_TITLE = 60  # of the name of a series or text in the title of a figure, characters


def format_number(value: float, width: int = 0, scale: float | None = None) -> str:
    """Six decimals, or five and an exponent where the scale, by default the value itself, is very small or large."""
    scale = abs(value) if scale is None else scale
    return f"{value:{width}.6f}" if scale == 0 or 1e-3 <= scale < 1e6 else f"{value:{width}.5e}"


def join_names(names: list[str]) -> str:
    """The names, separated by commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def pluralize(count: int, noun: str) -> str:
    """The count and the noun, in the plural unless the count is 1: "1 row", "2 rows"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def align_columns(columns: Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    """The lines of a table. Each column has a width, or that of its head, and cells of which the first is its head."""
    widths = [max(width, len(cells[0])) for width, cells in columns]
    lines = zip(*(cells for _, cells in columns), strict=True)
    return [
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths)).rstrip()
        for line in lines
    ]


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Begin the message of every InputError, and of an OSError from reading, with this subject."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None
    except OSError as error:
        raise InputError(
            f"{subject} cannot be read: {error.strerror or error}; check the path"
        ) from None
