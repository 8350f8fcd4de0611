"""Series as text: lines of numbers between commas, semicolons, tabs or white space."""

import csv
import re
from array import array
from itertools import islice
from math import isfinite

import numpy as np

from numpy_rnn.common.files.columns import names_at, places_of

SPACE = " "  # any white space
SEPARATORS = {".csv": ",;\t ", ".tsv": "\t,; ", ".txt": " ,;\t"}  # of equals, the first is taken
LOOKED_AT = 10  # lines, to find the separator
BEGINS_A_NUMBER = re.compile(r"[+-]?\.?\d")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


def read_text(file, ending, columns) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The numbers of an open text file that can seek, (N, D) in float64, and the names of its columns, if it has any.

    The separator is the one that leaves the largest part of the first lines as numbers; `ending` decides between
    equals. Lines between white space may be longer than the first where columns are chosen, by a mark at their end.

    Raises ValueError on what is no series, InputError on columns that cannot be chosen.
    """
    separator = _separator(file, SEPARATORS[ending])
    lines = _lines(file, separator)
    first = next(lines, None)
    names = None if first is None else _names(*first)
    values = array("d")  # and no list of lists, which takes ten times as much
    count, exact = 0, columns is None or separator != SPACE
    places: list[int] = []
    for number, fields in lines if names is not None or first is None else _with_first(first, lines):
        if not count:
            count = len(fields)
            places = places_of(columns, names, count)
        if len(fields) != count if exact else len(fields) <= max(places):
            expected = f"where the first has {count}" if exact else f"and none numbered {max(places) + 1}"
            raise ValueError(f"line {number} has {len(fields)} columns {expected}")
        values.extend(_number(number, place, fields[place]) for place in places)
    if not count:
        raise ValueError("it holds no rows")
    return np.array(values).reshape(-1, len(places)), names_at(places, names, count)


# -- separators -----------------------------------------------------------------------------------------------------


def _separator(file, candidates):
    """The separator whose fields are numbers in the largest part, and that gives more fields among equals."""
    found = {}
    for separator in candidates:
        try:
            rows = [fields for _, fields in islice(_lines(file, separator), LOOKED_AT)]
        except csv.Error:  # a quote that ends before another separator
            rows = []
        file.seek(0)
        fields = [field for row in rows for field in row]
        if len(fields) > len(rows):
            is_number = _is_number if separator in ", " else _is_number_or_has_a_comma
            found[separator] = sum(map(is_number, fields)) / len(fields), len(fields)
    best = max(found, key=lambda separator: found[separator], default=candidates[0])
    return best if best in found and found[best][0] > 0 else candidates[0]


def _lines(file, separator):
    """(number, fields) of every line that is not blank."""
    if separator == SPACE:
        yield from ((number, line.split()) for number, line in enumerate(file, start=1) if line.strip())
        return
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    for fields in reader:
        if len(fields) > 1 or "".join(fields).strip():
            yield reader.line_num, fields


def _with_first(first, lines):
    yield first
    yield from lines


# -- names ----------------------------------------------------------------------------------------------------------


def _names(number, fields):
    """The names of the columns, if the first line begins with # or has no number in it; otherwise None.

    Raises ValueError where a field without a number begins as one: "1a" is a mistyped number rather than a name.
    """
    names = [field.strip() for field in fields]
    if names[0].startswith("#"):  # the mark of a comment, as numpy.savetxt writes it
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


# -- numbers --------------------------------------------------------------------------------------------------------


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
    return "_" not in text  # 1_000 is a number to Python only


def _is_number_or_has_a_comma(text):
    return _is_number(text) or DECIMAL_COMMA.fullmatch(text.strip()) is not None
