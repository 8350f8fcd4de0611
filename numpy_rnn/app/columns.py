"""Columns of a table: which one is the time, which are numbers, and which are chosen;
and their numbers, with missing ones filled in.

Whatever is left out or changed is told in a note.
"""

import csv
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.table_file import Table, is_missing, number_in
from numpy_rnn.app.times import (
    CALENDAR,
    TIME_NAMES,
    Times,
    calendar_times,
    grows_by_a_step,
    parse_dates,
    regularity,
    steps_as_times,
)
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import join_names, nearest_name, pluralize, some_of

NO_TIME = "none"
INTERPOLATE = "interpolate"
DIGITS_OF_DATES = {6, 8}  # of 195901 and 19590131
MOST_REPEATED = 0.1  # share of dates that may be those of the row before


class Column(NamedTuple):
    """A column of a table, and what is in it."""

    name: str
    cells: Sequence[str]
    values: NumpyArray  # NaN where a cell is no number
    is_missing: NumpyArray  # where a cell is empty, or says that there is no number

    @property
    def kind(self) -> str:
        """Whether its cells are mostly "number"s or mostly "text", or "empty"."""
        numbers = int(np.isfinite(self.values).sum())
        others = len(self.values) - numbers - int(self.is_missing.sum())
        if not numbers and not others:
            return "empty"
        return "number" if numbers >= others else "text"


class TimedColumns(NamedTuple):
    """The columns of a table, in order of time."""

    columns: Sequence[Column]
    lines: Sequence[int]  # of the file, of each row
    times: Times
    time_columns: Sequence[int]  # indices of columns that tell the time
    notes: Sequence[str]


class Choice(NamedTuple):
    """The columns of a series."""

    inputs: Sequence[int]
    targets: Sequence[int]
    notes: Sequence[str]


def columns_of(table: Table) -> list[Column]:
    """Return the columns of a table."""
    columns = []
    for index, name in enumerate(table.names):
        cells = table.column(index)
        values = np.array([number_in(cell, table.decimal) for cell in cells], float)
        missing = np.array([is_missing(cell) for cell in cells], bool)
        columns.append(Column(name, cells, values, missing))
    return columns


def where_rows(table: Table, condition: str) -> Table:
    """Return the rows that have a value in a column: the condition is COLUMN=VALUE."""
    name, mark, value = condition.partition("=")
    if not mark:
        raise InputError(f"--where is {condition!r}: expected COLUMN=VALUE")
    [index] = find_columns(table.names, [name], "--where")
    kept = [n for n, cells in enumerate(table.rows) if cells[index] == value.strip()]
    if not kept:
        values = some_of(dict.fromkeys(table.column(index)))
        raise InputError(f"--where {condition} leaves no row: expected one of {values}")
    return table._replace(
        rows=[table.rows[n] for n in kept], lines=[table.lines[n] for n in kept]
    )


def find_columns(names: Sequence[str], words: Sequence[str], option: str) -> list[int]:
    """Return the indices of columns that are named, or numbered from 1.

    Raises InputError, with the nearest name, if there is no such column.
    """
    found: list[int] = []
    lower = [name.lower() for name in names]
    for word in words:
        if word in names:
            index = list(names).index(word)
        elif word.lower() in lower:
            index = lower.index(word.lower())
        elif word.isdecimal() and 1 <= int(word) <= len(names):
            index = int(word) - 1
        else:
            meant = nearest_name(word, names)
            advice = f" (did you mean {meant}?)" if meant else ""
            raise InputError(
                f"{option}: there is no column {word!r}{advice}; expected names, or"
                f" numbers from 1, of {some_of(names)}"
            )
        if index not in found:
            found.append(index)
    return found


def listed_columns(names: Sequence[str], text: str, option: str) -> list[int]:
    """Return the indices of columns in a list with commas; quotes enclose a name with
    a comma.
    """
    [words] = list(csv.reader([text], skipinitialspace=True)) or [[]]
    stripped = [word.strip() for word in words if word.strip()]
    if not stripped:
        raise InputError(f"{option} names no column: expected some of {some_of(names)}")
    return find_columns(names, stripped, option)


