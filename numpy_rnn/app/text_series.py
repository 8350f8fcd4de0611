"""Series in text files: choice of columns, separator, header, and numbers."""

import csv
import re
from array import array
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from typing import TextIO

import numpy as np

from numpy_rnn.app.format import number_of
from numpy_rnn.common.errors import InputError

MAX_NAMES = 20  # in a message
SPACE = " "  # any white space
SEPARATORS = {".csv": ",;\t ", ".tsv": "\t,; ", ".txt": " ,;\t"}  # in the order in which ties are resolved
PEEKED_LINES = 10  # read to find the separator and the header
BEGINS_A_NUMBER = re.compile(r"[+-]?\.?\d")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


# -- columns --------------------------------------------------------------------------------------------------------


def places_of(columns: Sequence[str] | str | None, names: list[str] | None, count: int) -> list[int]:
    """The indices of the chosen columns among `count`; all of them if `columns` is None.

    columns: names, or numbers from 1, as strings. names: those of the columns, or None.

    Raises InputError if a column does not exist or is chosen twice, and if none is chosen.
    """
    if columns is None:
        return list(range(count))
    places: list[int] = []
    for column in (columns,) if isinstance(columns, str) else columns:
        place = _place(column.strip(), names, count)
        if place in places:
            raise InputError(f"column {column!r} is chosen twice; expected every column once")
        places.append(place)
    if not places:
        raise InputError(f"no column is chosen; expected {_choices(names, count)}")
    return places


def names_at(places: list[int], names: list[str] | None, count: int) -> tuple[str, ...] | None:
    """The names of the columns at these indices; None without a header that fits the columns."""
    if names is None or len(names) != count:
        return None
    return tuple(names[place] or f"column {place + 1}" for place in places)


