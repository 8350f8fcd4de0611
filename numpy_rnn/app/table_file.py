"""Tables of text files: their rows and cells by Python's csv, with the delimiter, the
header and the decimal mark that are found in them, or that are asked for.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from math import isfinite, nan
from typing import NamedTuple

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import pluralize, printable

# The first that divides all lines into as many cells is taken.
DELIMITERS = {"semicolon": ";", "tab": "\t", "comma": ",", "space": " "}
DECIMALS = ("point", "comma")
INTERPOLATE = "interpolate"  # what can be done with missing numbers
SAMPLE = 200  # lines in which the delimiter is looked for
# Cells, in lower case, that stand for a missing number.
MISSING = {"", "na", "nan", "n/a", "#n/a", "null", "none", "nil", "-", "?", "."}
# Numbers whose thousands may be grouped, with a decimal point and with a comma.
WITH_POINT = re.compile(r"[+-]?(\d+|[1-9]\d{0,2}(,\d{3})+)?(\.\d*)?(e[+-]?\d+)?", re.I)
WITH_COMMA = re.compile(r"[+-]?(\d+|[1-9]\d{0,2}(\.\d{3})+)?(,\d*)?(e[+-]?\d+)?", re.I)


class Table(NamedTuple):
    """The cells of a text file."""

    names: Sequence[str]  # of the columns; "column 1" and so on without a header
    rows: Sequence[Sequence[str]]  # cells without the spaces around them
    lines: Sequence[int]  # the line of the file on which each row ends
    delimiter: str  # one of DELIMITERS
    decimal: str  # one of DECIMALS
    has_header: bool

    def column(self, index: int) -> list[str]:
        """Return the cells of a column."""
        return [cells[index] for cells in self.rows]


def parse_table(
    text: str,
    delimiter: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
) -> Table:
    """Divide a text into rows and cells.

    Parameters
    ----------
    text : str
        The text. Quotes may enclose a cell. Empty lines are left out, and so are lines
        at the start that begin with "#", except for the last, which may be the header.
    delimiter : str, optional
        One of DELIMITERS; found by default.
    decimal : str, optional
        One of DECIMALS; found by default.
    header : bool, optional
        Whether the first line names the columns; found by default.

    Returns
    -------
    Table
        The table, of one row or more, all of them as long.

    Raises
    ------
    InputError
        If a row has another number of cells than most, if there is no row, or if the
        decimal mark cannot be told.
    """
    if delimiter is None:
        delimiter = found_delimiter(text, decimal)
    numbered = without_comments(list(numbered_rows(text, delimiter)))
    if not numbered:
        raise InputError("it is empty: expected a row of numbers for each time step")
    check_widths(numbered, delimiter)
    lines = [line for line, _ in numbered]
    rows = [cells for _, cells in numbered]
    if decimal is None:
        decimal = found_decimal(rows, delimiter)
    if header is None:
        header = found_header(rows, decimal)
    names = [f"column {index + 1}" for index in range(len(rows[0]))]
    if header:
        names = header_names(rows[0])
        del rows[0], lines[0]
    return Table(names, rows, lines, delimiter, decimal, header)


def header_names(cells: Sequence[str]) -> list[str]:
    """Return the names of columns; a second one of a name has (2) after it.

    Examples
    --------
    >>> header_names(["a", "", "a"])
    ['a', 'column 2', 'a (2)']
    """
    names: list[str] = []
    for index, cell in enumerate(cells):
        name = printable(cell) or f"column {index + 1}"
        count = 2
        unique = name
        while unique in names:
            unique = f"{name} ({count})"
            count += 1
        names.append(unique)
    return names


def numbered_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that has any, and the line on which it ends."""
    source: Iterator[str] = io.StringIO(text)
    if delimiter == "space":  # or several
        source = (" ".join(line.split()) for line in source)
    reader = csv.reader(
        source,
        delimiter=DELIMITERS[delimiter],
        skipinitialspace=delimiter != "space",
    )
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise InputError(
            f"line {reader.line_num}: {error}; expected rows of cells, with quotes"
            " in pairs"
        ) from None


