"""Numbers and names as text: for the terminal, tables and figures."""

from typing import Any

from numpy_rnn.common.errors import printable

MAX_WIDTH = 24  # of a name in a table, characters
MAX_TITLE = 60  # of the name of a series or text in the title of a figure, characters
MAX_NAMES = 5  # of columns in a heading


def format_number(value: float, width: int = 0, scale: float | None = None) -> str:
    """Six decimals, or five and an exponent if six would be too few or too many for the scale of the column.

    scale: the typical magnitude of the column; None: the magnitude of the value itself.
    """
    scale = abs(value) if scale is None else scale
    return f"{value:{width}.6f}" if scale == 0 or 1e-3 <= scale < 1e6 else f"{value:{width}.5e}"


def join_names(names: list[str]) -> str:
    """The names, separated by commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def number_of(count: int, noun: str) -> str:
    """The count and the noun, in the plural unless the count is 1: "1 row", "2 rows"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def drawable(text: str) -> str:
    """Printable text, with escapes also for characters that are not in Matplotlib's font."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in printable(text))


def column_names(experiment: Any) -> list[str]:
    """The names of the columns of the series, from its file or by number: "feature 1"."""
    D = experiment.x.shape[-1]
    return [printable(name) for name in experiment.columns or (f"feature {n + 1}" for n in range(D))]


def series_name(experiment: Any) -> str:
    """The name of the series, and those of its columns if its file has a header."""
    if experiment.columns is None:
        return experiment.name
    names = column_names(experiment)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{experiment.name} ({'column' if len(names) == 1 else 'columns'} {', '.join(names[:MAX_NAMES])}{more})"
