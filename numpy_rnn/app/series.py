"""Series: the sine wave, the numbers in text files, and the characters of a text as classes."""

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import TypeAlias

import numpy as np

from numpy_rnn.common.errors import InputError, errors_about, some_of
from numpy_rnn.common.files import read_bytes

MIN_ROWS = 3  # each row is predicted from the one before
BEGINS_A_NUMBER = re.compile(r"[+-]?\.?\d")
NUMBERS = "expected finite numbers with decimal points, one row per time step"

Rows: TypeAlias = tuple[np.ndarray, list[str]]  # (N, D), and the names of the columns
# The series of the default experiment, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE: Rows = (np.sin(np.linspace(2, 10, 21))[:, None], ["value"])


def read_text(path: str) -> str:
    """The UTF-8 text of a regular file or a pipe, with any line ends. Raises InputError."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise InputError(f"it is not UTF-8 ({where}); expected a text file") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_series(path: str, columns: Sequence[str] | None = None) -> Rows:
    """The numbers in a text file. columns: names, or numbers from 1.

    Columns are separated by semicolons, tabs, commas or spaces, the first of these in the second
    line. The first line may be a header, also after a "#". Raises InputError on anything else.
    """
    with errors_about(f"data file {path}"):
        text = read_text(path)
        is_comment = text.lstrip().startswith("#")
        lines = [line.strip(" ") for line in text.replace("#", "", is_comment).split("\n")]
        second = ["", *filter(None, lines)][:3][-1]
        mark = next((mark for mark in ";\t," if mark in second), " ")
        reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        try:
            rows = [(reader.line_num, [*map(str.strip, row)]) for row in reader if any(row)]
        except csv.Error as error:
            raise InputError(f"line {reader.line_num}: {error}; {NUMBERS}") from None
        names: list[str] = []
        if rows and (is_comment or not any(map(BEGINS_A_NUMBER.match, rows[0][1]))):
            names = rows.pop(0)[1]
        if len(rows) < MIN_ROWS:
            raise InputError(f"it has {len(rows)} rows of numbers: expected {MIN_ROWS} or more")
        count = len(rows[0][1])
        names = names if len(names) == count else [f"column {n + 1}" for n in range(count)]
        places = _places(columns, names, count)
        values = []
        for line, fields in rows:
            if len(fields) != count:
                found = f"line {line} has {len(fields)} columns, the first row {count}"
                raise InputError(f"{found}; {NUMBERS}")
            values.append([_number(fields[place], line, place) for place in places])
    return np.array(values), [names[place] for place in places]


def _number(text: str, line: int, place: int) -> float:
    """The finite number in a column of a line. 1_000 is one in Python only."""
    with suppress(ValueError):
        if isfinite(value := float(text.replace("_", "x"))):
            return value
    raise InputError(f"line {line}, column {place + 1} is {text!r}; {NUMBERS}")


def _places(columns: Sequence[str] | None, names: list[str], count: int) -> list[int]:
    """The indices of the chosen columns among `count`."""
    numbers = [str(number) for number in range(1, count + 1)]
    places: list[int] = []
    for column in numbers if columns is None else columns:
        known = numbers if column in numbers else names
        if known.count(column) != 1 or known.index(column) in places:
            expected = f"expected names or numbers, each once: {some_of(names)}"
            raise InputError(f"the columns have {column!r}; {expected}")
        places.append(known.index(column))
    return places


def character_classes(text: str, alphabet: str | None) -> tuple[np.ndarray, str]:
    """The class of every character, (N,), and the alphabet, whose n-th character has class n.

    alphabet: that of saved weights, or None: the characters of the text, in the order of Unicode.
    Raises InputError on characters that are not in it, and on fewer than two different ones.
    """
    alphabet = "".join(sorted(set(text))) if alphabet is None else alphabet
    if len(alphabet) < 2 or "\0" in text:
        raise InputError("it is binary, or has fewer than 2 different characters")
    if unknown := sorted(set(text) - set(alphabet)):
        described = some_of(f"{c!r} (U+{ord(c):04X})" for c in unknown)
        raise InputError(f"it has {described}; expected only characters of --weights")
    index = {character: n for n, character in enumerate(alphabet)}
    return np.array([index[character] for character in text]), alphabet