# Time


def with_times(table: Table, time: str | None) -> TimedColumns:
    """Find the columns that tell the time, and order the rows by it.

    Parameters
    ----------
    table : Table
        The table.
    time : str, optional
        The column with the time, or "none"; found by default: the first column of
        dates, or else of numbers that grow by a constant step, of several one with a
        name such as year; or else columns such as year and month.

    Returns
    -------
    TimedColumns
        The columns. Rows of which the newest is first are turned round.

    Raises
    ------
    InputError
        If the dates are not in order, or the column that is asked for has no times.
    """
    columns = columns_of(table)
    lines = list(table.lines)
    if time == NO_TIME:
        return TimedColumns(columns, lines, steps_as_times(len(lines)), (), ())
    indices, times = (
        found_times(columns) if time is None else asked_times(columns, time)
    )
    if times is None:
        return TimedColumns(columns, lines, steps_as_times(len(lines)), indices, ())
    notes = []
    if times.points[0] > times.points[-1]:
        columns = [
            Column(c.name, c.cells[::-1], c.values[::-1], c.is_missing[::-1])
            for c in columns
        ]
        lines.reverse()
        times = times._replace(labels=times.labels[::-1], points=times.points[::-1])
        notes.append("the rows are turned round: the file has the newest first")
    notes += check_order(times, lines, columns)
    return TimedColumns(columns, lines, times, indices, notes)


def asked_times(columns: Sequence[Column], time: str) -> tuple[list[int], Times]:
    """Return the columns of calendar parts, and the times of a column by its name."""
    names = [column.name for column in columns]
    [index] = find_columns(names, [time], "--time")
    times = times_of(columns[index])
    if times is None and np.isfinite(columns[index].values).all():
        column = columns[index]
        times = Times(column.name, column.cells, column.values.tolist())
    if times is None:
        raise InputError(
            f"--time {time}: its first cell is {columns[index].cells[0]!r}; expected"
            " dates such as 2024-12-31, or numbers"
        )
    others, _ = found_times(columns)
    return sorted({index, *others}), times


def found_times(columns: Sequence[Column]) -> tuple[list[int], Times | None]:
    """Return the indices of all columns that tell the time, and the times; None if no
    column does.
    """
    steady: list[tuple[int, Times]] = []
    dated: list[tuple[int, Times]] = []
    for index, column in enumerate(columns):
        times = times_of(column)
        if times is not None:
            (dated if times.is_dated else steady).append((index, times))
    parts = calendar_parts(columns)
    indices = sorted({*parts.values(), *(index for index, _ in dated + steady)})
    numbers = [n for n, column in enumerate(columns) if column.kind == "number"]
    if {*numbers} <= {*indices}:  # then one of these is the series
        steady = steady[:1] if len(numbers) > 1 and not dated else []
        indices = [index for index, _ in dated + steady]
        parts = {}
    if dated:
        return indices, dated[0][1]
    # The number of each row says less than other numbers.
    steady.sort(key=lambda found: counts_rows(found[1]))
    for index, times in steady:
        if columns[index].name.lower() in TIME_NAMES:
            return indices, times
    chosen = {part: columns[n].values.astype(int).tolist() for part, n in parts.items()}
    times = calendar_times(chosen)
    if times is None and steady:
        times = steady[0][1]
    return indices, times


def calendar_parts(columns: Sequence[Column]) -> dict[str, int]:
    """Return the indices of columns of whole numbers that have names such as year and
    month, from the longest part of a date.
    """
    parts = {}
    for part in CALENDAR:
        for index, column in enumerate(columns):
            values = column.values
            # NaN is not equal to itself.
            if column.name.lower() == part and (values == np.trunc(values)).all():
                parts[part] = index
    return parts


