"""Time series: the sine wave, and what is read from files, small or larger than the memory, and standard input."""

import csv
import io
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files.columns import places_of
from numpy_rnn.common.files.text import SEPARATORS, read_text

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
