"""The start of a run: a series or a text, and initial weights, which may come from a
file.

Keys of the .npz: W_xh and so on, the names of the Parameters; vW_xh and so on, the
velocity, or with `adagrad` the sums of squares; alphabet, a string: the characters of a
text in the order of their classes. Older files have the options of their run besides,
as `configuration`, which is not read.
"""

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
from numpy_rnn.arrays import ARRAYS
from numpy_rnn.common.checks import check_saved
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.initial import Distribution, draw_parameters
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.records import Gradients, NumpyArray, Parameters, Run, RunOptions
from numpy_rnn.common.texts import printable, some_of

# The series of the default experiment, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = (np.sin(np.linspace(2, 10, 21))[:, None], ["value"], "sine wave")
THETAS = Parameters._fields
VELOCITY = tuple("v" + name for name in THETAS)
TEXTS = ("alphabet", "adagrad", "configuration")
OF_TEXT = Distribution(0.01, 0.01, 0.01)  # as in min-char-rnn


class Experiment(NamedTuple):
    """The data and the initial weights of a run, as NumPy arrays."""

    name: str
    x: NumpyArray  # (T, 1, D); classes of a text (T, 1)
    target: NumpyArray  # the same
    h_0: Any = None  # (1, H), zero
    params: Any = None  # Parameters
    velocity: Gradients[Any] | None = None
    series: Any = None  # (T+1, D), as read; None for a text
    columns: tuple[str, ...] = ("value",)  # (D,) their names
    mean: Any = 0.0  # (D,) of the columns of a standardized series
    deviation: Any = 1.0  # (D,)
    held_out: int = 0  # steps at the end that are predicted and not trained on
    alphabet: str = ""  # of a text: its characters, in the order of their classes

    def run(self, options: RunOptions) -> Run:
        """Return the run with these options, on the steps that are not held out."""
        steps = len(self.x) - self.held_out
        x, target = self.x[:steps], self.target[:steps]
        return Run(self.params, x, target, self.h_0, options, self.velocity)


class Saved(NamedTuple):
    """What a weights file has."""

    params: Parameters[Any]
    velocity: Gradients[Any] | None
    alphabet: str
    adagrad: bool


def prepare_experiment(options: Configuration) -> Experiment:
    """Read or create the series or the text of a run, and its initial weights.

    Parameters
    ----------
    options : Configuration
        `data`, `text` and `weights` name files; without them the series is the sine
        wave, and the weights are drawn.

    Returns
    -------
    Experiment
        The data and the weights.

    Raises
    ------
    InputError
        If a file cannot be used, or the weights do not fit the data.
    """
    saved, dtype, alphabet = None, options.dtype, ""
    if options.weights is not None:
        saved = load_run(options.weights)
        dtype, alphabet = saved.params.W_hh.dtype, saved.alphabet
    if options.text is not None:
        made = _of_text(options, alphabet)
    else:
        made = _of_series(options, dtype)
    D = len(made.alphabet) or made.x.shape[-1]
    step, velocity = options.run_options().step, None
    if saved is None:
        params = draw_parameters(
            (D, options.hidden_size, D),
            OF_TEXT if made.alphabet else Distribution(),
            dtype,
            options.seed,
            networks=None if options.command == "study" else options.seeds,
            bias=options.bias,
        )
    else:
        params = saved.params
        if step.has_velocity and saved.adagrad == step.adagrad:
            velocity = saved.velocity  # sums of squares are no velocity
    sizes = params.W_xh.shape[-2], params.W_hy.shape[-1]
    if sizes != (D, D):
        raise InputError(
            f"{options.weights} has {sizes} inputs and outputs: expected {(D, D)}"
        )
    h_0 = np.zeros((1, params.W_hh.shape[-1]), dtype)
    return made._replace(params=params, velocity=velocity, h_0=h_0)


def _of_text(options: Configuration, alphabet: str) -> Experiment:
    """Read the text, without initial weights."""
    with errors_about(f"text {options.text}"):
        classes, alphabet = character_classes(read_text(options.text), alphabet)
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
    )


def _of_series(options: Configuration, dtype: Any) -> Experiment:
    """Read or create the series, without initial weights."""
    rows, columns, name = SINE_WAVE
    if options.data is not None:
        chosen = None
        if options.columns is not None:
            chosen = options.columns.split(",")
        rows, columns = read_series(options.data, chosen)
        name = printable(os.path.basename(options.data))
        if chosen is None and len(columns) > 1 and is_index(rows[:, 0]):
            name += f" without {columns[0]}, which counts the rows"
            rows, columns = rows[:, 1:], columns[1:]
    held_out, most = options.held_out, len(rows) - MIN_ROWS
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
    return Experiment(
        name,
        x=sequence[:-1, None],
        target=sequence[1:, None],
        series=rows,
        columns=tuple(columns),
        mean=mean,
        deviation=deviation,
        held_out=held_out,
    )


def save_run(path: str, params: Any, velocity: Any = None, **more: Any) -> None:
    """Write the weights of a run.

    Parameters
    ----------
    path : str
        Of the .npz file, which is replaced at once, and only if all is written.
    params : Parameters
        As NumPy arrays.
    velocity : Gradients, optional
        The velocity, or the sums of squares.
    **more
        Further entries of the file.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    arrays = dict(zip(THETAS, params)) | dict(zip(VELOCITY, velocity or ()))
    arrays = {name: array for name, array in arrays.items() if array is not None}
    save_arrays(path, arrays | more)


def load_run(path: str) -> Saved:
    """Read the weights that `save_run` wrote.

    Parameters
    ----------
    path : str
        Of the .npz file. It is read without pickle.

    Returns
    -------
    Saved
        Parameters, velocity, alphabet, and the kind of the step.

    Raises
    ------
    InputError
        If the file is missing, damaged or foreign, or a shape, a dtype or a value does
        not fit.
    """
    found = load_arrays(path, "weights file")
    with errors_about(f"weights file {path}"):
        unknown = found.keys() - {*THETAS, *VELOCITY, *TEXTS}
        if unknown or not found.keys() >= {*THETAS[:3]}:
            raise InputError(
                f"it has {some_of(sorted(unknown) or found)}: expected W_xh, W_hh, W_hy"
                " and what --save writes"
            )
        # In C order, on which the rounding of products depends.
        found = {name: np.array(array, order="C") for name, array in found.items()}
        params: Any = Parameters(*map(found.get, THETAS))
        velocity: Any = None
        if found.keys() & VELOCITY:
            velocity = Gradients(*map(found.get, VELOCITY))
        check_saved(ARRAYS, params, velocity)
    alphabet, adagrad = str(found.get("alphabet", "")), found.get("adagrad")
    return Saved(params, velocity, alphabet, bool(np.any(adagrad)))