def _place(column, names, count):
    if column.isdecimal():  # not a name: a name does not begin with a digit
        place = int(column) - 1
        if 0 <= place < count:
            return place
    elif names is not None and column in names:
        if names.count(column) > 1:
            raise InputError(f"{names.count(column)} columns are named {column!r}; choose by number, 1 to {count}")
        if len(names) != count:
            raise InputError(
                f"the header has {len(names)} columns and the line after it {count}, so the place of {column!r} is not"
                f" certain; choose by number, 1 to {count}"
            )
        return names.index(column)
    close = get_close_matches(column, names or (), 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise InputError(f"there is no column {column!r}{hint}; expected {_choices(names, count)}")


def _choices(names, count):
    numbers = f"1 to {count}" if count > 1 else "1"
    if names is None:
        return f"a number, {numbers}, as there is no header"
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"{', '.join(map(repr, names[:MAX_NAMES]))}{more}, or a number, {numbers}"


# -- text -----------------------------------------------------------------------------------------------------------


def read_text(
    file: TextIO, ending: str, columns: Sequence[str] | str | None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The numbers of an open, seekable text file, (N, D) in float64, and the names of its columns, if it has any.

    The separator is the one that makes most fields of the first lines numbers; `ending` resolves ties. np.loadtxt reads
    the numbers; what it refuses is read again line by line, which finds the line and column of an error.

    Raises ValueError if the text is not a series of numbers, InputError if columns cannot be chosen or lines differ in
    length.
    """
    separator = _separator(file, SEPARATORS[ending])
    lines = _lines(file, separator)
    first = next(lines, None)
    if first is None:
        raise ValueError("it has no rows")
    names = _names(*first)
    first = first if names is None else next(lines, None)
    if first is None:
        raise ValueError("it has no rows")
    number, fields = first
    places, count = places_of(columns, names, len(fields)), len(fields)
    is_exact = columns is None or separator != SPACE  # every line has the same number of columns
    file.seek(0)
    try:
        rows = np.loadtxt(
            _plain_lines(file, number, separator, count if is_exact and columns is not None else None),
            delimiter=None if separator == SPACE else separator,
            comments=None,
            usecols=None if columns is None else places,
            ndmin=2,
        )
        is_read = bool(np.isfinite(rows).all())
    except (ValueError, UserWarning):
        is_read = False
    if not is_read:
        rows = _read_by_line(file, separator, number, places, count if is_exact else None)
    return rows, names_at(places, names, count)


def _plain_lines(file, first, separator, count):
    """The lines from number `first` on that are not blank. Raises ValueError unless all are `count` fields, if given,
    without quotes.
    """
    for line in islice(file, first - 1, None):
        if line.isspace() and (separator == SPACE or separator not in line):
            continue
        if count is not None and (line.count(separator) != count - 1 or '"' in line):
            raise ValueError
        yield line


def _read_by_line(file, separator, first, places, count):
    """The rows (N, D) from the line of this number on.

    Raises ValueError with the line and column of an error, InputError on a line with too few or too many columns.
    """
    file.seek(0)
    values = array("d")  # takes a tenth of the memory of lists
    for number, fields in _lines(file, separator):
        if number < first:
            continue
        if len(fields) != count if count is not None else len(fields) <= max(places):
            found = f"line {number} has {number_of(len(fields), 'column')}, but"
            if count is not None:
                raise InputError(f"{found} the first row has {count}; expected the same number of columns in every row")
            last = max(places) + 1
            raise InputError(f"{found} column {last} is chosen; expected {last} or more columns in every row")
        values.extend(_number(number, place, fields[place]) for place in places)
    return np.array(values).reshape(-1, len(places))


def _separator(file, candidates):
    """The separator that makes most fields numbers; among equals, the one that gives more fields."""
    scores = {}
    for separator in candidates:
        try:
            rows = [fields for _, fields in islice(_lines(file, separator), PEEKED_LINES)]
        except csv.Error:  # a quote that ends before another separator
            rows = []
        file.seek(0)
        fields = [field for row in rows for field in row]
        if len(fields) > len(rows):
            is_number = _is_number if separator in ", " else _is_number_or_has_a_comma
            scores[separator] = sum(map(is_number, fields)) / len(fields), len(fields)
    best = max(scores, key=lambda separator: scores[separator], default=candidates[0])
    return best if best in scores and scores[best][0] > 0 else candidates[0]


def _lines(file, separator):
    """(number, fields) of every line that is not blank."""
    if separator == SPACE:
        yield from ((number, line.split()) for number, line in enumerate(file, start=1) if line.strip())
        return
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    for fields in reader:
        if len(fields) > 1 or "".join(fields).strip():
            yield reader.line_num, fields


def _names(number, fields):
    """The names of the columns, if the line begins with # or has no number in it; otherwise None.

    Raises ValueError if a field that is not a number begins as one: "1a" is a mistyped number rather than a name.
    """
    names = [field.strip() for field in fields]
    if names[0].startswith("#"):  # a comment, as numpy.savetxt writes it
        names[0] = names[0][1:].strip()
        return names[0 if names[0] else 1 :]
    if any(map(_is_number, fields)):
        return None
    for place, name in enumerate(names, start=1):
        if BEGINS_A_NUMBER.match(name):
            raise ValueError(
                f"line {number}, column {place} is {name!r}: neither a number{_why_not(name)} nor a name, which does"
                " not begin with a digit unless its line begins with #"
            )
    return names


def _number(line, place, field):
    if not _is_number(field) or not isfinite(float(field)):
        field = field.strip()
        raise ValueError(f"line {line}, column {place + 1} is {field!r}{_why_not(field)}")
    return float(field)


def _why_not(field):
    return " (a decimal comma: write a decimal point)" if DECIMAL_COMMA.fullmatch(field) else ""


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # 1_000 is a number in Python only


def _is_number_or_has_a_comma(text):
    return _is_number(text) or DECIMAL_COMMA.fullmatch(text.strip()) is not None
