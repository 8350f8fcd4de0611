"""The start of a run: a series or a text, and initial weights, which may come from a
file.

Keys of the .npz: W_xh and so on, the names of the Parameters; vW_xh and so on, the
velocity, or with Adagrad the sums of squares; configuration, a string: JSON of the
options, and of a text its alphabet, in the order of the classes, and its smoothed loss.
"""

import csv
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import Configuration
from numpy_rnn.common.checks import check_saved
from numpy_rnn.common.errors import InputError, errors_about, printable, some_of
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import Gradients, Parameters, Run, RunOptions
from numpy_rnn.parameters import ARRAYS

MAX_MEGABYTES = 64  # of a series or text
MIN_ROWS = 3  # each row is predicted from the one before
BEGINS_A_NUMBER = re.compile(r"[+-]?\.?\d")
NUMBERS = "expected finite numbers with decimal points, one row per time step"

# The series of the default experiment, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = (np.sin(np.linspace(2, 10, 21))[:, None], ["value"])
NAMES = Parameters._fields
VELOCITY = tuple("v" + name for name in NAMES)


class Experiment(NamedTuple):
    """The data and the initial weights of a run, as NumPy arrays."""

    name: str
    x: np.ndarray  # (T, 1, D); classes of a text (T, 1)
    target: np.ndarray  # the same
    h_0: np.ndarray  # (1, H), zero
    params: Parameters[Any]
    velocity: Gradients[Any] | None = None
    series: Any = None  # (T+1, D), as read; None for a text
    columns: tuple[str, ...] = ("value",)  # (D,) their names
    mean: Any = 0.0  # (D,) of the columns of a standardized series
    deviation: Any = 1.0  # (D,)
    held_out: int = 0  # steps at the end that are predicted and not trained on
    alphabet: str = ""  # of a text: its characters, in the order of their classes
    smoothed: float | None = None  # of a text that is continued: the smoothed loss

    @property
    def networks(self) -> tuple[int, ...]:
        """The shape of the ensemble, (N,); () for a single network."""
        return self.params.W_hh.shape[:-2]

    def run(self, options: RunOptions) -> Run:
        """The training run with these options, on the steps that are not held out."""
        steps = len(self.x) - self.held_out
        data = {"x": self.x[:steps], "target": self.target[:steps], "h_0": self.h_0}
        return Run(params=self.params, options=options, velocity=self.velocity, **data)


def prepare(options: Configuration) -> Experiment:
    """Read or create the series or the text, and the initial weights."""
    params, velocity, saved, dtype = (
        None,
        None,
        dict[str, Any](),
        options.dtype or "float32",
    )
    if options.weights is not None:
        params, velocity, saved = load_run(options.weights)
        dtype = params.W_hh.dtype
    name = printable(os.path.basename(options.text or options.data or "sine wave"))
    if options.text is not None:
        with errors_about(f"text {options.text}"):
            classes, alphabet = character_classes(
                read_text(options.text), saved.get("alphabet")
            )
            steps = (len(classes) - 1) // options.k1 * options.k1  # as in min-char-rnn
            if steps == 0:
                raise InputError(
                    f"it has {len(classes)} characters: expected more than --k1"
                )
        sequence, D, deviations = classes[: steps + 1], len(alphabet), (0.01, 0.01)
        rest: Any = {"alphabet": alphabet, "smoothed": saved.get("smoothed")}
    else:
        sequence, rest = _standardized(options, dtype)
        D, deviations = sequence.shape[-1], (0.4, 0.3)
    if params is None:
        draw = {"seed": options.seed, "bias": bool(options.bias), "dtype": dtype}
        draw |= {"networks": options.networks, "deviations": deviations}
        H = options.hidden_size or 6
        params = initial_parameters(input_size=D, hidden_size=H, output_size=D, **draw)
    sizes, step = (
        (params.W_xh.shape[-2], params.W_hy.shape[-1]),
        options.run_options().step,
    )
    if sizes != (D, D):
        raise InputError(
            f"{options.weights} has {sizes} inputs and outputs: expected {(D, D)}"
        )
    if not step.has_velocity or saved.get("adagrad", step.adagrad) != step.adagrad:
        velocity = None  # sums of squares are no velocity
    h_0 = np.zeros((1, params.W_hh.shape[-1]), dtype)
    x, target = sequence[:-1, None], sequence[1:, None]
    return Experiment(name, x, target, h_0, params, velocity, **rest)


