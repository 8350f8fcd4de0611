"""Series: numbers by time, the inputs and targets of a network, and their scaling."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.choice import (
    choose_columns,
    column_values,
    describe_table,
    model_columns,
    names_of,
)
from numpy_rnn.app.columns import where_rows
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.table_file import Table, parse_table
from numpy_rnn.app.time_columns import TimedColumns, with_times
from numpy_rnn.app.times import Times, steps_as_times
from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.files import STANDARD_INPUT, read_text
from numpy_rnn.common.numbers import checked_integer
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import pluralize, printable, some_of

# The default series, (21, 1): 21 equally spaced times from 2 to 10.
SINE_WAVE = np.sin(np.linspace(2, 10, 21))[:, None]
MIN_ROWS = 3  # each row is predicted from the one before


class Series(NamedTuple):
    """A series of T + 1 rows: from the inputs of a row, and of those before, the
    targets of the next row are predicted. All numbers are in the units of the data.
    """

    name: str
    inputs: NumpyArray  # (T+1, D)
    targets: NumpyArray  # (T+1, O)
    columns: Sequence[str]  # the names of the D inputs
    target_columns: Sequence[str]  # the names of the O targets
    times: Times  # of the rows
    held_out: int = 0  # rows at the end that are predicted and not trained on
    description: str = ""  # of what was found in a file
    notes: Sequence[str] = ()  # on what was left out or changed

    @property
    def steps(self) -> int:
        """T, the number of predictions."""
        return len(self.inputs) - 1

    @property
    def border(self) -> int:
        """The number of steps that are trained on."""
        return self.steps - self.held_out

    def feedback(self) -> list[int] | None:
        """Return which target each input is; None if an input is no target."""
        if not {*self.columns} <= {*self.target_columns}:
            return None
        return [list(self.target_columns).index(name) for name in self.columns]


class ModelColumns(NamedTuple):
    """The names of the columns of a model that are looked for in a file."""

    inputs: Sequence[str]
    targets: Sequence[str]

    def renamed(self, series: Series) -> Series:
        """Return a series whose columns stand for those of the model.

        Raises InputError if it has another number of them.
        """
        for role, has, expected in (
            ("input", series.columns, self.inputs),
            ("target", series.target_columns, self.targets),
        ):
            if len(has) != len(expected):
                raise InputError(
                    f"the series has {pluralize(len(has), role)}, {some_of(has)}, and"
                    f" the model {len(expected)}, {some_of(expected)}: choose as many"
                    " by --columns"
                )
        return series._replace(columns=self.inputs, target_columns=self.targets)


class Scaling(NamedTuple):
    """What a network has in place of the numbers of a series: (value - mean) /
    deviation, by column.
    """

    mean: NumpyArray  # of the inputs, (D,)
    deviation: NumpyArray
    target_mean: NumpyArray  # of the targets, (O,)
    target_deviation: NumpyArray

    def scaled_inputs(self, series: Series, dtype: Any) -> NumpyArray:
        """Return the inputs of a network, (T+1, 1, D)."""
        scaled = (series.inputs - self.mean) / self.deviation
        return np.asarray(scaled.astype(dtype)[:, None])

    def scaled_targets(self, series: Series, dtype: Any) -> NumpyArray:
        """Return the targets of a network for each row, (T+1, 1, O)."""
        scaled = (series.targets - self.target_mean) / self.target_deviation
        return np.asarray(scaled.astype(dtype)[:, None])

    def unscaled(self, y: NumpyArray) -> NumpyArray:
        """Return outputs (T, N, B, O), or without N, in units of the data: (T, N,
        O).
        """
        values = y.astype(np.float64) * self.target_deviation + self.target_mean
        networks = y.shape[1] if y.ndim == 4 else 1
        return np.asarray(values.reshape(len(y), networks, y.shape[-1]))


def make_series(options: CommandOptions, model: ModelColumns | None = None) -> Series:
    """Read the series of the options, or create the sine wave.

    model: the columns of a model, which the series gets unless --columns chooses those
    that stand for them.
    """
    if options.data is None:
        rows = SINE_WAVE
        times = steps_as_times(len(rows))
        series = Series("sine wave", rows, rows, ["value"], ["value"], times)
    else:
        series = read_series(options.data, options, model)
    checked_integer("--held-out", options.held_out, 0, series.steps + 1 - MIN_ROWS)
    series = series._replace(held_out=options.held_out)
    return series if model is None else model.renamed(series)


def read_series(
    path: str, options: CommandOptions, model: ModelColumns | None = None
) -> Series:
    """Read a series from a file, or from standard input.

    Parameters
    ----------
    path : str
        The path of the file, or "-".
    options : CommandOptions
        How it is read: delimiter, decimal, header, time, where, columns, target and
        missing.
    model : ModelColumns, optional
        The columns that are looked for where the options choose none.

    Returns
    -------
    Series
        All its columns that are chosen, of all rows.

    Raises
    ------
    InputError
        If the file cannot be read, has fewer than three rows, or something else than
        finite numbers in a column that is chosen.
    """
    with errors_about(f"data file {printable(path)}"):
        table, timed = read_columns(path, options)
        if model is not None and options.columns is None:
            choice = model_columns(timed, *model)
        else:
            choice = choose_columns(timed, options.columns, options.target)
        notes = [*timed.notes, *choice.notes]
        inputs, filled = column_values(timed, choice.inputs, options.missing)
        notes += filled
        targets = inputs
        if choice.targets != choice.inputs:
            targets, filled = column_values(timed, choice.targets, options.missing)
            notes += [note for note in filled if note not in notes]
    columns = names_of(timed, choice.inputs)
    target_columns = names_of(timed, choice.targets)
    description = f"{describe_table(table, timed)}; {columns_words(columns, 'input')}"
    if target_columns == columns:
        description = description.replace("; input", "; input and target", 1)
    else:
        description += f"; {columns_words(target_columns, 'target')}"
    name = series_name(path)
    return Series(
        name,
        inputs,
        targets,
        columns,
        target_columns,
        timed.times,
        description=f"{name}: {description}",
        notes=[f"{name}: {note}" for note in notes],
    )


def read_columns(path: str, options: CommandOptions) -> tuple[Table, TimedColumns]:
    """Read the table of a file, and its columns in order of time."""
    table = parse_table(
        read_text(path), options.delimiter, options.decimal, options.header
    )
    if options.where is not None:
        table = where_rows(table, options.where)
    if len(table.rows) < MIN_ROWS:
        raise InputError(
            f"it has {pluralize(len(table.rows), 'row')}: expected {MIN_ROWS} rows of"
            " numbers or more"
        )
    return table, with_times(table, options.time)


def columns_words(columns: Sequence[str], role: str) -> str:
    """Return the role and the names of columns."""
    return f"{role}{'s' if len(columns) > 1 else ''}: {some_of(columns)}"


def series_name(path: str) -> str:
    """Return the name of a file, or of standard input."""
    if path == STANDARD_INPUT:
        return "standard input"
    return printable(os.path.basename(path))


def without_constants(series: Series, standardize: bool) -> Series:
    """Leave out columns that are constant on the rows that are trained on, with a note.

    If no input or no target remains, a series that is not standardized is returned as
    it is; for another one InputError is raised.
    """
    trained = slice(series.border + 1)
    kept_inputs = np.flatnonzero(changes(series.inputs[trained]))
    kept_targets = np.flatnonzero(changes(series.targets[trained]))
    columns = [series.columns[index] for index in kept_inputs.tolist()]
    targets = [series.target_columns[index] for index in kept_targets.tolist()]
    constant = dict.fromkeys([*series.columns, *series.target_columns])
    left_out = [name for name in constant if name not in (*columns, *targets)]
    is_empty = not columns or not targets
    if not left_out or (is_empty and not standardize):
        return series
    if is_empty:
        raise InputError(
            f"data file {series.name}: {some_of(left_out)} is constant on the rows that"
            " are trained on: expected a column that changes"
        )
    note = f"{series.name}: left out, constant: {some_of(left_out)}"
    return series._replace(
        inputs=np.ascontiguousarray(series.inputs[:, kept_inputs]),
        targets=np.ascontiguousarray(series.targets[:, kept_targets]),
        columns=columns,
        target_columns=targets,
        notes=[*series.notes, note],
    )


def changes(rows: NumpyArray) -> NumpyArray:
    """Return whether each column has different numbers."""
    return np.asarray(rows.max(axis=0) != rows.min(axis=0))


def make_scaling(series: Series, standardize: bool) -> Scaling:
    """Return the scaling of a series: by mean and standard deviation of the rows that
    are trained on, or none.
    """
    values = []
    for rows in (series.inputs, series.targets):
        trained = rows[: series.border + 1]
        if standardize:
            with np.errstate(all="ignore"):  # what is not finite is refused
                values += [trained.mean(axis=0), trained.std(axis=0)]
        else:
            values += [np.zeros(rows.shape[1]), np.ones(rows.shape[1])]
    return Scaling(*values)


def check_range(series: Series, scaling: Scaling, dtype: Any) -> None:
    """Raise InputError if a scaled number overflows."""
    with np.errstate(all="ignore"):
        inputs = scaling.scaled_inputs(series, dtype)[:, 0] * scaling.deviation
        targets = scaling.scaled_targets(series, dtype)[:, 0]
        products = targets * scaling.target_deviation
    for names, values in ((series.columns, inputs), (series.target_columns, products)):
        is_usable = np.isfinite(values).all(axis=0)
        if not is_usable.all():
            raise InputError(
                f"data file {series.name}: {names[is_usable.argmin()]} is too large"
                f" for {dtype}: leave it out, or change its unit"
            )
