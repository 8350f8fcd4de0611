"""What a network is trained on: a series or a text, as inputs and targets."""

import os
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import Configuration
from numpy_rnn.app.reading import (
    MIN_ROWS,
    character_classes,
    is_index,
    read_series,
    read_text,
    split_columns,
)
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable

# The series of the default experiment, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = (np.sin(np.linspace(2, 10, 21))[:, None], ["value"], "sine wave")


class Series(NamedTuple):
    """A series of T + 1 rows, each of which is predicted from those before."""

    name: str
    x: NumpyArray
    """Inputs, (T, 1, D), standardized if that is asked."""
    target: NumpyArray
    """The next rows, (T, 1, D)."""
    rows: NumpyArray
    """As they were read, (T+1, D)."""
    columns: tuple[str, ...] = ("value",)
    """The D names."""
    mean: Any = 0.0
    """Of the columns of a standardized series, (D,)."""
    deviation: Any = 1.0
    """Of these, (D,)."""
    held_out: int = 0
    """Steps at the end that are predicted and not trained on."""
    alphabet: str = ""
    """Empty: this is no text."""

    @property
    def size(self) -> int:
        """D, the number of columns."""
        return int(self.x.shape[-1])


class Text(NamedTuple):
    """A text, each character of which is predicted from those before."""

    name: str
    x: NumpyArray
    """Classes, (T, 1)."""
    target: NumpyArray
    """The next classes, (T, 1)."""
    alphabet: str
    """The characters in the order of their classes."""
    columns: tuple[str, ...] = ()
    """Columns of numbers: none."""
    held_out: int = 0
    """Every step is trained on."""

    @property
    def size(self) -> int:
        """D, the number of different characters."""
        return len(self.alphabet)


def make_text(path: str, options: Configuration, alphabet: str) -> Text:
    """Read the text of a file.

    alphabet: that of saved weights, or empty.
    """
    with errors_about(f"text {path}"):
        classes, alphabet = character_classes(read_text(path), alphabet)
        steps = (len(classes) - 1) // options.k1 * options.k1  # as in min-char-rnn
        if steps == 0:
            raise InputError(
                f"it has {len(classes)} characters: expected more than --k1"
            )
    return Text(
        printable(os.path.basename(path)),
        x=classes[:steps, None],
        target=classes[1 : steps + 1, None],
        alphabet=alphabet,
    )


def make_series(options: Configuration, dtype: Any) -> Series:
    """Read or create the series, in this dtype."""
    rows, columns, name = SINE_WAVE
    if options.data is not None:
        chosen = None
        if options.columns is not None:
            chosen = split_columns(options.columns)
        rows, columns = read_series(options.data, chosen)
        name = printable(os.path.basename(options.data))
        if chosen is None and len(columns) > 1 and is_index(rows[:, 0]):
            name += f" without {columns[0]}, which counts the rows"
            rows, columns = rows[:, 1:], columns[1:]
    held_out = options.held_out
    most = len(rows) - MIN_ROWS
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
    return Series(
        name,
        x=sequence[:-1, None],
        target=sequence[1:, None],
        rows=rows,
        columns=tuple(columns),
        mean=mean,
        deviation=deviation,
        held_out=held_out,
    )