def without_comments(
    numbered: list[tuple[int, list[str]]],
) -> list[tuple[int, list[str]]]:
    """Return the rows without comments at the start; the last one may be a header, and
    loses its mark.
    """
    comments = 0
    while comments < len(numbered) and numbered[comments][1][0].startswith("#"):
        comments += 1
    if not comments:
        return numbered
    line, (first, *cells) = numbered[comments - 1]
    first = first.lstrip("# ")
    header = [first, *cells] if first else cells
    rest = numbered[comments:]
    if rest and len(header) == len(rest[0][1]):
        return [(line, header), *rest]
    return rest


def found_delimiter(text: str, decimal: str | None) -> str:
    """Return the first delimiter that divides all lines into as many cells, two or
    more; or else the one that does so with most lines.
    """
    sample = "".join(islice(io.StringIO(text), SAMPLE))
    best = ("semicolon" if decimal == "comma" else "comma", 0)
    for delimiter in DELIMITERS:
        if delimiter == "comma" and decimal == "comma":
            continue
        try:
            rows = without_comments(list(numbered_rows(sample, delimiter)))
        except InputError:
            continue
        [(width, count)] = Counter(len(cells) for _, cells in rows).most_common(1) or [
            (0, 0)
        ]
        if width < 2:
            continue
        if count == len(rows):
            return delimiter
        if count > best[1]:
            best = delimiter, count
    return best[0]


def check_widths(numbered: list[tuple[int, list[str]]], delimiter: str) -> None:
    """Check that all rows have as many cells."""
    widths = Counter(len(cells) for _, cells in numbered)
    [(width, _)] = widths.most_common(1)
    for line, cells in numbered:
        if len(cells) != width:
            raise InputError(
                f"line {line} has {pluralize(len(cells), 'cell')}, divided by"
                f" {delimiter}s, and most lines have {width}: expected as many in each"
                " line; mend it, or choose another --delimiter"
            )


def found_decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Return the decimal mark with which the numbers of the cells can be read.

    Raises InputError if every comma may be one or divide thousands.
    """
    if not any("," in cell for cells in rows for cell in cells):
        return "point"
    only_point = only_comma = 0
    ambiguous = ""
    for cells in rows:
        for cell in cells:
            has_mark = "," in cell or "." in cell
            if not has_mark or not any(map(str.isdigit, cell)):
                continue
            as_point = isfinite(number_in(cell, "point"))
            as_comma = isfinite(number_in(cell, "comma"))
            if as_point and as_comma:
                ambiguous = cell if "," in cell else ambiguous
            only_point += as_point and not as_comma
            only_comma += as_comma and not as_point
    if only_comma > only_point:
        return "comma"
    if only_point or not ambiguous:
        return "point"
    if delimiter == "semicolon":  # which is there because commas are decimal
        return "comma"
    raise InputError(
        f"the comma of {ambiguous!r} may be decimal or divide thousands: choose"
        " --decimal comma or --decimal point"
    )


def found_header(rows: Sequence[Sequence[str]], decimal: str) -> bool:
    """Return whether the first row has a word where most rows below have a number."""
    first, *rest = rows
    for index, cell in enumerate(first):
        if is_missing(cell) or isfinite(number_in(cell, decimal)):
            continue
        below = [cells[index] for cells in rest if not is_missing(cells[index])]
        numbers = sum(isfinite(number_in(cell, decimal)) for cell in below)
        if 2 * numbers > len(below):
            return True
    return False


def is_missing(cell: str) -> bool:
    """Return whether a cell stands for a missing number."""
    return cell.lower() in MISSING


def number_in(cell: str, decimal: str) -> float:
    """Return the number of a cell; NaN if it is none, or not finite.

    Examples
    --------
    >>> number_in("1,234.5", "point"), number_in("1.234,5", "comma")
    (1234.5, 1234.5)
    >>> number_in("1.5", "comma")
    nan
    """
    group, mark, pattern = ",", ".", WITH_POINT
    if decimal == "comma":
        group, mark, pattern = ".", ",", WITH_COMMA
    if pattern.fullmatch(cell) is None:
        return nan
    with suppress(ValueError):  # of no digits
        value = float(cell.replace(group, "").replace(mark, "."))
        if isfinite(value):
            return value
    return nan
