"""Time series: the sine wave, and the columns of text and NumPy files and of standard input."""

import csv
import io
import re
import sys
from array import array
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError

MOST_NAMES = 20  # in a message


def places_of(columns, names, count) -> list[int]:
    """The places, from 0, of the chosen columns among `count`; all of them where `columns` is None.

    columns: names, or numbers from 1, as strings. names: those of the columns, or None.

    Raises InputError on a column that is not there or is chosen twice, and where none is chosen.
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
        raise InputError(f"no column is chosen; expected {_what_there_is(names, count)}")
    return places


def names_at(places, names, count) -> tuple[str, ...] | None:
    """The names of the columns at these places; None without a line of names that fits the columns."""
    if names is None or len(names) != count:
        return None
    return tuple(names[place] or f"column {place + 1}" for place in places)


def _place(column, names, count):
    if column.isdecimal():  # no name is: a name does not begin with a digit
        place = int(column) - 1
        if 0 <= place < count:
            return place
    elif names is not None and column in names:
        if names.count(column) > 1:
            raise InputError(f"{names.count(column)} columns are named {column!r}; choose by number, 1 to {count}")
        if len(names) != count:
            raise InputError(
                f"the line of names has {len(names)} and the line after it {count} columns, so {column!r} has no sure"
                f" place; choose by number, 1 to {count}"
            )
        return names.index(column)
    close = get_close_matches(column, names or (), 1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    raise InputError(f"there is no column {column!r}{meant}; expected {_what_there_is(names, count)}")


def _what_there_is(names, count):
    numbers = f"1 to {count}" if count > 1 else "1"
    if names is None:
        return f"a number, {numbers}, as there is no line of names"
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"{', '.join(map(repr, names[:MOST_NAMES]))}{more}, or a number, {numbers}"


SPACE = " "  # any white space
SEPARATORS = {".csv": ",;\t ", ".tsv": "\t,; ", ".txt": " ,;\t"}  # of equals, the first is taken
HEAD_LINES = 10  # lines, to find the separator
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
            rows = [fields for _, fields in islice(_lines(file, separator), HEAD_LINES)]
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


READABLE = ".csv, .tsv, .txt or .npy"
STANDARD_INPUT = "-"
LOOKED_AT = 2**16  # numbers of a mapped file at a time
ADDRESS = re.compile(r"(?i)(https?|ftp|file|s3):/")


class Series(NamedTuple):
    """The rows of a file and the names of their columns."""

    rows: np.ndarray  # (N, D)
    names: tuple[str, ...] | None = None  # (D); None: the file has none


def sine() -> np.ndarray:
    """The series of the main job, (21, 1): the sine of 21 equally spaced time points from 2 to 10, both included."""
    return np.sin(np.linspace(2, 10, 21))[:, None]


def inputs_and_targets(series, dtype) -> tuple[np.ndarray, np.ndarray]:
    """One sequence to predict a step ahead: rows (N, D) → x and target (N−1, 1, D); each target is the next input.

    Views of the series where it has this dtype, so that one that is mapped from a file stays there; else of one copy.
    """
    sequence = np.asarray(series, dtype)[:, None, :]
    return sequence[:-1], sequence[1:]


def name_of(path) -> str:
    """What a series that is read from there is called: the name of its file, without its folder."""
    return "standard input" if path == STANDARD_INPUT else Path(path).name


def load_series(path, columns=None) -> np.ndarray:
    """The rows of `read_series` alone, (N, D)."""
    return read_series(path, columns).rows


def read_series(path, columns=None) -> Series:
    """The rows of a file, (N, D): a row a time step, a column a feature; and the names of the columns.

    .csv, .tsv and .txt hold text, separated by commas, semicolons, tabs or white space, as their first lines show, with
    an optional line of column names; so does "-", standard input. .npy holds an array of one or two axes. Text comes as
    float64. An .npy of float32 or float64 is mapped and not copied: read-only, in its own dtype, in memory only where
    it is looked at; other numbers come as float64. While a mapped series is in use, its file must stay as it is.

    columns: names from the line of names, or numbers from 1, as strings; D follows their order. Only these are read, so
    that the others may hold dates or nothing; and lines between white space may be longer than the first, by a mark at
    their end. None: all columns. Of a mapped file, neighbours in rising order stay mapped; other columns are copied.

    Raises InputError when the file is missing or of another kind, has fewer than 3 rows, is shorter than it says, or
    holds what is not a finite number; and on a column that is not there, or is chosen twice.
    """
    if not str(path):
        raise InputError("data file '': expected the name of a file; give one")
    if ADDRESS.match(str(path)):
        raise InputError(
            f"data file {path} is an address: expected a file; download it, or pipe it to --data {STANDARD_INPUT}"
        )
    if path == STANDARD_INPUT:
        return _read("data from standard input", _read_standard_input, path, columns)
    path = Path(path)
    read = _read_npy if path.suffix.lower() == ".npy" else _read_text
    if path.suffix.lower() not in (".npy", *SEPARATORS):
        raise InputError(f"data file {path}: unknown ending {path.suffix!r}; expected {READABLE}")
    return _read(f"data file {path}", read, path, columns)


def _read(what, read, path, columns):
    try:
        rows, names = read(path, columns)
    except FileNotFoundError:
        raise InputError(f"{what} does not exist: expected a {READABLE} file; check the path") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}; check the path") from None
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{what}: {error}; expected finite numbers only, a row a time step") from None
    if len(rows) < 3:
        raise InputError(
            f"{what}: the number of rows is {len(rows)}; expected 3 or more, to predict each from the last"
        )
    return Series(rows, names)


def _read_text(path, columns):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return read_text(file, path.suffix.lower(), columns)


def _read_standard_input(_, columns):
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("it is a terminal or closed; expected a pipe, or < FILE")
    stream = getattr(sys.stdin, "buffer", None)
    text = sys.stdin.read() if stream is None else stream.read().decode("utf-8-sig")
    return read_text(io.StringIO(text, newline=""), ".csv", columns)


# -- .npy -----------------------------------------------------------------------------------------------------------


def _read_npy(path, columns):
    try:
        with np.errstate(over="ignore"):  # of the size that a damaged header claims
            mapped = np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    except OSError:
        raise
    except Exception:  # damaged bytes raise whatever the readers of the header raise; a short file cannot be mapped
        raise ValueError(
            "it is no whole array that numpy.save wrote, or one of Python objects; pickle is never read"
        ) from None
    if mapped.dtype.kind not in "fiub" or mapped.ndim not in (1, 2):
        raise ValueError(f"it holds {mapped.dtype} of shape {mapped.shape}, not real numbers on one or two axes")
    if mapped.size == 0:
        raise ValueError(f"it is empty, of shape {mapped.shape}")
    series = mapped.reshape(len(mapped), -1)
    places = places_of(columns, None, series.shape[1])
    if columns is not None:
        neighbours = places == list(range(places[0], places[-1] + 1))
        series = series[:, places[0] : places[-1] + 1] if neighbours else series[:, places]
    if series.dtype not in (np.float32, np.float64) or not series.flags.aligned:  # nor are those of another byte order
        with np.errstate(over="ignore"):  # what is too large for float64 is refused here
            series = series.astype(np.float64)
    _check_finite(series, places)
    return series, None


def _check_finite(series, places):
    """In blocks, so that a series larger than the memory can be looked at."""
    rows = max(1, LOOKED_AT // series.shape[1])
    for first in range(0, len(series), rows):
        finite = np.isfinite(series[first : first + rows])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(f"row {first + row + 1}, column {places[column] + 1} is {series[first + row, column]}")