def times_of(column: Column) -> Times | None:
    """Return the times of a column of dates, of numbers with a constant step, up or
    down, or of numbers that go on and have a name such as time; None if it has none.
    """
    cells = column.cells
    if column.kind == "number":
        if not np.isfinite(column.values).all():
            return None
        if has_dates_of_digits(cells):
            found = parse_dates(cells)
            if found and regularity(found[0]):
                return Times(column.name, cells, *found)
        is_named = goes_on(column.name.lower(), column.values)
        if is_named or grows_by_a_step(column.values, cells):
            return Times(column.name, cells, column.values.tolist())
        return None
    found = parse_dates(cells) if column.kind == "text" else None
    return found and Times(column.name, cells, *found)


def has_dates_of_digits(cells: Sequence[str]) -> bool:
    """Return whether cells may be dates such as 19590131, each another one."""
    lengths = {len(cell) for cell in cells}
    is_even = len(lengths) == 1 and lengths <= DIGITS_OF_DATES
    return is_even and all(map(str.isdecimal, cells)) and len({*cells}) == len(cells)


def goes_on(name: str, values: NumpyArray) -> bool:
    """Return whether numbers with the name of a time grow, or fall, at each row; those
    of a whole time, such as a date, may be repeated.
    """
    if name not in TIME_NAMES:
        return False
    earlier, later = values[:-1], values[1:]
    if name in CALENDAR:
        return bool((later > earlier).all() or (later < earlier).all())
    is_one_way = (later >= earlier).all() or (later <= earlier).all()
    return bool(is_one_way and values[0] != values[-1])


def counts_rows(times: Times) -> bool:
    """Return whether numbers are those of the rows, from 0 or 1."""
    return times.points[0] in (0, 1) and times.points[1] - times.points[0] == 1


def check_order(
    times: Times, lines: Sequence[int], columns: Sequence[Column]
) -> list[str]:
    """Check that times do not go back. Return a note on those that are repeated."""
    repeated = []
    for n in range(1, len(lines)):
        if times.points[n] == times.points[n - 1]:
            repeated.append(n)
        if times.points[n] < times.points[n - 1]:
            raise InputError(
                f"line {lines[n]}: {times.labels[n]} in {times.name} comes after"
                f" {times.labels[n - 1]}; expected rows in order of time, of one"
                f" series; {advice_on_order(columns)}"
            )
    if len(repeated) > MOST_REPEATED * len(lines):
        raise InputError(
            f"line {lines[repeated[0]]}: {times.labels[repeated[0]]} in {times.name} is"
            f" there twice, and so are {len(repeated)} times; expected rows of one"
            f" series; {advice_on_order(columns)}"
        )
    if not repeated:
        return []
    first = repeated[0]
    return [
        f"{pluralize(len(repeated), 'row')} with the time of the row before, the first"
        f" {times.labels[first]} on line {lines[first]}"
    ]


def advice_on_order(columns: Sequence[Column]) -> str:
    """Return what to type for a table of several series, or of no times."""
    for column in columns:
        values = dict.fromkeys(column.cells)
        if column.kind == "text" and 1 < len(values) <= len(column.cells) // 3:
            value = next(iter(values))
            return f'choose one of them, such as --where "{column.name}={value}"'
    return "sort them, or use --time none"


# Choice


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
                f"line {timed.lines[wrong[0]]}, column {column.name} is {cell!r}:"
                f" expected a number; {remedy(timed, index, cell)}"
            )
        empty = np.flatnonzero(column.is_missing)
        if not len(empty):
            continue
        if missing != INTERPOLATE:
            cell = column.cells[empty[0]]
            words = repr(cell) if cell else "empty"
            raise InputError(
                f"line {timed.lines[empty[0]]}, column {column.name} is {words}, and"
                f" {pluralize(len(empty), 'cell')} of it in all: expected numbers; use"
                f" --missing {INTERPOLATE}, or leave the column out with --columns"
            )
        known = np.flatnonzero(is_number)
        if not len(known):
            raise InputError(f"column {column.name} has no number: leave it out")
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
    return join_names([", ".join(words)])
