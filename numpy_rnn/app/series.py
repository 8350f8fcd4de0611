"""Series: the sine wave, the numbers in text files, and the characters of a text as classes."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError, errors_about, printable, some_of
from numpy_rnn.common.format import pluralize

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
    """The printable name of a file without its folder."""
    return printable(os.path.basename(path))


def read_series(path: str, columns: Sequence[str] | None = None) -> Series:
    """Read a file: rows (N, D), one per time step, with one column per feature; and the names of the columns.

    Columns are separated by semicolons, tabs, commas or spaces, the first of these in the second line. The first line
    may be a header. columns: names, or numbers from 1.
    """
    with errors_about(f"data file {path}"):
        series = _parsed(read_text(path), columns)
        if len(series.rows) < MIN_ROWS:
            raise InputError(
                f"it has {pluralize(len(series.rows), 'row')}; expected {MIN_ROWS} or more"
            )
    return series


def read_text(path: str) -> str:
    """The UTF-8 text of a file, with any line ends. Raises OSError or InputError."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"it is not UTF-8 ({error.reason} at byte {error.start}); expected a text file"
        ) from None


def used_characters(text: str) -> str:
    """The characters of a text, each once, in the order of Unicode. Raises InputError if there are fewer than two."""
    alphabet = "".join(sorted(set(text)))
    if len(alphabet) < 2 or "\0" in alphabet:
        raise InputError(
            "it is binary, or has fewer than 2 different characters; expected a text file"
        )
    return alphabet


def character_classes(text: str, alphabet: str) -> np.ndarray:
    """The class of every character, (N,): its place in the alphabet. Raises InputError if it has none."""
    unknown = sorted(set(text) - set(alphabet))
    if unknown:
        described = (f"{c!r} (U+{ord(c):04X})" for c in unknown)
        raise InputError(
            f"it has {some_of(described)}; expected only characters that the run was trained on"
        )
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.searchsorted(np.frombuffer(alphabet.encode("utf-32-le"), np.uint32), points)


def _parsed(text: str, columns: Sequence[str] | None) -> Series:
    """The series in a text."""
    import csv  # only for a file

    is_comment = text.lstrip().startswith("#")
    lines = [
        line.strip(" ") for line in (text.replace("#", "", 1) if is_comment else text).splitlines()
    ]
    sample = "".join([line for line in lines if line][1:2]) or text
    separator = next((separator for separator in ";\t," if separator in sample), " ")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        rows = [
            (reader.line_num, [field.strip() for field in row])
            for row in reader
            if row not in ([], [""])
        ]
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}; {NUMBERS}") from None
    names = None
    if rows and (is_comment or not any(map(BEGINS_A_NUMBER.match, rows[0][1]))):
        names = rows.pop(0)[1]
    if not rows:
        raise InputError(f"it has no row of numbers; {NUMBERS}")
    count = len(rows[0][1])
    names = names if names is not None and len(names) == count else None
    places = _places(columns, names, count)
    for number, fields in rows:
        if len(fields) != count:
            raise InputError(
                f"line {number} has {pluralize(len(fields), 'column')}, the first row {count}; {NUMBERS}"
            )
    values = np.array(
        [[_number(fields[place], number, place) for place in places] for number, fields in rows]
    )
    return Series(
        values,
        None if names is None else tuple(names[place] or f"column {place + 1}" for place in places),
    )


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
            raise InputError(
                f"there is not one column {column!r}; expected {choices}a number, 1 to {count}"
            )
        if place in places:
            raise InputError(f"column {column!r} is chosen twice; expected every column once")
        places.append(place)
    return places