def _standardized(
    options: Configuration, dtype: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """The sequence to train on, (T+1, D), and the fields of an Experiment about the
    series.
    """
    data, held_out = options.data, options.held_out
    names = options.columns
    chosen = None if names is None else [name.strip() for name in names.split(",")]
    rows, columns = SINE_WAVE if data is None else read_series(data, chosen)
    trained, mean, deviation = rows[: len(rows) - held_out], 0.0, 1.0
    if len(trained) < MIN_ROWS:
        raise InputError(
            f"--held-out is {held_out}: expected {len(rows) - MIN_ROWS} at most"
        )
    with np.errstate(all="ignore"):  # what is not finite is refused below
        if options.standardize:
            mean, deviation = trained.mean(axis=0), trained.std(axis=0)
            deviation[np.ptp(trained, axis=0) == 0] = (
                0  # which rounding may have changed
            )
        sequence = ((rows - mean) / deviation).astype(dtype)
    is_fine = np.isfinite(sequence).all(axis=0) & np.isfinite(deviation)
    if not is_fine.all():
        what = "constant or " * options.standardize + f"too large for {dtype}"
        raise InputError(
            f"data file {data}: column {is_fine.argmin() + 1} is {what}: leave it out"
        )
    about = {
        "series": rows,
        "columns": tuple(map(printable, columns)),
        "held_out": held_out,
    }
    return sequence, {**about, "mean": mean, "deviation": deviation}


def save_run(
    path: str, params: Any, velocity: Any = None, configuration: Any = None
) -> None:
    """Write the networks that are finite. Raises InputError if the file cannot be
    written.
    """
    arrays = dict(zip(NAMES, params)) | dict(zip(VELOCITY, velocity or ()))
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if networks := params.W_hh.shape[:-2]:
        parts = [
            np.isfinite(array).reshape(*networks, -1).all(axis=1)
            for array in arrays.values()
        ]
        arrays = {name: array[np.all(parts, axis=0)] for name, array in arrays.items()}
    save_arrays(path, {**arrays, "configuration": json.dumps(configuration or {})})


def load_run(path: str) -> tuple[Any, Any, dict[str, Any]]:
    """Parameters, velocity and configuration in an .npz. Raises InputError on other
    files.
    """
    found = load_arrays(path, "weights file")
    with errors_about(f"weights file {path}"):
        unknown = set(found) - {*NAMES, *VELOCITY, "configuration"}
        if unknown or not found.keys() >= {*NAMES[:3]}:
            what = some_of(sorted(unknown) or found)
            raise InputError(
                f"it has {what}: expected W_xh, W_hh, W_hy and what --save writes"
            )
        # In C order, on which the rounding of products depends.
        found = {name: np.array(array, order="C") for name, array in found.items()}
        params: Any = Parameters(*map(found.get, NAMES))
        velocity: Any = None
        if found.keys() & VELOCITY:
            velocity = Gradients(*map(found.get, VELOCITY))
        check_saved(ARRAYS, params, velocity)
        try:
            configuration = json.loads(
                found.get("configuration", np.array("{}")).item()
            )
            alphabet = configuration.get("alphabet") or "-" * params.W_hy.shape[-1]
            smoothed = float(configuration.get("smoothed") or 1.0)
            if (
                len("".join(alphabet)) != params.W_hy.shape[-1]
                or not 0 < smoothed < np.inf
            ):
                raise ValueError
        except (AttributeError, RecursionError, TypeError, ValueError):
            raise InputError(
                "its configuration is damaged: expected a file of --save"
            ) from None
    return params, velocity, configuration


def read_text(path: str) -> str:
    """The UTF-8 text of a file or a pipe, with any line ends.

    Raises OSError, and InputError on more than MAX_MEGABYTES and on what is not UTF-8.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_MEGABYTES * 2**20 + 1)
    if len(content) > MAX_MEGABYTES * 2**20:
        raise InputError(
            f"it has more than {MAX_MEGABYTES} MB, the limit: expected a smaller file"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8: expected a text file"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_series(
    path: str, columns: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """The numbers in a text file. columns: names, or numbers from 1.

    Columns are separated by semicolons, tabs, commas or spaces, the first of these in
    the second line. The first line may be a header, also after a "#". Raises InputError
    on anything else.
    """
    with errors_about(f"data file {path}"):
        text = read_text(path)
        is_comment = text.lstrip().startswith("#")
        lines = [
            line.strip(" ") for line in text.replace("#", "", is_comment).split("\n")
        ]
        second = ["", *filter(None, lines)][:3][-1]
        mark = next((mark for mark in ";\t," if mark in second), " ")
        reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        try:
            rows = [
                (reader.line_num, [*map(str.strip, row)]) for row in reader if any(row)
            ]
        except csv.Error as error:
            raise InputError(f"line {reader.line_num}: {error}; {NUMBERS}") from None
        names: list[str] = []
        if rows and (is_comment or not any(map(BEGINS_A_NUMBER.match, rows[0][1]))):
            names = rows.pop(0)[1]
        if len(rows) < MIN_ROWS:
            raise InputError(
                f"it has {len(rows)} rows of numbers: expected {MIN_ROWS} or more"
            )
        count = len(rows[0][1])
        names = (
            names if len(names) == count else [f"column {n + 1}" for n in range(count)]
        )
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
    """The class of every character, (N,), and the alphabet, whose n-th character has
    class n.

    alphabet: that of saved weights, or if they have none, the characters of the text,
    by Unicode. Raises InputError on characters that are not in it, and on fewer than
    two different ones.
    """
    alphabet = alphabet or "".join(sorted(set(text)))
    if len(alphabet) < 2 or "\0" in text:
        raise InputError("it is binary, or has fewer than 2 different characters")
    if unknown := sorted(set(text) - set(alphabet)):
        raise InputError(
            f"it has {some_of(unknown)}; expected only characters of --weights"
        )
    index = {character: n for n, character in enumerate(alphabet)}
    return np.fromiter(map(index.__getitem__, text), np.int64, len(text)), alphabet
