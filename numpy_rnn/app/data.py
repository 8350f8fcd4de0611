"""Series and texts: from a file or a pipe to inputs and targets."""

import csv
import os
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import Options
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable, some_of

MAX_MEGABYTES = 64  # of a series or text
# The series of the default experiment, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = (np.sin(np.linspace(2, 10, 21))[:, None], ["value"], "sine wave")
MIN_ROWS = 3  # each row is predicted from the one before
STEADY = 0.1  # of the mean difference of an index: how much its differences vary
NUMBERS = (
    "expected finite numbers with decimal points, not decimal commas, one row per time"
    " step, after a name of each column or none"
)


def read_text(path: str) -> str:
    """Read the UTF-8 text of a file or a pipe, with any line ends.

    Parameters
    ----------
    path : str
        Of a regular file or a pipe.

    Returns
    -------
    str
        The text, whose lines end with a newline character.

    Raises
    ------
    OSError
        If it cannot be read.
    InputError
        If it has more than 64 MB, or is not UTF-8.
    """
    limit = MAX_MEGABYTES * 2**20
    with open(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError(
            f"it has more than {MAX_MEGABYTES} MB, the limit: expected a smaller file"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("it is not UTF-8: expected a text file") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_series(
    path: str, columns: Sequence[str] | None = None
) -> tuple[NumpyArray, list[str]]:
    """Read the numbers of a text file, and the names of their columns.

    Columns are separated by semicolons, tabs, commas or spaces, the first of these that
    is in the file. The first line may be a header, also after a "#".

    Parameters
    ----------
    path : str
        Of the file.
    columns : sequence of str, optional
        Names of columns, or their numbers from 1; all by default.

    Returns
    -------
    values : ndarray, (rows, columns)
        The numbers, in float64.
    names : list of str
        Of the columns.

    Raises
    ------
    InputError
        If the file cannot be read, has fewer than three rows, or something else than
        finite numbers in a column that is chosen.
    """
    with errors_about(f"data file {path}"):
        rows = _table(read_text(path).lstrip("# "))
        numbers, names = list[str](), list[str]()
        for first, fields in rows.items():
            numbers = list(map(str, range(1, len(fields) + 1)))
            names = [f"column {number}" for number in numbers]
            if not any(map(is_number, fields)):
                names = list(map(printable, rows.pop(first)))
            break
        if len(rows) < MIN_ROWS:
            raise InputError(
                f"it has {len(rows)} rows of numbers: expected {MIN_ROWS} or more"
            )
        places = list[int]()
        for column in columns or numbers:
            known = numbers if column in numbers else names
            if column not in known:
                expected = f"expected names or numbers of {some_of(names)}"
                raise InputError(f"the columns have {column!r}; {expected}")
            places.append(known.index(column))
        values = []
        for line, fields in rows.items():
            if len(fields) != len(names):
                found = f"line {line} has {len(fields)} columns"
                raise InputError(f"{found}, the first one {len(names)}; {NUMBERS}")
            values.append([_parse_number(fields, line, place) for place in places])
    return np.array(values), [names[place] for place in places]


def split_columns(text: str) -> list[str]:
    """Split the value of --columns at its commas.

    As in a file, a name that has a comma is in double quotes.
    """
    lines = csv.reader(text.splitlines(), skipinitialspace=True)
    columns = [column.strip() for line in lines for column in line]
    return columns or [""]


def _table(text: str) -> dict[int, list[str]]:
    """Split a text into rows, by the numbers of their lines."""
    mark = " "
    for each in ",\t;":
        if each in text:
            mark = each
    lines = [line.strip(" ") for line in text.split("\n")]
    reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
    rows = dict[int, list[str]]()
    try:
        for row in reader:
            if any(row):
                rows[reader.line_num] = list(map(str.strip, row))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}; {NUMBERS}") from None
    return rows


def is_number(text: str) -> bool:
    """Return whether a text is a finite number. 1_000 is one in Python only."""
    with suppress(ValueError):
        return isfinite(float(text.replace("_", "x")))
    return False


def _parse_number(fields: list[str], line: int, place: int) -> float:
    """Return the number at this place. Raises InputError, with a hint, on others."""
    text = fields[place]
    if is_number(text):
        return float(text)
    hint = ""
    others = [str(n) for n, each in enumerate(fields, 1) if is_number(each)]
    if others:
        hint = f"; --columns {','.join(others)} leaves it out"
    raise InputError(f"line {line}, column {place + 1} is {text!r}; {NUMBERS}{hint}")


def is_index(values: NumpyArray) -> bool:
    """Return whether a column counts the rows, as years do."""
    differences = np.diff(values)
    mean = abs(differences.mean())
    return bool(mean > 0 and np.ptp(differences) <= STEADY * mean)


def character_classes(text: str, alphabet: str) -> tuple[NumpyArray, str]:
    """Convert the characters of a text to classes.

    Parameters
    ----------
    text : str
        The text.
    alphabet : str
        That of saved weights; empty where these have none, or where there are none.

    Returns
    -------
    classes : ndarray of int, (N,)
        The place of every character in the alphabet.
    alphabet : str
        The one given, or else all characters of the text, by Unicode.

    Raises
    ------
    InputError
        If the text has a character that is not in the alphabet, fewer than two
        different ones, or a null character.
    """
    alphabet = alphabet or "".join(sorted(set(text)))
    if len(alphabet) < 2 or "\0" in text:
        raise InputError("it is binary, or has fewer than 2 different characters")
    if unknown := sorted(set(text) - set(alphabet)):
        raise InputError(
            f"it has {some_of(unknown)}; expected only characters of --weights"
        )
    index = dict(zip(alphabet, range(len(alphabet))))
    return np.fromiter(map(index.__getitem__, text), np.int64, len(text)), alphabet


class Series(NamedTuple):
    """A series of T + 1 rows, each of which is predicted from those before."""

    name: str
    x: NumpyArray
    """Inputs, (T, 1, D), standardized if that is asked."""
    target: NumpyArray
    """The next rows, (T, 1, D)."""
    rows: NumpyArray
    """As they were read, (T+1, D)."""
    columns: tuple[str, ...] = ("value",)
    """The D names."""
    mean: Any = 0.0
    """Of the columns of a standardized series, (D,)."""
    deviation: Any = 1.0
    """Of these, (D,)."""
    held_out: int = 0
    """Steps at the end that are predicted and not trained on."""
    alphabet: str = ""
    """Empty: this is no text."""

    @property
    def size(self) -> int:
        """D, the number of columns."""
        return int(self.x.shape[-1])


class Text(NamedTuple):
    """A text, each character of which is predicted from those before."""

    name: str
    x: NumpyArray
    """Classes, (T, 1)."""
    target: NumpyArray
    """The next classes, (T, 1)."""
    alphabet: str
    """The characters in the order of their classes."""
    columns: tuple[str, ...] = ()
    """Columns of numbers: none."""
    held_out: int = 0
    """Every step is trained on."""

    @property
    def size(self) -> int:
        """D, the number of different characters."""
        return len(self.alphabet)


def make_text(path: str, options: Options, alphabet: str) -> Text:
    """Read the text of a file.

    alphabet: that of saved weights, or empty.
    """
    with errors_about(f"text {path}"):
        classes, alphabet = character_classes(read_text(path), alphabet)
        steps = (len(classes) - 1) // options.k1 * options.k1  # as in min-char-rnn
        if steps == 0:
            raise InputError(
                f"it has {len(classes)} characters: expected more than --k1"
            )
    return Text(
        printable(os.path.basename(path)),
        x=classes[:steps, None],
        target=classes[1 : steps + 1, None],
        alphabet=alphabet,
    )


def make_series(options: Options, dtype: Any) -> Series:
    """Read or create the series, in this dtype."""
    rows, columns, name = SINE_WAVE
    if options.data is not None:
        chosen = None
        if options.columns is not None:
            chosen = split_columns(options.columns)
        rows, columns = read_series(options.data, chosen)
        name = printable(os.path.basename(options.data))
        if chosen is None and len(columns) > 1 and is_index(rows[:, 0]):
            name += f" without {columns[0]}, which counts the rows"
            rows, columns = rows[:, 1:], columns[1:]
    held_out = options.held_out
    most = len(rows) - MIN_ROWS
    check_integer("--held-out", held_out, 0, f"0 to {most}", most)
    trained = rows[: len(rows) - held_out]
    mean: Any = 0.0
    deviation: Any = 1.0
    with np.errstate(all="ignore"):  # what is not finite is refused below
        if options.standardize:
            is_constant = np.ptp(trained, axis=0) == 0  # its deviation may be rounded
            mean = trained.mean(axis=0)
            deviation = np.where(is_constant, 0, trained.std(axis=0))
        sequence = ((rows - mean) / deviation).astype(dtype)
        is_fine = np.isfinite(sequence * deviation).all(axis=0)
    if not is_fine.all():
        raise InputError(
            f"data file {options.data}: {columns[is_fine.argmin()]} is constant or too"
            f" large for {dtype}: leave it out"
        )
    return Series(
        name,
        x=sequence[:-1, None],
        target=sequence[1:, None],
        rows=rows,
        columns=tuple(columns),
        mean=mean,
        deviation=deviation,
        held_out=held_out,
    )
