"""Time series: the sine wave, text and NumPy files, and standard input."""

import csv
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import READABLE, STANDARD_INPUT
from numpy_rnn.app.format import number_of
from numpy_rnn.app.text_series import SEPARATORS, places_of, read_text
from numpy_rnn.common.errors import InputError

BLOCK = 2**16  # numbers of a mapped file that are checked at a time
URL = re.compile(r"(?i)(https?|ftp|file|s3):/")


class Series(NamedTuple):
    """The rows of a file and the names of their columns."""

    rows: np.ndarray  # (N, D)
    names: tuple[str, ...] | None = None  # (D); None: the file has no header


def sine() -> np.ndarray:
    """The series of the default experiment, (21, 1): the sine of 21 equally spaced times from 2 to 10 inclusive."""
    return np.sin(np.linspace(2, 10, 21))[:, None]


def inputs_and_targets(series: np.ndarray, dtype: str | np.dtype | type) -> tuple[np.ndarray, np.ndarray]:
    """One sequence to predict one step ahead: rows (N, D) → x and target, both (N−1, 1, D). Each target is the next
    input.

    Both are views: of the series if it has this dtype, so that a mapped file stays on the disk; otherwise of a copy.
    """
    sequence = np.asarray(series, dtype)[:, None, :]
    return sequence[:-1], sequence[1:]


def name_of(path: str) -> str:
    """The name of the series in a file: the name of the file, without its folder."""
    return "standard input" if path == STANDARD_INPUT else Path(path).name


def load_series(path: str | Path, columns: Sequence[str] | str | None = None) -> np.ndarray:
    """The rows of `read_series` alone, (N, D)."""
    return read_series(path, columns).rows


def read_series(path: str | Path, columns: Sequence[str] | str | None = None) -> Series:
    """Read a file: rows (N, D), one per time step, with one column per feature; and the names of the columns.

    .csv, .tsv and .txt are text, separated by commas, semicolons, tabs or white space, which is detected, with an
    optional header of column names; so is "-", standard input. Text is read as float64. .npy has an array with one or
    two axes. If it is of float32 or float64, it is memory-mapped: read-only, in its own dtype, and the file must not
    change while it is used. Other numbers are converted to float64.

    columns: names from the header, or numbers from 1, as strings; D follows their order. The other columns are not
    read, so they may have any content, and lines separated by white space may be longer than the first. None: all
    columns. In a mapped file, adjacent columns in ascending order stay mapped; other selections are copied.

    Raises InputError if the file is missing, of another kind, truncated, has fewer than 3 rows, or contains a value
    that is not a finite number; and if a column does not exist or is chosen twice.
    """
    if not str(path):
        raise InputError("data file '': expected the name of a file")
    if URL.match(str(path)):
        raise InputError(
            f"data file {path} is a URL: expected a file; download it, or pipe it to --data {STANDARD_INPUT}"
        )
    if path == STANDARD_INPUT:
        return _read("data from standard input", _read_standard_input, path, columns)
    path = Path(path)
    read = _read_npy if path.suffix.lower() == ".npy" else _read_text_file
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
        raise InputError(f"{what}: {error}; expected finite numbers, one row per time step") from None
    if len(rows) < 3:
        raise InputError(
            f"{what}: it has {number_of(len(rows), 'row')}; expected 3 or more, to predict each row from the one before"
        )
    return Series(rows, names)


def _read_text_file(path, columns):
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
        with np.errstate(over="ignore"):  # in the size that a damaged header claims
            mapped = np.lib.format.open_memmap(path, mode="r").view(np.ndarray)
    except OSError:
        raise
    except Exception:  # the reader of the header raises anything on damaged bytes; a truncated file cannot be mapped
        raise ValueError(
            "it is not a complete array that numpy.save wrote, or contains Python objects; pickle is never read"
        ) from None
    if mapped.dtype.kind not in "fiub" or mapped.ndim not in (1, 2):
        raise ValueError(f"it holds {mapped.dtype} of shape {mapped.shape}, not real numbers with one or two axes")
    if mapped.size == 0:
        raise ValueError(f"it is empty, of shape {mapped.shape}")
    series = mapped.reshape(len(mapped), -1)
    places = places_of(columns, None, series.shape[1])
    if columns is not None:
        neighbours = places == list(range(places[0], places[-1] + 1))
        series = series[:, places[0] : places[-1] + 1] if neighbours else series[:, places]
    if series.dtype not in (np.float32, np.float64) or not series.flags.aligned:  # also if the byte order differs
        with np.errstate(over="ignore"):  # values too large for float64 are refused below
            series = series.astype(np.float64)
    _check_finite(series, places)
    return series, None


def _check_finite(series, places):
    """Check in blocks, so that the series may be larger than the memory."""
    rows = max(1, BLOCK // series.shape[1])
    for first in range(0, len(series), rows):
        finite = np.isfinite(series[first : first + rows])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(f"row {first + row + 1}, column {places[column] + 1} is {series[first + row, column]}")
