"""Time series: the sine wave, and files, small or larger than the memory."""

import csv
from array import array
from math import isfinite
from pathlib import Path

import numpy as np

from numpy_rnn.common.errors import InputError

READABLE = ".csv, .txt or .npy"
LOOKED_AT = 2**16  # numbers of a mapped file at a time
MOST_NAMES = 20  # in a message


def sine() -> np.ndarray:
    """The series of the main job, (21, 1): the sine of 21 equally spaced time points from 2 to 10, both included."""
    return np.sin(np.linspace(2, 10, 21))[:, None]


def inputs_and_targets(series, dtype) -> tuple[np.ndarray, np.ndarray]:
    """One sequence to predict a step ahead: rows (N, D) → x and target (N−1, 1, D); each target is the next input.

    Views of the series where it has this dtype, so that one that is mapped from a file stays there; else of one copy.
    """
    sequence = np.asarray(series, dtype)[:, None, :]
    return sequence[:-1], sequence[1:]


def load_series(path, columns=None) -> np.ndarray:
    """The rows of a file, (N, D): a row a time step, a column a feature.

    .csv is separated by commas or by semicolons, .txt by white space, both with an optional line of column names; .npy
    holds an array of one or two axes. Text comes as float64. An .npy of float32 or float64 is mapped and not copied:
    read-only, in its own dtype, in memory only where it is looked at; other numbers come as float64. While a mapped
    series is in use, its file must stay as it is.

    columns: names from the line of names, or numbers from 1, as strings; D follows their order. Only these are read, so
    that the others may hold dates or nothing; and lines of a .txt may be longer than the first, by a mark at their end.
    None: all columns. Of a mapped file, neighbours in rising order stay mapped, and other columns are copied.

    Raises InputError when the file is missing or of another kind, has fewer than 3 rows, is shorter than it says, or
    holds what is not a finite number; and on a column that is not there, or is chosen twice.
    """
    path = Path(path)
    read = {".csv": _read_text, ".txt": _read_text, ".npy": _read_npy}.get(path.suffix.lower())
    if read is None:
        raise InputError(f"data file {path}: unknown ending {path.suffix!r}; expected {READABLE}")
    try:
        series = read(path, columns)
    except FileNotFoundError:
        raise InputError(f"data file {path} does not exist: expected a {READABLE} file; check the path") from None
    except OSError as error:
        raise InputError(f"data file {path} cannot be read: {error.strerror or error}; check the path") from None
    except InputError as error:
        raise InputError(f"data file {path}: {error}") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"data file {path}: {error}; expected finite numbers only, a row a time step") from None
    if len(series) < 3:
        raise InputError(
            f"data file {path}: the number of rows is {len(series)}; expected 3 or more, to predict each from the last"
        )
    return series


# -- columns --------------------------------------------------------------------------------------------------------


def _places(columns, names, count):
    """The places, from 0, of the chosen columns among `count`; names: those of the columns, or None."""
    places: list[int] = []
    for column in (columns,) if isinstance(columns, str) else columns:
        place = _place(column.strip(), names, count)
        if place in places:
            raise InputError(f"column {column!r} is chosen twice; expected every column once")
        places.append(place)
    if not places:
        raise InputError(f"no column is chosen; expected {_what_there_is(names, count)}")
    return places


def _place(column, names, count):
    if column.isdecimal():  # no name is: a first line with a number in it is no line of names
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
    raise InputError(f"there is no column {column!r}; expected {_what_there_is(names, count)}")


def _what_there_is(names, count):
    numbers = f"1 to {count}" if count > 1 else "1"
    if names is None:
        return f"a number, {numbers}, as there is no line of names"
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"{', '.join(map(repr, names[:MOST_NAMES]))}{more}, or a number, {numbers}"


# -- text -----------------------------------------------------------------------------------------------------------


def _read_text(path, columns):
    is_csv = path.suffix.lower() == ".csv"
    values = array("d")  # and no list of lists, which takes ten times as much
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = _csv_lines(file, _separator(file)) if is_csv else _lines_of_words(file)
        names, lines = _names(lines)
        count, exact = 0, columns is None or is_csv
        places: list[int] = []
        for number, fields in lines:
            if not count:
                count = len(fields)
                places = list(range(count)) if columns is None else _places(columns, names, count)
            if len(fields) != count if exact else len(fields) <= max(places):
                expected = f"where the first has {count}" if exact else f"and none numbered {max(places) + 1}"
                raise ValueError(f"line {number} has {len(fields)} columns {expected}")
            values.extend(_number(number, place, fields[place]) for place in places)
    if not count:
        raise ValueError("it holds no rows")
    return np.array(values).reshape(-1, len(places))


def _separator(file):
    """Of a .csv: the one that cuts its first line into more fields, so that either may stand in a name."""
    fields = {}
    for separator in ",;":
        try:
            fields[separator] = len(next(_csv_lines(file, separator), (0, ()))[1])
        except csv.Error:  # a quote that ends before the other separator
            fields[separator] = 0
        file.seek(0)
    return ";" if fields[";"] > max(1, fields[","]) else ","


def _csv_lines(file, separator):
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    for fields in reader:
        if len(fields) > 1 or "".join(fields).strip():
            yield reader.line_num, fields


def _lines_of_words(file):
    return ((number, line.split()) for number, line in enumerate(file, start=1) if line.strip())


def _names(lines):
    """The names of the columns, if the first line has no number in it, and the lines after them; or None and all."""
    first = next(lines, None)
    if first is None:
        return None, lines
    _, fields = first
    if any(map(_is_number, fields)):
        return None, _with_first(first, lines)
    names = [field.strip() for field in fields]
    if names[0].startswith("#"):  # the mark of a comment, as numpy.savetxt writes it
        names[0] = names[0][1:].strip()
        names = names[0 if names[0] else 1 :]
    return names, lines


def _with_first(first, lines):
    yield first
    yield from lines


def _number(line, place, field):
    if not _is_number(field) or not isfinite(float(field)):
        raise ValueError(f"line {line}, column {place + 1} is {field.strip()!r}")
    return float(field)


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # 1_000 is a number to Python only


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
    places = list(range(series.shape[1])) if columns is None else _places(columns, None, series.shape[1])
    if columns is not None:
        neighbours = places == list(range(places[0], places[-1] + 1))
        series = series[:, places[0] : places[-1] + 1] if neighbours else series[:, places]
    if series.dtype not in (np.float32, np.float64) or not series.flags.aligned:  # nor are those of another byte order
        with np.errstate(over="ignore"):  # what is too large for float64 is refused here
            series = series.astype(np.float64)
    _check_finite(series, places)
    return series


def _check_finite(series, places):
    """In blocks, so that a series larger than the memory can be looked at."""
    rows = max(1, LOOKED_AT // series.shape[1])
    for first in range(0, len(series), rows):
        finite = np.isfinite(series[first : first + rows])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(f"row {first + row + 1}, column {places[column] + 1} is {series[first + row, column]}")
