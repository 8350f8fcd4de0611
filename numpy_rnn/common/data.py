"""Time series: the sine wave, and files."""

from pathlib import Path

import numpy as np

from numpy_rnn.common.errors import InputError

READABLE = ".csv, .txt or .npy"


def sine() -> np.ndarray:
    """The series of the main job, (21, 1): the sine of 21 equally spaced time points from 2 to 10, both included."""
    return np.sin(np.linspace(2, 10, 21))[:, None]


def inputs_and_targets(series, dtype) -> tuple[np.ndarray, np.ndarray]:
    """One sequence to predict a step ahead: rows (N, D) → x and target (N−1, 1, D); each target is the next input."""
    sequence = np.asarray(series, dtype)[:, None, :]
    return sequence[:-1], sequence[1:]


def load_series(path) -> np.ndarray:
    """The rows of a file, (N, D) in float64: a row a time step, a column a feature.

    .csv is separated by commas, .txt by white space, both with an optional line of column names; .npy holds an array of
    one or two axes.

    Raises InputError when the file is missing or of another kind, has fewer than 3 rows, or holds what is not a finite
    number.
    """
    path = Path(path)
    read = {".csv": _read_csv, ".txt": _read_txt, ".npy": _read_npy}.get(path.suffix.lower())
    if read is None:
        raise InputError(f"data file {path}: unknown ending {path.suffix!r}; expected {READABLE}")
    try:
        series = read(path)
    except FileNotFoundError:
        raise InputError(f"data file {path} does not exist: expected a {READABLE} file; check the path") from None
    except OSError as error:
        raise InputError(f"data file {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"data file {path}: {error}; expected numbers only, a row a time step") from None
    if len(series) < 3:
        raise InputError(f"data file {path} has {len(series)} rows: expected 3 or more, to predict each from the last")
    if not np.isfinite(series).all():
        row, column = np.argwhere(~np.isfinite(series))[0]
        raise InputError(
            f"data file {path} has {series[row, column]} in row {row + 1}, column {column + 1}:"
            " expected finite numbers; remove or fill what is missing"
        )
    return series


def _read_csv(path):
    return _read_text(path, ",")


def _read_txt(path):
    return _read_text(path, None)


def _read_text(path, delimiter):
    with open(path, encoding="utf-8-sig") as file:
        lines = [(number, line) for number, line in enumerate(file, start=1) if line.strip()]
    if not lines:
        raise ValueError("it is empty")
    if not _is_number(lines[0][1].split(delimiter)[0]):
        del lines[0]  # column names
    try:
        return np.loadtxt((line for _, line in lines), delimiter=delimiter, ndmin=2, quotechar='"', comments=None)
    except ValueError:
        raise ValueError(_first_fault(lines, delimiter)) from None


def _first_fault(lines, delimiter):
    """Where and why a table of numbers cannot be read; NumPy's own message counts rows, now from 0 and now from 1."""
    columns = len(lines[0][1].split(delimiter)) if lines else 0
    for number, line in lines:
        fields = line.split(delimiter)
        for column, field in enumerate(fields, start=1):
            if not _is_number(field):
                return f"line {number}, column {column} is {field.strip()!r}"
        if len(fields) != columns:
            return f"line {number} has {len(fields)} columns where the first has {columns}"
    return "it is no table of numbers"


def _is_number(text):
    try:
        float(text.strip().strip('"'))
    except ValueError:
        return False
    return True


def _read_npy(path):
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError:
        raise ValueError(
            "it is no array that numpy.save wrote, or one of Python objects; pickle is never read"
        ) from None
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive of several arrays, not one array")
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise ValueError(f"it holds {array.dtype} of shape {array.shape}, not real numbers on one or two axes")
    return array.reshape(len(array), -1).astype(np.float64)
