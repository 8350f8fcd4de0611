"""Time series: the sine wave, and files."""

import csv
from math import isfinite
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
    read = {".csv": _read_text, ".txt": _read_text, ".npy": _read_npy}.get(path.suffix.lower())
    if read is None:
        raise InputError(f"data file {path}: unknown ending {path.suffix!r}; expected {READABLE}")
    try:
        series = read(path)
    except FileNotFoundError:
        raise InputError(f"data file {path} does not exist: expected a {READABLE} file; check the path") from None
    except OSError as error:
        raise InputError(f"data file {path} cannot be read: {error.strerror or error}; check the path") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"data file {path}: {error}; expected finite numbers only, a row a time step") from None
    if len(series) < 3:
        raise InputError(
            f"data file {path}: the number of rows is {len(series)}; expected 3 or more, to predict each from the last"
        )
    return series


def _read_text(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, fields) for fields in reader if len(fields) > 1 or "".join(fields).strip()]
        else:
            lines = [(number, line.split()) for number, line in enumerate(file, start=1) if line.strip()]
    if lines and not any(map(_is_number, lines[0][1])):
        del lines[0]  # column names
    if not lines:
        raise ValueError("it holds no rows")
    return np.array([_numbers(number, fields, len(lines[0][1])) for number, fields in lines])


def _numbers(number, fields, columns):
    """One line as numbers, or why it is none."""
    if len(fields) != columns:
        raise ValueError(f"line {number} has {len(fields)} columns where the first has {columns}")
    for column, field in enumerate(fields, start=1):
        if not _is_number(field) or not isfinite(float(field)):
            raise ValueError(f"line {number}, column {column} is {field.strip()!r}")
    return [float(field) for field in fields]


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # 1_000 is a number to Python only


def _read_npy(path):
    with open(path, "rb") as file:
        try:
            array = np.lib.format.read_array(file, allow_pickle=False)
        except OSError:
            raise
        except Exception:  # damaged bytes raise whatever the readers of the header raise
            raise ValueError(
                "it is no whole array that numpy.save wrote, or one of Python objects; pickle is never read"
            ) from None
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise ValueError(f"it holds {array.dtype} of shape {array.shape}, not real numbers on one or two axes")
    if array.size == 0:
        raise ValueError(f"it is empty, of shape {array.shape}")
    series = array.reshape(len(array), -1).astype(np.float64)
    if not np.isfinite(series).all():
        row, column = np.argwhere(~np.isfinite(series))[0]
        raise ValueError(f"row {row + 1}, column {column + 1} is {series[row, column]}")
    return series
