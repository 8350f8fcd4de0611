"""What a run is trained on: the sine wave, series in text and NumPy files, and texts as classes of characters."""

import csv
import io
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import READABLE, STANDARD_INPUT
from numpy_rnn.app.format import number_of
from numpy_rnn.app.storage import load_arrays
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


# -- texts -------------------------------------------------------------------------------------------------------------

MIN_CHARACTERS = 2  # different ones: one alone is always predicted
MAX_NAMED = 3  # unknown characters in a message


def read_characters(path: str) -> str:
    """The text of a file, or of standard input for "-": UTF-8, with or without a byte order mark, any line ends.

    Raises InputError if it is missing, empty, or not a text.
    """
    what = "text from standard input" if path == STANDARD_INPUT else f"text {path}"
    try:
        text = _bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}; expected a text"
            " file; convert it, for example by iconv"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{what} does not exist: expected a text file; check the path") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}; check the path") from None
    if not text:
        raise InputError(f"{what} is empty: expected a text with {MIN_CHARACTERS} or more different characters")
    if "\0" in text:
        raise InputError(
            f"{what} has a zero byte at character {text.index(chr(0)) + 1}: expected a text file, and not a binary one"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _bytes_of(path: str) -> bytes:
    if path != STANDARD_INPUT:
        with open(path, "rb") as file:
            return file.read()
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("text from standard input: it is a terminal or closed; expected a pipe, or < FILE")
    stream = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read().encode() if stream is None else stream.read()


def alphabet_of(text: str, path: str) -> str:
    """The characters of a text, each once, in the order of Unicode. Raises InputError if there is only one."""
    alphabet = "".join(sorted(set(text)))
    if len(alphabet) < MIN_CHARACTERS:
        raise InputError(
            f"text {path} has no character but {described(alphabet)}: expected {MIN_CHARACTERS} or more different"
            " characters"
        )
    return alphabet


def alphabet_of_weights(path: str) -> str | None:
    """The alphabet in a run file, whose weights a new run starts from; None if the file has none."""
    arrays = load_arrays(path, "weights file")
    try:
        return None if "alphabet" not in arrays else decoded(arrays["alphabet"])
    except InputError as error:
        raise InputError(f"weights file {path}: {error}") from None


def encoded(alphabet: str) -> np.bytes_:
    """An alphabet as an array of bytes, for a file."""
    return np.bytes_(alphabet.encode())


def decoded(array: np.ndarray) -> str:
    """The inverse of `encoded`. Raises InputError unless it is an alphabet."""
    try:
        alphabet = array.tobytes().decode()
    except UnicodeDecodeError:
        alphabet = ""
    if array.dtype.kind != "S" or len(alphabet) < MIN_CHARACTERS or list(alphabet) != sorted(set(alphabet)):
        raise InputError(
            f"alphabet is {array.dtype} of shape {array.shape}: expected the characters of a text in UTF-8,"
            " each once, in the order of Unicode"
        )
    return alphabet


def classes_of(text: str, alphabet: str, path: str) -> np.ndarray:
    """The class of every character: its place in the alphabet, from 0, as integers (N,).

    Raises InputError on characters that the alphabet does not have.
    """
    unknown = sorted(set(text) - set(alphabet))
    if unknown:
        shown = ", ".join(map(described, unknown[:MAX_NAMED]))
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        raise InputError(
            f"text {path} has {shown}{more}, which the alphabet of the run, {len(alphabet)} characters, does not have:"
            " expected the text of the run, or one of the same characters"
        )
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.searchsorted(np.frombuffer(alphabet.encode("utf-32-le"), np.uint32), points)


def described(character: str) -> str:
    """A character with its number and name: 'é' (U+00E9, LATIN SMALL LETTER E WITH ACUTE)."""
    name = unicodedata.name(character, "")
    return f"{character!r} (U+{ord(character):04X}{', ' + name if name else ''})"


def visible(text: str) -> str:
    """A text that is safe on a terminal: line ends and tabs as they are, other control characters as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
