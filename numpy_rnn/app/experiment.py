"""The start of a run: a series or a text, and initial weights, which may come from a
file.

Keys of the .npz: W_xh and so on, the names of the Parameters; vW_xh and so on, the
velocity, or with Adagrad the sums of squares; configuration, a string: JSON of the
options, and of a text its alphabet, in the order of the classes, and its smoothed loss.
"""

import json
import os
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import Configuration
from numpy_rnn.app.series import (
    MIN_ROWS,
    character_classes,
    is_index,
    read_series,
    read_text,
)
from numpy_rnn.common.checks import check_saved
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import Gradients, Parameters, Run, RunOptions
from numpy_rnn.common.texts import printable, some_of
from numpy_rnn.parameters import ARRAYS

# The series of the default experiment, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = (np.sin(np.linspace(2, 10, 21))[:, None], ["value"])
NAMES = Parameters._fields
VELOCITY = tuple("v" + name for name in NAMES)
# Standard deviations of the initial weights: of the hidden units, and of the outputs.
OF_SERIES, OF_TEXT = (0.4, 0.3), (0.01, 0.01)


class Experiment(NamedTuple):
    """The data and the initial weights of a run, as NumPy arrays."""

    name: str
    x: np.ndarray  # (T, 1, D); classes of a text (T, 1)
    target: np.ndarray  # the same
    h_0: Any = None  # (1, H), zero
    params: Any = None  # Parameters
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
        """Return the shape of the ensemble, (N,); () for a single network."""
        shape: tuple[int, ...] = self.params.W_hh.shape[:-2]
        return shape

    def run(self, options: RunOptions) -> Run:
        """Return the run with these options, on the steps that are not held out."""
        steps = len(self.x) - self.held_out
        data = {"x": self.x[:steps], "target": self.target[:steps], "h_0": self.h_0}
        return Run(params=self.params, options=options, velocity=self.velocity, **data)


class Saved(NamedTuple):
    """What a weights file has."""

    params: Parameters[Any] | None = None
    velocity: Gradients[Any] | None = None
    configuration: dict[str, Any] = {}  # noqa: RUF012, it is not changed


def prepare(options: Configuration) -> Experiment:
    """Read or create the series or the text, and the initial weights."""
    saved = Saved()
    if options.weights is not None:
        saved = load_run(options.weights)
    dtype: Any = options.dtype or "float32"
    if saved.params is not None:
        dtype = saved.params.W_hh.dtype
    if options.text is not None:
        made = _of_text(options, saved)
    else:
        made = _of_series(options, dtype)
    D = len(made.alphabet) or made.x.shape[-1]
    params = saved.params
    if params is None:
        params = initial_parameters(
            input_size=D,
            hidden_size=options.hidden_size or 6,
            output_size=D,
            seed=options.seed,
            bias=bool(options.bias),
            dtype=dtype,
            networks=None if options.command == "study" else options.seeds,
            deviations=OF_TEXT if made.alphabet else OF_SERIES,
        )
    sizes = params.W_xh.shape[-2], params.W_hy.shape[-1]
    if sizes != (D, D):
        raise InputError(
            f"{options.weights} has {sizes} inputs and outputs: expected {(D, D)}"
        )
    velocity, step = saved.velocity, options.run_options().step
    had_adagrad = saved.configuration.get("adagrad", step.adagrad)
    if not step.has_velocity or had_adagrad != step.adagrad:
        velocity = None  # sums of squares are no velocity
    h_0 = np.zeros((1, params.W_hh.shape[-1]), dtype)
    return made._replace(params=params, velocity=velocity, h_0=h_0)


def _of_text(options: Configuration, saved: Saved) -> Experiment:
    """Read the text, without initial weights."""
    with errors_about(f"text {options.text}"):
        text, alphabet = read_text(options.text), saved.configuration.get("alphabet")
        classes, alphabet = character_classes(text, alphabet)
        steps = (len(classes) - 1) // options.k1 * options.k1  # as in min-char-rnn
        if steps == 0:
            raise InputError(
                f"it has {len(classes)} characters: expected more than --k1"
            )
    return Experiment(
        printable(os.path.basename(options.text)),
        x=classes[:steps, None],
        target=classes[1 : steps + 1, None],
        alphabet=alphabet,
        smoothed=saved.configuration.get("smoothed"),
    )


def _of_series(options: Configuration, dtype: Any) -> Experiment:
    """Read or create the series, without initial weights."""
    rows, columns, name = SINE_WAVE[0], SINE_WAVE[1], "sine wave"
    if options.data is not None:
        chosen = None
        if options.columns is not None:
            chosen = [column.strip() for column in options.columns.split(",")]
        rows, columns = read_series(options.data, chosen)
        name = printable(os.path.basename(options.data))
        if chosen is None and len(columns) > 1 and is_index(rows[:, 0]):
            name += f" without {printable(columns[0])}, which counts the rows"
            rows, columns = rows[:, 1:], columns[1:]
    trained = rows[: len(rows) - options.held_out]
    if len(trained) < MIN_ROWS:
        raise InputError(
            f"--held-out is {options.held_out}: expected {len(rows) - MIN_ROWS} at most"
        )
    mean: Any = 0.0
    deviation: Any = 1.0
    with np.errstate(all="ignore"):  # what is not finite is refused below
        if options.standardize:
            mean, deviation = trained.mean(axis=0), trained.std(axis=0)
            is_constant = np.ptp(trained, axis=0) == 0
            deviation[is_constant] = 0  # which rounding may have changed
        sequence = ((rows - mean) / deviation).astype(dtype)
    is_fine = np.isfinite(sequence).all(axis=0) & np.isfinite(deviation)
    if not is_fine.all():
        what = f"too large for {dtype}"
        if options.standardize:
            what = f"constant or {what}"
        column = printable(columns[is_fine.argmin()])
        raise InputError(f"data file {options.data}: {column} is {what}: leave it out")
    return Experiment(
        name,
        x=sequence[:-1, None],
        target=sequence[1:, None],
        series=rows,
        columns=tuple(map(printable, columns)),
        mean=mean,
        deviation=deviation,
        held_out=options.held_out,
    )


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


def load_run(path: str) -> Saved:
    """Read parameters, velocity and configuration of an .npz. Raises InputError on
    other files.
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
    return Saved(params, velocity, configuration)
