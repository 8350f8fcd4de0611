"""Series: the sine wave, and the numbers in text files and .npy files."""

import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.format import number_of
from numpy_rnn.common.errors import InputError, printable, some_of

READABLE = (".csv", ".tsv", ".txt", ".npy")
STANDARD_INPUT = "-"
MIN_ROWS = 3  # each row is predicted from the one before
BEGINS_A_NUMBER = re.compile(r"[+-]?\.?\d")
NUMBERS = "expected finite numbers with decimal points, one row per time step"


class Series(NamedTuple):
    """The rows of a file and the names of their columns."""

    rows: np.ndarray  # (N, D)
    names: tuple[str, ...] | None = None  # (D); None: the file has no header


def sine() -> np.ndarray:
    """The series of the default experiment, (21, 1): the sine of 21 equally spaced times from 2 to 10 inclusive."""
    return np.sin(np.linspace(2, 10, 21))[:, None]


def name_of(path: str) -> str:
    """The printable name of a file without its folder, or "standard input"."""
    return "standard input" if path == STANDARD_INPUT else printable(os.path.basename(path))


def read_series(path: str, columns: Sequence[str] | None = None) -> Series:
    """Read a file: rows (N, D), one per time step, with one column per feature; and the names of the columns.

    .csv, .tsv, .txt and "-", standard input, are text: columns separated by semicolons, tabs, commas or white space,
    the first of these in the second line, and optionally a header. .npy has an array with one or two axes; one of
    float32 or float64 is memory-mapped, and must not change while it is used.

    columns: names from the header, or numbers from 1, as strings; D follows their order. None: all columns.

    Raises InputError if the file is missing, of another kind, has fewer than 3 rows or a value that is not a finite
    number, and if a column does not exist or is chosen twice.
    """
    what = "data from standard input" if path == STANDARD_INPUT else f"data file {path}"
    ending = os.path.splitext(path)[1].lower()
    if path != STANDARD_INPUT and ending not in READABLE:
        raise InputError(f"{what}: unknown ending {ending!r}; expected {', '.join(READABLE)}")
    text = "" if ending == ".npy" else read_text(path, what)
    try:
        series = _mapped(path, columns) if ending == ".npy" else _parsed(text, columns)
        if len(series.rows) < MIN_ROWS:
            raise InputError(f"it has {number_of(len(series.rows), 'row')}; expected {MIN_ROWS} or more")
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}; check the path") from None
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    return series


def read_text(path: str, what: str) -> str:
    """The text of a file, or of standard input for "-": UTF-8, with or without a byte order mark.

    Raises InputError, a message that begins with `what`, if it cannot be read or is not a text.
    """
    stream = sys.stdin if path == STANDARD_INPUT else None
    if path == STANDARD_INPUT and (stream is None or stream.isatty()):
        raise InputError(f"{what}: it is a terminal or closed; expected a pipe, or < FILE")
    try:
        if stream is None:
            with open(path, "rb") as file:
                content = file.read()
        else:
            content = stream.buffer.read() if hasattr(stream, "buffer") else stream.read().encode()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}; check the path") from None
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise InputError(f"{what}: it is not UTF-8 ({reason}); expected a text file") from None


def _parsed(text: str, columns: Sequence[str] | None) -> Series:
    """The series in a text."""
    lines = [(number, line) for number, line in enumerate(io.StringIO(text), start=1) if line.strip()]
    sample = "".join(line for _, line in lines[1:2]) or text
    separator = next((separator for separator in ";\t," if separator in sample), None)
    rows = [(number, _fields(line.removeprefix("#" * (n == 0)), separator)) for n, (number, line) in enumerate(lines)]
    names = None
    if rows and (lines[0][1].startswith("#") or not any(BEGINS_A_NUMBER.match(field) for field in rows[0][1])):
        names = rows.pop(0)[1]
    if not rows:
        raise InputError(f"it has no row of numbers; {NUMBERS}")
    count = len(rows[0][1])
    names = names if names is not None and len(names) == count else None
    places = _places(columns, names, count)
    for number, fields in rows:
        if len(fields) != count:
            raise InputError(f"line {number} has {number_of(len(fields), 'column')}, the first row {count}; {NUMBERS}")
    values = np.array([[_number(fields[place], number, place) for place in places] for number, fields in rows])
    return Series(values, None if names is None else tuple(names[place] or f"column {place + 1}" for place in places))


def _fields(line: str, separator: str | None) -> list[str]:
    import csv  # only for a file

    if separator is None:
        return [field.strip('"') for field in line.split()]
    return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def _number(text: str, line: int, place: int) -> float:
    """The finite number in a column of a line. 1_000 is one in Python only."""
    with suppress(ValueError):
        if isfinite(value := float(text)) and "_" not in text:
            return value
    raise InputError(f"line {line}, column {place + 1} is {text!r}; {NUMBERS}")


def _places(columns: Sequence[str] | None, names: list[str] | None, count: int) -> list[int]:
    """The indices of the chosen columns among `count`."""
    if columns is None:
        return list(range(count))
    places = []
    for column in columns:
        if column.isdecimal() and 1 <= int(column) <= count:
            place = int(column) - 1
        elif names is not None and names.count(column) == 1:
            place = names.index(column)
        else:
            choices = f"{some_of(names)}, or " if names else ""
            raise InputError(f"there is not one column {column!r}; expected {choices}a number, 1 to {count}")
        if place in places:
            raise InputError(f"column {column!r} is chosen twice; expected every column once")
        places.append(place)
    return places


def _mapped(path: str, columns: Sequence[str] | None) -> Series:
    try:
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except OSError:
        raise
    except Exception:  # the reader of the header raises anything on damaged bytes
        raise InputError("it is not a complete array that numpy.save wrote; pickle is never read") from None
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"it holds {array.dtype} of shape {array.shape}; expected real numbers with one or two axes")
    rows = array.reshape(len(array), -1)
    places = _places(columns, None, rows.shape[1])
    rows = rows if columns is None else rows[:, places]  # all columns stay mapped
    if rows.dtype not in (np.float32, np.float64) or not rows.flags.aligned or not rows.dtype.isnative:
        with np.errstate(over="ignore"):  # values too large for float64 are refused below
            rows = rows.astype(np.float64)
    if len(faults := np.argwhere(~np.isfinite(rows))):
        row, column = faults[0]
        raise InputError(f"row {row + 1}, column {places[column] + 1} is {rows[row, column]}; {NUMBERS}")
    return Series(rows)
