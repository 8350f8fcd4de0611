"""Series and texts: from a file or a pipe to inputs and targets."""

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from math import nan
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import CommandOptions
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.numbers import checked_integer
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable, some_of

MAX_CHARACTERS = 64_000_000
# The default series, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = np.sin(np.linspace(2, 10, 21))[:, None]
MIN_ROWS = 3  # each row is predicted from the one before
NUMBERS = (
    "expected finite numbers with decimal points, not decimal commas, one row per time"
    " step, after a name of each column or none"
)


class Series(NamedTuple):
    """A series of T + 1 rows, each of which is predicted from those before: numbers,
    or the characters of a text.
    """

    name: str
    sequence: NumpyArray  # (T+1, 1, D), standardized if asked; of a text (T+1, 1)
    rows: NumpyArray  # all rows as they were read, (T+1, D); of a text the classes
    size: int  # D, the number of columns, or of different characters
    columns: Sequence[str] = ()  # the D names; none of a text
    mean: NumpyArray | float = 0.0  # of the columns, (D,), of a standardized series
    deviation: NumpyArray | float = 1.0  # of the columns, likewise
    held_out: int = 0  # steps at the end that are predicted and not trained on
    alphabet: str = ""  # the characters in the order of their classes; or no text


def make_data(options: CommandOptions, dtype: Any, alphabet: str = "") -> Series:
    """Read the text or the series of the options, or create the sine wave.

    A series has this dtype, and is standardized if that is asked; alphabet is that of
    saved weights, if they are a text's.
    """
    if options.text is not None:
        return make_text(options.text, options.k1, alphabet)
    name, rows, columns = "sine wave", SINE_WAVE, ["value"]
    if options.data is not None:
        name = printable(os.path.basename(options.data))
        rows, columns = read_series(options.data, options.columns)
    checked_integer("--held-out", options.held_out, 0, len(rows) - MIN_ROWS)
    trained = rows[: len(rows) - options.held_out]
    mean: Any = 0.0
    deviation: Any = 1.0
    with np.errstate(all="ignore"):  # what is not finite is refused below
        if options.standardize:
            is_constant = np.ptp(trained, axis=0) == 0  # its deviation may be rounded
            mean = trained.mean(axis=0)
            deviation = np.where(is_constant, 0, trained.std(axis=0))
        sequence = ((rows - mean) / deviation).astype(dtype)
        is_usable = np.isfinite(sequence * deviation).all(axis=0)
    if not is_usable.all():
        raise InputError(
            f"data file {options.data}: {columns[is_usable.argmin()]} is constant or"
            f" too large for {dtype}: leave it out"
        )
    return Series(
        name,
        sequence=sequence[:, None],
        rows=rows,
        size=len(columns),
        columns=columns,
        mean=mean,
        deviation=deviation,
        held_out=options.held_out,
    )


def make_text(path: str, k1: int, alphabet: str) -> Series:
    """Read a text from a file, cut to a multiple of k1 steps, as in min-char-rnn.

    Its classes are the places of its characters in the alphabet: that of saved weights,
    or all characters of the text, by Unicode, if it is empty.
    """
    with errors_about(f"text {path}"):
        text = read_text(path)
        alphabet = alphabet or "".join(sorted(set(text)))
        if len(alphabet) < 2 or "\0" in text:
            raise InputError("it is binary, or has fewer than 2 different characters")
        if unknown := sorted(set(text) - set(alphabet)):
            raise InputError(
                f"it has {some_of(unknown)}; expected only characters of --weights"
            )
        steps = (len(text) - 1) // k1 * k1
        if steps == 0:
            raise InputError(f"it has {len(text)} characters: expected more than --k1")
    index = {character: n for n, character in enumerate(alphabet)}
    classes = np.fromiter(map(index.__getitem__, text), np.int64, len(text))
    return Series(
        printable(os.path.basename(path)),
        sequence=classes[: steps + 1, None],
        rows=classes,
        size=len(alphabet),
        alphabet=alphabet,
    )


def read_text(path: str) -> str:
    """Return the UTF-8 text of a file or a pipe, with newline characters for line ends.

    Raises OSError if it cannot be read, and InputError if it is too long, or not UTF-8.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            text = file.read(MAX_CHARACTERS + 1)
        except UnicodeDecodeError:
            raise InputError("it is not UTF-8: expected a text file") from None
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            "it has more than 64 million characters: expected a smaller file"
        )
    return text


def read_series(path: str, columns: str | None = None) -> tuple[NumpyArray, list[str]]:
    """Read the numbers of a text file, and the names of their columns.

    Columns are separated by semicolons, tabs, commas or spaces, the first of these that
    is in the file. The first line that is not empty may be a header, also after a "#".

    Parameters
    ----------
    path : str
        The path of the file.
    columns : str, optional
        Numbers of columns, from 1, with commas; all by default.

    Returns
    -------
    values : ndarray, (rows, columns)
        The numbers, in float64.
    names : list of str
        The names of the columns.

    Raises
    ------
    InputError
        If the file cannot be read, has fewer than three rows, or something else than
        finite numbers in a column that is chosen.
    """
    with errors_about(f"data file {path}"):
        table = _table(read_text(path).lstrip("# \n"))
        numbers = np.vectorize(number_in, otypes=[float])(table)
        indices = list(range(table.shape[1]))
        names = [f"column {index + 1}" for index in indices]
        if len(table) and not np.isfinite(numbers[0]).any():
            names = list(map(printable, table[0]))
            table = table[1:]
            numbers = numbers[1:]
        if len(table) < MIN_ROWS:
            raise InputError(
                f"it has {len(table)} rows of numbers: expected {MIN_ROWS} or more"
            )
        if columns is not None:
            chosen = {number.strip() for number in columns.split(",")}
            unknown = chosen - {str(index + 1) for index in indices}
            if unknown:
                expected = f"expected numbers from 1, of {some_of(names)}"
                raise InputError(f"the columns have {min(unknown)!r}; {expected}")
            indices = [index for index in indices if str(index + 1) in chosen]
        for row, index in np.argwhere(~np.isfinite(numbers)):
            if index in indices:
                others = np.flatnonzero(np.isfinite(numbers[row])) + 1
                usable = ",".join(map(str, others))
                hint = f"; --columns {usable} leaves it out" if usable else ""
                raise InputError(
                    f"row {row + 1} of numbers, column {index + 1} is"
                    f" {table[row, index]!r}; {NUMBERS}{hint}"
                )
    # In C order, on which the rounding of means depends.
    values = np.ascontiguousarray(numbers[:, indices])
    return values, [names[index] for index in indices]


def _table(text: str) -> NumpyArray:
    """Split a text into its cells, (rows, columns) of str."""
    unquoted = re.sub('"[^"]*"', "", text)
    marks = [mark for mark in ";\t," if mark in unquoted]
    try:
        with warnings.catch_warnings(action="ignore"):  # of an empty file
            return np.loadtxt(
                text.split("\n"),
                dtype=object,
                delimiter=marks[0] if marks else None,  # None: spaces
                quotechar='"',
                comments=None,
                converters=lambda cell: cell.strip(' "'),
                ndmin=2,
            )
    except ValueError as error:  # of rows with different numbers of columns
        reason = str(error).partition(";")[0]
        raise InputError(f"{reason}; {NUMBERS}") from None


def number_in(text: str) -> float:
    """Return the number of a cell; NaN if it is none, as Python's 1_0."""
    with suppress(ValueError):
        if "_" not in text:
            return float(text)
    return nan
