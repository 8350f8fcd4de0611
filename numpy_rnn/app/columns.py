"""The columns of a table: their names, their numbers, and how they are chosen by name
or number.
"""

import csv
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.table_file import Table, is_missing, number_in
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import nearest_name, some_of


class Column(NamedTuple):
    """A column of a table, and what is in it."""

    name: str
    cells: Sequence[str]
    values: NumpyArray  # NaN where a cell is no number
    is_missing: NumpyArray  # where a cell is empty, or says that there is no number

    @property
    def words(self) -> str:
        """Its name in a message: "column rain", or "column 2" without a name."""
        return self.name if self.name.startswith("column ") else f"column {self.name}"

    @property
    def kind(self) -> str:
        """Whether its cells are mostly "number"s or mostly "text", or "empty"."""
        numbers = int(np.isfinite(self.values).sum())
        others = len(self.values) - numbers - int(self.is_missing.sum())
        if not numbers and not others:
            return "empty"
        return "number" if numbers >= others else "text"


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
