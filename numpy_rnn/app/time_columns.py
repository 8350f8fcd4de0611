"""Which columns of a table tell the time of its rows, and the order of the rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.columns import Column, columns_of, find_columns
from numpy_rnn.app.table_file import Table
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
from numpy_rnn.common.texts import pluralize

NO_TIME = "none"
DIGITS_OF_DATES = {6, 8}  # of 195901 and 19590131
MOST_REPEATED = 0.1  # share of dates that may be those of the row before


class TimedColumns(NamedTuple):
    """The columns of a table, in order of time."""

    columns: Sequence[Column]
    lines: Sequence[int]  # of the file, of each row
    times: Times
    time_columns: Sequence[int]  # indices of columns that tell the time
    notes: Sequence[str]


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
