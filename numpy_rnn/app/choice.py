"""The columns of a series: which of a table are its inputs and targets, and their
numbers, with missing ones filled in. Whatever is left out or changed is told in a note.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.columns import find_columns, listed_columns
from numpy_rnn.app.table_file import INTERPOLATE, Table
from numpy_rnn.app.time_columns import TimedColumns
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import pluralize, some_of


class Choice(NamedTuple):
    """The columns of a series."""

    inputs: Sequence[int]
    targets: Sequence[int]
    notes: Sequence[str]


def model_columns(
    timed: TimedColumns, columns: Sequence[str], targets: Sequence[str]
) -> Choice:
    """Return the columns with the names of those of a model."""
    names = [column.name for column in timed.columns]
    try:
        inputs = find_columns(names, columns, "columns of the model")
        return Choice(inputs, find_columns(names, targets, "targets of the model"), ())
    except InputError as error:
        raise InputError(
            f"{error}; or name those that stand for {some_of(columns)} by --columns"
        ) from None


def choose_columns(
    timed: TimedColumns, columns: str | None, target: str | None
) -> Choice:
    """Choose the inputs and targets of a series.

    Parameters
    ----------
    timed : TimedColumns
        The columns.
    columns : str, optional
        Names or numbers of the inputs, with commas; by default all columns of numbers
        that do not tell the time.
    target : str, optional
        Names or numbers of the targets; the inputs by default.

    Returns
    -------
    Choice
        The columns. A note names those of the table that are left out, and why.
    """
    names = [column.name for column in timed.columns]
    notes = []
    if columns is not None:
        inputs = listed_columns(names, columns, "--columns")
        refuse_times(timed, inputs, "--columns")
    else:
        inputs = []
        left_out: dict[str, list[str]] = {}
        for index, column in enumerate(timed.columns):
            if index in timed.time_columns:
                if column.name != timed.times.name:
                    left_out.setdefault("also times", []).append(column.name)
            elif column.kind == "number":
                inputs.append(index)
            else:
                kind = "no numbers" if column.kind == "text" else "empty"
                left_out.setdefault(kind, []).append(column.name)
        for kind, left in left_out.items():
            if "-".join(left).lower() != timed.times.name:
                notes.append(f"left out, {kind}: {some_of(left)}")
    targets = list(inputs)
    if target is not None:
        targets = listed_columns(names, target, "--target")
        refuse_times(timed, targets, "--target")
    if not inputs:
        raise InputError(
            f"it has no column of numbers, but {some_of(names)}: expected one or more"
            " besides the time; choose the --delimiter or --decimal mark, or --time"
            " none"
        )
    return Choice(inputs, targets, notes)


def refuse_times(timed: TimedColumns, indices: Sequence[int], option: str) -> None:
    """Raise InputError if a column that is chosen is the time of the rows."""
    names = [timed.columns[index].name for index in indices]
    if timed.times.name in names and len(timed.time_columns):
        raise InputError(
            f"{option}: {timed.times.name} is the time of the rows, and never input"
            " nor target; leave it out, or use --time none to take it as numbers"
        )


def column_values(
    timed: TimedColumns, indices: Sequence[int], missing: str | None
) -> tuple[NumpyArray, list[str]]:
    """Return the numbers of columns, (rows, columns), and notes on those filled in.

    Raises InputError, with the line and the column, at a cell that is no number.
    """
    notes = []
    # In C order, on which the rounding of means depends.
    values = np.empty((len(timed.lines), len(indices)))
    for place, index in enumerate(indices):
        column = timed.columns[index]
        values[:, place] = column.values
        is_number = np.isfinite(column.values)
        wrong = np.flatnonzero(~is_number & ~column.is_missing)
        if len(wrong):
            cell = column.cells[wrong[0]]
            raise InputError(
                f"line {timed.lines[wrong[0]]}, {column.words} is {cell!r}:"
                f" expected a number; {remedy(timed, index, cell)}"
            )
        empty = np.flatnonzero(column.is_missing)
        if not len(empty):
            continue
        if missing != INTERPOLATE:
            cell = column.cells[empty[0]]
            words = repr(cell) if cell else "empty"
            raise InputError(
                f"line {timed.lines[empty[0]]}, {column.words} is {words}, and"
                f" {pluralize(len(empty), 'cell')} of it in all: expected numbers; use"
                f" --missing {INTERPOLATE}, or leave the column out with --columns"
            )
        known = np.flatnonzero(is_number)
        if not len(known):
            raise InputError(f"{column.words} has no number: leave it out")
        values[empty, place] = np.interp(empty, known, column.values[known])
        notes.append(
            f"{pluralize(len(empty), 'missing number')} of {column.name} interpolated"
        )
    return values, notes


def remedy(timed: TimedColumns, index: int, cell: str) -> str:
    """Return what to type so that a cell that is no number is not read."""
    if "," in cell or "." in cell:
        return "choose its --decimal mark, or mend it"
    others = []
    for n, column in enumerate(timed.columns):
        is_usable = n not in timed.time_columns and np.isfinite(column.values).all()
        if n != index and is_usable:
            others.append(column.name)
    if not others:
        return "mend it"
    listed = ",".join(f'"{name}"' if "," in name else name for name in others)
    return f"mend it, or leave the column out: --columns {listed}"


def names_of(timed: TimedColumns, indices: Sequence[int]) -> list[str]:
    """Return the names of columns."""
    return [timed.columns[index].name for index in indices]


def describe_table(table: Table, timed: TimedColumns) -> str:
    """Return what was found in a file: its rows, marks and times."""
    header = "a header" if table.has_header else "no header"
    words = [
        pluralize(len(timed.lines), "row"),
        f"{table.delimiter}s between columns" if len(table.names) > 1 else "one column",
        f"decimal {table.decimal}",
        header,
    ]
    times = timed.times
    if timed.time_columns:
        words.append(f"time: {times.name}, {times.labels[0]} to {times.labels[-1]}")
    return ", ".join(words)
